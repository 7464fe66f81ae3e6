"""Tokens written ahead of time: shards of windows, encoded once, read in every epoch.

A folder holds `tokens.json` (tokenizer, windows, data sets, shards) and shards in safetensors. A
shard has `frame.values` and `video.values` `(w, n, c)`, `video.valid` `(w, n)`, `action`
`(w, k, a)`, `action_valid` `(w, k)` and `state` `(w, s)`; instructions are in its metadata. Nothing
is assumed about n and c: they are the tokenizer's.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from experiment.errors import UserError
from experiment.files import write_bytes
from worldmodel.data.order import BatchOrder, SetOrder, WindowIndex
from worldmodel.data.reader import DataConfig, Reading, Sample
from worldmodel.data.windows import Empty, Samples, WindowBatch, empty_pictures
from worldmodel.tokenizer import Tokenizer
from worldmodel.tokenizer.positions import video_valid

INDEX = "tokens.json"
_TENSORS = {"frame.values", "video.values", "video.valid", "action", "action_valid", "state"}
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def settings_of(tokenizer: Tokenizer, windows: Any) -> dict[str, Any]:
    """Return what tokens depend on, as plain values."""
    described = {"tokenizer": tokenizer.config(), "windows": asdict(windows)}
    for name in ("start", "grip", "past"):
        if described["windows"].pop(name):
            raise UserError(
                f"data.use.windows.{name} needs whole episodes, encoded tokens have none."
            )
    plain: dict[str, Any] = json.loads(json.dumps(described))
    return plain


def write_shard(
    path: Path, windows: WindowBatch, tokenizer: Tokenizer, dtype: torch.dtype, device: torch.device
) -> None:
    """Encode windows on `device` and write them atomically."""
    frame, video = tokenizer.encode(windows.frame.to(device), windows.future.to(device))
    tensors: dict[str, Tensor] = {
        "frame.values": frame.to(dtype).cpu(),
        "video.values": video.to(dtype).cpu(),
        "video.valid": video_valid(tokenizer, windows.future_valid),
        "action": windows.action,
        "action_valid": windows.action_valid,
        "state": windows.state,
    }
    metadata = {"instructions": json.dumps(windows.instructions)}
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_bytes(path, to_safetensors(contiguous, metadata))


@dataclass(frozen=True, kw_only=True)
class EncodedBatch(Samples):
    """Windows as tokens: `frame` `(b, n, c)`, `video` `(b, m, c)`, `video_valid` bool `(b, m)`."""

    video: Tensor
    video_valid: Tensor


@dataclass(frozen=True)
class Shard:
    """One shard in memory."""

    tensors: Mapping[str, Tensor]
    instructions: Sequence[str]


def read_shard(path: Path, windows: int) -> Shard:
    """Read a shard of so many windows. Raises `UserError` for one that is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            instructions = json.loads(file.metadata()["instructions"])
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: encode the data set again.") from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it and encode again.") from error
    missing = _TENSORS - set(tensors)
    if missing:
        raise UserError(f"{path} lacks {min(missing)!r}: encode again.")
    if {len(t) for t in tensors.values()} | {len(instructions)} != {windows}:
        raise UserError(f"{path} does not hold the {windows} windows that {INDEX} lists.")
    return Shard(tensors, instructions)


@dataclass(frozen=True)
class EncodedTokens(Reading):
    """A folder that `worldmodel.encode` wrote; see `Reading`, of which `memory` means nothing here.

    block: files whose windows are shuffled together, in each shard.
    """

    root: str = ""
    block: int = 8

    def __post_init__(self) -> None:
        if self.workers < 0 or min(self.ahead, self.block, self.shards) < 1:
            raise UserError(
                "data.source: workers must not be negative, ahead, block and shards at least 1."
            )

    def reader(
        self, use: DataConfig, tokenizer: Tokenizer, seed: int, rank: int = 0, world: int = 1
    ) -> "TokenReader":
        return TokenReader(self, use, tokenizer, seed, rank, world)


