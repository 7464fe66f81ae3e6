"""The server: connections, limits of size and time, health."""

import asyncio
import logging
import traceback
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from experiment.address import Address
from experiment.errors import UserError
from policies.contract import Observation
from policies.serving.batcher import Answer, Batcher, Session
from policies.serving.request import Keys
from policies.serving.session import Conversation, greeting
from policies.serving.settings import Limits
from policies.serving.wire import decode, encode

_LEAVE = 2.0  # s that a client has to agree to the end of its connection
_ERROR, _FULL = 1011, 1013


class PolicyServer:
    """Serves the policies of a `Batcher` over websockets, to openpi's and vla-eval's clients."""

    def __init__(
        self,
        batcher: Batcher,
        limits: Limits,
        keys: Keys,
        with_state: bool = True,
        log: Callable[[str], None] = print,
    ) -> None:
        self._batcher, self._limits = batcher, limits
        self._keys, self._with_state = keys, with_state
        self._log = log
        self._clients = 0
        self._count = 0

    async def run(self, address: Address, ready: Callable[[int], None]) -> None:
        """Serve until cancelled; `ready` gets the port once clients can connect (0: any free one).

        Raises `UserError` for a port or host that cannot be had.
        """
        quiet = logging.getLogger("policies.serving.websockets")
        quiet.setLevel(logging.CRITICAL + 1)  # what a client does wrong is its own matter
        try:
            server = await serve(
                self._client,
                address.host,
                address.port,
                process_request=self._health,
                origins=[None],  # a page in somebody's browser has an origin, a robot has none
                compression=None,
                max_size=round(self._limits.megabytes * 2**20),
                max_queue=1,
                ping_interval=None,  # `idle` ends what is dead; a busy client is not
                close_timeout=_LEAVE,
                logger=quiet,
            )
        except (OSError, OverflowError) as error:
            raise address.refused(error) from error
        async with server:
            ready(next(iter(server.sockets)).getsockname()[1])
            await asyncio.get_running_loop().create_future()

    def _health(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path not in ("/healthz", "/health"):
            return None
        if self._batcher.busy_seconds > self._limits.request:
            return connection.respond(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"the policy has not answered for {self._batcher.busy_seconds:.0f} s\n",
            )
        text = "OK\n" if request.path == "/healthz" else '{"status": "ok"}'
        return connection.respond(HTTPStatus.OK, text)

    async def _client(self, connection: ServerConnection) -> None:
        if self._clients >= self._limits.clients:
            await self._send(connection, f"the server has its {self._limits.clients} clients.")
            await connection.close(_FULL, "too many clients")
            return
        self._clients += 1
        self._count += 1
        name = f"client {self._count}"
        conversation = Conversation(self._batcher.name, self._keys, self._with_state, self._ask)
        end = "left"
        try:
            end = (await self._converse(connection, conversation)).rstrip(".")
        except ConnectionClosed as closed:
            end = _how(closed)
        except TimeoutError:
            end = "did not read its answer"
            connection.transport.abort()
        except Exception as error:
            traceback.print_exc()
            end = f"was let down by {type(error).__name__}, a defect of the server"
            await connection.close(_ERROR, "internal error")
        finally:
            self._clients -= 1
            self._batcher.end(conversation.session)
            self._log(f"{name} ({conversation.dialect}) {end}; {conversation.told}")

    async def _converse(self, connection: ServerConnection, conversation: Conversation) -> str:
        """Answer frames until the client leaves; return how it ended."""
        await self._send(connection, encode(greeting(self._batcher.name, self._keys), "openpi"))
        while True:
            try:
                async with asyncio.timeout(self._limits.idle):
                    frame = await connection.recv()
            except TimeoutError:
                await connection.close(_ERROR, "idle for too long")
                return f"was idle for {self._limits.idle:g} s"
            message: dict[str, Any] = {}
            try:
                message = await asyncio.to_thread(decode, frame)
                answer = await conversation.answer(message)
            except UserError as error:
                conversation.refused += 1
                await self._send(connection, conversation.refusal(error, message))
                if conversation.dialect == "openpi":
                    await connection.close(_ERROR, "see the text frame")
                    return f"was refused: {error}"
                continue
            if answer is not None:
                await self._send(connection, answer)

    async def _send(self, connection: ServerConnection, frame: bytes | str) -> None:
        async with asyncio.timeout(self._limits.request):
            await connection.send(frame)

    async def _ask(self, session: Session, observation: Observation, seed: int | None) -> Answer:
        future = asyncio.wrap_future(self._batcher.ask(session, observation, seed))
        try:
            async with asyncio.timeout(self._limits.request):
                return await future
        except TimeoutError:
            raise UserError(
                f"policy '{self._batcher.name}' did not answer within {self._limits.request:g} s."
            ) from None


def _how(closed: ConnectionClosed) -> str:
    if closed.sent is not None and not closed.rcvd_then_sent:
        return f"was refused ({closed.sent.reason or closed.sent.code})"
    return "left" if closed.rcvd is not None else "died"
