"""A run's folder, which explains itself: resolved configuration, revision, versions, command."""

import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from experiment.errors import UserError
from experiment.files import write_bytes

_PACKAGES = ("torch", "numpy", "safetensors", "hydra-core")


def open_run(kind: str, config: DictConfig, ignored: Sequence[str] = ("out",)) -> Path:
    """Return the folder of a run, `config.out` or a dated one under `runs/`.

    Writes `config.yaml` and appends the start to `run.json`. Raises `UserError` if the folder
    holds a run with other settings, `ignored` ones apart.
    """
    out = config.get("out")
    folder = Path(out) if out else Path("runs") / f"{kind}-{datetime.now():%Y%m%d-%H%M%S}"
    path = folder / "config.yaml"
    settings = _flat(config, ignored)
    if path.exists():
        before = _flat(OmegaConf.load(path), ignored)
        for name in sorted(before.keys() | settings.keys()):
            if before.get(name) != settings.get(name):
                raise UserError(
                    f"{folder} is another run: there {name}={before.get(name)}, here "
                    f"{name}={settings.get(name)}; give another out=FOLDER or the same settings."
                )
    elif folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} exists and is no run of this kind: give another out=FOLDER.")
    else:
        write_bytes(path, OmegaConf.to_yaml(config).encode())
    starts = json.loads((folder / "run.json").read_text()) if (folder / "run.json").exists() else []
    start = {"kind": kind, "command": sys.argv, "started": datetime.now(UTC).isoformat()}
    starts.append(start | {"versions": versions()})
    write_bytes(folder / "run.json", json.dumps(starts, indent=2).encode() + b"\n")
    return folder


def versions() -> dict[str, str]:
    """Return the git revision and the versions of what a result depends on."""
    return {
        "python": platform.python_version(),
        "git": _revision(),
        **package_versions(_PACKAGES),
    }


def package_versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the installed version of each package, "not installed" where there is none."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _revision() -> str:
    """Return the git revision, `+changes` where files differ from it, `unknown` without git."""
    root = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _flat(config: Any, ignored: Sequence[str]) -> dict[str, Any]:
    def walk(node: Any, prefix: str) -> dict[str, Any]:
        if not isinstance(node, dict):
            return {prefix: node}
        flat: dict[str, Any] = {}
        for key, value in node.items():
            flat |= walk(value, f"{prefix}.{key}" if prefix else str(key))
        return flat

    flat = walk(OmegaConf.to_container(config, resolve=True), "")
    return {name: value for name, value in flat.items() if name not in ignored}
