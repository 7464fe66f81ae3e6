"""The simulator's own rollouts are the same episodes in every format that is read.

`tests/data/make_rollouts.py` says how they were made; the RLDS sets were written by TFDS itself, in
the schemas of fractal20220817_data and bridge_dataset.
"""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from experiment.settings import CONFIGS, build
from worldmodel.data.adapter import Adapter
from worldmodel.data.dataset import DataSet
from worldmodel.data.source import Format, SetConfig
from worldmodel.data.windows import WindowConfig

ROLLOUTS = Path(__file__).parents[1] / "data/rollouts"
ROBOTS = {
    "google_robot": ("fractal20220817_data/0.1.0", "fractal20220817_data", "simpler_google_robot"),
    "widowx": ("bridge_dataset/1.0.0", "bridge_dataset", "simpler_widowx"),
}


def opened(root: str, adapter: str, kind: Format) -> DataSet:
    found = build(OmegaConf.load(CONFIGS / f"adapter/{adapter}.yaml"), Adapter)  # type: ignore[arg-type]
    config = SetConfig(str(ROLLOUTS / root), found, kind)
    episodes = config.open(None, download=False, on_error="stop")
    return DataSet(episodes, found, WindowConfig(), (256, 320))


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_formats_agree(robot: str, version: str) -> None:
    folder, published, recorded = ROBOTS[robot]
    rlds = opened(folder, published, "rlds")
    lerobot = opened(f"{robot}/lerobot_{version}", recorded, "lerobot")
    assert rlds.lengths.tolist() == lerobot.lengths.tolist() == [14, 14]
    for number, length in enumerate(rlds.lengths):
        one, other = rlds.canonical(number), lerobot.canonical(number)
        np.testing.assert_allclose(one.action, other.action, atol=2e-6)
        np.testing.assert_allclose(one.state[:, :3], other.state[:, :3], atol=1e-6)
        assert one.instructions == other.instructions
        assert len(one.instructions[0]) > 10
        steps = np.arange(length)
        pictures = [
            data.adapter.images(track.episode, steps).astype(int)
            for data, track in ((rlds, one), (lerobot, other))
        ]
        differences = np.abs(pictures[0][:, None] - pictures[1][None]).mean((2, 3, 4))
        # Coded twice, each picture is still nearest to that of its own step.
        assert differences.diagonal().max() < 2.5
        assert (differences.argmin(1) == steps).all()


@pytest.mark.parametrize("robot", ROBOTS)
def test_plus_one_closed_the_fingers(robot: str) -> None:
    data = opened(f"{robot}/lerobot_v3.0", ROBOTS[robot][2], "lerobot")
    told, closed = [], []
    for number in range(len(data.lengths)):
        track = data.canonical(number)
        told.append(float(track.action[-2, 6]))
        fingers = track.state[-1, 9]  # rad to close, or m apart
        closed.append(bool(fingers > 0.5 if robot == "google_robot" else fingers < 0.03))
    # The drawer is pushed with a closed hand; one carrot is held, the other still approached.
    assert closed == ([True, True] if robot == "google_robot" else [True, False])
    assert [t > 0 for t in told] == closed
