"""Demonstrations as a policy learns from them: target levels of the gripper, a calm end."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch

from experiment.seeding import numpy_generator
from policies.gripper import GripperCodec, with_learned_gripper
from worldmodel.data.augmentation import Augmentation
from worldmodel.data.batches import Order
from worldmodel.data.trajectories import Trajectories, cut
from worldmodel.data.windows import WindowBatch, WindowConfig

_AUGMENTATION = 2


def as_learned(trajectories: Trajectories, codec: GripperCodec) -> Trajectories:
    """Return trajectories of canonical actions with the gripper as `codec` learns it."""
    action = np.array(trajectories.action, dtype=np.float32)
    for first, end in zip(trajectories.starts[:-1], trajectories.starts[1:], strict=True):
        action[first:end] = with_learned_gripper(action[first:end], codec)
    return dataclasses.replace(trajectories, action=action)


def cut_holding(
    trajectories: Trajectories, indices: np.ndarray, config: WindowConfig, codec: GripperCodec
) -> WindowBatch:
    """Return windows in which the robot rests after the end of an episode, the gripper as it was.

    Demonstrations end when all is done; a policy acts on to the step limit and is to keep calm.
    """
    windows = cut(trajectories, indices, config)
    action = windows.action.clone()
    last = windows.action_valid.sum(1) - 1
    ends = action[torch.arange(len(action)), last, 6].numpy()
    resting = torch.from_numpy(codec.resting(ends))[:, None]
    action[..., 6] = torch.where(windows.action_valid, action[..., 6], resting)
    return dataclasses.replace(
        windows, action=action, action_valid=torch.ones_like(windows.action_valid)
    )


@dataclass(frozen=True)
class DemonstrationBatches:
    """The training windows of each step: ordered, cut, augmented."""

    trajectories: Trajectories
    order: Order
    windows: WindowConfig
    gripper: GripperCodec
    augmentation: Augmentation | None
    seed: int

    def __call__(self, step: int) -> WindowBatch:
        """Return the windows of `step`."""
        windows = cut_holding(self.trajectories, self.order(step), self.windows, self.gripper)
        if self.augmentation is not None:
            generator = numpy_generator(_AUGMENTATION, self.seed, step)
            windows = self.augmentation(windows, generator)
        return windows
