"""Beside a policy's actions those of the expert, in an evaluation."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.episode import EXECUTED, Episode, EpisodeRecord, Observation
from experiment.errors import UserError
from experiment.settings import compose, plain
from policies import eval as evaluation
from policies.evaluation import beside_expert as beside
from policies.evaluation.settings import EvalSettings

STILL, MOVE = np.zeros(7, np.float32), np.array([0.1, 0, 0, 0, 0, 0, 0], np.float32)


class Moves(beside.Expert):  # type: ignore[type-arg]
    """Always asks for one step, and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def reset(self, instruction: str, seed: int) -> None:  # noqa: ARG002
        self.phase = "go"

    def act(self, observation: Observation) -> np.ndarray:
        self.told.append(observation.privileged[EXECUTED])
        return MOVE[None]

    _goal = _state = None  # type: ignore[assignment]


def record(index: int, success: bool) -> EpisodeRecord:
    names = {field.name: None for field in dataclasses.fields(EpisodeRecord)}
    given = {"task": "toy", "index": index, "steps": 4, "success_at_end": success}
    return EpisodeRecord(**{**names, **given})  # type: ignore[arg-type]


def test_it_says_where_a_policy_waits_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expert = Moves()
    monkeypatch.setattr(beside, "make_expert", lambda *_, **__: expert)
    recorder = beside.BesideExpert(tmp_path)
    actions = [MOVE, STILL, STILL, MOVE, STILL]
    for index in (0, 1):
        seen = Observation(None, np.zeros(10, np.float32), "do", 0, {})
        recorder.start(Episode("toy", index, 0), seen)
        for step, action in enumerate(actions):
            now = dataclasses.replace(seen, step=step)
            # In the second episode all is done from the first step on.
            recorder.step(now, action, {"success": index == 1}, now)
        recorder.end(record(index, success=index == 1))
    told = [None, *actions[:-1]]
    for got, expected in zip(expert.told, told * 2, strict=True):
        assert got is expected
    first, second = (json.loads((tmp_path / f"toy_000{n}.json").read_text()) for n in (0, 1))
    assert (first["waited"], second["waited"]) == (2, 0)
    assert first["phases"] == {"go": {"steps": 5, "apart_mm": 60.0}}
    assert [step["apart_mm"] for step in first["timeline"]] == [0, 100, 100, 0, 100]
    lines = beside.write_picture(tmp_path, [record(0, False), record(1, True), record(2, False)])
    assert len(lines) == 2
    assert lines[0].startswith("toy 0 lost: waited for 2 of 4 steps; 60 mm from the expert in 'go'")
    assert lines[1].startswith("1 of 2 lost, in 0 of them the policy waits for more than 20 steps")
    assert (tmp_path / beside.PICTURE).is_file()


def test_an_evaluation_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluation.run(
        "task=stack_cube", "policy=random", "beside_expert=true", "episodes=1", "workers=1",
        "resolution=null", "videos=false", f"out={tmp_path / 'run'}",
    )  # fmt: skip
    folder = tmp_path / "run" / "beside_expert"
    told = json.loads((folder / "stack_cube_0000.json").read_text())
    assert told["timeline"][0]["phase"] == "go to object"
    assert len(told["timeline"]) > 10
    assert (folder / beside.PICTURE).is_file()
    assert "1 of 1 lost" in capsys.readouterr().out


def test_another_simulator_does_not_tell_enough() -> None:
    arguments = ["beside_expert=true", "policy=random", "backend=original", "out=nowhere"]
    settings = EvalSettings.of(plain(compose("eval", arguments))).completed()
    with pytest.raises(UserError, match="backend=original does not tell the state"):
        settings.evaluation()
