"""Records to figures."""

import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

from envs.episode import EpisodeRecord
from experiment.errors import UserError
from policies.evaluation import report
from policies.evaluation.contact_sheet import write_contact_sheet
from policies.evaluation.published import Reference

REFERENCE = Reference("a paper", "other data", {"open_and_place": 0.29})


def record(index: int, pose: str = "a0", success: bool = True) -> EpisodeRecord:
    return EpisodeRecord(
        task="open_and_place",
        index=index,
        seed=index,
        robot_pose=pose,
        policy="toy",
        success_at_end=success,
        success_ever=True,
        success_strict=False,
        subtask=1,
        steps=200,
        calls=4,
        seconds=10.0,
        policy_seconds=0.2,
        versions={"torch": "2"},
    )


def test_summary_counts_by_pose() -> None:
    records = [record(0, "a0"), record(1, "b0", success=False), record(2, "b0")]
    found = report.summary(records, "default", REFERENCE)
    rates = found["rates"]["open_and_place"]
    assert rates["all"]["success_at_end"]["successes"] == 2
    assert rates["all"]["success_ever"]["rate"] == 1.0
    assert rates["robot_pose"]["b0"]["success_at_end"]["total"] == 2
    assert rates["variant"]["visual_matching"]["success_strict"]["rate"] == 0.0
    assert found["policy_ms_per_call"] == pytest.approx(50)
    assert found["reference"]["rates"] == {"open_and_place": 0.29}
    assert [line["name"] for line in found["table"]] == [
        "open_and_place", "open_and_place/a0", "open_and_place/b0",
    ]  # fmt: skip
    json.dumps(found, allow_nan=False)


def test_table_labels_the_reference() -> None:
    records = [record(0, "a0"), record(1, "b0", success=False)]
    table = report.table(records, "default", REFERENCE)
    cells = [list(column.cells) for column in table.columns]
    assert [column.header for column in table.columns][-1] == "paper"
    assert cells[0] == ["open_and_place", "  a0", "  b0"]
    assert cells[2][0] == "50 [9, 91]"
    assert cells[-1] == ["29", "", ""]
    assert report.notes(records, REFERENCE)[-1] == "paper: a paper; other data"
    assert [c.header for c in report.table(records, "default", None).columns][-1] == "strict"


def test_table_says_what_the_scene_was_made_of() -> None:
    plain = dataclasses.replace(record(0), assets="primitives")
    assert "no photographs" in "".join(report.notes([plain], None))
    official = dataclasses.replace(record(0), assets="simpler", stand_ins=("a.glb", "b.glb"))
    said = "".join(report.notes([official], None))
    assert "no photographs" not in said
    assert "2 files replaced" in said
    assert "other cameras" not in said
    turned = dataclasses.replace(official, variant="camera_1")
    assert "other cameras: in no average" in report.notes([turned], None)[-1]


def test_records_are_read_once_each_and_a_torn_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    lines = [record(1).to_json(), record(0).to_json(), record(1, "c0").to_json()]
    path.write_text("\n".join(lines) + "\n" + lines[0][:40])
    found = report.read_records(path)
    assert [r.index for r in found] == [0, 1]
    assert found[1].robot_pose == "a0"
    assert path.read_text().endswith(lines[2] + "\n")


def test_a_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    path.write_text(record(0).to_json() + "\n{}\n")
    with pytest.raises(UserError, match="line 2"):
        report.read_records(path)


def test_contact_sheet_says_where_a_video_is_missing(tmp_path: Path) -> None:
    records = [dataclasses.replace(record(i), success_at_end=i > 0) for i in range(20)]
    write_contact_sheet(tmp_path / "sheet.png", records, tmp_path / "videos")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_contact_sheet_of_very_many_does_not_grow(tmp_path: Path) -> None:
    sizes = []
    for count in (60, 200):
        write_contact_sheet(tmp_path / "sheet.png", [record(i) for i in range(count)], tmp_path)
        with Image.open(tmp_path / "sheet.png") as sheet:
            sizes.append(sheet.size)
    assert sizes[0] == sizes[1]
