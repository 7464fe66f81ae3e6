"""Random draws of resets, fixed layouts, variants, names: what makes an episode's start."""

import itertools
from typing import Any

import numpy as np
import pytest

from envs.simpler.assets.catalogues import CATALOGUES
from envs.simpler.assets.rests import rests
from envs.simpler.scenes.names import object_name
from envs.simpler.tasks import layouts
from envs.simpler.tasks.registry import COLORINGS, DRAWERS, ORIENTATIONS, TASKS, task_spec
from envs.simpler.tasks.scattered import scattered
from envs.simpler.tasks.start import ROBOT_POSES, Start, draw_start
from envs.simpler.tasks.variants import variant_of, variants_of
from experiment.errors import UserError

SIMPLER_NAMES = [
    "google_robot_pick_coke_can",
    "google_robot_pick_horizontal_coke_can",
    "google_robot_pick_vertical_coke_can",
    "google_robot_pick_standing_coke_can",
    "google_robot_pick_object",
    "google_robot_move_near_v0",
    "google_robot_move_near_v1",
    "google_robot_move_near",
    "google_robot_open_drawer",
    "google_robot_open_top_drawer",
    "google_robot_open_middle_drawer",
    "google_robot_open_bottom_drawer",
    "google_robot_close_drawer",
    "google_robot_close_top_drawer",
    "google_robot_close_middle_drawer",
    "google_robot_close_bottom_drawer",
    "google_robot_place_in_closed_drawer",
    "google_robot_place_in_closed_top_drawer",
    "google_robot_place_in_closed_middle_drawer",
    "google_robot_place_in_closed_bottom_drawer",
    "google_robot_place_apple_in_closed_top_drawer",
    "widowx_spoon_on_towel",
    "widowx_carrot_on_plate",
    "widowx_stack_cube",
    "widowx_put_eggplant_in_basket",
]


def start(task: str, seed: int, variant: str = "visual_matching", **options: Any) -> Start:
    spec = task_spec(task)
    return draw_start(seed, spec, variant_of(spec, variant), options, CATALOGUES[spec.catalogue])


def test_every_one_of_simplers_names_is_known() -> None:
    assert sorted(spec.simpler_name for spec in TASKS.values()) == sorted(SIMPLER_NAMES)
    assert len({spec.gym_id for spec in TASKS.values()}) == 25


def test_tasks_are_found_by_both_names() -> None:
    spec = task_spec("open_and_place")
    assert task_spec("google_robot_place_apple_in_closed_top_drawer") is spec
    with pytest.raises(UserError, match="Did you mean 'open_and_place'"):
        task_spec("open_and_plac")


def test_reset_draws_are_the_originals() -> None:
    # Read from the original's own reset with this seed.
    drawn = start("open_and_place", 1)
    assert drawn.robot_pose == "b0"
    assert drawn.coloring == "recolor_cabinet_visual_matching_1"
    assert drawn.layout.positions[0] == pytest.approx((-0.0791489, 0.07203245), abs=1e-7)
    carrot = [start("carrot_on_plate", seed).layout.number for seed in range(3)]
    assert carrot == [12, 5, 8]


@pytest.mark.parametrize("task", list(TASKS))
def test_a_fixed_name_changes_no_other_draw(task: str) -> None:
    by_family: dict[str, dict[str, Any]] = {
        "drawer": {"robot_pose": "c1", "coloring": COLORINGS[2]},
        "place": {"object_xy": (-0.06, 0.04)},
        "grasp": {"object_xy": (-0.2, 0.2)},
        "move_near": {"layout": 7},
        "put_on": {"layout": 7},
    }
    fixable = by_family[TASKS[task].family]
    free, fixed = start(task, 5), start(task, 5, **fixable)
    if "layout" in fixable:
        assert fixed.layout.number == 7
        assert fixed.coloring == free.coloring
    elif "object_xy" in fixable:
        assert fixed.layout.positions[0] == fixable["object_xy"]
        assert fixed.layout.models == free.layout.models
        assert (fixed.robot_pose, fixed.coloring) == (free.robot_pose, free.coloring)
    else:
        assert (fixed.robot_pose, fixed.coloring) == ("c1", COLORINGS[2])
        assert fixed.drawer == free.drawer


