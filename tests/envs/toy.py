"""A world with the spaces of a SIMPLER task and policies for it, for tests without a simulator.

The gripper moves by what it is told; "open top drawer" ends after a step count that depends on the
seed alone, then success follows three steps later.
"""

import os
import sys
import time
from typing import Any

import gymnasium
import numpy as np

from envs.episode import Observation

LIMIT = 20


class ToyEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Episodes whose seed is a multiple of `fails_on` never succeed; a step takes `pause` s."""

    def __init__(
        self,
        resolution: tuple[int, int] | None = (40, 32),
        fails_on: int = 0,
        pause: float = 0.0,
    ) -> None:
        self.resolution = resolution
        self.pause = pause
        self.fails_on = fails_on
        self.closed = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        assert seed is not None
        self.seed = seed
        self.pose = (options or {}).get("robot_pose", "b0")
        self.state = self.np_random.normal(size=10).astype(np.float32)
        self.opens_at = 4 + seed % 5
        self.steps, self.ever = 0, False
        return self._observation(), self._info()

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        time.sleep(self.pause)
        self.steps += 1
        self.state[:7] += action
        info = self._info()
        return self._observation(), 0.0, False, self.steps >= LIMIT, info

    def close(self) -> None:
        self.closed = True

    def _observation(self) -> dict[str, np.ndarray]:
        found = {"state": self.state.copy()}
        if self.resolution is not None:
            width, height = self.resolution
            ramp = np.linspace(0, 200, width) + 3 * self.steps
            picture = np.broadcast_to(ramp[None, :, None], (height, width, 3)).copy()
            picture[..., 2] = 40 + self.seed % 100
            found["image"] = picture.astype(np.uint8)
        return found

    def _info(self) -> dict[str, Any]:
        good = self.fails_on == 0 or self.seed % self.fails_on != 0
        # Success is lost again at the last step, so that "ever" and "at the end" differ.
        success = good and self.opens_at + 3 <= self.steps < LIMIT
        self.ever = self.ever or success
        opened = self.steps >= self.opens_at
        return {
            "instruction": "place apple into top drawer" if opened else "open top drawer",
            "subtask": int(opened),
            "elapsed_steps": self.steps,
            "success": success,
            "success_ever": self.ever,
            "success_strict": self.ever,
            "robot_pose": self.pose,
            "privileged": {"drawer_position": 0.01 * self.steps},
        }


class ToyPolicy:
    """Acts at random from its seed, in chunks; `done` from step `stops_after` on, where given."""

    def __init__(self, chunk: int = 6, stops_after: int | None = None) -> None:
        self.name = "toy"
        self.chunk = chunk
        self.stops_after = stops_after
        self.done = False

    def reset(self, instruction: str, seed: int) -> None:
        self.instruction = instruction
        self.done = False
        self.generator = np.random.default_rng(seed)

    def act(self, observation: Observation) -> np.ndarray:
        self.done = (
            self.stops_after is not None and observation.step + self.chunk >= self.stops_after
        )
        return self.generator.uniform(-0.1, 0.1, (self.chunk, 7)).astype(np.float32)


class BrokenPolicy(ToyPolicy):
    """Misbehaves at step 6 of the episode with this `seed`: `how` is nan, raise, exit, sys_exit,
    hang or shape.
    """

    def __init__(self, how: str, seed: int | None = None) -> None:
        super().__init__()
        self.name = "broken"
        self.how = how
        self.seed = seed

    def reset(self, instruction: str, seed: int) -> None:
        super().reset(instruction, seed)
        self.armed = self.seed in (None, seed)

    def act(self, observation: Observation) -> np.ndarray:
        chunk = super().act(observation)
        if not self.armed or observation.step < 6:
            return chunk
        if self.how == "nan":
            chunk[2, 3] = np.nan
        elif self.how == "raise":
            raise KeyError("lost")
        elif self.how == "exit":
            os._exit(0)
        elif self.how == "sys_exit":
            sys.exit(0)
        elif self.how == "hang":
            time.sleep(1000)
        elif self.how == "shape":
            return chunk[:, :6]
        else:
            raise ValueError(self.how)
        return chunk
