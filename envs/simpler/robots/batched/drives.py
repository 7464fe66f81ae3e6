"""The drives of one robot in every environment, written to together."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Drives:
    """Targets of a robot's joints, in the order given.

    On a GPU PhysX has one table for the targets of all articulations; a write to it does nothing
    until it is applied. ManiSkill applies once a control step, before the first simulation step
    (`BaseEnv._step_action`), and its setters write joint by joint: so this writes all joints at
    once and applies every time. On the CPU there is one environment, and SAPIEN's own joints take
    their targets four times as fast as ManiSkill's.
    """

    def __init__(self, articulation: Any, joints: Sequence[Any], moving: Sequence[bool]) -> None:
        """Args: ManiSkill's articulation and joints; `moving` those with velocity targets too."""
        self._articulation = articulation
        self._joints = [joint._objs[0] for joint in joints]
        self._moving = list(moving)
        device = articulation.device
        limits = [joint.limits[0].tolist() for joint in self._joints]
        self.limits = torch.tensor(limits, dtype=torch.float64, device=device)
        # `active_index` has one equal number for each environment.
        self._columns = torch.tensor([int(joint.active_index[0]) for joint in joints]).to(device)
        self._tables: tuple[Tensor, Tensor] | None = None

    @property
    def on_gpu(self) -> bool:
        return bool(self._articulation.scene.gpu_sim_enabled)

    def write(self, positions: Tensor, velocities: Tensor, mask: Tensor | None = None) -> None:
        """Set targets `(b, n)`, rad and rad/s, where `mask` `(b,)` is true (everywhere if None)."""
        if self.on_gpu:
            self._write_table(positions, velocities, mask)
        else:
            self._write_joints(positions[0].tolist(), velocities[0].tolist())

    def _write_table(self, positions: Tensor, velocities: Tensor, mask: Tensor | None) -> None:
        px = self._articulation.px
        if self._tables is None:
            # Tables and `_data_index` (a row for each environment) exist from `gpu_init` on, and a
            # controller is made before it. `torch()` is a view of SAPIEN's own memory, which stays
            # where it is until the scene is built again, and with it this controller.
            self._tables = (
                px.cuda_articulation_target_qpos.torch(),
                px.cuda_articulation_target_qvel.torch(),
            )
            self._rows = self._articulation._data_index.long()[:, None]
        rows = self._rows
        if mask is not None:
            rows, positions, velocities = rows[mask], positions[mask], velocities[mask]
        table, velocity_table = self._tables
        # SAPIEN 3.0.3 applies rows 0 to k - 1 when it is given an index of k rows
        # (`gpuApplyArticulationQTargetPos`), whatever the index says: apply the whole table.
        table[rows, self._columns] = positions.to(table)
        px.gpu_apply_articulation_target_position()
        if any(self._moving):
            velocity_table[rows, self._columns] = velocities.to(velocity_table)
            px.gpu_apply_articulation_target_velocity()

    def _write_joints(self, positions: list[float], velocities: list[float]) -> None:
        for joint, moving, position, velocity in zip(
            self._joints, self._moving, positions, velocities, strict=True
        ):
            joint.set_drive_target(position)
            if moving:
                joint.set_drive_velocity_target(velocity)
