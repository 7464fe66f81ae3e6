"""Files and folders that are whole or absent (temporary name, flush, rename); logs; locks."""

import contextlib
import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from experiment.errors import UserError


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically; a kill leaves the old file or the new one.

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


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Append `record` to a log as one line of JSON; raises `UserError` as `append_line` does."""
    append_line(path, json.dumps(record))


def append_line(path: Path, line: str) -> None:
    """Append one line to a log such as `episodes.jsonl`; a line that does not fit is taken back.

    A last line that a kill cut short is dropped first, so that the file stays readable.
    Raises `UserError` when the disk is full, the folder is gone or it is not writable.
    """
    if "\n" in line:
        raise ValueError("a log line must not contain a line break")
    try:
        drop_torn_line(path)
        whole = path.stat().st_size if path.exists() else 0
        try:
            with path.open("ab") as file:
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            if path.exists():
                os.truncate(path, whole)
            raise
    except OSError as error:
        raise disk_error(error, path) from error


def drop_torn_line(path: Path) -> None:
    """Cut a last line without its line break, which only a kill or a full disk leaves behind."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() == b"\n":
            return
    os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log, none without a file; a torn last line is left out.

    Raises `UserError` naming a line that is not a record.
    """
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("not a JSON object")
        except ValueError as error:
            raise UserError(f"{path}, line {number} is damaged ({error}): remove it.") from error
        records.append(record)
    return records


@contextlib.contextmanager
def alone(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock file `path`, which ends with the process; say `waiting` where another has it.

    Raises `UserError` when the file cannot be made.
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            print(waiting, file=sys.stderr)
            lock.acquire()
    except OSError as error:
        raise disk_error(error, path) from error
    try:
        yield
    finally:
        lock.release()


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
    reason = error.strerror or str(error)
    return UserError(f"{path} could not be written ({reason}): check that its folder is there.")
