"""Success against the number of demonstrations a task: table and figure of docs/generalisation.md.

    python -m experiment.recipe demonstrations            # the runs
    python -m benchmarks.demonstrations runs/recipes/demonstrations --figure demonstrations.png

Prints Markdown: success at the end with 95 % intervals, by task and of all together. All policies
are evaluated on the same episodes; what is not there yet is left out.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiment.files import read_records
from policies.evaluation.rates import Rate, mean_of, rate_of

Curves = Mapping[str, Mapping[int, Rate]]
"""Rates by the number of demonstrations, by task."""


def read(root: Path) -> Curves:
    """Read the evaluations below the recipe's folder."""
    curves: dict[str, dict[int, Rate]] = {}
    counts = sorted(int(path.name) for path in (root / "eval").glob("*") if path.name.isdigit())
    for count in counts:
        for path in sorted((root / "eval" / str(count)).glob("*/episodes.jsonl")):
            outcomes = [bool(record["success_at_end"]) for record in read_records(path)]
            if outcomes:
                curves.setdefault(path.parent.name, {})[count] = rate_of(outcomes)
    return curves


def together(curves: Curves) -> dict[int, Rate]:
    """Return the mean over tasks where all of them were evaluated."""
    counts = set.intersection(*(set(curve) for curve in curves.values()))
    return {count: mean_of([curve[count] for curve in curves.values()]) for count in sorted(counts)}


def table(curves: Curves) -> Sequence[str]:
    rows = {**curves, "all": together(curves)}
    counts = sorted({count for curve in curves.values() for count in curve})
    lines = [
        f"| demonstrations a task | {' | '.join(map(str, counts))} |",
        "|" + "---|" * (len(counts) + 1),
    ]
    for name, curve in rows.items():
        cells = [str(curve[count]) if count in curve else "" for count in counts]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def draw(path: Path, curves: Curves) -> None:
    """Draw a curve a task, with its intervals, and the one of all together."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axis = figure.subplots()
    for name, curve in {**curves, "all": together(curves)}.items():
        rates = [100 * rate.rate for rate in curve.values()]
        ends = [(100 * rate.low, 100 * rate.high) for rate in curve.values()]
        line = axis.plot(list(curve), rates, "o-", ms=4, lw=2.5 if name == "all" else 1, label=name)
        lows, highs = zip(*ends, strict=True) if ends else ((), ())
        axis.fill_between(list(curve), lows, highs, color=line[0].get_color(), alpha=0.1)
    axis.set(xscale="log", xlabel="demonstrations a task", ylabel="success at the end, per cent")
    ticks = sorted({count for curve in curves.values() for count in curve})
    axis.set_xticks(ticks, [str(count) for count in ticks])
    axis.minorticks_off()
    axis.set_ylim(-2, 102)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    curves = read(given.root)
    if not curves:
        parser.error(f"{given.root}/eval has no evaluation: python -m experiment.recipe first.")
    print(*table(curves), sep="\n")
    if given.figure is not None:
        draw(given.figure, curves)


if __name__ == "__main__":
    main()
