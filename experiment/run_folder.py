"""A run's folder: held by one process, of one set of settings, with a record of every start."""

import json
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiment.errors import UserError
from experiment.files import disk_error, write_bytes
from experiment.settings import flattened, shown
from experiment.settings_files import ROOT

LOCK, STARTS = ".lock", "run.json"

_PACKAGES = ("torch", "numpy", "safetensors", "hydra-core")


@dataclass
class _Hold:
    """A folder that this process holds. `own` are its files if this process made the folder."""

    folder: Path
    lock: FileLock
    own: set[str] | None


_held: dict[Path, _Hold] = {}


def open_run(
    kind: str,
    settings: DictConfig | Mapping[str, Any],
    ignored: Sequence[str] = ("out",),
    *,
    out: str | Path | None = None,
    results: Sequence[str] = ("state.safetensors",),
    file: str = "config.yaml",
    history: bool = True,
) -> Path:
    """Return the folder of a run: `out`, else `settings.out`, else a dated one under `runs/`.

    Holds the folder until `release` or the end of the process. Writes the settings to `file` and,
    with `history`, appends the start to `run.json`. A folder without `results` (patterns of files)
    yet is free for other settings. Raises `UserError` if another process holds the folder, if it is
    of something else, damaged, or of a run with other settings, `ignored` ones apart.
    """
    plain: Any = OmegaConf.to_container(settings) if OmegaConf.is_config(settings) else settings
    given = plain.get("out") if out is None else out
    dated = Path("runs") / f"{kind}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = dated if given is None else Path(str(given)).expanduser()
    path = folder / file
    if folder.exists() and not folder.is_dir():
        raise UserError(f"out={folder} is a file: give out= the name of a folder.")
    entries = {entry.name for entry in folder.iterdir()} - {LOCK} if folder.exists() else set()
    if entries and not path.is_file():
        raise UserError(
            f"out={folder} holds other things than a run of {kind} (it has no {file}): give "
            "another out=FOLDER."
        )
    hold = _hold(folder)
    if hold.own is not None:
        hold.own |= {LOCK, STARTS, file}
    text = _text(plain, file)
    if path.is_file() and any(p.stat().st_size for r in results for p in folder.glob(r)):
        _check_same(folder, _read(path), _parsed(text, file), ignored)
    else:
        write_bytes(path, text.encode())
    if history:
        _append_start(folder / STARTS, kind)
    return folder


def release() -> None:
    """Give back every folder that this process holds; one it made and left empty is deleted."""
    for hold in _held.values():
        folder = hold.folder
        if hold.own is not None and {path.name for path in folder.glob("*")} <= hold.own:
            shutil.rmtree(folder, ignore_errors=True)
        elif (folder / LOCK).exists():
            os.truncate(folder / LOCK, 0)
        hold.lock.release()
    _held.clear()


def resume_hint() -> str:
    """Return how to resume the run of this process, empty if it has none."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if not _held or spec is None:
        return ""
    folder = next(iter(_held.values())).folder
    arguments = [a for a in sys.argv[1:] if not a.startswith("out=")]
    command = ["python", "-m", spec.name, *arguments, f"out={folder}"]
    return f"to resume, run {shlex.join(command)}"


def versions() -> dict[str, str]:
    """Return the git revision and the versions of what a result depends on."""
    return {
        "python": platform.python_version(),
        "git": _revision(),
        **package_versions(_PACKAGES),
    }


def package_versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the installed version of each package, "not installed" where there is none."""
    installed = {}
    for package in packages:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def _revision() -> str:
    """Return the git revision, `+changes` where files differ from it, `unknown` without git."""
    if not (ROOT / ".git").exists():
        return "unknown"  # installed, perhaps inside the repository of something else

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _hold(folder: Path) -> _Hold:
    """Lock the folder for this process; raises `UserError` naming the process that holds it."""
    key = folder.resolve()
    if key in _held and folder.is_dir():
        return _held[key]
    own = None if folder.exists() else set[str]()
    path = folder / LOCK
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}",
            "command": shlex.join(sys.argv),
        }
        path.write_text(json.dumps(holder))
    except Timeout as error:
        raise UserError(
            f"out={folder} is in use by {_holder(path)}: wait until it has ended, or give another "
            "out=FOLDER."
        ) from error
    except OSError as error:
        raise disk_error(error, folder) from error
    _held[key] = _Hold(folder, lock, own)
    return _held[key]


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        return (
            f"process {holder['pid']} on {holder['host']} since {holder['since']} "
            f"({holder['command']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _text(settings: Any, file: str) -> str:
    if file.endswith(".json"):
        return json.dumps(settings, indent=2) + "\n"
    return OmegaConf.to_yaml(OmegaConf.create(settings))


def _parsed(text: str, file: str) -> Mapping[str, Any]:
    """Return settings as they are read back, where lists and tuples are the same."""
    if file.endswith(".json"):
        values = json.loads(text)
    else:
        values = OmegaConf.to_container(OmegaConf.create(text), resolve=True)
    if not isinstance(values, dict):
        raise ValueError("no settings")
    return values


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return _parsed(path.read_text(), path.name)
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is damaged ({reason}): give another out=FOLDER.") from error


def _check_same(
    folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], ignored: Sequence[str]
) -> None:
    old, new = flattened(before), flattened(now)
    for name in sorted((old.keys() | new.keys()) - set(ignored)):
        if old.get(name) != new.get(name):
            raise UserError(
                f"{folder} holds a run with {name}={shown(old.get(name))}, not "
                f"{shown(new.get(name))}: give another out=FOLDER, or the old setting to resume it."
            )


def _append_start(path: Path, kind: str) -> None:
    start = {"kind": kind, "command": sys.argv, "started": datetime.now(UTC).isoformat()}
    try:
        starts = json.loads(path.read_text()) if path.exists() else []
        starts = starts if isinstance(starts, list) else [starts]
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): delete it and start again.") from error
    starts.append(start | {"versions": versions()})
    write_bytes(path, json.dumps(starts, indent=2).encode() + b"\n")
