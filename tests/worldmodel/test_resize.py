"""Pictures at another size."""

import numpy as np
import pytest

from worldmodel.data.pictures import resized


def test_resizing_averages_and_leaves_the_native_size_alone() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 48, 3), dtype=np.uint8)
    assert resized(frames, (32, 48)) is frames
    stripes = np.zeros((1, 64, 96, 3), dtype=np.uint8)
    stripes[:, :, ::2] = 200
    small = resized(stripes, (32, 48))
    assert small.shape == (1, 32, 48, 3)
    assert abs(int(small[0, 16, 24, 0]) - 100) <= 1
    with pytest.raises(ValueError, match="uint8"):
        resized(stripes.astype(np.float32), (32, 48))
