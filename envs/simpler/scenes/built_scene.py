"""What a SIMPLER scene is built of: robot, surroundings, loose objects, lights.

Source: SimplerEnv's prepackaged (visual matching) environments on ManiSkill2_real2sim, commit
ef7a4d4; geometry and looks come from an asset pack. Everything is batched: one environment on the
CPU, any number on a GPU.
"""

from typing import Any

import sapien
from mani_skill.envs.sapien_env import BaseEnv
from mani_skill.envs.utils.system.backend import BackendInfo
from mani_skill.utils.structs import Actor
from mani_skill.utils.structs.types import DefaultMaterialsConfig, SceneConfig, SimConfig

from envs.simpler.assets.catalogues import CATALOGUES
from envs.simpler.assets.choice import asset_pack
from envs.simpler.assets.pack import AssetPack
from envs.simpler.robots.batched.agents import batched
from envs.simpler.robots.registry import ROBOTS, Robot
from envs.simpler.rules import make_rule
from envs.simpler.scenes import lighting, rendering
from envs.simpler.scenes.loading import SceneLoader
from envs.simpler.tasks.registry import TaskSpec
from envs.simpler.tasks.start import Start, draw_start
from envs.simpler.tasks.variants import VISUAL_MATCHING, Variant, variant_of

# Out of the way of what falls; on a GPU the neighbours are near, so the robot is built above.
PARKED, PARKED_ABOVE = sapien.Pose([-10.0, 0.0, 0.0]), sapien.Pose([0.0, 0.0, 10.0])


class BuiltScene(BaseEnv):
    """What a task, a variant and an asset pack make of ManiSkill's empty scene.

    A family of tasks may load furniture and change densities.
    """

    contact_offset = 0.02

    def __init__(
        self,
        *args: Any,
        spec: TaskSpec,
        assets: str = "primitives",
        asset_root: str | None = None,
        resolution: tuple[int, int] | None = None,
        simulation_frequency: int | None = None,
        variant: str = VISUAL_MATCHING,
        num_envs: int = 1,
        sim_backend: str = "physx_cpu",
        batched_control: bool = False,
        **kwargs: Any,
    ) -> None:
        """Args: `resolution` is (width, height), None simulates without any renderer.

        `batched_control` takes the controllers for many environments also on the CPU.
        """
        self.task = spec
        self.variant: Variant = variant_of(spec, variant)
        self.pack: AssetPack = asset_pack(assets, asset_root)
        self.robot_kind: Robot = ROBOTS[spec.robot]
        self.resolution = resolution
        self.simulation_frequency = simulation_frequency or spec.simulation_frequency
        self.starts: list[Start] = [self._draw(0, {})] * num_envs
        self.on_gpu = sim_backend == "physx_cuda"
        self.batched_control = batched_control or self.on_gpu
        self.rule = make_rule(spec, num_envs, "cuda" if self.on_gpu else "cpu")
        self.objects: list[Actor] = []
        self.photographs = rendering.Photographs(self.pack, resolution, num_envs)
        kwargs.setdefault("obs_mode", "none" if resolution is None else "rgb+segmentation")
        kwargs.setdefault("reward_mode", "sparse")
        drawing = "sapien_cuda" if self.on_gpu else "sapien_cpu"
        kwargs["render_backend"] = "none" if resolution is None else drawing
        super().__init__(
            *args,
            robot_uids=self.robot_kind.agent.uid,
            num_envs=num_envs,
            sim_backend=sim_backend,
            **kwargs,
        )

    @property
    def start(self) -> Start:
        """Start of the first environment; all have the same objects unless their layouts differ."""
        return self.starts[0]

    @property
    def drawn(self) -> bool:
        """Whether there is a renderer."""
        return self.resolution is not None

    @property
    def stand_ins(self) -> list[str]:
        """Missing files that plain shapes replace."""
        return self.loader.stand_ins

    @property
    def _default_sim_config(self) -> SimConfig:
        return SimConfig(
            spacing=self.pack.spacing,
            sim_freq=self.simulation_frequency,
            control_freq=self.task.control_frequency,
            scene_config=SceneConfig(
                contact_offset=self.contact_offset,
                solver_position_iterations=25,
                solver_velocity_iterations=1,
                enable_pcm=False,
                enable_tgs=True,
            ),
            default_materials_config=DefaultMaterialsConfig(1.0, 1.0, 0.0),
        )

    def _load_furniture(self) -> None:
        """Load what the scene has besides robot, surroundings and loose objects."""

    def _density(self, model: str) -> float | None:  # noqa: ARG002
        """Density (kg/m3) of an object where it is not the model's own."""
        return None

    def _draw(self, seed: int, options: dict[str, Any]) -> Start:
        catalogue = CATALOGUES[self.variant.catalogue or self.task.catalogue]
        return draw_start(seed, self.task, self.variant, options, catalogue)

    def _setup_scene(self) -> None:
        # The last moment before ManiSkill makes the renderer.
        self.backend: BackendInfo = rendering.with_drawing_device(self.backend)
        self._render_device = self.backend.render_device
        super()._setup_scene()

    def _load_agent(self, options: dict[str, Any], *_: Any, **__: Any) -> None:  # noqa: ARG002
        kind = self.robot_kind
        agent = batched(kind.agent) if self.batched_control else kind.agent
        self.agent = agent(
            self.scene,
            self._control_freq,
            urdf_path=str(self.pack.robot_urdf(kind.name, self.start.coloring, self.drawn)),
            camera_size=self.resolution,
            initial_pose=PARKED_ABOVE if self.on_gpu else PARKED,
        )

    def _load_scene(self, options: dict[str, Any]) -> None:  # noqa: ARG002
        self.loader = SceneLoader(self.scene, self.pack, self.drawn)
        self.arena = self.loader.surroundings(self.variant.stage, self.task.robot)
        self.objects = []
        for slot in range(len(self.start.layout.models)):
            models = [start.layout.models[slot] for start in self.starts]
            densities = [self._density(model) for model in models]
            self.objects.append(self.loader.objects(models, densities, slot))
        self._load_furniture()
        robot = self.agent.robot
        self.links = robot.links
        self.gripper = robot.links_map[self.robot_kind.gripper_link]
        self.fingers = [
            [robot.links_map[name] for name in names] for names in self.robot_kind.fingers
        ]
        self.robot_joint_names = [joint.name for joint in robot.active_joints]

    def _load_lighting(self, options: dict[str, Any]) -> None:  # noqa: ARG002
        lighting.add_lights(self.scene, self.task.family, self.variant.lighting)
