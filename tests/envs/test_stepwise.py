"""A policy of whose answers not all are executed: when it looks again, and what it hears."""

import numpy as np

from envs.episode import Observation
from envs.stepwise import StepwisePolicy
from policies.chunking import ActionCode, ChunkedPolicy
from tests.policies.test_chunking import UNITS, Remembers
from worldmodel.data.gripper import CLOSED, OPEN, TargetLevel, scaled


def seen(step: int = 0) -> Observation:
    return Observation(
        np.full((8, 8, 3), step, np.uint8), np.zeros(10, np.float32), "open", step, {}
    )


class Hears:
    """Answers with chunks of three whose actions are numbered, and keeps what it is told."""

    def __init__(self) -> None:
        self.asked = 0
        self.heard: list[list[float]] = []

    def reset(self, instruction: str, seed: int) -> None: ...

    def act(self, observation: Observation) -> np.ndarray:  # noqa: ARG002
        self.asked += 1
        chunk = np.zeros((3, 7))
        chunk[:, 0] = 0.1 * self.asked + np.array([0.0, 0.01, 0.02])
        return chunk

    def told(self, executed: np.ndarray) -> None:
        self.heard.append(executed[:, 0].astype(float).round(2).tolist())


def test_a_chunk_that_is_executed_as_it_is_needs_no_words() -> None:
    policy = Hears()
    stepwise = StepwisePolicy(policy)
    for step in range(7):
        stepwise.executed(stepwise.next(seen(step)))
    assert policy.asked == 3
    assert policy.heard == []


def test_others_actions_end_a_chunk_and_are_told() -> None:
    policy, other = Hears(), np.full(7, 0.09)
    stepwise = StepwisePolicy(policy)
    stepwise.next(seen())  # looks, and another one drives
    stepwise.executed(other)
    stepwise.executed(stepwise.next(seen(1)))
    stepwise.executed(other)
    stepwise.executed(other)
    assert stepwise.next(seen(4))[0] == np.float32(0.3)
    assert policy.heard == [[0.09], [0.2, 0.09, 0.09]]
    stepwise.executed(stepwise.next(seen(4)))
    stepwise.look()
    assert stepwise.next(seen(5))[0] == np.float32(0.4)
    assert policy.heard[2:] == [[0.3]]


class Levels(Remembers):
    """Predicts one level of the gripper for two steps."""

    chunk = 2
    level = CLOSED

    def predict(self, windows: object, generator: object) -> np.ndarray:
        super().predict(windows, generator)  # type: ignore[arg-type]
        chunk = np.zeros((1, 2, 7), np.float32)
        chunk[..., 6] = scaled(np.array(self.level))
        return chunk


def test_relative_commands_follow_what_others_did_with_the_hand() -> None:
    """A hand that another one opened is asked to close again, and one that is shut is not."""
    model = Levels()
    policy = ChunkedPolicy(model, ActionCode(UNITS, TargetLevel()), 2, past=[1])
    stepwise = StepwisePolicy(policy)
    opens, stays = np.array([0, 0, 0, 0, 0, 0, -1.0]), np.zeros(7)
    first = stepwise.next(seen())
    assert first[6] == 1
    stepwise.executed(first)
    for _ in range(4):
        stepwise.executed(stays)
    assert stepwise.next(seen(5))[6] == 0  # it has shut meanwhile
    stepwise.executed(opens)
    for _ in range(4):
        stepwise.executed(stays)
    again = stepwise.next(seen(10))
    assert again[6] == 1
    stepwise.executed(again)
    assert stepwise.next(seen(11))[6] == 0
    model.level = OPEN
    stepwise.look()
    assert stepwise.next(seen(11))[6] == -1
    # Its past counts the control steps that were executed, by whomever.
    assert model.pasts == [[[0]], [[0]], [[5]], [[10]]]


def test_a_copy_goes_on_alone() -> None:
    model = Levels()
    policy = ChunkedPolicy(model, ActionCode(UNITS, TargetLevel()), 2)
    policy.reset("open", 3)
    assert policy.act(seen())[0, 6] == 1
    other = policy.copy()
    assert other.act(seen(2))[0, 6] == 0
    other.told(np.array([[0, 0, 0, 0, 0, 0, -1.0]]))
    assert other.act(seen(3))[0, 6] == 1
    assert policy.act(seen(2))[0, 6] == 0
    assert (model.starts[-1] == 0).all()
