"""The folder of a run: one process, one set of settings."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from experiment.errors import UserError
from experiment.run_folder import open_run, release
from experiment.settings import ROOT

HOLD = """
import sys
from experiment.run_folder import open_run
open_run("pretrain", {"seed": 0, "out": sys.argv[1]})
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    yield
    release()


def test_a_folder_records_its_settings_and_every_start(tmp_path: Path) -> None:
    config = OmegaConf.create({"seed": 0, "out": str(tmp_path / "run"), "trainer": {"steps": 3}})
    folder = open_run("pretrain", config)
    assert folder == tmp_path / "run"
    assert OmegaConf.load(folder / "config.yaml") == config
    assert open_run("pretrain", config) == folder
    starts = json.loads((folder / "run.json").read_text())
    assert [start["kind"] for start in starts] == ["pretrain", "pretrain"]
    assert starts[0]["versions"]["torch"]


def test_a_folder_with_results_belongs_to_its_settings(tmp_path: Path) -> None:
    def settings(steps: int) -> dict[str, object]:
        return {"seed": 0, "out": str(tmp_path), "trainer": {"steps": steps}, "future": (1, 2)}

    open_run("pretrain", settings(3))
    open_run("pretrain", settings(4))  # nothing done yet: still free
    (tmp_path / "state.safetensors").write_bytes(b"weights")
    open_run("pretrain", settings(4))
    open_run("pretrain", settings(5), ("out", "trainer.steps"))
    with pytest.raises(UserError, match=r"holds a run with trainer\.steps=4, not 3"):
        open_run("pretrain", settings(3))


def test_settings_of_a_data_set_are_its_own_file(tmp_path: Path) -> None:
    plan = {"data": ["a", "b"], "rate": 1e-5, "window": (1, 2)}
    for _ in range(2):
        open_run("encode", plan, out=tmp_path, results=("*.bin",), file="p.json", history=False)
        (tmp_path / "x.bin").write_bytes(b"1")
    assert {path.name for path in tmp_path.iterdir()} == {"p.json", "x.bin", ".lock"}


def test_without_a_name_the_folder_has_a_dated_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = open_run("pretrain", {"out": None})
    assert folder.parent == Path("runs")
    assert folder.name.startswith("pretrain-2")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="holds other things than a run of pretrain"):
        open_run("pretrain", {"out": str(tmp_path)})
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    with pytest.raises(UserError, match="is a file"):
        open_run("pretrain", {"out": str(tmp_path / "letter.txt")})
    with pytest.raises(UserError, match="could not be written"):
        open_run("pretrain", {"out": str(tmp_path / "letter.txt/run")})


@pytest.mark.parametrize("damage", [b"seed: [", b"a\xff", b"", b"- 1", b"seed: ${"])
@pytest.mark.parametrize("file", ["config.yaml", "run.json"])
def test_a_damaged_folder_is_named(tmp_path: Path, file: str, damage: bytes) -> None:
    settings = {"seed": 0, "out": str(tmp_path)}
    open_run("pretrain", settings)
    (tmp_path / "state.safetensors").write_bytes(b"weights")
    (tmp_path / file).write_bytes(damage)
    with pytest.raises(UserError, match=rf"{file} is damaged|holds a run with seed=null, not 0"):
        open_run("pretrain", settings)


def test_a_second_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=rf"is in use by process {process.pid} on .* since 2"):
            open_run("pretrain", {"seed": 0, "out": str(tmp_path)})
        process.kill()
    assert open_run("pretrain", {"seed": 0, "out": str(tmp_path)}) == tmp_path
    assert (tmp_path / ".lock").read_text()
    release()
    assert (tmp_path / ".lock").read_text() == ""


def test_a_new_folder_that_a_slip_left_empty_is_deleted(tmp_path: Path) -> None:
    new, made_before = tmp_path / "new", tmp_path / "before"
    made_before.mkdir()
    for folder in (new, made_before):
        open_run("pretrain", {"out": str(folder)})
    release()
    assert not new.exists()
    assert made_before.exists()
    open_run("pretrain", {"out": str(new)})
    (new / "state.safetensors").write_bytes(b"weights")
    release()
    assert new.exists()


@pytest.mark.parametrize("module", ["worldmodel.pretrain", "policies.finetune"])
def test_a_folder_is_claimed_before_data_is_read(module: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = importlib.import_module(module).run
    with pytest.raises(UserError, match="is a file"):
        run("data=bridge", "data.root=NOWHERE", f"out={tmp_path / 'file'}")
