"""What planning by imagination is worth, beside the bound: the same choice with the true simulator.

    python -m benchmarks.planning --task move_near --value runs/value --out runs/planning

The same episodes several ways: the policy alone (`alone`); the best of K chunks by what the world
model imagines (`dreamed`, what `policies.eval plan.candidates=K` does); by what the simulator does
with each, in a twin of the environment that is brought into its state: judged by the same value
(`simulated`: perfect imagination), or by how many control steps the scripted expert then takes to
success (`expert`: the perfect judge if the expert went on, which in truth the policy does), or by
how the episode ends if the policy goes on alone (`policy`: what K draws can give at all). `drawn`
is one chunk that begins at noise, as the other candidates do.

At each decision of `simulated` the dream judges as well: how alike the two orders of the candidates
are, and by how many control steps the candidates differ at all. The records are in
`OUT/episodes.jsonl`; started again, what is there is not repeated.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import envs
from benchmarks.planning_judges import ByExpert, ByPolicy, Simulated
from envs.rollout import run_episode
from experiment.files import append_record, read_records
from experiment.settings import compose, plain
from policies.checkpoint import camera_size, load_policy, shipped
from policies.chunking import ChunkedPolicy
from policies.evaluation.comparison import difference
from policies.evaluation.rates import rate_of
from policies.evaluation.settings import EvalSettings
from policies.planning.planner import Planner
from policies.video_action import VideoActionPredictor

ARMS = ("alone", "drawn", "dreamed", "simulated", "expert", "policy")


def policies(
    given: argparse.Namespace, real: Any, twin: Any, blind: Any
) -> dict[str, ChunkedPolicy]:
    """Return the policy of each arm."""
    checkpoint = given.checkpoint or str(shipped(given.task))
    alone = load_policy(checkpoint)
    predictor, code, execute = alone._predictor, alone._code, alone._execute
    assert isinstance(predictor, VideoActionPredictor)
    noise = replace(predictor, inference=replace(predictor.inference, start="noise"))
    predictors: dict[str, Any] = {"alone": predictor, "drawn": noise}
    same: dict[str, Any] = {"predictor": predictor, "code": code, "candidates": given.candidates}
    same |= {"dreamer": None, "value": None, "real": real, "twin": twin, "execute": execute}
    predictors["expert"] = ByExpert(**{**same, "twin": blind}, task=given.task)
    predictors["policy"] = ByPolicy(**same)
    if given.value is not None:
        plan = {"candidates": given.candidates, "value": given.value}
        planner = load_policy(checkpoint, plan=plan)._predictor
        assert isinstance(planner, Planner)
        predictors["dreamed"] = planner
        judges = {"dreamer": planner.dreamer, "value": planner.value}
        predictors["simulated"] = Simulated(**{**same, **judges})
    asking = {name: alone.another(each) for name, each in predictors.items()}
    predictors["policy"].policies.append(asking["policy"])
    return asking


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
    width, height = camera_size(given.checkpoint or shipped(given.task))
    made: dict[str, Any] = {"terminate_on_success": False, "resolution": (width, height)}
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
        for arm in ("simulated", "expert", "policy"):
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
    parser.add_argument("--value", help="run of policies.value, for dreamed and simulated")
    parser.add_argument("--checkpoint", help="policy; the shipped one of the task by default")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--out", type=Path, default=Path("runs/planning"))
    given = parser.parse_args()
    if given.value is None and {"dreamed", "simulated"} & set(given.arms):
        parser.error("give --value, or --arms without dreamed and simulated")
    given.out.mkdir(parents=True, exist_ok=True)
    measure(given)
    print(*table(read_records(given.out / "episodes.jsonl")), sep="\n")


if __name__ == "__main__":
    main()
