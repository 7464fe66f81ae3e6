"""One connection: its dialect, its episodes, and what each of its frames is answered with."""

import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from experiment.errors import UserError
from policies.contract import Observation
from policies.serving.batcher import Answer, Session
from policies.serving.request import ACCEPTS, Keys, Request, from_openpi, from_vla_eval
from policies.serving.wire import Dialect, encode

Ask = Callable[[Session, Observation, int | None], Awaitable[Answer]]

_FRAMES = {"hello", "observation", "action", "episode_start", "episode_end", "error"}
_VLA_EVAL_PROTOCOL = 1


def greeting(policy: str, keys: Keys) -> dict[str, Any]:
    """Return the server's first frame: openpi's metadata and vla-eval's HELLO at once.

    openpi's client reads any map before it asks; vla-eval's sends HELLO and reads an answer to it.
    """
    return {
        "policy": policy,
        "accepts": list(ACCEPTS),
        "keys": vars(keys),
        **_framed("hello", {"protocol_version": _VLA_EVAL_PROTOCOL, "model_server": policy}, 0),
    }


@dataclass
class Conversation:
    """What a client has said so far; `answer` turns each message into a frame, or None.

    A connection is a session: its first observation begins an episode, and so do vla-eval's
    `episode_start` and `reset: true` in an openpi observation. Episodes without a seed of their own
    are seeded 0, 1, ... in the order of the connection.
    """

    policy: str
    keys: Keys
    with_state: bool
    ask: Ask
    session: Session = field(default_factory=Session)
    dialect: Dialect = "openpi"
    answered: int = 0
    refused: int = 0
    _episodes: int = 0
    _begins: bool = True
    _step: int = 0
    _hellos: int = 0
    _chunk: deque[np.ndarray] = field(default_factory=deque)
    _last_ms: float | None = None

    @property
    def told(self) -> str:
        """Return what a record of the connection counts."""
        return f"{self.answered} answers, {self.refused} errors"

    async def answer(self, message: dict[str, Any]) -> bytes | None:
        """Return the answer to a message; raises `UserError` for one that has none."""
        if message.get("type") in _FRAMES and isinstance(message.get("payload"), dict):
            self.dialect = "vla-eval"
            return await self._frame(message["type"], message["payload"], _seq(message))
        if self.dialect == "vla-eval":
            raise UserError("the frame is none of vla-eval's: it needs type, payload and seq.")
        started = time.perf_counter()
        actions, seconds = await self._act(from_openpi(message, self.keys, self.with_state))
        timing = {"infer_ms": 1000 * seconds}
        if self._last_ms is not None:
            timing["prev_total_ms"] = self._last_ms
        self._last_ms = 1000 * (time.perf_counter() - started)
        self._step += len(actions)
        self.answered += 1
        return encode({self.keys.actions: actions, "server_timing": timing}, "openpi")

    def refusal(self, error: UserError, message: dict[str, Any]) -> bytes | str:
        """Return the frame that tells the client: text in openpi, an error frame in vla-eval."""
        self._chunk.clear()
        if self.dialect == "openpi":
            return str(error)
        return encode(_framed("error", {"error": str(error)}, _seq(message)), "vla-eval")

    async def _frame(self, kind: str, payload: dict[str, Any], seq: int) -> bytes | None:
        if kind == "hello":
            self._hellos += 1
            # The greeting has answered the first one.
            hello = greeting(self.policy, self.keys) | {"seq": seq}
            return encode(hello, "vla-eval") if self._hellos > 1 else None
        if kind == "episode_start":
            self._begins = True
            self._chunk.clear()
        if kind != "observation":
            return None
        request = from_vla_eval(payload, self.keys, self.with_state)
        if not self._chunk:
            # vla-eval executes one action an observation.
            self._chunk.extend((await self._act(request))[0])
        action = self._chunk.popleft()
        self._step += 1
        self.answered += 1
        return encode(_framed("action", {"actions": action}, seq), "vla-eval")

    async def _act(self, request: Request) -> tuple[np.ndarray, float]:
        seed = None
        if request.reset or self._begins:
            seed = self._episodes if request.seed is None else request.seed
            self._episodes += 1
            self._step, self._begins = 0, False
        step = self._step if request.step is None else request.step
        seen = request.observation
        observation = Observation(seen.image, seen.state, seen.instruction, step, seen.privileged)
        try:
            answer = await self.ask(self.session, observation, seed)
        except BaseException:
            # The policy may never have heard of the episode.
            self._begins = self._begins or seed is not None
            raise
        return answer.actions, answer.seconds


def _framed(kind: str, payload: dict[str, Any], seq: int) -> dict[str, Any]:
    return {"type": kind, "payload": payload, "seq": seq, "timestamp": time.time()}


def _seq(message: dict[str, Any]) -> int:
    seq = message.get("seq", 0)
    return seq if isinstance(seq, int) else 0
