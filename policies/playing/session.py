"""What is played: a simulator and a world model that are given the same actions."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
import torch

from envs.actions import ACTION_SIZE, validated_chunk
from envs.episode import Observation, Policy
from envs.rollout import observe
from envs.stepwise import StepwisePolicy
from experiment.errors import UserError
from policies.chunking import windows_of
from worldmodel.data.grip import last_grips
from worldmodel.data.gripper import codec_of, learned_of_executed
from worldmodel.data.pictures import resized
from worldmodel.imagination.dream import Dreamer


@dataclass(frozen=True)
class View:
    """What there is to see: pictures uint8 `(h, w, 3)` of the simulator and of the dream.

    `difference` is the mean one of their levels, 0 to 255; `model_ms` and `simulator_ms` are what
    the last turn took. `action` is the last one executed. An episode that is `over` takes no more.
    """

    real: np.ndarray
    dreamed: np.ndarray
    instruction: str
    step: int
    difference: float
    success: bool
    over: bool
    model_ms: float
    simulator_ms: float
    action: list[float]


class Session:
    """One turn is as many control steps as lie between two frames of the world model."""

    def __init__(
        self, env: gymnasium.Env[Any, Any], dreamer: Dreamer, policy: Policy, seed: int
    ) -> None:
        """Args: `policy` drives when it is asked to. Raises `UserError` for a model that cannot be
        told actions."""
        if not dreamer.takes_actions or dreamer.gripper is None:
            raise UserError(
                "checkpoint: this model was not trained with actions, so its dreams cannot be "
                "driven: give a checkpoint of policies.finetune."
            )
        self._env, self._dreamer, self._policy = env, dreamer, StepwisePolicy(policy)
        self.turn_steps = int(dreamer.assembler.windows.future[0])
        """Control steps of a turn."""
        self.watchers: list[Callable[[View], None]] = []
        """Called with each view; recorders."""
        self.reset(seed)

    def reset(self, seed: int) -> View:
        """Start an episode; the dream begins at its first picture."""
        raw, info = self._env.reset(seed=seed)
        self.seed, self._over, self._info = seed, False, info
        self._seen = self._first = observe(raw, info, 0)
        self._policy.reset(self._seen.instruction, seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._executed: list[np.ndarray] = []
        self._fingers = [float(self._seen.state[-1])]
        self._ms = (0.0, 0.0)
        self.anchor()
        return self._shown()

    def anchor(self) -> View:
        """Let the dream begin anew at the simulator's picture."""
        picture = _picture(self._seen)
        height, width = self._dreamer.assembler.tokenizer.picture
        self._dream = resized(picture[None], (height, width))[0]
        self._anchored = True
        return self.view()

    def act(self, action: np.ndarray | None = None) -> View:
        """Execute a turn: `action` `(7,)` in the robot's terms, held, or None for the policy's.

        Raises `UserError` for an impossible action, and when the episode is over.
        """
        if self._over:
            raise UserError("the episode is over: reset it.")
        started, began = time.perf_counter(), self._seen
        turn: list[np.ndarray] = []
        if action is not None:
            chunk = validated_chunk(np.asarray(action)[None], "you", self._seen.step)
            turn = [chunk[0]] * self.turn_steps
        thought = 0.0
        for number in range(self.turn_steps):
            if action is None:
                asked = time.perf_counter()
                turn.append(self._policy.next(self._seen))
                thought += time.perf_counter() - asked
            raw, _, terminated, truncated, self._info = self._env.step(turn[number])
            self._executed.append(turn[number])
            self._policy.executed(turn[number])
            self._seen = observe(raw, self._info, self._seen.step + 1)
            self._fingers.append(float(self._seen.state[-1]))
            self._over = terminated or truncated
            if self._over:
                break
        simulated = time.perf_counter()
        self._dream = self._dreamed(began, turn)
        dreamed = time.perf_counter() - simulated + thought
        self._ms = (1000 * dreamed, 1000 * (simulated - started - thought))
        return self._shown()

    def view(self) -> View:
        """Return what there is to see now."""
        real = _picture(self._seen)
        small = resized(real[None], self._dream.shape[:2])[0]
        difference = float(np.abs(small.astype(np.int16) - self._dream).mean())
        return View(
            real=real,
            dreamed=self._dream,
            instruction=self._seen.instruction,
            step=self._seen.step,
            difference=round(difference, 2),
            success=bool(self._info["success"]),
            over=self._over,
            model_ms=round(self._ms[0], 1),
            simulator_ms=round(self._ms[1], 1),
            action=[round(float(v), 4) for v in self._executed[-1]] if self._executed else [],
        )

    def close(self) -> None:
        self._env.close()

    def _shown(self) -> View:
        view = self.view()
        for watcher in self.watchers:
            watcher(view)
        return view

    def _dreamed(self, began: Observation, turn: list[np.ndarray]) -> np.ndarray:
        """Return the next frame of the dream: what the actions of the turn lead to."""
        dreamer = self._dreamer
        assert dreamer.gripper is not None
        robot, codec = dreamer.gripper
        # The model reads a whole chunk: the last action is held to its end.
        chunk = dreamer.assembler.windows.chunk
        before = began.step
        planned = np.stack([*self._executed[:before], *turn, *[turn[-1]] * chunk])
        learned = learned_of_executed(planned, robot, codec_of(robot, codec))
        window = windows_of([began])
        clips = replace(
            window,
            frame=torch.from_numpy(self._dream[None]),
            start=torch.from_numpy(_picture(self._first)[None]),
            action=torch.from_numpy(learned[None, before : before + chunk]),
            grip=torch.from_numpy(last_grips(self._fingers[: before + 1])[-1:]),
        )
        if not self._anchored:
            # Where the gripper is in a dream that went its own way is not known.
            clips = replace(clips, state=clips.state[:, :0], grip=None)
        self._anchored = False
        assert clips.action.shape[1:] == (chunk, ACTION_SIZE)
        return dreamer(clips, 1, self._generator, actions=True)[0, 0]


def _picture(observation: Observation) -> np.ndarray:
    if observation.image is None:
        raise UserError("resolution=null has no pictures to look at.")
    return observation.image
