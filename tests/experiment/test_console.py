"""All commands under one name."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from experiment.console import COMMANDS, main


def test_every_command_is_a_module_that_can_be_run() -> None:
    for module, _ in COMMANDS.values():
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        assert '__name__ == "__main__"' in Path(spec.origin).read_text()


def test_without_a_command_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    listed = capsys.readouterr().out
    assert all(module in listed for module, _ in COMMANDS.values())


def test_a_command_gets_its_arguments(tmp_path: Path) -> None:
    program = "from experiment.console import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", program, "inspect", "--help"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0
    assert "data.root" in ran.stdout


def test_an_unknown_command_gets_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["evaluate"])
    assert end.value.code
    assert "no command 'evaluate'" in capsys.readouterr().err
