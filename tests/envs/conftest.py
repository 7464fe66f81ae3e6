"""What tests of environments need of the machine."""

import pytest

from envs.simpler.scenes import rendering
from experiment.errors import UserError


@pytest.fixture
def drawing() -> None:
    """Skips where nothing can draw a picture."""
    try:
        rendering.drawing_device()
    except UserError as error:
        pytest.skip(str(error))
