"""Progress of long work: a bar that is redrawn in a terminal, a line now and then in a log."""

import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")

SECONDS_IN_A_LOG = 30.0
"""Between two lines where nothing can be redrawn: a file, a pipe, a CI log."""

_IN_A_LOG = "{desc}: {n_fmt}/{total_fmt} {unit}s [{elapsed}<{remaining}{postfix}]"


class _Lines:
    """A file that gets whole lines instead of one that is redrawn."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._last = ""

    def write(self, text: str) -> None:
        line = text.strip()
        if line and line != self._last:
            self._file.write(line + "\n")
            self._last = line

    def flush(self) -> None:
        self._file.flush()


def bar(
    items: Iterable[T] | None = None,
    *,
    desc: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    disable: bool = False,
    delay: float = 0.0,
) -> "tqdm[T]":
    """Return a progress bar on stderr, as wide as the terminal is at the moment.

    `delay` (s): work that ends earlier shows nothing. Where stderr is no terminal, a line every
    `SECONDS_IN_A_LOG` says how far it is; shorter work shows nothing there. `set_postfix` should be
    called with `refresh=False`, or every call is a line.
    """
    settings: dict[str, Any] = {
        "desc": desc, "unit": unit, "total": total, "initial": initial, "disable": disable,
    }  # fmt: skip
    if sys.stderr.isatty():
        return tqdm(items, dynamic_ncols=True, delay=delay, **settings)
    rare: dict[str, Any] = {"mininterval": SECONDS_IN_A_LOG, "delay": SECONDS_IN_A_LOG}
    if total is not None or hasattr(items, "__len__"):
        rare["bar_format"] = _IN_A_LOG
    return tqdm(items, file=_Lines(sys.stderr), miniters=1, **rare, **settings)


def each(items: Iterable[T], desc: str, unit: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` below a bar that appears when they take longer than two seconds."""
    with bar(items, desc=desc, unit=unit, total=total, delay=2.0) as shown:
        yield from shown
