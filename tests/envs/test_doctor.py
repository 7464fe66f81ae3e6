"""The doctor names what is missing and how to fix it; its exit code says whether tasks can run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envs import doctor
from envs.doctor import Finding

pytestmark = pytest.mark.slow


def findings(monkeypatch: pytest.MonkeyPatch, *given: Finding) -> None:
    checks = {finding.name: (lambda found=finding: found) for finding in given}
    monkeypatch.setattr(doctor, "CHECKS", checks)
    monkeypatch.setattr(sys, "argv", ["doctor"])


def test_every_finding_gets_a_line_and_what_is_missing_its_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = Finding("python", True, "3.12")
    lacking = Finding("gpu", False, "a GPU, but no cuda", "install the other build")
    findings(monkeypatch, there, lacking)
    doctor.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ok", "python", "3.12"]
    assert lines[1].startswith("MISSING")
    assert lines[2].strip() == "fix: install the other build"


def test_without_an_essential_thing_the_exit_code_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings(monkeypatch, Finding("physics", False, "no", "run it", essential=True))
    with pytest.raises(SystemExit) as caught:
        doctor.main()
    assert caught.value.code == 1
    assert "cannot be simulated" in capsys.readouterr().out


def test_a_crash_and_an_exception_end_up_in_the_text() -> None:
    good, said = doctor._run("import os; os.abort()")
    assert (good, said) == (False, "ended by signal 6")
    good, said = doctor._run("print('fine'); raise OSError('libGL.so.1 is missing')")
    assert (good, said) == (False, "OSError: libGL.so.1 is missing")
    assert doctor._run("print('one'); print('two')") == (True, "two")


def test_the_packages_of_this_environment_are_found() -> None:
    finding = doctor.packages()
    assert finding.good
    assert "sapien 3." in finding.text


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package"))
    finding = doctor.packages()
    assert not finding.good
    assert finding.text == "missing: no-such-package"


def test_the_asset_folder_is_looked_into(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SIMPLER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert doctor.assets().good
    monkeypatch.setenv("SIMPLER_ASSETS", str(tmp_path))
    assert not doctor.assets().good
    assert str(tmp_path) in doctor.assets().text
    monkeypatch.setenv("SIMPLER_ASSETS", str(tmp_path / "nowhere"))
    assert "does not exist" in doctor.assets().text


@pytest.mark.simulator
def test_an_installed_asset_folder_is_found(
    monkeypatch: pytest.MonkeyPatch, simpler_assets: Path
) -> None:
    monkeypatch.setenv("SIMPLER_ASSETS", str(simpler_assets))
    assert doctor.assets().good
    assert str(simpler_assets) in doctor.assets().text


def test_no_original_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIMPLER_ORIGINAL_PYTHON", raising=False)
    assert doctor.original().good


def test_videos_can_be_encoded_here() -> None:
    assert doctor.video_encoder().good


@pytest.mark.simulator
def test_this_machine_can_simulate_and_draw() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "envs.doctor"], capture_output=True, text=True, timeout=300
    )
    assert answer.returncode == 0, answer.stdout
    assert len(answer.stdout.splitlines()) >= len(doctor.CHECKS)


@pytest.mark.simulator
def test_without_a_vulkan_driver_the_doctor_says_so() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "envs.doctor", "--only", "renderer"],
        capture_output=True,
        text=True,
        env=os.environ | {"VK_ICD_FILENAMES": "/nowhere", "VK_DRIVER_FILES": "/nowhere"},
        timeout=300,
    )
    assert answer.returncode == 1
    assert "MISSING  renderer" in answer.stdout
    assert "fix: run ./setup.sh" in answer.stdout
