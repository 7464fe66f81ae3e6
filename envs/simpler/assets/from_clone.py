"""Make the list of official files from a git clone of the repository that holds them."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from envs.simpler.assets.manifest import MODELS, STAND_INS, Entry, Manifest, group_of
from experiment.errors import UserError

# Earlier candidates of a texture, and robots and cabinets that no task's variants name.
_LEFT_OUT = (
    "_bkup",
    "_cand1",
    "_toobright",
    "textured.baked.glb",
    "textured.vis.",
    "zero123",
    "recolor_sim",
    "gripper_only",
    "meta_sim_fix_fingertip",
    "mk_station4",
)
_CATALOGUE = "data/custom/info_"


def manifest_of(clone: Path, repository: str, revision: str) -> Manifest:
    """Manifest of the files that tasks use, as a clone (bare or not) has them at `revision`.

    A size is None where the clone lacks the content, as blobless clones do.
    Raises: `UserError` when `clone` is no clone or lacks the revision.
    """
    commit = _git(clone, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    listed: dict[str, str] = {}
    for line in _git(clone, "ls-tree", "-r", "-z", commit).split("\0"):
        if line:
            meta, _, path = line.partition("\t")
            listed[path] = meta.split()[2]
    catalogues = [path for path in listed if path.startswith(_CATALOGUE)]
    models: set[str] = set()
    for path in catalogues:
        models |= json.loads(_git(clone, "cat-file", "blob", listed[path])).keys()
    chosen = [path for path in listed if _used(path, models)]
    if not catalogues or not chosen:
        raise UserError(
            f"{clone} has no official files at {revision}; name a clone of {repository}."
        )
    sizes = _sizes(clone, (listed[path] for path in chosen))
    entries = {path: Entry(path, sizes[listed[path]], listed[path]) for path in sorted(chosen)}
    return Manifest(repository, commit, entries)


def _used(path: str, models: set[str]) -> bool:
    group, file = group_of(path), PurePosixPath(path)
    if group is None or any(mark in path for mark in _LEFT_OUT):
        return False
    if group == "stages":
        return file.stem in STAND_INS
    if group == "photographs":
        # Deeper folders hold real episodes that are none of the tasks' scenes.
        return file.parent.name == "real_inpainting"
    if group == "objects" and path.startswith(MODELS):
        # Deeper folders of a model are its makers' working files.
        return file.parent.name in models and file.parent.parent == PurePosixPath(MODELS)
    return True


def _sizes(clone: Path, blobs: Iterable[str]) -> dict[str, int | None]:
    asked = "".join(f"{blob}\n" for blob in blobs)
    sizes: dict[str, int | None] = {}
    for line in _git(clone, "cat-file", "--batch-check", given=asked).splitlines():
        blob, _, rest = line.partition(" ")
        sizes[blob] = int(rest.split()[1]) if rest.startswith("blob ") else None
    return sizes


def _git(clone: Path, *arguments: str, given: str | None = None) -> str:
    command = ["git", "-C", str(clone), *arguments]
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise UserError("git is not installed; install it to read a clone.") from error
    except subprocess.CalledProcessError as error:
        raise UserError(
            f"git cannot read {clone} ({error.stderr.strip() or arguments[-1] + ' is not in it'}); "
            "name a clone that has the pinned revision."
        ) from error
    return done.stdout
