"""Streams of data sets in memory, for tests."""

from typing import Any

import numpy as np

from tests.worldmodel.toy_episodes import ToyEpisodes, toy_adapter
from worldmodel.data.batches import DataConfig
from worldmodel.data.formats.episode import Episodes
from worldmodel.data.order import Place
from worldmodel.data.reader import StreamReader
from worldmodel.data.source import AdaptedSet, joined
from worldmodel.data.stream import SetConfig, Stream
from worldmodel.data.windows import WindowBatch, WindowConfig
from worldmodel.tokenizer.pixel import PixelTokenizer

TOKENIZER = PixelTokenizer(height=32, width=32, patch=16, tubelet=2)
USE = DataConfig(batch_size=4, held_out=0.2, augmentation=None)


class ToySet(SetConfig):
    """A set in memory in place of one on a disk; `root` says how long its episodes are."""

    def open(self, *_: object) -> Episodes:
        lengths, _, damaged = self.root.partition("!")
        bad = tuple(int(n) for n in damaged.split(",") if n)
        return ToyEpisodes(tuple(int(n) for n in lengths.split(",")), bad)


def reader(*roots: str, use: DataConfig = USE, **settings: Any) -> StreamReader:
    ranks = {name: settings.pop(name) for name in ("rank", "world") if name in settings}
    sets = [ToySet(root=root, adapter=toy_adapter()) for root in roots]
    stream = Stream(sets=sets, block=2, **settings)
    return StreamReader(stream, use, TOKENIZER, seed=3, **ranks)


def window_at(
    data: AdaptedSet, place: Place, config: WindowConfig, tokenizer: PixelTokenizer
) -> WindowBatch:
    """Return the window that begins at `place` as a batch of one."""
    return joined([data.piece(place, config, tokenizer)])


def same(one: Any, other: Any) -> bool:
    names = ("frame", "future", "future_valid", "action", "action_valid", "state")
    equal = all(np.array_equal(getattr(one, n), getattr(other, n)) for n in names)
    return equal and one.instructions == other.instructions
