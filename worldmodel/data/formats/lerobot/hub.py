"""Data sets that lie elsewhere: repositories of the hub and other addresses."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from experiment.errors import UserError
from experiment.files import write_bytes
from worldmodel.data.formats.lerobot.files import Files, Folder, inside, missing
from worldmodel.data.formats.lerobot.metadata import INFO
from worldmodel.data.formats.storage import Storage

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_HUB = "hf://datasets/"


def open_files(source: str, *, revision: str | None = None, cache: str | None = None) -> Files:
    """Return the files of a folder, of an address, or of a hub repository `org/name`.

    Raises `UserError` where `source` cannot be reached or a package for it is missing.
    """
    if "://" not in source and (Path(source).exists() or not _REPOSITORY.fullmatch(source)):
        return Folder(Path(source))
    address = source.rstrip("/") if "://" in source else _HUB + source
    if revision and address.startswith(_HUB):
        address += f"@{revision}"
    files = Address(Storage(address, Path(cache) if cache else None))
    try:
        files.storage.read(INFO)
    except UserError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise UserError(
                f"{address} has no {INFO}: check the name of the data set"
                + ("." if "://" in source else f"; there is no folder {source} here either.")
            ) from error
        if "://" in source:
            raise
        raise UserError(
            f"{source} is no folder here, and as a repository of the hub: {error}"
        ) from error
    return files


@dataclass(frozen=True)
class Address:
    """A data set elsewhere; with a cache in `storage`, files are kept on this machine."""

    storage: Storage

    @property
    def source(self) -> str:
        """Return the address."""
        return self.storage.address

    def name(self, path: str) -> str:
        """Return what a message calls the file."""
        return f"{self.source}/{path}"

    def open(self, path: str) -> BinaryIO:
        """Open a file to be read; raises `DamagedRecord` where it is missing."""
        try:
            return self.storage.open(inside(path))
        except UserError as error:
            raise self._missing(path, error) from error

    def local(self, path: str) -> Path | None:
        """Return where the file, or its copy in the cache, lies; None without a cache."""
        try:
            place = self.storage.path(inside(path))
        except UserError as error:
            raise self._missing(path, error) from error
        if place is not None and not place.is_file():
            raise missing(self.name(path))
        return place

    def tables(self, folder: str) -> list[str]:
        """Return the paths of the parquet files under `folder`, sorted.

        With a cache they are written down there, so that it is enough without a network.
        """
        if self.storage.cache is None or self.storage.is_local:
            return self._listed(folder)
        digest = hashlib.sha256(f"{self.source} {folder}".encode()).hexdigest()[:12]
        known = self.storage.cache / f"lerobot-{digest}.json"
        if known.is_file():
            try:
                return [str(path) for path in json.loads(known.read_bytes())]
            except (OSError, ValueError) as error:
                raise UserError(f"{known} is damaged ({error}): delete it.") from error
        found = self._listed(folder)
        write_bytes(known, json.dumps(found).encode())
        return found

    def _listed(self, folder: str) -> list[str]:
        return sorted(path for path in self.storage.find(folder) if path.endswith(".parquet"))

    def _missing(self, path: str, error: UserError) -> UserError:
        """Return what to say of a file that could not be opened: damage only where it is missing.

        A network that is down must not be taken for a damaged record, which a caller may skip.
        """
        return missing(self.name(path)) if isinstance(error.__cause__, FileNotFoundError) else error
