"""Which expert a task has."""

import pytest

from envs.simpler.tasks.registry import TASKS
from experiment.errors import UserError
from policies.contract import policy_name
from policies.experts.open_and_place import OpenAndPlaceExpert
from policies.experts.registry import EXPERTS, make_expert


@pytest.mark.parametrize(
    "task", ["open_and_place", "google_robot_place_apple_in_closed_top_drawer"]
)
def test_the_expert_is_made_with_its_settings(task: str) -> None:
    expert = make_expert(task, jitter=0.0)
    assert isinstance(expert, OpenAndPlaceExpert)
    assert expert.jitter == 0.0


def test_a_task_without_an_expert_names_those_that_have_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(EXPERTS, "place")
    task = "place_in_closed_bottom_drawer"
    with pytest.raises(UserError, match=f"{task} has no scripted expert; .*open_and_place"):
        make_expert(task)


def test_every_expert_is_a_policy() -> None:
    assert len(TASKS) == 25
    for name in TASKS:
        expert = make_expert(name)
        assert policy_name(expert) == "oracle"
        expert.reset("", 0)


def test_what_an_expert_does_not_take_is_named() -> None:
    with pytest.raises(UserError, match="'jiter'"):
        make_expert("open_and_place", jiter=0.0)
    with pytest.raises(UserError, match="Did you mean 'open_and_place'"):
        make_expert("open_and_plase")
