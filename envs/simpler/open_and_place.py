"""open_and_place: open the top drawer, then put the apple into it (SIMPLER's Google robot).

The original is `PlaceIntoClosedTopDrawerCustomInScene-v0` in its prepackaged configuration
(visual matching): robot, cabinet, apple, camera, 3 Hz control on 513 Hz simulation, resets, two
subtasks and the success rule. The geometry comes from an asset pack.
"""

from typing import Any, ClassVar

import numpy as np
import sapien
import torch
from mani_skill.envs.sapien_env import BaseEnv
from mani_skill.envs.utils.system.backend import BackendInfo
from mani_skill.utils.registration import register_env
from mani_skill.utils.structs.types import (
    DefaultMaterialsConfig,
    SceneConfig,
    SimConfig,
)
from numpy.typing import NDArray

from envs.simpler import rendering
from envs.simpler.assets import AssetPack, asset_pack
from envs.simpler.contacts import impulse_on_shape, press_on_each_other, touches
from envs.simpler.google_robot import (
    DRAWER_TASK_QPOS,
    GRIPPER_LINK,
    GoogleRobot,
)
from envs.simpler.placement import draw_placement
from envs.simpler.registry import TASKS, TaskSpec
from envs.simpler.success import DrawerState, PlaceInDrawer

TABLE_HEIGHT = 0.87
DROP_HEIGHT = 0.5
CABINET_POSE = sapien.Pose([-0.295, 0.0, 0.017])
PARKED = sapien.Pose([-10.0, 0.0, 0.0])
# Number of the bottom panel among a drawer's collision shapes.
BOTTOM_PANEL = 2
# Half extents (m) of the drawer's inside around its frame, from the boxes that make it.
INSIDE_X, INSIDE_Y, INSIDE_Z = 0.275, 0.2575, (-0.05, 0.05)