class TokenReader:
    """The tokens of each step, in the order of `WindowReader` with files as episodes."""

    def __init__(
        self,
        source: EncodedTokens,
        use: DataConfig,
        tokenizer: Tokenizer,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Raises `UserError` for a folder without tokens, or of another tokenizer or windows."""
        self.root, self.source = Path(source.root), source.root
        self.use, self.tokenizer = use, tokenizer
        index = read_index(self.root)
        for key, value in settings_of(tokenizer, use.windows).items():
            before = index["settings"].get(key)
            if before != value:
                raise UserError(
                    f"{self.root} was encoded with {key} {before}, not {value}: set data.use or "
                    "tokenizer to match, or encode again."
                )
        self.files = [(str(file["file"]), int(file["windows"])) for file in index["shards"]]
        counts = np.asarray([windows for _, windows in self.files], dtype=np.int64)
        held_out = round(use.held_out * len(counts))
        if use.held_out and len(counts) > 1:
            held_out = max(1, held_out)
        # The last files: neighbours in a data set are in neighbouring files.
        learned, shown = np.split(np.arange(len(counts)), [len(counts) - held_out])
        self._learned = SetOrder(learned, counts[learned], seed, source.block, source.shards)
        self._held_out = SetOrder(shown, counts[shown], 0, source.block)
        self._order = BatchOrder(
            [1.0], seed, use.batch_size, source.shards, rank, world, source.parts
        )
        at_once = min(self._learned.shards, source.shards_at_once(world))
        self._kept = source.block * (at_once + 1)
        self._shards: OrderedDict[int, Shard] = OrderedDict()

    def __call__(self, step: int, empty: Empty = empty_pictures) -> Sample[EncodedBatch]:  # noqa: ARG002
        return Sample(
            self._batch([self._learned(slot.shard, slot.place) for slot in self._order(step)])
        )

    def held_out(self, count: int) -> Sample[WindowBatch | None]:
        """Return windows of the last files, their pictures decoded from tokens; None without."""
        places = range(min(count, self._held_out.size))
        if not places:
            return Sample(None)
        return Sample(self._decoded(self._batch([self._held_out(0, place) for place in places])))

    def examples(self, count: int) -> WindowBatch:
        """Return windows that are learned from early on, their pictures decoded from tokens."""
        places = range(min(count, self._learned.size))
        return self._decoded(self._batch([self._learned(0, place) for place in places]))

    def unreadable(self) -> list[str]:
        return []

    def shard(self, number: int) -> Shard:
        if number not in self._shards:
            name, windows = self.files[number]
            self._shards[number] = read_shard(self.root / name, windows)
        self._shards.move_to_end(number)
        while len(self._shards) > self._kept:
            self._shards.popitem(last=False)
        return self._shards[number]

    def _batch(self, indices: Sequence[WindowIndex]) -> EncodedBatch:
        shards = [self.shard(index.episode) for index in indices]

        def stacked(name: str) -> Tensor:
            rows = zip(shards, indices, strict=True)
            return torch.stack([shard.tensors[name][index.step] for shard, index in rows])

        return EncodedBatch(
            frame=stacked("frame.values"),
            video=stacked("video.values"),
            video_valid=stacked("video.valid"),
            action=stacked("action"),
            action_valid=stacked("action_valid"),
            state=stacked("state"),
            instructions=[s.instructions[i.step] for s, i in zip(shards, indices, strict=True)],
        )

    def _decoded(self, batch: EncodedBatch) -> WindowBatch:
        frame, video = batch.frame.float(), batch.video.float()
        future = self.tokenizer.decode(frame, video)
        return WindowBatch(
            frame=self.tokenizer.decode_frame(frame),
            future=future,
            future_valid=torch.ones(future.shape[:2], dtype=torch.bool),
            action=batch.action,
            action_valid=batch.action_valid,
            state=batch.state,
            instructions=batch.instructions,
        )

    def __getstate__(self) -> dict[str, object]:
        """Another process reads for itself."""
        return vars(self) | {"_shards": OrderedDict()}


def read_index(root: Path) -> dict[str, Any]:
    path = root / INDEX
    if not path.is_file():
        raise UserError(
            f"{root} holds no {INDEX}: run python -m worldmodel.encode ... out={root} to its end."
        )
    try:
        index: dict[str, Any] = json.loads(path.read_text())
        if not index["shards"] or not isinstance(index["settings"], dict):
            raise ValueError("no shards")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error!r}): encode again.") from error
    return index
