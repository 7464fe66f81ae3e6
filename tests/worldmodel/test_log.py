"""The log and what follows it; advice where memory lacks."""

import sys
from pathlib import Path
from typing import Any

import pytest

from experiment.errors import UserError
from experiment.files import read_records
from worldmodel.training.log import Log, check_trackers
from worldmodel.training.memory import advice


class Stand:
    """Stands for wandb and trackio: one module, one run."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, Any]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **settings: Any) -> "Stand":
            self.calls.append((name, arguments, settings))
            return self

        return call


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_online_trackers_get_every_figure_under_the_same_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    for _ in range(2):
        stand = Stand()
        monkeypatch.setitem(sys.modules, name, stand)
        log = Log(tmp_path, [name], 0)
        log.write(5, {"total": 1.5, "lost": float("nan")})
        log.close()
        calls = {call: (arguments, settings) for call, arguments, settings in stand.calls}
        (figures,), settings = calls["log"]
        assert figures["total"] == 1.5
        assert "lost" not in figures
        assert figures.get("step", settings.get("step")) == 5
        assert "finish" in calls
        names.append(calls["init"][1])
    assert names[0] == names[1]
    assert names[0]["name"] == tmp_path.name


def test_event_files_hold_the_figures(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event

    log = Log(tmp_path, ["tensorboard"], 0)
    log.write(5, {"total": 1.5})
    log.write(10, {"total": 0.5})
    log.close()
    (path,) = (tmp_path / "tensorboard").iterdir()
    data, found = path.read_bytes(), []
    while data:
        # Length (8 bytes), its checksum (4), the event, its checksum (4).
        size = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + size])
        found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        data = data[16 + size :]
    assert found == [(5, "total", 1.5), (10, "total", 0.5)]


def test_the_log_is_cut_back_to_the_saved_step(tmp_path: Path) -> None:
    log = Log(tmp_path, [], 0)
    for step in (2, 4, 6):
        log.write(step, {"total": float(step)})
    assert [r["step"] for r in read_records(tmp_path / "log.jsonl")] == [2, 4, 6]
    again = Log(tmp_path, [], 4)
    assert again.figures("total") == {2: 2.0, 4: 4.0}


def test_trackers_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"'tensorbord'. Did you mean 'tensorboard'"):
        check_trackers(["tensorbord"])
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="names wandb, which is not installed: pip install wandb"):
        Log(tmp_path, ["wandb"], 0)


@pytest.mark.parametrize(
    ("held", "rows", "accumulate", "sharded", "checkpointing", "words"),
    [
        (12, 64, 1, False, "none", r"accumulate=2 \(.* fall to 50 %\) or trainer.checkpointing=b"),
        (
            12,
            6,
            2,
            False,
            "blocks",
            r"on 3 windows at once: .*accumulate=6 \(.* 33 %\)\.$",
        ),
        (12, 1, 1, False, "none", "on one window at once: set trainer.checkpointing=blocks"),
        (12, 1, 1, False, "blocks", "take fewer frames"),
        (75, 64, 1, False, "none", "trainer.parallel=fsdp over at least 2 processes"),
        (75, 64, 1, True, "none", "take 2 times as many processes"),
    ],
)
def test_what_to_lower_where_memory_lacks_and_by_how_much(
    held: int, rows: int, accumulate: int, sharded: bool, checkpointing: str, words: str
) -> None:
    text = advice(held * 10**9, 80 * 10**9, rows, accumulate, sharded, checkpointing)
    with pytest.raises(UserError, match=words):
        raise UserError(text)
