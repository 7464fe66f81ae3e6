"""Run by `check_serving` with vla-eval's interpreter: `ask_vla_eval.py PORT CLIENTS`.

Its own episode runner drives a small benchmark through its own connection, many at once.
"""

import sys
from typing import Any

import anyio
import numpy as np
from vla_eval.benchmarks.base import StepBenchmark, StepResult
from vla_eval.connection import Connection
from vla_eval.runners.sync_runner import SyncEpisodeRunner

PORT, CLIENTS = map(int, sys.argv[1:])
STEPS, EPISODES = 6, 3


class Counting(StepBenchmark):
    """Checks that actions are `EchoPolicy`'s: its number, then calls 1 1 2 2 3 3 / 100."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number, self.wrong = number, 0

    def get_tasks(self) -> list[Any]:
        return [{"name": "counting"}]

    def reset(self, task: Any) -> Any:  # noqa: ARG002
        self.steps = 0
        return {}

    def step(self, action: Any) -> StepResult:
        expected = [self.number, (self.steps // 2 + 1) / 100]
        self.wrong += not np.allclose(action["actions"][:2], expected)
        self.steps += 1
        return StepResult(obs={}, reward=0.0, done=self.steps >= STEPS, info={})

    def make_obs(self, raw_obs: Any, task: Any) -> dict[str, Any]:  # noqa: ARG002
        return {
            "images": {"primary": np.full((128, 160, 3), 7, np.uint8)},
            "states": np.full(10, self.number, np.float32),
            "task_description": "open top drawer",
        }

    def get_step_result(self, step_result: StepResult) -> Any:  # noqa: ARG002
        return {"success": self.wrong == 0}


async def work(number: int, results: list[bool]) -> None:
    benchmark = Counting(number / 100)
    async with Connection(f"ws://127.0.0.1:{PORT}", max_retries=1) as connection:
        for _ in range(EPISODES):
            runner = SyncEpisodeRunner()
            result = await runner.run_episode(benchmark, {"name": "counting"}, connection)
            assert result["steps"] == STEPS
            results.append(result["metrics"]["success"])


async def main() -> None:
    results: list[bool] = []
    async with anyio.create_task_group() as group:
        for number in range(CLIENTS):
            group.start_soon(work, number, results)
    assert len(results) == CLIENTS * EPISODES
    assert all(results)
    print(f"{CLIENTS} clients at once: {len(results)} episodes of {STEPS} steps, all their own")

    async with Connection(f"ws://127.0.0.1:{PORT}", max_retries=1) as connection:
        await connection.start_episode({"task": {"name": "x"}})
        good = Counting(0.1).make_obs({}, {})
        for name, wrong in (
            ("NaN", good | {"states": np.full(10, np.nan, np.float32)}),
            ("two cameras", good | {"images": dict.fromkeys("ab", good["images"]["primary"])}),
        ):
            try:
                await connection.act(wrong)
            except RuntimeError as error:
                print(f"{name}: {error}")
            else:
                raise AssertionError(f"{name} was not refused")
        assert (await connection.act(good))["actions"].shape == (7,)
        print("after errors the same connection goes on")


anyio.run(main)
