"""Checkpoints: a folder with `model.safetensors` (weights) and `config.json` (all else).

`config.json` has a section `model` from which the network is built, and sections of the caller:
tokenizer, windows, normalisation, training, versions.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from experiment.errors import UserError
from experiment.files import replace_folder, write_bytes
from worldmodel.model import WorldModel

WEIGHTS, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class Checkpoint:
    """A loaded world model and the sections of its `config.json`."""

    model: WorldModel
    sections: Mapping[str, Any]
    folder: Path


def save(folder: Path, model: WorldModel, sections: Mapping[str, Any]) -> None:
    """Write a checkpoint folder in one stroke, replacing an earlier one."""
    save_module(folder, model, {"model": model.description()} | dict(sections))


def load(folder: str | Path) -> Checkpoint:
    """Read a checkpoint folder; raises `UserError` naming the file that does not fit."""
    folder = Path(folder)
    sections = read_config(folder)
    try:
        model = WorldModel.from_description(sections["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder / CONFIG} does not describe a world model ({error!s}): "
            "give the folder that worldmodel.pretrain or policies.finetune wrote."
        ) from error
    load_module(folder, model)
    return Checkpoint(model.eval(), sections, folder)


def save_module(folder: Path, module: nn.Module, sections: Mapping[str, Any]) -> None:
    """Write the weights of any module and its `config.json`."""
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    write_tensors(new / WEIGHTS, module.state_dict(), {})
    write_bytes(new / CONFIG, json.dumps(sections, indent=2).encode() + b"\n")
    replace_folder(new, folder)


def load_module(folder: Path, module: nn.Module) -> None:
    """Fill `module` with the weights in `folder`; names and shapes must match."""
    path = folder / WEIGHTS
    tensors, _ = read_tensors(path)
    wanted = module.state_dict()
    for name, tensor in wanted.items():
        if name not in tensors:
            raise UserError(f"{path} has no weight {name!r}: it belongs to another model.")
        if tensors[name].shape != tensor.shape:
            raise UserError(
                f"{path}: weight {name!r} has shape {tuple(tensors[name].shape)} where the model "
                f"has {tuple(tensor.shape)}: the file belongs to a model of another size."
            )
    extra = sorted(tensors.keys() - wanted.keys())
    if extra:
        raise UserError(f"{path} has a weight {extra[0]!r} that the model has not.")
    module.load_state_dict(tensors)


def read_config(folder: Path) -> dict[str, Any]:
    """Read `config.json` of a checkpoint folder; raises `UserError` naming the file."""
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} is no checkpoint: it has no {CONFIG}.")
    try:
        sections = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): copy or train it again.") from error
    if not isinstance(sections, dict):
        raise UserError(f"{path} is damaged (no JSON object): copy or train it again.")
    return sections


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file in one stroke; `metadata` are texts in its header."""
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
        raise UserError(
            f"{path} is truncated or no safetensors file ({error}): copy or train it again."
        ) from error
