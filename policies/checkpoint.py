"""Load a policy from a checkpoint folder, of whatever kind it is."""

from pathlib import Path
from typing import Any

from experiment.command_line import ROOT
from experiment.errors import UserError, nearest
from experiment.errors import UserError as ModelUserError
from policies import regression, video_action
from policies.chunking import ActionCode, ChunkedPolicy, Predictor
from policies.gripper import checked_kind
from worldmodel.data.normalisation import Normalisation
from worldmodel.training.checkpoint import CONFIG, read_config

KINDS = (video_action.KIND, regression.KIND)


def load_policy(checkpoint: str, execute: int | None = None, **inference: Any) -> ChunkedPolicy:
    """Return the policy that `policies.finetune` wrote into the folder `checkpoint`.

    `execute` and, for a video-action model, the fields of `Inference` change how it acts; None
    leaves what the checkpoint says. Raises `UserError` naming the file or setting that is wrong.
    """
    folder = checkpoint_folder(checkpoint)
    given = {name: value for name, value in inference.items() if value is not None}
    try:
        return _loaded(folder, execute, given)
    except ModelUserError as error:
        raise UserError(str(error)) from error
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


def _loaded(folder: Path, execute: int | None, given: dict[str, Any]) -> ChunkedPolicy:
    sections = read_config(folder)
    kind = sections.get("kind")
    predictor: Predictor
    if kind == video_action.KIND:
        _check(given, [f for f in sections["inference"] if f != "execute"], kind)
        predictor = video_action.predictor_of(str(folder), sections, given)
    elif kind == regression.KIND:
        _check(given, [], kind)
        predictor = regression.predictor_of(str(folder), sections)
    elif kind is None:
        raise UserError(
            f"{folder / CONFIG} names no kind of policy: it is a pretrained model, which "
            f"policies.finetune turns into a policy (init={folder})."
        )
    else:
        raise UserError(f"{folder / CONFIG} has kind '{kind}'.{nearest(str(kind), KINDS)}")
    code = ActionCode(
        Normalisation.from_section(sections["normalisation"]), checked_kind(sections["gripper"])
    )
    usual = int(sections["inference"]["execute"])
    return ChunkedPolicy(predictor, code, usual if execute is None else execute)


def _check(given: dict[str, Any], known: list[str], kind: str) -> None:
    for name in given:
        if name not in known:
            raise UserError(
                f"{name}={given[name]} means nothing to a {kind} policy."
                + (nearest(name, known) if known else "")
            )
