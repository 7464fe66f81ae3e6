"""From predicted chunks to executed actions: some of a chunk, then the next one (App. E)."""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from experiment.errors import UserError
from policies.contract import ACTION_SIZE, Observation
from policies.listening import Hear
from worldmodel.data.grip import LastGrip
from worldmodel.data.gripper import Decoder, GripperCodec
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.windows import WindowBatch, last_known
from worldmodel.sampler import Randomness

# Quantiles are mapped to +-1 and hardly any demonstrated action lies beyond this.
_LARGEST = 1.5


@dataclass(frozen=True)
class ActionCode:
    """What a row of a predicted chunk means: `normalisation` of the pose, codec of the gripper."""

    normalisation: Normalisation
    gripper: GripperCodec

    def decoded(self, predicted: np.ndarray, decoder: Decoder) -> np.ndarray:
        """Return actions for the robot's environment `(k, 7)`, float32, of predictions `(k, 7)`.

        `decoder` is the gripper's, of this episode.
        """
        actions = self.pose_back(predicted)
        actions[:, 6] = decoder(predicted[:, 6])
        return actions

    def pose_back(self, predicted: np.ndarray) -> np.ndarray:
        """Return predictions `(..., 7)` in robot units, as far as they are executed; the gripper
        as it is learned."""
        return self.normalisation.action_back(np.clip(predicted, -_LARGEST, _LARGEST))


class Predictor(Protocol):
    """A model that predicts chunks in its own units."""

    @property
    def name(self) -> str:
        """What records call the policy."""

    @property
    def chunk(self) -> int:
        """The number of actions predicted."""

    def predict(self, windows: WindowBatch, generator: Randomness) -> np.ndarray:
        """Return `(b, chunk, 7)`; of the windows only what was observed is used."""


def check_execute(execute: int, chunk: int, ensemble: int = 1) -> None:
    """Raise `UserError` where so many actions of a chunk cannot be executed, or chunks averaged."""
    if not 1 <= execute <= chunk:
        raise UserError(
            f"execute={execute} must lie between 1 and the {chunk} actions that the checkpoint "
            "predicts."
        )
    if ensemble < 1:
        raise UserError(f"ensemble={ensemble} must be at least 1, which is the newest alone.")


class ChunkedPolicy:
    """Executes the first `execute` actions of each predicted chunk, then predicts anew.

    With `ensemble` above 1 the movement is the mean of what so many of the last chunks say of the
    same step (temporal ensembling, arXiv 2304.13705, all alike as in Octo's evaluation), the
    gripper the newest chunk's. `picture` is height and width of what the model sees; coarser
    cameras are warned of. `past` are the control steps before now of further pictures that it sees;
    of those that it did not see itself, the one before counts. `hear` makes of an instruction what
    the model is told.
    """

    def __init__(
        self,
        predictor: Predictor,
        code: ActionCode,
        execute: int,
        picture: tuple[int, int] | None = None,
        ensemble: int = 1,
        past: Sequence[int] = (),
        hear: Hear = str,
    ) -> None:
        check_execute(execute, predictor.chunk, ensemble)
        self.name = predictor.name
        self._predictor, self._code, self._execute = predictor, code, execute
        self._picture, self._ensemble, self._past = picture, ensemble, tuple(past)
        self._hear = hear
        self.reset("", 0)

    def reset(self, instruction: str, seed: int) -> None:  # noqa: ARG002
        """Forget the last episode; the noise of the next one follows from `seed`."""
        self._generator = torch.Generator().manual_seed(seed)
        self._decoder = self._code.gripper.decoder()
        # The decoder as it was before the actions that were last returned, and how many these are.
        self._before, self._returned = copy.deepcopy(self._decoder), 0
        self._start: np.ndarray | None = None
        self._grip = LastGrip()
        self._chunks: list[np.ndarray] = []
        self._seen: dict[int, np.ndarray] = {}
        self._step = 0

    def told(self, executed: np.ndarray) -> None:
        """Hear which actions `(k, 7)` were executed in place of those that `act` last returned."""
        self._before.follow(executed[:, 6])
        self._decoder = copy.deepcopy(self._before)
        self._step += len(executed) - self._returned
        self._returned, self._chunks = 0, []

    def decoded(self, chunk: np.ndarray) -> np.ndarray:
        """Return as `act` does what of a predicted `chunk` `(k, 7)` is executed now, all of it."""
        self._before = copy.deepcopy(self._decoder)
        self._returned = len(chunk)
        self._step += self._returned
        return self._code.decoded(chunk, self._decoder)

    def copy(self, predictor: Predictor | None = None) -> "ChunkedPolicy":
        """Return a policy of the same model, or `predictor`, that goes on from here."""
        other = self.another(predictor)
        other._generator.set_state(self._generator.get_state())
        other._start, other._grip, other._step = self._start, copy.copy(self._grip), self._step
        other._chunks, other._seen = [*self._chunks], {**self._seen}
        other._before, other._returned = copy.deepcopy(self._before), self._returned
        other._decoder = copy.deepcopy(self._decoder)
        return other

    def another(self, predictor: Predictor | None = None) -> "ChunkedPolicy":
        """Return a policy of the same model, or `predictor`, with a state of its own."""
        return ChunkedPolicy(
            predictor or self._predictor,
            self._code,
            self._execute,
            self._picture,
            self._ensemble,
            self._past,
            self._hear,
        )

    def _start_like(self, observation: Observation) -> np.ndarray:
        """Return the episode's first picture, or this one where the camera's size changed."""
        now = observation.image
        assert now is not None
        if self._start is None or self._start.shape != now.shape:
            self._start = now
            (height, width), seen = now.shape[:2], self._picture
            if seen is not None and (height < seen[0] or width < seen[1]):
                warnings.warn(
                    f"policy '{self.name}' sees pictures of {seen[1]} x {seen[0]}, the camera's "
                    f"have only {width} x {height}: give a finer resolution.",
                    stacklevel=3,
                )
        return self._start

    def _remembered(self, observation: Observation) -> np.ndarray:
        """Return uint8 `(p, h, w, 3)`: the earlier pictures; before the episode its first one."""
        now = observation.image
        assert now is not None
        if any(picture.shape != now.shape for picture in self._seen.values()):
            self._seen = {}
        self._seen[self._step] = now
        found = [last_known(self._seen, self._step - step) for step in self._past]
        pictures = np.stack([self._seen[step] for step in found])
        # The next ones asked for lie after these.
        self._seen = {step: p for step, p in self._seen.items() if step >= min(found)}
        return pictures

    def _ensembled(self, chunk: np.ndarray) -> np.ndarray:
        """Return what is executed `(execute, 7)` after the newest `chunk`, in the model's units."""
        self._chunks = [*self._chunks, chunk][-self._ensemble :]
        steps = np.arange(self._execute)
        total, count = np.zeros((self._execute, 6)), np.zeros((self._execute, 1))
        for age, each in enumerate(reversed(self._chunks)):
            known = steps + age * self._execute < len(each)
            total[known] += each[(steps + age * self._execute)[known], :6]
            count[known] += 1
        return np.concatenate([total / count, chunk[: self._execute, 6:]], 1)

    def act(self, observation: Observation) -> np.ndarray:
        """Return float32 `(execute, 7)`; raises `UserError` for an observation without picture."""
        return act_together([self], [observation])[0]


