"""Finished episodes on disk, each complete in itself, before a data set is made of them.

An episode is three files, `.mp4`, `.parquet` and `.json`, of which the `.json` is written last: a
kill at any moment loses at most the episodes in flight. Of an episode that is not kept only
the `.json` is written, so that it is not tried again.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from envs.dataset.statistics import count_levels
from envs.dataset.true_state import true_state
from envs.dataset.video import check_size, encode
from envs.episode import EXECUTED, Branch, Episode, EpisodeRecord, Observation
from experiment.errors import UserError
from experiment.files import write_bytes

IMAGE_KEY = "observation.images.head"
"""LeRobot's name of the camera whose images a policy sees."""
FPS = 3
"""Frames a second unless told otherwise: the control rate of SIMPLER's Google robot."""

# Learned from, so close to lossless, and a key frame every second of robot time.
_CRF, _GOP = 14, 3


@dataclass(frozen=True)
class EpisodeData:
    """One episode in memory: frame t is the observation before action t.

    `images` uint8 `(t, h, w, 3)`, `state` float32 `(t, 10)`, `action` float32 `(t, 7)`,
    `instructions` t strings, `success` bool `(t,)` after action t. `others` are the pictures of
    further cameras, as `images`, and `privileged` further numbers `(t, n)`, both by their name in
    the data set.
    """

    images: np.ndarray
    state: np.ndarray
    action: np.ndarray
    instructions: Sequence[str]
    success: np.ndarray
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    privileged: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class StagedCamera:
    """A camera of an episode on disk.

    `size` is height and width; `levels` int64 `(3, 256)` counts how often each level occurs.
    """

    size: tuple[int, int]
    levels: np.ndarray
    video: Path


@dataclass(frozen=True)
class StagedEpisode:
    """An episode on disk.

    `metadata` are plain values that name it and describe its outcome; `cameras` by their name in
    the data set are empty where the episode was not kept.
    """

    folder: Path
    index: int
    metadata: Mapping[str, Any]
    cameras: Mapping[str, StagedCamera]

    @property
    def kept(self) -> bool:
        return bool(self.cameras)

    def frames(self) -> pa.Table:
        """Read the columns `observation.state, action, next.success, task` and what is privileged.

        Raises `UserError` naming a damaged file.
        """
        path = _path(self.folder, self.index, "parquet")
        try:
            return pq.ParquetFile(path).read(use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise UserError(
                f"{path} is no readable table ({error}): delete the .json beside it and start "
                "the same command again."
            ) from error


def stage(
    folder: Path,
    index: int,
    episode: EpisodeData,
    metadata: Mapping[str, Any],
    fps: int = FPS,
    *,
    crf: int = _CRF,
    gop: int = _GOP,
) -> None:
    """Write one episode to `folder`, complete or not at all; `fps` is its control rate (Hz).

    `crf` and `gop` are those of the video: its compression, and frames between two key frames.
    Raises `ValueError` when the arrays disagree in length, `UserError` when the disk is full.
    """
    length = len(episode.action)
    lengths = {len(episode.images), len(episode.state), len(episode.instructions)}
    lengths |= {len(images) for images in episode.others.values()}
    lengths |= {len(values) for values in episode.privileged.values()}
    if length == 0 or lengths | {len(episode.success)} != {length}:
        raise ValueError(f"episode {index}: images, state, action, … must have one length > 0")
    table = pa.table(
        {
            "observation.state": _vectors(episode.state),
            "action": _vectors(episode.action),
            "next.success": pa.array(np.asarray(episode.success, dtype=bool)),
            "task": pa.array(list(episode.instructions), pa.string()),
            **{name: _vectors(values) for name, values in episode.privileged.items()},
        }
    )
    cameras = {IMAGE_KEY: episode.images, **episode.others}
    for camera, images in cameras.items():
        video = encode(images, fps, crf=crf, gop=gop)
        write_bytes(_video_path(folder, index, camera), video)
    write_bytes(_path(folder, index, "parquet"), parquet_bytes(table))
    facts = {
        camera: {"picture": images.shape[1:3], "levels": count_levels(images).tolist()}
        for camera, images in cameras.items()
    }
    summary = {"metadata": dict(metadata), **facts.pop(IMAGE_KEY), "others": facts}
    write_bytes(_path(folder, index, "json"), json.dumps(summary).encode())


def stage_outcome(folder: Path, index: int, metadata: Mapping[str, Any]) -> None:
    """Record the outcome of an episode that is not kept."""
    summary: dict[str, Any] = {"metadata": dict(metadata), "picture": None, "levels": []}
    write_bytes(_path(folder, index, "json"), json.dumps(summary).encode())


def staged_episodes(folder: Path) -> dict[int, StagedEpisode]:
    """Return the episodes in `folder` by index; raises `UserError` naming a damaged one."""
    episodes = {}
    for path in sorted(folder.glob("episode_*.json")):
        index = int(path.stem.removeprefix("episode_"))
        try:
            summary = json.loads(path.read_bytes())
            kept = summary["picture"] is not None
            described = {IMAGE_KEY: summary, **summary.get("others", {})} if kept else {}
            cameras = {
                camera: StagedCamera(
                    (int(facts["picture"][0]), int(facts["picture"][1])),
                    np.asarray(facts["levels"], dtype=np.int64),
                    _video_path(folder, index, camera),
                )
                for camera, facts in described.items()
            }
            episodes[index] = StagedEpisode(folder, index, summary["metadata"], cameras)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} is damaged ({error}): delete it and start the same command again."
            ) from error
    return episodes


