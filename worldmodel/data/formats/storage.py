"""Files of a data set, wherever they lie: a folder, gs://, s3://, hf://, https:// (by fsspec).

What a network does wrong is tried again a limited number of times and within a limited time, so
that a read ends with the bytes or with a sentence. With a cache folder a remote file is copied
there once, whole, and read from the copy; the copy is trusted from then on. Without one, parts of
remote files are fetched as they are asked for.
"""

import contextlib
import hashlib
import io
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar

import fsspec
from fsspec.core import url_to_fs

from experiment.errors import UserError
from experiment.files import disk_error
from worldmodel.data.retries import MissingFile, Retries

S = TypeVar("S")
T = TypeVar("T")

_PIECE_BYTES = 16 << 20  # of a download: one attempt moves this much
_READ_AHEAD_BYTES = 1 << 20
REQUESTS_AT_ONCE = 16


@dataclass(frozen=True)
class Storage:
    """The files below `address`.

    `cache` is a folder for whole copies of remote files; `options` go to fsspec, for example
    `{"token": "anon"}`.
    """

    address: str
    cache: Path | None = None
    retries: Retries = field(default_factory=Retries)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """Return whether the files lie in a folder of this machine."""
        return "://" not in self.address or self.address.startswith("file://")

    @property
    def digest(self) -> str:
        """Return letters that stand for the address in names of files."""
        return hashlib.sha256(self.address.rstrip("/").encode()).hexdigest()[:12]

    def where(self, name: str = "") -> str:
        """Return the full address of a file, for messages; `name` is relative to `address`."""
        path = PurePosixPath(name)
        # Names come out of the data set: none may lead out of it, nor out of the cache.
        if path.is_absolute() or ".." in path.parts:
            raise UserError(f"{self.address}: {name!r} is no name of a file inside the data set.")
        return f"{self.address.rstrip('/')}/{name}" if name else self.address

    def read(self, name: str) -> bytes:
        """Return a whole file. Raises `UserError` when it is missing or cannot be read."""
        if (path := self._near(name)) is not None:
            return self._on_disk(path, path.read_bytes)
        return self._fetch(name, lambda fs, path: fs.cat_file(path))

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start`; a shorter file is a `UserError`."""
        if (path := self._near(name)) is None:
            return b"".join(self._pieces(name, start, length))
        return self._on_disk(path, lambda: _read_part(path, start, length))

    def open(self, name: str, read_ahead: int = _READ_AHEAD_BYTES) -> BinaryIO:
        """Return a file to read and seek in, `read_ahead` bytes being fetched at a time.

        Reads of a remote one are tried again as all are.
        """
        if (path := self._near(name)) is not None:
            return self._on_disk(path, lambda: path.open("rb", buffering=read_ahead))
        return io.BufferedReader(_Remote(self, name, self.size(name)), read_ahead)

    def local(self, name: str) -> Path:
        """Return a path of this machine that holds the file.

        Raises `UserError` for a remote file where no cache folder is set.
        """
        path = self._near(name)
        if path is None:
            raise UserError(
                f"{self.where(name)} must be read from a disk: set a cache folder (data.cache)."
            )
        return path

    def exists(self, name: str) -> bool:
        """Return whether there is such a file; a network that fails is an error, not a no."""
        if self.is_local or self._copy(name).is_file():
            return self._path(name).is_file()
        try:
            return bool(self._info(name)["type"] == "file")
        except MissingFile:
            return False

    def size(self, name: str) -> int:
        """Return the bytes of a file."""
        path = self._path(name)
        if self.is_local or path.is_file():
            return self._on_disk(path, path.stat).st_size
        found = self._info(name)["size"]
        if found is None:
            raise UserError(
                f"{self.where(name)}: the server does not say how large the file is; copy the "
                "data set to a folder and read it there."
            )
        return int(found)

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Return the bytes of each of the files; one that is missing is a `UserError`."""
        wanted = list(names)
        found = in_parallel(self.size, wanted, 1 if self.is_local else REQUESTS_AT_ONCE)
        return dict(zip(wanted, found, strict=True))

    def find(self, folder: str = "") -> dict[str, int]:
        """Return names (relative to `address`) and bytes of all files below `folder`."""
        if self.is_local:
            root = self._path("")
            files = (p for p in self._path(folder).rglob("*") if p.is_file())
            return {p.relative_to(root).as_posix(): p.stat().st_size for p in sorted(files)}

        def listed(fs: fsspec.AbstractFileSystem, path: str) -> dict[str, int]:
            root = str(fs._strip_protocol(self.address)).rstrip("/") + "/"
            found = fs.find(path, detail=True)
            return {k.removeprefix(root): int(v["size"] or 0) for k, v in sorted(found.items())}

        return self._fetch(folder, listed)

    def _path(self, name: str) -> Path:
        """Return where a file lies on this machine: in the data set's folder or in the cache."""
        if not self.is_local:
            return self._copy(name)
        return Path(self.where(name).removeprefix("file://")).expanduser()

    def _copy(self, name: str) -> Path:
        self.where(name)
        return Path(self.cache or os.devnull) / self.digest / name

    def _near(self, name: str) -> Path | None:
        """Return a path on this machine, after a download where a cache is set, else None."""
        path = self._path(name)
        if self.is_local or path.is_file():
            return path
        if self.cache is None:
            return None
        self._download(name, path)
        return path

    def _download(self, name: str, target: Path) -> None:
        size = self.size(name)
        unique = f"{os.getpid()}.{threading.get_ident()}"
        partial = target.with_name(f".{target.name}.{unique}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(target.parent).free < size:
                raise UserError(
                    f"the disk of the cache {self.cache} has no room for {self.where(name)} "
                    f"({size / 1e6:.0f} MB): free some space or read without a cache."
                )
            with partial.open("wb") as file:
                for piece in self._pieces(name, 0, size):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except OSError as error:
            raise disk_error(error, target) from error
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    def _on_disk(self, path: Path, call: Callable[[], T]) -> T:
        try:
            return call()
        except FileNotFoundError as error:
            raise MissingFile(
                f"{path} is missing: the data set is incomplete, copy it again."
            ) from error
        except OSError as error:
            raise UserError(f"{path} could not be read ({error.strerror or error}).") from error

    def _info(self, name: str) -> dict[str, Any]:
        return self._fetch(name, lambda fs, path: dict(fs.info(path)))

    def _pieces(self, name: str, start: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of a range in pieces that one attempt has time for."""
        for first in range(start, start + length, _PIECE_BYTES):
            yield self._piece(name, first, min(_PIECE_BYTES, start + length - first))

    def _piece(self, name: str, start: int, length: int) -> bytes:
        def part(fs: fsspec.AbstractFileSystem, path: str) -> bytes:
            data = bytes(fs.cat_file(path, start=start, end=start + length))
            if len(data) > length:
                raise UserError(
                    f"{self.where(name)}: the server sends whole files where a part is asked for; "
                    "copy the data set to a folder and read it there."
                )
            if len(data) < length:
                raise EOFError(f"{len(data)} of {length} bytes from {start} came")
            return data

        return self._fetch(name, part)

    def _fetch(self, name: str, call: Callable[[fsspec.AbstractFileSystem, str], T]) -> T:
        """Return what `call` returns for the file system and path of `name`, with retries."""
        address = self.where(name)

        def attempt() -> T:
            fs, path = url_to_fs(address, **self.options)
            return call(fs, path)

        return self.retries(address, attempt)


class _Remote(io.RawIOBase):
    """A remote file as Python's streams want it."""

    def __init__(self, storage: Storage, name: str, size: int) -> None:
        self._storage, self._name, self._size, self._at = storage, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the file's beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self._size - self._at))
        buffer[:length] = self._storage.read_range(self._name, self._at, length)
        self._at += length
        return length


def in_parallel(call: Callable[[S], T], items: Iterable[S], workers: int) -> Iterator[T]:
    """Yield `call(item)` in order; an error ends it without beginning what is not begun yet."""
    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(call, items)
    finally:
        pool.shutdown(cancel_futures=True)


def _read_part(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(length)
    if len(data) < length:
        raise UserError(
            f"{path} ends at byte {start + len(data)}, before what is read at byte {start}: it is "
            "truncated or being written; copy it again."
        )
    return data
