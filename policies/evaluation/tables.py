"""Records to the lines of a table: SIMPLER's published form, or a task with its robot poses.

Published form: the tables of Li et al. (2024), averaged as SimplerEnv's `calc_metrics` does - a
drawer figure over its three drawers, cans over three orientations, tasks the same weight each.
Variants with another camera are run but kept out of the averages there, so here they have lines of
their own. WidowX tasks have a second figure: the object was grasped at any step.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from envs.episode import EpisodeRecord
from policies.evaluation.published import CAMERAS
from policies.evaluation.rates import Rate, mean_of, rate_of

MEASURES: dict[str, Callable[[EpisodeRecord], bool]] = {
    "success_at_end": lambda record: record.success_at_end,
    "success_ever": lambda record: record.success_ever,
    "success_strict": lambda record: record.success_strict,
}

GRASPED = "is_src_obj_grasped"
"""Name of the WidowX tasks' partial success among the original's episode statistics."""


@dataclass(frozen=True)
class Line:
    """A line of a table: a name that stays, a label to print, rates by measure."""

    name: str
    label: str
    rates: Mapping[str, Rate]
    section: bool = False

    @property
    def total(self) -> int:
        return next(iter(self.rates.values())).total

    def plain(self) -> dict[str, Any]:
        rates = {measure: rate.plain() for measure, rate in self.rates.items()}
        return {"name": self.name, "label": self.label, "episodes": self.total, **rates}


@dataclass(frozen=True)
class Row:
    """A figure of the published tables: of one task, named by any of `tasks`, or a mean of rows.

    A mean needs all of its `rows`.
    """

    name: str
    label: str
    tasks: tuple[str, ...] = ()
    rows: tuple["Row", ...] = ()


def _drawers(goal: str) -> Row:
    drawers = ("top", "middle", "bottom")
    label = goal.capitalize()
    rows = [
        Row(f"{goal}_{drawer}_drawer", f"  {label} Drawer, {drawer}", (f"{goal}_{drawer}_drawer",))
        for drawer in drawers
    ]
    return Row(f"{goal}_drawer", f"{label} Drawer", rows=tuple(rows))


GOOGLE_ROBOT = Row(
    "google_robot",
    "Google Robot, average",
    rows=(
        Row(
            "pick_coke_can",
            "Pick Coke Can, average",
            rows=(
                Row("horizontal", "Pick Coke Can, horizontal", ("pick_horizontal_coke_can",)),
                Row("vertical", "Pick Coke Can, vertical", ("pick_vertical_coke_can",)),
                Row("standing", "Pick Coke Can, standing", ("pick_standing_coke_can",)),
            ),
        ),
        Row("move_near", "Move Near", ("move_near", "move_near_v0")),
        Row(
            "open_close_drawer",
            "Open/Close Drawer, average",
            rows=(_drawers("open"), _drawers("close")),
        ),
        Row("open_and_place", "Open Top Drawer and Place Apple", ("open_and_place",)),
    ),
)
WIDOWX = Row(
    "widowx",
    "WidowX, average",
    rows=(
        Row("spoon_on_towel", "Put Spoon on Towel", ("spoon_on_towel",)),
        Row("carrot_on_plate", "Put Carrot on Plate", ("carrot_on_plate",)),
        Row("stack_cube", "Stack Green Block on Yellow Block", ("stack_cube",)),
        Row("eggplant_in_basket", "Put Eggplant in Yellow Basket", ("eggplant_in_basket",)),
    ),
)


def published_lines(records: Sequence[EpisodeRecord]) -> list[Line]:
    """Return the lines of the published form for the records, averages below their members."""
    usual = grouped_by("task", (record for record in records if record.variant not in CAMERAS))
    turned = grouped_by("task", (record for record in records if record.variant in CAMERAS))
    lines = [*_below(GOOGLE_ROBOT, usual), *_below(WIDOWX, usual)]
    for row in GOOGLE_ROBOT.rows:
        if rates := _rates(row, turned):
            label = f"{row.label.removesuffix(', average')}, other cameras"
            lines += _figures(f"{row.name}_cameras", label, rates, section=True)
    return lines


def task_lines(records: Sequence[EpisodeRecord]) -> list[Line]:
    """Return a line for each task, and below it one for each robot pose where it has several."""
    lines: list[Line] = []
    for task, members in grouped_by("task", records).items():
        lines += _figures(task, task, measured(members), section=True)
        poses = grouped_by("robot_pose", members)
        if len(poses) > 1:
            for pose, group in poses.items():
                lines += _figures(f"{task}/{pose}", f"  {pose}", measured(group))
    return lines


def grouped_by(field: str, records: Iterable[EpisodeRecord]) -> dict[str, list[EpisodeRecord]]:
    """Return the records by a field of theirs, groups in its order, records by index."""
    groups: dict[str, list[EpisodeRecord]] = {}
    for record in sorted(records, key=lambda record: (getattr(record, field), record.index)):
        groups.setdefault(getattr(record, field), []).append(record)
    return groups


def measured(records: Sequence[EpisodeRecord]) -> dict[str, Rate]:
    """Return the rate of each measure, and of grasping where every record knows it."""
    rates = {name: rate_of([measure(r) for r in records]) for name, measure in MEASURES.items()}
    if all(GRASPED in record.statistics for record in records):
        rates[GRASPED] = rate_of([bool(record.statistics[GRASPED]) for record in records])
    return rates


def _below(
    row: Row, records: Mapping[str, Sequence[EpisodeRecord]], top: bool = True
) -> Iterator[Line]:
    for member in row.rows:
        for number, line in enumerate(_below(member, records, top=False)):
            yield replace(line, section=top and number == 0)
    if rates := _rates(row, records):
        yield from _figures(row.name, row.label, rates, section=top)


def _figures(
    name: str, label: str, rates: Mapping[str, Rate], section: bool = False
) -> Iterator[Line]:
    """Yield the line of a figure, then the one for partial success if there is any."""
    yield Line(name, label, {measure: rates[measure] for measure in MEASURES}, section)
    if GRASPED in rates:
        yield Line(f"{name}_grasped", "  grasped", {GRASPED: rates[GRASPED]})


def _rates(row: Row, records: Mapping[str, Sequence[EpisodeRecord]]) -> dict[str, Rate] | None:
    if not row.rows:
        members = [record for task in row.tasks for record in records.get(task, ())]
        return measured(members) if members else None
    rates = [rate for member in row.rows if (rate := _rates(member, records)) is not None]
    if len(rates) < len(row.rows):
        return None
    return {measure: mean_of([rate[measure] for rate in rates]) for measure in MEASURES}
