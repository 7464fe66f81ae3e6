"""Write the small data sets `lerobot_v3.0` and `lerobot_v2.1` beside this file.

`python -m tests.data.make_lerobot` makes both from the same episodes: v3.0 with this project's
writer, v2.1 by hand as LeRobot's documentation of that version describes it, with B-frames.
Every picture shows its camera, episode and step as black and white blocks, so that a picture of
another step cannot pass for the right one.
"""

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from envs.dataset.lerobot_writer import ACTION_NAMES, STATE_NAMES, assemble
from envs.dataset.staging import IMAGE_KEY, EpisodeData, stage, staged_episodes

HERE = Path(__file__).parent
FOLDERS = {version: HERE / f"lerobot_{version}" for version in ("v2.1", "v3.0")}

HEAD, WRIST = IMAGE_KEY, "observation.images.wrist"
CAMERAS = (HEAD, WRIST)
HEIGHT, WIDTH, FPS = 64, 80, 5
LENGTHS = (8, 12, 10)
INSTRUCTIONS = ("open top drawer", "把苹果放进上面的抽屉 – à côté 🍎", "")

# An odd number that spreads neighbouring ones, so that no damaged picture passes for another one.
_SPREAD = 40503


def picture(camera: int, episode: int, step: int) -> np.ndarray:
    """Return a picture, uint8 `(h, w, 3)`, that says whose it is."""
    shades = (60 * camera, 30 * episode, 40)
    found = np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
    found[:] = shades
    number = camera << 15 | episode << 13 | step
    bits = number << 16 | number * _SPREAD & 0xFFFF
    for place in range(32):
        if bits >> place & 1:
            found[_block(place)] = 255 - found[_block(place)]
    return found


def whose(found: np.ndarray) -> tuple[int, int, int] | None:
    """Return camera, episode and step of a picture, None where it shows no picture's blocks."""
    bits = sum(int(found[_block(place)].mean() > 127) << place for place in range(32))
    number = bits >> 16
    if bits & 0xFFFF != number * _SPREAD & 0xFFFF:
        return None
    return number >> 15, number >> 13 & 3, number & 0x1FFF


def assert_shows(found: np.ndarray, camera: int, episode: int, steps: list[int]) -> None:
    """Raise `AssertionError` where pictures `(n, h, w, 3)` are not those of the steps."""
    assert [whose(one) for one in found] == [(camera, episode, step) for step in steps]
    expected = np.stack([picture(camera, episode, step) for step in steps])
    assert np.abs(found.astype(int) - expected).mean() < 4


def _block(place: int) -> tuple[slice, slice]:
    row, column = divmod(place, 8)
    return np.s_[row * 16 : row * 16 + 16, column * 10 : column * 10 + 10]


def episode(number: int, length: int) -> EpisodeData:
    """Return an episode; the first changes its instruction half way."""
    generator = np.random.default_rng(number)
    first = INSTRUCTIONS[number % len(INSTRUCTIONS)]
    half = length // 2 if number == 0 else length
    instructions = [first] * half + [INSTRUCTIONS[1]] * (length - half)
    pictures = [
        np.stack([picture(camera, number, step) for step in range(length)]) for camera in range(2)
    ]
    return EpisodeData(
        images=pictures[0],
        state=generator.normal(size=(length, 10)).astype(np.float32),
        action=generator.normal(size=(length, 7)).astype(np.float32),
        instructions=instructions,
        success=np.arange(length) >= length - 2,
        others={WRIST: pictures[1]},
    )


def toys(lengths: tuple[int, ...] = LENGTHS) -> list[EpisodeData]:
    """Return an episode of each length."""
    return [episode(number, length) for number, length in enumerate(lengths)]


def write_v3(
    root: Path, episodes: Sequence[EpisodeData] | None = None, *, fps: int = FPS, robot: str = "toy"
) -> Path:
    """Write episodes, or the toys, as v3.0."""
    shutil.rmtree(root, ignore_errors=True)
    staging = root / ".staging"
    for number, data in enumerate(episodes or toys()):
        stage(staging, number, data, {"index": number}, fps)
    assemble(root, list(staged_episodes(staging).values()), robot=robot, fps=fps)
    shutil.rmtree(staging)
    return root


