"""Adapters: a data set's columns for camera, action, instruction and state, and their conventions.

An adapter is a few lines of YAML under `configs/adapter`. Its `worldmodel.data.action_map` maps
every data set to the one canonical action `(t, 7)`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from omegaconf import OmegaConf

from experiment.errors import UserError, nearest
from experiment.settings import CONFIGS, build
from worldmodel.data.action_map import ActionMap, ColumnSlice, check_known
from worldmodel.data.formats.episode import Column, DamagedRecord, Episode, Episodes

InstructionKind = Literal["text", "bytes"]
"""bytes: numbers `(n,)` a step, one a byte of UTF-8, zeros after the end."""

Channels = Literal["rgb", "bgr"]

DEPARTURE = np.array([0.003] * 3 + [0.03] * 3 + [0.1])
"""From here on (m, rad, gripper) a robot did something other than the recorded action."""
# Demonstrations: adapters by LeRobot's robot_type, for sets whose action is named as ours.
_RECORDED = {"google_robot": "simpler_google_robot", "widowx": "simpler_widowx"}
_RECORDED_ACTION = ("dx", "dy", "dz", "rotation_x", "rotation_y", "rotation_z", "gripper")


@dataclass(frozen=True)
class Adapter:
    """How one data set is read.

    image: the column of the camera that is used. action: see `ActionMap`; None: only the video is
    read. rate: control steps a second, None for the set's own. robot: its name, by which a gripper
    codec is found. channels: in which order colours were stored (some sets of Open-X have red and
    blue swapped). instruction: a column of text ("" for none), or of the `instruction_kind`.
    state: slices that make up the proprioception, in order. skip_first: steps to leave out at the
    start (Bridge begins with an action of zeros). executed: the action that the robot was given, in
    sets that say so, where `action` is what it should have done.
    """

    name: str
    image: str
    action: ActionMap | None = None
    rate: float | None = None
    robot: str | None = None
    instruction: str = ""
    instruction_kind: InstructionKind = "text"
    channels: Channels = "rgb"
    state: tuple[str, ...] = ()
    skip_first: int = 0
    executed: ActionMap | None = None
    slices: tuple[ColumnSlice, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.rate is not None and self.rate <= 0) or self.skip_first < 0:
            raise UserError(f"adapter {self.name}: rate must be positive, skip_first not negative.")
        check_known("kind of instruction", self.instruction_kind, get_args(InstructionKind))
        check_known("order of channels", self.channels, get_args(Channels))
        object.__setattr__(self, "state", tuple(self.state))
        object.__setattr__(self, "slices", tuple(ColumnSlice.of(text) for text in self.state))

    def check(self, columns: Mapping[str, Column], source: str, video_only: bool = False) -> None:
        """Raise `UserError` naming the first column that the data set lacks or has otherwise."""
        text = "array" if self.instruction_kind == "bytes" else "text"
        action = None if video_only else self.action
        state = () if video_only else self.slices
        numbers = [*(action.slices.values() if action else ()), *state]
        needed = [(self.image, "image"), (self.instruction, text)]
        for name, kind in [*needed, *((each.column, "array") for each in numbers)]:
            if not name:
                continue
            if name not in columns:
                raise UserError(
                    f"{source} has no column {name!r} that adapter {self.name} reads."
                    f"{nearest(name, columns)}"
                )
            if columns[name].kind != kind:
                raise UserError(
                    f"{source}: column {name!r} holds {columns[name].kind}, adapter {self.name} "
                    f"reads it as {kind}."
                )
        if action is not None:
            action.check(columns, source)
            if self.executed is not None and self._says_executed(columns):
                self.executed.check(columns, source)
        for column_slice in state:
            column_slice.check(columns[column_slice.column], "a state", (1, None), source)

    def actions(self, episode: Episode) -> np.ndarray:
        """Return canonical actions `(t, 7)` float32; raises `DamagedRecord` where not finite."""
        if self.action is None:
            return np.zeros((len(episode) - self.skip_first, 0), dtype=np.float32)
        values = {name: each.read(episode) for name, each in self.action.slices.items()}
        return self._finite(self.action.canonical(values), "action", episode)

    def departures(
        self, episode: Episode, action: np.ndarray, columns: Mapping[str, Column]
    ) -> np.ndarray:
        """Return at which steps `(t,)` the robot did something other than its `action` `(t, 7)`."""
        if self.executed is None or not self._says_executed(columns):
            return np.zeros(len(action), dtype=bool)
        values = {name: each.read(episode) for name, each in self.executed.slices.items()}
        executed = self._finite(self.executed.canonical(values), "executed action", episode)
        return (np.abs(executed - action) > DEPARTURE).any(-1)

    def _says_executed(self, columns: Mapping[str, Column]) -> bool:
        named = () if self.executed is None else self.executed.slices.values()
        return all(each.column in columns for each in named)

    def states(self, episode: Episode) -> np.ndarray:
        """Return `(t, s)` float32; s is 0 where the adapter names no state."""
        if not self.slices:
            return np.zeros((len(episode) - self.skip_first, 0), dtype=np.float32)
        values = np.concatenate([each.read(episode) for each in self.slices], -1)
        return self._finite(values, "state", episode)

    def instructions(self, episode: Episode) -> list[str]:
        """Return the instruction of each step, trimmed; empty where there is none."""
        if not self.instruction:
            return [""] * (len(episode) - self.skip_first)
        if self.instruction_kind == "bytes":
            texts = _of_bytes(episode.array(self.instruction), episode)
        else:
            texts = episode.text(self.instruction)
        return [text.strip() for text in texts][self.skip_first :]

    def images(self, episode: Episode, steps: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the pictures uint8 `(n, h, w, 3)` of `steps`, counted after `skip_first`."""
        chosen = np.asarray(steps, dtype=np.int64) + self.skip_first
        pictures = episode.images(self.image, chosen)
        return pictures if self.channels == "rgb" else np.ascontiguousarray(pictures[..., ::-1])

    def lengths(self, lengths: np.ndarray) -> np.ndarray:
        return np.maximum(lengths - self.skip_first, 0)

    def _finite(self, values: np.ndarray, what: str, episode: Episode) -> np.ndarray:
        values = values[self.skip_first :]
        bad = np.flatnonzero(~np.isfinite(values).all(1))
        if len(bad):
            step = int(bad[0]) + self.skip_first
            raise DamagedRecord(f"{episode.name}: the {what} of step {step} is not finite.")
        return values.astype(np.float32)


