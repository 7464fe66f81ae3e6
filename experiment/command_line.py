"""Compose an entry point's configuration from `configs/` and the command line.

Hydra's compose API rather than its decorator: it leaves the working directory and the logging
alone, and an unknown key or group option becomes one sentence instead of a page.
"""

import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiment.errors import UserError, nearest

ROOT = Path(__file__).resolve().parents[1]
"""The repository: `configs/` and the shipped checkpoints lie here."""

_CONFIGS = ROOT / "configs"
_VERSION = "1.3"

S = TypeVar("S")


def from_command_line(name: str, usage: str) -> DictConfig:
    """Compose `configs/<name>.yaml` with the arguments of this process; `--help` prints `usage`."""
    arguments = sys.argv[1:]
    if any(argument in ("-h", "--help") for argument in arguments):
        print(f"{inspect.cleandoc(usage)}\n\nSettings and their defaults (key=value):\n")
        print(OmegaConf.to_yaml(composed(name, []), resolve=False))
        sys.exit(0)
    return composed(name, arguments)


def composed(name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose `configs/<name>.yaml` with `overrides` such as `seed=3` or `task=open_and_place`.

    An import path as policy, `policy=my_robot.MyPolicy`, is read as `policy=custom` with that
    target. Raises `UserError` for what is no `key=value`, an unknown key or an unknown option of
    a group, with the nearest names.
    """
    parsed = [_parse(argument) for argument in _expand_import_paths(overrides)]
    groups = [override for override in parsed if _is_group(override.key_or_group)]
    for override in groups:
        _check_option(override)
    with initialize_config_dir(str(_CONFIGS), version_base=_VERSION):
        try:
            base = compose(name, [str(override.input_line) for override in groups])
            for override in parsed:
                if override not in groups and not override.is_add():
                    _check_key(override.key_or_group, base)
            return compose(name, [str(override.input_line) for override in parsed])
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(f"the settings do not fit together: {_one_line(error)}") from error


def typed(kind: type[S], values: DictConfig | Mapping[str, Any]) -> S:
    """Return the dataclass `kind` filled from `values`, each checked against its annotation.

    Raises `UserError` naming the first key that is unknown, missing or of another type.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(kind), values)
        return cast(S, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        key = f"{error.full_key}: " if getattr(error, "full_key", None) else ""
        raise UserError(f"setting {key}{str(error).splitlines()[0]}") from error


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain, resolved data.

    Raises `UserError` for an interpolation that leads nowhere and for a mandatory `???` value.
    """
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(f"the settings are incomplete: {_one_line(error)}") from error
    return cast(dict[str, Any], values)


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested plain data with dotted keys: `{"task.name": ...}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _expand_import_paths(overrides: Sequence[str]) -> list[str]:
    expanded = []
    for argument in overrides:
        key, _, value = argument.partition("=")
        if key == "policy" and "." in value:
            expanded += ["policy=custom", f"policy._target_={value}"]
        else:
            expanded.append(argument)
    return expanded


def _parse(argument: str) -> Override:
    if argument.startswith("-"):
        raise UserError(f"'{argument}' is not a setting: write key=value, or --help for the keys.")
    try:
        return cast(Override, OverridesParser.create().parse_override(argument))
    except HydraException as error:
        raise UserError(
            f"'{argument}' is not a setting of the form key=value ({_one_line(error)})."
        ) from error


def _is_group(key: str) -> bool:
    return "." not in key and (_CONFIGS / key).is_dir()


def _check_option(override: Override) -> None:
    group = override.key_or_group
    known = [path.stem for path in (_CONFIGS / group).glob("*.yaml")]
    chosen = str(override.value())
    if chosen not in known:
        raise UserError(f"unknown {group} '{chosen}'.{nearest(chosen, known)}")


def _check_key(key: str, config: DictConfig) -> None:
    known = flattened(cast(dict[str, Any], OmegaConf.to_container(config)))
    inner = {".".join(k.split(".")[:n]) for k in known for n in range(1, k.count(".") + 1)}
    if key in {*known, *inner}:
        return
    # Name only what stands beside the key, or the list would be a page.
    parent = key.rpartition(".")[0]
    while parent and parent not in inner:
        parent = parent.rpartition(".")[0]
    depth = parent.count(".") + 2 if parent else 1
    beside = {".".join(k.split(".")[:depth]) for k in known if k.startswith(parent)}
    raise UserError(f"unknown setting '{key}'.{nearest(key, beside)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split("\nSee https")[0].split())
