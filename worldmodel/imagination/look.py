"""A look at one model on one data set: dreams, their errors, pictures and figures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiment import progress
from experiment.errors import UserError
from experiment.seeding import numpy_generator, torch_generator
from worldmodel.data.source import DataSource
from worldmodel.data.windows import WindowBatch
from worldmodel.imagination import inverse, pictures, plots
from worldmodel.imagination.clips import Clips, Family, with_actions
from worldmodel.imagination.dream import Dreamer
from worldmodel.imagination.errors import (
    Counterfactuals,
    psnr,
    ratio,
    shifted,
    squared_errors,
    verdict,
)
from worldmodel.imagination.noise_levels import by_noise_level, in_words

_DREAM, _DRAWN = 1, 2
_INVERSE_WINDOWS = 6  # a clip: they are short
_LEVEL_WINDOWS = 3
_FIT_WINDOWS = 1500  # of other data, for the regression
_OTHER = "actions of another clip"
_GIVEN, _POLICY = "world model, video given", "the same without video (policy)"
_RIDGE, _CONSTANT = "ridge regression on pixels", "constant"


@dataclass(frozen=True)
class Look:
    """Looks at one model on one data set, and writes what it sees into `folder`."""

    dreamer: Dreamer
    source: DataSource
    folder: Path
    horizon: int
    clips: int
    shown: int
    actions: bool
    seed: int
    fit_on: DataSource | None = None
    """Data that the regression beside inverse dynamics is fitted on; None: other episodes."""

    def __call__(self) -> dict[str, Any]:
        """Write the pictures; return the figures."""
        figures = self._demonstrations()
        figures["by noise of the video"] = self._noise_levels(figures["in words"])
        if self.actions:
            figures["inverse dynamics"] = self._inverse_dynamics(figures["in words"])
        return figures

    def _dream(self, clips: WindowBatch, horizon: int, actions: bool) -> np.ndarray:
        # The same noise for all: dreams differ by what they are given alone.
        generator = torch_generator(self.seed, _DREAM, device=self.dreamer.compute.device)
        return self.dreamer(clips, horizon, generator, actions)

    def _demonstrations(self) -> dict[str, Any]:
        dreamer, horizon = self.dreamer, self.horizon
        times = dreamer.times(horizon)
        needed = dreamer.actions_needed(horizon) if self.actions else 0
        data = Clips(self.source, dreamer, times, needed)
        clips, episodes = data.spread(self.clips)
        real, rate = clips.future.numpy(), data.data.rate
        given = {"frame alone": (clips, False)}
        if self.actions:
            others = with_actions(clips, shifted(episodes).tolist())
            given = {"frame and actions": (clips, True), **given, _OTHER: (others, True)}
        dreams = {
            name: self._dream(what, horizon, actions)
            for name, (what, actions) in progress.each(given.items(), "dreaming", "dream")
        }
        errors = {name: squared_errors(real, dream) for name, dream in dreams.items()}
        errors["nothing moves"] = squared_errors(real, clips.frame.numpy()[:, None])
        plots.horizon(self.folder / "horizon.png", times, errors, dreamer.reach, rate)
        self._show(clips, dreams, times, rate)
        figures: dict[str, Any] = {
            "clips": clips.samples,
            "episodes": len(np.unique(episodes)),
            "times": times,
            "mean squared error": {name: e.mean(0).tolist() for name, e in errors.items()},
            "psnr": {name: psnr(e.mean(0)).tolist() for name, e in errors.items()},
            "psnr of all": {name: float(psnr(e.mean())) for name, e in errors.items()},
        }
        words = [_against_still(errors, times)]
        found: Counterfactuals | None = None
        if self.actions:
            generator = numpy_generator(self.seed, _DRAWN)
            pairs = [errors[n].mean(1) for n in (_OTHER, "frame and actions")]
            grown = ratio(pairs[0], pairs[1], episodes, generator)
            words.append(verdict(grown, "the actions of another clip"))
            figures["error with the actions of another clip, relative"] = grown.section()
            found = self._branches(figures, words, rate)
            bars = {name: float(e.mean()) for name, e in errors.items()}
            plots.effect_of_actions(self.folder / "actions.png", bars, found, words[1:])
        figures["in words"] = words
        return figures

    def _show(
        self, clips: WindowBatch, dreams: dict[str, np.ndarray], times: list[int], rate: Any
    ) -> None:
        rows, scenes, titles = [], [], []
        chosen = np.linspace(0, clips.samples - 1, min(self.shown, clips.samples)).astype(int)
        for number in dict.fromkeys(chosen.tolist()):
            now, future = clips.frame[number].numpy()[None], clips.future[number].numpy()
            panels = {"real": np.concatenate([now, future])}
            for name, dream in dreams.items():
                panels[f"dreamed: {name}"] = np.concatenate([now, dream[number]])
            rows += list(panels.items())
            scenes.append(panels)
            titles.append(clips.instructions[number])
        steps = [0, *times]
        pictures.contact_sheet(self.folder / "dreams.png", rows, steps, rate)
        pictures.video(self.folder / "dreams.mp4", scenes, titles, steps)

    def _branches(
        self, figures: dict[str, Any], words: list[str], rate: float | None
    ) -> Counterfactuals | None:
        """Dream every branch from the state where it leaves its demonstration."""
        families, horizon = self._families()
        if not families:
            words.append(
                "what other actions lead to is not known of this data: python -m envs.branch "
                "makes data that has it"
            )
            return None
        times, dreamer = self.dreamer.times(horizon), self.dreamer
        tables, rows, scenes, titles = [], [], [], []
        for place, family in enumerate(progress.each(families, "dreaming of branches", "state")):
            dream = self._dream(family.clips, horizon, True)
            real, now = family.clips.future.numpy(), family.clips.frame.numpy()
            table = squared_errors(real[None], dream[:, None]).mean(-1)
            still = squared_errors(real, now[:, None]).mean(-1)
            tables.append((family.actions, table, still, family.episode))
            if place < self.shown:
                for kind, truth, dreamed, first in zip(
                    family.actions, real, dream, now, strict=True
                ):
                    pair = {
                        f"real, {kind}": np.concatenate([first[None], truth]),
                        f"dreamed, {kind}": np.concatenate([first[None], dreamed]),
                    }
                    rows += list(pair.items())
                    scenes.append(pair)
                    titles.append(f"from one state, actions: {kind}")
        pictures.contact_sheet(self.folder / "other_actions.png", rows, [0, *times], rate)
        pictures.video(self.folder / "other_actions.mp4", scenes, titles, [0, *times])
        found: Counterfactuals = Counterfactuals.of(tables)
        grown = found.ratio(numpy_generator(self.seed, _DRAWN, 1))
        words.append(verdict(grown, "the actions of another branch from the same state"))
        words.append(
            f"nearest to the truth of its own actions: {found.recognised:.0%} of the dreams "
            f"(chance {found.chance:.0%})"
        )
        figures["branches"] = {
            "families": len(families),
            "horizon": dreamer.times(horizon)[-1],
            "kinds": list(found.kinds),
            "error with the actions of another branch, relative": grown.section(),
            "recognised": found.recognised,
            "chance": found.chance,
            "mean squared error, dreamed by truth": np.nanmean(found.errors, 0).tolist(),
            "mean squared error, nothing moves": np.nanmean(found.still, 0).tolist(),
        }
        return found

    def _families(self) -> tuple[list[Family], int]:
        """Return the families and the longest horizon, at most that of dreams, that they allow."""
        for horizon in range(self.horizon, 0, -self.dreamer.reach):
            times, needed = self.dreamer.times(horizon), self.dreamer.actions_needed(horizon)
            if times[-1] < int(self.dreamer.assembler.windows.future[0]):
                break
            families = Clips(self.source, self.dreamer, times, needed).families()
            if families:
                return families, horizon
        return [], self.horizon

    def _noise_levels(self, words: list[str]) -> list[dict[str, Any]]:
        windows = self.dreamer.assembler.windows
        needed = windows.chunk if self.actions else 0
        data = Clips(self.source, self.dreamer, windows.future, needed)
        clips, episodes = data.spread(_LEVEL_WINDOWS * self.clips)
        levels = by_noise_level(self.dreamer, clips, episodes, self.actions, self.seed)
        plots.noise_levels(self.folder / "noise_levels.png", levels, clips.samples)
        if self.actions:
            words.append(in_words(levels))
        return [level.section() for level in levels]

    def _inverse_dynamics(self, words: list[str]) -> dict[str, Any]:
        """Infer actions from video, of demonstrations and of branches, whose actions no policy
        could guess."""
        windows, count = self.dreamer.assembler.windows, _INVERSE_WINDOWS * self.clips
        data = Clips(self.source, self.dreamer, windows.future, windows.chunk)
        parts = {"demonstrations": data.spread(count), "other actions": data.others(count)}
        fit_on = None
        if self.fit_on is not None:
            other = Clips(self.fit_on, self.dreamer, windows.future, windows.chunk)
            fit_on = other.spread(_FIT_WINDOWS)
        tables, figures = {}, {}
        for name, part in parts.items():
            if part is None:
                continue
            clips, episodes = part
            errors = self._inferred(clips, episodes, fit_on)
            tables[f"{name}, {clips.samples} windows"] = errors
            figures[name] = {"windows": clips.samples} | {k: e.section() for k, e in errors.items()}
            words.append(
                f"inverse dynamics, {name}: translation off by {errors[_GIVEN].translation:.1f} mm "
                f"with the video, {errors[_POLICY].translation:.1f} mm without it, "
                f"{errors[_RIDGE].translation:.1f} mm by regression, "
                f"{errors[_CONSTANT].translation:.1f} mm by a constant"
            )
        plots.inverse_dynamics(self.folder / "inverse_dynamics.png", tables)
        return figures

    def _inferred(
        self,
        clips: WindowBatch,
        episodes: np.ndarray,
        fit_on: tuple[WindowBatch, np.ndarray] | None,
    ) -> dict[str, inverse.ActionErrors]:
        if fit_on is None and len(np.unique(episodes)) < 2:
            raise UserError(
                "the regression beside inverse dynamics is fitted on other episodes, and there is "
                "only one: set regression_root to a data set, or give data of several episodes."
            )
        chunk, dreamer = self.dreamer.assembler.windows.chunk, self.dreamer
        answer, constant = inverse.regression(clips, episodes, self.seed, fit_on)
        found = {
            _GIVEN: inverse.inferred(dreamer, clips, self.seed),
            _POLICY: inverse.inferred(dreamer, clips, self.seed, with_video=False),
            _RIDGE: answer,
            _CONSTANT: constant,
        }
        actions = clips.action[:, :chunk].numpy()
        return {n: inverse.ActionErrors.of(each[:, :chunk], actions) for n, each in found.items()}


def _against_still(errors: dict[str, np.ndarray], times: list[int]) -> str:
    best = next(iter(errors))
    mean, still = errors[best].mean(0), errors["nothing moves"].mean(0)
    return (
        f"error of dreams from {best} over that of a picture in which nothing moves: "
        f"x{mean[0] / still[0]:.2f} at +{times[0]}, x{mean[-1] / still[-1]:.2f} at +{times[-1]}"
    )
