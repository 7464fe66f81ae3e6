"""What is left to foresee, and what actions are worth, by how noisy the video is.

A world model learns from its actions where the noisy video itself does not say what will happen. Of
windows whose video stands at time t (1 is noise), one denoising step gives the error that is left,
and the same step with the actions of another window what those are worth there. Times at which they
are worth nothing teach nothing about actions, however often they are drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from experiment import progress
from experiment.seeding import numpy_generator, torch_generator
from worldmodel.data.windows import WindowBatch
from worldmodel.imagination.clips import with_actions
from worldmodel.imagination.dream import Dreamer
from worldmodel.imagination.errors import Interval, ratio, shifted, squared_errors
from worldmodel.path import velocity
from worldmodel.probes.features import noised_at
from worldmodel.tokens import Tokens

TIMES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
_NOISE, _DRAWN = 3, 4
_AT_ONCE = 32


@dataclass(frozen=True)
class NoiseLevel:
    """At `time`: the error over that of a picture in which nothing moves, and how much larger it is
    with the actions of another window (None of a model that reads no actions)."""

    time: float
    error: Interval
    other: Interval | None

    def section(self) -> dict[str, Any]:
        """Return the figures for `figures.json`."""
        other = None if self.other is None else self.other.section()
        return {"time": self.time, "error": self.error.section(), "other actions": other}


def by_noise_level(
    dreamer: Dreamer, windows: WindowBatch, episodes: np.ndarray, actions: bool, seed: int
) -> list[NoiseLevel]:
    """Return the levels of `TIMES` on `windows` with their futures, of `episodes` `(n,)`."""
    real = windows.future.numpy()
    still = squared_errors(real, windows.frame.numpy()[:, None]).mean(1)
    others = with_actions(windows, shifted(episodes).tolist()) if actions else None
    levels = []
    for time in progress.each(TIMES, "by noise", "level"):
        own = squared_errors(real, denoised(dreamer, windows, time, actions, seed)).mean(1)
        generator = numpy_generator(seed, _DRAWN)
        error, other = ratio(own, still, episodes, generator), None
        if others is not None:
            swapped = squared_errors(real, denoised(dreamer, others, time, True, seed)).mean(1)
            other = ratio(swapped, own, episodes, generator)
        levels.append(NoiseLevel(time, error, other))
    return levels


@torch.no_grad()
def denoised(
    dreamer: Dreamer, windows: WindowBatch, time: float, actions: bool, seed: int
) -> np.ndarray:
    """Return the futures uint8 `(n, t, h, w, 3)` that one step from `time` makes of their own.

    The noise follows from the seed, so that windows differ in what they are given alone.
    """
    tokenizer, model, device = dreamer.assembler.tokenizer, dreamer.model, dreamer.compute.device
    generator = torch_generator(seed, _NOISE, round(1000 * time))
    parts = []
    for start in range(0, windows.samples, _AT_ONCE):
        rows = windows.rows(slice(start, start + _AT_ONCE)).to(device)
        known = dreamer.known(rows, with_state=True)
        if actions:
            known["action"] = dreamer.action_tokens(rows, 0)
        _, video = tokenizer.encode(rows.frame, rows.future)
        clean = Tokens.clean(video, dreamer.assembler.video_position(device))
        noisy = noised_at(clean, time, generator)
        with dreamer.compute.autocast():
            output = model({**known, "video": noisy}).prediction["video"]
        slope = velocity(output.float(), noisy.values, time, model.config.prediction)
        frames = tokenizer.decode(known["frame"].values, noisy.values - time * slope)
        parts.append(frames.cpu().numpy())
    return np.concatenate(parts)


def in_words(levels: Sequence[NoiseLevel]) -> str:
    """Say at which times there is something to learn from actions."""
    worth = [level for level in levels if level.other is not None and level.other.low > 1.0]
    if not worth:
        return "actions are worth nothing at any noise of the video"
    first, last = worth[0], worth[-1]
    return (
        f"actions are worth something from t = {first.time:g} on (error x{first.other} with those "
        f"of another window; at t = {last.time:g} x{last.other})"
    )
