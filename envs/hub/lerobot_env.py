"""SIMPLER's tasks as lerobot (0.6) expects environments, and the `make_env` of its EnvHub.

Nothing of lerobot is imported: it asks for gymnasium's vector environments and for four names of
each environment in them, `task`, `task_description`, `_max_episode_steps` and `info["is_success"]`.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector.utils import batch_space

from envs.simpler import Resolution, make
from envs.simpler.tasks.registry import TASKS, task_spec
from experiment.errors import UserError

SUITE = "simpler"

_FOR_WRAPPERS = "lerobot_"

Observations = dict[str, np.ndarray]


class LeRobotEnv(gymnasium.Wrapper[Observations, np.ndarray, Observations, np.ndarray]):
    """A task with lerobot's names.

    `pixels` uint8 `(h, w, 3)` and `agent_pos` float32 `(10,)` are the `image` and `state` of
    `SimplerEnv`, actions `(7,)` are its own. `task_description` is the instruction, which changes
    with the subtask. lerobot counts an episode as a success if any of its steps was one.
    """

    def __init__(self, env: gymnasium.Env[Observations, np.ndarray], task: str) -> None:
        super().__init__(env)
        spec = task_spec(task)
        self.task, self.task_description = spec.name, ""
        self._max_episode_steps = spec.max_steps
        spaces = env.observation_space
        assert isinstance(spaces, gymnasium.spaces.Dict)
        self.observation_space = gymnasium.spaces.Dict(
            {"pixels": spaces["image"], "agent_pos": spaces["state"]}
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Start an episode; see `SimplerEnv.reset`. What lerobot's wrappers are told is let by."""
        options = {k: v for k, v in (options or {}).items() if not k.startswith(_FOR_WRAPPERS)}
        observation, info = self.env.reset(seed=seed, options=options)
        return self._named(observation), self._info(info)

    def step(self, action: np.ndarray) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Execute one action `(7,)`; see `SimplerEnv.step`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._named(observation), float(reward), terminated, truncated, self._info(info)

    def _named(self, observation: Observations) -> Observations:
        return {"pixels": observation["image"], "agent_pos": observation["state"]}

    def _info(self, info: Mapping[str, Any]) -> dict[str, Any]:
        self.task_description = str(info["instruction"])
        return {
            "is_success": bool(info["success"]),
            "success_strict": bool(info["success_strict"]),
            "subtask": int(info["subtask"]),
            "task": self.task,
        }


class LaterVectorEnv(gymnasium.vector.VectorEnv[Observations, np.ndarray, np.ndarray]):
    """A vector environment that is made when it is first used.

    All tasks of a suite are handed over at once and evaluated one after the other: their processes
    would be as many as all of them have environments. A closed one is made again when it is used.
    """

    def __init__(
        self,
        build: Callable[[], gymnasium.vector.VectorEnv[Any, Any, Any]],
        example: gymnasium.Env[Any, Any],
        num_envs: int,
    ) -> None:
        """Args: `example` tells the spaces and is not used otherwise."""
        self.num_envs = num_envs
        self.single_observation_space = example.observation_space
        self.single_action_space = example.action_space
        self.observation_space = batch_space(example.observation_space, num_envs)
        self.action_space = batch_space(example.action_space, num_envs)
        self.metadata = {
            **example.metadata,
            "autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP,
        }
        self.render_mode = example.render_mode
        self._build = build
        self._made: gymnasium.vector.VectorEnv[Any, Any, Any] | None = None

    @property
    def made(self) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
        """The environment itself."""
        if self._made is None:
            self._made = self._build()
        return self._made

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        return self.made.reset(seed=seed, options=options)  # type: ignore[arg-type]

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        return self.made.step(actions)

    def render(self) -> Any:
        return self.made.render()

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return what each environment answers; see `gymnasium.vector.SyncVectorEnv.call`."""
        return self.made.call(name, *args, **kwargs)  # type: ignore[attr-defined]

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute of each environment."""
        return self.made.get_attr(name)  # type: ignore[attr-defined]

    def close(self, **kwargs: Any) -> None:
        if self._made is not None:
            self._made.close(**kwargs)
            self._made = None


def make_one(task: str, resolution: Resolution = "native", **settings: Any) -> LeRobotEnv:
    """Make one environment; `settings` are those of `envs.simpler.make`.

    Raises `UserError` as it does, and for `resolution` None: lerobot's policies see pictures.
    """
    if resolution is None:
        raise UserError("resolution=None has no pictures, which lerobot's policies see.")
    return LeRobotEnv(make(task, resolution=resolution, **settings), task)


def make_env(
    n_envs: int = 1,
    use_async_envs: bool = False,
    cfg: Any = None,
    tasks: str | Iterable[str] | None = None,
    **settings: Any,
) -> dict[str, dict[int, gymnasium.vector.VectorEnv[Any, Any, Any]]]:
    """Return `{"simpler": {number: vector environment}}`, a task each, as lerobot's EnvHub asks.

    Args: `n_envs` of each task, in processes of their own with `use_async_envs`; `tasks` are names,
        with commas between them or in a list, None for the `task` of lerobot's `cfg` or for all 25;
        `settings` as in `make_one`.
    Raises: `UserError` for an unknown task or setting, before anything is simulated.
    """
    if n_envs < 1:
        raise UserError(f"n_envs={n_envs} must be at least 1.")
    chosen = getattr(cfg, "task", None) if tasks is None else tasks
    if isinstance(chosen, str):
        chosen = [name.strip() for name in chosen.split(",")]
    names = [task_spec(name).name for name in chosen or TASKS]
    kind: Callable[..., gymnasium.vector.VectorEnv[Any, Any, Any]] = gymnasium.vector.SyncVectorEnv
    if use_async_envs:
        # A renderer that was started here does not survive a fork.
        kind = partial(gymnasium.vector.AsyncVectorEnv, context="spawn")
    suite: dict[int, gymnasium.vector.VectorEnv[Any, Any, Any]] = {}
    for number, name in enumerate(names):
        one = partial(make_one, name, **settings)
        suite[number] = LaterVectorEnv(partial(kind, [one] * n_envs), one(), n_envs)
    return {SUITE: suite}
