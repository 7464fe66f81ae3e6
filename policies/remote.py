"""A policy that somebody else's server computes: openpi's websocket protocol, the client's side."""

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiment.errors import UserError
from policies.contract import ACTION_SIZE, Observation
from policies.serving.extra import require_packages

_MOST_ACTIONS = 1000


class RemotePolicy:
    """Asks the server at `url`; each episode is a connection of its own, which resets the server.

    `keys` name the entries `image`, `state`, `instruction` and `actions`. `connect_limit` (s) is
    for the connection and the server's first frame, `request_limit` (s) for an answer, `megabytes`
    its size. Of an answer the first `execute` actions are returned, None for all.
    The server gets `reset`, `seed` and `step` too if its metadata has them under `accepts`.
    Everything that a server does wrong is a `UserError` that names `url`.
    """

    def __init__(
        self,
        url: str,
        keys: Mapping[str, str],
        execute: int | None = None,
        connect_limit: float = 10.0,
        request_limit: float = 60.0,
        megabytes: float = 16.0,
    ) -> None:
        """Connect; raises `UserError` if there is no such server."""
        require_packages()
        if not url.startswith(("ws://", "wss://")):
            raise UserError(f"policy.url={url} must begin with ws:// or wss://.")
        if execute is not None and execute < 1:
            raise UserError(f"policy.execute={execute} must be at least 1, or null for all.")
        limits = {"connect_limit": connect_limit, "request_limit": request_limit}
        for name, value in (limits | {"megabytes": megabytes}).items():
            if not value > 0:
                raise UserError(f"policy.{name}={value} must be more than 0.")
        self.name = "remote"
        self._url, self._keys, self._execute = url, dict(keys), execute
        self._connect_limit, self._request_limit = connect_limit, request_limit
        self._bytes = round(megabytes * 2**20)
        self._extra: dict[str, Any] = {}
        self._open = contextlib.ExitStack()
        self._connection, self._accepts = self._connected()
        self._fresh = True

    def reset(self, instruction: str, seed: int) -> None:  # noqa: ARG002
        """Begin an episode on a new connection; raises `UserError`."""
        if not self._fresh:
            self.close()
            self._connection, self._accepts = self._connected()
        self._fresh = False
        self._extra = {"reset": True, "seed": seed}

    def act(self, observation: Observation) -> np.ndarray:
        """Return the server's actions `(k, 7)`; raises `UserError`."""
        from policies.serving.wire import encode

        message: dict[str, Any] = {
            self._keys["state"]: observation.state,
            self._keys["instruction"]: observation.instruction,
        }
        if observation.image is not None:
            message[self._keys["image"]] = observation.image
        extra = {**self._extra, "step": observation.step}
        message |= {name: value for name, value in extra.items() if name in self._accepts}
        self._fresh = False
        answer = self._exchanged(encode(message, "openpi"))
        self._extra = {}
        return self._actions(answer)

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            self._open.close()

    def _connected(self) -> tuple[Any, frozenset[str]]:
        """Return a connection and what the server accepts beside the observation."""
        from websockets.exceptions import InvalidHandshake, InvalidURI
        from websockets.sync.client import connect

        try:
            connection = self._open.enter_context(
                connect(
                    self._url,
                    compression=None,
                    max_size=self._bytes,
                    open_timeout=self._connect_limit,
                    close_timeout=2.0,
                    ping_interval=None,  # a server may answer nothing while it computes
                    proxy=None,
                )
            )
        except TimeoutError as error:
            raise self._error(f"did not answer within {self._connect_limit:g} s") from error
        except (InvalidURI, ValueError) as error:
            raise UserError(f"policy.url={self._url} is no address ({_short(error)}).") from error
        except (InvalidHandshake, EOFError) as error:
            raise self._error(f"speaks another protocol ({_short(error)})") from error
        except OSError as error:
            raise UserError(
                f"there is no server at policy.url={self._url} ({_short(error)}): start it, or "
                "check host and port."
            ) from error
        try:
            metadata = self._received(connection, self._connect_limit, "send its metadata")
        except BaseException:
            self.close()
            raise
        accepts = metadata.get("accepts", [])
        return connection, frozenset(map(str, accepts if isinstance(accepts, list) else []))

    def _exchanged(self, frame: bytes) -> dict[str, Any]:
        from websockets.exceptions import ConnectionClosed

        # A server that closed before says why in what it sent last, which is still to be read.
        with contextlib.suppress(ConnectionClosed):
            self._connection.send(frame)
        return self._received(self._connection, self._request_limit, "answer")

    def _received(self, connection: Any, seconds: float, what: str) -> dict[str, Any]:
        from websockets.exceptions import ConnectionClosed

        from policies.serving.wire import decode

        try:
            frame = connection.recv(timeout=seconds)
        except TimeoutError as error:
            self.close()
            raise self._error(f"did not {what} within {seconds:g} s") from error
        except ConnectionClosed as error:
            if error.sent is not None and error.sent.code == 1009:
                raise self._error(
                    f"sent a frame of more than {self._bytes / 2**20:g} MB"
                ) from error
            raise self._error(f"ended the connection ({_short(error)})") from error
        if isinstance(frame, str):
            lines = frame.strip().splitlines() or ["no reason given"]
            raise self._error(f"refused: {lines[-1][:500]}")
        try:
            return decode(frame)
        except UserError as error:
            raise self._error(f"speaks another protocol: {error}") from error

    def _actions(self, answer: Mapping[str, Any]) -> np.ndarray:
        name = self._keys["actions"]
        if name not in answer:
            raise self._error(
                f"answered without '{name}' (it has {', '.join(answer)[:200]}): set "
                "policy.keys.actions"
            )
        try:
            actions = np.asarray(answer[name], dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise self._error(f"answered '{name}' that are no numbers ({_short(error)})") from error
        if actions.ndim != 2 or actions.shape[1] != ACTION_SIZE or len(actions) < 1:
            raise self._error(
                f"answered actions of shape {actions.shape}, not (k, {ACTION_SIZE}) with k >= 1"
            )
        if len(actions) > _MOST_ACTIONS:
            raise self._error(f"answered {len(actions)} actions, more than {_MOST_ACTIONS}")
        if not np.isfinite(actions).all():
            raise self._error("answered NaN or infinity in its actions")
        return actions[: self._execute]

    def _error(self, what: str) -> UserError:
        return UserError(f"the server at policy.url={self._url} {what.removesuffix('.')}.")


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
