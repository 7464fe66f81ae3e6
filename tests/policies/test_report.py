"""Records to figures."""

import dataclasses
import json
from pathlib import Path

import pytest

from envs.errors import UserError
from envs.rollout import EpisodeRecord
from policies import report
from policies.contact_sheet import write_contact_sheet

REFERENCE = report.Reference(0.29, 14, "a paper", "other data")


def record(index: int, pose: str = "a0", success: bool = True) -> EpisodeRecord:
    return EpisodeRecord(
        task="open_and_place",
        index=index,
        seed=index,
        robot_pose=pose,
        object_xy=None,
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


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        # Brown, Cai, DasGupta (2001) and R's binom.confint(method="wilson").
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (15, 50, 0.1910, 0.4375),
        (59, 60, 0.9114, 0.9971),
    ],
)
def test_wilson_interval(successes: int, total: int, low: float, high: float) -> None:
    assert report.wilson_interval(successes, total) == pytest.approx((low, high), abs=1e-4)


def test_wilson_interval_of_nothing_says_nothing() -> None:
    assert report.wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 successes of 2"):
        report.wilson_interval(3, 2)


def test_summary_counts_by_pose() -> None:
    records = [record(0, "a0"), record(1, "b0", success=False), record(2, "b0")]
    found = report.summary(records, REFERENCE)
    rates = found["rates"]["open_and_place"]
    assert rates["all"]["success_at_end"]["successes"] == 2
    assert rates["all"]["success_ever"]["rate"] == 1.0
    assert rates["robot_pose"]["b0"]["success_at_end"]["total"] == 2
    assert found["policy_ms_per_call"] == pytest.approx(50)
    assert found["reference"]["rate"] == 0.29
    json.dumps(found, allow_nan=False)


def test_table_labels_the_reference() -> None:
    table = report.table([record(0)], REFERENCE)
    assert list(table.columns[0].cells)[-1] == "paper"
    assert "a paper; other data" in str(table.caption)


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
