"""What a folder has of the official files, and whether it is the pinned revision."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from envs.simpler.assets.manifest import GROUPS, LICENCE, Entry, Manifest, checksum
from experiment.errors import UserError


@dataclass(frozen=True)
class Status:
    """Files of a folder against the manifest. differing: there, but of another size or content;
    unsized: there, but of a size that the manifest does not know, and not read."""

    root: Path
    manifest: Manifest
    missing: tuple[Entry, ...]
    differing: tuple[Entry, ...]
    unsized: tuple[Entry, ...]
    verified: bool

    @property
    def usable(self) -> bool:
        """Whether tasks find all they need, of the pinned revision."""
        return not self.differing and not any(entry.essential for entry in self.missing)


def status(root: Path, manifest: Manifest, verify: bool = False) -> Status:
    """Compare a folder with the manifest by size, or with `verify` by reading everything.

    Raises: `UserError` when there is no such folder or a file cannot be read.
    """
    if not root.is_dir():
        raise UserError(
            f"there is no asset folder {root}; fill it: "
            f"python -m envs.simpler.assets install --to {root}"
        )
    missing, differing, unsized = [], [], []
    total = sum(entry.size or 0 for entry in manifest.entries.values())
    style = {"unit": "B", "unit_scale": True, "desc": "reading", "leave": False}
    with tqdm(total=total, disable=None if verify else True, **style) as bar:
        for entry in manifest.entries.values():
            path = root / entry.path
            try:
                size = path.stat().st_size if path.is_file() else None
                if size is None:
                    missing.append(entry)
                elif entry.size not in (None, size) or (
                    verify and checksum(path) != entry.checksum
                ):
                    differing.append(entry)
                elif not verify and entry.size is None:
                    unsized.append(entry)
            except OSError as error:
                raise UserError(
                    f"{path} could not be read ({error.strerror}); check the folder."
                ) from error
            bar.update(entry.size or 0)
    return Status(root, manifest, tuple(missing), tuple(differing), tuple(unsized), verify)


def report(found: Status) -> Iterator[str]:
    """The status in lines: a line a group, the verdict, what is missing and what comes of it."""
    yield f"{found.root}"
    for group in GROUPS:
        entries = [entry for entry in found.manifest.entries.values() if entry.group == group]
        there = [entry for entry in entries if entry not in found.missing]
        size = sum((found.root / entry.path).stat().st_size for entry in there)
        yield f"  {group:<12} {len(there):>4} of {len(entries):>3} files {size / 1e6:>8.1f} MB"
    yield _verdict(found)
    yield from missing_lines(found.missing)


def missing_lines(missing: Sequence[Entry], most: int = 12) -> Iterator[str]:
    """A line for each missing file and what tasks do without it, at most `most` of a group."""
    for group in (*GROUPS, LICENCE):
        lacking = [entry for entry in missing if entry.group == group]
        # What tasks cannot do without comes first, else the rest would push it off the list.
        lacking.sort(key=lambda entry: not entry.essential)
        for entry in lacking[:most]:
            yield f"  missing: {entry.path}: {entry.stand_in}"
        if len(lacking) > most:
            yield f"  missing: {len(lacking) - most} more files of {group}"


def _verdict(found: Status) -> str:
    short = found.manifest.revision[:7]
    there = len(found.manifest.entries) - len(found.missing)
    if found.differing:
        first, more = found.differing[0].path, len(found.differing) - 1
        return (
            f"not revision {short}: {first}{f' and {more} more' if more else ''} differ"
            f"{'' if more else 's'}; install again: "
            f"python -m envs.simpler.assets install --to {found.root}"
        )
    if not there:
        return f"nothing of revision {short} is here"
    if found.verified:
        return f"revision {short}: all {there} files here have the right checksum"
    unknown = f" ({len(found.unsized)} of unknown size)" if found.unsized else ""
    return f"revision {short}: all {there} files here have the right size{unknown}"
