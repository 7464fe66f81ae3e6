"""Tokens written ahead of time: shards of windows, encoded once, read in every epoch.

A folder holds `tokens.json` (tokenizer, windows, data sets, shards) and shards in safetensors. A
shard has `frame.values` and `video.values` `(w, n, c)`, `video.valid` `(w, n)`, `action`
`(w, k, a)`, `action_valid` `(w, k)` and `state` `(w, s)`; instructions lie in its metadata. Nothing
is assumed of n and c: they are the tokenizer's.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
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
from worldmodel.data.batches import DataConfig
from worldmodel.data.order import BlockOrder, Place
from worldmodel.data.windows import WindowBatch
from worldmodel.tokenizer import Tokenizer
from worldmodel.tokenizer.positions import video_valid

INDEX = "tokens.json"
PARTS = ("frame", "video")
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def settings_of(tokenizer: Tokenizer, windows: Any) -> dict[str, Any]:
    """Return what tokens depend on, as plain values."""
    described = {"tokenizer": tokenizer.config(), "windows": asdict(windows)}
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


@dataclass(frozen=True)
class EncodedBatch:
    """A batch of windows whose pictures are tokens already; the rest as in `WindowBatch`.

    `frame` `(b, n, c)`, `video` `(b, m, c)` and `video_valid` bool `(b, m)`.
    """

    frame: Tensor
    video: Tensor
    video_valid: Tensor
    action: Tensor
    action_valid: Tensor
    state: Tensor
    instructions: list[str]

    def to(self, device: torch.device | str) -> "EncodedBatch":
        """Return the batch on `device`."""
        tensors = {n: v.to(device) for n, v in vars(self).items() if isinstance(v, Tensor)}
        return EncodedBatch(instructions=self.instructions, **tensors)


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
    wanted = {
        "action",
        "action_valid",
        "state",
        "video.valid",
        *(f"{name}.values" for name in PARTS),
    }
    if not wanted <= set(tensors):
        raise UserError(f"{path} lacks {sorted(wanted - set(tensors))[0]!r}: encode again.")
    if {len(t) for t in tensors.values()} | {len(instructions)} != {windows}:
        raise UserError(f"{path} does not hold the {windows} windows that {INDEX} lists.")
    return Shard(tensors, instructions)


@dataclass(frozen=True)
class EncodedTokens:
    """A folder that `worldmodel.encode` wrote; a data source of pretraining.

    keep: shards held in memory, whose windows are shuffled together.
    """

    root: str
    keep: int = 8

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise UserError("data.source.keep must be at least 1.")


class TokenFeed:
    """Batches of tokens that were encoded before; a `Feed`."""

    def __init__(
        self, source: EncodedTokens, use: DataConfig, tokenizer: Tokenizer, seed: int
    ) -> None:
        """Raises `UserError` for a folder that is none, or of another tokenizer or windows."""
        self.root, self.use, self.tokenizer = Path(source.root), use, tokenizer
        self.source = source.root
        index = read_index(self.root)
        now = settings_of(tokenizer, use.windows)
        for key, value in now.items():
            if index["settings"].get(key) != value:
                before = index["settings"].get(key)
                raise UserError(
                    f"{self.root} was encoded with {key} {before}, not {value}: set data.use or "
                    "tokenizer to match, or encode again."
                )
        self._files = [str(shard["file"]) for shard in index["shards"]]
        counts = np.asarray([int(shard["windows"]) for shard in index["shards"]], dtype=np.int64)
        self._counts = counts
        held_out = round(use.held_out * len(counts))
        if use.held_out and len(counts) > 1:
            held_out = max(1, held_out)
        numbers = np.arange(len(counts))
        learned, shown = numbers[: len(counts) - held_out], numbers[len(counts) - held_out :]
        self._order = BlockOrder(learned, counts[learned], seed, source.keep)
        shown = shown if len(shown) else learned
        self._shown = BlockOrder(shown, counts[shown], 0, source.keep)
        self._shards: OrderedDict[int, Shard] = OrderedDict()
        self._keep = source.keep

    def batches(self, folder: Path) -> Callable[[int], EncodedBatch]:  # noqa: ARG002
        """Return the windows of each step."""
        size = self.use.batch_size

        def batch(step: int) -> EncodedBatch:
            places = [self._order(step * size + i) for i in range(size)]
            return EncodedBatch(
                frame=self._stacked("frame.values", places),
                video=self._stacked("video.values", places),
                video_valid=self._stacked("video.valid", places),
                action=self._stacked("action", places),
                action_valid=self._stacked("action_valid", places),
                state=self._stacked("state", places),
                instructions=[self._shard(p.episode).instructions[p.step] for p in places],
            )

        return batch

    def held_out(self, count: int) -> WindowBatch:
        """Return windows of the last shards, their pictures decoded from tokens."""
        places = [self._shown(i) for i in range(min(count, self._shown.size))]
        values = {name: self._stacked(f"{name}.values", places).float() for name in PARTS}
        future = self.tokenizer.decode(values["frame"], values["video"])
        return WindowBatch(
            frame=self.tokenizer.decode_frame(values["frame"]),
            future=future,
            future_valid=torch.ones(future.shape[:2], dtype=torch.bool),
            action=self._stacked("action", places),
            action_valid=self._stacked("action_valid", places),
            state=self._stacked("state", places),
            instructions=[self._shard(p.episode).instructions[p.step] for p in places],
        )

    def _stacked(self, name: str, places: Sequence[Place]) -> Tensor:
        return torch.stack([self._shard(p.episode).tensors[name][p.step] for p in places])

    def _shard(self, number: int) -> Shard:
        if number not in self._shards:
            path = self.root / self._files[number]
            self._shards[number] = read_shard(path, int(self._counts[number]))
        self._shards.move_to_end(number)
        while len(self._shards) > self._keep:
            self._shards.popitem(last=False)
        return self._shards[number]


def read_index(root: Path) -> dict[str, Any]:
    """Return what `tokens.json` says; raises `UserError`."""
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