class DrawerScene(BaseEnv):
    """Robot before a cabinet with an object on top; one environment on the CPU."""

    SUPPORTED_ROBOTS: ClassVar[list[Any]] = [GoogleRobot.uid]
    SUPPORTED_REWARD_MODES: ClassVar[list[str]] = ["sparse", "none"]
    spec_of_task: TaskSpec

    def __init__(
        self,
        *args: Any,
        assets: str = "primitives",
        asset_root: str | None = None,
        resolution: tuple[int, int] | None = None,
        simulation_frequency: int = 513,
        **kwargs: Any,
    ) -> None:
        """Args: `resolution` is (width, height), None simulates without any renderer."""
        self.pack: AssetPack = asset_pack(assets, asset_root)
        self.resolution = resolution
        self.simulation_frequency = simulation_frequency
        self.placement = draw_placement(0, self.spec_of_task.robot_poses)
        self.rule = PlaceInDrawer(self.spec_of_task.forced_subtask_step)
        self._overlay: rendering.Overlay | None = None
        kwargs.setdefault("obs_mode", "none" if resolution is None else "rgb+segmentation")
        kwargs.setdefault("reward_mode", "sparse")
        kwargs["render_backend"] = "none" if resolution is None else "sapien_cpu"
        super().__init__(
            *args, robot_uids=GoogleRobot.uid, num_envs=1, sim_backend="physx_cpu", **kwargs
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
            control_freq=3,
            scene_config=SceneConfig(
                contact_offset=0.005,
                solver_position_iterations=25,
                solver_velocity_iterations=1,
                enable_pcm=False,
                enable_tgs=True,
            ),
            default_materials_config=DefaultMaterialsConfig(1.0, 1.0, 0.0),
        )

    # ---- building -------------------------------------------------------------------------

    def _load_agent(self, options: dict[str, Any], *_: Any, **__: Any) -> None:  # noqa: ARG002
        robot = type(
            "GoogleRobotHere",
            (GoogleRobot,),
            {
                "urdf_path": str(self.pack.robot_urdf(self.placement.coloring, self.drawn)),
                "camera_size": self.resolution,
            },
        )
        self.agent = robot(self.scene, self._control_freq, None, initial_pose=PARKED)

    def _load_scene(self, options: dict[str, Any]) -> None:  # noqa: ARG002
        floor = self.scene.create_actor_builder()
        if self.scene.can_render():
            floor.add_box_visual(half_size=[10.0, 10.0, 0.017], material=self._floor_colour())
        floor.initial_pose = sapien.Pose([1.6616, 3.0337, 0.0])
        floor.build_static(name="floor")
        self._load_object()
        self._load_cabinet()

    def _floor_colour(self) -> sapien.render.RenderMaterial:
        colour = (1.0, 1.0, 1.0) if self.pack.name == "simpler" else (0.32, 0.30, 0.28)
        return sapien.render.RenderMaterial(base_color=[*colour, 1.0], roughness=0.9)

    def _load_object(self) -> None:
        model = self.spec_of_task.object_model
        builder = self.scene.create_actor_builder()
        material = sapien.physx.PhysxMaterial(0.5, 0.5, 0.0)
        self.pack.add_object(builder, model, material, self.drawn)
        builder.initial_pose = sapien.Pose([0.0, 0.0, TABLE_HEIGHT + DROP_HEIGHT])
        self.object = builder.build(name=model)
        self._object_body = self.object._objs[0].find_component_by_type(
            sapien.physx.PhysxRigidDynamicComponent
        )
        linear, angular = self.pack.object_damping(model)
        self._object_body.linear_damping = linear
        self._object_body.angular_damping = angular

    def _load_cabinet(self) -> None:
        loader = self.scene.create_urdf_loader()
        loader.name = "cabinet"
        loader.fix_root_link = True
        parsed = loader.parse(str(self.pack.cabinet_urdf(self.drawn)))
        builder = parsed["articulation_builders"][0]
        builder.initial_pose = CABINET_POSE
        self.cabinet = builder.build()
        articulation = self.cabinet._objs[0]
        for joint in articulation.active_joints:
            joint.set_friction(0.05)
            joint.set_drive_properties(0.0, 1.0)
        self._cabinet = articulation
        joints = [joint.name for joint in self.cabinet.active_joints]
        self._drawer_index = joints.index(f"{self.spec_of_task.drawer}_drawer_joint")
        self._drawer_link = self.cabinet.links_map[f"{self.spec_of_task.drawer}_drawer"]._objs[0]
        self._panel = self._bottom_panel()
        self._robot = self.agent.robot._objs[0]
        self._gripper_link = self.agent.robot.links_map[GRIPPER_LINK]._objs[0]
        self.robot_joint_names = [joint.name for joint in self.agent.robot.active_joints]

    def _bottom_panel(self) -> tuple[Any, Any]:
        """Body and shape of the panel that the object must touch."""
        return self._drawer_link, self._drawer_link.collision_shapes[BOTTOM_PANEL]

    def _load_lighting(self, options: dict[str, Any]) -> None:  # noqa: ARG002
        angle = np.deg2rad(75.0)
        self.scene.set_ambient_light([1.0, 1.0, 1.0])
        self.scene.add_directional_light([-np.cos(angle), 0.0, -np.sin(angle)], [1.0, 1.0, 1.0])

    # ---- reset ----------------------------------------------------------------------------

    def reset(
        self, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset; `options` may name robot_pose, coloring and object_xy.

        The scene is rebuilt every time: only then is a reset bitwise repeatable.
        """
        options = dict(options or {})
        if seed is None:
            seed = int(self._main_rng.randint(2**32))
        first = seed if isinstance(seed, int) else int(np.asarray(seed).flat[0])
        self.placement = draw_placement(
            first,
            self.spec_of_task.robot_poses,
            options.pop("robot_pose", None),
            options.pop("coloring", None),
            options.pop("object_xy", None),
        )
        self.rule = PlaceInDrawer(self.spec_of_task.forced_subtask_step)
        photograph = self.pack.overlay(self.placement.robot_pose)
        self._overlay = None
        if photograph is not None and self.resolution is not None:
            self._overlay = rendering.Overlay(photograph, *self.resolution)
        options["reconfigure"] = True
        return super().reset(seed=seed, options=options)

    def _settle(self, seconds: float) -> None:
        for _ in range(int(self.simulation_frequency * seconds)):
            self.scene.px.step()

    def _drop_object(self) -> None:
        body = self._object_body
        body.entity_pose = sapien.Pose([*self.placement.object_xy, TABLE_HEIGHT + DROP_HEIGHT])
        # Fall without tumbling first, then freely.
        body.set_locked_motion_axes([False, False, False, True, True, False])
        self._settle(0.5)
        body.set_locked_motion_axes([False] * 6)
        body.entity_pose = body.entity_pose
        body.linear_velocity = [0.0, 0.0, 0.0]
        body.angular_velocity = [0.0, 0.0, 0.0]
        self._settle(0.5)
        if (
            np.linalg.norm(body.linear_velocity) > 1e-3
            or np.linalg.norm(body.angular_velocity) > 1e-2
        ):
            self._settle(1.5)

    def _initialize_episode(self, env_idx: torch.Tensor, options: dict[str, Any]) -> None:  # noqa: ARG002
        self._robot.pose = PARKED
        self._drop_object()
        # Active joints come breadth-first in SAPIEN 3, so they are set by name.
        self._robot.qpos = np.array([DRAWER_TASK_QPOS.get(n, 0.0) for n in self.robot_joint_names])
        self._robot.qvel = np.zeros(len(self.robot_joint_names))
        self._robot.pose = sapien.Pose(*self.placement.base_pose())
        self._cabinet.qpos = np.zeros(self._cabinet.dof)

    # ---- stepping -------------------------------------------------------------------------

    def step(self, action: Any) -> Any:
        self.rule.before_step()
        return super().step(action)

    def advance_to_next_subtask(self) -> None:
        """Say that the drawer is open enough: the instruction changes."""
        self.rule.advance()

    def is_final_subtask(self) -> bool:
        return self.rule.subtask == 1

    def get_language_instruction(self) -> str:
        drawer = self.spec_of_task.drawer
        return f"place apple into {drawer} drawer" if self.rule.subtask else f"open {drawer} drawer"

    def evaluate(self) -> dict[str, torch.Tensor]:
        """SIMPLER's rule after a control step (not at the reset), as ManiSkill wants it."""
        if self.rule.elapsed_steps > 0:
            self.rule.update(self.drawer_state())
        return {"success": torch.tensor([self.rule.success])}

    def drawer_state(self) -> DrawerState:
        """Read the simulator: drawer joint, contact impulse, object in the drawer, released."""
        contacts = self.scene.px.get_contacts()
        body = self._object_body
        pressed = impulse_on_shape(contacts, body, *self._panel)
        local = (self._drawer_link.entity_pose.inv() * body.entity_pose).p
        return DrawerState(
            drawer=float(self._cabinet.qpos[self._drawer_index]),
            contact_impulse=float(np.linalg.norm(pressed)),
            inside=bool(
                abs(local[0]) < INSIDE_X
                and abs(local[1]) < INSIDE_Y
                and INSIDE_Z[0] < local[2] < INSIDE_Z[1]
            ),
            released=not touches(contacts, body, self._robot.links),
            speed=float(np.linalg.norm(body.linear_velocity)),
        )

    def robot_touches_itself(self) -> bool:
        """Whether two links of the robot press on each other."""
        return press_on_each_other(self.scene.px.get_contacts(), self._robot.links)

    # ---- what is seen ---------------------------------------------------------------------

    def head_image(self, observation: dict[str, Any]) -> NDArray[np.uint8]:
        """The head camera's picture uint8 (h, w, 3), the photograph laid behind it."""
        data = observation["sensor_data"]["head"]
        image = data["rgb"][0].cpu().numpy()
        if self._overlay is None:
            return image
        segmentation = data["segmentation"][0, ..., 0].cpu().numpy()
        return self._overlay.apply(image, segmentation, self._foreground())

    def _foreground(self) -> list[int]:
        entities = [self.object._objs[0]]
        entities += [link.entity for link in (*self._robot.links, *self._cabinet.links)]
        return [entity.per_scene_id for entity in entities]


@register_env(TASKS["open_and_place"].gym_id, max_episode_steps=200)
class OpenAndPlace(DrawerScene):
    """Open the top drawer, then place the apple into it."""

    spec_of_task = TASKS["open_and_place"]
