"""Policies whose answers show which client and which episode they belong to; a server of them."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from experiment.address import Address
from experiment.settings import Description
from policies.chunking import ActionCode, ChunkedPolicy
from policies.contract import Observation
from policies.serving.batcher import Batcher
from policies.serving.request import Keys
from policies.serving.server import PolicyServer
from policies.serving.settings import Limits
from worldmodel.data.gripper import TargetLevel
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.windows import WindowBatch
from worldmodel.sampler import Randomness

BATCHES: list[int] = []
"""Sizes of the batches that `StatePredictor` had."""

KEYS = Keys()


class EchoPolicy:
    """Two actions: the state's first number, the episode's calls / 100, its seed mod 50 / 100."""

    name = "echo"

    def __init__(self, pause: float = 0.0, fails_at: float | None = None, how: str = "") -> None:
        self.pause, self.fails_at, self.how = pause, fails_at, how

    def reset(self, instruction: str, seed: int) -> None:  # noqa: ARG002
        self.calls, self.seed = 0, seed % 50

    def act(self, observation: Observation) -> np.ndarray:
        time.sleep(self.pause)
        self.calls += 1
        actions = np.zeros((2, 7), np.float32)
        actions[:, 0] = np.clip(observation.state[0], -0.5, 0.5)
        actions[:, 1], actions[:, 2] = self.calls / 100, self.seed / 100
        actions[1, 3] = 0.5
        if observation.state[0] == self.fails_at:
            if self.how == "raise":
                raise KeyError("lost")
            if self.how == "exit":
                raise SystemExit(3)
            if self.how == "hang":
                time.sleep(1000)
            actions[0, 0] = np.nan
        return actions


@dataclass(frozen=True)
class StatePredictor:
    """Predicts the first number of the state; a batch takes `pause` s, whatever its size."""

    pause: float
    name: str = "state"
    chunk: int = 4

    def predict(self, windows: WindowBatch, generator: Randomness) -> np.ndarray:
        assert not isinstance(generator, np.ndarray)
        time.sleep(self.pause)
        BATCHES.append(windows.samples)
        rows = np.zeros((windows.samples, self.chunk, 7), np.float32)
        rows[:, :, 0] = windows.state[:, :1].clamp(-0.5, 0.5).numpy()
        rows[:, :, 1] = windows.frame[:, 0, 0, :1].numpy() / 1000
        return rows


def unit() -> Normalisation:
    return Normalisation(
        low=np.full(6, -1, np.float32),
        high=np.full(6, 1, np.float32),
        mean=np.zeros(10, np.float32),
        std=np.ones(10, np.float32),
    )


def batched(pause: float = 0.0) -> ChunkedPolicy:
    return ChunkedPolicy(StatePredictor(pause), ActionCode(unit(), TargetLevel()), execute=3)


def target(name: str, **arguments: Any) -> Description:
    return {"_target_": f"tests.policies.serving.toys.{name}", **arguments}


@dataclass
class Served:
    port: int
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@contextlib.contextmanager
def served(policy: Description, with_state: bool = True, **limits: float) -> Iterator[Served]:
    """Run a server in a thread; it must end within ten seconds."""
    values = {"request": 20.0, "idle": 20.0, "megabytes": 2.0, "clients": 40, "batch": 32}
    bounds = Limits(**(values | limits))  # type: ignore[arg-type]
    batcher = Batcher(policy, bounds.batch)
    running = Served(0)
    server = PolicyServer(batcher, bounds, KEYS, with_state, running.log.append)
    up = threading.Event()
    loop = asyncio.new_event_loop()

    def ready(port: int) -> None:
        running.port = port
        up.set()

    async def until_cancelled() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await server.run(Address("127.0.0.1", 0), ready)

    task = loop.create_task(until_cancelled())
    thread = threading.Thread(target=loop.run_until_complete, args=(task,), daemon=True)
    thread.start()
    assert up.wait(10)
    try:
        yield running
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        assert not thread.is_alive(), "the server did not end"
        batcher.close()
        loop.close()
