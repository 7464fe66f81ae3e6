"""Errors that a user can fix: one clear sentence, no traceback, exit code 2."""

import contextlib
import difflib
import errno
import functools
import os
import select
import sys
from collections.abc import Callable, Iterable
from typing import ParamSpec

P = ParamSpec("P")


class UserError(ValueError):
    """Bad input; the message is one sentence that names the file, field or flag and the fix."""


def nearest(name: str, known: Iterable[str], listed: bool = True) -> str:
    """Return a hint such as `" Did you mean 'x'? Known: x, y."` for an unknown `name`.

    Without `listed`, the known names are left out.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    return f"{hint} Known: {', '.join(names)}." if listed else hint


def exit_on_user_error(main: Callable[P, object]) -> Callable[P, None]:
    """Wrap an entry point so that everything but a defect of ours ends it without a traceback.

    Exit code 2 with one line on stderr for a `UserError`, a file that the system refuses and a lack
    of memory; 130 for Ctrl-C (a command takes SIGTERM for it); 1, silently, when the reader of the
    output (`| head`) has left.
    """

    @functools.wraps(main)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            main(*args, **kwargs)
            sys.stdout.flush()
        except UserError as error:
            _end(f"error: {error}", 2)
        except KeyboardInterrupt as stop:
            # The progress bar's line is not finished.
            print(file=sys.stderr)
            _end(f"interrupted{f': {stop}' if str(stop) else ''}", 130)
        except BrokenPipeError:
            if not _output_is_gone():
                raise
            # Python would flush once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            sentence = _system_error(error)
            if sentence is None:
                raise
            _end(f"error: {sentence}", 2)
        except (MemoryError, RuntimeError) as error:
            if not _lacks_memory(error):
                raise
            _end(
                "error: there is not enough memory for these settings: lower the batch size, the "
                "resolution or the size of the model.",
                2,
            )

    return wrapped


def _end(line: str, code: int) -> None:
    print(" ".join(line.split()), file=sys.stderr)
    sys.exit(code)


def _system_error(error: OSError) -> str | None:
    """Return a sentence for a refusal that names its file and for a full disk, else None."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" at {error.filename}" if error.filename else ""
        return f"the disk is full{where}: free some space and start the same command again."
    if error.filename is None or error.errno is None:
        return None
    return f"{error.filename}: {error.strerror} (file or folder): check the path and its rights."


def _lacks_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "allocate memory" in text


def _output_is_gone() -> bool:
    """Return whether the reader of our output (`| head`) has left; other pipes break as well."""
    output = select.poll()
    with contextlib.suppress(OSError):
        output.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in output.poll(0))
