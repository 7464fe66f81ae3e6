"""Runs of the same episodes compared: figures by hand, slips in a sentence, a page that opens."""

import json
from pathlib import Path

import pytest

from experiment.errors import UserError
from policies.compare import main, run
from policies.evaluation.comparison import difference
from tests.policies.pages import evaluation, opened


def outcomes(marks: str) -> list[bool]:
    return [mark == "+" for mark in marks]


def test_a_difference_is_that_of_pairs() -> None:
    found = difference(outcomes("+" * 9 + "-" * 11), outcomes("+" * 4 + "-" * 14 + "++"))
    assert (found.only_first, found.only_second) == (5, 2)
    assert found.value == pytest.approx(0.15)
    assert found.agreement == pytest.approx(13 / 20)
    # Bonett and Price: (6 - 3) / 22 and 1.96 sqrt((9 / 22 - (3 / 22)^2) / 22).
    assert (found.low + found.high) / 2 == pytest.approx(3 / 22)
    assert (found.high - found.low) / 2 == pytest.approx(0.2611, abs=1e-3)
    assert found.p == pytest.approx(0.453, abs=1e-3)


def test_runs_that_agree_do_not_differ() -> None:
    same = difference(outcomes("++-"), outcomes("++-"))
    assert (same.value, same.agreement, same.p) == (0.0, 1.0, 1.0)
    assert same.low < 0 < same.high


@pytest.mark.parametrize("width", [1200, 390])
def test_a_page_with_the_episodes_side_by_side(tmp_path: Path, width: int) -> None:
    long = tmp_path / ("a_policy_with_a_name_" * 5)
    (long / "old").mkdir(parents=True)
    (long / "new").mkdir()
    first, second = (
        evaluation(long / name / "move_near", marks)
        for name, marks in (("old", "+-++"), ("new", "++--"))
    )
    (row,) = run(str(first), str(second), f"out={tmp_path / 'out'}")
    assert row.differences[0].value == -0.25
    text = (tmp_path / "out/compare.html").read_text()
    assert "<h1>old against new</h1>" in text, "named by what their paths do not share"
    assert "Episodes in which outcomes differ (3)" in text
    assert text.index("move_near #1") < text.index("move_near #0")
    assert text.count("data:video/mp4;base64,") == 8
    assert opened(tmp_path / "out/compare.html", width) == {
        "errors": [], "outside": [], "width": width, "played": [True, 80],
    }  # fmt: skip


def test_runs_of_several_tasks_have_a_row_for_all(tmp_path: Path) -> None:
    for name, marks in (("a", "+-+"), ("b", "+++")):
        folder = evaluation(tmp_path / name, marks)
        other = evaluation(tmp_path / f"{name}2", marks, task="stack_cube")
        with (folder / "episodes.jsonl").open("a") as file:
            file.write((other / "episodes.jsonl").read_text())
    found = run(str(tmp_path / "a"), str(tmp_path / "b"), f"out={tmp_path / 'out'}")
    assert [(row.label, row.episodes) for row in found] == [
        ("move_near", 3), ("stack_cube", 3), ("all", 6),
    ]  # fmt: skip


def test_slips_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = evaluation(tmp_path / "a", "+-")
    other = evaluation(tmp_path / "b", "+-", task="stack_cube")
    shifted = evaluation(tmp_path / "c", "+-")
    lines = [json.loads(line) for line in (shifted / "episodes.jsonl").read_text().splitlines()]
    lines[1]["seed"] = 7
    (shifted / "episodes.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    out = f"out={tmp_path / 'out'}"
    for given, sentence in (
        ([first], "needs two or more runs"),
        ([first, tmp_path / "nowhere"], "nowhere has no episodes.jsonl"),
        ([first, other], "have no episode in common"),
        ([first, shifted], "episode 1 of move_near is not the same in all runs"),
    ):
        with pytest.raises(UserError, match=sentence):
            run(*map(str, given), out)
        assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit) as ended:
        main([str(first)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
