"""The YAML files that settings are composed from: groups, choices, comments."""

import contextlib
import functools
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from experiment.errors import UserError, nearest

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds the packages and `configs/`."""

CONFIGS = ROOT / "configs"

Assignment = tuple[str, str, bool]
"""Key, text of the value, and whether the key was added with `+`."""


@dataclass(frozen=True)
class Files:
    """Settings as the files say them, with the chosen groups.

    `choices` is by group (`data`, `adapter@data.adapter`); `comments` is by dotted key and by group
    (`data=`); `free` are the keys of free-form mappings.
    """

    config: DictConfig
    choices: Mapping[str, str]
    comments: Mapping[str, str]
    free: Set[str]


def load(name: str, assignments: Sequence[Assignment]) -> tuple[Files, list[Assignment]]:
    """Compose `configs/<name>.yaml` with the groups that are set; return the other assignments."""
    overrides: dict[str, str] = {}
    values: list[Assignment] = []
    waiting = list(assignments)
    while True:
        paths, choices = _defaults(name, _written(overrides))
        # A choice brings groups of its own: data=lerobot has an adapter.
        ready = [given for given in waiting if _group(given[0], choices) is not None]
        if not ready:
            break
        for given in ready:
            waiting.remove(given)
            group = str(_group(given[0], choices))
            overrides[group], more = _choice(group, given[1])
            values += more
    for given in waiting:
        _check_place(given[0], choices)
    config = _compose(name, _written(overrides))
    _check_experiment(name, overrides, config)
    comments: dict[str, str] = {}
    free: set[str] = set()
    for path, place in paths:
        text = (CONFIGS / f"{path}.yaml").read_text()
        root = yaml.compose(text, yaml.CSafeLoader)
        if isinstance(root, yaml.MappingNode):
            _read(root, f"{place}." if place else "", text.splitlines(), comments, free)
    return Files(config, choices, comments, free), [*values, *waiting]


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group.partition("@")[0]).glob("*.yaml"))


def _group(key: str, choices: Mapping[str, str]) -> str | None:
    """Return the group that `key` means: by its name, its place, or both."""
    if key in choices:
        return key
    named = [group for group in choices if group.partition("@")[0] == key]
    placed = [group for group in choices if group.partition("@")[2] == key]
    groups = named or placed
    return groups[0] if len(groups) == 1 else None


def _check_place(key: str, choices: Mapping[str, str]) -> None:
    name = key.partition("@")[0]
    groups = [group for group in choices if group.partition("@")[0] == name]
    if groups and (name != key or len(groups) > 1):
        raise UserError(f"unknown place '{key}'.{nearest(key, groups)}")


def _check_experiment(name: str, overrides: Mapping[str, str], config: DictConfig) -> None:
    """Raise `UserError` for an experiment that sets what this command does not have."""
    if "experiment" not in overrides:
        return
    unknown = sorted(str(key) for key in config.keys() - _compose(name, ()).keys())
    if unknown:
        raise UserError(
            f"experiment={overrides['experiment']} is one of another command: it sets "
            f"{unknown[0]}, which {name} does not have."
        )


def _choice(group: str, text: str) -> tuple[str, list[Assignment]]:
    known = options(group)
    if text in known:
        return text, []
    if "custom" in known and "." in text:
        return "custom", [(f"{group}._target_", text, False)]
    name = group.partition("@")[0]
    raise UserError(f"unknown {name} '{text}'.{nearest(text, known)}")


# Composing takes a second, and a process may compose the same files often.
@functools.cache
def _defaults(
    name: str, overrides: tuple[str, ...]
) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Return the files (path, place in the settings) in order, and the chosen options."""
    with _configs():
        loader = GlobalHydra.instance().config_loader()
        listed = loader.compute_defaults_list(name, list(overrides), RunMode.RUN)
    files = [
        (str(default.config_path), default.package or "")
        for default in listed.defaults
        if not str(default.config_path).startswith("hydra/")
    ]
    known = listed.overrides.known_choices
    choices = {group: str(c) for group, c in known.items() if not group.startswith("hydra/")}
    return files, choices


@functools.cache
def _compose(name: str, overrides: tuple[str, ...]) -> DictConfig:
    with _configs():
        return hydra.compose(name, list(overrides))


@contextlib.contextmanager
def _configs() -> Iterator[None]:
    try:
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            yield
    except (HydraException, OmegaConfBaseException) as error:
        raise _misfit(error) from error


def _written(overrides: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{group}={choice}" for group, choice in overrides.items())


def _misfit(error: Exception) -> UserError:
    missing = getattr(error, "missing_cfg_file", None)
    if isinstance(error, MissingConfigException) and missing:
        group, _, choice = str(missing).rpartition("/")
        return UserError(f"there is no {group} '{choice}'.{nearest(choice, options(group))}")
    return UserError(f"the settings do not fit together: {str(error).splitlines()[0]}")


def _read(
    node: yaml.MappingNode,
    prefix: str,
    lines: Sequence[str],
    comments: dict[str, str],
    free: set[str],
) -> None:
    """Collect the comments behind the keys of a mapping, and its free-form mappings."""
    for name, value in node.value:
        key = f"{prefix}{name.value}"
        # A later file replaces what an earlier one says of the same key.
        free.discard(key)
        if key == "defaults":
            groups = [entry.value[0] for entry in value.value if entry.value != "_self_"]
            comments |= {f"{group.value}=": _comment(choice, lines) for group, choice in groups}
            continue
        one_line = value.start_mark.line == name.start_mark.line == value.end_mark.line
        comment = _comment(value if one_line else name, lines)
        if comment or key not in comments:
            comments[key] = comment
        if isinstance(value, yaml.MappingNode) and value.flow_style:
            free.add(key)
        elif isinstance(value, yaml.MappingNode):
            _read(value, f"{key}.", lines, comments, free)


def _comment(node: yaml.Node, lines: Sequence[str]) -> str:
    rest = lines[node.end_mark.line][node.end_mark.column :]
    comment = re.match(r"\s*:?\s*#\s*(.*)", rest)
    return comment.group(1).strip() if comment else ""
