"""Install SIMPLER's official files, or report what is there.

    python -m envs.simpler.assets install [--from FOLDER|URL] [--to FOLDER]
    python -m envs.simpler.assets status [--root FOLDER] [--verify]

Exit codes: 0, 1 when files that tasks need are missing or of another revision, 2 for an error.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from envs.simpler.assets.install import install
from envs.simpler.assets.manifest import FOLDER_VARIABLE, default_root, official
from envs.simpler.assets.status import missing_lines, report, status
from experiment.errors import UserError, exit_on_user_error


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code.

    Raises: `UserError`.
    """
    parsed = _parser().parse_args(arguments)
    if parsed.command == "install":
        return _install(parsed.source, parsed.to.expanduser().absolute())
    current = status(parsed.root.expanduser().absolute(), official(), parsed.verify)
    print("\n".join(report(current)))
    return 0 if current.usable else 1


def _install(source: str, root: Path) -> int:
    start = time.monotonic()
    print(f"revision {official().revision[:7]} from {source} into {root}")
    try:
        done = install(source, root, official())
    except KeyboardInterrupt:
        raise UserError("interrupted; the same command resumes where it stopped.") from None
    size = sum((root / entry.path).stat().st_size for entry in done.brought) / 1e6
    seconds = time.monotonic() - start
    absent = f", {len(done.missing)} are missing at the source" if done.missing else ""
    print(
        f"{len(done.brought)} files ({size:.1f} MB) installed in {seconds:.1f} s, "
        f"{len(done.kept)} were there{absent}"
    )
    for line in missing_lines(done.missing):
        print(line)
    if (os.environ.get(FOLDER_VARIABLE) or str(default_root())) != str(root):
        print(f"to use it: export {FOLDER_VARIABLE}={root}")
    return 1 if any(entry.essential for entry in done.missing) else 0


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
        default=official().address,
        help="a clone or copy, or an address with the same tree (default: GitHub)",
    )
    bring.add_argument("--to", type=Path, default=default_root(), metavar="FOLDER")
    look = commands.add_parser("status", help="report what is there and what is missing")
    here = os.environ.get(FOLDER_VARIABLE) or default_root()
    look.add_argument("--root", type=Path, default=Path(here), metavar="FOLDER")
    look.add_argument("--verify", action="store_true", help="read every file, not sizes alone")
    return parser


@exit_on_user_error
def main() -> None:
    sys.exit(run())


if __name__ == "__main__":
    main()
