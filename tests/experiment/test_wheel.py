"""An installed wheel has its settings with it and works from any folder."""

import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from experiment.settings import CONFIGS, ROOT
from policies.checkpoint import SHIPPED

pytestmark = pytest.mark.slow


def install(interpreter: Path, source: Path, folder: Path) -> None:
    """Build a wheel of `source` in `folder` and install it without what it depends on."""
    pip, quiet = [sys.executable, "-m", "pip"], ["--quiet", "--no-deps"]
    wheels = folder / f"wheels_of_{source.name}"
    build = [*pip, "wheel", *quiet, "--no-build-isolation", "-w", str(wheels), str(source)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = wheels.glob("*.whl")
    into = [*pip, "--python", str(interpreter), "install", *quiet, str(wheel)]
    subprocess.run(into, check=True, timeout=300)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a venv with nothing but the wheel; dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for name in ("experiment", "worldmodel", "policies", "envs", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    venv.create(folder / "venv")
    interpreter = folder / "venv" / "bin" / "python"
    install(interpreter, source, folder)
    (installed,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (installed / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return interpreter


def run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )


def test_all_settings_are_installed(python: Path, tmp_path: Path) -> None:
    code = "from experiment.settings import CONFIGS; print(CONFIGS)"
    configs = Path(run(python, tmp_path, "-c", code).stdout.strip())
    assert configs.is_relative_to(python.parents[1])
    names = {path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.yaml")}
    assert {path.relative_to(configs) for path in configs.rglob("*.yaml")} == names


def test_the_sample_of_dreams_is_installed(python: Path, tmp_path: Path) -> None:
    code = (
        "from worldmodel.data.formats.lerobot import LeRobotEpisodes as E;"
        "import worldmodel, pathlib;"
        "print(len(E(str(pathlib.Path(worldmodel.__file__).parent / 'sample'))))"
    )
    answer = run(python, tmp_path, "-c", code)
    assert answer.stdout.strip() == "21", answer.stderr


@pytest.mark.parametrize("module", ["worldmodel.pretrain", "policies.eval", "worldmodel.imagine"])
def test_commands_print_their_help_anywhere(python: Path, tmp_path: Path, module: str) -> None:
    answer = run(python, tmp_path, "-m", module, "--help")
    assert answer.returncode == 0, answer.stderr
    assert "Settings (key=value)" in answer.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_not_installed_is_named(python: Path, tmp_path: Path) -> None:
    answer = run(python, tmp_path, "-m", "policies.eval", "task=open_and_place")
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: ")
    assert "no policy for open_and_place is installed" in answer.stderr
    assert "self-flow-robotics-checkpoints" in answer.stderr


def test_checkpoints_are_a_package_of_their_own(python: Path, tmp_path: Path) -> None:
    """After the test above: one interpreter serves all of this file, in its order."""
    source = tmp_path / "checkpoints"
    shutil.copytree(ROOT / SHIPPED, source, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    install(python, source, tmp_path)
    code = (
        "from policies.checkpoint import load_policy, shipped;"
        "print(shipped('stack_cube'), load_policy(None, task='move_near').name)"
    )
    answer = run(python, tmp_path, "-c", code)
    assert answer.returncode == 0, answer.stderr
    assert Path(answer.stdout.split()[0]).is_relative_to(python.parents[1])
