"""Checkpoints: a folder with `model.safetensors` (weights) and `config.json` (all else).

`config.json` has a section `model` from which the network is built, `tokenizer` and `text`, each
named by its kind, and sections of the caller: windows, normalisation, training, versions. A folder
may come from elsewhere: sizes are believed only where the weights have them.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from experiment.errors import UserError
from experiment.files import replace_folder, write_bytes
from experiment.settings import ROOT
from worldmodel import text, tokenizer
from worldmodel.model import WorldModel

WEIGHTS, CONFIG = "model.safetensors", "config.json"

_FLOATS = ("F64", "F32", "F16", "BF16")
_LARGEST_CONFIG = 1 << 24
# No weight bounds these, and each costs memory or time; far beyond what anybody trains.
_LARGEST = {
    ("tokenizer", "height"): 4096,
    ("tokenizer", "width"): 4096,
    ("text", "words"): 4096,
    ("windows", "future"): 10_000,
    ("windows", "past"): 10_000,
    ("windows", "chunk"): 1000,
}

_HUB = "hf://"

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Checkpoint:
    """A loaded world model and the sections of its `config.json`."""

    model: WorldModel
    sections: Mapping[str, Any]
    folder: Path


def checkpoint_folder(name: str, setting: str = "checkpoint") -> Path:
    """Return the folder that `name` means: a checkpoint, a run that wrote one, or a shipped one.

    A relative path counts from the working directory first, then from this repository;
    `hf://USER/NAME@REVISION` is fetched from the hub. Raises `UserError`, which names `setting`,
    for what does not exist.
    """
    if name.startswith(_HUB):
        from worldmodel.hub import downloaded  # which reads checkpoints with this module

        hub_name, _, revision = name.removeprefix(_HUB).partition("@")
        return downloaded(hub_name, revision or None)
    given = Path(name).expanduser()
    for folder in (given, ROOT / given):
        if (folder / "checkpoint").is_dir():
            return (folder / "checkpoint").resolve()
        if folder.is_dir():
            return folder.resolve()
    raise UserError(
        f"{setting} {name} was not found: give {setting}= a folder that "
        "worldmodel.pretrain or policies.finetune wrote."
    )


def run_name(folder: Path) -> str:
    """Return what a person calls a checkpoint's folder: its run, or its own name."""
    return folder.parent.name if folder.name == "checkpoint" else folder.name


def save(folder: Path, model: WorldModel, sections: Mapping[str, Any]) -> None:
    """Write a checkpoint folder atomically, replacing an earlier one."""
    save_module(folder, model, {"model": model.description()} | dict(sections))


def load(folder: str | Path) -> Checkpoint:
    """Read a checkpoint folder; raises `UserError` naming the file that does not fit."""
    folder = Path(folder)
    sections = read_config(folder)
    section = sections.get("model")
    if not isinstance(section, dict):
        raise UserError(
            f"{folder / CONFIG} does not describe a world model (it has no section 'model'): "
            "give the folder that worldmodel.pretrain or policies.finetune wrote."
        )
    model = load_module(folder, section, lambda: WorldModel.from_description(section))
    return Checkpoint(model, sections, folder)


def restored_encoders(
    sections: Mapping[str, Any], folder: Path
) -> tuple[tokenizer.Tokenizer, text.TextEncoder]:
    """Return the tokenizer of pictures and the text encoder that a checkpoint names."""
    try:
        return tokenizer.restore(sections.get("tokenizer")), text.restore(sections.get("text"))
    except UserError as error:
        raise UserError(f"{folder / CONFIG}: {error}") from error


def save_module(folder: Path, module: nn.Module, sections: Mapping[str, Any]) -> None:
    save_tensors(folder, module.state_dict(), sections)


