"""Predicted rows to executed actions."""

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from experiment.errors import UserError
from policies.chunking import ActionCode, ChunkedPolicy, act_together
from policies.contract import Observation, validated_chunk
from tests.worldmodel.toy_episodes import ToyEpisodes
from tests.worldmodel.toy_streams import toy_set
from worldmodel.data.dataset import DataSet
from worldmodel.data.gripper import (
    AbsolutePosition,
    GripperCodec,
    LearnedGripper,
    RelativeCommand,
    TargetLevel,
    in_radians,
)
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.order import WindowIndex
from worldmodel.data.windows import WindowBatch, WindowConfig


def commands() -> np.ndarray:
    """An episode's actions; the gripper closes in step 2 and opens in step 7."""
    action = np.random.default_rng(0).normal(size=(10, 7)).astype(np.float32)
    action[:, 6] = 0
    action[2, 6], action[7, 6] = 1, -1
    return action


def recorded(codec: GripperCodec, normalisation: Normalisation | None = None) -> DataSet:
    """A data set of two such episodes as `codec` learns it."""
    values = {"action": commands()}
    data = toy_set(ToyEpisodes((10, 10), values=values), WindowConfig((1,), 6), after_end="hold")
    data.learn(LearnedGripper(codec), normalisation)
    return data


UNITS = Normalisation(
    low=np.full(6, -5, np.float32),
    high=np.full(6, 5, np.float32),
    mean=np.zeros(2, np.float32),
    std=np.ones(2, np.float32),
)


class Replay:
    """Predicts the demonstrated chunk of a step of the first episode."""

    name = "replay"
    chunk = 6

    def __init__(self, data: DataSet) -> None:
        self.data, self.step = data, 0

    def predict(
        self,
        windows: WindowBatch,
        generator: torch.Generator | Sequence[torch.Generator],  # noqa: ARG002
    ) -> np.ndarray:
        assert windows.frame.shape == (1, 8, 8, 3)
        return self.data.window(WindowIndex(0, self.step)).action[None]


def observation() -> Observation:
    image = np.zeros((8, 8, 3), np.uint8)
    return Observation(image, np.zeros(10, np.float32), "open top drawer", 0, {})


def test_a_demonstration_is_reproduced_chunk_by_chunk() -> None:
    """Commands to levels, to the model's units and back are the demonstrated commands."""
    replay = Replay(recorded(TargetLevel(), UNITS))
    policy = ChunkedPolicy(replay, ActionCode(UNITS, TargetLevel()), execute=3)
    given = []
    for replay.step in (0, 3, 6):
        given.append(policy.act(observation()))
    actions = np.concatenate(given)
    assert np.allclose(actions[:, :6], commands()[:9, :6], atol=1e-5)
    assert np.allclose(actions[:, 6], commands()[:9, 6], atol=0.02)


def test_after_the_end_the_robot_rests_and_the_gripper_stays() -> None:
    data = recorded(TargetLevel())
    window = data.window(WindowIndex(0, 8))
    assert window.action_valid.all()
    assert np.allclose(window.action[2:, :6], 0)
    assert np.allclose(in_radians(window.action[:, 6]), 0.0, atol=0.02)
    learned = LearnedGripper(TargetLevel())(commands())
    assert np.array_equal(data.window(WindowIndex(1, 3)).action, learned[3:9])


def test_after_the_end_a_relative_command_is_zero_and_a_position_stays() -> None:
    closing = commands()
    closing[9, 6] = 1
    for codec, expected in ((RelativeCommand(), 0), (AbsolutePosition(), 1)):
        data = recorded(codec)
        data.episodes.values["action"] = closing  # type: ignore[attr-defined]
        assert data.window(WindowIndex(0, 9)).action[1:, 6].tolist() == [expected] * 5


def test_raw_commands_are_left_alone() -> None:
    assert np.array_equal(LearnedGripper(RelativeCommand())(commands()), commands())
    code = ActionCode(UNITS, RelativeCommand())
    rows = np.array([[0, 0, 0, 0, 0, 0, 0.4], [0, 0, 0, 0, 0, 0, 3.0]], np.float32)
    assert np.allclose(code.decoded(rows, code.gripper.decoder())[:, 6], [0.4, 1.0])


def test_a_widowx_policy_tells_its_environment_the_opposite_sign() -> None:
    code = ActionCode(UNITS, AbsolutePosition())
    rows = np.array([[0, 0, 0, 0, 0, 0, 1.0], [0, 0, 0, 0, 0, 0, -0.5]], np.float32)
    assert code.decoded(rows, code.gripper.decoder())[:, 6].tolist() == [-1.0, 0.5]


class Remembers:
    """Keeps the first pictures it is shown."""

    name = "remembers"
    chunk = 1

    def __init__(self) -> None:
        self.starts: list[np.ndarray] = []
        self.grips: list[list[float]] = []
        self.pasts: list[list[list[int]]] = []

    def predict(self, windows: WindowBatch, generator: object) -> np.ndarray:  # noqa: ARG002
        assert windows.start is not None
        assert windows.grip is not None
        self.grips.append(windows.grip[:, 0].tolist())
        self.starts.append(windows.start[:, 0, 0, 0].numpy())
        if windows.past is not None:
            self.pasts.append(windows.past[:, :, 0, 0, 0].tolist())
        return np.zeros((windows.samples, self.chunk, 7), np.float32)


def seen(level: int, size: int = 8, fingers: float = 0.0) -> Observation:
    picture = np.full((size, size, 3), level, np.uint8)
    return Observation(picture, np.array([9, fingers], np.float32), "do", 0, {})


