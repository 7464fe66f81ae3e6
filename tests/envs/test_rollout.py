"""One episode: what is handed to whom, when it ends, which actions are refused, which seeds."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from envs.actions import validated_chunk
from envs.episode import (
    Episode,
    EpisodeRecord,
    Observation,
    episode_seed,
)
from envs.rollout import run_episode
from experiment.errors import UserError
from tests.envs.toy import LIMIT, BrokenPolicy, ToyEnv, ToyPolicy
from tests.envs.toy_tasks import ToyTask

EPISODE = Episode(task="toy", index=3, seed=11, robot_pose="c0")


class Log:
    """A recorder that keeps all it was told."""

    def __init__(self) -> None:
        self.first: Observation | None = None
        self.steps: list[tuple[Observation, np.ndarray, Mapping[str, Any], Observation]] = []
        self.record: EpisodeRecord | None = None

    def start(self, episode: Episode, observation: Observation) -> None:
        assert episode == EPISODE
        self.first = observation

    def step(
        self, before: Observation, action: np.ndarray, info: Mapping[str, Any], after: Observation
    ) -> None:
        self.steps.append((before, action, info, after))

    def end(self, record: EpisodeRecord) -> None:
        self.record = record


def test_recorders_see_every_step_in_order() -> None:
    log = Log()
    record = run_episode(ToyEnv(), ToyPolicy(), EPISODE, [log])
    assert log.record == record
    assert [before.step for before, *_ in log.steps] == list(range(LIMIT))
    assert log.steps[0][0] is log.first
    for (_, _, _, after), (before, *_) in zip(log.steps, log.steps[1:], strict=False):
        assert after is before
    before, action, _, after = log.steps[4]
    np.testing.assert_allclose(after.state[:7], before.state[:7] + action, rtol=1e-6)
    assert before.instruction == "open top drawer"
    assert after.instruction == "place apple into top drawer"
    assert before.image is not None
    assert before.image.shape == (32, 40, 3)


def test_an_episode_goes_on_after_success_to_the_limit() -> None:
    record = run_episode(ToyEnv(), ToyPolicy(), EPISODE)
    assert record.steps == LIMIT
    assert record.calls == 4
    assert record.success_ever
    assert not record.success_at_end
    assert record.robot_pose == "c0"


def test_a_policy_that_is_done_ends_the_episode_after_its_chunk() -> None:
    record = run_episode(ToyEnv(), ToyPolicy(chunk=4, stops_after=12), EPISODE)
    assert (record.steps, record.calls) == (12, 3)
    assert record.success_at_end


def test_max_steps_cuts_a_chunk_short() -> None:
    assert run_episode(ToyEnv(), ToyPolicy(chunk=6), EPISODE, max_steps=8).steps == 8


def test_the_same_episode_twice_is_the_same() -> None:
    logs = [Log(), Log()]
    for log in logs:
        run_episode(ToyEnv(), ToyPolicy(), EPISODE, [log])
    for one, other in zip(logs[0].steps, logs[1].steps, strict=True):
        np.testing.assert_array_equal(one[1], other[1])
        np.testing.assert_array_equal(one[3].state, other[3].state)


def test_without_a_renderer_there_is_no_image() -> None:
    log = Log()
    run_episode(ToyEnv(resolution=None), ToyPolicy(), EPISODE, [log])
    assert log.first is not None
    assert log.first.image is None


@pytest.mark.parametrize(
    ("chunk", "says"),
    [
        (np.zeros((6, 6)), r"shape \(6, 6\) at step 12"),
        (np.zeros(7), r"shape \(7,\)"),
        (np.zeros((0, 7)), r"shape \(0, 7\)"),
        ([[0.0] * 7, [0.0] * 6], "no array of actions at step 12"),
        (np.full((1, 7), "x"), "of type <U1"),
        (np.array([[0.0] * 7, [np.inf] + [0.0] * 6]), "infinity in the action for step 13"),
        (np.array([[1.5, 0, 0, 0, 0, 0, 0]]), "step 12 that moves by 1.5 m"),
        (np.array([[0, 0, 0, 0, 4.0, 0, 0]]), "turns by 4 rad"),
        (np.array([[0, 0, 0, 0, 0, 0, -11.0]]), "closes the gripper by 11 units"),
    ],
)
def test_an_impossible_action_names_policy_and_step(chunk: Any, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        validated_chunk(chunk, "mine", 12)
    assert "'mine'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "chunk",
    [
        [[0.5] * 7] * 2,
        np.full((2, 7), 0.5),
        np.full((2, 7), 0.5, dtype=np.float16),
        torch.full((2, 7), 0.5),
        torch.full((2, 7), 0.5, dtype=torch.bfloat16),
        torch.full((2, 7), 0.5, requires_grad=True),
        torch.full((2, 7), 0.5).requires_grad_() * 1.0,
    ],
)
def test_anything_like_an_array_is_an_action(chunk: Any) -> None:
    actions = validated_chunk(chunk, "mine", 0)
    assert actions.dtype == np.float32
    np.testing.assert_array_equal(actions, np.full((2, 7), 0.5, np.float32))


class NamelessPolicy:
    """The contract and no more: reset and act."""

    def reset(self, instruction: str, seed: int) -> None:
        pass

    def act(self, observation: Observation) -> list[list[float]]:
        return [[0.0] * 6 + [float("nan") if observation.step == 6 else 0.0]] * 3


def test_a_policy_without_a_name_is_called_by_its_class() -> None:
    record = run_episode(ToyEnv(), NamelessPolicy(), EPISODE, max_steps=5)
    assert record.policy == "NamelessPolicy"
    with pytest.raises(UserError, match=r"'NamelessPolicy' returned NaN .* step 6"):
        run_episode(ToyEnv(), NamelessPolicy(), EPISODE)


def test_a_possible_action_passes_unchanged() -> None:
    chunk = np.array([[0.02, 0, 0, 0, 0, 0.3, 1], [1, 0, 0, np.pi, 0, 0, -10]], dtype=np.float32)
    np.testing.assert_array_equal(validated_chunk(chunk, "mine", 0), chunk)


def test_a_defect_inside_an_episode_names_its_step() -> None:
    with pytest.raises(UserError, match=r"'broken' returned NaN or infinity .* step 8"):
        run_episode(ToyEnv(), BrokenPolicy("nan"), EPISODE)


def test_seeds_are_fixed_for_all_machines() -> None:
    assert episode_seed("open_and_place", "demos", 0) == 2392936059
    assert episode_seed("open_and_place", "default", 0) == 755355188


def test_demonstrations_and_evaluations_never_share_a_seed() -> None:
    demos = {episode_seed("open_and_place", "demos", index) for index in range(500)}
    others = {
        episode_seed("open_and_place", protocol, index, base)
        for protocol in ("default", "grid")
        for index in range(500)
        for base in (0, 1)
    }
    assert len(demos) == 500
    assert len(others) == 2000
    assert min(demos) >= 2**31 > max(others)
    assert max(demos) < 2**32


def test_a_record_survives_its_json_line() -> None:
    record = run_episode(ToyEnv(), ToyPolicy(), EPISODE)
    placed = dataclasses.replace(
        record,
        variant="base",
        options={"object_xy": (-0.05, 0.03), "layout": 7},
        statistics={"is_src_obj_grasped": True},
        assets="simpler",
        stand_ins=("table.glb",),
    )
    for one in (record, placed):
        line = one.to_json()
        assert "\n" not in line
        assert EpisodeRecord.from_json(line) == one


def test_a_line_from_before_there_were_variants_is_read() -> None:
    values = json.loads(run_episode(ToyEnv(), ToyPolicy(), EPISODE).to_json())
    for name in ("variant", "options", "statistics", "assets", "stand_ins"):
        del values[name]
    record = EpisodeRecord.from_json(json.dumps(values | {"object_xy": [-0.05, 0.03]}))
    assert record.variant == "visual_matching"
    assert record.options == {"object_xy": (-0.05, 0.03)}
    assert EpisodeRecord.from_json(json.dumps(values | {"object_xy": None})).options == {}
    del values["steps"]
    with pytest.raises(TypeError, match="steps"):
        EpisodeRecord.from_json(json.dumps(values))


def test_only_what_is_fixed_is_an_option() -> None:
    assert EPISODE.reset_options() == {"robot_pose": "c0"}
    bare = Episode("toy", 0, 1, variant="base")
    assert bare.reset_options() == {}
    # An empty name and zeros are values, not gaps.
    fixed = {"coloring": "", "layout": 0, "robot_yaw": 0.0, "object": "apple", "drawer": "top"}
    assert Episode("toy", 0, 1, **fixed).reset_options() == fixed  # type: ignore[arg-type]


def test_a_record_says_what_the_episode_was() -> None:
    record = run_episode(ToyTask("t", "base"), ToyPolicy(), dataclasses.replace(EPISODE, layout=2))
    assert record.options == {"robot_pose": "c0", "layout": 2}
    assert record.statistics == {"task": "t", "variant": "base"}
    assert (record.assets, record.stand_ins) == ("toy", ("table.glb",))
