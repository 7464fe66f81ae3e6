"""Load a policy from a checkpoint folder, of whatever kind it is."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from experiment.errors import UserError, nearest
from experiment.settings import CONFIGS, ROOT
from policies import regression, video_action
from policies.chunking import ActionCode, ChunkedPolicy, Predictor
from policies.gripper import CODECS, codec_name, codec_of
from worldmodel.data.normalisation import Normalisation
from worldmodel.device import Compute
from worldmodel.training.checkpoint import CONFIG, WEIGHTS, read_config

KINDS = (video_action.KIND, regression.KIND)


def load_policy(
    checkpoint: str, device: str = "cpu", precision: str = "float32", **inference: Any
) -> ChunkedPolicy:
    """Return the policy that `policies.finetune` wrote into the folder `checkpoint`.

    It computes on `device` (auto, cpu, cuda), products in `precision` (auto, float32, bfloat16).
    `inference` changes how it acts: `execute` and, for a video-action model, the fields of its
    `Inference`; None leaves what the checkpoint says. Raises `UserError` naming the file or setting
    that is wrong.
    """
    folder = checkpoint_folder(checkpoint)
    given = {name: value for name, value in inference.items() if value is not None}
    try:
        return _loaded(folder, given, Compute.of(device, precision, "policy."))
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder / CONFIG} is damaged or of another version ({error!r})."
        ) from error


def checkpoint_folder(name: str) -> Path:
    """Return the folder that `name` means: a checkpoint, a run that wrote one, or a shipped one.

    A relative path counts from the working directory first, then from this repository. Raises
    `UserError` when neither exists.
    """
    given = Path(name).expanduser()
    for folder in (given, ROOT / given):
        if (folder / "checkpoint").is_dir():
            return (folder / "checkpoint").resolve()
        if folder.is_dir():
            return folder.resolve()
    raise UserError(
        f"there is no checkpoint {name}: give checkpoint= a folder that policies.finetune wrote."
    )


def _loaded(folder: Path, given: dict[str, Any], compute: Compute) -> ChunkedPolicy:
    sections = read_config(folder)
    kind = sections.get("kind")
    predictor: Predictor
    if kind == video_action.KIND:
        _check(given, sections["inference"], kind)
        predictor = video_action.predictor_of(folder, sections, given, compute)
    elif kind == regression.KIND:
        _check(given, sections["inference"], kind)
        predictor = regression.predictor_of(folder, sections, compute)
    elif kind is None:
        raise UserError(
            f"{folder / CONFIG} names no kind of policy: it is a pretrained model, which "
            f"policies.finetune turns into a policy (init={folder})."
        )
    else:
        raise UserError(f"{folder / CONFIG} has kind '{kind}'.{nearest(str(kind), KINDS)}")
    normalisation = Normalisation.from_section(sections["normalisation"])
    code = ActionCode(normalisation, codec_of(robot_of(folder, sections), sections["gripper"]))
    execute = given.get("execute", sections["inference"]["execute"])
    return ChunkedPolicy(predictor, code, int(execute))


def robot_of(folder: Path, sections: Mapping[str, Any]) -> str:
    """Return the robot that a checkpoint's policy acts on.

    Raises `UserError` for a checkpoint that names none, or one without a gripper codec.
    """
    robot = sections.get("robot")
    if not isinstance(robot, str):
        raise UserError(
            f'{folder / CONFIG} names no robot: add one of {", ".join(CODECS)} as "robot".'
        )
    codec_name(robot)
    return robot


def check_robot(folder: Path, tasks: Iterable[str]) -> None:
    """Raise `UserError` if the policy in `folder` acts on another robot than one of the `tasks`.

    A task's robot is what `configs/task` says; tasks that are not there are not checked.
    """
    robot = robot_of(folder, read_config(folder))
    for task in tasks:
        path = CONFIGS / "task" / f"{task}.yaml"
        other = yaml.safe_load(path.read_text())["robot"] if path.is_file() else robot
        if other != robot:
            raise UserError(
                f"{folder} is a policy of robot {robot}, but task {task} has robot {other}: choose "
                "a task or checkpoint of the same robot."
            )


def weights_digest(folder: Path) -> str:
    """Return a short digest of a checkpoint's weights; raises `UserError` if it has none."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise UserError(f"{folder} is not a checkpoint: it has no {WEIGHTS}.")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _check(given: Mapping[str, Any], usual: Mapping[str, Any], kind: str) -> None:
    """Raise `UserError` for a given setting that the checkpoint has not, or has of another type."""
    for name, value in given.items():
        if name not in usual:
            raise UserError(
                f"{name}={value} means nothing to a {kind} policy.{nearest(name, usual)}"
            )
        own = usual[name]
        number = isinstance(own, float) and type(value) is int
        if type(value) is not type(own) and not number:
            raise UserError(
                f"policy.{name}={value} must be of type {type(own).__name__}, as the checkpoint's "
                f"own {name}={own}."
            )
