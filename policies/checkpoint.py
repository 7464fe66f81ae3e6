"""Load a policy from a checkpoint folder, of whatever kind it is."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from envs.simpler.tasks.registry import TASKS, task_spec
from experiment.errors import UserError, nearest
from experiment.settings import ROOT, typed
from policies import regression, video_action
from policies.chunking import ActionCode, ChunkedPolicy, Predictor
from policies.contract import ACTION_SIZE, STATE_SIZE
from policies.listening import hearing
from policies.planning.plan import Plan
from policies.planning.planner import planned
from worldmodel.data.gripper import CODECS, codec_name, codec_of
from worldmodel.data.normalisation import Normalisation
from worldmodel.device import Compute
from worldmodel.training.checkpoint import CONFIG, checkpoint_folder, read_config

SHIPPED = "policies/checkpoints"
CAMERA = (160, 128)
"""Width and height of the camera, as `configs/eval.yaml` has it."""

Load = Callable[[Path, Mapping[str, Any], Normalisation, Compute], Predictor]

_PREDICTORS: dict[str, Load] = {
    video_action.KIND: video_action.predictor_of,
    regression.KIND: regression.predictor_of,
}

# What checkpoints do not say that are older than the setting.
_OLDER: dict[str, dict[str, Any]] = {
    video_action.KIND: {"guidance": 1.0, "ensemble": 1},
    regression.KIND: {"ensemble": 1},
}


def shipped(task: str) -> Path:
    """Return the folder of the policy that this package brings for a task.

    That of the task itself comes before that of its robot. Raises `UserError` where there is none.
    """
    spec = task_spec(task)
    folders = [ROOT / SHIPPED / name for name in (spec.name, spec.robot_type)]
    found = next((folder for folder in folders if (folder / CONFIG).is_file()), None)
    if found is None:
        raise UserError(
            f"no policy for {spec.name} is installed ({folders[-1]} is missing): install the "
            "package self-flow-robotics-checkpoints, or give checkpoint= a folder that "
            "policies.finetune wrote."
        )
    return found


def camera_size(checkpoint: str | Path) -> list[int]:
    """Return width and height of a camera whose pictures are no coarser than a policy's.

    It is a multiple of `CAMERA`, with which policies of small pictures were made.
    """
    picture = picture_size(read_config(checkpoint_folder(str(checkpoint)))) or CAMERA
    times = max(math.ceil(size / base) for size, base in zip(picture, CAMERA, strict=True))
    return [times * base for base in CAMERA]


def fitting_camera(resolution: list[int] | None, *policies: str | Path) -> list[int] | None:
    """Return `resolution`, or where it is `CAMERA` what the finest of the policies needs."""
    return max(map(camera_size, policies)) if resolution == [*CAMERA] else resolution


def picture_size(sections: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return width and height of the pictures that a model sees; None if its tokenizer has none."""
    tokenizer = sections.get("tokenizer") or {}
    width, height = tokenizer.get("width"), tokenizer.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def shipped_world(policy: Path) -> Path:
    """Return the world model that this package brings for the robot of a policy, else the policy.

    A policy's own dreams hardly follow their actions.
    """
    robot = robot_of(policy, read_config(policy))
    world = ROOT / SHIPPED / f"{robot}_world"
    return world if (world / CONFIG).is_file() else policy


def load_policy(
    checkpoint: str | None,
    device: str = "cpu",
    precision: str = "float32",
    task: str | None = None,
    plan: Mapping[str, Any] | None = None,
    listen: str | None = None,
    **inference: Any,
) -> ChunkedPolicy:
    """Return the policy that `policies.finetune` wrote into the folder `checkpoint`.

    None means the one that this package brings for `task`. The policy computes on `device` (auto,
    cpu, cuda), products in `precision` (auto, float32, bfloat16). `inference` changes how it acts:
    `execute`, `ensemble` and, for a video-action model, the other fields of its `Inference`; None
    leaves what the checkpoint says. `listen`: what becomes of an instruction that was not learned,
    see `policies.listening`. `plan` (`candidates`, `value`) lets it choose among several
    chunks by what they are imagined to lead to; see `policies.planning`. Raises `UserError` naming
    the file or setting that is wrong.
    """
    if checkpoint is None and task is None:
        raise UserError("checkpoint: give a folder that policies.finetune wrote.")
    folder = shipped(str(task)) if checkpoint is None else checkpoint_folder(checkpoint)
    given = {name: value for name, value in inference.items() if value is not None}
    try:
        compute = Compute.of(device, precision, "policy.")
        return _loaded(folder, given, typed(Plan, plan or {}).check(), compute, listen)
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder / CONFIG} is damaged or of another version ({error!r})."
        ) from error


