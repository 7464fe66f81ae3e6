"""What is read: one or several data sets, of any size, wherever they are stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from experiment.errors import UserError, nearest
from experiment.settings import ROOT
from worldmodel.data.adapter import Adapter, adapter_for
from worldmodel.data.dataset import DataSet
from worldmodel.data.encoded import EncodedTokens
from worldmodel.data.formats.episode import Episodes
from worldmodel.data.formats.storage import Storage
from worldmodel.data.pictures import Size
from worldmodel.data.reader import DataConfig, Reading, WindowReader

Format = Literal["lerobot", "rlds"]
OnError = Literal["stop", "skip"]


@dataclass(frozen=True)
class SetConfig:
    """One data set, or several alike.

    root: folder, address (`gs://`, `s3://`, `hf://`, `https://`) or, of LeRobot sets, a repository
    of the hub; or several, separated by commas, each a set like this one. adapter: None where the
    data set is known (what `envs.collect` wrote) or only its video is read. weight: how often it is
    drawn; see `DataSource.by_size`. split: of an RLDS set. camera: the column that is seen, None
    for the adapter's or the only one.
    """

    root: str
    adapter: Adapter | None = None
    format: Format = "rlds"
    weight: float = 1.0
    split: str = "train"
    camera: str | None = None

    def __post_init__(self) -> None:
        if self.format not in get_args(Format):
            kinds = get_args(Format)
            raise UserError(f"unknown data format {self.format!r}.{nearest(self.format, kinds)}")

    def single(self) -> list["SetConfig"]:
        """Return one set for each root."""
        return [replace(self, root=root.strip()) for root in self.root.split(",")]

    def open(self, cache: str | None, download: bool, on_error: OnError) -> Episodes:
        """Open the data set of a single root; raises `UserError` where there is none."""
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

    def adapted(self, episodes: Episodes) -> Adapter:
        """Return the adapter of the opened set; raises `UserError`."""
        adapter = self.adapter or adapter_for(episodes, self.camera)
        return replace(adapter, image=self.camera) if self.camera else adapter


@dataclass(frozen=True)
class DataSource(Reading):
    """What is read, and how; see `Reading`.

    sets: one or more. only: names of those that are used, None for all. by_size: weights multiply
    the sizes of the sets (as Open-X mixtures mean them), else they are shares of the samples.
    frame_rate: frames a second, None for every control step. cache: folder for indices, statistics
    and decoded pictures, and with `download` for whole copies of files from elsewhere. decode_once:
    gigabytes; sets whose pictures take no more are decoded into that folder before training. crop:
    pictures are cut to the model's shape instead of squeezed.
    """

    sets: Sequence[SetConfig] = ()
    only: Sequence[str] | None = None
    by_size: bool = True
    frame_rate: float | None = None
    cache: str | None = None
    download: bool = False
    decode_once: float = 0.0
    crop: bool = False

    def __post_init__(self) -> None:
        if not self.sets:
            raise UserError("data.source.sets is empty: name at least one data set.")
        if self.on_error not in get_args(OnError):
            raise UserError(
                f"unknown on_error {self.on_error!r}.{nearest(self.on_error, get_args(OnError))}"
            )
        if min(self.workers, self.memory, self.decode_once) < 0:
            raise UserError("data.source: workers, memory and decode_once must not be negative.")
        if min(self.ahead, self.block, self.shards) < 1:
            raise UserError("data.source: ahead, block and shards must be at least 1.")

    def chosen(self) -> list[SetConfig]:
        """Return the sets that are used, a root each; raises `UserError` for an unknown `only`."""
        return [single for each in self._named() for single in each.single()]

    def _named(self) -> list[SetConfig]:
        if self.only is None:
            return list(self.sets)
        named = {each.adapter.name: each for each in self.sets if each.adapter is not None}
        for name in self.only:
            if name not in named:
                raise UserError(f"data.source.only: unknown set {name!r}.{nearest(name, named)}")
        return [named[name] for name in self.only]

    def open(self, use: DataConfig, size: Size, video_only: bool = False) -> list[DataSet]:
        """Open every set, with pictures at `size`; raises `UserError` for one that does not fit."""
        opened = []
        for each in self.chosen():
            episodes = each.open(self.cache, self.download, self.on_error)  # type: ignore[arg-type]
            data = DataSet(
                episodes,
                each.adapted(episodes),
                use.windows,
                size,
                after_end=use.after_end,
                after_departure=use.after_departure,
                frame_rate=self.frame_rate,
                crop=self.crop,
                video_only=video_only,
            )
            if self.cache and data.decoded_bytes <= self.decode_once * 1e9:
                data.decode_once(Path(self.cache), self.skips)
            opened.append(data)
        return opened

    def window_reader(
        self, sets: Sequence[DataSet], use: DataConfig, seed: int, rank: int = 0, world: int = 1
    ) -> WindowReader:
        """Return the reader of sets that were opened; raises `UserError`."""

        def size(data: DataSet) -> int:
            few = slice(None) if use.episodes is None else use.split(len(data.counts))[0]
            return max(int(data.counts[few].sum()), 1)

        weights = [
            each.weight * (size(data) if self.by_size else 1)
            for each, data in zip(self.chosen(), sets, strict=True)
        ]
        return WindowReader(sets, weights, self, use, seed, rank, world)

    def reader(
        self, use: DataConfig, tokenizer: Any, seed: int, rank: int = 0, world: int = 1
    ) -> WindowReader:
        sets = self.open(use, tokenizer.picture, video_only=True)
        return self.window_reader(sets, use, seed, rank, world)


def installed(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description of a source with roots that are part of this package found there.

    A relative root counts from the working directory first, then from the package.
    """

    def found(root: str) -> str:
        shipped = ROOT / root
        return root if Path(root).exists() or not shipped.is_dir() else str(shipped)

    def roots(given: str) -> str:
        return ",".join(found(root.strip()) for root in given.split(","))

    sets = [{**each, "root": roots(str(each["root"]))} for each in source.get("sets", ())]
    return {**source, "sets": sets} if sets else dict(source)


Source = DataSource | EncodedTokens
"""What `data.source` describes: data sets, or the tokens of some."""
