"""What all SIMPLER scenes share: building, dropping the objects, resets, lights, the picture.

Source: SimplerEnv's prepackaged (visual matching) environments on ManiSkill2_real2sim, commit
ef7a4d4. Tasks derive from `SimplerScene` (see `tasks`); geometry and looks come from an asset pack.
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

from envs.simpler import lighting, rendering
from envs.simpler.assets import AssetPack, asset_pack
from envs.simpler.contacts import Contacts
from envs.simpler.placement import Start, draw_start
from envs.simpler.registry import TaskSpec
from envs.simpler.robots import ROBOTS, Robot
from envs.simpler.rules import Rule
from envs.simpler.variants import VISUAL_MATCHING, Variant, variant_of

TABLE_HEIGHT = 0.87
DROP_HEIGHT = 0.5
PARKED = sapien.Pose([-10.0, 0.0, 0.0])


class SimplerScene(BaseEnv):
    """A robot, its surroundings and loose objects; one environment on the CPU.

    A family of tasks says how the furniture is loaded, what its rule is and what the rule needs to
    know (`_load_furniture`, `_make_rule`, `_update_rule`, `get_language_instruction`).
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
        **kwargs: Any,
    ) -> None:
        """Args: `resolution` is (width, height), None simulates without any renderer."""
        self.task = spec
        self.variant: Variant = variant_of(spec, variant)
        self.pack: AssetPack = asset_pack(assets, asset_root)
        self.robot_kind: Robot = ROBOTS[spec.robot]
        self.resolution = resolution
        self.simulation_frequency = simulation_frequency or spec.simulation_frequency
        self.start: Start = self._draw(0, {})
        self.rule: Rule = self._make_rule()
        self.stand_ins: list[str] = []
        self.objects: list[Actor] = []
        self._overlay: rendering.Overlay | None = None
        self._contacts: Contacts | None = None
        kwargs.setdefault("obs_mode", "none" if resolution is None else "rgb+segmentation")
        kwargs.setdefault("reward_mode", "sparse")
        kwargs["render_backend"] = "none" if resolution is None else "sapien_cpu"
        super().__init__(
            *args,
            robot_uids=self.robot_kind.agent.uid,
            num_envs=1,
            sim_backend="physx_cpu",
            **kwargs,
        )

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

    def _make_rule(self) -> Rule:
        raise NotImplementedError

    def _update_rule(self, contacts: Contacts) -> Tensor:
        raise NotImplementedError

    def get_language_instruction(self) -> str:
        """The instruction of the current subtask."""
        raise NotImplementedError

    def _load_furniture(self) -> None:
        """Load what stands in the scene besides robot, surroundings and loose objects."""

    def _place_furniture(self) -> None:
        """Put the furniture where it starts, before the objects are dropped."""

    def _set_furniture(self) -> None:
        """Bring the furniture into the state it starts in, after the objects have settled."""

    def _density(self, model: str) -> float | None:  # noqa: ARG002
        """Density (kg/m3) of an object where it is not the model's own."""
        return None

    # ---- building ---------------------------------------------------------------------------

    def _load_agent(self, options: dict[str, Any], *_: Any, **__: Any) -> None:  # noqa: ARG002
        kind = self.robot_kind
        robot = type(
            f"{kind.agent.__name__}Here",
            (kind.agent,),
            {
                "urdf_path": str(self.pack.robot_urdf(kind.name, self.start.coloring, self.drawn)),
                "camera_size": self.resolution,
            },
        )
        self.agent = robot(self.scene, self._control_freq, None, initial_pose=PARKED)

    def _load_scene(self, options: dict[str, Any]) -> None:  # noqa: ARG002
        self.stand_ins = []
        self.arena = self._load_surroundings()
        self.objects = []
        for model in self.start.layout.models:
            self.objects.append(self._load_object(model))
        self._load_furniture()
        self.links = self.agent.robot.links
        self.gripper = self.agent.robot.links_map[self.robot_kind.gripper_link]
        self.robot_joint_names = [joint.name for joint in self.agent.robot.active_joints]

    def _load_surroundings(self) -> Actor:
        builder = self.scene.create_actor_builder()
        at = self.pack.add_stage(builder, self.variant.stage, self.task.robot, self.drawn)
        if at.stand_in:
            self.stand_ins.append(at.stand_in)
        builder.initial_pose = sapien.Pose(at.position)
        return builder.build_static(name="arena")

    def _load_object(self, model: str) -> Actor:
        builder = self.scene.create_actor_builder()
        material = sapien.physx.PhysxMaterial(0.5, 0.5, 0.0)
        density = self._density(model)
        plain = self.pack.add_object(builder, model, material, self.drawn, density=density)
        if plain:
            self.stand_ins.append(plain)
        # Out of the way, each at a place of its own, until it is dropped.
        builder.initial_pose = sapien.Pose([10.0, 10.0 + len(self.objects), 1.0])
        actor = builder.build(name=model)
        body = actor._bodies[0]
        body.linear_damping, body.angular_damping = self.pack.object_damping(model)
        return actor

    def _load_lighting(self, options: dict[str, Any]) -> None:  # noqa: ARG002
        lighting.add_lights(self.scene, self.task.family, self.variant.lighting)

    # ---- reset ------------------------------------------------------------------------------

    def _draw(self, seed: int, options: dict[str, Any]) -> Start:
        catalogue = self.pack.catalogue(self.variant.catalogue or self.task.catalogue)
        return draw_start(seed, self.task, self.variant, options, catalogue)

    def reset(
        self, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset; `options` as in `placement.NAMED_OPTIONS`.

        The scene is rebuilt every time: only then is a reset bitwise repeatable.
        """
        if seed is None:
            seed = int(self._main_rng.randint(2**32))
        first = seed if isinstance(seed, int) else int(np.asarray(seed).flat[0])
        given = {k: v for k, v in (options or {}).items() if k not in ("reconfigure", "env_idx")}
        self.start = self._draw(first, given)
        self.rule.reset()
        self._overlay = None
        if self.resolution is not None and self.start.photograph:
            photograph = self.pack.overlay(self.start.photograph)
            if photograph is not None:
                self._overlay = rendering.Overlay(photograph, *self.resolution)
        return super().reset(seed=seed, options={"reconfigure": True})

    def _initialize_episode(self, env_idx: Tensor, options: dict[str, Any]) -> None:  # noqa: ARG002
        robot = self.agent.robot._objs[0]
        robot.pose = PARKED
        self._place_furniture()
        self._settle_objects()
        if self.objects:
            self.settled = self.frames(range(len(self.objects))).clone()
        # Active joints come breadth-first in SAPIEN 3, so they are set by name.
        qpos = self.robot_kind.qpos | self._head()
        robot.qpos = np.array([qpos.get(name, 0.0) for name in self.robot_joint_names])
        robot.qvel = np.zeros(len(self.robot_joint_names))
        robot.pose = sapien.Pose(*self.start.base_pose(self.robot_kind.base_height))
        self._set_furniture()

    def _head(self) -> dict[str, float]:
        tilt = self.variant.head_tilt
        return {} if tilt is None else {"joint_head_tilt": tilt}

    def _settle_objects(self) -> None:
        """Bring the objects to rest: as the original's drop ends where that is known, else by one.

        A drop onto a flat table ends the same wherever it happens, but not the same in PhysX 5.
        """
        rests = None
        if self.simulation_frequency == self.task.simulation_frequency:
            rests = self.pack.rests(self.task, self.start.layout, self.variant.stage)
        if rests is None:
            self._drop_objects()
            return
        for item, pose in zip(self.objects, rests, strict=True):
            item._bodies[0].entity_pose = sapien.Pose(list(pose[:3]), list(pose[3:]))

    def _drop_objects(self) -> None:
        """Let all objects fall together."""
        self._drop(range(len(self.objects)))

    def _settle(self, seconds: float) -> None:
        for _ in range(int(self.simulation_frequency * seconds)):
            self.scene.px.step()

    def _drop(self, which: Sequence[int]) -> None:
        """Drop objects by number: first without tumbling, then freely until they are still."""
        layout = self.start.layout
        bodies = [self.objects[i]._bodies[0] for i in which]
        for i, body in zip(which, bodies, strict=True):
            self._hang(body, layout.positions[i], layout.quaternions[i])
            body.set_locked_motion_axes([False, False, False, True, True, False])
        self._settle(0.5)
        self._release(bodies)
        self._settle(0.5)
        if self._still_moving(bodies):
            self._settle(1.5)

    @staticmethod
    def _hang(body: Any, position: Sequence[float], quaternion: Sequence[float]) -> None:
        body.entity_pose = sapien.Pose([*position, TABLE_HEIGHT + DROP_HEIGHT], list(quaternion))
        body.linear_velocity = [0.0, 0.0, 0.0]
        body.angular_velocity = [0.0, 0.0, 0.0]

    @staticmethod
    def _release(bodies: Sequence[Any]) -> None:
        for body in bodies:
            body.set_locked_motion_axes([False] * 6)
            body.entity_pose = body.entity_pose  # wakes it up
            body.linear_velocity = [0.0, 0.0, 0.0]
            body.angular_velocity = [0.0, 0.0, 0.0]

    @staticmethod
    def _still_moving(bodies: Sequence[Any]) -> bool:
        speed = sum(float(np.linalg.norm(body.linear_velocity)) for body in bodies)
        spin = sum(float(np.linalg.norm(body.angular_velocity)) for body in bodies)
        return speed > 1e-3 or spin > 1e-2

    # ---- stepping ---------------------------------------------------------------------------

    def step(self, action: Any) -> Any:
        self.rule.before_step()
        return super().step(action)

    def advance_to_next_subtask(self) -> None:
        """Say that the current subtask is done: the instruction changes where there is another."""
        self.rule.advance()

    def is_final_subtask(self) -> bool:
        """Whether the current subtask is the last one."""
        return bool(self.rule.subtask[0] == self.rule.subtasks - 1)

    def evaluate(self) -> dict[str, Tensor]:
        """SIMPLER's rule after a control step (not at the reset), as ManiSkill wants it."""
        if int(self.rule.elapsed_steps[0]) > 0:
            self._update_rule(Contacts(self.scene.px.get_contacts()))
        return {"success": self.rule.success.clone()}

    def centres(self, which: Sequence[int]) -> Tensor:
        """Centres of mass of objects by number `(1, n, 3)`, m, in the world."""
        poses = [
            self.objects[i]._objs[0].pose * self.objects[i]._bodies[0].cmass_local_pose
            for i in which
        ]
        return torch.tensor(np.array([[pose.p for pose in poses]]))

    def frames(self, which: Sequence[int]) -> Tensor:
        """Positions of objects' frames by number `(1, n, 3)`, m, in the world."""
        return torch.stack([self.objects[i].pose.p for i in which], 1)

    # ---- what is seen -----------------------------------------------------------------------

    def head_image(self, observation: dict[str, Any]) -> NDArray[np.uint8]:
        """The camera's picture uint8 (h, w, 3), the photograph laid behind it."""
        data = observation["sensor_data"][rendering.CAMERA]
        image = data["rgb"][0].cpu().numpy()
        if self._overlay is None:
            return image
        segmentation = data["segmentation"][0, ..., 0].cpu().numpy()
        return self._overlay.apply(image, segmentation, self._foreground())

    def _foreground(self) -> list[int]:
        entities = [item._objs[0] for item in self._shown_objects()]
        entities += [link._objs[0].entity for link in (*self.links, *self._furniture_links())]
        return [entity.per_scene_id for entity in entities]

    def _shown_objects(self) -> list[Actor]:
        """Objects that the photograph does not cover."""
        return self.objects

    def _furniture_links(self) -> list[Any]:
        return []
