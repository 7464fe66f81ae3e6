"""Planners that ask the simulator what a chunk leads to, in a twin of the environment."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from envs.episode import Episode
from envs.rollout import observe
from policies.chunking import ChunkedPolicy
from policies.experts.registry import make_expert
from policies.planning.planner import Planner
from worldmodel.data.pictures import resized
from worldmodel.data.windows import WindowBatch
from worldmodel.sampler import Randomness

_PATIENCE = 60
"""Control steps that the expert may take; a state from which it takes longer is as bad as any."""


@dataclass(frozen=True)
class Simulated(Planner):
    """A planner that asks the simulator in place of the dream; of one environment at a time."""

    real: Any = None
    twin: Any = None
    execute: int = 1
    executed: list[np.ndarray] = field(default_factory=list)
    """Predictions of the gripper that were executed, whose codec follows the episode."""
    decisions: list[dict[str, float]] = field(default_factory=list)

    def begin(self, episode: Episode) -> None:
        self.twin.reset(seed=episode.seed, options=episode.reset_options())
        self.executed.clear()
        self.decisions.clear()

    def predict(self, windows: WindowBatch, generator: Randomness) -> np.ndarray:
        chunk = super().predict(windows, generator)
        self.executed.append(chunk[0, : self.execute, 6])
        return chunk

    def judged(self, windows: WindowBatch, chunks: np.ndarray) -> np.ndarray:
        true = super().judged(windows, chunks)
        dream = Planner(self.predictor, self.code, self.dreamer, self.value, self.candidates)
        dreamed = dream.judged(windows, chunks)
        ranks = [each[0].argsort().argsort() for each in (true, dreamed)]
        self.decisions.append(
            {
                "rank_correlation": float(np.corrcoef(*ranks)[0, 1]),
                "same_choice": float(true.argmin() == dreamed.argmin()),
                "spread_true": float(true.std()),
                "spread_dreamed": float(dreamed.std()),
                "lost_by_dream": float(true[0, dreamed.argmin()] - true.min()),
            }
        )
        return true

    def imagined(self, windows: WindowBatch, chunks: np.ndarray) -> np.ndarray:  # noqa: ARG002
        state = self.real.unwrapped.save_state()
        times = self.dreamer.times(self.dreamer.reach)
        parts = []
        for chunk in chunks:
            seen = [raw["image"] for raw, *_ in self.followed(state, chunk[: times[-1]])]
            frames = np.stack([seen[time - 1] for time in times])
            parts.append(resized(frames, self.dreamer.assembler.tokenizer.picture))
        return np.stack(parts)

    def followed(self, state: Any, chunk: np.ndarray) -> list[tuple[Any, Any, bool]]:
        """Execute predictions `(k, 7)` in the twin, from `state`.

        Return what came of each: observation, info, whether the time was over.
        """
        decoder = self.code.gripper.decoder()
        if self.executed:
            decoder(np.concatenate(self.executed))
        self.twin.unwrapped.restore_state(state)
        came = [self.twin.step(action) for action in self.code.decoded(chunk, decoder)]
        return [(raw, info, bool(truncated)) for raw, _, _, truncated, info in came]


@dataclass(frozen=True)
class ByExpert(Simulated):
    """Takes the chunk after whose executed part the expert is done soonest."""

    task: str = ""

    def judged(self, windows: WindowBatch, chunks: np.ndarray) -> np.ndarray:  # noqa: ARG002
        state = self.real.unwrapped.save_state()
        steps = np.array([self._steps_left(state, chunk) for chunk in chunks[0]])
        self.decisions.append(
            {
                "spread_true": float(steps.std()),
                "first": float(steps[0]),
                "out_of_reach": float(steps[0] >= _PATIENCE),
            }
        )
        return steps[None]

    def _steps_left(self, state: Any, chunk: np.ndarray) -> float:
        raw, info, _ = self.followed(state, chunk[: self.execute])[-1]
        expert = make_expert(self.task, jitter=0.0)
        expert.reset(info["instruction"], 0)
        for step in range(_PATIENCE):
            if info["success"]:
                return float(step)
            action = np.asarray(expert.act(observe(raw, info, step)))[0]
            raw, _, _, _, info = self.twin.step(action)
        return float(_PATIENCE)


@dataclass(frozen=True)
class ByPolicy(Simulated):
    """Takes the first chunk with which the episode ends well if the policy goes on alone.

    The others are then not looked at, and where none does the policy's own is taken. `policies`
    holds the policy that asks.
    """

    policies: list[ChunkedPolicy] = field(default_factory=list)

    def judged(self, windows: WindowBatch, chunks: np.ndarray) -> np.ndarray:  # noqa: ARG002
        # Neither policy nor simulator is random: what was seen to end well goes on so.
        found: int | None = 0
        if not self.decisions or self.decisions[-1]["hopeless"]:
            state = self.real.unwrapped.save_state()
            ends_well = (self._ends_well(state, chunk) for chunk in chunks[0])
            found = next((place for place, well in enumerate(ends_well) if well), None)
        lost = np.ones(self.candidates)
        if found is not None:
            lost[found] = 0.0
        self.decisions.append(
            {"spread_true": float(lost.std()), "hopeless": float(found is None),
             "by_other": float(bool(found))}
        )  # fmt: skip
        return lost[None]

    def _ends_well(self, state: Any, chunk: np.ndarray) -> bool:
        alone = self.policies[0].copy(self.predictor)
        alone.decoded(chunk[: self.execute])
        raw, info, over = self.followed(state, chunk[: self.execute])[-1]
        while not over:
            for action in alone.act(observe(raw, info, 0)):
                raw, _, _, truncated, info = self.twin.step(action)
                over = bool(truncated)
                if over:
                    break
        return bool(info["success"])
