"""Other words for the instructions: every task has them, and a policy is given them."""

from typing import Any

import numpy as np
import pytest

from envs.episode import Episode, EpisodeRecord
from envs.rollout import run_episode
from envs.wording import Reworded, Rule, Wording
from experiment.errors import UserError
from experiment.settings import build, compose, plain
from policies.evaluation.page import checklist
from policies.evaluation.report import notes, summary
from policies.evaluation.settings import EvalSettings
from tests.envs.toy import ToyEnv

INSTRUCTIONS = (
    "pick coke can",
    "move apple near blue plastic bottle",
    "open top drawer",
    "close middle drawer",
    "place apple into top drawer",
    "put the spoon on the towel",
    "put carrot on plate",
    "stack the green block on the yellow block",
    "put eggplant into yellow basket",
)


def wording(name: str) -> Wording:
    made = EvalSettings.of(plain(compose("eval", [f"wording={name}"]))).wording
    assert made is not None
    assert made.name == name
    return made


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "synonyms",
            [
                "grab the coke can",
                "bring the apple close to the blue plastic bottle",
                "pull the top drawer out",
                "push the middle drawer in",
                "lay the apple into the top drawer",
                "lay the spoon on the towel",
                "lay the carrot on the plate",
                "set the green block atop the yellow block",
                "lay the eggplant into the yellow basket",
            ],
        ),
        ("polite", [f"please {each} for me" for each in INSTRUCTIONS]),
        ("empty", [""] * len(INSTRUCTIONS)),
    ],
)
def test_every_instruction_is_said_in_other_words(name: str, said: list[str]) -> None:
    assert [wording(name)(each) for each in INSTRUCTIONS] == said


def test_two_objects_change_their_roles_and_one_has_nobody_to_change_with() -> None:
    swapped = wording("swapped")
    assert swapped(INSTRUCTIONS[1]) == "move blue plastic bottle near apple"
    with pytest.raises(UserError, match="swapped has no rule for 'open top drawer'"):
        swapped("open top drawer")


@pytest.mark.parametrize("rule", [Rule("(", "x"), Rule("open", r"\3")])
def test_a_rule_that_cannot_be_applied_is_named(rule: Rule) -> None:
    with pytest.raises(UserError, match=r"wording=mine: .* cannot be used"):
        Wording("mine", [rule])("open top drawer")


class Listener:
    """Stands still and remembers what it was told."""

    def reset(self, instruction: str, seed: int) -> None:  # noqa: ARG002
        self.told = {instruction}

    def act(self, observation: Any) -> np.ndarray:
        self.told.add(observation.instruction)
        return np.zeros((1, 7), dtype=np.float32)


def test_a_policy_is_told_in_other_words_and_the_task_stays() -> None:
    policy = Listener()
    env = Reworded(ToyEnv(), "mine", [{"find": "^(.+)$", "say": r"now \1"}])
    record = run_episode(env, policy, Episode("toy", 0, 1))
    plainly = Listener()
    beside = run_episode(ToyEnv(), plainly, Episode("toy", 0, 1))
    assert policy.told == {f"now {each}" for each in plainly.told}
    assert record.success_ever == beside.success_ever
    assert (record.wording, beside.wording) == ("mine", "")
    assert record.instruction == f"now {beside.instruction}"
    assert EpisodeRecord.from_json(record.to_json()) == record
    assert summary([record], "default", None)["wording"] == ["mine"]
    assert any("other words: mine" in line for line in notes([record], None))
    assert dict(checklist([record], "default"))["instructions"] == "mine"


def test_an_evaluation_builds_its_environment_with_the_wording() -> None:
    settings = EvalSettings.of(plain(compose("eval", ["policy=random", "wording=polite"])))
    described = settings.completed().evaluation().env
    assert described["env"]["task"] is None  # each episode's own
    env = build({**described, "env": {"_target_": "tests.envs.toy.ToyEnv"}})
    _, info = env.reset(seed=1)
    assert info["instruction"].startswith("please ")
    assert "polite" in str(settings.completed().out)
    without = EvalSettings.of(plain(compose("eval", ["policy=random"]))).completed()
    assert without.evaluation().env["_target_"] == "envs.simpler.make"
