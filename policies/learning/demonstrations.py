"""Demonstrations as a policy learns from them: target levels of the gripper, a calm end."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

import numpy as np

from experiment.seeding import numpy_generator
from policies.gripper import GripperKind, levels
from worldmodel.data.augmentation import Augmentation
from worldmodel.data.batches import Order
from worldmodel.data.trajectories import Trajectories
from worldmodel.data.windows import WindowConfig, Windows, cut
from worldmodel.training.trainer import AnyBatch

_AUGMENTATION = 2


def with_levels(trajectories: Trajectories, kind: GripperKind) -> Trajectories:
    """Return the trajectories with the gripper's commands as target levels, if `kind` says so."""
    if kind == "raw":
        return trajectories
    action = np.array(trajectories.action, dtype=np.float32)
    for first, end in zip(trajectories.starts[:-1], trajectories.starts[1:], strict=True):
        action[first:end, 6] = levels(action[first:end, 6])
    return dataclasses.replace(trajectories, action=action)


def cut_holding(
    trajectories: Trajectories, indices: np.ndarray, config: WindowConfig, kind: GripperKind
) -> Windows:
    """Return windows in which the robot rests after the end of an episode, the gripper as it was.

    Demonstrations end when all is done; a policy acts on to the step limit and is to keep calm.
    """
    windows = cut(trajectories, indices, config)
    action = windows.action.copy()
    if kind == "level":
        last = windows.action_valid.sum(1) - 1
        held = action[np.arange(len(action)), last, 6][:, None]
        action[..., 6] = np.where(windows.action_valid, action[..., 6], held)
    return dataclasses.replace(
        windows, action=action, action_valid=np.ones_like(windows.action_valid)
    )


@dataclass(frozen=True)
class DemonstrationBatches(Generic[AnyBatch]):
    """The training batch of each step: ordered, cut, augmented, assembled."""

    trajectories: Trajectories
    order: Order
    windows: WindowConfig
    gripper: GripperKind
    augmentation: Augmentation | None
    assemble: Callable[[Windows], AnyBatch]
    seed: int

    def __call__(self, step: int) -> AnyBatch:
        """Return the batch of `step`."""
        windows = cut_holding(self.trajectories, self.order(step), self.windows, self.gripper)
        if self.augmentation is not None:
            generator = numpy_generator(_AUGMENTATION, self.seed, step)
            windows = self.augmentation(windows, generator)
        return self.assemble(windows)
