"""Data sets that lie elsewhere: repositories of the hub and other addresses."""

import io
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import fsspec

from worldmodel.data.lerobot.files import Files, Folder, inside, missing
from worldmodel.data.lerobot.metadata import INFO
from worldmodel.durable import disk_error
from worldmodel.errors import UserError

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_HUB = "hf://datasets/"
_WAITS = (0.5, 1.0, 2.0)
"""Seconds before a read that failed is tried again."""
_MEND = "check the name and the network, or copy the data set here and give its folder"


def open_files(source: str, *, revision: str | None = None, cache: str | None = None) -> Files:
    """Return the files of a folder, of an address, or of a hub repository `org/name`.

    Raises `UserError` where `source` cannot be reached or a package for it is missing.
    """
    if "://" not in source:
        if Path(source).exists() or not _REPOSITORY.fullmatch(source):
            return Folder(Path(source))
        at = f"@{revision}" if revision else ""
        address = f"{_HUB}{source}{at}"
        said = f"{source} is no folder here, and as a repository of the hub it"
    else:
        address, said = source.rstrip("/"), source
        if revision and source.startswith(_HUB):
            address += f"@{revision}"
    try:
        system, root = fsspec.core.url_to_fs(address)
        files = Address(address, system, root, Path(cache) if cache else None)
        found = files.has_kept(INFO) or system.exists(f"{root}/{INFO}")
    except ImportError as error:
        raise UserError(
            f"{said} needs a package that is not installed ({error}): "
            "pip install 'self-flow-robotics[remote]'."
        ) from error
    except ValueError as error:
        raise UserError(f"{said} has an unknown kind of address ({error}): {_MEND}.") from error
    except Exception as error:  # the clients' own errors have no base in common
        raise _unreachable(said, error) from error
    if not found:
        raise UserError(f"{said} has no meta/info.json: {_MEND}.")
    return files


@dataclass(frozen=True)
class Address:
    """A data set that fsspec reaches; opened files are kept in the folder `cache` where given."""

    source: str
    system: Any
    root: str
    cache: Path | None = None

    def name(self, path: str) -> str:
        """Return what a message calls the file."""
        return f"{self.source}/{path}"

    def open(self, path: str) -> BinaryIO:
        """Open a file to be read; raises `DamagedRecord` where it is missing."""
        if self.cache is not None:
            return self._kept(path).open("rb")
        try:
            file = self.system.open(f"{self.root}/{inside(path)}", "rb")
        except FileNotFoundError as error:
            raise missing(self.name(path)) from error
        except Exception as error:  # the clients' own errors have no base in common
            raise _unreachable(self.name(path), error) from error
        return cast(BinaryIO, io.BufferedReader(_Steady(file, self.name(path)), 2**16))

    def local(self, path: str) -> Path | None:
        """Return where the kept copy lies, None without a cache."""
        return None if self.cache is None else self._kept(path)

    def tables(self, folder: str) -> list[str]:
        """Return the paths of the parquet files under `folder`, sorted."""
        try:
            paths = self.system.glob(f"{self.root}/{folder}/**/*.parquet")
        except Exception as error:  # the clients' own errors have no base in common
            kept = [] if self.cache is None else Folder(self._place("")).tables(folder)
            if kept:  # what is missing of them shows in the totals of info.json
                return kept
            raise _unreachable(self.name(folder), error) from error
        return sorted(str(PurePosixPath(path).relative_to(self.root)) for path in paths)

    def has_kept(self, path: str) -> bool:
        """Return whether the cache has the file."""
        return self.cache is not None and self._place(path).is_file()

    def _place(self, path: str) -> Path:
        assert self.cache is not None
        return self.cache / re.sub(r"[^\w.-]+", "_", self.source) / inside(path)

    def _kept(self, path: str) -> Path:
        place = self._place(path)
        if place.is_file():
            return place
        partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, place) from error
        try:
            with Address(self.source, self.system, self.root).open(path) as file:
                _copy(file, partial)
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)
        return place


class _Steady(io.RawIOBase):
    """A file from elsewhere; a read that fails is tried again, at last it is a `UserError`.

    So that a network that is down is not taken for a damaged file, which a caller may skip.
    """

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name = file, name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def readinto(self, buffer: Any) -> int:
        place = self._file.tell()
        for wait in (*_WAITS, None):
            try:
                self._file.seek(place)
                data = self._file.read(len(buffer))
                break
            except Exception as error:  # the clients' own errors have no base in common
                if wait is None:
                    raise _unreachable(self._name, error) from error
                time.sleep(wait)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _copy(file: BinaryIO, to: Path) -> None:
    with to.open("wb") as target:
        while block := file.read(2**24):
            try:
                target.write(block)
            except OSError as error:
                raise disk_error(error, to) from error


def _unreachable(said: str, error: Exception) -> UserError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return UserError(f"{said} cannot be reached ({reason:.200}): {_MEND}.")
