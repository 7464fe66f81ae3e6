"""Policies and world models from and to a stand-in for the hub."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiment.errors import UserError
from experiment.settings import ROOT
from policies.hub import PretrainedPolicy
from tests.worldmodel import hub_stand_in, tiny
from worldmodel.hub import PretrainedWorldModel
from worldmodel.training import checkpoint

SHIPPED = "policies/checkpoints/google_robot"


@pytest.fixture
def hub() -> Iterator[hub_stand_in.Hub]:
    with hub_stand_in.running() as running:
        yield running


def python(program: str, hub: hub_stand_in.Hub, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a program whose hub is the stand-in: the package reads its address when imported."""
    settings = {
        "HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": "hf_test", "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    unset = ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "http_proxy", "HTTP_PROXY")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return subprocess.run(
        [sys.executable, "-c", program], env=kept | settings, cwd=home,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_policy_goes_to_the_hub_and_comes_back(hub: hub_stand_in.Hub, tmp_path: Path) -> None:
    up = f"""
from policies.hub import PretrainedPolicy
PretrainedPolicy({SHIPPED!r}).push_to_hub("lab/robot")
"""
    ran = python(up, hub, tmp_path)
    assert ran.returncode == 0, ran.stderr
    files = hub.repositories["lab/robot"]
    assert set(files) == {"config.json", "model.safetensors", "README.md"}
    assert files["README.md"] == (ROOT / SHIPPED / "README.md").read_bytes()
    # Whatever else is there is left there.
    files |= {"weights.pkl": b"\x80\x04.", "evil.py": b"raise SystemExit(9)"}
    down = """
from policies.hub import PretrainedPolicy
from policies import load_policy
found = PretrainedPolicy.from_pretrained("lab/robot")
print(found.robot, found.policy().name, load_policy("hf://lab/robot@main").name)
print(sorted(path.name for path in found.folder.iterdir()))
"""
    ran = python(down, hub, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "google_robot video_action video_action",
        "['README.md', 'config.json', 'model.safetensors']",
    ]
    assert not any("pkl" in asked or "evil" in asked for asked in hub.asked)


@pytest.mark.slow
def test_what_the_hub_does_not_have_gets_one_sentence(
    hub: hub_stand_in.Hub, tmp_path: Path
) -> None:
    hub.repositories["lab/other"] = {"pytorch_model.bin": b"", "config.json": b"{}"}
    hub.repositories["lab/damaged"] = {"model.safetensors": b"", "config.json": b"[]"}
    names = {
        "lab/nothing": "could not be had from the hub",
        "no/such/name": "could not be had from the hub",
        "lab/other": "has no model.safetensors",
        "lab/damaged": "is damaged",
    }
    program = f"""
from experiment.errors import UserError
from worldmodel.hub import PretrainedWorldModel
for name in {list(names)}:
    try:
        PretrainedWorldModel.from_pretrained(name)
    except UserError as error:
        print(error)
"""
    ran = python(program, hub, tmp_path)
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout.splitlines()
    assert len(said) == len(names)
    for line, sentence in zip(said, names.values(), strict=True):
        assert sentence in line


def test_a_world_model_is_saved_and_read(tmp_path: Path) -> None:
    model = tiny.model()
    checkpoint.save(tmp_path / "run/checkpoint", model, {"windows": {}})
    kept = PretrainedWorldModel(tmp_path / "run")
    kept.save_pretrained(tmp_path / "copy")
    assert "apache-2.0" in (tmp_path / "copy/README.md").read_text()
    again = PretrainedWorldModel.from_pretrained(tmp_path / "copy").load()
    assert again.sections == kept.sections
    assert again.model.modalities == model.modalities
    with pytest.raises(UserError, match="is a world model, no policy"):
        PretrainedPolicy(tmp_path / "copy")
    with pytest.raises(UserError, match="is not a checkpoint"):
        PretrainedWorldModel(tmp_path)
