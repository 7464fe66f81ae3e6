"""Robots with the control modes for many environments at once."""

from dataclasses import fields
from typing import Any

from envs.simpler.robots.batched.controller import BatchedConfig
from envs.simpler.robots.batched.parts import (
    BatchedCartesianDeltaConfig,
    BatchedGripperTargetConfig,
    BatchedMimicPositionConfig,
    BatchedTargetDeltaConfig,
)
from envs.simpler.robots.controller import PlannedJointConfig

BATCHED: dict[str, type[PlannedJointConfig]] = {
    "CartesianDeltaConfig": BatchedCartesianDeltaConfig,
    "GripperTargetConfig": BatchedGripperTargetConfig,
    "TargetDeltaConfig": BatchedTargetDeltaConfig,
    "MimicPositionConfig": BatchedMimicPositionConfig,
}


def _batched_part(config: PlannedJointConfig) -> PlannedJointConfig:
    values = {each.name: getattr(config, each.name) for each in fields(config)}
    return BATCHED[type(config).__name__](**values)


def batched(agent: type[Any]) -> type[Any]:
    """The robot `agent` with controllers for many environments; all else is the robot's own."""

    class Batched(agent):
        @property
        def _controller_configs(self) -> dict[str, Any]:
            return {
                mode: BatchedConfig(parts={name: _batched_part(c) for name, c in parts.items()})
                for mode, parts in super()._controller_configs.items()
            }

        def reset(self, init_qpos: Any = None) -> None:
            super().reset(init_qpos)
            # Called within a reset while the mask still says which environments it is for.
            self.controller.will_reset(self.scene._reset_mask)

    Batched.__name__ = f"Batched{agent.__name__}"
    return Batched
