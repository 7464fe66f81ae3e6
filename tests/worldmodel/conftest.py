"""What several tests of readers start from."""

import os
import shutil
import tempfile
from collections.abc import Iterator
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


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """A folder of an ordinary user: root is not stopped by permissions."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
    os.seteuid(before)
