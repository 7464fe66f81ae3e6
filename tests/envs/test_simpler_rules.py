"""Success rules on plain numbers."""

from typing import Any

import pytest
import torch
from torch import Tensor

from envs.simpler.rules.drawer import DrawerState, MoveDrawer, PlaceInDrawer, PlaceState
from envs.simpler.rules.grasp import GraspState, LiftObject
from envs.simpler.rules.near import MoveNear, NearState
from envs.simpler.rules.put import PutOn, PutState


def one(value: Any) -> Tensor:
    return torch.tensor([value])


def place(
    position: float,
    impulse: float,
    inside: bool = True,
    released: bool = True,
    speed: float = 0.0,
) -> PlaceState:
    return PlaceState(one(position), one(impulse), one(inside), one(released), one(speed))


@pytest.mark.parametrize(
    ("goal", "position", "success"),
    [("open", 0.16, True), ("open", 0.14, False), ("close", 0.04, True), ("close", 0.06, False)],
)
def test_a_drawer_is_open_from_15_cm_and_closed_below_5(
    goal: str, position: float, success: bool
) -> None:
    rule = MoveDrawer(goal)
    rule.before_step()
    assert bool(rule.update(DrawerState(one(position)))) is success
    assert float(rule.statistics["qpos"]) == pytest.approx(position)


def test_second_subtask_is_forced_in_the_101st_step() -> None:
    rule = PlaceInDrawer(forced_step=100)
    for _ in range(100):
        rule.before_step()
        assert int(rule.subtask) == 0
    rule.before_step()
    assert int(rule.subtask) == 1


def test_placing_needs_subtask_open_drawer_and_a_contact() -> None:
    rule = PlaceInDrawer(forced_step=100)
    assert not rule.update(place(0.2, 1e-3))
    rule.advance()
    # The contact of the first subtask counts.
    assert rule.update(place(0.2, 0.0))
    assert not rule.update(place(0.04, 0.0))
    assert rule.success_ever
    assert not rule.success


def test_contact_must_exceed_the_threshold() -> None:
    rule = PlaceInDrawer(forced_step=100)
    rule.advance()
    assert not rule.update(place(0.2, 1e-6))
    assert rule.update(place(0.2, 2e-6))


@pytest.mark.parametrize(
    ("change", "strict"),
    [({}, True), ({"inside": False}, False), ({"released": False}, False), ({"speed": 0.2}, False)],
)
def test_strict_placing_asks_for_rest_inside(change: dict[str, Any], strict: bool) -> None:
    rule = PlaceInDrawer(forced_step=100)
    rule.advance()
    rule.update(place(0.16, 1.0, **change))
    assert rule.success
    assert bool(rule.success_strict) is strict


def test_strict_placing_asks_for_a_drawer_once_opened() -> None:
    rule = PlaceInDrawer(forced_step=100)
    rule.advance()
    rule.update(place(0.10, 1.0))
    assert rule.success
    assert not rule.success_strict


def grasp(grasped: bool, touched: bool, rise: float) -> GraspState:
    return GraspState(one(grasped), one(touched), one(rise))


def test_lifting_needs_height_and_nothing_beneath() -> None:
    rule = LiftObject()
    assert not rule.update(grasp(True, True, 0.05))
    assert not rule.update(grasp(True, False, 0.005))
    assert rule.update(grasp(True, False, 0.015))
    # Once lifted it may touch something as long as it stays in the grasp.
    assert rule.update(grasp(True, True, 0.0))
    assert not rule.update(grasp(False, True, 0.0))
    assert rule.success_ever
    assert not rule.success_strict


def test_five_steps_high_count_for_good() -> None:
    rule = LiftObject()
    for _ in range(5):
        rule.update(grasp(True, False, 0.03))
    assert rule.update(grasp(False, True, 0.0))
    assert int(rule.statistics["n_lift_significant"]) == 5
    assert rule.statistics["consec_grasp"]
    assert rule.success_strict


def near(source: tuple[float, float, float], **change: Any) -> NearState:
    settled = torch.tensor([[[0.0, 0.0, 0.9], [0.3, 0.0, 0.9], [0.0, 0.3, 0.9]]])
    frames = settled.clone()
    frames[0, 0] = torch.tensor(source)
    for index, place_of in change.pop("others", {}).items():
        frames[0, index] = torch.tensor(place_of)
    values = {
        "frames": frames,
        "centres": frames[:, :2],
        "settled": settled,
        "half": torch.tensor([[0.04, 0.04]]),
        "released": one(True),
        "speed": one(0.0),
    }
    return NearState(**(values | change))


def test_near_is_half_diagonals_and_ten_centimetres() -> None:
    rule = MoveNear()
    assert rule.update(near((0.13, 0.0, 0.9)))
    assert rule.success_strict
    assert not rule.update(near((0.11, 0.0, 0.9)))
    assert not rule.report["near_tgt_obj"]


@pytest.mark.parametrize(
    ("others", "broken"),
    [
        ({2: (0.0, 0.3, 0.87)}, "all_obj_keep_height"),
        ({1: (0.3, 0.0, 0.7)}, "all_obj_keep_height"),
        ({2: (0.5, 0.5, 0.9)}, "moved_correct_obj"),
        ({2: (0.2, 0.05, 0.9)}, "is_closest_to_tgt"),
    ],
)
def test_what_spoils_moving_near(others: dict[int, tuple[float, ...]], broken: str) -> None:
    rule = MoveNear()
    assert not rule.update(near((0.2, 0.0, 0.9), others=others))
    assert not rule.report[broken]


def put(height: float, **change: Any) -> PutState:
    settled = torch.tensor([[[0.1, 0.0, 0.885], [0.0, 0.0, 0.885]]])
    frames = torch.tensor([[[0.0, 0.0, height], [0.0, 0.0, 0.885]]])
    values = {
        "frames": frames,
        "centres": frames,
        "settled": settled,
        "half": torch.full((1, 2, 3), 0.015),
        "grasped": one(False),
        "touched": one(False),
        "released": one(True),
        "speed": one(0.0),
    }
    return PutState(**(values | change))


@pytest.mark.parametrize(
    ("height", "success"), [(0.915, True), (0.934, True), (0.936, False), (0.884, False)]
)
def test_on_it_means_above_and_not_far_above(height: float, success: bool) -> None:
    assert bool(PutOn().update(put(height))) is success


def test_touching_the_table_spoils_it_only_where_it_must_be_alone() -> None:
    state = put(0.915, touched=one(True))
    assert not PutOn().update(state)
    assert PutOn(alone=False).update(state)


def test_strict_putting_asks_for_an_open_hand() -> None:
    rule = PutOn()
    rule.update(put(0.915, released=one(False)))
    assert rule.success
    assert not rule.success_strict


def test_a_batch_is_judged_one_by_one_and_reset_in_part() -> None:
    rule = MoveDrawer("open", batch=3)
    rule.before_step()
    rule.update(DrawerState(torch.tensor([0.2, 0.1, 0.3])))
    assert rule.success.tolist() == [True, False, True]
    rule.reset(torch.tensor([0]))
    assert rule.success_ever.tolist() == [False, False, True]
    assert rule.elapsed_steps.tolist() == [0, 1, 1]