def test_objects_of_a_layout_can_be_put_elsewhere() -> None:
    listed = start("move_near", 5)
    moved = start("move_near", 5, object_xy=(-0.3, 0.1), distractor_xy=(-0.2, 0.2))
    source, target = listed.layout.source, listed.layout.target
    assert source is not None
    assert target is not None
    assert moved.layout.positions[source] == (-0.3, 0.1)
    assert moved.layout.positions[target] == listed.layout.positions[target]
    assert moved.layout.positions[3 - source - target] == (-0.2, 0.2)
    assert moved.layout.models == listed.layout.models
    assert start("stack_cube", 5, target_xy=(-0.1, 0)).layout.positions[1] == (-0.1, 0.0)


def test_where_something_rests_is_not_taken_from_another_place() -> None:
    spec = TASKS["eggplant_in_basket"]
    listed = start("eggplant_in_basket", 0).layout
    assert rests(spec, listed) is not None
    assert rests(spec, start("eggplant_in_basket", 0, object_xy=(-0.1, 0.2)).layout) is None


@pytest.mark.parametrize("task", list(TASKS))
def test_scattered_starts_lie_between_those_of_the_lists(task: str) -> None:
    spec = TASKS[task]
    drawn = [scattered(spec, np.random.default_rng(seed)) for seed in range(20)]
    assert drawn[3] == scattered(spec, np.random.default_rng(3))
    names = {
        "drawer": {"robot_xy", "robot_yaw"},
        "place": {"robot_xy", "robot_yaw"},
        "grasp": set(),
        "move_near": {"object_xy", "target_xy", "distractor_xy"},
        "put_on": {"object_xy", "target_xy"},
    }[spec.family]
    assert set(drawn[0]) == names - ({"target_xy"} if spec.robot == "widowx_sink" else set())
    for name in drawn[0]:
        values = [options[name] for options in drawn]
        assert len(set(values)) == 20
    for options in drawn:
        start(task, 0, **options)
        places = np.array([options[name] for name in drawn[0] if "robot" not in name])
        if spec.family in ("move_near", "put_on"):
            listed = [start(task, 0, layout=n).layout.positions for n in range(spec.layouts)]
            assert (places >= np.min(listed, axis=(0, 1))).all()
            assert (places <= np.max(listed, axis=(0, 1))).all()
        if len(places) > 1:
            gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations(places, 2)]
            assert min(gaps) >= 0.08


def test_three_objects_find_room_however_many_tries_it_takes() -> None:
    assert scattered(TASKS["move_near"], np.random.default_rng(65))  # more than 10,000 tries


def test_everything_that_may_be_drawn_is_drawn() -> None:
    drawers = [start("open_drawer", seed) for seed in range(300)]
    assert {s.robot_pose for s in drawers} == set(ROBOT_POSES)
    assert {s.coloring for s in drawers} == set(COLORINGS)
    assert {s.drawer for s in drawers} == set(DRAWERS)
    cans = [start("pick_coke_can", seed) for seed in range(30)]
    assert {s.orientation for s in cans} == set(ORIENTATIONS)
    places = [start("place_in_closed_drawer", seed) for seed in range(300)]
    assert {s.layout.models[0] for s in places} == set(CATALOGUES["pick_custom_baked_tex_v1"])


