"""Settings of all tests: quiet on a machine that others use, and nothing depends on its cores."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set; it names the folder this test compares with")
    folder = Path(value)
    if not folder.is_dir():
        pytest.skip(f"{variable}={value} does not exist")
    return folder


@pytest.fixture(scope="session")
def simpler_assets() -> Path:
    """Clone of ManiSkill2_real2sim, named by SIMPLER_ASSETS."""
    return _folder("SIMPLER_ASSETS")


@pytest.fixture(scope="session")
def simpler_goldens() -> Path:
    """Recordings of the original simulator, named by SIMPLER_GOLDENS."""
    return _folder("SIMPLER_GOLDENS")
