"""What `envs.collect` is to collect: checked settings, and which episodes follow from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.episode import DEMONSTRATIONS, VISUAL_MATCHING, Episode, episode_seed
from envs.simpler.tasks.registry import TASKS
from envs.simpler.tasks.scattered import scattered
from envs.workers import available_cores
from experiment.errors import UserError
from experiment.settings import Description

Range = tuple[tuple[float, float], ...]
"""Bounds of each axis."""

_EXAMPLES: dict[str, Range] = {
    "object_range": ((-0.13, -0.07), (-0.05, 0.1)),
    "robot_range": ((0.62, 0.92), (-0.24, 0.26), (-0.07, 0.01)),
}


@dataclass(frozen=True)
class Collection:
    """What to collect. `env` and `policy` are descriptions that every worker builds from;
    `scattered` puts what has fixed places anywhere between these (`envs.simpler.tasks.scattered`).
    `max_steps` ends an episode before its task's own limit.
    `object_range` bounds x and y (m) of where the object is dropped, `robot_range` x, y (m) and yaw
    (rad) of the robot's base, instead of its poses; None for the task's own.
    """

    task: str
    episodes: int
    out: Path
    env: Description
    policy: Description
    workers: int
    keep_failures: bool
    robot_poses: tuple[str, ...]
    robot: str = "google_robot"
    time_limit: float | None = None
    seed: int = 0
    layouts: int = 0
    variants: tuple[str, ...] = (VISUAL_MATCHING,)
    object_range: Range | None = None
    robot_range: Range | None = None
    scattered: bool = False
    max_steps: int | None = None

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Collection":
        """Check the settings of `configs/collect.yaml`; raises `UserError` naming a bad one."""
        workers = settings["workers"] if settings["workers"] is not None else available_cores()
        for name, count in (("episodes", settings["episodes"]), ("workers", workers)):
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise UserError(f"{name}={count}: give a whole number of at least 1.")
        time_limit = settings["time_limit"]
        if not isinstance(time_limit, int | float | None) or isinstance(time_limit, bool):
            raise UserError(f"time_limit={time_limit}: give seconds, or null for no limit.")
        if not isinstance(settings["keep_failures"], bool):
            raise UserError(f"keep_failures={settings['keep_failures']}: give true or false.")
        if settings["task"]["name"] == "all":
            raise UserError("task=all: demonstrations are collected of one task, give its name.")
        max_steps = settings.get("max_steps")  # envs.branch has none
        if max_steps is not None and (type(max_steps) is not int or max_steps < 1):
            raise UserError(f"max_steps={max_steps}: give a whole number of at least 1, or null.")
        variants = settings.get("variants", [VISUAL_MATCHING])  # envs.branch has no other
        if not variants:
            raise UserError("variants=[]: give at least one, such as [visual_matching].")
        env, policy = settings["env"], settings["policy"]
        if settings.get("randomisation"):  # 0 leaves the description as it was
            scale = settings["randomisation"]
            env = {"_target_": "envs.dataset.looks.RandomLooks", "env": env, "scale": scale}
        if settings.get("label") is not None:  # a group without a choice leaves no key
            env = {
                "_target_": "envs.dataset.corrective.LearnerDrives",
                "env": env,
                "learner": policy,
                "learner_share": settings["learner_share"],
            }
            policy = settings["label"]
        return cls(
            task=str(settings["task"]["name"]),
            episodes=settings["episodes"],
            out=Path(settings["out"]),
            env=env,
            policy=policy,
            workers=workers,
            keep_failures=settings["keep_failures"],
            robot_poses=tuple(settings["robot_poses"] or ()),
            robot=str(settings["task"]["robot"]),
            time_limit=time_limit,
            seed=settings["seed"],
            layouts=int(settings["task"].get("layouts") or 0),
            variants=tuple(map(str, variants)),
            object_range=_checked_range(settings, "object_range"),
            robot_range=_checked_range(settings, "robot_range"),
            scattered=_checked_scattered(settings),
            max_steps=max_steps,
        )

    @property
    def fps(self) -> int:
        """Control rate (Hz): SIMPLER's robots differ."""
        return 5 if self.robot == "widowx" else 3

    @property
    def staging(self) -> Path:
        return self.out / ".staging"

    def identity(self) -> dict[str, Any]:
        """Return what decides each episode; the same for all runs into one folder."""
        ranges = {"object_range": self.object_range, "robot_range": self.robot_range}
        asked: dict[str, Any] = {
            name: [*map(list, given)] for name, given in ranges.items() if given is not None
        }
        if self.scattered:
            asked["scattered"] = True
        if self.max_steps is not None:
            asked["max_steps"] = self.max_steps
        return asked | {
            "task": self.task,
            "env": {key: value for key, value in self.env.items() if key != "asset_root"},
            "policy": dict(self.policy),
            "keep_failures": self.keep_failures,
            "robot_poses": list(self.robot_poses),
            "seed": self.seed,
            "layouts": self.layouts,
            "variants": list(self.variants),
        }

    def episode(self, index: int) -> Episode:
        poses, variants = self.robot_poses, self.variants
        options = self._places(index)
        if poses and "robot_xy" not in options:
            options["robot_pose"] = poses[index % len(poses)]
        return Episode(
            task=self.task,
            index=index,
            seed=self._seed(index),
            layout=self._layout(index) if self.layouts else None,
            # Every pose in one variant, then every pose in the next: all pairs come.
            variant=variants[index // max(1, len(poses)) % len(variants)],
            **options,
        )

    def _places(self, index: int) -> dict[str, Any]:
        """Return the options of a reset that say where robot and objects are, if not the task."""
        if self.scattered:
            return scattered(TASKS[self.task], np.random.default_rng([self._seed(index), 5]))
        robot = self._drawn(self.robot_range, index, 4)
        placed = self._drawn(self.object_range, index, 3)
        options: dict[str, Any] = {}
        if placed is not None:
            options["object_xy"] = (placed[0], placed[1])
        if robot is not None:
            options |= {"robot_xy": (robot[0], robot[1]), "robot_yaw": robot[2]}
        return options

    def _seed(self, index: int) -> int:
        # Odd bases are those of envs.branch.
        return episode_seed(self.task, DEMONSTRATIONS, index, 2 * self.seed)

    def _drawn(self, bounds: Range | None, index: int, stream: int) -> list[float] | None:
        if bounds is None:
            return None
        generator = np.random.default_rng([self._seed(index), stream])
        return [float(generator.uniform(*axis)) for axis in bounds]

    def _layout(self, index: int) -> int:
        """Return a layout, each once before one comes again: drawn ones leave some out for long."""
        turn, place = divmod(index, self.layouts)
        first = self._seed(turn * self.layouts)
        return int(np.random.default_rng(first).permutation(self.layouts)[place])


def _checked_scattered(settings: Mapping[str, Any]) -> bool:
    given = bool(settings.get("scattered"))  # envs.branch has none
    if given and settings["task"]["name"] not in TASKS:
        raise UserError("scattered=true: only SIMPLER's tasks have places to scatter between.")
    for name in _EXAMPLES:
        if given and settings.get(name) is not None:
            raise UserError(f"scattered=true draws places itself: leave out {name}.")
    return given


def _checked_range(settings: Mapping[str, Any], name: str) -> Range | None:
    given = settings.get(name)  # envs.branch has none
    if given is None:
        return None
    example = _EXAMPLES[name]
    try:
        bounds = tuple((float(low), float(high)) for low, high in given)
    except (TypeError, ValueError):
        bounds = ()
    if len(bounds) != len(example) or not all(
        low <= high for low, high in bounds
    ):  # nor if one is nan
        raise UserError(
            f"{name}={given}: give {len(example)} pairs, the lower bound first, such as "
            f"{[*map(list, example)]}."
        )
    return bounds
