"""Where a policy loses: beside each of its actions what the expert would do in the same state.

    python -m benchmarks.beside_expert --task move_near --episodes 30 --out runs/beside

The policy drives; the scripted expert, without its random variation, is asked at every step. A line
an episode says for how many steps on end the policy stood still, without success, where the
expert would have moved, and in which of the expert's phases they were furthest apart.
`OUT/episodes.jsonl` has every step, `OUT/beside.png` the distance between both over time, lost
episodes first. Episodes in the former are not repeated; `--index 3 7` looks at those two only.
"""

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import envs
from envs.dataset.true_state import EXECUTED
from envs.episode import Episode, EpisodeRecord, Observation
from envs.rollout import run_episode
from experiment.errors import UserError, exit_on_user_error
from experiment.files import append_record, read_records
from experiment.settings import compose, plain
from policies.checkpoint import camera_size, load_policy, shipped
from policies.evaluation.settings import EvalSettings
from policies.experts.motion import Expert, idle
from policies.experts.registry import make_expert
from worldmodel.training.checkpoint import weights_digest

_FAR = 150.0  # mm, the colour scale's end


class Beside:
    """A recorder that asks an expert at every step, told of what was executed before."""

    def __init__(self, task: str) -> None:
        expert = make_expert(task, jitter=0.0)
        assert isinstance(expert, Expert)
        self._expert = expert
        self.steps: list[dict[str, Any]] = []

    def start(self, episode: Episode, observation: Observation) -> None:
        """Begin; what the expert would do follows from the state alone."""
        self._expert.reset(observation.instruction, episode.seed)
        self._executed: np.ndarray | None = None
        self.steps = []

    def step(
        self, before: Observation, action: np.ndarray, info: Mapping[str, Any], _: Observation
    ) -> None:
        """Ask the expert of the state in which `action` `(7,)` was chosen."""
        told = replace(before, privileged={**before.privileged, EXECUTED: self._executed})
        wanted = self._expert.act(told)[0]
        self.steps.append(
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
        """Nothing is left to do."""


def summary(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return `waited`, the most steps on end, and by phase its steps and mean distance (mm)."""
    runs = [len([*run]) for waits, run in groupby(step["waits"] for step in steps) if waits]
    phases = {}
    for phase in dict.fromkeys(step["phase"] for step in steps):
        apart = [step["apart_mm"] for step in steps if step["phase"] == phase]
        phases[phase] = {"steps": len(apart), "apart_mm": round(float(np.mean(apart)), 1)}
    return {"waited": max(runs, default=0), "phases": phases}


def line_of(record: Mapping[str, Any]) -> str:
    """Return one line about an episode."""
    phases = record["phases"]
    worst = max(phases, key=lambda phase: phases[phase]["steps"] * phases[phase]["apart_mm"])
    ended = "won " if record["success_at_end"] else "lost"
    return (
        f"{record['task']} {record['index']:3d} {ended} waited {record['waited']:3d} of "
        f"{record['steps']:3d} steps; {phases[worst]['apart_mm']:5.1f} mm apart in {worst!r}, "
        f"{phases[worst]['steps']} steps"
    )


def picture(records: Sequence[Mapping[str, Any]]) -> Figure:
    """Return a strip an episode: colour is the distance, dots are steps without movement."""
    ordered = sorted(records, key=lambda record: (record["success_at_end"], record["index"]))
    longest = max(record["steps"] for record in ordered)
    apart = np.full((len(ordered), longest), np.nan)
    figure = Figure(figsize=(9, 1.6 + 0.22 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    for row, record in enumerate(ordered):
        own = record["timeline"]
        apart[row, : len(own)] = [step["apart_mm"] for step in own]
        waits = [step["step"] for step in own if step["waits"]]
        axes.plot(waits, [row] * len(waits), ".", color="white", markersize=3)
    shown = axes.imshow(apart, aspect="auto", vmin=0, vmax=_FAR, interpolation="none")
    names = [f"{r['index']} {'won' if r['success_at_end'] else 'lost'}" for r in ordered]
    axes.set_yticks(range(len(ordered)), names, fontsize=7)
    axes.set_xlabel("step; white: the policy waits where the expert would move")
    figure.colorbar(shown, ax=axes, label="policy to expert, mm")
    return figure


def measure(given: argparse.Namespace) -> None:
    """Run the episodes that are not in the records yet."""
    settings = [f"task={given.task}", f"episodes={given.episodes}", f"seed={given.seed}"]
    chosen = EvalSettings.of(plain(compose("eval", settings))).chosen()
    done = {record["index"] for record in read_records(given.out / "episodes.jsonl")}
    wanted = {episode.index for episode in chosen} if given.index is None else {*given.index}
    unknown = wanted - {episode.index for episode in chosen}
    if unknown:
        raise UserError(
            f"--index {sorted(unknown)}: --episodes {given.episodes} has none of that number."
        )
    todo = [each for each in chosen if each.index in wanted - done]
    checkpoint = given.checkpoint or str(shipped(given.task))
    asked = {"task": given.task, "seed": given.seed, "weights": weights_digest(Path(checkpoint))}
    begun = given.out / "asked.json"
    if begun.exists() and json.loads(begun.read_text()) != asked:
        raise UserError(f"{given.out} holds another task, seed or policy: give another --out.")
    given.out.mkdir(parents=True, exist_ok=True)
    begun.write_text(json.dumps(asked))
    width, height = camera_size(checkpoint)
    env = envs.make(given.task, resolution=(width, height), terminate_on_success=False)
    policy, beside = load_policy(checkpoint), Beside(given.task)
    for episode in tqdm(todo, desc=given.task):
        record = dataclasses.asdict(run_episode(env, policy, episode, [beside]))
        record |= {**summary(beside.steps), "timeline": beside.steps}
        append_record(given.out / "episodes.jsonl", record)
        tqdm.write(line_of(record))


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--task", default="move_near")
    parser.add_argument("--checkpoint", help="policy; the shipped one of the task by default")
    parser.add_argument("--episodes", type=int, default=30)
    parser.add_argument("--index", type=int, nargs="+", help="only these of the episodes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/beside"))
    given = parser.parse_args()
    measure(given)
    records = read_records(given.out / "episodes.jsonl")
    picture(records).savefig(given.out / "beside.png")
    lost = [record for record in records if not record["success_at_end"]]
    waited = sum(record["waited"] > 20 for record in lost)
    print(f"{len(lost)} of {len(records)} lost, in {waited} of them it waits for over 20 steps")


if __name__ == "__main__":
    main()
