"""The episode lists of SIMPLER's scripts and of Self-Flow's robot experiment, one for one.

Source of the first two: SimplerEnv's `scripts/rt1_*_visual_matching.sh`, `rt1_*_variant_agg.sh` and
`rt1x_bridge.sh`, unrolled as its evaluator does: in the order of the loops, the robot's positions
outside, the objects' positions inside. Lengths in metres. Where a task has one robot position
(cans, move near, WidowX) it is the task's default and is not repeated here.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle, product
from typing import Any

import numpy as np

from envs.episode import VISUAL_MATCHING


@dataclass  # not frozen: OmegaConf could not fill it inside of another
class Reference:
    """Published figures to stand beside ours, by the name of a line, and what differs in them."""

    source: str
    conditions: str
    rates: dict[str, float]


Entry = tuple[str, str, dict[str, Any]]
"""Task, variant, reset options."""

CANS = ("pick_horizontal_coke_can", "pick_standing_coke_can", "pick_vertical_coke_can")
OPEN_DRAWERS = ("open_top_drawer", "open_middle_drawer", "open_bottom_drawer")
CLOSE_DRAWERS = ("close_top_drawer", "close_middle_drawer", "close_bottom_drawer")
PLACE_TASKS = tuple(
    f"place_in_closed_{drawer}drawer" for drawer in ("", "top_", "middle_", "bottom_")
)
WIDOWX = ("stack_cube", "carrot_on_plate", "spoon_on_towel", "eggplant_in_basket")

GROUPS: dict[str, tuple[str, ...]] = {
    "pick_coke_can": CANS,
    "open_drawer": OPEN_DRAWERS,
    "close_drawer": CLOSE_DRAWERS,
    "move_near": ("move_near_v0",),
    "place_in_closed_drawer": ("open_and_place",),
}
"""Short names, and the tasks of a list that they stand for."""

CAMERAS = ("camera_1", "camera_2")
"""Run by the scripts, but not counted in the published figures (SimplerEnv's calc_metrics)."""

ROBOT_POSES = tuple(f"{column}{row}" for column in "abc" for row in range(3))
NEAR_POSES = ROBOT_POSES[::3]

_TABLES, _CABINETS = ("table_1", "table_2"), ("cabinet_1", "cabinet_2")
_BACKGROUNDS = ("background_1", "background_2")
_LIGHTS = ("lighting_darker", "lighting_brighter")
_DISTRACTORS = ("distractors_less", "distractors_more")

_UNCHANGED = ""
_TABLETOP_1, _TABLETOP_2, _CABINET = (
    "recolor_tabletop_visual_matching_1",
    "recolor_tabletop_visual_matching_2",
    "recolor_cabinet_visual_matching_1",
)
_TABLE_COLORINGS = (_UNCHANGED, _TABLETOP_1, _TABLETOP_2, _CABINET)
_CABINET_COLORINGS = (_CABINET, _TABLETOP_1, _TABLETOP_2, _UNCHANGED)


def _line(first: float, last: float, count: int) -> tuple[float, ...]:
    return tuple(float(value) for value in np.linspace(first, last, count))


_CAN_POSITIONS = tuple(product(_line(-0.35, -0.12, 5), _line(-0.02, 0.42, 5)))
_APPLE_POSITIONS = tuple(product(_line(-0.08, -0.02, 3), _line(-0.02, 0.08, 3)))
GRID_POSITIONS = {
    **dict.fromkeys(("pick_coke_can", *CANS), _CAN_POSITIONS),
    **dict.fromkeys(("open_and_place", *PLACE_TASKS), _APPLE_POSITIONS),
}
"""The positions (m) of the object that visual matching goes through, of tasks that have some."""

_ROBOT_Y = _line(-0.2, 0.2, 3)
_DRAWER_ROBOT_XY = tuple(product(_line(0.65, 0.85, 3), _ROBOT_Y))
_APPLE_ROBOT_XY = tuple(product((0.65,), _ROBOT_Y))


def visual_matching() -> Iterator[Entry]:
    """Photographs behind, four colourings of robot and cabinet."""
    for coloring, can, xy in product(_TABLE_COLORINGS, CANS, _CAN_POSITIONS):
        yield can, VISUAL_MATCHING, {"coloring": coloring, "object_xy": xy}
    for coloring, layout in product(_TABLE_COLORINGS, range(60)):
        yield "move_near_v0", VISUAL_MATCHING, {"coloring": coloring, "layout": layout}
    drawers = (*OPEN_DRAWERS, *CLOSE_DRAWERS)
    for coloring, task, pose in product(_CABINET_COLORINGS, drawers, ROBOT_POSES):
        yield task, VISUAL_MATCHING, {"coloring": coloring, "robot_pose": pose}
    for coloring, pose, xy in product(_CABINET_COLORINGS, NEAR_POSES, _APPLE_POSITIONS):
        start = {"coloring": coloring, "robot_pose": pose}
        options = {**start, "object": "baked_apple_v2", "object_xy": xy}
        yield "open_and_place", VISUAL_MATCHING, options
    for task, layout in product(WIDOWX, range(24)):
        yield task, VISUAL_MATCHING, {"layout": layout}


def variant_aggregation() -> Iterator[Entry]:
    """Other backgrounds, lights, tables or cabinets, distractors and cameras; no photographs."""
    for group in (("base",), _TABLES, _DISTRACTORS, _BACKGROUNDS, _LIGHTS, CAMERAS):
        for can, variant, xy in product(CANS, group, _CAN_POSITIONS):
            yield can, variant, {"object_xy": xy}
    near = ("base", "no_distractors", *_BACKGROUNDS, *_LIGHTS, *_TABLES, *CAMERAS)
    for variant, layout in product(near, range(60)):
        yield "move_near", variant, {"layout": layout}
    drawers = (*OPEN_DRAWERS, *CLOSE_DRAWERS)
    lights = _LIGHTS[::-1]
    pairs: list[tuple[str, str]] = list(product(("base", *_BACKGROUNDS), drawers))
    # From here on the variants are the inner loop.
    pairs += [(variant, task) for task in drawers for variant in lights]
    pairs += [(variant, task) for task in drawers for variant in _CABINETS]
    for (variant, task), robot_xy in product(pairs, _DRAWER_ROBOT_XY):
        yield task, variant, {"robot_xy": robot_xy, "robot_yaw": 0.0}
    variants = ("base", *_BACKGROUNDS, *lights, *_CABINETS)
    for variant, robot_xy, xy in product(variants, _APPLE_ROBOT_XY, _APPLE_POSITIONS):
        start = {"robot_xy": robot_xy, "robot_yaw": 0.0}
        yield "open_and_place", variant, {**start, "object": "apple", "object_xy": xy}


def self_flow_paper() -> Iterator[Entry]:
    """15 cans, 18 drawers, 10 times near, 7 times open and place; then all of it once more.

    Counts: Self-Flow, App. E. Which episodes they are it does not say; these are spread over visual
    matching: each orientation of the can at five positions that share neither x nor y, each drawer
    from three robot poses and each pose with open and close, every pair of objects and triangle,
    seven of the nine positions of the apple. Colourings take turns.
    """
    for _ in range(2):
        yield from _self_flow_round()


def _self_flow_round() -> Iterator[Entry]:
    colorings = cycle(_TABLE_COLORINGS)
    for shift, can in enumerate(CANS):
        for row in range(5):
            xy = _CAN_POSITIONS[5 * row + (2 * row + shift) % 5]
            yield can, VISUAL_MATCHING, {"coloring": next(colorings), "object_xy": xy}
    for drawers in (OPEN_DRAWERS, CLOSE_DRAWERS):
        for number, pose in enumerate(ROBOT_POSES):
            options = {"coloring": next(colorings), "robot_pose": pose}
            yield drawers[(number // 3 + number) % 3], VISUAL_MATCHING, options
    for number in range(10):
        layout = 6 * number + number % 6
        yield "move_near_v0", VISUAL_MATCHING, {"coloring": next(colorings), "layout": layout}
    for number in range(7):
        yield (
            "open_and_place",
            VISUAL_MATCHING,
            {
                "coloring": next(colorings),
                "robot_pose": NEAR_POSES[number % 3],
                "object": "baked_apple_v2",
                "object_xy": _APPLE_POSITIONS[4 * number % 9],
            },
        )


LISTS: dict[str, Callable[[], Iterable[Entry]]] = {
    "visual_matching": visual_matching,
    "variant_aggregation": variant_aggregation,
    "self_flow_paper": self_flow_paper,
}
"""The lists by the name of their protocol."""
