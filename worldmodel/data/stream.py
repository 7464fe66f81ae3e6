"""What is streamed: one or several data sets, too large to be held in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from experiment.errors import UserError, nearest
from worldmodel.data.adapter import Adapter
from worldmodel.data.formats.episode import Episodes
from worldmodel.data.formats.storage import Storage
from worldmodel.data.source import AdaptedSet

Format = Literal["lerobot", "rlds"]
OnError = Literal["stop", "skip"]


@dataclass(frozen=True)
class SetConfig:
    """One data set of a stream.

    root: folder, address (`gs://`, `s3://`, `hf://`, `https://`) or, of LeRobot sets, a repository
    of the hub. weight: how often it is drawn; see `Stream.by_size`. split: of an RLDS set.
    """

    root: str
    adapter: Adapter
    format: Format = "rlds"
    weight: float = 1.0
    split: str = "train"

    def __post_init__(self) -> None:
        if self.format not in get_args(Format):
            kinds = get_args(Format)
            raise UserError(f"unknown data format {self.format!r}.{nearest(self.format, kinds)}")

    def open(self, cache: str | None, download: bool, on_error: OnError) -> Episodes:
        """Open the data set; raises `UserError` where there is none."""
        kept = Path(cache) / "files" if cache and download else None
        if self.format == "lerobot":
            from worldmodel.data.formats.lerobot import LeRobotEpisodes

            return LeRobotEpisodes(self.root, cache=None if kept is None else str(kept))
        from worldmodel.data.formats.rlds import RldsEpisodes

        return RldsEpisodes.open(
            Storage(self.root, cache=kept),
            self.split,
            index_folder=None if cache is None else Path(cache),
            on_damage="keep" if on_error == "skip" else "stop",
        )


@dataclass(frozen=True)
class Stream:
    """What is streamed, and how.

    sets: one or more. by_size: weights multiply the sizes of the sets (as Open-X mixtures mean
    them), else they are shares of the samples. frame_rate: frames a second, None for every control
    step. on_error: stop at the first record that cannot be read, or skip and list it. workers:
    processes that read ahead. ahead: batches that each of them has ready; where a block begins all
    pictures are decoded, and batches that are ready bridge that. lanes: parts of the data that take
    turns, step by step; each is read by one process where `workers` divides it. block: episodes of
    all sets together whose windows are shuffled together, in each lane. memory: gigabytes of
    decoded pictures that are kept while their block lasts, all processes together. cache: folder
    for indices and statistics, and with `download` for whole copies of files from elsewhere. crop:
    pictures are cut to the tokenizer's shape instead of squeezed. normalise: actions and states are
    given in units of their own set, by its statistics, instead of in m, rad and whatever the state
    is in.
    """

    sets: Sequence[SetConfig]
    by_size: bool = True
    frame_rate: float | None = None
    on_error: OnError = "stop"
    workers: int = 2
    ahead: int = 4
    lanes: int = 4
    block: int = 64
    memory: float = 2.0
    cache: str | None = None
    download: bool = False
    crop: bool = False
    normalise: bool = False

    def __post_init__(self) -> None:
        if not self.sets:
            raise UserError("data.source.sets is empty: name at least one data set.")
        if self.on_error not in get_args(OnError):
            raise UserError(
                f"unknown on_error {self.on_error!r}.{nearest(self.on_error, get_args(OnError))}"
            )
        if self.workers < 0 or self.memory < 0 or min(self.ahead, self.block, self.lanes) < 1:
            raise UserError(
                "data.source: workers and memory must not be negative, ahead, block and lanes at "
                "least 1."
            )

    @property
    def source(self) -> str:
        """The data sets' roots, for messages and checkpoints."""
        return ", ".join(each.root for each in self.sets)

    def open(self) -> list[AdaptedSet]:
        """Open every set; raises `UserError` naming the one that does not fit."""
        return [
            AdaptedSet(
                each.open(self.cache, self.download, self.on_error),
                each.adapter,
                self.frame_rate,
                self.crop,
            )
            for each in self.sets
        ]
