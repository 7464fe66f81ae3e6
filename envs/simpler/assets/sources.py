"""Where official files come from: a folder, or a web address with the same tree beneath it."""

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from envs.simpler.assets.manifest import Manifest, pieces
from experiment.errors import UserError

_GONE = (404, 410)
_PASSING = (408, 425, 429)
_PIECE = 1 << 16


class AbsentError(Exception):
    """The source does not have the file."""


class BrokenError(Exception):
    """The file did not arrive whole, and may when asked for again; the message says why."""


class Source(Protocol):
    """Gives files by their path in the repository. attempts: how often asking makes sense."""

    attempts: int

    def pieces(self, relative: str) -> Iterator[bytes]:
        """Content of one file.

        Raises: `AbsentError`, `BrokenError`, or `UserError` where asking again cannot help.
        """

    def __str__(self) -> str:
        """The folder or address, for messages."""


class FolderSource:
    """A clone of the repository, or a copy of its files."""

    attempts = 1

    def __init__(self, folder: Path) -> None:
        """Raises: `UserError` when there is no such folder."""
        if not folder.is_dir():
            raise UserError(
                f"--from {folder}: no such folder; name a clone or copy of ManiSkill2_real2sim, "
                "or an address that begins with https://."
            )
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def pieces(self, relative: str) -> Iterator[bytes]:
        try:
            yield from pieces(self.folder / relative)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise AbsentError(relative) from error
        except OSError as error:
            raise UserError(
                f"{self.folder / relative} could not be read ({error.strerror}); check the folder."
            ) from error


class UrlSource:
    """A web server that has the repository's tree beneath a base address."""

    attempts = 4

    def __init__(self, base: str, timeout: float = 30.0) -> None:
        """timeout: seconds without an answer or a byte after which a request is given up.

        Raises: `UserError` for anything but an http or https address.
        """
        parts = urllib.parse.urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(f"--from {base}: only http:// and https:// addresses are understood.")
        self.base = base.rstrip("/")
        self.timeout = timeout

    def __str__(self) -> str:
        return self.base

    def pieces(self, relative: str) -> Iterator[bytes]:
        address = f"{self.base}/{urllib.parse.quote(relative)}"
        request = urllib.request.Request(address, headers={"User-Agent": "self-flow-robotics"})
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                yield from _body(response, address)
        except urllib.error.HTTPError as error:
            if error.code in _GONE:
                raise AbsentError(relative) from error
            reason = f"{address} answered {error.code} {error.reason}"
            if error.code in _PASSING or error.code >= 500:
                raise BrokenError(reason) from error
            raise UserError(f"{reason}; check the address, or name a folder by --from.") from error
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "reason", None) or str(error) or type(error).__name__
            raise BrokenError(f"{address} could not be read ({why})") from error


def _body(response: http.client.HTTPResponse, address: str) -> Iterator[bytes]:
    # A read of some bytes does not complain where the connection ends early: count them.
    expected, received = response.length, 0
    while piece := response.read(_PIECE):
        received += len(piece)
        yield piece
    if expected is not None and received < expected:
        raise BrokenError(f"{address} ended after {received} of {expected} bytes")


def public_address(manifest: Manifest) -> str:
    """Where GitHub serves the files of the pinned revision, none of which is in Git LFS."""
    return f"https://raw.githubusercontent.com/{manifest.repository}/{manifest.revision}"


def source_of(named: str | None, manifest: Manifest) -> Source:
    """The source that `--from` names: an address, a folder, or for None the public place.

    Raises: `UserError` when it is neither.
    """
    if named is None:
        return UrlSource(public_address(manifest))
    return UrlSource(named) if "://" in named else FolderSource(Path(named).expanduser())
