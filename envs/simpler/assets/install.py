"""Bring the official files into a folder, through pooch: checked, and resumed where it stopped.

A file gets its name only once its checksum is right. Two installs into one folder take turns.
"""

import functools
import shutil
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
import requests

from envs.simpler.assets.manifest import Entry, Manifest
from envs.simpler.assets.status import status
from experiment import progress
from experiment.errors import UserError
from experiment.files import alone, disk_error

_LOCK = ".install.lock"
_RETRIES = 3

pooch.get_logger().setLevel("ERROR")


class _AbsentError(Exception):
    """The source does not have the file."""


@dataclass(frozen=True)
class Installed:
    """What an install did: files it brought, files that were right already, files that neither the
    source nor the folder has."""

    brought: list[Entry]
    kept: list[Entry]
    missing: list[Entry]


def install(source: str, root: Path, manifest: Manifest, timeout: float = 30.0) -> Installed:
    """Bring every official file that `root` lacks, or has with other content, from `source`.

    Args: `source` is a folder or a web address that has the repository's tree beneath it; `timeout`
        is how long (s) a server may stay silent.
    Raises: `UserError` when a file cannot be read, written or is not the pinned revision's; what
    came before stays, and the same call resumes from there.
    """
    source = _checked_source(source, root)
    entries = list(manifest.entries.values())
    is_new = not root.exists()
    try:
        with alone(root / _LOCK, f"another install is filling {root}; waiting for it"):
            for folder in {(root / entry.path).parent for entry in entries}:
                for path in folder.glob("tmp????????"):  # pooch's, of an install that was killed
                    path.unlink(missing_ok=True)
            current = status(root, manifest, verify=True)
            needed = [e for e in entries if e in current.missing or e in current.differing]
            arrived = _bring(source, root, needed, timeout)
    finally:
        if is_new and not any(p.is_file() and p.name != _LOCK for p in root.rglob("*")):
            shutil.rmtree(root, ignore_errors=True)  # an empty folder looks like an install
    if needed == entries and not arrived:
        raise UserError(
            f"{source} has none of the official files; name a folder or address that has data/ "
            f"and LICENSE of {manifest.repository} beneath it."
        )
    return Installed(
        brought=[entry for entry in needed if entry in arrived],
        kept=[entry for entry in entries if entry not in needed],
        missing=[entry for entry in needed if entry not in arrived],
    )


def _checked_source(source: str, root: Path) -> str:
    if source.startswith(("http://", "https://")):
        return source.rstrip("/")
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"--from {source}: no such folder; name a clone or copy of ManiSkill2_real2sim, "
            "or an address that begins with https://."
        )
    if root.is_dir() and root.samefile(folder):
        raise UserError(f"--from and --to both name {root}; it cannot repair itself.")
    return str(folder)


def _bring(source: str, root: Path, needed: list[Entry], timeout: float) -> set[Entry]:
    """Bring files, several at a time; returns those that the source has."""
    is_web = source.startswith("http")
    downloads = pooch.create(
        path=root,
        base_url=f"{source}/",
        registry={entry.path: entry.sha256 for entry in needed},
        retry_if_failed=_RETRIES if is_web else 0,
    )
    fetch = functools.partial(_download, pooch.HTTPDownloader(timeout=timeout)) if is_web else _copy
    arrived: set[Entry] = set()
    with ThreadPoolExecutor(8) as pool:
        running = {pool.submit(_bring_one, downloads, fetch, entry): entry for entry in needed}
        try:
            for future in progress.each(as_completed(running), "files", "file", len(running)):
                if future.result():
                    arrived.add(running[future])
        finally:
            pool.shutdown(cancel_futures=True)
    return arrived


def _copy(path: str, output: str) -> None:
    try:
        shutil.copyfile(path, output)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _AbsentError(path) from error


def _download(downloader: pooch.HTTPDownloader, url: str, output: str) -> None:
    try:
        downloader(url, output, None)
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code in (404, 410):
            raise _AbsentError(url) from error
        raise


def _bring_one(downloads: pooch.Pooch, fetch: Any, entry: Entry) -> bool:
    """Bring one file; returns whether the source has it."""
    path, url = Path(downloads.path) / entry.path, downloads.get_url(entry.path)

    def download(url: str, output: str, _: Any) -> None:
        fetch(url, output)
        if entry.sha256 is None and not entry.matches(Path(output)):
            raise ValueError(f"{url} is not blob {entry.checksum}")

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.sha256 is None:
            path.unlink(missing_ok=True)  # pooch keeps a file that it has no checksum of
        downloads.fetch(entry.path, downloader=download)
    except _AbsentError:
        return False
    except requests.RequestException as error:
        raise UserError(
            f"{url} could not be read ({_reason(error)}, {1 + _RETRIES} attempts); check the "
            "network and start the same command again, or name a folder by --from."
        ) from error
    except OSError as error:
        raise disk_error(error, path) from error
    except ValueError as error:
        raise UserError(
            f"{url} is not the file of the pinned revision (its checksum differs); start the same "
            "command again or take another clone or copy."
        ) from error
    return True


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"it answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return "the connection failed or broke off"
