"""The package as it is used from Python."""

import doctest
import json
import subprocess
import sys
from pathlib import Path

import pytest

import envs
import policies
from envs.episode import EpisodeRecord
from experiment.errors import UserError
from policies.evaluation.run import RECORDS


def record(index: int, success: bool) -> EpisodeRecord:
    return EpisodeRecord(
        task="move_near", index=index, seed=index, robot_pose="a0", policy="toy",
        success_at_end=success, success_ever=True, success_strict=False, subtask=0, steps=80,
        calls=27, seconds=1.5, policy_seconds=0.5, versions={"torch": "2"},
        statistics={"moved": index}, start={"object": [0.1, 0.2, 0.9]},
    )  # fmt: skip


@pytest.mark.parametrize("module", [policies, envs])
def test_what_the_docstrings_show_is_true(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted > 0
    assert found.failed == 0


def test_importing_the_packages_imports_nothing_heavy() -> None:
    program = "import sys, policies, envs; print({'torch', 'sapien', 'pandas'} & {*sys.modules})"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "set()"


def test_records_become_a_table(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    table = policies.table([record(0, True), record(1, False)])
    assert table.success_at_end.mean() == 0.5
    assert table["statistics.moved"].tolist() == [0, 1]
    assert table["versions.torch"].tolist() == ["2", "2"]
    lines = [record(n, True).to_json() for n in range(3)]
    (tmp_path / RECORDS).write_text("\n".join(lines) + "\n")
    again = policies.table(tmp_path)
    assert len(again) == 3
    assert json.loads(lines[2])["seed"] == again.seed[2]
    with pytest.raises(UserError, match="has no records"):
        policies.table(tmp_path / "nowhere")
