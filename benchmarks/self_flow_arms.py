"""The tables and the figure of docs/self_flow_vs_flow_matching.md, from the runs of its recipe.

    python -m experiment.recipe self_flow                 # the runs
    python -m benchmarks.self_flow_arms runs/recipes/self_flow --figure arms.png

Prints Markdown. Arms of one seed learned from the same windows with the same noise and were
evaluated on the same episodes, so all differences are of pairs. Of errors and losses they come
with the standard error over seeds, of success with the 95 % interval over episodes. What is not
there yet is left out; success is that of the episodes that all arms have.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiment.files import read_records
from policies.evaluation.comparison import difference
from policies.evaluation.rates import rate_of

ARMS = ("flow_matching", "dual_timestep", "self_flow", "self_flow_zscore")
BESIDE = ("scratch_0.7", "scratch_1.0")
LABELS = {"scratch_0.7": "no pretraining", "scratch_1.0": "no pretraining, no video loss"}
ERROR, LOSS = "held_out/translation_mm", "held_out/generation"
Episode = tuple[int, str, int]


@dataclass(frozen=True)
class Found:
    """What was measured of an arm: by seed open-loop errors (mm) by step of fine-tuning and the
    held-out losses of pretraining by step; outcomes by seed, task and index."""

    name: str
    errors: Mapping[int, Mapping[int, float]]
    losses: Mapping[int, Mapping[int, float]]
    outcomes: Mapping[Episode, bool]

    @property
    def label(self) -> str:
        return LABELS.get(self.name, f"`{self.name}`")


def read(root: Path, name: str, seeds: Sequence[int]) -> Found:
    """Read the runs of an arm below the recipe's folder."""
    errors = {s: _figures(root / "finetune" / f"{name}_{s}", ERROR) for s in seeds}
    losses = {s: _figures(root / "pretrain" / f"{name}_{s}", LOSS) for s in seeds}
    outcomes = {
        (seed, str(record["task"]), int(record["index"])): bool(record["success_at_end"])
        for seed in seeds
        for path in sorted((root / "eval" / f"{name}_{seed}").glob("*/episodes.jsonl"))
        for record in read_records(path)
    }
    return Found(
        name,
        {seed: each for seed, each in errors.items() if each},
        {seed: each for seed, each in losses.items() if each},
        outcomes,
    )


def _figures(run: Path, name: str) -> dict[int, float]:
    path = run / "log.jsonl"
    return {int(line["step"]): float(line[name]) for line in read_records(path) if name in line}


def table(
    arms: Sequence[Found], of: str, step: int, unit: str, scale: float, digits: int
) -> list[str]:
    """Return a table of the figure `of` (errors or losses) at `step`, beside the first arm's."""
    first = arms[0]
    values = {
        arm.name: {s: v[step] for s, v in getattr(arm, of).items() if step in v} for arm in arms
    }
    seeds = sorted({seed for found in values.values() for seed in found})
    lines = [
        f"| arm | {' | '.join(f'seed {seed}' for seed in seeds)} | mean, {unit} "
        f"| less {first.label}, per cent | signs |",
        "|" + "---|" * (len(seeds) + 4),
    ]
    for arm in arms:
        found = values[arm.name]
        if not found:
            continue
        cells = [f"{scale * found[s]:.{digits}f}" if s in found else "" for s in seeds]
        mean = f"{scale * float(np.mean(list(found.values()))):.{digits}f}"
        lines.append(
            f"| {arm.label} | {' | '.join(cells)} | {mean} | {_less(found, values[first.name])} |"
        )
    return lines


def _less(found: Mapping[int, float], first: Mapping[int, float]) -> str:
    """Return difference ± standard error over seeds in per cent of the first, and the signs."""
    seeds = sorted(found.keys() & first.keys())
    changes = 100 * np.array([found[seed] / first[seed] - 1 for seed in seeds])
    if found is first or not seeds:
        return "|"
    error = f" ± {changes.std(ddof=1) / np.sqrt(len(seeds)):.1f}" if len(seeds) > 1 else ""
    return f"{changes.mean():+.1f}{error} | {''.join('+' if c > 0 else '-' for c in changes)}"


def success(arms: Sequence[Found]) -> list[str]:
    """Return a table of success at the end by task, and paired differences to the first arm."""
    first = arms[0]
    shared = set.intersection(*(set(arm.outcomes) for arm in arms))
    if not shared:
        return ["no episode is there of all arms yet"]
    tasks = sorted({task for _, task, _ in shared})
    lines = [
        f"| arm | {' | '.join(tasks)} | all, per cent | less {first.label}, points |",
        "|" + "---|" * (len(tasks) + 3),
    ]
    for arm in arms:
        cells = []
        for task in tasks:
            of_task = [arm.outcomes[key] for key in sorted(shared) if key[1] == task]
            cells.append(f"{sum(of_task)}/{len(of_task)}")
        ours, theirs = ([each.outcomes[key] for key in sorted(shared)] for each in (arm, first))
        less = "" if arm is first else str(difference(ours, theirs))
        lines.append(f"| {arm.label} | {' | '.join(cells)} | {rate_of(ours)} | {less} |")
    return lines


def draw(path: Path, arms: Sequence[Found], step: int) -> None:
    """Draw the open-loop error of every seed while it is fine-tuned, and the means at `step`."""
    from matplotlib.figure import Figure

    arms = [arm for arm in arms if arm.errors]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    curves, means = figure.subplots(1, 2)
    for number, arm in enumerate(arms):
        for seed, found in sorted(arm.errors.items()):
            label = LABELS.get(arm.name, arm.name) if seed == min(arm.errors) else None
            curves.plot(
                list(found), list(found.values()), "o-", ms=3, lw=1, color=f"C{number}", label=label
            )
        ends = [found[step] for found in arm.errors.values() if step in found]
        means.plot(ends, [number] * len(ends), "o", color=f"C{number}", alpha=0.6)
        if ends:
            means.plot(np.mean(ends), number, "|", ms=22, mew=2, color=f"C{number}")
    curves.set(xlabel="step of fine-tuning", ylabel="open-loop error, mm")
    curves.legend(fontsize=7)
    means.set(xlabel=f"open-loop error at step {step}, mm (a dot a seed)")
    means.set_yticks(range(len(arms)), [LABELS.get(arm.name, arm.name) for arm in arms])
    means.set_ylim(len(arms) - 0.5, -0.5)
    for axis in (curves, means):
        axis.grid(alpha=0.25)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--step", type=int, default=300, help="of fine-tuning")
    parser.add_argument("--pretrained", type=int, default=400, help="step of pretraining")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    arms = [read(given.root, name, given.seeds) for name in (*ARMS, *BESIDE)]
    parts = {
        "Open-loop error of translations": table(arms, "errors", given.step, "mm", 1.0, 2),
        "Held-out flow-matching loss": table(arms, "losses", given.pretrained, "1e-3", 1e3, 2),
        "Success at the end": success(arms),
    }
    for title, lines in parts.items():
        print(f"{title}\n", *lines, "", sep="\n")
    if given.figure is not None:
        draw(given.figure, arms, given.step)


if __name__ == "__main__":
    main()