def test_a_camera_coarser_than_the_pictures_of_the_model_is_warned_of() -> None:
    code = ActionCode(UNITS, TargetLevel())
    policy = ChunkedPolicy(Remembers(), code, execute=1, picture=(6, 12)).another()
    with pytest.warns(UserWarning, match=r"pictures of 12 x 6, the camera's have only 8 x 8"):
        policy.act(seen(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.act(seen(1))
        policy.act(seen(1, size=12))


def test_a_policy_is_shown_the_first_picture_of_its_episode() -> None:
    predictor = Remembers()
    policy = ChunkedPolicy(predictor, ActionCode(UNITS, TargetLevel()), 1)
    other = policy.another()
    policy.act(seen(1))
    act_together([policy, other], [seen(2), seen(3)])
    policy.reset("do", 0)
    act_together([policy, other], [seen(4), seen(5)])
    # A camera of another size begins anew.
    policy.act(seen(6, size=4))
    assert [start.tolist() for start in predictor.starts] == [[1], [1, 3], [4, 3], [6]]


def test_a_policy_is_shown_its_earlier_pictures() -> None:
    predictor = Remembers()
    predictor.chunk = 3
    # It looks at steps 0, 3, 6, ...: of a step between them the picture before counts.
    policy = ChunkedPolicy(predictor, ActionCode(UNITS, TargetLevel()), 3, past=(3, 7))
    other = policy.another()
    for level in (1, 2, 3, 4):
        policy.act(seen(level))
    act_together([policy, other], [seen(5), seen(9)])
    assert predictor.pasts[:4] == [[[1, 1]], [[1, 1]], [[2, 1]], [[3, 1]]]
    assert predictor.pasts[4] == [[4, 2], [9, 9]]
    assert len(policy._seen) <= 4
    policy.reset("do", 0)
    policy.act(seen(6))
    policy.act(seen(7, size=4))
    assert predictor.pasts[5:] == [[[6, 6]], [[7, 7]]]


def test_a_policy_is_told_how_far_its_fingers_shut_in_this_episode() -> None:
    predictor = Remembers()
    policy = ChunkedPolicy(predictor, ActionCode(UNITS, TargetLevel()), 1)
    other = policy.another()
    for mine, others in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.25)):
        act_together([policy, other], [seen(1, fingers=mine), seen(1, fingers=others)])
    policy.reset("do", 0)
    act_together([policy, other], [seen(1), seen(1)])
    assert predictor.grips == [[0, 0], [0.5, 0], [0.5, 0.25], [0, 0.25]]


class Counts:
    """The n-th chunk says n of its first step, n + 0.1 of the second, and shuts at every second."""

    name = "counts"
    chunk = 3

    def __init__(self) -> None:
        self.called = 0

    def predict(self, windows: WindowBatch, generator: object) -> np.ndarray:  # noqa: ARG002
        self.called += 1
        rows = self.called / 10 + np.arange(3) / 100
        chunk = np.repeat(rows[:, None], 7, 1)
        chunk[:, 6] = self.called % 2
        return chunk[None].astype(np.float32)


@pytest.mark.parametrize(
    ("execute", "ensemble", "expected"),
    [
        (1, 1, [[0.1], [0.2], [0.3], [0.4]]),
        # 0.2 and 0.11, then 0.3, 0.21 and 0.12: a chunk says nothing of what comes after its end.
        (1, 9, [[0.1], [0.155], [0.21], [0.31]]),
        (1, 2, [[0.1], [0.155], [0.255], [0.355]]),
        # Of the second action the chunk before says nothing any more.
        (2, 2, [[0.1, 0.11], [(0.2 + 0.12) / 2, 0.21], [(0.3 + 0.22) / 2, 0.31]]),
    ],
)
def test_what_the_last_chunks_say_of_a_step_can_be_averaged(
    execute: int, ensemble: int, expected: list[list[float]]
) -> None:
    units = Normalisation(-np.ones(6), np.ones(6), np.zeros(2), np.ones(2))
    predictor = Counts()
    first = ChunkedPolicy(predictor, ActionCode(units, AbsolutePosition()), execute, None, ensemble)
    policy = first.another()
    for _ in range(2):  # the next episode begins anew
        predictor.called = 0
        policy.reset("do", 0)
        for number, row in enumerate(expected, start=1):
            actions = policy.act(seen(1))
            np.testing.assert_allclose(actions[:, 0], row, atol=1e-6)
            # The gripper is the newest chunk's.
            assert actions[:, 6].tolist() == [-(number % 2)] * execute


@pytest.mark.parametrize("execute", [0, 7, -1])
def test_an_impossible_number_of_executed_actions_is_refused(execute: int) -> None:
    replay = Replay(recorded(RelativeCommand(), UNITS))
    with pytest.raises(UserError, match="between 1 and the 6"):
        ChunkedPolicy(replay, ActionCode(UNITS, RelativeCommand()), execute)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (np.full((2, 7), np.nan), "NaN or infinity in the action for step 12"),
        (np.zeros((6, 6)), r"shape \(6, 6\) at step 12"),
        (np.zeros(7), r"shape \(7,\) at step 12"),
        (np.zeros((0, 7)), r"shape \(0, 7\) at step 12"),
        (np.full((1, 7), 5.0), "moves by 8.66 m"),
        ([["a"] * 7], "type"),
    ],
)
def test_a_chunk_that_no_robot_could_mean_gets_one_sentence(answer: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        validated_chunk(answer, "mine", 12)
    assert "policy 'mine'" in str(caught.value)
