"""Files of a data set in a folder, gs://, s3://, hf:// or https://, through fsspec.

Requests that fail for a passing reason are repeated. With a cache folder, a remote file is copied
there once, whole, and read from the copy, which is trusted from then on; without one, parts of
remote files are fetched as they are needed.
"""

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar, cast

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractBufferedFile
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from experiment.errors import UserError
from experiment.files import disk_error

S = TypeVar("S")
T = TypeVar("T")

REQUESTS_AT_ONCE = 16
# Exceptions of these libraries are about the network, whatever their class.
_CLIENTS = (
    *("aiobotocore", "aiohttp", "botocore", "gcsfs", "httpcore", "httpcore2", "httpx", "httpx2"),
    *("huggingface_hub", "requests", "urllib3"),
)
_PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_PERMANENT_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_TRANSIENT_STATUS = (408, 425, 429)


class MissingFile(UserError):  # noqa: N818 - the file is missing, not the error
    """There is no such file."""


@dataclass(frozen=True)
class Storage:
    """The files below `address`.

    `cache` is a folder for whole copies of remote files. `options` go to fsspec, for example
    `{"token": "anon"}`. A request is tried `attempts` times, after `wait_s` and then doubled waits;
    https servers that send nothing for `timeout_s` have failed (the other clients have their own
    limits).
    """

    address: str
    cache: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 6
    wait_s: float = 0.5
    timeout_s: float = 60.0

    @property
    def is_local(self) -> bool:
        """Return whether the files lie in a folder of this machine."""
        return "://" not in self.address or self.address.startswith("file://")

    @property
    def digest(self) -> str:
        """Return a short hash of the address, for names of files."""
        return hashlib.sha256(self.address.rstrip("/").encode()).hexdigest()[:12]

    def where(self, name: str = "") -> str:
        """Return the full address of a file; `name` is relative to `address`.

        Raises `UserError` for a name that leads out of the data set.
        """
        path = PurePosixPath(name)
        # A data set gives names of its files, and must not reach others (or leave the cache).
        if path.is_absolute() or ".." in path.parts or "\0" in name:
            raise UserError(f"{self.address}: {name!r} is not a file inside the data set.")
        return f"{self.address.rstrip('/')}/{name}" if name else self.address

    def path(self, name: str, download: bool = True) -> Path | None:
        """Return where the file, or its copy in the cache, lies on this machine, else None.

        Without `download` a copy must be there already.
        """
        address = self.where(name)
        if self.is_local:
            return Path(address.removeprefix("file://")).expanduser()
        copy = None if self.cache is None else self.cache / self.digest / name
        if copy is None or copy.is_file():
            return copy
        return self._download(name, copy) if download else None

    def read(self, name: str) -> bytes:
        """Return a whole file. Raises `UserError` if it cannot be read, `MissingFile`."""
        return self._request(name, lambda fs, path: bytes(fs.cat_file(path)))

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start`; a shorter file is a `UserError`."""

        def part(fs: AbstractFileSystem, path: str) -> bytes:
            data = bytes(fs.cat_file(path, start=start, end=start + length)) if length else b""
            if len(data) > length:
                raise UserError(
                    f"{self.where(name)}: the server sends whole files instead of parts; copy the "
                    "data set to a folder and read it there."
                )
            if len(data) < length and isinstance(fs, LocalFileSystem):
                raise UserError(
                    f"{path} ends before byte {start + length}: it is truncated or still being "
                    "written; copy it again."
                )
            if len(data) < length:
                raise EOFError(f"received {len(data)} of {length} bytes from {start}")
            return data

        return self._request(name, part)

    def open(self, name: str, block_bytes: int = 1 << 20) -> BinaryIO:
        """Return a file to read and seek in; of a remote one `block_bytes` are read ahead."""
        if self.path(name) is None:
            return cast(BinaryIO, _RemoteFile(self, name, block_bytes))
        return self._request(name, lambda _, path: Path(path).open("rb", buffering=block_bytes))

    def exists(self, name: str) -> bool:
        """Return whether there is such a file; a network or permission problem is an error."""
        try:
            return bool(self._info(name)["type"] == "file")
        except MissingFile:
            return False

    def size(self, name: str) -> int:
        """Return the bytes of a file."""
        size = self._info(name)["size"]
        if size is None:
            raise UserError(
                f"{self.where(name)}: the server does not say how large the file is; copy the "
                "data set to a folder and read it there."
            )
        return int(size)

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Return the bytes of each file; one that is missing is a `MissingFile`."""
        names = list(names)
        sizes = in_parallel(self.size, names, 1 if self.is_local else REQUESTS_AT_ONCE)
        return dict(zip(names, sizes, strict=True))

    def find(self, folder: str) -> list[str]:
        """Return the sorted names, relative to `address`, of all files below `folder`."""

        def listed(fs: AbstractFileSystem, path: str) -> list[str]:
            if isinstance(fs, LocalFileSystem):
                os.scandir(path).close()  # fsspec lists an unreadable folder as empty
            root = str(fs._strip_protocol(self.address)).rstrip("/") + "/"
            return sorted(file.removeprefix(root) for file in fs.find(path))

        try:
            return self._request(folder, listed, download=False)
        except MissingFile:
            return []

    def _download(self, name: str, target: Path) -> Path:
        # fsspec's own caches write to the final name: a kill leaves half a file that they trust.
        size = self.size(name)
        unique = f"{os.getpid()}.{threading.get_ident()}"
        partial = target.with_name(f".{target.name}.{unique}.partial")

        def copy(fs: AbstractFileSystem, path: str) -> None:
            fs.get_file(path, str(partial))
            if partial.stat().st_size != size:
                raise EOFError(f"received {partial.stat().st_size} of {size} bytes")

        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._request(name, copy, download=False)
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(target)
        except OSError as error:
            raise disk_error(error, target) from error
        finally:
            partial.unlink(missing_ok=True)
        return target

    def _info(self, name: str) -> dict[str, Any]:
        return self._request(name, lambda fs, path: dict(fs.info(path)), download=False)

    def _request(
        self, name: str, call: Callable[[AbstractFileSystem, str], T], download: bool = True
    ) -> T:
        """Return what `call` returns for the file system and the path of `name`.

        It is called again after errors that may pass. Raises `UserError` with the address,
        `MissingFile` if there is no such file; an error of the cache's disk is left to the caller.
        """
        local = self.path(name, download)
        retries = Retrying(
            stop=stop_after_attempt(1 if local else self.attempts),
            wait=wait_exponential(self.wait_s),
            retry=retry_if_exception(_may_pass),
            reraise=True,
        )
        try:
            if local is not None:
                return call(LocalFileSystem(), str(local))
            return retries(lambda: call(*self._remote(name)))
        except UserError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _PERMANENT_ERRNO:
                raise
            raise self._explained(error, str(local or self.where(name))) from error

    def _remote(self, name: str) -> tuple[AbstractFileSystem, str]:
        options = dict(self.options)
        if self.address.startswith("http"):
            from aiohttp import ClientTimeout

            # Its default limits the whole transfer to five minutes, however large the file.
            limits = ClientTimeout(sock_connect=self.timeout_s, sock_read=self.timeout_s)
            options.setdefault("client_kwargs", {"timeout": limits})
        fs, path = url_to_fs(self.where(name), **options)
        return fs, path

    def _explained(self, error: Exception, address: str) -> Exception:
        """Return the sentence for an error of fsspec; a mistake in the code stays what it is."""
        if isinstance(error, ImportError | ValueError):
            return UserError(
                f"{address} cannot be opened ({error}): check the address, or install the extra "
                "'remote'."
            )
        cause = _cause(error)
        if not _of_network(cause):
            return error
        reason = f"{type(cause).__name__}: {cause}".rstrip(": ")
        if isinstance(cause, FileNotFoundError | NotADirectoryError) or _status(cause) == 404:
            return MissingFile(
                f"{address} is missing: check the address, or copy the data set again if it is "
                "incomplete."
            )
        if isinstance(cause, PermissionError) or _status(cause) in (401, 403):
            return UserError(
                f"{address} could not be read ({reason}): you have no permission; change it or "
                "log in with an account that has it."
            )
        if self.is_local or not _may_pass(cause):
            return UserError(f"{address} could not be read ({reason}).")
        return UserError(
            f"{address} could not be read in {self.attempts} attempts ({reason}): check the "
            "network and start the same command again."
        )


class _RemoteFile(AbstractBufferedFile):
    """A remote file whose blocks are requested again after errors that may pass."""

    def __init__(self, storage: Storage, name: str, block_bytes: int) -> None:
        self._storage, self._name = storage, name
        super().__init__(None, name, block_size=block_bytes, size=storage.size(name))

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self._storage.read_range(self._name, start, min(end, self.size) - start)


def in_parallel(call: Callable[[S], T], items: Iterable[S], workers: int) -> Iterator[T]:
    """Yield `call(item)` in order; after an error, no further item is begun."""
    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(call, items)
    finally:
        pool.shutdown(cancel_futures=True)


def _may_pass(error: BaseException) -> bool:
    """Return whether another attempt may succeed."""
    error = _cause(error)
    if isinstance(error, (UserError, *_PERMANENT)) or not _of_network(error):
        return False
    if isinstance(error, OSError) and error.errno in _PERMANENT_ERRNO:
        return False
    status = _status(error)
    return status is None or not 400 <= status < 500 or status in _TRANSIENT_STATUS


def _cause(error: BaseException) -> BaseException:
    """Return the error below a FileNotFoundError, which fsspec's https raises for any failure."""
    below = error.__cause__
    if isinstance(error, FileNotFoundError) and below is not None and _of_network(below):
        return below
    return error


def _of_network(error: BaseException) -> bool:
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError | EOFError) or library in _CLIENTS


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that a client reports, under one of three names."""
    answer = getattr(error, "response", None)
    names = ((error, "status"), (error, "code"), (answer, "status_code"))
    status = next((getattr(of, name) for of, name in names if getattr(of, name, None)), None)
    return status if isinstance(status, int) else None
