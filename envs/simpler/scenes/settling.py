"""Bringing the loose objects of a scene to rest at the start of an episode."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import sapien
import torch
from mani_skill.utils.structs import Actor, Pose
from torch import Tensor

from envs.simpler.assets.pack import AssetPack
from envs.simpler.assets.rests import Rest
from envs.simpler.tasks.registry import TaskSpec
from envs.simpler.tasks.start import Start
from envs.simpler.tasks.variants import Variant

TABLE_HEIGHT = 0.87
DROP_HEIGHT = 0.5


class Settling:
    """Part of a scene that lays out its objects.

    A drop onto a flat table ends the same wherever it happens, so where a drop's end is known it is
    taken instead of simulated: as it was measured in the original for the official meshes (PhysX 5
    would end it elsewhere), in this simulator for primitives.
    """

    always_drop = False
    """Whether to let objects fall even where the end is known."""
    task: TaskSpec
    variant: Variant
    pack: AssetPack
    starts: list[Start]
    objects: list[Actor]
    simulation_frequency: int
    on_gpu: bool
    scene: Any
    device: Any

    def poses(self, rows: Sequence[Any]) -> Pose:
        """Poses from rows of position (m) and quaternion."""
        return Pose.create(torch.as_tensor(np.array(rows), dtype=torch.float32, device=self.device))

    def _rests(self, number: int) -> list[Rest] | None:
        if self.always_drop or self.simulation_frequency != self.task.simulation_frequency:
            return None
        start = self.starts[number]
        return self.pack.rests(self.task, start.layout, self.variant.stage)

    def _settle_objects(self, env_idx: Tensor) -> None:
        if not self.objects:
            return
        rests = [self._rests(int(i)) for i in env_idx]
        known = [rest for rest in rests if rest is not None]
        if len(known) < len(rests):
            if self.on_gpu:
                raise RuntimeError(
                    f"where the objects of {self.task.name} rest is not known; "
                    "a GPU simulation cannot let them fall while other environments wait."
                )
            self._drop_objects()
        else:
            still = torch.zeros(len(env_idx), 3, device=self.device)
            for slot, item in enumerate(self.objects):
                item.set_pose(self.poses([rest[slot] for rest in known]))
                item.set_linear_velocity(still)
                item.set_angular_velocity(still)
        self._remember_settled(env_idx)

    def _remember_settled(self, env_idx: Tensor) -> None:
        """Keep where the objects lie `(b, o, 3)`, m: what rules compare with."""
        now = torch.stack([item.pose.p for item in self.objects], 1)
        if len(env_idx) == len(self.starts):
            self.settled = now.clone()
        else:
            self.settled[env_idx] = now[env_idx]

    # ---- a drop, on the CPU -------------------------------------------------------------------

    def _drop_objects(self) -> None:
        """Let all objects fall together."""
        self._drop(range(len(self.objects)))

    def _settle(self, seconds: float) -> None:
        for _ in range(int(self.simulation_frequency * seconds)):
            self.scene.px.step()

    def _drop(self, which: Sequence[int]) -> None:
        """Drop objects by number: first without tumbling, then freely until they are still."""
        layout = self.starts[0].layout
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
    def _still(body: Any) -> None:
        body.linear_velocity = [0.0, 0.0, 0.0]
        body.angular_velocity = [0.0, 0.0, 0.0]

    @classmethod
    def _hang(cls, body: Any, position: Sequence[float], quaternion: Sequence[float]) -> None:
        body.entity_pose = sapien.Pose([*position, TABLE_HEIGHT + DROP_HEIGHT], list(quaternion))
        cls._still(body)

    @classmethod
    def _release(cls, bodies: Sequence[Any]) -> None:
        for body in bodies:
            body.set_locked_motion_axes([False] * 6)
            body.entity_pose = body.entity_pose  # wakes it up
            cls._still(body)

    @staticmethod
    def _still_moving(bodies: Sequence[Any]) -> bool:
        speed = sum(float(np.linalg.norm(body.linear_velocity)) for body in bodies)
        spin = sum(float(np.linalg.norm(body.angular_velocity)) for body in bodies)
        return speed > 1e-3 or spin > 1e-2
