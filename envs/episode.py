"""What an episode is: its name and start, what a policy sees, who watches, what is recorded."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike

from experiment.errors import UserError

DEMONSTRATIONS = "demos"
"""The protocol that names demonstration episodes; their seeds never meet an evaluation's."""

_DEMONSTRATION_BIT = 1 << 31

VISUAL_MATCHING = "visual_matching"
"""The variant of a scene that SIMPLER's prepackaged environments have."""

EXECUTED = "executed_action"
"""The key in `info`, and in demonstrations the column, of the action `(7,)` that the environment
was given where that is not the policy's own (m, rotation vector in rad, gripper command). Not
called `action...`, which LeRobot's policies would learn."""


@dataclass(frozen=True)
class Branch:
    """How an episode leaves demonstration number `of`: at `step`, for `length` steps.

    `actions` are the kind of what is done instead, "demonstration" for the demonstration itself;
    see `envs.dataset.branching`.
    """

    of: int
    actions: str = "demonstration"
    step: int = 0
    length: int = 0


@dataclass(frozen=True)
class Episode:
    """What makes an episode: the same one gives the same start whenever and wherever it is run.

    `index` counts the episodes of `task` in a protocol. The other fields but `variant` and `branch`
    are options of `env.reset` (positions in m, angles in rad); what is None is drawn from the seed.
    """

    task: str
    index: int
    seed: int
    robot_pose: str | None = None
    object_xy: tuple[float, float] | None = None
    target_xy: tuple[float, float] | None = None
    distractor_xy: tuple[float, float] | None = None
    robot_xy: tuple[float, float] | None = None
    robot_yaw: float | None = None
    coloring: str | None = None
    orientation: str | None = None
    layout: int | None = None
    drawer: str | None = None
    object: str | None = None
    variant: str = VISUAL_MATCHING
    branch: Branch | None = None

    def reset_options(self) -> dict[str, Any]:
        """Return the options for `env.reset`; what is not fixed here is drawn from the seed."""
        named = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: value
            for name, value in named.items()
            if name not in _NO_OPTIONS and value is not None
        }


_NO_OPTIONS = ("task", "index", "seed", "variant", "branch")


@dataclass(frozen=True)
class Observation:
    """What a policy sees before it acts.

    `image` uint8 `(h, w, 3)` or None, `state` float32 `(10,)`: gripper xyz (m) and 6-D rotation in
    the robot's base frame, mean finger angle (rad). `privileged` is for scripted experts only.
    """

    image: np.ndarray | None
    state: np.ndarray
    instruction: str
    step: int
    privileged: Mapping[str, Any]


class Policy(Protocol):
    """Acts in chunks.

    Optional attributes: `name: str` for records, the name of the class by default; `done: bool`
    ends the episode early when True; `subtask_done: bool` reports that the current subtask
    is finished, so the environment continues with the next instruction; `told(executed)` hears of
    the actions `(k, 7)` that were executed in place of those `act` last returned.
    """

    def reset(self, instruction: str, seed: int) -> None:
        """Forget the last episode; all randomness of the next one follows from `seed`."""

    def act(self, observation: Observation) -> ArrayLike:
        """Return `(k, 7)`, k >= 1: the actions to execute before the next observation."""
        ...


def checked_policy(built: object) -> Policy:
    """Return `built`; raises `UserError` if it lacks a method of a policy."""
    for method in ("reset(instruction, seed)", "act(observation)"):
        if not callable(getattr(built, method.partition("(")[0], None)):
            raise UserError(
                f"the policy {type(built).__name__} has no {method}: policies/contract.py says "
                "what a policy needs."
            )
    return cast(Policy, built)


def policy_name(policy: Policy) -> str:
    """Return what records call the policy."""
    return str(getattr(policy, "name", type(policy).__name__))


@dataclass(frozen=True)
class EpisodeRecord:
    """The outcome of one episode; one JSON line.

    `seconds` is the wall time from reset to end, `policy_seconds` the part of it inside the
    policy, `calls` the number of chunks. `options` are those of the reset,
    `statistics` the original's episode statistics, `assets` the shapes the scene was made of and
    `stand_ins` the files of theirs that were missing. `start`: where the `object` to be moved and
    its `target` stood after the reset, x, y, z in the world (m). `instruction`: what was said
    first; `wording`: the name of the rules (`envs.wording`) that changed it, if any did.
    """

    task: str
    index: int
    seed: int
    robot_pose: str
    policy: str
    success_at_end: bool
    success_ever: bool
    success_strict: bool
    subtask: int
    steps: int
    calls: int
    seconds: float
    policy_seconds: float
    versions: Mapping[str, str]
    variant: str = VISUAL_MATCHING
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    statistics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    assets: str = ""
    stand_ins: Sequence[str] = ()
    start: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    instruction: str = ""
    wording: str = ""

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "EpisodeRecord":
        """Read back what `to_json` wrote, now or before there were variants.

        Fields that others added to the line are ignored. Raises `TypeError` for a missing one.
        """
        values = json.loads(line)
        if not isinstance(values, dict):
            raise TypeError("no JSON object")
        if values.get("object_xy") is not None:
            values.setdefault("options", {"object_xy": values["object_xy"]})
        names = {field.name for field in dataclasses.fields(cls)}
        fields = {name: value for name, value in values.items() if name in names}
        for name in ("options", "statistics"):
            fields[name] = {k: _as_tuple(v) for k, v in fields.get(name, {}).items()}
        fields["stand_ins"] = _as_tuple(fields.get("stand_ins", ()))
        return cls(**fields)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Recorder(Protocol):
    """Watches an episode. An episode that breaks off gets no `end`; the next `start` clears it."""

    def start(self, episode: Episode, observation: Observation) -> None:
        """Begin a new episode with what the policy sees first."""

    def step(
        self,
        before: Observation,
        action: np.ndarray,
        info: Mapping[str, Any],
        after: Observation,
    ) -> None:
        """Take one control step: `action` `(7,)` led from `before` to `after`."""

    def end(self, record: EpisodeRecord) -> None:
        """Finish the episode."""


def episode_seed(task: str, protocol: str, index: int, base: int = 0) -> int:
    """Return the 32-bit seed of episode `index`: a hash, so the same on every machine.

    Demonstrations have the highest bit set and evaluations do not, so no evaluation can meet an
    episode that a policy was trained on. `base` gives another set of episodes of a protocol.
    """
    digest = hashlib.sha256(json.dumps([task, protocol, index, base]).encode()).digest()
    bits = int.from_bytes(digest[:4], "little") & (_DEMONSTRATION_BIT - 1)
    return bits | _DEMONSTRATION_BIT if protocol == DEMONSTRATIONS else bits
