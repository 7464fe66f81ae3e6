"""Tasks at the cabinet: open or close a drawer, and open one to put an object into it.

The originals are `Open…/Close…DrawerCustomInScene-v0` and `PlaceIntoClosed…CustomInScene-v0`.
"""

from typing import Any

import numpy as np
import sapien
import torch
from torch import Tensor

from envs.simpler.contacts import Contacts
from envs.simpler.rules import DrawerState, MoveDrawer, PlaceInDrawer, PlaceState, Rule
from envs.simpler.scene import SimplerScene
from envs.simpler.tasks.names import spoken

CABINET_POSE = sapien.Pose([-0.295, 0.0, 0.017])
JOINT_FRICTION, JOINT_DAMPING = 0.05, 1.0
START_OPEN = 0.2
"""Where a drawer starts that is to be closed (m)."""
# Number of the bottom panel among a drawer's collision shapes.
BOTTOM_PANEL = 2
# Half extents (m) of the drawer's inside around its frame, from the boxes that make it.
INSIDE_X, INSIDE_Y, INSIDE_Z = 0.275, 0.2575, (-0.05, 0.05)


class CabinetScene(SimplerScene):
    """A robot before a cabinet with three drawers; `start.drawer` is the one in question."""

    rule: Any

    def _load_furniture(self) -> None:
        loader = self.scene.create_urdf_loader()
        loader.name = "cabinet"
        loader.fix_root_link = True
        urdf = self.pack.cabinet_urdf(self.drawn, self.variant.station)
        builder = loader.parse(str(urdf))["articulation_builders"][0]
        builder.initial_pose = CABINET_POSE
        self.cabinet = builder.build()
        for joint in self.cabinet._objs[0].active_joints:
            joint.set_friction(JOINT_FRICTION)
            joint.set_drive_properties(0.0, JOINT_DAMPING)
        joints = [joint.name for joint in self.cabinet.active_joints]
        self.drawer_index = joints.index(f"{self.start.drawer}_drawer_joint")
        self.drawer_link = self.cabinet.links_map[f"{self.start.drawer}_drawer"]

    def _furniture_links(self) -> list[Any]:
        return list(self.cabinet.links)

    def _set_furniture(self) -> None:
        self.cabinet._objs[0].qpos = np.zeros(len(self.cabinet.active_joints))

    def drawer_position(self) -> Tensor:
        """Position of the drawer's joint `(b,)`, m."""
        return self.cabinet.qpos[:, self.drawer_index]


class MoveDrawerScene(CabinetScene):
    """Open or close a drawer."""

    def _make_rule(self) -> Rule:
        return MoveDrawer(self.task.goal)

    def _set_furniture(self) -> None:
        qpos = np.zeros(len(self.cabinet.active_joints))
        if self.task.goal == "close":
            qpos[self.drawer_index] = START_OPEN
        self.cabinet._objs[0].qpos = qpos

    def _update_rule(self, contacts: Contacts) -> Tensor:  # noqa: ARG002
        return self.rule.update(DrawerState(self.drawer_position()))

    def get_language_instruction(self) -> str:
        return f"{self.task.goal} {self.start.drawer} drawer"


class PlaceScene(CabinetScene):
    """Open a drawer, then put the object on the cabinet into it."""

    contact_offset = 0.005

    def _make_rule(self) -> Rule:
        return PlaceInDrawer(self.task.forced_subtask_step)

    def _update_rule(self, contacts: Contacts) -> Tensor:
        return self.rule.update(self.place_state(contacts))

    def place_state(self, contacts: Contacts) -> PlaceState:
        """Read the simulator: drawer joint, contact impulse, object in the drawer, released."""
        item = self.objects[0]
        pressed = contacts.between(item, self.drawer_link, BOTTOM_PANEL)
        at = (self.drawer_link.pose.inv() * item.pose).p
        inside = (
            (at[:, 0].abs() < INSIDE_X)
            & (at[:, 1].abs() < INSIDE_Y)
            & (at[:, 2] > INSIDE_Z[0])
            & (at[:, 2] < INSIDE_Z[1])
        )
        return PlaceState(
            position=self.drawer_position(),
            impulse=pressed.norm(dim=-1),
            inside=inside,
            released=~contacts.touched(item, self.links),
            speed=torch.as_tensor(item.linear_velocity).norm(dim=-1),
        )

    def get_language_instruction(self) -> str:
        drawer = self.start.drawer
        if int(self.rule.subtask[0]) == 0:
            return f"open {drawer} drawer"
        return f"place {spoken(self.start.layout.models[0])} into {drawer} drawer"
