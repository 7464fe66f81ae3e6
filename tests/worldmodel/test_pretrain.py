"""Pretraining from end to end, on a data set written here."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiment.files import read_records
from tests.worldmodel import tiny
from worldmodel import pretrain
from worldmodel.text.words import HashedWords
from worldmodel.tokenizer.pixel import PixelTokenizer
from worldmodel.training import checkpoint, contact_sheet


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the arguments of a run of a few steps; `main` reads them from `sys.argv`."""
    root = tiny.write_data_set(tmp_path / "set")
    arguments = [
        "model=tiny", "model.width=32", f"data.root={root}", f"out={tmp_path / 'run'}",
        "data.use.batch_size=4", "data.use.windows.future=[1,2]", "tokenizer.height=32",
        "tokenizer.width=48", "trainer.steps=4", "trainer.log_every=2", "trainer.device=cpu",
        "samples.sampling.steps=2", "samples.clips=2",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["pretrain", *arguments])
    return arguments


@pytest.mark.usefixtures("command")
def test_from_data_set_to_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretrain.main()
    assert "model: 1.0M weights (trunk" in capsys.readouterr().out
    run = tmp_path / "run"
    *_, last, observed = read_records(run / "log.jsonl")
    for name in ("generation", "representation", "cosine", "tokens_per_second"):
        assert np.isfinite(last[name])
    assert observed["held_out/generation"] > 0
    assert observed["held_out/psnr_still"] > 10
    with Image.open(run / "contact_sheet.png") as sheet:
        assert sheet.width > 5 * 48
    loaded = checkpoint.load(run / "checkpoint")
    assert list(loaded.model.modalities) == ["text", "frame", "video"]
    windows = {"future": [1, 2], "chunk": 6, "start": False, "grip": False, "past": []}
    assert loaded.sections["windows"] == windows
    assert loaded.sections["training"]["steps"] == 4
    assert json.loads((run / "run.json").read_text())[0]["versions"]["torch"]
    before = (run / "checkpoint/model.safetensors").read_bytes()
    pretrain.main()
    assert (run / "checkpoint/model.safetensors").read_bytes() == before


def test_another_configuration_needs_another_folder(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrain.main()
    monkeypatch.setattr(sys, "argv", ["pretrain", *command, "seed=1"])
    with pytest.raises(SystemExit) as left:
        pretrain.main()
    assert left.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert "a run with seed=0, not 1" in error


def test_the_contact_sheet_shows_real_beside_predicted(tmp_path: Path) -> None:
    frame = np.full((2, 16, 16, 3), 10, dtype=np.uint8)
    real, predicted = (np.full((2, 2, 16, 16, 3), level, dtype=np.uint8) for level in (100, 200))
    path = tmp_path / "sheet.png"
    contact_sheet.write(path, frame, real, predicted, (3, 6), ["open", "place"])
    pixels = np.asarray(Image.open(path))
    columns = [pixels[30, 4 + 36 * i + 16, 0] for i in range(5)]
    assert columns == [10, 100, 100, 200, 200]
    assert contact_sheet.psnr(real, real) > 100
    assert contact_sheet.psnr(real, real + 10) == pytest.approx(28.13, abs=0.01)


@pytest.mark.usefixtures("command")
def test_tokenizer_and_text_are_named_in_the_checkpoint(tmp_path: Path) -> None:
    pretrain.main()
    folder = tmp_path / "run/checkpoint"
    tokenizer, text = checkpoint.restored_encoders(checkpoint.read_config(folder), folder)
    assert tokenizer == PixelTokenizer(height=32, width=48)
    assert text == HashedWords()
