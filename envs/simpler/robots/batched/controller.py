"""A robot's parts driven together, for many environments at once, on a GPU or the CPU.

Each part plans its path when it gets its action; before every simulation step one row of all the
parts' paths is written to the drives.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from mani_skill.agents.controllers.base_controller import CombinedController, ControllerConfig
from torch import Tensor

from envs.simpler.robots.batched.drives import Drives
from envs.simpler.robots.batched.parts import BatchedPart
from envs.simpler.robots.controller import VELOCITY_WINDOW, PlannedJointConfig


class BatchedController(CombinedController):
    """A robot's parts together: their paths are driven with one write a simulation step."""

    def __init__(
        self,
        config: "BatchedConfig",
        articulation: Any,
        control_freq: int,
        sim_freq: int | None = None,
        scene: Any = None,
    ) -> None:
        super().__init__(config.parts, articulation, control_freq, sim_freq, scene)
        self.parts: list[BatchedPart] = list(self.controllers.values())
        moving = [part.config.drive_velocity for part in self.parts for _ in part.joints]
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
        for part in self.parts:
            part.reset_where(mask)
        positions = torch.cat([part.target_positions for part in self.parts], -1)
        positions = positions.clamp(*self._drives.limits.unbind(-1))
        self._drives.write(positions, torch.zeros_like(positions), mask)
        if bool(mask.all()):
            self._path = None
        elif self._path is not None:
            self._path[0][:, mask] = positions[mask].to(self._path[0])
            self._path[1][:, mask] = 0.0

    def set_action(self, action: Any) -> None:
        super().set_action(action)
        steps = max(len(part.path) for part in self.parts)

        def joined(paths: list[Tensor]) -> Tensor:
            return torch.cat([path.expand(steps, -1, -1) for path in paths], -1)

        # PhysX 4 under the original keeps a drive's target within the joint's limits.
        positions = joined([part.path for part in self.parts])
        positions = positions.clamp(*self._drives.limits.unbind(-1))
        velocities = joined([part.path_velocity for part in self.parts]) * self._moving
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
            for part in self.parts:
                part.watch()
        self._step = min(self._step + 1, last)
        self._drives.write(self._path[0][self._step], self._path[1][self._step])


@dataclass
class BatchedConfig(ControllerConfig):
    """The parts of a robot by name; joint names are those of the parts."""

    joint_names: list[str] = field(default_factory=list)
    parts: dict[str, PlannedJointConfig] = field(default_factory=dict)
    controller_cls: ClassVar[type] = BatchedController
