"""Make small data sets of the simulator's own rollouts, in every format that is read.

From the root of the repository, in the package's environment and then in one with TFDS (see
`make_rlds.py`):

    OUT=tests/data/rollouts
    python -m envs.collect task=close_drawer    episodes=2 resolution=[320,256] out=datasets/google
    python -m envs.collect task=carrot_on_plate episodes=2 resolution=[256,256] out=datasets/widowx
    python -m tests.data.make_rollouts datasets/google $OUT/google_robot
    python -m tests.data.make_rollouts datasets/widowx $OUT/widowx
    tfds/bin/python -m tests.data.rollouts_as_rlds $OUT/google_robot $OUT
    tfds/bin/python -m tests.data.rollouts_as_rlds $OUT/widowx $OUT

The second pair writes LeRobot v3.0 and v2.1 and hands the episodes on as `episode_*.npz`, which the
third writes as RLDS in the schemas of fractal20220817_data and bridge_dataset, and deletes.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from envs.dataset.staging import IMAGE_KEY, EpisodeData
from tests.data.make_lerobot import write_v2, write_v3
from worldmodel.data.formats.lerobot import LeRobotEpisodes


def episodes(folder: Path, steps: int | None, noise: float) -> list[EpisodeData]:
    """Return the first `steps` steps of every episode, with noise of `noise` grey levels."""
    found = LeRobotEpisodes(str(folder))
    generator = np.random.default_rng(0)
    result = []
    for number in range(len(found.lengths)):
        episode = found[number]
        images = episode.images(IMAGE_KEY)[:steps]
        if noise:
            images = images + noise * generator.standard_normal(images.shape, np.float32)
            images = images.round().clip(0, 255).astype(np.uint8)
        result.append(
            EpisodeData(
                images=images,
                state=episode.array("observation.state")[:steps],
                action=episode.array("action")[:steps],
                instructions=episode.text("task")[:steps],
                success=episode.array("next.success")[:steps].reshape(-1),
            )
        )
    return result


def hand_on(data: EpisodeData, path: Path) -> None:
    """Write what the RLDS writer needs, without anything of this package."""
    np.savez(
        path,
        images=data.images,
        state=data.state,
        action=data.action,
        instructions=np.asarray(data.instructions, dtype=np.str_),
        success=data.success,
    )


def main() -> None:
    """Write the data sets; `--steps` 0 for whole episodes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("collected", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--noise", type=float, default=0.0, help="grey levels, as of a camera")
    options = parser.parse_args()
    info = json.loads((options.collected / "meta/info.json").read_text())
    made = episodes(options.collected, options.steps or None, options.noise)
    write_v3(options.out / "lerobot_v3.0", made, fps=info["fps"], robot=info["robot_type"])
    write_v2(options.out / "lerobot_v2.1", made, fps=info["fps"], robot=info["robot_type"])
    for number, data in enumerate(made):
        hand_on(data, options.out / f"episode_{number:06d}.npz")


if __name__ == "__main__":
    main()