def save_tensors(folder: Path, weights: Mapping[str, Tensor], sections: Mapping[str, Any]) -> None:
    """Write a checkpoint folder atomically, replacing an earlier one."""
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    write_tensors(new / WEIGHTS, weights, {})
    write_bytes(new / CONFIG, json.dumps(sections, indent=2).encode() + b"\n")
    replace_folder(new, folder)


def load_module(folder: Path, section: Mapping[str, Any], build: Callable[[], M]) -> M:
    """Return what `build` makes of `section` with the weights in `folder`, ready for inference.

    Nothing of a size that the weights do not have is allocated. Raises `UserError`.
    """
    weights, config = folder / WEIGHTS, folder / CONFIG
    stored = _shapes(weights)
    _check_sizes(section, stored, config)
    try:
        with torch.device("meta"):
            outline = build()
    except UserError as error:
        raise UserError(f"{config}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{config} does not describe the model in {weights} ({str(error).splitlines()[0]})."
        ) from error
    expected = outline.state_dict()
    for name, tensor in expected.items():
        if name not in stored:
            raise UserError(f"{weights} has no weight {name!r}: it belongs to another model.")
        if stored[name] != tuple(tensor.shape):
            raise UserError(
                f"{weights}: weight {name!r} has shape {stored[name]} where the model has "
                f"{tuple(tensor.shape)}: the file belongs to a model of another size."
            )
    extra = sorted(stored.keys() - expected.keys())
    if extra:
        raise UserError(f"{weights} has a weight {extra[0]!r} that the model does not have.")
    module = build()
    module.load_state_dict(read_tensors(weights)[0])
    return module.eval()


def weights_digest(folder: Path) -> str:
    """Return a short digest of a checkpoint's weights; raises `UserError` if it has none."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise UserError(f"{folder} is not a checkpoint: it has no {WEIGHTS}.")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def read_config(folder: Path) -> dict[str, Any]:
    """Read `config.json` of a checkpoint folder; raises `UserError` naming the file."""
    path = folder / CONFIG
    if not path.is_file():
        inside = folder / "checkpoint"
        hint = f" Did you mean {inside}?" if (inside / CONFIG).is_file() else ""
        raise UserError(f"{folder} is not a checkpoint: it has no {CONFIG}.{hint}")
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise ValueError("it is far too large")
        sections = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): copy or train it again.") from error
    if not isinstance(sections, dict):
        raise UserError(f"{path} is damaged (not a JSON object): copy or train it again.")
    for (name, key), limit in _LARGEST.items():
        section = sections.get(name)
        value = section.get(key) if isinstance(section, dict) else None
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not number <= limit:
                raise UserError(f"{path}: {name}.{key}={number} is more than {limit:,}.")
    return sections


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the header of a safetensors file alone; weights must be floating-point."""
    if not path.is_file():
        raise UserError(f"{path} is missing.")
    shapes = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                weight = file.get_slice(name)
                if weight.get_dtype() not in _FLOATS:
                    raise UserError(
                        f"{path}: weight {name!r} has type {weight.get_dtype()} where the model "
                        "has floating-point numbers."
                    )
                shapes[name] = tuple(weight.get_shape())
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    return shapes


def _check_sizes(
    section: Mapping[str, Any], stored: Mapping[str, tuple[int, ...]], path: Path
) -> None:
    """Refuse sizes beyond the number of stored weights, before anything is built from them."""
    elements = sum(torch.Size(shape).numel() for shape in stored.values())
    for name, value in _numbers(section, "model"):
        limit = len(stored) if name == "model.depth" else elements
        if not abs(value) <= limit:
            raise UserError(f"{path}: {name}={value} is more than the weights beside it hold.")


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, f"{name}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, name)
    elif isinstance(value, int | float):
        yield name, value


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically; `metadata` are texts in its header."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, to_safetensors(plain, metadata=dict(metadata)))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file; raises `UserError` if it is missing, truncated or another format."""
    if not path.is_file():
        raise UserError(f"{path} is missing.")
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} is truncated or not a safetensors file ({error}): copy or train it again."
    )
