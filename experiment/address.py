"""Where a server listens."""

import errno
from dataclasses import dataclass

from experiment.errors import UserError


@dataclass(frozen=True)
class Address:
    """`host`: 127.0.0.1 for this machine alone, 0.0.0.0 for every network. `port` 0: any free one.

    Raises `UserError` for a port that cannot be.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise UserError(f"port={self.port} must lie between 0 and 65535; 0 takes any free one.")

    def refused(self, error: OSError | OverflowError) -> UserError:
        """Return what to say when the address could not be had because of `error`."""
        code = getattr(error, "errno", None)
        if code == errno.EADDRINUSE:
            said = f"port={self.port} is in use on {self.host}: choose another, or end its owner."
        elif code in (errno.EACCES, errno.EPERM):
            said = f"port={self.port} may not be opened by this user: choose one above 1023."
        else:
            said = f"host={self.host} port={self.port} cannot be served at ({error}): give "
            said += "host=127.0.0.1 for this machine, 0.0.0.0 for every network."
        return UserError(said)

    def url(self, scheme: str, port: int) -> str:
        """Return the address of the server once it listens at `port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{port}"
