"""Settings: YAML under `configs/` and `key=value` arguments, composed with Hydra, then built.

A mapping that its YAML writes in braces (`dropout: {}`) is free-form: it takes any names.
"""

import dataclasses
import importlib
import inspect
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast, overload

import yaml
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiment.errors import UserError, nearest
from experiment.settings_files import CONFIGS, ROOT, Files, load

__all__ = [
    "CONFIGS", "ROOT", "Description", "build", "compose", "flattened", "locate", "plain", "typed",
]  # fmt: skip

Description = Mapping[str, Any]
"""`{"_target_": "module.Name", **arguments}`: plain data from which any process can build."""

T = TypeVar("T")

_NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?(0|[1-9][\d_]*)")
_WORDS = {"null": None, "none": None, "true": True, "false": False}
_LARGEST = 4096  # pixels: far beyond what a policy looks at, within what a machine can draw
_ABSENT = object()
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def compose(name: str, arguments: Sequence[str] = ()) -> DictConfig:
    """Return `configs/<name>.yaml` with the groups and values that `arguments` (`key=value`) set.

    A group is set by its name or its place (`adapter=bridge`, `adapter@data.adapter=bridge` and
    `data.adapter=bridge` mean the same); `policy=module.Class` takes a class of the user's.
    Everything in the result is resolved. Raises `UserError` for an unknown key or choice, with the
    nearest that exist, for a value of another kind and for a mandatory value that is missing.
    """
    config, files = draft(name, arguments)
    unresolved = flattened(cast(dict[str, Any], OmegaConf.to_container(config)))
    for key in (key for key, value in unresolved.items() if value == "???"):
        comment = files.comments.get(key, "")
        meaning = f" ({comment})" if comment else ""
        raise UserError(f"{key} is not set{meaning}: give {key}=VALUE.")
    try:
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        raise UserError(f"the settings do not fit together: {_one_line(error)}") from error
    for argument in arguments:
        _check_kind(argument.partition("=")[0].lstrip("+"), files.config, config)
    seed = config.get("seed")
    if isinstance(seed, int) and seed < 0:
        raise UserError(f"seed={seed} must be a whole number of at least 0.")
    size = config.get("resolution")
    if size is not None and (len(size) != 2 or not all(0 < pixels <= _LARGEST for pixels in size)):
        raise UserError(
            f"resolution={shown(size)} must be [width, height], each from 1 to {_LARGEST}."
        )
    OmegaConf.set_struct(config, True)
    return config


def draft(name: str, arguments: Sequence[str]) -> tuple[DictConfig, Files]:
    """Return the settings with their interpolations, values may be missing; and their files."""
    files, values = load(name, [_split(argument) for argument in arguments])
    config = files.config.copy()
    OmegaConf.set_struct(config, False)
    given = {key.removesuffix("._target_") for key, *_ in values if key.endswith("._target_")}
    for key, text, added in values:
        _check_key(key, added, config, files, given)
        default = _select(files.config, key)
        as_it_stands = isinstance(default, str) and text[:1] not in ('"', "'") and text != "null"
        value = text if as_it_stands else _value(key, text)
        try:
            OmegaConf.update(config, key, value, merge=False, force_add=True)
        except OmegaConfBaseException as error:
            raise UserError(f"{key}={text} cannot be set: {_one_line(error)}") from error
    return config, files


@overload
def build(description: Description) -> Any: ...
@overload
def build(description: Description, kind: type[T]) -> T: ...
def build(description: Description, kind: type[Any] = object) -> Any:
    """Return what `description` names (`_target_` and arguments), checked to be of type `kind`.

    Raises `UserError` when the target cannot be imported, does not take the arguments, or is a
    dataclass of settings that rejects them; what any other constructor raises is passed on.
    """
    target = description.get("_target_")
    if not isinstance(target, str):
        raise UserError(f"{shown(description)} names no '_target_' to build, such as module.Name.")
    maker = locate(target)
    arguments = {key: value for key, value in description.items() if not key.startswith("_")}
    try:
        inspect.signature(maker).bind(**arguments)
    except TypeError as error:
        raise UserError(f"'{target}' does not take these settings: {error}.") from error
    node = description if isinstance(description, DictConfig) else dict(description)
    try:
        built = instantiate(node, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError) or not dataclasses.is_dataclass(maker):
            raise cause from None
        reason = _one_line(cause)
        raise UserError(
            f"the settings of {target.rpartition('.')[2]} do not fit: {reason}."
        ) from error
    if not isinstance(built, kind):
        raise UserError(f"'{target}' is not a {kind.__name__}: set its _target_ to one.")
    return built


def locate(target: str) -> Any:
    """Import what `module.Name` says; raises `UserError` with the nearest names otherwise."""
    module, _, name = target.rpartition(".")
    try:
        imported = importlib.import_module(module)
    except (ImportError, ValueError) as error:
        raise UserError(f"'{target}' could not be imported: {error}.") from error
    if not hasattr(imported, name):
        public = [known for known in vars(imported) if not known.startswith("_")]
        raise UserError(f"'{module}' has no '{name}'.{nearest(name, public)}")
    return getattr(imported, name)


