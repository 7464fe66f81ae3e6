"""Compare this project's LeRobot reader with the `lerobot` package on data sets that we wrote.

In a Python environment of its own with `lerobot==0.4.4`, `av==17.0.*` (without its dependencies:
lerobot asks for an older one), `einops`, `tqdm`, `transforms3d`, `tenacity` and `pyyaml`, and with
FFmpeg's libraries for its decoder: `python -m tests.interop.check_lerobot` from the repository
compares every step of tests/data/lerobot_v3.0 and of data sets that `lerobot` writes itself, with
video and with pictures in the tables. `--speed` measures both on a larger set, two cameras of
256x320, random steps, in one process.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from envs.dataset.lerobot_writer import assemble
from envs.dataset.staging import EpisodeData, stage, staged_episodes
from tests.data import make_lerobot as made
from worldmodel.data.formats.lerobot import LeRobotEpisodes

WINDOW = 7
_ROUNDING = 3
"""Levels by which two conversions from YUV to RGB may differ."""


def compare(root: Path, backend: str) -> bool:
    """Print a line a column; return whether all steps agree."""
    theirs = LeRobotDataset("somebody/some-set", root=root, video_backend=backend)
    ours = LeRobotEpisodes(str(root))
    whole = [ours[number] for number in range(len(ours))]
    worst: dict[str, float] = {}
    for name, column in ours.columns.items():
        if column.kind == "text":
            mine = [text for episode in whole for text in episode.text(name)]
            pairs = zip((theirs[i][name] for i in range(len(theirs))), mine, strict=True)
            worst[name] = float(sum(their != our for their, our in pairs))
            continue
        read = "images" if column.kind == "image" else "array"
        values = np.concatenate([getattr(episode, read)(name) for episode in whole])
        found = np.stack([np.asarray(theirs[i][name]) for i in range(len(theirs))])
        if column.kind == "image":
            found = np.round(np.moveaxis(found, 1, -1) * 255)
        difference = found.reshape(values.shape).astype(np.float64) - values
        worst[name] = float(np.abs(difference).max())
    agree = len(theirs) == ours.lengths.sum() and theirs.fps == ours.fps
    print(f"lerobot ({backend}) and this reader on {root.name}: {len(theirs)} steps")
    for name, difference in worst.items():
        kind = ours.columns[name].kind
        unit = {"image": "levels of 255", "text": "texts differ", "array": ""}[kind]
        good = difference <= (_ROUNDING if kind == "image" else 0)
        agree = agree and good
        print(f"  {name:28s} {'same' if good else 'DIFFERS':8s} at most {difference:g} {unit}")
    return agree


def write_theirs(root: Path, *, as_video: bool) -> Path:
    """Let the `lerobot` package write a data set, one camera, in video or in the tables."""
    features = {
        made.HEAD: {
            "dtype": "video" if as_video else "image",
            "shape": (made.HEIGHT, made.WIDTH, 3),
            "names": ["height", "width", "channels"],
        },
        "observation.state": {"dtype": "float32", "shape": (10,), "names": None},
        "action": {"dtype": "float32", "shape": (7,), "names": None},
        "reward": {"dtype": "float32", "shape": (1,), "names": None},
        "grid": {"dtype": "float32", "shape": (3, 2), "names": None},
    }
    written = LeRobotDataset.create(
        "a/b", fps=made.FPS, features=features, root=root, use_videos=as_video
    )
    for number, length in enumerate(made.LENGTHS):
        data = made.episode(number, length)
        for step in range(length):
            frame = {
                made.HEAD: data.images[step],
                "observation.state": data.state[step],
                "action": data.action[step],
                "reward": np.array([step], np.float32),
                "grid": np.full((3, 2), step, np.float32),
                "task": data.instructions[step],
            }
            written.add_frame(frame)
        written.save_episode()
    written.finalize()
    return root


def write_large(root: Path, episodes: int = 30, length: int = 100) -> Path:
    """Write a data set whose pictures are four times as wide and high."""
    for number in range(episodes):
        small = made.episode(number % 4, length)
        large = {
            camera: pictures.repeat(4, axis=1).repeat(4, axis=2)
            for camera, pictures in ((made.HEAD, small.images), *small.others.items())
        }
        data = EpisodeData(
            images=large.pop(made.HEAD),
            state=small.state,
            action=small.action,
            instructions=small.instructions,
            success=small.success,
            others=large,
        )
        stage(root / ".staging", number, data, {"index": number}, made.FPS)
    staged = staged_episodes(root / ".staging")
    assemble(root, list(staged.values()), robot="toy", fps=made.FPS)
    return root


def speed(root: Path, backend: str, seconds: float) -> None:
    """Print pictures a second of random single steps and of random windows."""
    ours = LeRobotEpisodes(str(root))
    starts = np.concatenate([[0], np.cumsum(ours.lengths)])
    print(f"{int(starts[-1])} steps, {len(made.CAMERAS)} cameras; pictures a second, with actions:")
    for window in (1, WINDOW):
        times = [step / made.FPS for step in range(window)]
        wanted = dict.fromkeys([*made.CAMERAS, "action"], times) if window > 1 else None
        theirs = LeRobotDataset("a/b", root=root, video_backend=backend, delta_timestamps=wanted)

        def read_theirs(episode: int, step: int, theirs: LeRobotDataset = theirs) -> None:
            item = theirs[int(starts[episode]) + step]
            assert item[made.HEAD].shape[-2:] == (256, 320)

        def read_ours(episode: int, step: int, window: int = window) -> None:
            found = ours[episode]
            steps = np.arange(step, step + window)
            for camera in made.CAMERAS:
                assert found.images(camera, steps).shape[1:3] == (256, 320)
            found.array("action")[steps]
            found.array("observation.state")[steps]
            found.text("task")

        for name, read in ((f"lerobot ({backend})", read_theirs), ("this reader", read_ours)):
            rate = _rate(read, ours.lengths, window, seconds)
            print(f"  windows of {window}: {name:20s} {rate * window * len(made.CAMERAS):8.0f}")


def _rate(
    read: Callable[[int, int], None], lengths: np.ndarray, window: int, seconds: float
) -> float:
    """Return random windows a second."""
    generator = np.random.default_rng(0)
    done, end = 0, 0.0
    for warming in (True, False):
        begin, done = time.perf_counter(), 0
        while (end := time.perf_counter()) - begin < (seconds / 4 if warming else seconds):
            episode = int(generator.integers(len(lengths)))
            read(episode, int(generator.integers(lengths[episode] - window + 1)))
            done += 1
    return done / (end - begin)


def main() -> None:
    """Compare, or measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="torchcodec", choices=("torchcodec", "pyav"))
    parser.add_argument("--root", type=Path, default=made.FOLDERS["v3.0"])
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    options = parser.parse_args()
    if options.speed:
        with tempfile.TemporaryDirectory() as folder:
            speed(write_large(Path(folder) / "set"), options.backend, options.seconds)
        return
    good = compare(options.root, options.backend)
    with tempfile.TemporaryDirectory() as folder:
        for name, as_video in (("lerobot_video", True), ("lerobot_image", False)):
            root = write_theirs(Path(folder) / name, as_video=as_video)
            good = compare(root, options.backend) and good
    if not good:
        sys.exit(1)


if __name__ == "__main__":
    main()