class StagingRecorder:
    """Stages what it watches; `keep` is "all" or "successes" (SIMPLER's rule and the strict one),
    `fps` the control rate (Hz), `crf` and `gop` those of the video.

    Raises `UserError` where the environment makes no pictures and when the disk is full.
    """

    def __init__(
        self,
        folder: str | Path,
        keep: str = "successes",
        fps: int = FPS,
        crf: int = _CRF,
        gop: int = _GOP,
    ) -> None:
        self._fps, self._video = fps, {"crf": crf, "gop": gop}
        self._branch: Branch | None = None
        self._folder = Path(folder)
        self._keep = keep
        self._frames: list[tuple[Observation, np.ndarray, bool, np.ndarray]] = []

    def start(self, episode: Episode, observation: Observation) -> None:
        if observation.image is None:
            raise UserError(
                "a data set needs pictures: give a resolution such as resolution=[160,128]."
            )
        height, width = observation.image.shape[:2]
        check_size(width, height)
        self._frames, self._branch = [], episode.branch

    def step(
        self,
        before: Observation,
        action: np.ndarray,
        info: Mapping[str, Any],
        after: Observation,  # noqa: ARG002
    ) -> None:
        executed = np.asarray(info.get(EXECUTED, action), dtype=np.float32)
        self._frames.append((before, action, bool(info["success"]), executed))

    def end(self, record: EpisodeRecord) -> None:
        """Write the episode, or only its outcome when it is not to be kept."""
        # Nothing that depends on the machine: an episode's files are the same wherever it is made.
        metadata = {
            "task": record.task,
            "index": record.index,
            "seed": record.seed,
            "robot_pose": record.robot_pose,
            "variant": record.variant,
            "policy": record.policy,
            "success_at_end": record.success_at_end,
            "success_ever": record.success_ever,
            "success_strict": record.success_strict,
        }
        if self._branch is not None:
            metadata["steps"] = record.steps
            metadata |= {f"branch_{k}": v for k, v in asdict(self._branch).items()}
        if self._keep == "all" or (record.success_ever and record.success_strict):
            observations, actions, successes, executed = zip(*self._frames, strict=True)
            columns = _columns([true_state(each.privileged) for each in observations])
            data = EpisodeData(
                images=np.stack([observation.image for observation in observations]),
                state=np.stack([observation.state for observation in observations]),
                action=np.stack(actions),
                instructions=[observation.instruction for observation in observations],
                success=np.asarray(successes),
                privileged={**columns, EXECUTED: np.stack(executed)},
            )
            stage(self._folder, record.index, data, metadata, self._fps, **self._video)
        else:
            stage_outcome(self._folder, record.index, metadata)
        self._frames = []


def parquet_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _path(folder: Path, index: int, kind: str) -> Path:
    return folder / f"episode_{index:06d}.{kind}"


def _video_path(folder: Path, index: int, camera: str) -> Path:
    return _path(folder, index, "mp4" if camera == IMAGE_KEY else f"{camera}.mp4")


def _columns(steps: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return what all steps have, by name `(t, n)`."""
    names = [name for name in steps[0] if all(name in step for step in steps)]
    return {name: np.stack([step[name] for step in steps]) for name in names}


def _vectors(values: np.ndarray) -> pa.Array:
    if values.dtype == bool:
        return pa.array(values[:, 0])
    rows = np.ascontiguousarray(values, dtype=np.float32)
    if rows.shape[1] == 1:  # LeRobot stores one number a step as a plain column
        return pa.array(rows[:, 0])
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
