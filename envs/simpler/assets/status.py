"""What a folder has of the official files, and whether it is the pinned revision."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.simpler.assets.manifest import GROUPS, INSTALL, Entry, Manifest
from experiment import progress
from experiment.errors import UserError


@dataclass(frozen=True)
class Status:
    """Files of a folder against the manifest.

    differing: there, but of another size or content. verified: whether contents were read.
    """

    root: Path
    manifest: Manifest
    missing: list[Entry]
    differing: list[Entry]
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
        raise UserError(f"there is no asset folder {root}; fill it: {INSTALL} --to {root}")
    missing, differing = [], []
    for entry in progress.each(manifest.entries.values(), "reading", "file"):
        path = root / entry.path
        try:
            if not path.is_file():
                missing.append(entry)
            elif entry.size not in (None, path.stat().st_size) or (
                verify and not entry.matches(path)
            ):
                differing.append(entry)
        except OSError as error:
            raise UserError(
                f"{path} could not be read ({error.strerror}); check the folder."
            ) from error
    return Status(root, manifest, missing, differing, verify)


def report(status: Status) -> Iterator[str]:
    """The status in lines: a line a group, the verdict, what is missing and what comes of it."""
    yield f"{status.root}"
    entries = list(status.manifest.entries.values())
    for group in GROUPS:
        listed = [entry for entry in entries if entry.group == group]
        there = [entry for entry in listed if entry not in status.missing]
        size = sum((status.root / entry.path).stat().st_size for entry in there)
        yield f"  {group:<12} {len(there):>4} of {len(listed):>3} files {size / 1e6:>8.1f} MB"
    revision = f"revision {status.manifest.revision[:7]}"
    kind = "checksum" if status.verified else "size"
    if status.differing:
        more = f" and {len(status.differing) - 1} more" if len(status.differing) > 1 else ""
        yield (
            f"not {revision}: another {kind} of {status.differing[0].path}{more}; "
            f"install again: {INSTALL} --to {status.root}"
        )
    elif len(status.missing) == len(entries):
        yield f"nothing of {revision} is here"
    else:
        count = len(entries) - len(status.missing)
        yield f"{revision}: all {count} files here have the right {kind}"
    yield from missing_lines(status.missing)


def missing_lines(missing: Sequence[Entry], most: int = 12) -> Iterator[str]:
    """A line for each missing file and what tasks do without it, at most `most` of a group."""
    for group in GROUPS:
        # What tasks need comes first, else the rest would push it off the list.
        lacking = sorted((e for e in missing if e.group == group), key=lambda e: not e.essential)
        yield from (f"  missing: {entry.path}: {entry.stand_in}" for entry in lacking[:most])
        if len(lacking) > most:
            yield f"  missing: {len(lacking) - most} more files of {group}"
