"""Configurations: Hydra YAML under `configs/` and `key=value` arguments -> typed settings."""

import difflib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import hydra
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiment.errors import UserError, nearest

CONFIGS = Path(__file__).resolve().parents[1] / "configs"

T = TypeVar("T")


def compose(name: str, arguments: Sequence[str]) -> DictConfig:
    """Return `configs/<name>.yaml` with the groups and values that `arguments` (`key=value`) name.

    Raises `UserError` for an unknown key or choice, with the nearest that exist. `--help` prints
    the configuration and exits.
    """
    choices, values = _sort([a for a in arguments if a not in ("-h", "--help")])
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        chosen = _compose(name, choices)
        known = set(_keys(chosen))
        for value in values:
            key = value.partition("=")[0]
            if key not in known:
                raise UserError(f"unknown setting {key!r}.{_hint(key, known)}")
        config = _compose(name, [*choices, *values])
        for value in values:
            _check_kind(value.partition("=")[0], chosen, config)
    if len(values) + len(choices) < len(arguments):
        print(OmegaConf.to_yaml(config))
        print("Set any of these as key=value; a group as group=choice:")
        print("\n".join(f"  {group}={'|'.join(_options(group))}" for group in _groups(config)))
        sys.exit(0)
    return config


def build(node: DictConfig, kind: type[T]) -> T:
    """Return what `node` describes (`_target_` and arguments), of type `kind`.

    Raises `UserError` when a value does not fit.
    """
    try:
        built = instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"the settings of {kind.__name__} do not fit: {reason}.") from error
    if not isinstance(built, kind):
        raise UserError(f"{node.get('_target_')} is no {kind.__name__}: set its _target_ to one.")
    return cast(T, built)


def _compose(name: str, overrides: Sequence[str]) -> DictConfig:
    try:
        config = hydra.compose(name, list(overrides))
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(str(error).splitlines()[0]) from error
    return config


def _check_kind(key: str, before: DictConfig, after: DictConfig) -> None:
    """Raise `UserError` if a number, flag or text was set to something of another kind."""
    default, value = OmegaConf.select(before, key), OmegaConf.select(after, key)
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    for kind, words in kinds.items():
        fits = type(value) is kind or (kind is float and type(value) is int)
        if type(default) is kind and not fits:
            raise UserError(f"{key}={value!r} must be {words}, such as {default!r}.")
    if isinstance(default, DictConfig) and not isinstance(value, DictConfig):
        part = str(next(iter(default)))
        raise UserError(f"{key}={value!r}: {key} has parts, set one of them, such as {key}.{part}.")


def _sort(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell choices of a group from values; check that the choices exist."""
    choices, values = [], []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise UserError(f"{argument!r} is no setting: write key=value (see --help).")
        group = key.partition("@")[0]  # adapter@data.adapter: a group at a place of the settings
        if group and (CONFIGS / group).is_dir():
            if value not in _options(group):
                raise UserError(f"unknown {group} {value!r}.{nearest(value, _options(group))}")
            choices.append(argument)
        else:
            values.append(argument)
    return choices, values


def _options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def _groups(config: DictConfig) -> list[str]:
    return [str(key) for key in config if (CONFIGS / str(key)).is_dir()]


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, DictConfig):
        for key in node:
            name = prefix + str(key)
            yield name
            # A missing value (???) has no children to look at.
            if not OmegaConf.is_missing(node, key):
                yield from _keys(node[key], f"{name}.")


def _hint(key: str, known: set[str]) -> str:
    close = difflib.get_close_matches(key, known, n=2, cutoff=0.5)
    # `trainer.stesp` and `steps` should both find `trainer.steps`.
    close += [k for k in sorted(known) if k.split(".")[-1] == key.split(".")[-1] and k not in close]
    found = " or ".join(repr(name) for name in close[:3])
    return f" Did you mean {found}?" if found else " See --help for the known ones."
