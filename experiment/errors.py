"""Errors that a user can mend: one clear sentence, no traceback, exit code 2."""

import difflib
import functools
import os
import select
import sys
from collections.abc import Callable, Iterable


class UserError(ValueError):
    """Bad input; the message is one sentence that names the file, field or flag and the mend."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as `" Did you mean 'x'? Known: x, y."` for an unknown `name`."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    return f"{hint} Known: {', '.join(names)}."


def exit_on_user_error(main: Callable[[], None]) -> Callable[[], None]:
    """Wrap an entry point so that a `UserError` ends it with one line on stderr and exit code 2."""

    @functools.wraps(main)
    def wrapped() -> None:
        try:
            main()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except BrokenPipeError:
            if not _output_is_gone():
                raise
            # Python would flush once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)

    return wrapped


def _output_is_gone() -> bool:
    """Return whether the reader of our output (`| head`) has left; other pipes break as well."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in output.poll(0))
