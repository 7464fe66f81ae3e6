"""Data sets in memory and what reads them, for tests."""

from typing import Any

import torch

from tests.worldmodel.toy_episodes import ToyEpisodes, toy_adapter
from worldmodel.data.dataset import DataSet
from worldmodel.data.formats.episode import Episodes
from worldmodel.data.order import WindowIndex
from worldmodel.data.reader import DataConfig, WindowReader
from worldmodel.data.source import DataSource, SetConfig
from worldmodel.data.windows import WindowBatch, WindowConfig, stack

SIZE = (32, 32)
USE = DataConfig(batch_size=4, held_out=0.2, augmentation=None)
WINDOWS = WindowConfig(future=(1, 2), chunk=3)


class ToySet(SetConfig):
    """A set in memory in place of one on a disk; `root` says how long its episodes are."""

    def single(self) -> list[SetConfig]:
        return [self]

    def open(self, *_: object) -> Episodes:
        lengths, damaged = self.root.partition("!")[::2]
        bad = tuple(int(n) for n in damaged.split(",") if n)
        return ToyEpisodes(tuple(int(n) for n in lengths.split(",")), bad)


def toy_source(*roots: str, **settings: Any) -> DataSource:
    sets = [
        ToySet(root=root, adapter=toy_adapter(name=f"toy{n or ''}")) for n, root in enumerate(roots)
    ]
    chosen: dict[str, Any] = {"sets": sets, "block": 2, "workers": 0} | settings
    return DataSource(**chosen)


def reader(*roots: str, use: DataConfig = USE, **settings: Any) -> WindowReader:
    ranks = {name: settings.pop(name) for name in ("rank", "world") if name in settings}
    source = toy_source(*roots, **settings)
    return source.window_reader(source.open(use, SIZE), use, 3, **ranks)


def toy_set(episodes: ToyEpisodes, windows: WindowConfig = WINDOWS, **settings: Any) -> DataSet:
    adapter = settings.pop("adapter", toy_adapter())
    return DataSet(episodes, adapter, windows, settings.pop("size", SIZE), **settings)


def window_at(data: DataSet, episode: int, step: int) -> WindowBatch:
    """Return the window that begins there as a batch of one."""
    return stack([data.window(WindowIndex(episode, step))])


def same(one: WindowBatch, other: WindowBatch) -> bool:
    names = ("frame", "future", "future_valid", "action", "action_valid", "state")
    equal = all(torch.equal(getattr(one, n), getattr(other, n)) for n in names)
    return equal and one.instructions == other.instructions
