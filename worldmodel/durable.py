"""Files and folders that are whole or absent: write to a temporary name, flush, rename."""

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

from worldmodel.errors import UserError


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one stroke; a kill leaves the old file or the new one.

    Raises `UserError` when the disk is full or the folder is not writable; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise disk_error(error, path) from error


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Add a line of JSON to a log; raises `UserError` when the disk is full."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise disk_error(error, path) from error


def replace_folder(new: Path, folder: Path) -> None:
    """Put the finished folder `new` in the place of `folder`."""
    old = folder.with_name(f".{folder.name}.old")
    try:
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise disk_error(error, folder) from error


def disk_error(error: OSError, path: Path) -> UserError:
    """Say in one sentence why `path` could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"the disk is full, {path} could not be written: free some space and start the same "
            "command again (what was finished before is kept)."
        )
    return UserError(f"{path} could not be written ({error.strerror or error}): check the folder.")
