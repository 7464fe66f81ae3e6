"""Tokens ahead of time: what is written is what streaming gives, and training reads it."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiment.errors import UserError
from experiment.files import read_records
from worldmodel import encode, pretrain
from worldmodel.assembler import Assembler
from worldmodel.data.adapter import Adapter
from worldmodel.data.dataset import DataSet
from worldmodel.data.encoded import EncodedTokens, TokenReader, read_shard
from worldmodel.data.loader import Loader
from worldmodel.data.order import WindowIndex
from worldmodel.data.reader import DataConfig
from worldmodel.data.source import SetConfig
from worldmodel.data.windows import WindowConfig, stack
from worldmodel.text.words import HashedWords
from worldmodel.tokenizer.pixel import PixelTokenizer

ROOT = Path(__file__).parents[1] / "data/lerobot_v3.0"
GIVEN = [
    "data=lerobot", f"data.root={ROOT}", "adapter=simpler_google_robot", "data.adapter.rate=5",
    "data.use.windows.future=[1,2]", "tokenizer.height=32", "tokenizer.width=48",
]  # fmt: skip
TOKENIZER = PixelTokenizer(height=32, width=48)
USE = DataConfig(batch_size=4, held_out=0.2, windows=WindowConfig((1, 2)), augmentation=None)
ASSEMBLER = Assembler(TOKENIZER, HashedWords(), USE.windows)


def run(monkeypatch: pytest.MonkeyPatch, entry: object, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["run", *arguments])
    entry.main()  # type: ignore[attr-defined]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    out = tmp_path / "tokens"
    run(monkeypatch, encode, *GIVEN, f"out={out}", "every=3", "shard=3")
    return out


def adapted() -> DataSet:
    from omegaconf import OmegaConf

    from experiment.settings import CONFIGS, build

    node = OmegaConf.load(CONFIGS / "adapter/simpler_google_robot.yaml")
    node.rate = 5.0
    adapter = build(node, Adapter)  # type: ignore[arg-type]
    episodes = SetConfig(str(ROOT), adapter, "lerobot").open(None, False, "stop")
    return DataSet(episodes, adapter, USE.windows, TOKENIZER.picture, video_only=True)


def test_tokens_are_those_of_the_windows(folder: Path) -> None:
    data = adapted()
    index = json.loads((folder / "tokens.json").read_text())
    # Episodes of 8, 12 and 10 steps; windows reach 2 ahead and begin every 3 steps.
    places = [WindowIndex(e, s) for e, n in enumerate((6, 10, 8)) for s in range(0, n, 3)]
    assert sum(shard["windows"] for shard in index["shards"]) == len(places) == 9
    shards = [read_shard(folder / s["file"], s["windows"]) for s in index["shards"]]
    written = [(shard, i) for shard in shards for i in range(len(shard.instructions))]
    for place, (shard, i) in zip(places, written, strict=True):
        window = stack([data.window(place)])
        batch = ASSEMBLER(window)
        for part in ("frame", "video"):
            values = shard.tensors[f"{part}.values"][i].float()
            # Half a grey level is 1/255: what is decoded is what was encoded.
            assert (values - batch[part].values[0]).abs().max() < 1 / 255
        assert np.array_equal(shard.tensors["action"][i], window.action[0])
        assert shard.instructions[i] == window.instructions[0]
        frame, video = (shard.tensors[f"{n}.values"][i : i + 1].float() for n in ("frame", "video"))
        assert np.array_equal(TOKENIZER.decode(frame, video), window.future)


def test_training_reads_them(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ["model=tiny", "model.width=32", "trainer.steps=3", "trainer.log_every=1"]
    small += ["trainer.device=cpu", "samples.sampling.steps=2", "data.use.batch_size=4"]
    given = ["data=tokens", f"data.root={folder}", f"out={tmp_path / 'run'}", *GIVEN[4:], *small]
    run(monkeypatch, pretrain, *given)
    log = read_records(tmp_path / "run/log.jsonl")
    assert [record["step"] for record in log if "generation" in record] == [1, 2, 3]
    assert log[-1]["held_out/psnr_still"] > 0


def token_reader(folder: Path, **changes: int) -> TokenReader:
    settings: dict[str, Any] = {"block": 1} | changes
    source = EncodedTokens(root=str(folder), **settings)
    return source.reader(USE, TOKENIZER, seed=1)


def test_batches_follow_from_the_step_and_shown_windows_are_held_out(folder: Path) -> None:
    one, two = token_reader(folder), token_reader(folder)
    first = [one(step).batch for step in range(4)]
    assert torch.equal(two(3).batch.video, first[3].video)
    assert not torch.equal(first[0].video, first[1].video)
    shown = one.held_out(3).batch
    assert shown is not None
    assert shown.frame.shape == (3, 32, 48, 3)
    learned = torch.cat([batch.video for batch in first]).float().flatten(1)
    held_out = ASSEMBLER(shown)["video"].values.flatten(1)
    assert torch.cdist(held_out, learned).min() > 1
    # What the model is given is what the pictures would have given.
    pictures = ASSEMBLER(one.examples(3))["video"].values
    values = ASSEMBLER(one._batch([one._learned(0, place) for place in range(3)]))
    assert (values["video"].values - pictures).abs().max() < 1 / 255


def test_workers_and_ranks_read_tokens(folder: Path) -> None:
    alone = token_reader(folder, shards=2)
    loader = Loader(token_reader(folder, shards=2), workers=2)
    for step in range(4):
        found = loader(step)
        assert torch.equal(found.video, alone(step).batch.video)
        assert found.instructions == alone(step).batch.instructions
    loader.close()
    source = EncodedTokens(root=str(folder), block=1, shards=1)
    ranks = [source.reader(USE, TOKENIZER, 1, rank, world=2) for rank in range(2)]
    both = torch.cat([reader(0).batch.frame for reader in ranks])
    assert torch.equal(both, source.reader(USE, TOKENIZER, 1)(0).batch.frame)


def test_what_is_there_is_kept_and_what_is_missing_is_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    for name in ("tokens.json", "set-00-000001.json", "set-00-000002.safetensors"):
        (folder / name).unlink()  # as a kill would leave it
    run(monkeypatch, encode, *GIVEN, f"out={folder}", "every=3", "shard=3")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    kept = folder / "set-00-000000.safetensors"
    assert kept.stat().st_mtime_ns == times[kept.name]


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> str:
    with pytest.raises(SystemExit) as left:
        run(monkeypatch, encode, *arguments)
    assert left.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_another_plan_needs_another_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(monkeypatch, capsys, *GIVEN, f"out={folder}", "every=2", "shard=3")
    assert "holds a run with every=3, not 2" in said
    said = refused(monkeypatch, capsys, *GIVEN, f"out={ROOT}")
    assert "holds other things than a run of encode" in said
    assert "needs out=FOLDER" in refused(monkeypatch, capsys, *GIVEN)
    assert "unknown dtype 'int8'" in refused(monkeypatch, capsys, *GIVEN, "out=x", "dtype=int8")


def test_tokens_of_another_tokenizer_or_damaged_ones_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="was encoded with tokenizer"):
        EncodedTokens(root=str(folder)).reader(USE, PixelTokenizer(height=48, width=48), seed=0)
    with pytest.raises(UserError, match=r"holds no tokens\.json"):
        token_reader(ROOT)
    reader = token_reader(folder)
    for path in folder.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"\.safetensors is damaged"):
        reader(0)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(UserError, match=r"\.safetensors is missing"):
        reader.held_out(2)
