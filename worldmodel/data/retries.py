"""Network calls that are tried again: a limited number of times, for a limited time each."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from experiment.errors import UserError

T = TypeVar("T")

# What these libraries raise speaks of the network, whatever its class; the rest must be OSError.
_CLIENTS = (
    "aiobotocore",
    "aiohttp",
    "botocore",
    "gcsfs",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "huggingface_hub",
    "requests",
    "urllib3",
)
_PERMANENT = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
)
_STATUS_WORTH_A_RETRY = (408, 425, 429)


class MissingFile(UserError):  # noqa: N818 - the file is missing, not the error
    """There is no such file."""


@dataclass(frozen=True)
class Retries:
    """A failed attempt is followed by up to `count` more, after `wait_s` and then doubled waits.

    An attempt that takes longer than `timeout_s` has failed.
    """

    count: int = 5
    wait_s: float = 0.5
    timeout_s: float = 120.0

    def __call__(self, address: str, call: Callable[[], T]) -> T:
        """Return `call()`.

        Raises `UserError` naming `address` once there is no hope left, `MissingFile` where the
        other side says that there is no such file.
        """
        wait, last = self.wait_s, ""
        for attempt in range(self.count + 1):
            if attempt:
                time.sleep(wait)
                wait *= 2
            try:
                return _within(self.timeout_s, call)
            except UserError:
                raise
            except (ImportError, ValueError) as error:
                raise UserError(
                    f"{address} cannot be opened ({error}): check the address, or install the "
                    "extra 'remote'."
                ) from error
            except FileNotFoundError as error:
                # fsspec's https says this of every failure to ask for a file's size.
                cause = error.__cause__
                if not (isinstance(cause, Exception) and _of_network(cause) and _passing(cause)):
                    raise MissingFile(f"{address} does not exist: check the address.") from error
                last = _named(cause)
            except Exception as error:
                if not _of_network(error):
                    raise
                last = _named(error)
                if not _passing(error):
                    raise UserError(f"{address} could not be read ({last}).") from error
        raise UserError(
            f"{address} could not be read in {self.count + 1} attempts ({last}): check the "
            "network and start the same command again."
        )


def _within(seconds: float, call: Callable[[], T]) -> T:
    """Return `call()`, or raise `TimeoutError`; the thread that hangs is left behind.

    The clients have limits of their own, but not for everything, and not all the same ones.
    """
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        value, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _of_network(error: Exception) -> bool:
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError | EOFError) or library in _CLIENTS


def _passing(error: Exception) -> bool:
    """Return whether another attempt may succeed."""
    if isinstance(error, _PERMANENT):
        return False
    answer = getattr(error, "response", None)
    names = ((error, "status"), (error, "code"), (answer, "status_code"))
    status = next((getattr(of, name) for of, name in names if getattr(of, name, None)), None)
    refused = isinstance(status, int) and 400 <= status < 500
    return not refused or status in _STATUS_WORTH_A_RETRY
