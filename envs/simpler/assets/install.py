"""Bring the official files into a folder: checked, whole or absent, and going on where it stopped.

A file gets its name only once its checksum is right, so whatever carries an official name was right
when it got it. Two installs into one folder take turns.
"""

import contextlib
import fcntl
import os
import shutil
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from envs.simpler.assets.manifest import (
    GROUPS,
    Entry,
    Manifest,
    check_file,
    checksum,
    default_root,
    missing,
)
from envs.simpler.assets.sources import AbsentError, BrokenError, Source
from experiment.errors import UserError
from experiment.files import disk_error

# What a reader of installed files asks for comes from here too.
__all__ = ["Installed", "check_file", "default_root", "install", "missing"]

# GitHub takes no larger file, so a body that goes on after this is not one of ours.
_LARGEST = 100 << 20
_LOCK = ".install.lock"
_PARTIAL = ".partial"


@dataclass(frozen=True)
class Installed:
    """What an install did. copied: files it brought, kept: files that were right already,
    missing: files that neither the source nor the folder has; copied_bytes: bytes it brought."""

    copied: tuple[Entry, ...]
    kept: tuple[Entry, ...]
    missing: tuple[Entry, ...]
    copied_bytes: int

    @property
    def complete(self) -> bool:
        """Whether everything that tasks cannot do without is there."""
        return not any(entry.essential for entry in self.missing)


def install(
    source: Source,
    root: Path,
    manifest: Manifest,
    groups: Sequence[str] = GROUPS,
    threads: int = 8,
    backoff: float = 1.0,
) -> Installed:
    """Bring every file of the groups that `root` lacks, or has with other content, from `source`.

    Files that the source lacks are skipped and named in the result. `backoff` is the pause (s)
    before a second attempt; it doubles with each further one.
    Raises: `UserError` when a file cannot be read, written or is not the pinned revision's; what
    came before stays, and the same call goes on from there.
    """
    wanted = manifest.of(tuple(groups))
    lacking = [entry for entry in wanted if not _right(root, entry)]
    if not lacking:
        return Installed((), tuple(wanted), (), 0)
    _require_other_folder(source, root)
    new = not root.exists()
    with _alone_in(root, wanted) as waited:
        if waited:
            lacking = [entry for entry in lacking if not _right(root, entry)]
        _require_space(root, sum(entry.size or 0 for entry in lacking))
        job = _Job(source, root, manifest.revision, backoff)
        copied = job.run(lacking, threads)
    absent = tuple(entry for entry in lacking if entry not in copied)
    if len(absent) == len(wanted):
        if new and not any(p.is_file() and p.name != _LOCK for p in root.rglob("*")):
            shutil.rmtree(root, ignore_errors=True)  # an empty folder looks like an install
        raise UserError(
            f"{source} has none of the official files; name a folder or address that has data/ "
            f"and LICENSE of {manifest.repository} beneath it."
        )
    brought = tuple(entry for entry in lacking if entry in copied)
    kept = tuple(entry for entry in wanted if entry not in lacking)
    # Wrong content that the source cannot replace is as good as missing.
    return Installed(brought, kept, absent, job.received)


def _right(root: Path, entry: Entry) -> bool:
    path = root / entry.path
    try:
        if not path.is_file() or entry.size not in (None, path.stat().st_size):
            return False
        return checksum(path) == entry.checksum
    except OSError as error:
        raise UserError(
            f"{path} could not be read ({error.strerror}); check the folder."
        ) from error


def _require_other_folder(source: Source, root: Path) -> None:
    folder = Path(str(source))
    if folder.is_dir() and root.is_dir() and folder.samefile(root):
        raise UserError(f"--from and --to both name {root}; it cannot repair itself.")


def _require_space(root: Path, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if free < needed:
        raise UserError(
            f"{root} has room for {free / 1e6:.0f} MB but {needed / 1e6:.0f} MB are to come; "
            "free some space or name another folder by --to."
        )


@contextlib.contextmanager
def _alone_in(root: Path, wanted: Sequence[Entry]) -> Iterator[bool]:
    """Hold the folder's lock, which ends with the process; says whether another held it first."""
    path = root / _LOCK
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise disk_error(error, path) from error
    with file:
        waited, held = False, True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another install is filling {root}; waiting for it", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
            waited = True
        except OSError:
            # A file system without locks: names are unique, so at worst files come twice.
            held = False
        if held:
            _remove_leftovers(root, wanted)
        yield waited


def _remove_leftovers(root: Path, wanted: Sequence[Entry]) -> None:
    """Remove what a killed install had begun."""
    for folder in {(root / entry.path).parent for entry in wanted}:
        for path in folder.glob(f".*{_PARTIAL}"):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise disk_error(error, path) from error


class _Job:
    """One run over the files that are lacking, some at a time."""

    def __init__(self, source: Source, root: Path, revision: str, backoff: float) -> None:
        self.source = source
        self.root = root
        self.revision = revision
        self.backoff = backoff
        self.received = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._bar: tqdm

    def run(self, lacking: list[Entry], threads: int) -> set[Entry]:
        """Files that came. The first error stops all threads and is raised."""
        came: set[Entry] = set()
        total = sum(entry.size or 0 for entry in lacking)
        # Off a terminal (disable=None) the report at the end is enough.
        style = {"unit": "B", "unit_scale": True, "desc": "official files", "disable": None}
        with tqdm(total=total, **style) as self._bar, ThreadPoolExecutor(threads) as pool:
            running = {pool.submit(self._bring, entry): entry for entry in lacking}
            try:
                for future in as_completed(running):
                    if future.result():
                        came.add(running[future])
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        return came

    def _bring(self, entry: Entry) -> bool:
        for attempt in range(self.source.attempts):
            try:
                self._once(entry)
                return True
            except AbsentError:
                return False
            except BrokenError as error:
                last = error
            if attempt + 1 < self.source.attempts and self._stop.wait(self.backoff * 2**attempt):
                break
        again = f" ({self.source.attempts} attempts)" if self.source.attempts > 1 else ""
        raise UserError(f"{last}{again}; {_mend(self.source)}") from last

    def _once(self, entry: Entry) -> None:
        path = self.root / entry.path
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_PARTIAL}")
        received = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                for piece in self.source.pieces(entry.path):
                    received += len(piece)
                    self._count(len(piece), entry)
                    if self._stop.is_set():
                        raise BrokenError(f"{entry.path} was given up")
                    if received > (_LARGEST if entry.size is None else entry.size):
                        break
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            self._check(entry, temporary, received)
            temporary.replace(path)
        except BaseException as error:
            self._count(-received, entry)
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise disk_error(error, path) from error
            raise

    def _check(self, entry: Entry, temporary: Path, received: int) -> None:
        if entry.size not in (None, received) or checksum(temporary) != entry.checksum:
            raise BrokenError(
                f"{entry.path} from {self.source} is not the file of revision "
                f"{self.revision[:7]} (its checksum or size differs)"
            )

    def _count(self, count: int, entry: Entry) -> None:
        with self._lock:
            self.received += count
            if entry.size is None and self._bar.total is not None:
                self._bar.total += count
            self._bar.update(count)


def _mend(source: Source) -> str:
    if source.attempts > 1:
        return "check the network and start the same command again, or name a folder by --from."
    return "take a clone or copy of the pinned revision."
