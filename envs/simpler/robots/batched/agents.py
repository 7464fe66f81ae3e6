"""Robots with the control modes for many environments at once."""

import copy
from typing import Any

from envs.simpler.robots.batched.combined import CombinedBatchedConfig
from envs.simpler.robots.batched.controllers import (
    BatchedCartesianDelta,
    BatchedController,
    BatchedGripperTarget,
    BatchedMimicPosition,
    BatchedTargetDelta,
)
from envs.simpler.robots.controller import (
    CartesianDeltaConfig,
    GripperTargetConfig,
    PlannedJointConfig,
)
from envs.simpler.robots.widowx_controller import MimicPositionConfig, TargetDeltaConfig

CONTROLLERS: dict[type[PlannedJointConfig], type[BatchedController]] = {
    CartesianDeltaConfig: BatchedCartesianDelta,
    GripperTargetConfig: BatchedGripperTarget,
    TargetDeltaConfig: BatchedTargetDelta,
    MimicPositionConfig: BatchedMimicPosition,
}


def _batched_config(config: PlannedJointConfig) -> PlannedJointConfig:
    changed = copy.copy(config)
    changed.controller_cls = CONTROLLERS[type(config)]  # type: ignore[misc]
    return changed


def batched(agent: type[Any]) -> type[Any]:
    """The robot `agent` with controllers for many environments; all else is the robot's own."""

    class Batched(agent):
        @property
        def _controller_configs(self) -> dict[str, Any]:
            return {
                mode: CombinedBatchedConfig(
                    configs={name: _batched_config(config) for name, config in configs.items()}
                )
                for mode, configs in super()._controller_configs.items()
            }

        def reset(self, init_qpos: Any = None) -> None:
            super().reset(init_qpos)
            # Called within a reset while the mask still says which environments it is for.
            self.controller.will_reset(self.scene._reset_mask)

    Batched.__name__ = f"Batched{agent.__name__}"
    return Batched