def _loaded(
    folder: Path, given: dict[str, Any], plan: Plan, compute: Compute, listen: str | None
) -> ChunkedPolicy:
    sections = read_config(folder)
    kind = _kind_of(folder, sections)
    if kind not in _PREDICTORS:
        raise UserError(f"{folder / CONFIG} has kind '{kind}'.{nearest(str(kind), _PREDICTORS)}")
    stored = {**_OLDER.get(kind, {}), **sections["inference"]}
    _check(given, stored, kind)
    inference = {**stored, **given}
    normalisation = _normalisation(folder, sections)
    sections = {**sections, "inference": inference}
    predictor = _PREDICTORS[kind](folder, sections, normalisation, compute)
    robot, gripper = robot_of(folder, sections), str(sections["gripper"])
    code = ActionCode(normalisation, codec_of(robot, gripper))
    hear = hearing(listen, sections, folder)
    if plan.candidates > 1:
        if not isinstance(predictor, video_action.VideoActionPredictor):
            raise UserError(
                f"plan.candidates={plan.candidates}: {folder} is no video-action policy."
            )
        predictor = planned(predictor, code, (robot, gripper), plan, compute)
    picture = picture_size(sections)
    seen = None if picture is None else (picture[1], picture[0])
    execute, ensemble = int(inference["execute"]), int(inference["ensemble"])
    past = sections["windows"].get("past", ())
    return ChunkedPolicy(predictor, code, execute, seen, ensemble, past, hear)


def _normalisation(folder: Path, sections: Mapping[str, Any]) -> Normalisation:
    """Return a checkpoint's normalisation; raises `UserError` where a length is wrong."""
    normalisation = Normalisation.from_section(sections["normalisation"])
    sizes = {"low": ACTION_SIZE - 1, "high": ACTION_SIZE - 1}
    if sections.get("with_state", True):
        sizes |= {"mean": STATE_SIZE, "std": STATE_SIZE}
    for name, size in sizes.items():
        shape = getattr(normalisation, name).shape
        if shape != (size,):
            raise UserError(
                f"{folder / CONFIG}: normalisation.{name} has shape {shape} where the model has "
                f"{size} numbers."
            )
    return normalisation


def _kind_of(folder: Path, sections: Mapping[str, Any]) -> Any:
    kind = sections.get("kind")
    if kind is None:
        raise UserError(
            f"{folder / CONFIG} does not name a kind of policy: it is a pretrained model, which "
            f"policies.finetune turns into a policy (init={folder})."
        )
    return kind


def robot_of(folder: Path, sections: Mapping[str, Any]) -> str:
    """Return the robot that a checkpoint's policy acts on.

    Raises `UserError` for a checkpoint that names none, or one without a gripper codec.
    """
    _kind_of(folder, sections)
    robot = sections.get("robot")
    if not isinstance(robot, str):
        raise UserError(
            f'{folder / CONFIG} does not name a robot: add one of {", ".join(CODECS)} as "robot".'
        )
    codec_name(robot)
    return robot


def check_robot(folder: Path, tasks: Iterable[str]) -> None:
    """Raise `UserError` if the policy in `folder` acts on another robot than one of the `tasks`.

    Tasks that are not SIMPLER's are not checked.
    """
    robot = robot_of(folder, read_config(folder))
    for task in tasks:
        task_robot = TASKS[task].robot_type if task in TASKS else robot
        if task_robot != robot:
            raise UserError(
                f"{folder} is a policy of robot {robot}, but task {task} has robot {task_robot}: "
                "choose a task or checkpoint of the same robot."
            )


def _check(given: Mapping[str, Any], stored: Mapping[str, Any], kind: str) -> None:
    """Raise `UserError` for a setting that the checkpoint does not have, or of another type."""
    for name, value in given.items():
        if name not in stored:
            raise UserError(
                f"{name}={value} means nothing to a {kind} policy.{nearest(name, stored)}"
            )
        default = stored[name]
        number = isinstance(default, float) and type(value) is int
        if type(value) is not type(default) and not number:
            raise UserError(
                f"policy.{name}={value} must be of type {type(default).__name__}, as the "
                f"checkpoint's own {name}={default}."
            )