def write_v2(
    root: Path,
    episodes: Sequence[EpisodeData] | None = None,
    *,
    fps: int = FPS,
    robot: str = "toy",
    as_png: bool = False,
) -> Path:
    """Write episodes, or the toys, as v2.1; with `as_png` the wrist's pictures are PNGs."""
    episodes = list(episodes or toys())
    shutil.rmtree(root, ignore_errors=True)
    tasks: dict[str, int] = {}
    lines, statistics, first = [], [], 0
    for number, data in enumerate(episodes):
        length = len(data.action)
        numbers = [tasks.setdefault(text, len(tasks)) for text in data.instructions]
        frames = np.arange(length)
        columns = {
            "observation.state": pa.array(list(data.state), pa.list_(pa.float32())),
            "action": pa.array(list(data.action), pa.list_(pa.float32())),
            "next.success": pa.array(data.success),
            "timestamp": pa.array((frames / fps).astype(np.float32)),
            "frame_index": pa.array(frames),
            "episode_index": pa.array(np.full(length, number)),
            "index": pa.array(frames + first),
            "task_index": pa.array(numbers, pa.int64()),
        }
        first += length
        for camera, images in ((HEAD, data.images), *data.others.items()):
            if as_png and camera == WRIST:
                pictures = [
                    {"bytes": _png(image), "path": f"frame_{step:06d}.png"}
                    for step, image in enumerate(images)
                ]
                kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
                columns[camera] = pa.array(pictures, kind)
            else:
                path = root / f"videos/chunk-000/{camera}/episode_{number:06d}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_video(images, fps))
        path = root / f"data/chunk-000/episode_{number:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
        lines.append(
            {
                "episode_index": number,
                "tasks": list(dict.fromkeys(data.instructions)),
                "length": length,
            }
        )
        found = {}
        for name, values in (("observation.state", data.state), ("action", data.action)):
            of = {key: getattr(values, key)(0).tolist() for key in ("min", "max", "mean", "std")}
            found[name] = of | {"count": [length]}
        statistics.append({"episode_index": number, "stats": found})
    names = [{"task_index": number, "task": text} for text, number in tasks.items()]
    _write_lines(root / "meta/episodes.jsonl", lines)
    _write_lines(root / "meta/episodes_stats.jsonl", statistics)
    _write_lines(root / "meta/tasks.jsonl", names)
    cameras = [HEAD, *episodes[0].others]
    info = {
        "codebase_version": "v2.1",
        "robot_type": robot,
        "total_episodes": len(episodes),
        "total_frames": first,
        "total_tasks": len(tasks),
        "total_videos": (len(cameras) - as_png) * len(episodes),
        "total_chunks": 1,
        "chunks_size": 1000,
        "fps": fps,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/"
        "episode_{episode_index:06d}.mp4",
        "features": _features(cameras, episodes[0].images.shape[1:], as_png),
    }
    (root / "meta/info.json").write_text(json.dumps(info, indent=4))
    return root


def _features(cameras: Sequence[str], picture: tuple[int, ...], as_png: bool) -> dict[str, object]:
    def feature(dtype: str, shape: list[int], names: list[str] | None = None) -> dict[str, object]:
        return {"dtype": dtype, "shape": shape, "names": names}

    height, width, channels = picture
    video = feature("video", [height, width, channels], ["height", "width", "channels"])
    # Channels first, as some data sets of the hub list it.
    png = feature("image", [channels, height, width], ["channels", "height", "width"])
    counters = ("frame_index", "episode_index", "index", "task_index")
    return {
        **{name: png if as_png and name == WRIST else video for name in cameras},
        "observation.state": feature("float32", [10], STATE_NAMES),
        "action": feature("float32", [7], ACTION_NAMES),
        "next.success": feature("bool", [1]),
        "timestamp": feature("float32", [1]),
        **{name: feature("int64", [1]) for name in counters},
    }


def _video(images: np.ndarray, fps: int) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        options = {"crf": "14", "g": "4", "x264-params": "b-adapt=0:bframes=2"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _write_lines(path: Path, records: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), "utf-8")


if __name__ == "__main__":
    write_v3(FOLDERS["v3.0"])
    write_v2(FOLDERS["v2.1"])
