"""What planning by imagination is worth, beside the bound: the same choice with the true simulator.

    python -m benchmarks.planning --task move_near --value runs/value --out runs/planning

The same episodes several ways: the policy alone (`alone`); the best of K chunks by what the world
model imagines (`dreamed`, what `policies.eval plan.candidates=K` does); by what the simulator does
with each, in a twin of the environment that is brought into its state: judged by the same value
(`simulated`: perfect imagination), or by how many control steps the scripted expert then takes to
success (`expert`: the perfect judge if the expert went on, which in truth the policy does). `drawn`
is one chunk that begins at noise, as the other candidates do.

At each decision of `simulated` the dream judges as well: how alike the two orders of the candidates
are, and by how many control steps the candidates differ at all. The records are in
`OUT/episodes.jsonl`; started again, what is there is not repeated.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import envs
from envs.episode import Episode
from envs.rollout import observe, run_episode
from experiment.files import append_record, read_records
from experiment.settings import compose, plain
from policies.checkpoint import load_policy, shipped
from policies.chunking import ChunkedPolicy
from policies.evaluation.comparison import difference
from policies.evaluation.rates import rate_of
from policies.evaluation.settings import EvalSettings
from policies.experts.registry import make_expert
from policies.planning.planner import Planner
from worldmodel.data.pictures import resized
from worldmodel.data.windows import WindowBatch
from worldmodel.sampler import Randomness

ARMS = ("alone", "drawn", "dreamed", "simulated", "expert")
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
            seen = [raw["image"] for raw, _ in self.followed(state, chunk[: times[-1]])]
            frames = np.stack([seen[time - 1] for time in times])
            parts.append(resized(frames, self.dreamer.assembler.tokenizer.picture))
        return np.stack(parts)

    def followed(self, state: Any, chunk: np.ndarray) -> list[tuple[Any, Any]]:
        """Execute predictions `(k, 7)` in the twin, from `state`; return what came of each."""
        decoder = self.code.gripper.decoder()
        if self.executed:
            decoder(np.concatenate(self.executed))
        self.twin.unwrapped.restore_state(state)
        came = [self.twin.step(action) for action in self.code.decoded(chunk, decoder)]
        return [(raw, info) for raw, _, _, _, info in came]


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
        raw, info = self.followed(state, chunk[: self.execute])[-1]
        expert = make_expert(self.task, jitter=0.0)
        expert.reset(info["instruction"], 0)
        for step in range(_PATIENCE):
            if info["success"]:
                return float(step)
            action = np.asarray(expert.act(observe(raw, info, step)))[0]
            raw, _, _, _, info = self.twin.step(action)
        return float(_PATIENCE)


def policies(
    given: argparse.Namespace, real: Any, twin: Any, blind: Any
) -> dict[str, ChunkedPolicy]:
    """Return the policy of each arm."""
    checkpoint = given.checkpoint or str(shipped(given.task))
    plan = {"candidates": given.candidates, "value": given.value}
    planning = load_policy(checkpoint, plan=plan)
    planner, code, execute = planning._predictor, planning._code, planning._execute
    assert isinstance(planner, Planner)
    same = {each.name: getattr(planner, each.name) for each in dataclasses.fields(Planner)}
    predictors: dict[str, Any] = {
        "alone": planner.predictor,
        "drawn": replace(
            planner.predictor, inference=replace(planner.predictor.inference, start="noise")
        ),
        "dreamed": planner,
        "simulated": Simulated(**same, real=real, twin=twin, execute=execute),
        "expert": ByExpert(**same, real=real, twin=blind, execute=execute, task=given.task),
    }
    return {name: ChunkedPolicy(each, code, execute) for name, each in predictors.items()}


def measure(given: argparse.Namespace) -> None:
    """Run the episodes that are not in the records yet."""
    settings = [f"task={given.task}", f"episodes={given.episodes}"]
    evaluation = EvalSettings.of(plain(compose("eval", settings)))
    path = given.out / "episodes.jsonl"
    done = {(line["arm"], line["task"], line["index"]) for line in read_records(path)}
    todo = [
        (arm, episode)
        for episode in evaluation.chosen()
        for arm in given.arms
        if (arm, episode.task, episode.index) not in done
    ]
    made: dict[str, Any] = {"terminate_on_success": False, "resolution": (160, 128)}
    real, twin = (envs.make(given.task, **made) for _ in range(2))
    # What the expert does need not be drawn.
    blind = envs.make(given.task, **{**made, "resolution": None})
    by_arm = policies(given, real, twin, blind)
    for arm, episode in tqdm(todo, desc=given.task):
        predictor = by_arm[arm]._predictor
        decisions: list[dict[str, float]] = []
        if isinstance(predictor, Simulated):
            predictor.begin(episode)
            decisions = predictor.decisions
        record = run_episode(real, by_arm[arm], episode)
        append_record(path, {**dataclasses.asdict(record), "arm": arm, "decisions": decisions})


def table(lines: Sequence[dict[str, Any]]) -> list[str]:
    """Return Markdown: success of every arm, paired with `alone`, and how the judges agree."""
    rows = ["| task | arm | success at end | less alone, points | seconds an episode |"]
    rows += ["|---|---|---|---|---|"]
    said = []
    for task in dict.fromkeys(line["task"] for line in lines):
        found = {
            arm: {x["index"]: x for x in lines if x["arm"] == arm and x["task"] == task}
            for arm in ARMS
        }
        for arm in ARMS:
            if not found[arm]:
                continue
            shared = sorted(found[arm].keys() & found["alone"].keys())
            ours, alone = (
                [bool(found[name][i]["success_at_end"]) for i in shared] for name in (arm, "alone")
            )
            less = "" if arm == "alone" or not shared else str(difference(ours, alone))
            took = np.mean([x["seconds"] for x in found[arm].values()])
            rate = rate_of([bool(x["success_at_end"]) for x in found[arm].values()])
            rows.append(f"| {task} | {arm} | {rate} | {less} | {took:.0f} |")
        for arm in ("simulated", "expert"):
            decisions = [each for line in found[arm].values() for each in line["decisions"]]
            if decisions:
                mean = {name: np.nanmean([d[name] for d in decisions]) for name in decisions[0]}
                mean["no_spread"] = np.mean([d["spread_true"] == 0 for d in decisions])
                figures = [f"{name.replace('_', ' ')} {value:.2f}" for name, value in mean.items()]
                said.append(f"{task}, {arm}, {len(decisions)} decisions: {', '.join(figures)}")
    return [*rows, "", *said]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--task", default="move_near")
    parser.add_argument("--value", required=True, help="run of policies.value")
    parser.add_argument("--checkpoint", help="policy; the shipped one of the task by default")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--out", type=Path, default=Path("runs/planning"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    measure(given)
    print(*table(read_records(given.out / "episodes.jsonl")), sep="\n")


if __name__ == "__main__":
    main()
