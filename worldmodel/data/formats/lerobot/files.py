"""The files of a data set, wherever they lie."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from worldmodel.data.formats.episode import DamagedRecord


class Files(Protocol):
    """Files by their path in the data set, such as `meta/info.json`.

    `source` is the folder or address, for messages.
    """

    @property
    def source(self) -> str:
        """Return the folder or address."""

    def name(self, path: str) -> str:
        """Return what a message calls the file."""

    def open(self, path: str) -> BinaryIO:
        """Open a file to be read, with seeking; raises `DamagedRecord` where it is missing."""

    def local(self, path: str) -> Path | None:
        """Return where the file lies on this machine, None where it does not."""

    def tables(self, folder: str) -> list[str]:
        """Return the paths of the parquet files under `folder`, sorted."""


@dataclass(frozen=True)
class Folder:
    """A data set in the folder `root` of this machine."""

    root: Path

    @property
    def source(self) -> str:
        """Return the folder."""
        return str(self.root)

    def name(self, path: str) -> str:
        """Return what a message calls the file."""
        return str(self.root / path)

    def open(self, path: str) -> BinaryIO:
        """Open a file to be read; raises `DamagedRecord` where it is missing."""
        place = self.root / inside(path)
        if not place.is_file():
            raise missing(self.name(path))
        try:
            return place.open("rb")
        except OSError as error:
            raise DamagedRecord(
                f"{place} cannot be read ({error.strerror}): check its permissions."
            ) from error

    def local(self, path: str) -> Path:
        """Return where the file lies; raises `DamagedRecord` where it is missing."""
        place = self.root / inside(path)
        if not place.is_file():
            raise missing(self.name(path))
        return place

    def tables(self, folder: str) -> list[str]:
        """Return the paths of the parquet files under `folder`, sorted."""
        paths = sorted((self.root / folder).glob("**/*.parquet"))
        return [path.relative_to(self.root).as_posix() for path in paths]


def missing(name: str) -> DamagedRecord:
    """Say that a file is not there."""
    return DamagedRecord(f"{name} is missing: the data set is incomplete, copy or make it again.")


def inside(path: str) -> str:
    """Return `path`; raises `DamagedRecord` where it would leave the data set's folder."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path:
        raise DamagedRecord(f"{path!r} leads out of the data set: mend the paths in info.json.")
    return path
