"""Lines of the published tables: which are there, what they average, what is left out."""

from typing import Any

import pytest

from envs.episode import EpisodeRecord
from policies.evaluation.tables import GRASPED, Line, published_lines, task_lines


def records(
    task: str, successes: int, total: int, variant: str = "visual_matching", **changes: Any
) -> list[EpisodeRecord]:
    """`total` episodes of a task, the first ones successful at the end."""
    made = []
    for index in range(total):
        fields: dict[str, Any] = {
            "task": task,
            "index": index,
            "seed": index,
            "robot_pose": "-",
            "policy": "toy",
            "success_at_end": index < successes,
            "success_ever": True,
            "success_strict": False,
            "subtask": 0,
            "steps": 80,
            "calls": 4,
            "seconds": 1.0,
            "policy_seconds": 0.1,
            "versions": {},
            "variant": variant,
        }
        made.append(EpisodeRecord(**(fields | changes)))
    return made


def by_name(lines: list[Line]) -> dict[str, Line]:
    assert len({line.name for line in lines}) == len(lines)
    return {line.name: line for line in lines}


CANS = [
    *records("pick_horizontal_coke_can", 10, 100),
    *records("pick_vertical_coke_can", 20, 100),
    *records("pick_standing_coke_can", 60, 100),
]
DRAWERS = [
    record
    for goal, successes in (("open", 9), ("close", 27))
    for drawer in ("top", "middle", "bottom")
    for record in records(f"{goal}_{drawer}_drawer", successes, 36)
]
REST = [*records("move_near_v0", 60, 240), *records("open_and_place", 27, 108)]


def test_the_google_robots_table() -> None:
    lines = published_lines([*CANS, *DRAWERS, *REST])
    assert [line.name for line in lines] == [
        "horizontal", "vertical", "standing", "pick_coke_can",
        "move_near",
        "open_top_drawer", "open_middle_drawer", "open_bottom_drawer", "open_drawer",
        "close_top_drawer", "close_middle_drawer", "close_bottom_drawer", "close_drawer",
        "open_close_drawer",
        "open_and_place",
        "google_robot",
    ]  # fmt: skip
    assert [line.name for line in lines if line.section] == [
        "horizontal", "move_near", "open_top_drawer", "open_and_place", "google_robot",
    ]  # fmt: skip
    found = {name: line.rates["success_at_end"].rate for name, line in by_name(lines).items()}
    assert found["pick_coke_can"] == pytest.approx(0.3)
    assert found["open_close_drawer"] == pytest.approx(0.5)
    # Four tasks of the same weight, whatever their number of episodes.
    assert found["google_robot"] == pytest.approx((0.3 + 0.25 + 0.5 + 0.25) / 4)
    average = by_name(lines)["google_robot"].rates["success_at_end"]
    assert average.low < average.rate < average.high
    assert average.total == 300 + 240 + 216 + 108


def test_an_average_without_all_of_its_parts_is_not_there() -> None:
    names = by_name(published_lines([*CANS[100:], *DRAWERS]))
    assert "pick_coke_can" not in names
    assert "google_robot" not in names
    assert names["open_close_drawer"].total == 216


def test_other_cameras_are_in_no_average() -> None:
    cameras = [
        record
        for task in ("horizontal", "vertical", "standing")
        for record in records(f"pick_{task}_coke_can", 0, 25, "camera_1")
    ]
    usual = [
        record
        for task in ("horizontal", "vertical", "standing")
        for variant in ("base", "table_1")
        for record in records(f"pick_{task}_coke_can", 25, 25, variant)
    ]
    names = by_name(published_lines([*usual, *cameras]))
    assert names["pick_coke_can"].rates["success_at_end"].rate == 1.0
    assert names["pick_coke_can"].total == 150
    assert names["pick_coke_can_cameras"].rates["success_at_end"].rate == 0.0
    assert names["pick_coke_can_cameras"].label.startswith("Pick Coke Can, other cameras")


def test_widowx_tasks_have_partial_success() -> None:
    tasks = ("spoon_on_towel", "carrot_on_plate", "stack_cube", "eggplant_in_basket")
    several = [
        record
        for task in tasks
        for grasped in (True, False)
        for record in records(task, 3, 12, statistics={GRASPED: grasped})
    ]
    lines = by_name(published_lines(several))
    assert list(lines) == [
        name for task in tasks for name in (task, f"{task}_grasped")
    ] + ["widowx"]  # fmt: skip
    assert lines["stack_cube_grasped"].rates[GRASPED].rate == 0.5
    assert lines["widowx"].rates["success_at_end"].successes == 24
    assert lines["stack_cube"].plain()["success_at_end"]["rate"] == 0.25


def test_a_task_on_its_own_has_a_line_for_each_pose() -> None:
    two = [*records("open_drawer", 3, 3, robot_pose="a0"), *records("open_drawer", 0, 2)]
    assert [(line.name, line.total) for line in task_lines(two)] == [
        ("open_drawer", 5), ("open_drawer/-", 2), ("open_drawer/a0", 3),
    ]  # fmt: skip
    assert [line.name for line in task_lines(records("stack_cube", 1, 2))] == ["stack_cube"]
