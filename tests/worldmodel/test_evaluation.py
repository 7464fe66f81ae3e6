"""Evaluations beside training: figures come back, one at a time, and nothing outlives the run."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiment.errors import UserError
from experiment.files import read_records
from tests.worldmodel.test_trainer import CONFIG, made
from worldmodel.model import WorldModel
from worldmodel.training.evaluation import EvaluationConfig, Evaluations
from worldmodel.training.numbered import CheckpointRule

pytestmark = pytest.mark.slow

MODULE = "tests.worldmodel.evaluator"


def config(*settings: str, every: int = 4) -> EvaluationConfig:
    command = {"module": MODULE, "settings": list(settings), "figures": "figures.json"}
    return EvaluationConfig(every, {"rollouts": command})


def checkpoint(folder: Path, step: int) -> Path:
    path = folder / str(step)
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"step": step}))
    return path


def test_figures_come_back_and_a_waiting_checkpoint_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    evaluations = Evaluations(tmp_path, config())
    for step in (1, 2, 3):
        evaluations.add(step, checkpoint(tmp_path, step))
    assert evaluations.steps == {1, 3}
    assert list(evaluations.wait(lambda: False)) == [
        (1, {"rollouts/success/rate": 0.5, "rollouts/success/of": 1.0}),
        (3, {"rollouts/success/rate": 0.5, "rollouts/success/of": 3.0}),
    ]


def test_a_stop_ends_the_waiting(tmp_path: Path) -> None:
    evaluations = Evaluations(tmp_path, config())
    evaluations.add(1, checkpoint(tmp_path, 1))
    assert list(evaluations.wait(lambda: True)) == []
    assert evaluations.steps == {1}
    evaluations.close()
    assert evaluations.steps == set()


def test_a_failed_evaluation_is_named_and_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluations = Evaluations(tmp_path, config("fail=1"))
    evaluations.add(7, checkpoint(tmp_path, 7))
    assert list(evaluations.wait(lambda: False)) == [(7, {})]
    assert "evaluation rollouts of step 7: it ended with code 1" in capsys.readouterr().err
    output = tmp_path / "evaluations/00000007/rollouts.txt"
    assert "the simulator is not there" in output.read_text()


def test_training_logs_what_evaluations_found_and_keeps_the_best(tmp_path: Path) -> None:
    def export(_: WorldModel, step: int, __: float) -> None:
        folder = tmp_path / "checkpoint"
        folder.mkdir(exist_ok=True)
        path = folder / "config.json"
        path.unlink(missing_ok=True)
        path.write_text(json.dumps({"step": step}))

    rule = CheckpointRule(4, keep_last=1, best_by="rollouts/success/of")
    settings: dict[str, Any] = {"checkpoints": rule, "evaluate": config()}
    run = made(tmp_path, dataclasses.replace(CONFIG, **settings), export=export)
    assert run.run()
    logged = {r["step"] for r in read_records(tmp_path / "log.jsonl") if "rollouts/success/of" in r}
    # The one of step 8 may have given way.
    assert {4, 12} <= logged
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "00000004", "00000012",
    ]  # fmt: skip


def test_nothing_outlives_the_trainer(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    program = (
        "import sys, time; from pathlib import Path;"
        "from tests.worldmodel.test_evaluation import Evaluations, config;"
        "e = Evaluations(Path(sys.argv[1]), config('hang=1'));"
        "e.add(1, Path(sys.argv[1]) / '1'); print('begun', flush=True); time.sleep(600)"
    )
    trainer = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert trainer.stdout is not None
    assert trainer.stdout.readline() == "begun\n"
    file = tmp_path / "evaluations/00000001/pid"
    _until(lambda: file.exists() and bool(file.read_text()))
    process = int(file.read_text())
    trainer.kill()
    trainer.wait()
    _until(lambda: not _alive(process))


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def _until(done: Any) -> None:
    for _ in range(600):
        if done():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen within a minute")


def test_bad_settings_are_named() -> None:
    for commands, words in (
        ({}, "its commands are empty"),
        ({"probe": {"module": "a"}}, "commands.probe needs module"),
        ({"probe": {"modul": "a"}}, "Did you mean 'module'"),
    ):
        with pytest.raises(UserError, match=words):
            EvaluationConfig(5, commands)
