"""Ordinary slips at every command: exit code 2 and one line, never a traceback."""

import importlib
from pathlib import Path

import pytest

MODULES = {
    "pretrain": "worldmodel.pretrain",
    "encode": "worldmodel.encode",
    "inspect": "worldmodel.data.inspect",
    "finetune": "policies.finetune",
    "eval": "policies.eval",
    "collect": "envs.collect",
}

pytestmark = pytest.mark.slow  # the commands import torch, and each composes settings

ANYWHERE = ["+x=1", "nonsense", "--fast", "~seed", "out=${", "out=${nowhere}", "data.root"]

SLIPS = [
    *[(command, slip) for command in MODULES for slip in ANYWHERE],
    *[(command, "seed=-1") for command in ("pretrain", "finetune", "inspect", "eval")],
    *[(command, "data=lerobot") for command in ("pretrain", "finetune", "encode", "inspect")],
    *[(command, "data=nonsense") for command in ("pretrain", "finetune", "encode", "inspect")],
    ("encode", "data=rlds out=x"),
    ("encode", "every=0 out=x"),
    *[
        (command, f"data=bridge data.root=NOWHERE out={out}")
        for command in ("pretrain", "finetune", "encode")
        for out in ("FILE", "run")
    ],
    ("pretrain", "trainer=3"),
    ("pretrain", "data=lerobot data.root=x data.adapter.rate=5"),
    ("pretrain", "model.width=0"),
    ("pretrain", "model.heads=0"),
    ("pretrain", "data.use.batch_size=0"),
    ("pretrain", "objective.dropout=0.5"),
    ("finetune", "policy=oracle"),
    *[
        (command, slip)
        for command in ("eval", "collect")
        for slip in (
            "resolution=[a,b]",
            "resolution=[0,10]",
            "resolution=[-1,10]",
            "resolution=[10]",
            "resolution=[100000,100000]",
            "env=null",
            "policy=orakle",
            "policy=null",
        )
    ],
    ("eval", "policy=custom"),
    ("eval", "policy=random out=FILE episodes=1"),
    ("collect", "out=FILE"),
    ("collect", "out=null"),
    ("collect", "perturbation=abc"),
    ("collect", "episodes=0"),
    ("collect", "task=all"),
]


@pytest.mark.parametrize(("command", "slip"), SLIPS)
def test_a_slip_ends_with_one_line(
    command: str,
    slip: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("")
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(MODULES[command]).main(slip.split())
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]