def _of_bytes(rows: np.ndarray, episode: Episode) -> list[str]:
    """Return the text of each row of bytes `(t, n)`; raises `DamagedRecord`."""
    if rows.size and not (rows.min() >= 0 and rows.max() <= 255):
        raise DamagedRecord(f"{episode.name}: its instruction has numbers outside 0 to 255.")
    try:
        return [row.tobytes().split(b"\0")[0].decode() for row in rows.astype(np.uint8)]
    except UnicodeDecodeError as error:
        raise DamagedRecord(f"{episode.name}: its instruction is not UTF-8.") from error


def adapter_for(episodes: Episodes, camera: str | None = None) -> Adapter:
    """Return the adapter of a data set for which none was named.

    Demonstrations that `envs.collect` wrote are recognised by their robot and the names of their
    action's numbers. Of any other set only the video is read, of `camera` or the only camera, with
    the instruction of a LeRobot set. Raises `UserError` if there are several cameras.
    """
    columns = episodes.columns
    recorded = _RECORDED.get(episodes.robot or "")
    if recorded is not None and _names(columns.get("action")) == _RECORDED_ACTION:
        node = OmegaConf.load(CONFIGS / "adapter" / f"{recorded}.yaml")
        return build(node, Adapter)  # type: ignore[arg-type]
    cameras = sorted(name for name, column in columns.items() if column.kind == "image")
    if not cameras:
        raise UserError(f"{episodes.source} has no camera: there is nothing to learn from.")
    if camera is None and len(cameras) > 1:
        raise UserError(
            f"{episodes.source} has {len(cameras)} cameras, set data.camera to one of: "
            f"{', '.join(cameras)}."
        )
    task = columns.get("task")
    instruction = "task" if task is not None and task.kind == "text" else ""
    return Adapter("video", camera or cameras[0], robot=episodes.robot, instruction=instruction)


def _names(column: Column | None) -> tuple[str, ...]:
    return () if column is None else column.names
