"""A model, a batch and a data set small enough for tests."""

import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from worldmodel.model import WorldModel
from worldmodel.model_config import ModelConfig
from worldmodel.text import Instructions
from worldmodel.text.words import HashedWords
from worldmodel.tokens import Batch, Modality, Tokens, times_as_positions

TEXT = HashedWords(words=5, vocabulary=64, width=8)
CPU = torch.device("cpu")
CONFIG = ModelConfig(width=32, depth=4, heads=2)
FLUX = ModelConfig(
    width=48, depth=4, heads=2, prediction="v", double=2, single="parallel", swiglu="full",
    bias="qkv", rope="equal", head_ratio=4.0,
)  # fmt: skip
"""Every part of the paper's sizes, as narrow as `CONFIG`."""
MODALITIES = (
    TEXT.modality,
    Modality("frame", 12, predicted=False, hidden=16),
    Modality("video", 24, hidden=16),
    Modality("action", 7),
    Modality("state", 10, predicted=False),
)
FPS = 3
INSTRUCTIONS = ("open top drawer", "place apple into top drawer")
IMAGE = "observation.images.head"


def model(seed: int = 0, config: ModelConfig = CONFIG) -> WorldModel:
    """Return a model all of whose layers matter (fresh ones have gates at zero)."""
    generator = torch.Generator().manual_seed(seed)
    built = WorldModel(MODALITIES, config, generator)
    for parameter in [built.trunk.modulation.weight, *built.outputs.parameters()]:
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    return built


def batch(size: int = 3, seed: int = 0) -> Batch:
    """Return clean tokens of all modalities."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(count: int, channels: int, time: float) -> Tokens:
        values = torch.randn(size, count, channels, generator=generator)
        places = [(time, i // 2, i % 2) for i in range(count)]
        return Tokens.clean(values, torch.tensor([places], dtype=torch.float32))

    action = torch.randn(size, 6, 7, generator=generator)
    instructions = [INSTRUCTIONS[i % 2] for i in range(size)]
    return {
        "text": Instructions(TEXT).tokens(instructions, CPU),
        "frame": tokens(4, 12, 0.0),
        "video": tokens(4, 24, 4.5),
        "action": Tokens.clean(action, times_as_positions(range(6))),
        "state": tokens(1, 10, 0.0),
    }


def generator(seed: int = 0) -> torch.Generator:
    """Return a fresh generator."""
    return torch.Generator().manual_seed(seed)


def pictures(length: int, episode: int, height: int = 32, width: int = 48) -> np.ndarray:
    """Return frames uint8 `(t, h, w, 3)`: a bright square that moves over a flat ground."""
    frames = np.full((length, height, width, 3), 40 + 10 * episode, dtype=np.uint8)
    for t in range(length):
        x = 2 * t % (width - 12)
        frames[t, 8:20, x : x + 12] = 220
    return frames


def write_data_set(root: Path, lengths: tuple[int, ...] = (14, 12, 16)) -> Path:
    """Write a LeRobot v3.0 data set whose instruction changes in the middle of each episode."""
    place = "chunk-000/file-000"
    rng = np.random.default_rng(0)
    total = sum(lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    frames = np.concatenate([pictures(n, e) for e, n in enumerate(lengths)])
    columns = {
        "observation.state": list(rng.normal(size=(total, 10)).astype(np.float32)),
        "action": list(rng.normal(size=(total, 7)).astype(np.float32)),
        "episode_index": np.repeat(np.arange(len(lengths)), lengths),
        "frame_index": np.concatenate([np.arange(n) for n in lengths]),
        "index": np.arange(total),
        "task_index": np.concatenate([np.arange(n) * 2 // n for n in lengths]),
    }
    rows = [
        {
            "episode_index": e,
            "length": n,
            "dataset_from_index": int(starts[e]),
            "dataset_to_index": int(starts[e + 1]),
            "data/chunk_index": 0,
            "data/file_index": 0,
            f"videos/{IMAGE}/chunk_index": 0,
            f"videos/{IMAGE}/file_index": 0,
            f"videos/{IMAGE}/from_timestamp": float(starts[e]) / FPS,
        }
        for e, n in enumerate(lengths)
    ]
    _write_table(root / f"data/{place}.parquet", pa.table(columns))
    _write_table(root / f"meta/episodes/{place}.parquet", pa.Table.from_pylist(rows))
    tasks = {"task_index": [0, 1], "task": list(INSTRUCTIONS)}
    _write_table(root / "meta/tasks.parquet", pa.table(tasks))
    _write_video(root / f"videos/{IMAGE}/{place}.mp4", frames)
    numbers = {"dtype": "int64", "shape": [1]}
    action = ["dx", "dy", "dz", "rotation_x", "rotation_y", "rotation_z", "gripper"]
    info = {
        "codebase_version": "v3.0",
        "robot_type": "google_robot",
        "fps": FPS,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": {
            IMAGE: {"dtype": "video", "shape": [*frames.shape[1:]]},
            "observation.state": {"dtype": "float32", "shape": [10]},
            "action": {"dtype": "float32", "shape": [7], "names": action},
            **dict.fromkeys(("episode_index", "frame_index", "index", "task_index"), numbers),
        },
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    return root


def _write_table(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _write_video(path: Path, frames: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10", "g": "3"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
