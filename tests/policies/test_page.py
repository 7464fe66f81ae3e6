"""The page of an evaluation: what it says, what it embeds, and that a browser shows it."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from policies.evaluation.page import Embedded, card, maps, write_page
from policies.evaluation.published import Reference
from policies.evaluation.report import read_records
from tests.policies.pages import browser, evaluation, opened, record

REFERENCE = Reference("A paper", "other conditions", {"move_near": 0.61})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = evaluation(tmp_path_factory.mktemp("page") / "run", "+-+-+")
    records = read_records(folder / "episodes.jsonl")
    settings = "task: move_near\nnote: <i>&"
    write_page(folder / "report.html", records, "default", REFERENCE, folder / "videos", settings)
    return folder / "report.html"


def test_failures_come_first_and_nothing_is_taken_for_markup(page: Path) -> None:
    text = page.read_text()
    assert "Failures (2)" in text
    titles = re.findall(r"<p>(move_near #\d)", text)
    assert titles == [f"move_near #{i}" for i in (1, 3, 0, 2, 4)]
    assert text.count("data:video/mp4;base64,") == 5
    assert "&lt;b&gt;mine&lt;/b&gt;" in text
    assert "<b>" not in text
    assert "&lt;i&gt;&amp;" in text
    assert "<td>61</td>" in text
    assert "60 [23, 88]" in text
    assert "http" not in text


def test_maps_show_each_start_once_in_the_colour_of_its_outcome() -> None:
    lost = dataclasses.replace(record(7, success=False), success_ever=True)
    no_object = record(8, task="open_top_drawer", start={})
    (found,) = maps([record(0), record(1, success=False), lost, no_object])
    assert found.task == "move_near"
    assert [mark.outcome for mark in found.marks] == ["good", "bad", "lost"]
    places = [tuple(map(float, re.findall(r"M([\d.]+),([\d.]+)", m.path)[0])) for m in found.marks]
    assert len(set(places)) == 3
    assert all(0 < value < found.size for place in places for value in place)
    assert places[0][1] < places[2][1]  # larger x, nearer to the robot, is lower
    assert found.legend == "circle a, square b"


def test_a_card_says_what_was_said_if_that_is_known(tmp_path: Path) -> None:
    def said(**words: Any) -> str:
        return card(record(0, **words), Embedded(tmp_path, "mp4", 0)).detail

    assert "instruction “move a near b”" in said(instruction="move a near b")
    assert "instruction “”" in said(instruction="", wording="empty")
    assert "instruction not recorded" in said()  # before instructions were


def test_videos_beyond_the_limit_are_left_out_and_counted(page: Path) -> None:
    folder = page.parent / "videos"
    first = record(0)
    videos = Embedded(folder, "mp4", (folder / "move_near_0000.mp4").stat().st_size)
    assert videos(first) is not None
    assert videos(first) is None
    assert videos(record(99)) is None  # has none
    assert videos.left_out_of_page.startswith("1 further videos")


@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_shows_it(page: Path, width: int) -> None:
    assert opened(page, width) == {
        "errors": [], "outside": [], "width": width, "played": [True, 80],
    }  # fmt: skip


def test_a_browser_that_cannot_play_says_so(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "run", "--")
    for video in (folder / "videos").iterdir():
        video.write_bytes(b"no codec of this browser")
    records = read_records(folder / "episodes.jsonl")
    write_page(folder / "report.html", records, "default", None, folder / "videos", "")
    with browser(1200, offline=True) as (tab, errors):
        tab.goto((folder / "report.html").resolve().as_uri())
        tab.wait_for_function("document.querySelectorAll('.unplayable').length == 2")
        assert "H.264" in tab.inner_text(".unplayable >> nth=0")
    assert errors == []
