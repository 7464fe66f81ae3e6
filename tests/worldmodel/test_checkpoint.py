"""Checkpoints: a round trip, and what is said about files that do not fit."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from experiment.errors import UserError
from tests.worldmodel import tiny
from worldmodel.training import checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved checkpoint."""
    checkpoint.save(tmp_path / "checkpoint", tiny.model(), {"training": {"steps": 7}})
    return tmp_path / "checkpoint"


def test_a_checkpoint_comes_back(folder: Path) -> None:
    loaded = checkpoint.load(folder)
    model, batch = tiny.model(), tiny.batch()
    assert loaded.sections["training"] == {"steps": 7}
    assert not loaded.model.training
    with torch.no_grad():
        assert torch.equal(
            loaded.model(batch).prediction["action"],
            model(batch).prediction["action"],
        )


def test_saving_again_replaces_and_leaves_nothing_else(folder: Path) -> None:
    checkpoint.save(folder, tiny.model(1), {"training": {"steps": 9}})
    assert checkpoint.load(folder).sections["training"] == {"steps": 9}
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def reshape(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["inputs.state.weight"] = torch.zeros(32, 11)
    save_file(weights, folder / "model.safetensors")


def remove(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["inputs.state.weight"]
    save_file(weights, folder / "model.safetensors")


def add(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors") | {"outputs.audio.weight": torch.zeros(1)}
    save_file(weights, folder / "model.safetensors")


def whole_numbers(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["inputs.state.weight"] = weights["inputs.state.weight"].to(torch.int32)
    save_file(weights, folder / "model.safetensors")


def settings(**values: object) -> Callable[[Path], None]:
    """Return a damage: other sizes in the section `model`."""

    def change(folder: Path) -> None:
        sections = json.loads((folder / "config.json").read_text())
        sections["model"] |= values
        (folder / "config.json").write_text(json.dumps(sections))

    return change


def other_text(**values: object) -> Callable[[Path], None]:
    """Return a damage: another modality `text`."""

    def change(folder: Path) -> None:
        sections = json.loads((folder / "config.json").read_text())
        sections["model"]["modalities"][0] |= values
        (folder / "config.json").write_text(json.dumps(sections))

    return change


def undescribe(folder: Path) -> None:
    sections = json.loads((folder / "config.json").read_text())
    del sections["model"]
    (folder / "config.json").write_text(json.dumps(sections))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (cut_short, "model.safetensors is truncated or not a safetensors file"),
    "another format": (
        lambda f: torch.save({}, f / "model.safetensors"),
        "model.safetensors is truncated or not a safetensors file",
    ),
    "empty": (
        lambda f: (f / "model.safetensors").write_bytes(b""),
        "is truncated or not a safetens",
    ),
    "gone": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
    "shape": (
        reshape,
        r"'inputs.state.weight' has shape \(32, 11\) where the model has \(32, 10\)",
    ),
    "weight gone": (remove, "has no weight 'inputs.state.weight'"),
    "weight more": (add, "has a weight 'outputs.audio.weight' that the model does not have"),
    "no config": (
        lambda f: (f / "config.json").unlink(),
        "is not a checkpoint: it has no config.json",
    ),
    "config cut": (lambda f: (f / "config.json").write_text('{"a'), "config.json is damaged"),
    "config list": (lambda f: (f / "config.json").write_text("[]"), "config.json is damaged"),
    "nested": (
        lambda f: (f / "config.json").write_text("[" * 100_000),
        "config.json is damaged",
    ),
    "int32": (whole_numbers, r"'inputs.state.weight' has type I32"),
    "wide": (settings(width=10**6), r"model.width=1000000 is more than"),
    "deep": (settings(depth=10**5), r"model.depth=100000 is more than"),
    "one block more": (settings(depth=5), "has no weight 'trunk.blocks.4"),
    "huge mlp": (settings(mlp_ratio=1e9), r"model.mlp_ratio=1000000000.0 is more than"),
    "endless mlp": (settings(mlp_ratio=float("inf")), r"model.mlp_ratio=inf is more than"),
    "twice as wide": (settings(width=64), "the file belongs to a model of another size"),
    "no heads": (settings(heads=0), r"model.heads=0 must be positive"),
    "broken width": (settings(width="wide"), "does not describe the model"),
    "half a width": (settings(width=32.5), "config.json"),
    "no modalities": (settings(modalities=3), "does not describe the model"),
    "vocabulary": (other_text(vocabulary=10**13), r"vocabulary=10000000000000 is more than"),
    "channels": (other_text(channels=9), "the file belongs to a model of another size"),
    "negative": (other_text(channels=-1), "does not describe the model"),
    "path": (other_text(name="a.b"), "does not describe the model"),
    "no model": (undescribe, "does not describe a world model"),
}


def test_a_run_is_told_from_its_checkpoint(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    folder.rename(tmp_path / "run/checkpoint")
    with pytest.raises(UserError, match=r"Did you mean .*run/checkpoint"):
        checkpoint.load(tmp_path / "run")


@pytest.mark.parametrize("name", DAMAGES)
def test_a_file_that_does_not_fit_is_named(folder: Path, name: str) -> None:
    damage, sentence = DAMAGES[name]
    damage(folder)
    with pytest.raises(UserError, match=sentence):
        checkpoint.load(folder)
