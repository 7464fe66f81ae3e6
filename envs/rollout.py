"""The episode loop: a policy acts in an environment, recorders watch, a record comes out."""

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from envs.actions import validated_chunk
from envs.episode import (
    EXECUTED,
    Episode,
    EpisodeRecord,
    Observation,
    Policy,
    Recorder,
    policy_name,
)
from experiment.run_folder import package_versions

_PACKAGES = ("self-flow-robotics", "mani-skill", "sapien", "torch", "numpy")
"""What decides an episode's outcome."""


def run_episode(
    env: gymnasium.Env[Any, Any],
    policy: Policy,
    episode: Episode,
    recorders: Sequence[Recorder] = (),
    max_steps: int | None = None,
) -> EpisodeRecord:
    """Run one episode to the step limit or until the policy is done.

    Success does not end an episode: success at the end and success ever are two figures.
    Raises `UserError` for an impossible action, naming the policy and the step.
    """
    started = time.perf_counter()
    policy_seconds, calls, step = 0.0, 0, 0
    raw, info = env.reset(seed=episode.seed, options=episode.reset_options())
    observation = observe(raw, info, step)
    start = _places(observation.privileged)
    said = observation.instruction
    policy.reset(said, episode.seed)
    for recorder in recorders:
        recorder.start(episode, observation)

    over = False
    while not over:
        asked = time.perf_counter()
        answer = policy.act(observation)
        policy_seconds += time.perf_counter() - asked
        calls += 1
        if getattr(policy, "subtask_done", False):
            env.unwrapped.advance_to_next_subtask()  # type: ignore[attr-defined]
        for action in validated_chunk(answer, policy_name(policy), step):
            raw, _, terminated, truncated, info = env.step(action)
            step += 1
            after = observe(raw, info, step)
            for recorder in recorders:
                recorder.step(observation, action, info, after)
            observation = after
            over = terminated or truncated or (max_steps is not None and step >= max_steps)
            if over:
                break
        over = over or bool(getattr(policy, "done", False))

    record = EpisodeRecord(
        task=episode.task,
        index=episode.index,
        seed=episode.seed,
        robot_pose=str(info["robot_pose"]),
        policy=policy_name(policy),
        success_at_end=bool(info["success"]),
        success_ever=bool(info["success_ever"]),
        success_strict=bool(info["success_strict"]),
        subtask=int(info["subtask"]),
        steps=step,
        calls=calls,
        seconds=round(time.perf_counter() - started, 3),
        policy_seconds=round(policy_seconds, 3),
        versions=_versions() | dict(info.get("versions", {})),
        variant=episode.variant,
        options=episode.reset_options(),
        statistics=dict(info.get("episode_stats", {})),
        assets=str(info.get("assets", "")),
        stand_ins=tuple(info.get("stand_ins", ())),
        start=start,
        instruction=said,
        wording=str(info.get("wording", "")),
    )
    for recorder in recorders:
        recorder.end(record)
    return record


def _places(privileged: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return where the object to be moved and its target are, x, y, z (m)."""
    roles = {"object": privileged.get("source"), "target": privileged.get("target")}
    objects = privileged.get("objects", {})
    places = {role: objects[model]["pose"] for role, model in roles.items() if model in objects}
    return {role: [round(float(v), 4) for v in pose[:3]] for role, pose in places.items()}


@functools.cache
def _versions() -> dict[str, str]:
    return package_versions(_PACKAGES)


def observe(raw: Mapping[str, Any], info: Mapping[str, Any], step: int) -> Observation:
    """Return what a policy sees after an environment's `reset` or `step` returned `raw`, `info`.

    An action that was executed instead of the given one is part of the privileged state.
    """
    privileged = info.get("privileged", {})
    if EXECUTED in info:
        privileged = {**privileged, EXECUTED: info[EXECUTED]}
    return Observation(
        image=raw.get("image"),
        state=np.asarray(raw["state"], dtype=np.float32),
        instruction=str(info["instruction"]),
        step=step,
        privileged=privileged,
    )
