"""Where a policy loses: beside each of its actions what the expert would do in the same state.

The policy drives; the scripted expert, without its random variation, is asked at every step.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from envs.episode import EXECUTED, Episode, EpisodeRecord, Observation
from experiment.files import write_bytes
from policies.experts.motion import Expert, idle
from policies.experts.registry import make_expert

PICTURE = "episodes.png"
_FAR = 150.0  # mm, the colour scale's end
_LONG = 20  # steps; from then on a policy waits rather than hesitates


class BesideExpert:
    """Asks the expert at every step; writes `folder/move_near_0007.json` with all of them."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._steps: list[dict[str, Any]] = []

    def start(self, episode: Episode, observation: Observation) -> None:
        expert = make_expert(episode.task, jitter=0.0)
        assert isinstance(expert, Expert)
        expert.reset(observation.instruction, episode.seed)
        self._expert = expert
        self._executed: np.ndarray | None = None
        self._steps = []

    def step(
        self, before: Observation, action: np.ndarray, info: Mapping[str, Any], _: Observation
    ) -> None:
        """Ask the expert, told of what was executed before, of the state that `action` is for."""
        told = replace(before, privileged={**before.privileged, EXECUTED: self._executed})
        wanted = self._expert.act(told)[0]
        self._steps.append(
            {
                "step": before.step,
                "phase": self._expert.phase,
                "policy": np.round(action, 4).tolist(),
                "expert": np.round(wanted, 4).tolist(),
                "apart_mm": round(1e3 * float(np.linalg.norm((action - wanted)[:3])), 1),
                "waits": idle(action) and not idle(wanted) and not info["success"],
            }
        )
        self._executed = action

    def end(self, record: EpisodeRecord) -> None:
        described = {**summary(self._steps), "timeline": self._steps}
        self._folder.mkdir(parents=True, exist_ok=True)
        write_bytes(_path(self._folder, record), json.dumps(described).encode() + b"\n")


def summary(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return `waited`, the most steps on end, and by phase its steps and mean distance (mm).

    A policy waits where it stands still, without success, and the expert would have moved.
    """
    runs = [len([*run]) for waits, run in groupby(step["waits"] for step in steps) if waits]
    phases = {}
    for phase in dict.fromkeys(step["phase"] for step in steps):
        apart = [step["apart_mm"] for step in steps if step["phase"] == phase]
        phases[phase] = {"steps": len(apart), "apart_mm": round(float(np.mean(apart)), 1)}
    return {"waited": max(runs, default=0), "phases": phases}


def write_picture(folder: Path, records: Sequence[EpisodeRecord]) -> list[str]:
    """Draw what `BesideExpert` wrote into `folder`; return a line about each lost episode, and one
    about all of them.
    """
    paths = [(record, _path(folder, record)) for record in records]
    known = [(record, json.loads(path.read_bytes())) for record, path in paths if path.is_file()]
    if not known:
        return []
    picture(known).savefig(folder / PICTURE)
    lost = [(record, beside) for record, beside in known if not record.success_at_end]
    waited = sum(beside["waited"] > _LONG for _, beside in lost)
    return [
        *(_line(record, beside) for record, beside in lost),
        f"{len(lost)} of {len(known)} lost, in {waited} of them the policy waits for more than "
        f"{_LONG} steps where the expert would move: {folder / PICTURE}",
    ]


def picture(known: Sequence[tuple[EpisodeRecord, Mapping[str, Any]]]) -> Figure:
    """Return a strip an episode: colour is the distance, dots are steps without movement."""
    ordered = sorted(known, key=lambda each: (each[0].success_at_end, each[0].task, each[0].index))
    longest = max(len(beside["timeline"]) for _, beside in ordered)
    apart = np.full((len(ordered), max(longest, 1)), np.nan)
    figure = Figure(figsize=(9, 1.6 + 0.22 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    for row, (_, beside) in enumerate(ordered):
        own = beside["timeline"]
        apart[row, : len(own)] = [step["apart_mm"] for step in own]
        waits = [place for place, step in enumerate(own) if step["waits"]]
        axes.plot(waits, [row] * len(waits), ".", color="white", markersize=3)
    shown = axes.imshow(apart, aspect="auto", vmin=0, vmax=_FAR, interpolation="none")
    several = len({record.task for record, _ in ordered}) > 1
    names = [
        f"{record.task if several else ''} {record.index} "
        f"{'won' if record.success_at_end else 'lost'}"
        for record, _ in ordered
    ]
    axes.set_yticks(range(len(ordered)), names, fontsize=7)
    axes.set_xlabel("step; white: the policy waits where the expert would move")
    figure.colorbar(shown, ax=axes, label="policy to expert, mm")
    return figure


def _path(folder: Path, record: EpisodeRecord) -> Path:
    return folder / f"{record.task}_{record.index:04d}.json"


def _line(record: EpisodeRecord, beside: Mapping[str, Any]) -> str:
    phases = beside["phases"]
    worst = max(phases, key=lambda phase: phases[phase]["steps"] * phases[phase]["apart_mm"])
    return (
        f"{record.task} {record.index} lost: waited for {beside['waited']} of {record.steps} "
        f"steps; {phases[worst]['apart_mm']:.0f} mm from the expert in {worst!r}, "
        f"{phases[worst]['steps']} steps"
    )