def typed(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return the dataclass `kind` filled from `values`, each checked against its annotation.

    Raises `UserError` naming the first key that is unknown, missing or of another type.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(kind), values)
        return cast(T, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        key = f"{error.full_key}: " if getattr(error, "full_key", None) else ""
        raise UserError(f"setting {key}{str(error).splitlines()[0]}") from error


def plain(config: DictConfig) -> dict[str, Any]:
    """Return settings as plain, resolved data."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True, throw_on_missing=True))


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested plain data with dotted keys: `{"task.name": ...}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def shown(value: Any) -> str:
    """Return a value as one writes it on the command line."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value)
    if isinstance(value, str):
        return value
    text: str = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _split(argument: str) -> tuple[str, str, bool]:
    """Return key, text of the value, and whether the key was added with `+`."""
    key, equals, text = argument.partition("=")
    if key.startswith("~"):
        key = key.lstrip("~")
        raise UserError(f"{argument!r}: a setting cannot be removed, give {key}=VALUE instead.")
    name = key.lstrip("+")
    if not equals or not re.fullmatch(r"\w[\w.@/-]*", name):
        raise UserError(f"{argument!r} is not a setting: write key=value, see --help.")
    return name, text, name != key


def _value(key: str, text: str) -> Any:
    """Return what `text` means: a word of YAML, a number, a list, a mapping, or itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    if text[:1] not in ("[", "{", '"', "'"):
        return text
    if text[0] == "{":  # Hydra takes {name:value}, where YAML wants a space
        text = re.sub(r"([{,]\s*\w+):(?=\S)", r"\1: ", text)
    try:
        # OmegaConf's YAML reads 1e-3 as a number, as Hydra's does.
        return OmegaConf.to_container(OmegaConf.create(f"value: {text}"))["value"]  # type: ignore
    except (yaml.YAMLError, OmegaConfBaseException, KeyError) as error:
        raise UserError(
            f"{key}={text}: the value could not be read, write [a, b] or {{name: value}}."
        ) from error


def _check_key(key: str, added: bool, config: DictConfig, files: Files, given: set[str]) -> None:
    """Raise `UserError` for a key that is not there and may not be added.

    Names may be added to a free-form mapping and to a class of the user's, and with `+` to
    anything that is built, whose constructor then knows its arguments.
    """
    raw = OmegaConf.to_container(config)
    parent = key.rpartition(".")[0]
    above = _at(raw, parent, {})
    built = isinstance(above, dict) and "_target_" in above
    if parent in files.free or parent in given or key in given or (added and built):
        return
    if _at(raw, key, _ABSENT) is not _ABSENT:
        return
    while parent:
        followed = _at(raw, parent, None)
        if isinstance(followed, str) and followed.startswith("${"):
            source = f"{followed[2:-1]}{key.removeprefix(parent)}"
            raise UserError(f"{key} follows {followed}: set {source} instead.")
        if followed is None and _at(raw, parent, _ABSENT) is None:
            raise UserError(f"{key}: {parent} is null, so it has no settings; choose one first.")
        parent = parent.rpartition(".")[0]
    known = set(_keys(raw))
    close = nearest(key, known, listed=False)
    # `trainer.stesp` and `steps` should both lead to `trainer.steps`.
    same = [name for name in known if name.split(".")[-1] == key.split(".")[-1]]
    same.sort(key=lambda name: (name.count("."), name))
    if same and f"'{same[0]}'" not in close:
        close = f" Did you mean {' or '.join(repr(name) for name in same[:3])}?"
    parent = key.rpartition(".")[0]
    while parent and parent not in known:
        parent = parent.rpartition(".")[0]
    beside = sorted(name for name in known if name.rpartition(".")[0] == parent)
    raise UserError(f"unknown setting '{key}'.{close} Known: {', '.join(beside)}.")


def _check_kind(key: str, before: DictConfig, after: DictConfig) -> None:
    """Raise `UserError` if a number, flag, text, list or mapping became something else."""
    default, value = _select(before, key), _select(after, key)
    if isinstance(default, DictConfig) and default and not isinstance(value, DictConfig):
        entry = next(str(name) for name in default if name != "_target_")
        raise UserError(f"{key}={shown(value)}: set an entry of {key}, such as {key}.{entry}.")
    if isinstance(default, DictConfig) and not isinstance(value, DictConfig):
        raise UserError(f"{key}={shown(value)} must be a mapping, such as {{name: value}}.")
    if isinstance(default, ListConfig) and isinstance(value, ListConfig) and default:
        for item in value:
            _check_scalar(f"{key}={shown(value)}: {shown(item)}", default[0], item)
    elif isinstance(default, ListConfig) and value is not None:
        if not isinstance(value, ListConfig):
            such = shown(default) if default else "[a,b]"
            raise UserError(f"{key}={shown(value)} must be a list, such as {such}.")
    else:
        _check_scalar(f"{key}={shown(value)}", default, value)


def _check_scalar(label: str, default: Any, value: Any) -> None:
    for kind, words in _KINDS.items():
        if type(default) is not kind:
            continue
        fits = type(value) is kind or (kind is float and type(value) is int)
        if not fits or (kind is float and math.isnan(value)):
            raise UserError(f"{label} must be {words}, such as {shown(default)}.")


def _select(config: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(config, key)
    except OmegaConfBaseException:
        return None


def _at(raw: Any, key: str, default: Any) -> Any:
    """Return what plain data has at a dotted key, where lists count from 0."""
    for name in key.split("."):
        if isinstance(raw, list) and name.isdigit() and int(name) < len(raw):
            raw = raw[int(name)]
        elif isinstance(raw, dict) and name in raw:
            raw = raw[name]
        else:
            return default
    return raw


def _keys(raw: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(raw, dict):
        for key in raw.keys() - {"_target_"}:
            yield f"{prefix}{key}"
            yield from _keys(raw[key], f"{prefix}{key}.")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split("full_key:")[0].split())