@pytest.mark.parametrize(
    ("task", "wrong", "message"),
    [
        ("open_and_place", {"robot_pose": "a9"}, "Known"),
        ("open_and_place", {"coloring": "red"}, "Known"),
        ("open_and_place", {"robot": "c0"}, "unknown reset option"),
        ("open_and_place", {"layout": 3}, "has no reset option 'layout'"),
        ("pick_coke_can", {"robot_pose": "a0"}, "has no reset option 'robot_pose'"),
        ("pick_coke_can", {"orientation": "leaning"}, "unknown orientation"),
        ("move_near", {"layout": 60}, "0 to 59"),
        ("stack_cube", {"layout": -1}, "0 to 23"),
        ("pick_coke_can", {"object_xy": (0.1, float("nan"))}, "object_xy"),
        ("pick_coke_can", {"object_xy": (0.1,)}, "object_xy"),
        ("pick_coke_can", {"target_xy": (0.1, 0.1)}, "has no reset option 'target_xy'"),
        ("stack_cube", {"target_xy": (0.1,)}, "target_xy"),
        ("stack_cube", {"distractor_xy": (0.1, 0.1)}, "has no reset option 'distractor_xy'"),
        ("eggplant_in_basket", {"target_xy": (0.1, 0.1)}, "its basket is fixed"),
    ],
)
def test_options_that_cannot_be_are_refused(task: str, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        start(task, 0, **wrong)


def test_sixty_layouts_of_move_near_are_all_different() -> None:
    made = [layouts.move_near(n, "pick_custom_baked_tex_v1") for n in range(60)]
    assert len({(m.models, m.positions, m.source, m.target) for m in made}) == 60
    assert all(m.source != m.target for m in made)
    # As the recording of layout 44 has it.
    assert made[44].models == ("baked_sponge_v2", "blue_plastic_bottle", "baked_opened_7up_can_v2")
    assert (made[44].source, made[44].target) == (1, 0)


@pytest.mark.parametrize("without_distractor", [False, True])
def test_the_pair_is_the_same_without_the_distractor(without_distractor: bool) -> None:
    whole = layouts.move_near(31, "pick_custom_v0")
    made = layouts.move_near(31, "pick_custom_v0", without_distractor)
    assert whole.source is not None
    assert made.source is not None
    assert whole.models[whole.source] == made.models[made.source]
    assert whole.positions[whole.source] == made.positions[made.source]
    assert len(made.models) == (2 if without_distractor else 3)


@pytest.mark.parametrize("task", [t for t, s in TASKS.items() if s.family == "put_on"])
def test_twenty_four_layouts_on_the_bridge_table(task: str) -> None:
    spec = TASKS[task]
    made = [layouts.put_on(n, task, spec.models) for n in range(24)]
    assert len({(m.positions, m.quaternions) for m in made}) == 24


def test_distractors_keep_their_distance() -> None:
    for seed in range(20):
        drawn = start("pick_horizontal_coke_can", seed, "distractors_more").layout
        places = np.array(drawn.positions)
        assert len(places) == 7
        assert np.linalg.norm(places[1:] - places[0], axis=1).min() > 0.25
        alone = start("pick_horizontal_coke_can", seed).layout
        assert drawn.positions[0] == alone.positions[0]


def test_variants_by_family() -> None:
    assert variants_of("stack_cube") == ("visual_matching",)
    assert "cabinet_2" in variants_of("open_top_drawer")
    assert "no_distractors" in variants_of("move_near")
    spec = task_spec("open_and_place")
    assert variant_of(spec, "base").models == ("apple",)
    assert start("open_and_place", 0, "base").layout.models == ("apple",)
    assert start("open_and_place", 0, "base").coloring == ""
    assert start("move_near", 0, "base").layout.models[0] == "sponge"
    with pytest.raises(UserError, match="has no variant 'table_1'"):
        variant_of(spec, "table_1")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("baked_opened_7up_can_v2", "7up can"),
        ("bridge_spoon_generated_modified", "spoon"),
        ("green_cube_3cm", "green cube"),
    ],
)
def test_names_are_spoken_without_what_tells_files_apart(model: str, words: str) -> None:
    assert object_name(model) == words
