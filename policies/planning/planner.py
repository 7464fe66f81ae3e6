"""Best of several chunks, judged by where a world model imagines that they lead."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from experiment.errors import UserError
from policies.chunking import ActionCode
from policies.planning.plan import Plan
from policies.planning.steps_left import KIND, Value
from policies.video_action import VideoActionPredictor
from worldmodel.data.pictures import resized
from worldmodel.data.windows import WindowBatch
from worldmodel.device import Compute
from worldmodel.imagination.dream import Dreamer, load_dreamer
from worldmodel.probes.features import load_probed
from worldmodel.sampler import Randomness, Sampling
from worldmodel.training.checkpoint import checkpoint_folder, read_config, weights_digest

_EULER_STEPS = 4
"""Of a dream. It starts at zeros, so that candidates differ by their actions alone."""


@dataclass(frozen=True)
class Planner:
    """A predictor of chunks that chooses among those of another.

    The first candidate is what `predictor` does by itself, the others begin at noise.
    """

    predictor: VideoActionPredictor
    code: ActionCode
    dreamer: Dreamer
    value: Value
    candidates: int

    @property
    def name(self) -> str:
        return f"{self.predictor.name}, best of {self.candidates}"

    @property
    def chunk(self) -> int:
        return self.predictor.chunk

    def predict(self, windows: WindowBatch, generator: Randomness) -> np.ndarray:
        """Return `(b, chunk, 7)` in the predictor's units."""
        chunks = self.candidates_of(windows, generator)
        best = self.judged(windows, chunks).argmin(1)
        return chunks[np.arange(len(best)), best]

    def candidates_of(self, windows: WindowBatch, generator: Randomness) -> np.ndarray:
        """Return `(b, k, chunk, 7)`."""
        first = self.predictor.predict(windows, generator)
        others = replace(self.predictor, inference=replace(self.predictor.inference, start="noise"))
        more = self.candidates - 1
        if not isinstance(generator, torch.Generator):
            # A sample's noise is then the same in any batch.
            generator = [each for each in generator for _ in range(more)]
        drawn = others.predict(windows.repeated(more), generator)
        drawn = drawn.reshape(len(first), more, *first.shape[1:])
        return np.concatenate([first[:, None], drawn], 1)

    def judged(self, windows: WindowBatch, chunks: np.ndarray) -> np.ndarray:
        """Return the control steps that are left after each of the `chunks` `(b, k, ...)`."""
        samples, count = chunks.shape[:2]
        repeated = windows.repeated(count)
        frames = self.imagined(repeated, chunks.reshape(samples * count, *chunks.shape[2:]))
        seen = replace(
            repeated,
            frame=_resized(repeated.frame, frames),
            start=None if repeated.start is None else _resized(repeated.start, frames),
            past=None,  # a value judges what is ahead
            future=torch.from_numpy(frames),
            future_valid=torch.ones(frames.shape[:2], dtype=torch.bool),
        )
        return self.value(seen).reshape(samples, count)

    def imagined(self, windows: WindowBatch, chunks: np.ndarray) -> np.ndarray:
        """Return the frames uint8 `(n, t, h, w, 3)` that the `chunks` `(n, chunk, 7)` lead to."""
        actions = self.code.pose_back(chunks).astype(np.float32)
        told = replace(windows, action=torch.from_numpy(actions))
        generator = torch.Generator().manual_seed(0)
        return self.dreamer(told, self.dreamer.reach, generator, actions=True)


def planned(
    predictor: VideoActionPredictor,
    code: ActionCode,
    gripper: tuple[str, str],
    plan: Plan,
    compute: Compute,
) -> Planner:
    """Return a planner around `predictor`, whose robot and gripper codec are `gripper`.

    Raises `UserError` for a value that does not fit.
    """
    folder, world = value_folders(str(plan.value))
    said = f"plan.value={plan.value}"
    dreamer = load_dreamer(world, Sampling(steps=_EULER_STEPS, start="zeros"), compute)
    if not dreamer.takes_actions:
        raise UserError(f"{said}: the model in {world} imagines without actions.")
    if dreamer.gripper != gripper:
        raise UserError(
            f"{said}: the model in {world} is of {' and '.join(dreamer.gripper or ())} gripper "
            f"codes, the policy of {' and '.join(gripper)}."
        )
    if predictor.chunk < dreamer.actions_needed(dreamer.reach):
        raise UserError(
            f"{said}: the model in {world} imagines {dreamer.actions_needed(dreamer.reach)} "
            f"actions, the policy predicts {predictor.chunk}."
        )
    value = Value.load(folder, load_probed(world, compute), read_config(folder))
    return Planner(predictor, code, dreamer, value, plan.candidates)


def value_folders(name: str) -> tuple[Path, Path]:
    """Return the folders of a value and of the model that it reads; raises `UserError`."""
    try:
        folder = checkpoint_folder(name)
        sections = read_config(folder)
    except UserError as error:
        raise UserError(f"plan.value={name} is no run of python -m policies.value.") from error
    if sections.get("kind") != KIND:
        raise UserError(f"plan.value={name} is no run of python -m policies.value.")
    try:
        world = checkpoint_folder(str(sections.get("checkpoint")))
        same = weights_digest(world) == sections.get("weights")
    except UserError as error:
        raise UserError(f"plan.value={name}: its model is gone ({error}); fit it again.") from error
    if not same:
        raise UserError(
            f"plan.value={name} was fitted on other weights than those in {world}: fit it again."
        )
    return folder, world


def _resized(pictures: torch.Tensor, like: np.ndarray) -> torch.Tensor:
    """Return pictures uint8 `(b, h, w, 3)` in the size of the imagined ones `(b, t, h, w, 3)`."""
    return torch.from_numpy(resized(pictures.cpu().numpy(), (like.shape[2], like.shape[3])))
