"""Tasks at the cabinet: open or close a drawer, and open one to put an object into it.

The originals are `Open…/Close…DrawerCustomInScene-v0` and `PlaceIntoClosed…CustomInScene-v0`.
"""

from collections.abc import Callable
from typing import Any

import sapien
import torch
from torch import Tensor

from envs.simpler.primitives.cabinet import PANEL_SUFFIX
from envs.simpler.rules.drawer import DrawerState, PlaceState
from envs.simpler.scenes.contact_queries import ContactQueries
from envs.simpler.scenes.names import object_name
from envs.simpler.scenes.scene import SimplerScene
from envs.simpler.tasks.registry import DRAWERS
from envs.simpler.tasks.start import START_OPEN

CABINET_POSE = sapien.Pose([-0.295, 0.0, 0.017])
JOINT_FRICTION, JOINT_DAMPING = 0.05, 1.0
# Number of the bottom panel among a drawer's collision shapes.
BOTTOM_PANEL = 2
# Half extents (m) of the drawer's inside around its frame, from the boxes that make it.
INSIDE_X, INSIDE_Y, INSIDE_Z = 0.275, 0.2575, (-0.05, 0.05)


class CabinetScene(SimplerScene):
    """A robot before a cabinet with three drawers; a start's `drawer` is the target drawer."""

    def _load_furniture(self) -> None:
        loader = self.scene.create_urdf_loader()
        loader.name = "cabinet"
        loader.fix_root_link = True
        # On a GPU contacts are known by body only, so the panels must be separate bodies.
        urdf = self.pack.cabinet_urdf(self.drawn, self.variant.station, self.on_gpu)
        builder = loader.parse(str(urdf))["articulation_builders"][0]
        builder.initial_pose = CABINET_POSE
        self.cabinet = builder.build()
        for articulation in self.cabinet._objs:
            for joint in articulation.active_joints:
                joint.set_friction(JOINT_FRICTION)
                joint.set_drive_properties(0.0, JOINT_DAMPING)
        joints = [joint.name for joint in self.cabinet.active_joints]
        self._joint_of = {name: joints.index(f"{name}_drawer_joint") for name in DRAWERS}
        self.drawer_links = {name: self.cabinet.links_map[f"{name}_drawer"] for name in DRAWERS}

    def _furniture_links(self) -> list[Any]:
        return list(self.cabinet.links)

    def drawer_of(self, number: int) -> str:
        """Name of the target drawer in environment `number`."""
        drawer = self.starts[number].drawer
        assert drawer is not None
        return drawer

    def _set_furniture(self, env_idx: Tensor) -> None:
        qpos = torch.zeros(len(env_idx), len(self.cabinet.active_joints), device=self.device)
        for row, number in enumerate(env_idx):
            qpos[row, self._joint_of[self.drawer_of(int(number))]] = self._opening()
        self.cabinet.set_qpos(qpos)
        self.cabinet.set_qvel(torch.zeros_like(qpos))

    def _opening(self) -> float:
        """How far the target drawer is open at the start (m)."""
        return 0.0

    def drawer_positions(self) -> Tensor:
        """Position of the joint of the target drawer `(b,)`, m."""
        columns = [self._joint_of[self.drawer_of(i)] for i in range(len(self.starts))]
        index = torch.tensor(columns, device=self.device)[:, None]
        return self.cabinet.qpos.gather(1, index)[:, 0]

    def by_drawer(self, value: Callable[[str], Tensor]) -> Tensor:
        """`value` of the target drawer of each environment `(b, ...)`."""
        names = [self.drawer_of(i) for i in range(len(self.starts))]
        values = {name: value(name) for name in dict.fromkeys(names)}
        return torch.stack([values[name][i] for i, name in enumerate(names)])


class MoveDrawerScene(CabinetScene):
    """Open or close a drawer."""

    def _opening(self) -> float:
        return START_OPEN if self.task.goal == "close" else 0.0

    def rule_state(self, contacts: ContactQueries) -> DrawerState:  # noqa: ARG002
        return DrawerState(self.drawer_positions())

    def instruction(self, number: int) -> str:
        return f"{self.task.goal} {self.drawer_of(number)} drawer"


class PlaceScene(CabinetScene):
    """Open a drawer, then put the object on the cabinet into it."""

    contact_offset = 0.005

    def rule_state(self, contacts: ContactQueries) -> PlaceState:
        item = self.objects[0]

        def pressed(drawer: str) -> Tensor:
            panel = self.cabinet.links_map.get(f"{drawer}{PANEL_SUFFIX}")
            if panel is not None:
                return contacts.between(item, panel)
            return contacts.between(item, self.drawer_links[drawer], BOTTOM_PANEL)

        at = self.by_drawer(lambda name: (self.drawer_links[name].pose.inv() * item.pose).p)
        inside = (
            (at[:, 0].abs() < INSIDE_X)
            & (at[:, 1].abs() < INSIDE_Y)
            & (at[:, 2] > INSIDE_Z[0])
            & (at[:, 2] < INSIDE_Z[1])
        )
        return PlaceState(
            position=self.drawer_positions(),
            impulse=self.by_drawer(pressed).norm(dim=-1),
            inside=inside,
            released=~contacts.touched(item, self.links),
            speed=item.linear_velocity.norm(dim=-1),
        )

    def instruction(self, number: int) -> str:
        drawer = self.drawer_of(number)
        if int(self.rule.subtask[number]) == 0:
            return f"open {drawer} drawer"
        return f"place {object_name(self.starts[number].layout.models[0])} into {drawer} drawer"
