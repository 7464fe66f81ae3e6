"""Install SIMPLER's official files, look at what is there, or list them from a clone again.

    python -m envs.simpler.assets install [--from FOLDER|URL] [--to FOLDER] [--only GROUP ...]
    python -m envs.simpler.assets status [--root FOLDER] [--verify]
    python -m envs.simpler.assets manifest CLONE [--revision COMMIT] [--out FILE]

Exit codes: 0, 1 when files that tasks need are missing or of another revision, 2 for an error.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from envs.simpler.assets.from_clone import manifest_of
from envs.simpler.assets.install import Installed, install
from envs.simpler.assets.manifest import (
    FOLDER_VARIABLE,
    GROUPS,
    MANIFEST_FILE,
    default_root,
    official,
)
from envs.simpler.assets.sources import source_of
from envs.simpler.assets.status import missing_lines, report, status
from experiment.errors import UserError, exit_on_user_error
from experiment.files import write_bytes


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code.

    Raises: `UserError`.
    """
    given = _parser().parse_args(arguments)
    if given.command == "install":
        return _install(given)
    if given.command == "status":
        found = status(given.root.expanduser().absolute(), official(), given.verify)
        print("\n".join(report(found)))
        return 0 if found.usable else 1
    return _manifest(given)


def _install(given: argparse.Namespace) -> int:
    root = given.to.expanduser().absolute()
    source = source_of(given.source, official())
    begun = time.monotonic()
    print(f"revision {official().revision[:7]} from {source} into {root}")
    try:
        done = install(source, root, official(), given.only)
    except KeyboardInterrupt:
        raise UserError("interrupted; the same command goes on where it stopped.") from None
    print("\n".join([_summary(done, time.monotonic() - begun), *missing_lines(done.missing)]))
    named = os.environ.get(FOLDER_VARIABLE)
    if (named or str(default_root())) != str(root):
        print(f"to use it: export {FOLDER_VARIABLE}={root}")
    return 0 if done.complete else 1


def _summary(done: Installed, seconds: float) -> str:
    came = f"{len(done.copied)} files ({done.copied_bytes / 1e6:.1f} MB) came in {seconds:.1f} s"
    lacks = f", {len(done.missing)} are missing at the source" if done.missing else ""
    return f"{came}, {len(done.kept)} were there{lacks}"


def _manifest(given: argparse.Namespace) -> int:
    pinned = official() if MANIFEST_FILE.exists() else None
    revision = given.revision or (pinned.revision if pinned else "HEAD")
    repository = pinned.repository if pinned else "simpler-env/ManiSkill2_real2sim"
    made = manifest_of(given.clone.expanduser(), repository, revision)
    write_bytes(given.out, made.text().encode())
    sizes = [entry.size for entry in made.entries.values()]
    known = sum(size for size in sizes if size is not None)
    print(
        f"{given.out}: {len(sizes)} files of revision {made.revision[:7]}, {known / 1e6:.1f} MB; "
        f"the clone lacks {sizes.count(None)} of them, whose size is left open"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m envs.simpler.assets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    bring = commands.add_parser("install", help="bring the official files into a folder")
    bring.add_argument(
        "--from",
        dest="source",
        metavar="FOLDER|URL",
        help="a clone or copy, or an address with the same tree (default: GitHub)",
    )
    bring.add_argument("--to", type=Path, default=default_root(), metavar="FOLDER")
    bring.add_argument(
        "--only",
        nargs="+",
        choices=GROUPS,
        default=GROUPS,
        metavar="GROUP",
        help=f"some of {', '.join(GROUPS)} (default: all)",
    )
    look = commands.add_parser("status", help="say what is there, what is missing, which revision")
    here = os.environ.get(FOLDER_VARIABLE) or default_root()
    look.add_argument("--root", type=Path, default=Path(here), metavar="FOLDER")
    look.add_argument("--verify", action="store_true", help="read every file, not sizes alone")
    make = commands.add_parser("manifest", help="list the official files from a clone again")
    make.add_argument("clone", type=Path, metavar="CLONE", help="a git clone, bare or not")
    make.add_argument("--revision", metavar="COMMIT", help="default: the pinned one")
    make.add_argument("--out", type=Path, default=MANIFEST_FILE, metavar="FILE")
    return parser


@exit_on_user_error
def main() -> None:
    """Entry point."""
    sys.exit(run())


if __name__ == "__main__":
    main()
