"""What all SIMPLER scenes share: building, resets, lights, stepping, the picture.

Source: SimplerEnv's prepackaged (visual matching) environments on ManiSkill2_real2sim, commit
ef7a4d4. Tasks derive from `SimplerScene` (see `tasks`); geometry and looks come from an asset pack.
Everything is batched: `(b, ...)` with one environment on the CPU, any number on a GPU.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import sapien
import torch
from mani_skill.envs.sapien_env import BaseEnv
from mani_skill.envs.utils.system.backend import BackendInfo
from mani_skill.utils.structs import Actor
from mani_skill.utils.structs.types import (
    DefaultMaterialsConfig,
    SceneConfig,
    SimConfig,
)
from numpy.typing import NDArray
from torch import Tensor

from envs.simpler.assets.catalogues import CATALOGUES
from envs.simpler.assets.choice import asset_pack
from envs.simpler.assets.pack import AssetPack
from envs.simpler.robots.camera import CAMERA
from envs.simpler.robots.registry import ROBOTS, Robot
from envs.simpler.rules import Rule
from envs.simpler.scenes import lighting, rendering
from envs.simpler.scenes.body_contacts import BodyContacts
from envs.simpler.scenes.contact_queries import ContactQueries
from envs.simpler.scenes.contacts import Contacts
from envs.simpler.scenes.settling import Settling
from envs.simpler.tasks.registry import TaskSpec
from envs.simpler.tasks.start import Start, draw_start, keeping
from envs.simpler.tasks.variants import VISUAL_MATCHING, Variant, variant_of

# Out of the way of what falls; on a GPU the neighbours are near, so the robot is built above.
PARKED, PARKED_ABOVE = sapien.Pose([-10.0, 0.0, 0.0]), sapien.Pose([0.0, 0.0, 10.0])


class SimplerScene(Settling, BaseEnv):
    """A robot, its surroundings and loose objects.

    A family of tasks says how the furniture is loaded, what its rule is and what the rule needs to
    know (`_load_furniture`, `_make_rule`, `_update_rule`, `instruction`).
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
        self._judging = False
        self.rule: Rule = self._make_rule(num_envs, "cuda" if self.on_gpu else "cpu")
        self.stand_ins: list[str] = []
        self.objects: list[Actor] = []
        self._overlays: list[rendering.Overlay | None] = [None] * num_envs
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

    # ManiSkill sets `backend` in its constructor; this is the one place where the device that
    # draws can be put right before the scene is made.
    @property
    def backend(self) -> BackendInfo:
        return self._backend

    @backend.setter
    def backend(self, value: BackendInfo) -> None:
        self._backend = rendering.with_drawing_device(value)

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

    # ---- what a family of tasks says --------------------------------------------------------

    def _make_rule(self, batch: int, device: str) -> Rule:
        raise NotImplementedError

    def _update_rule(self, contacts: ContactQueries) -> Tensor:
        raise NotImplementedError

    def instruction(self, number: int) -> str:
        """The instruction of the current subtask in environment `number`."""
        raise NotImplementedError

    def _load_furniture(self) -> None:
        """Load what stands in the scene besides robot, surroundings and loose objects."""

    def _place_furniture(self) -> None:
        """Put the furniture where it starts, before the objects are dropped."""

    def _set_furniture(self, env_idx: Tensor) -> None:
        """Bring the furniture into the state it starts in, after the objects have settled."""

    def _density(self, model: str) -> float | None:  # noqa: ARG002
        """Density (kg/m3) of an object where it is not the model's own."""
        return None

    # ---- building ---------------------------------------------------------------------------

    def _load_agent(self, options: dict[str, Any], *_: Any, **__: Any) -> None:  # noqa: ARG002
        kind = self.robot_kind
        robot = type(
            f"{kind.agent.__name__}Here",
            (kind.batched_agent() if self.batched_control else kind.agent,),
            {
                "urdf_path": str(self.pack.robot_urdf(kind.name, self.start.coloring, self.drawn)),
                "camera_size": self.resolution,
            },
        )
        parked = PARKED_ABOVE if self.on_gpu else PARKED
        self.agent = robot(self.scene, self._control_freq, None, initial_pose=parked)

    def _load_scene(self, options: dict[str, Any]) -> None:  # noqa: ARG002
        self.stand_ins = []
        self.arena = self._load_surroundings()
        self.objects = []
        for slot in range(len(self.start.layout.models)):
            self.objects.append(self._load_slot(slot))
        self._load_furniture()
        self.links = self.agent.robot.links
        self.gripper = self.agent.robot.links_map[self.robot_kind.gripper_link]
        self.fingers = [
            [self.agent.robot.links_map[name] for name in names]
            for names in self.robot_kind.fingers
        ]
        self.robot_joint_names = [joint.name for joint in self.agent.robot.active_joints]

    def _load_surroundings(self) -> Actor:
        builder = self.scene.create_actor_builder()
        at = self.pack.add_stage(builder, self.variant.stage, self.task.robot, self.drawn)
        if at.stand_in:
            self.stand_ins.append(at.stand_in)
        builder.initial_pose = sapien.Pose(at.position)
        return builder.build_static(name="arena")

    def _load_slot(self, slot: int) -> Actor:
        """The objects number `slot` of all environments as one actor."""
        models = [start.layout.models[slot] for start in self.starts]
        if len(set(models)) == 1:
            return self.load_object(models[0], None)
        parts = [self.load_object(model, number) for number, model in enumerate(models)]
        return Actor.merge(parts, name=f"object_{slot}")

    def load_object(self, model: str, environment: int | None) -> Actor:
        """Build an object, in one environment or (None) in all."""
        builder = self.scene.create_actor_builder()
        material = sapien.physx.PhysxMaterial(0.5, 0.5, 0.0)
        density = self._density(model)
        plain = self.pack.add_object(builder, model, material, self.drawn, density=density)
        if plain and plain not in self.stand_ins:
            self.stand_ins.append(plain)
        # Out of the way, each at a place of its own, until it is put where it starts.
        builder.initial_pose = sapien.Pose([0.0, 0.0, 5.0 + len(self.objects)])
        if environment is not None:
            builder.set_scene_idxs([environment])
        actor = builder.build(name=model if environment is None else f"{model}-{environment}")
        for body in actor._bodies:
            body.linear_damping, body.angular_damping = self.pack.object_damping(model)
        return actor

    def _load_lighting(self, options: dict[str, Any]) -> None:  # noqa: ARG002
        lighting.add_lights(self.scene, self.task.family, self.variant.lighting)

    # ---- reset ------------------------------------------------------------------------------

    def _draw(self, seed: int, options: dict[str, Any]) -> Start:
        catalogue = CATALOGUES[self.variant.catalogue or self.task.catalogue]
        return draw_start(seed, self.task, self.variant, options, catalogue)

    def reset(
        self, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset; `options` as in `placement.NAMED_OPTIONS`, and `env_idx` for some on a GPU.

        On the CPU the scene is rebuilt every time: only then is a reset bitwise repeatable. On a
        GPU it is built once, so objects and colouring stay what they were first drawn to be.
        """
        options = dict(options or {})
        rebuild = bool(options.pop("reconfigure", False)) or not self.on_gpu
        index = options.pop("env_idx", None)
        chosen = list(range(len(self.starts))) if index is None else [int(i) for i in index]
        seeds = self._seeds(seed, len(chosen))
        for number, own in zip(chosen, seeds, strict=True):
            start = self._draw(own, options)
            if not rebuild:
                start = self._draw(own, options | keeping(self.task, start, self.starts[number]))
            self.starts[number] = start
        self.rule.reset(torch.tensor(chosen, device=self.rule.device))
        self._lay_photographs(chosen)
        if rebuild:
            return super().reset(seed=seeds, options={"reconfigure": True})
        env_idx = torch.tensor(chosen, device=self.device)
        return super().reset(seed=seeds, options={"env_idx": env_idx})

    def _seeds(self, seed: int | list[int] | None, count: int) -> list[int]:
        """A seed for each of `count` environments."""
        if seed is None:
            seed = int(self._main_rng.randint(2**32))
        if isinstance(seed, int) or np.ndim(seed) == 0:
            first = int(seed)  # type: ignore[arg-type]
            more = np.random.RandomState(first).randint(2**31, size=count - 1)
            return [first, *map(int, more)]
        return [int(each) for each in seed]

    def _lay_photographs(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            name = self.starts[number].photograph
            picture = self.pack.overlay(name) if name and self.resolution is not None else None
            self._overlays[number] = None
            if picture is not None and self.resolution is not None:
                self._overlays[number] = rendering.Overlay(picture, *self.resolution)

    def _initialize_episode(self, env_idx: Tensor, options: dict[str, Any]) -> None:  # noqa: ARG002
        robot = self.agent.robot
        if not self.on_gpu:
            robot.set_pose(PARKED)  # out of the way of what falls
        self._place_furniture()
        self._settle_objects(env_idx)
        # Active joints come breadth-first in SAPIEN 3, so they are set by name.
        qpos = self.robot_kind.qpos | self._head()
        row = [qpos.get(name, 0.0) for name in self.robot_joint_names]
        robot.set_qpos(torch.tensor([row] * len(env_idx), device=self.device))
        robot.set_qvel(torch.zeros(len(env_idx), len(row), device=self.device))
        height = self.robot_kind.base_height
        poses = [self.starts[int(i)].base_pose(height) for i in env_idx]
        robot.set_pose(self.poses([np.concatenate(pose) for pose in poses]))
        self._set_furniture(env_idx)

    def _head(self) -> dict[str, float]:
        tilt = self.variant.head_tilt
        return {} if tilt is None else {"joint_head_tilt": tilt}

    # ---- stepping ---------------------------------------------------------------------------

    def step(self, action: Any) -> Any:
        self.rule.before_step()
        self._judging = True
        return super().step(action)

    def advance_to_next_subtask(self) -> None:
        """Say that the current subtask is done: the instruction changes where there is another."""
        self.rule.advance()

    def evaluate(self) -> dict[str, Tensor]:
        """SIMPLER's rule after a control step (not at a reset), as ManiSkill wants it."""
        if self._judging:
            self._judging = False
            self._update_rule(self._contacts())
        return {"success": self.rule.success.clone()}

    def _contacts(self) -> ContactQueries:
        if self.on_gpu:
            return BodyContacts(self.scene)
        return Contacts(self.scene.px.get_contacts())

    def centres(self, which: Sequence[int]) -> Tensor:
        """Centres of mass of objects by number `(b, n, 3)`, m, in the world."""
        items = [self.objects[i] for i in which]
        return torch.stack([(item.pose * item.cmass_local_pose).p for item in items], 1)

    def frames(self, which: Sequence[int]) -> Tensor:
        """Positions of objects' frames by number `(b, n, 3)`, m, in the world."""
        return torch.stack([self.objects[i].pose.p for i in which], 1)

    # ---- what is seen -----------------------------------------------------------------------

    def head_image(self, observation: dict[str, Any], number: int = 0) -> NDArray[np.uint8]:
        """The camera's picture uint8 (h, w, 3), the photograph laid behind it."""
        data = observation["sensor_data"][CAMERA]
        image = data["rgb"][number].cpu().numpy()
        overlay = self._overlays[number]
        if overlay is None:
            return image
        segmentation = data["segmentation"][number, ..., 0].cpu().numpy()
        return overlay.apply(image, segmentation, self._foreground(number))

    def _foreground(self, number: int) -> list[int]:
        entities = [item._objs[number] for item in self._shown_objects()]
        links = (*self.links, *self._furniture_links())
        entities += [link._objs[number].entity for link in links]
        return [entity.per_scene_id for entity in entities]

    def _shown_objects(self) -> list[Actor]:
        """Objects that the photograph does not cover."""
        return self.objects

    def _furniture_links(self) -> list[Any]:
        return []