def act_together(
    policies: Sequence[ChunkedPolicy], observations: Sequence[Observation]
) -> list[np.ndarray]:
    """Return what each of the `policies`, all of one model, does next, predicted as one batch.

    Pictures of several sizes are as many batches. Raises `UserError` for a missing picture.
    """
    first = policies[0]
    sizes: dict[tuple[int, ...], list[int]] = {}
    for row, observation in enumerate(observations):
        if observation.image is None:
            raise UserError(
                f"policy '{first.name}' needs pictures: set resolution, such as [160,128]."
            )
        sizes.setdefault(observation.image.shape, []).append(row)
    actions: dict[int, np.ndarray] = {}
    for rows in sizes.values():
        generators = [policies[row]._generator for row in rows]
        windows = windows_of([observations[row] for row in rows])
        told = [policies[row]._hear(observations[row].instruction) for row in rows]
        starts = [policies[row]._start_like(observations[row]) for row in rows]
        grips = [[policies[r]._grip.observe(float(observations[r].state[-1]))] for r in rows]
        windows = replace(
            windows,
            start=torch.from_numpy(np.stack(starts)),
            grip=torch.tensor(grips),
            instructions=told,
        )
        if first._past:
            past = np.stack([policies[r]._remembered(observations[r]) for r in rows])
            windows = replace(windows, past=torch.from_numpy(past))
        predicted = first._predictor.predict(windows, generators)
        for row, chunk in zip(rows, predicted, strict=True):
            policy = policies[row]
            actions[row] = policy.decoded(policy._ensembled(chunk))
    return [actions[row] for row in range(len(policies))]


def windows_of(observations: Sequence[Observation]) -> WindowBatch:
    """Return observations with pictures of one size as a batch of windows without a future."""
    count = len(observations)
    images = [observation.image for observation in observations if observation.image is not None]
    image = torch.from_numpy(np.stack(images))
    return WindowBatch(
        frame=image,
        future=image[:, None][:, :0],
        future_valid=torch.zeros(count, 0, dtype=torch.bool),
        action=torch.zeros(count, 0, ACTION_SIZE),
        action_valid=torch.zeros(count, 0, dtype=torch.bool),
        state=torch.from_numpy(np.stack([observation.state for observation in observations])),
        instructions=[observation.instruction for observation in observations],
    )
