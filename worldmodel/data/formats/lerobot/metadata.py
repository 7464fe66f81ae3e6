"""`meta/info.json` of a LeRobot data set: its version, rate, paths and features."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiment.errors import UserError
from worldmodel.data.formats.episode import Column
from worldmodel.data.formats.storage import MissingFile, Storage

INFO = "meta/info.json"
# v2.0 differs from v2.1 in its statistics alone, which are not used here.
_KEYS = {
    "v2.0": ("episode_chunk", "episode_index"),
    "v2.1": ("episode_chunk", "episode_index"),
    "v3.0": ("chunk_index", "file_index"),
}
_NUMBERS = {"bool", "float16", "float32", "float64"}
_NUMBERS |= {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


@dataclass(frozen=True)
class Info:
    """What `meta/info.json` holds.

    `name` is the file, for messages; `fps` steps a second; `robot` the robot's name (None where it
    is not given); `data_path` and `video_path` are templates (`video_path` None where there is no
    video); `features` by name as they stand there.
    """

    name: str
    version: str
    fps: float
    robot: str | None
    data_path: str
    video_path: str | None
    chunks_size: int
    totals: Mapping[str, int]
    features: Mapping[str, Mapping[str, Any]]

    @property
    def is_v3(self) -> bool:
        """Return whether a file holds many episodes (v3.0) or one (v2)."""
        return self.version == "v3.0"

    def path(self, template: str, numbers: np.ndarray, camera: str = "") -> str:
        """Return the path of a file: of chunk and file (v3.0), of chunk and episode (v2)."""
        return template.format(
            video_key=camera, **dict(zip(_KEYS[self.version], numbers.tolist(), strict=True))
        )


def read_info(storage: Storage) -> Info:
    """Read `meta/info.json`; raises `UserError` where it is missing, damaged or not read here."""
    name = storage.where(INFO)
    try:
        content = storage.read(INFO)
    except MissingFile as error:
        raise UserError(
            f"{storage.address} is no LeRobot data set (no {INFO}): set data.root to a folder that "
            "envs.collect wrote, or to another LeRobot data set."
        ) from error
    try:
        info = json.loads(content)
        version = str(info["codebase_version"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{name} is damaged ({error!r}): copy or make it again.") from error
    if version not in _KEYS:
        raise UserError(f"{name} says version {version}: LeRobot {', '.join(_KEYS)} are read.")

    def entry(key: str, kinds: tuple[type, ...], otherwise: Any = ...) -> Any:
        value = info.get(key, otherwise)
        if value is ...:
            raise UserError(f"{name} has no {key!r}: it is damaged or of another format.")
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise UserError(f"{name} has {key!r} as {value!r:.60}: it is damaged.")
        return value

    features = entry("features", (dict,))
    fps = float(min(entry("fps", (int, float)), 1e9))
    if not (math.isfinite(fps) and fps > 0):
        raise UserError(f"{name} has 'fps' as {fps}: it must be the steps a second.")
    for feature, facts in features.items():
        if not isinstance(facts, dict):
            raise UserError(f"{name} has the feature {feature!r} as {facts!r:.60}: it is damaged.")
    chunks_size = entry("chunks_size", (int,), 1000)
    if not 1 <= chunks_size < 2**31:
        raise UserError(f"{name} has 'chunks_size' as {chunks_size}: it must be positive.")
    for key in ("data_path", "video_path"):
        template = entry(key, (str, type(None))) or ""
        _check_template(name, version, template)
        storage.where(template)  # must not lead out of the data set
    totals = ("total_episodes", "total_frames")
    robot = info.get("robot_type")
    return Info(
        name=name,
        version=version,
        fps=fps,
        robot=robot if isinstance(robot, str) else None,
        data_path=entry("data_path", (str,)),
        video_path=entry("video_path", (str, type(None))),
        chunks_size=chunks_size,
        totals={key: entry(key, (int,)) for key in totals if key in info},
        features=features,
    )


def _check_template(name: str, version: str, template: str) -> None:
    """Raise `UserError` where a path has another field, or text that would format endlessly."""
    keys = (*_KEYS[version], "video_key")
    field = r"\{(" + "|".join(keys) + r")(:0?\d?d)?\}"
    if set(re.sub(field, "", template)) & {"{", "}"} or "{video_key:" in template:
        raise UserError(
            f"{name}: the path {template!r} cannot be filled in: {version} knows "
            f"{', '.join(keys)} there."
        )


def columns(info: Info) -> dict[str, Column]:
    """Return the columns that can be read, and `task`, the instruction of each step.

    A feature of numbers has its listed shape, `(1,)` where a step is one number. Left out are
    depth maps, whose levels are no colours, and features of a kind that is not known here.
    Raises `UserError` naming a feature without kind or shape.
    """
    readable = {"task": Column("text", (), "str")}
    for name, facts in info.features.items():
        kind, shape = facts.get("dtype"), facts.get("shape")
        if not isinstance(kind, str):
            raise UserError(f"{info.name}: the feature {name!r} has no 'dtype': it is damaged.")
        if kind in ("video", "image"):
            if not _is_depth(facts):
                readable[name] = Column("image", _picture(info, name, facts), "uint8")
        elif kind == "string":
            readable[name] = Column("text", (), "str")
        elif kind in _NUMBERS:
            names = facts.get("names")
            named = isinstance(names, list) and all(isinstance(n, str) for n in names)
            given = tuple(names) if named else ()  # type: ignore[arg-type]
            readable[name] = Column("array", _sizes(info, name, shape), np.dtype(kind).name, given)
    return readable


def video_cameras(info: Info) -> list[str]:
    return [name for name, facts in info.features.items() if facts.get("dtype") == "video"]


def _sizes(info: Info, name: str, shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or not all(
        isinstance(n, int) and not isinstance(n, bool) and 0 < n < 2**31 for n in shape
    ):
        raise UserError(
            f"{info.name}: the feature {name!r} has the shape {shape!r:.60}, not a list of "
            "positive numbers: it is damaged."
        )
    return tuple(shape) or (1,)


def _picture(info: Info, name: str, facts: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return height, width and 3; LeRobot lists channels first or last and names them."""
    shape = _sizes(info, name, facts.get("shape"))
    if len(shape) != 3:
        raise UserError(f"{info.name}: the feature {name!r} has the shape {shape}, no picture's.")
    names = facts.get("names")
    if isinstance(names, list) and len(names) == 3:
        first = str(names[0]).startswith("channel")
    else:
        first = shape[2] not in (1, 3, 4) and shape[0] in (1, 3, 4)
    return (shape[1], shape[2], 3) if first else (shape[0], shape[1], 3)


def _is_depth(facts: Mapping[str, Any]) -> bool:
    sections = [facts, facts.get("info"), facts.get("video_info")]
    keys = ("is_depth_map", "video.is_depth_map")
    return any(
        section.get(key) is True
        for section in sections
        if isinstance(section, dict)
        for key in keys
    )
