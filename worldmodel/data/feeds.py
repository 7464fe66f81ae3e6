"""Where the training batches and the held-out windows of a run come from."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from experiment.errors import UserError
from experiment.files import append_record
from worldmodel.data.batches import Batches, DataConfig, Order, usable
from worldmodel.data.encoded import EncodedBatch, EncodedTokens, TokenFeed
from worldmodel.data.formats.lerobot import LeRobot
from worldmodel.data.loader import Loader
from worldmodel.data.reader import Sample, StreamReader
from worldmodel.data.stream import Stream
from worldmodel.data.trajectories import Trajectories, cut
from worldmodel.data.windows import WindowBatch
from worldmodel.tokenizer import Tokenizer

SKIPPED = "skipped.jsonl"


class Feed(Protocol):
    """Batches to learn from and windows to look at."""

    @property
    def source(self) -> str:
        """Names of the data sets, for checkpoints."""

    def batches(self, folder: Path) -> Callable[[int], WindowBatch | EncodedBatch]:
        """Return the windows of each step; what is passed over is listed in `folder`."""

    def held_out(self, count: int) -> WindowBatch:
        """Return up to `count` windows that are not learned from, the same at every call."""


@dataclass(frozen=True)
class MemoryFeed:
    """Trajectories that lie in memory whole."""

    trajectories: Trajectories
    use: DataConfig
    seed: int

    @property
    def source(self) -> str:
        """Name of the data set."""
        return self.trajectories.source

    def batches(self, folder: Path) -> Callable[[int], WindowBatch]:  # noqa: ARG002
        learned, _ = self.trajectories.split(self.use.held_out)
        order = Order(self._usable(learned), self.use.batch_size, self.seed)
        return Batches(self.trajectories, order, self.use.windows, self.use.augmentation, self.seed)

    def held_out(self, count: int) -> WindowBatch:
        indices = self._usable(self.trajectories.split(self.use.held_out)[1])
        places = np.linspace(0, len(indices) - 1, min(count, len(indices)))
        return cut(self.trajectories, indices[places.astype(np.int64)], self.use.windows)

    def _usable(self, episodes: np.ndarray) -> np.ndarray:
        return usable(self.trajectories, episodes, max(self.use.windows.future))


@dataclass(frozen=True)
class StreamFeed:
    """Data sets that are streamed."""

    reader: StreamReader

    @property
    def source(self) -> str:
        """Names of the data sets."""
        return self.reader.stream.source

    def batches(self, folder: Path) -> Callable[[int], WindowBatch]:
        read = self.reader
        settings = (read.stream, read.use, read.tokenizer, read.seed, read.rank, read.world)
        # Without workers this process reads, with what it has open already.
        make = functools.partial(StreamReader, *settings) if read.stream.workers else lambda: read
        ahead: Loader[Sample] = Loader(make, read.stream.workers, read.stream.ahead)
        seen = set(read.unreadable())
        for reason in sorted(seen):
            append_record(folder / SKIPPED, {"step": None, "reason": reason})

        def batch(step: int) -> WindowBatch:
            sample = ahead(step)
            for reason in sample.skipped:
                if reason not in seen:
                    seen.add(reason)
                    append_record(folder / SKIPPED, {"step": step, "reason": reason})
            return sample.windows

        return batch

    def held_out(self, count: int) -> WindowBatch:
        return self.reader.held_out(count)


def feed_of(source: object, use: DataConfig, tokenizer: Tokenizer, seed: int) -> Feed:
    """Return the feed of a data source; raises `UserError` for something that is none."""
    if isinstance(source, Stream):
        return StreamFeed(StreamReader(source, use, tokenizer, seed))
    if isinstance(source, EncodedTokens):
        return TokenFeed(source, use, tokenizer, seed)
    if isinstance(source, LeRobot):
        return MemoryFeed(source.read(tokenizer), use, seed)
    raise UserError(
        f"data.source is a {type(source).__name__}: set its _target_ to "
        "worldmodel.data.stream.Stream, worldmodel.data.encoded.EncodedTokens or "
        "worldmodel.data.formats.lerobot.LeRobot."
    )
