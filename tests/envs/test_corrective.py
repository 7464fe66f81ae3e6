"""Corrective data: the learner drives in stretches, and the teacher's actions are recorded."""

from pathlib import Path

import numpy as np
import pytest

from envs.collection import Collection
from envs.dataset.corrective import STRETCH, LearnerDrives
from envs.episode import EXECUTED, Episode, Observation
from envs.rollout import run_episode
from experiment.errors import UserError
from experiment.settings import compose, plain
from tests.envs.toy import LIMIT, ToyEnv, ToyPolicy


class Learner(ToyPolicy):
    """Answers with chunks of three that say at which step it was asked: 0.15 and 0.01 a step."""

    def __init__(self) -> None:
        super().__init__(chunk=3)
        self.asked: list[int] = []

    def act(self, observation: Observation) -> np.ndarray:
        self.asked.append(observation.step)
        return np.full((3, 7), 0.15 + 0.01 * observation.step, np.float32)


class Recording:
    """Keeps the recorded actions and the states before and after them."""

    def __init__(self) -> None:
        self.actions: list[np.ndarray] = []
        self.moved: list[np.ndarray] = []

    def start(self, *_: object) -> None: ...

    def end(self, *_: object) -> None: ...

    def step(self, before: Observation, action: np.ndarray, _: object, after: Observation) -> None:
        self.actions.append(action)
        self.moved.append((after.state - before.state)[:7])


def drive(seed: int, share: float) -> tuple[Recording, Learner]:
    recording, learner = Recording(), Learner()
    env = LearnerDrives(ToyEnv(), learner, share)
    run_episode(env, ToyPolicy(), Episode("toy", 0, seed), [recording])
    return recording, learner


def test_the_learner_is_executed_and_the_teacher_recorded() -> None:
    learners = 0
    for seed in range(8):
        recording, learner = drive(seed, 0.5)
        teacher = drive(seed, 0.0)[0].actions
        np.testing.assert_array_equal(recording.actions, teacher)
        moved = np.asarray(recording.moved)[:, 0]
        by_learner = moved > 0.12  # the teacher moves by less
        np.testing.assert_allclose(
            moved[~by_learner], np.asarray(teacher)[~by_learner, 0], atol=1e-5
        )
        # A chunk says at which step it was asked for, so at most two steps ago.
        steps = np.flatnonzero(by_learner)
        asked = ((moved[by_learner] - 0.15) / 0.01).round().astype(int)
        # The learner is shown the first picture, whoever drives then.
        assert learner.asked[0] == 0
        assert set(asked) | {0} == set(learner.asked)
        assert ((steps - asked >= 0) & (steps - asked <= 2)).all()
        learners += len(steps)
    assert 0.2 * 8 * LIMIT < learners < 0.8 * 8 * LIMIT
    assert STRETCH[0] > 3


def test_the_teacher_is_told_what_was_executed() -> None:
    told: list[np.ndarray | None] = []

    class Teacher(ToyPolicy):
        def act(self, observation: Observation) -> np.ndarray:
            told.append(observation.privileged.get(EXECUTED))
            return super().act(observation)

    run_episode(LearnerDrives(ToyEnv(), Learner(), 1.0), Teacher(), Episode("toy", 0, 3))
    assert told[0] is None
    assert all(action is not None and (action >= 0.15).all() for action in told[1:])


def test_nobody_else_drives_at_the_ends_of_the_range() -> None:
    assert drive(3, 0.0)[1].asked == [0]
    assert (np.asarray(drive(3, 1.0)[0].moved)[:, 0] > 0.12).all()


def test_the_same_seed_drives_the_same() -> None:
    one, other = drive(4, 0.5)[0], drive(4, 0.5)[0]
    np.testing.assert_array_equal(one.moved, other.moved)


def test_settings_make_the_policy_the_learner(tmp_path: Path) -> None:
    given = ["policy=checkpoint", "label=oracle", f"out={tmp_path}"]
    made = Collection.from_settings(plain(compose("collect", given)))
    assert made.env["learner"]["_target_"].endswith("load_policy")
    assert made.policy["_target_"].endswith("make_expert")
    with pytest.raises(UserError, match=r"learner_share=2 must lie in"):
        LearnerDrives(ToyEnv(), Learner(), 2)
