"""Arm and fingers driven together, for many environments at once, on a GPU or the CPU.

Each controller plans its path when it gets its action; before every simulation step one row of all
paths is written to the drives.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from mani_skill.agents.controllers.base_controller import CombinedController, ControllerConfig
from torch import Tensor

from envs.simpler.robots.batched.controllers import BatchedController
from envs.simpler.robots.batched.drives import Drives
from envs.simpler.robots.controller import VELOCITY_WINDOW, PlannedJointConfig


class CombinedBatchedController(CombinedController):
    """A robot's controllers together, with one write to the drives a simulation step."""

    def __init__(
        self,
        config: "CombinedBatchedConfig",
        articulation: Any,
        control_freq: int,
        sim_freq: int | None = None,
        scene: Any = None,
    ) -> None:
        super().__init__(config.configs, articulation, control_freq, sim_freq, scene)
        self._members: list[BatchedController] = list(self.controllers.values())
        moving = [member.config.drive_velocity for member in self._members for _ in member.joints]
        self._moving = torch.tensor(moving, device=articulation.device)
        self._drives = Drives(articulation, self.joints, moving)
        self._resetting: Tensor | None = None
        self._path: tuple[Tensor, Tensor] | None = None
        self._step = 0

    def will_reset(self, mask: Tensor) -> None:
        """Say which environments `(b,)` the next `reset` is for.

        ManiSkill resets all controllers at the end of a reset, when it has already set its own mask
        back to every environment (`BaseEnv.reset`).
        """
        self._resetting = mask.clone()

    def reset(self) -> None:
        mask = self.scene._reset_mask if self._resetting is None else self._resetting
        self._resetting = None
        for member in self._members:
            member.reset_where(mask)
        positions = torch.cat([member.target_positions for member in self._members], -1)
        positions = positions.clamp(*self._drives.limits.unbind(-1))
        self._drives.write(positions, torch.zeros_like(positions), mask)
        if bool(mask.all()):
            self._path = None
        elif self._path is not None:
            self._path[0][:, mask] = positions[mask].to(self._path[0])
            self._path[1][:, mask] = 0.0

    def set_action(self, action: Any) -> None:
        super().set_action(action)
        steps = max(len(member.path) for member in self._members)

        def joined(paths: list[Tensor]) -> Tensor:
            return torch.cat([path.expand(steps, -1, -1) for path in paths], -1)

        # PhysX 4 under the original keeps a drive's target within the joint's limits.
        positions = joined([member.path for member in self._members])
        positions = positions.clamp(*self._drives.limits.unbind(-1))
        velocities = joined([member.path_velocity for member in self._members]) * self._moving
        self._path = (positions.to(torch.float32), velocities.to(torch.float32))
        self._step = 0
        if steps == 1:
            self._drives.write(positions[0], velocities[0])

    def before_simulation_step(self) -> None:
        if self._path is None or len(self._path[0]) == 1:
            return
        last = len(self._path[0]) - 1
        if self._step == last - VELOCITY_WINDOW:
            if self._drives.on_gpu:
                # Positions are fetched once a control step otherwise.
                self.articulation.px.gpu_fetch_articulation_qpos()
            for member in self._members:
                member.watch()
        self._step = min(self._step + 1, last)
        self._drives.write(self._path[0][self._step], self._path[1][self._step])


@dataclass
class CombinedBatchedConfig(ControllerConfig):
    """The configurations of a robot's controllers by name."""

    joint_names: list[str] = field(default_factory=list)
    configs: dict[str, PlannedJointConfig] = field(default_factory=dict)
    controller_cls: ClassVar[type] = CombinedBatchedController
