"""Predicted rows to executed actions."""

import dataclasses

import numpy as np
import pytest
import torch

from experiment.errors import UserError
from policies.chunking import ActionCode, ChunkedPolicy
from policies.contract import Observation, validated_chunk
from policies.gripper import AbsolutePosition, RelativeCommand, TargetLevel, in_radians
from policies.learning.demonstrations import as_learned, cut_holding
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.trajectories import Trajectories
from worldmodel.data.windows import WindowBatch, WindowConfig


def trajectories() -> Trajectories:
    """Two episodes of ten steps; the gripper closes in step 2 and opens in step 7."""
    generator = np.random.default_rng(0)
    action = generator.normal(size=(20, 7)).astype(np.float32)
    action[:, 6] = 0
    action[[2, 12], 6], action[[7, 17], 6] = 1, -1
    return Trajectories(
        frames=np.zeros((20, 8, 8, 3), np.uint8),
        state=generator.normal(size=(20, 10)).astype(np.float32),
        action=action,
        instruction=np.zeros(20, np.int64),
        instructions=("open top drawer",),
        starts=np.array([0, 10, 20]),
        fps=3.0,
        source="made up",
    )


class Replay:
    """Predicts the demonstrated chunk of a step of the first episode."""

    name = "replay"
    chunk = 6

    def __init__(self, levels: Trajectories, normalisation: Normalisation) -> None:
        self.levels, self.normalisation = levels, normalisation
        self.step = 0

    def predict(self, windows: WindowBatch, generator: torch.Generator) -> np.ndarray:  # noqa: ARG002
        assert windows.frame.shape == (1, 8, 8, 3)
        cut = cut_holding(self.levels, np.array([self.step]), WindowConfig(), TargetLevel())
        return self.normalisation.action(cut.action.numpy())


def observation() -> Observation:
    image = np.zeros((8, 8, 3), np.uint8)
    return Observation(image, np.zeros(10, np.float32), "open top drawer", 0, {})


def test_a_demonstration_is_reproduced_chunk_by_chunk() -> None:
    """Commands to levels, to the model's units and back are the demonstrated commands."""
    recorded = trajectories()
    levels = as_learned(recorded, TargetLevel())
    normalisation = dataclasses.replace(
        Normalisation.of(levels.state, levels.action),
        low=np.full(6, -5, np.float32),
        high=np.full(6, 5, np.float32),
    )
    replay = Replay(levels, normalisation)
    policy = ChunkedPolicy(replay, ActionCode(normalisation, TargetLevel()), execute=3)
    given = []
    for replay.step in (0, 3, 6):
        given.append(policy.act(observation()))
    actions = np.concatenate(given)
    assert np.allclose(actions[:, :6], recorded.action[:9, :6], atol=1e-5)
    assert np.allclose(actions[:, 6], recorded.action[:9, 6], atol=0.02)


def test_after_the_end_the_robot_rests_and_the_gripper_stays() -> None:
    levels = as_learned(trajectories(), TargetLevel())
    windows = cut_holding(levels, np.array([8, 3]), WindowConfig(), TargetLevel())
    assert windows.action_valid.all()
    assert np.allclose(windows.action[0, 2:, :6], 0)
    assert np.allclose(in_radians(windows.action[0, :, 6]), 0.0, atol=0.02)
    assert np.array_equal(windows.action[1], levels.action[3:9])


def test_raw_commands_are_left_alone() -> None:
    recorded = trajectories()
    learned = as_learned(recorded, RelativeCommand())
    assert np.array_equal(learned.action, recorded.action)
    windows = cut_holding(learned, np.array([8]), WindowConfig(), RelativeCommand())
    assert np.allclose(windows.action[0, 2:], 0)
    code = ActionCode(Normalisation.of(recorded.state, recorded.action), RelativeCommand())
    rows = np.array([[0, 0, 0, 0, 0, 0, 0.4], [0, 0, 0, 0, 0, 0, 3.0]], np.float32)
    assert np.allclose(code.decoded(rows, code.gripper.decoder())[:, 6], [0.4, 1.0])


def test_a_widowx_policy_tells_its_environment_the_opposite_sign() -> None:
    recorded = trajectories()
    code = ActionCode(Normalisation.of(recorded.state, recorded.action), AbsolutePosition())
    rows = np.array([[0, 0, 0, 0, 0, 0, 1.0], [0, 0, 0, 0, 0, 0, -0.5]], np.float32)
    assert code.decoded(rows, code.gripper.decoder())[:, 6].tolist() == [-1.0, 0.5]


@pytest.mark.parametrize("execute", [0, 7, -1])
def test_an_impossible_number_of_executed_actions_is_refused(execute: int) -> None:
    recorded = trajectories()
    normalisation = Normalisation.of(recorded.state, recorded.action)
    with pytest.raises(UserError, match="between 1 and the 6"):
        ChunkedPolicy(
            Replay(recorded, normalisation), ActionCode(normalisation, RelativeCommand()), execute
        )


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
