"""What several tests of readers start from."""

import shutil
from pathlib import Path

import pytest

from tests.data import make_lerobot as made


@pytest.fixture
def v3(tmp_path: Path) -> Path:
    """Return a copy that may be damaged."""
    return Path(shutil.copytree(made.FOLDERS["v3.0"], tmp_path / "set"))


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    """Return a copy that may be damaged."""
    return Path(shutil.copytree(made.FOLDERS["v2.1"], tmp_path / "set"))
