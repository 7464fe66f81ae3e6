"""Settings of an entry point: a YAML file under `configs/` and what the command line changes."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from envs.errors import UserError, nearest

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def load(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Return `configs/{name}.yaml` with `arguments` such as `episodes=20` applied, as plain data.

    `--help` prints the file, which explains each setting, and ends the program.
    Raises `UserError` for a setting that does not exist (with the nearest names) or a bad value.
    """
    file = CONFIGS / f"{name}.yaml"
    if {"-h", "--help"} & set(arguments):
        print(f"Settings, given as name=value ({file.name}):\n\n{file.read_text()}")
        sys.exit(0)
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            _check_names(arguments, OmegaConf.to_container(compose(name)))
            settings = compose(name, overrides=list(arguments))
            plain = OmegaConf.to_container(settings, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"settings of {name}: {reason}.") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _check_names(arguments: Sequence[str], known: Any) -> None:
    """Refuse names that are not in the file; Hydra's own message knows no nearest names.

    What lies inside a setting with a `_target_` is the business of that target, and `+name=value`
    adds to it.
    """
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        if override.is_add() or override.is_delete():
            continue
        names, level = override.key_or_group.replace("@", "/").replace("/", ".").split("."), known
        for name in names:
            if not isinstance(level, Mapping):
                break
            if name not in level:
                raise UserError(
                    f"unknown setting '{override.key_or_group}'.{nearest(name, map(str, level))}"
                )
            level = level[name]
