"""Pretraining and inspection on every format, from small data sets in the repository."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiment.files import read_records
from worldmodel import pretrain
from worldmodel.data import inspect

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[1] / "data"
ROLLOUTS = DATA / "rollouts"
WIDOWX = "adapter@data.adapter=simpler_widowx"
SETS = {
    "fractal": ["data=fractal", f"data.root={ROLLOUTS / 'fractal20220817_data/0.1.0'}"],
    "bridge": ["data=bridge", f"data.root={ROLLOUTS / 'bridge_dataset/1.0.0'}"],
    "lerobot_v3": ["data=lerobot", f"data.root={ROLLOUTS / 'google_robot/lerobot_v3.0'}"],
    "lerobot_v2": ["data=lerobot", f"data.root={ROLLOUTS / 'widowx/lerobot_v2.1'}", WIDOWX],
}
SMALL = [
    "model=tiny", "model.width=32", "data.use.batch_size=4", "data.use.windows.future=[1,2]",
    "data.use.held_out=0.3", "data.use.after_end=mask", "tokenizer.height=32", "tokenizer.width=48",
    "trainer.steps=3", "trainer.log_every=1", "trainer.device=cpu", "samples.sampling.steps=2",
    "samples.clips=2",
]  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, entry: object, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["run", *arguments])
    entry.main()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SETS)
def test_pretraining(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = "1" if name == "fractal" else "0"
    places = [f"out={tmp_path / 'run'}", f"data.source.cache={tmp_path / 'cache'}"]
    run(monkeypatch, pretrain, *SETS[name], *SMALL, *places, f"data.source.workers={workers}")
    log = read_records(tmp_path / "run/log.jsonl")
    assert [record["step"] for record in log if "generation" in record] == [1, 2, 3]
    assert np.isfinite(log[0]["generation"])
    assert (tmp_path / "run/contact_sheet.png").exists()
    saved = json.loads((tmp_path / "run/checkpoint/config.json").read_text())
    assert str(DATA) in saved["training"]["data"]


@pytest.mark.parametrize("name", SETS)
def test_inspecting(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [f"out={tmp_path / 'look'}", f"data.source.cache={tmp_path / 'cache'}"]
    small = ["data.use.windows.future=[1,2]", "data.use.after_end=mask", "shown.windows=3"]
    run(monkeypatch, inspect, *SETS[name], *small, *places)
    assert "gripper" in capsys.readouterr().out
    facts = json.loads((tmp_path / "look/statistics.json").read_text())["sets"]
    (only,) = facts.values()
    assert only["episodes"] == 2
    assert all(sum(counts) == only["steps"] for counts in only["histogram"])
    for picture in ("actions.png", "contact_sheet.png"):
        with Image.open(tmp_path / "look" / picture) as image:
            assert np.ptp(np.asarray(image.convert("L"))) > 100


def refused(monkeypatch: pytest.MonkeyPatch, entry: object, *arguments: str) -> str:
    with pytest.raises(SystemExit) as left:
        run(monkeypatch, entry, *arguments)
    assert left.value.code == 2
    return "refused"


def test_a_run_goes_on_with_other_workers_but_not_other_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*SETS["fractal"], *SMALL, f"out={tmp_path / 'run'}"]
    run(monkeypatch, pretrain, *given, f"data.source.cache={tmp_path / 'a'}")
    log = (tmp_path / "run/log.jsonl").read_text()
    elsewhere = [f"data.source.cache={tmp_path / 'b'}", "data.source.on_error=skip"]
    run(monkeypatch, pretrain, *given, *elsewhere, "data.source.workers=0", "data.source.ahead=1")
    assert (tmp_path / "run/log.jsonl").read_text() == log
    refused(monkeypatch, pretrain, *given, *elsewhere, "data.source.shards=2")
    assert "data.source.shards=4, not 2" in capsys.readouterr().err


def test_a_damaged_record_stops_or_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "set/0.1.0"
    shutil.copytree(DATA / "rlds/fractal20220817_data/0.1.0", root)
    shard = sorted(root.glob("*.tfrecord*"))[0]
    data = bytearray(shard.read_bytes())
    data[len(data) // 4] ^= 0x10  # one bit of the first record
    shard.write_bytes(bytes(data))
    given = ["data=fractal", f"data.root={root}", *SMALL, "data.source.workers=0"]
    given.append(f"data.source.cache={tmp_path / 'cache'}")
    refused(monkeypatch, pretrain, *given, f"out={tmp_path / 'one'}")
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert shard.name in error
    given[0:0] = ["data.source.on_error=skip", f"out={tmp_path / 'two'}", "data.use.held_out=0"]
    run(monkeypatch, pretrain, *dict.fromkeys(given))
    listed = (tmp_path / "two/skipped.jsonl").read_text()
    assert shard.name in listed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data=fractal", "data.root=/nowhere"], "/nowhere holds no features.json"),
        (["data=fractla"], "unknown data 'fractla'. Did you mean 'fractal'"),
        ([*SETS["fractal"], "adapter@data.adapter=bridge_datset"], "unknown adapter"),
        ([*SETS["fractal"], "adapter@data.adapter=bridge_dataset"], "has no column"),
        ([*SETS["fractal"], "data.source.frame_rate=2"], "does not divide the 3 Hz"),
        (
            [*SETS["fractal"], "data.source.workers=-1"],
            "workers, memory and decode_once must not be",
        ),
        ([*SETS["fractal"], "data.source.ahead=0"], "ahead, block and shards must be at least 1"),
        (
            [
                "data=lerobot",
                f"data.root={DATA / 'lerobot_v3.0'}",
                "adapter=simpler_google_robot",
            ],
            "has 5 frames a second, adapter simpler_google_robot 3",
        ),
    ],
)
def test_bad_settings_are_one_sentence(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(monkeypatch, inspect, *arguments)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error


def test_the_open_x_mixture_names_the_first_set_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(monkeypatch, inspect, "data=openx", f"data.root={tmp_path}")
    assert "fractal20220817_data/0.1.0 holds no features.json" in capsys.readouterr().err
