"""What the official files are: path, size and checksum of each, at one pinned revision.

`manifest.json` lists the files that SIMPLER's tasks use out of the repository named in it: robots,
cabinet, catalogued objects, photographs, stages. Left out are other robots and colourings, earlier
candidates of a texture, debugging material, and stages and photographs that no task names.
Checksums are git's own (SHA-1 of a blob), so a git clone is enough to make the list again:
`python -m envs.simpler.assets manifest CLONE`.
"""

import functools
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from experiment.errors import UserError

FOLDER_VARIABLE = "SIMPLER_ASSETS"
"""Environment variable that names a copy of the official files."""
MANIFEST_FILE = Path(__file__).with_name("manifest.json")
GROUPS = ("robots", "cabinet", "objects", "photographs", "stages")
LICENCE = "licence"
"""The files' own licence, a group of one file that goes with every other."""

MODELS = "data/custom/models/"
_TABLETOP = MODELS + "stone_tabletop.glb"
_STAGES = "data/hab2_bench_assets/stages/"
_DESCRIPTIONS = "mani_skill2_real2sim/assets/descriptions/"
_PREFIXES = (
    ("data/custom/mk_station", "cabinet"),
    ("data/custom/info_", "objects"),
    (_TABLETOP, "cabinet"),
    (MODELS, "objects"),
    ("data/real_inpainting/", "photographs"),
    (_STAGES, "stages"),
    (_DESCRIPTIONS + "googlerobot_description/", "robots"),
    (_DESCRIPTIONS + "widowx_description/", "robots"),
)

_TABLE = "a plain table of the same height stands in"
_BEHIND = f"{_TABLE}, behind the photograph"
STAND_INS = {
    "google_pick_coke_can_1_v4": f"grasp and move_near tasks: {_TABLE}; "
    "visual matching hides it behind the photograph, the other variants show it",
    "google_pick_coke_can_1_v4_alt_background": f"grasp, move_near, background_1: {_TABLE}",
    "google_pick_coke_can_1_v4_alt_background_2": f"grasp, move_near, background_2: {_TABLE}",
    "Baked_sc1_staging_objaverse_cabinet1_h870": f"grasp, move_near, table_1: {_TABLE}",
    "Baked_sc1_staging_objaverse_cabinet2_h870": f"grasp, move_near, table_2: {_TABLE}",
    "bridge_table_1_v1": f"WidowX tasks on the table: {_BEHIND}",
    "bridge_table_1_v2": f"eggplant_in_basket: {_BEHIND}",
    "modern_bedroom_no_roof": "drawer and place tasks, background_1: plain surroundings stand in",
    "modern_office_no_roof": "drawer and place tasks, background_2: plain surroundings stand in",
    "frl_apartment_stage_simple": "drawer and place tasks, all variants but visual matching and "
    "the backgrounds: plain surroundings stand in",
}
"""Name of each stage that a task uses, and what a task does where its file is missing."""


@dataclass(frozen=True)
class Entry:
    """One official file. size: bytes, None where the list was made without seeing the content."""

    path: str
    size: int | None
    checksum: str

    @property
    def group(self) -> str:
        """One of `GROUPS`, or `LICENCE`."""
        return group_of(self.path) or LICENCE

    @property
    def essential(self) -> bool:
        """Whether tasks fail without it; stages and the drawn meshes of objects have stand-ins."""
        drawing = self.group == "objects" and PurePosixPath(self.path).stem == "textured"
        return self.group not in ("stages", LICENCE) and not drawing

    @property
    def stand_in(self) -> str:
        """What a task does without the file, in words."""
        if self.group == "stages":
            return STAND_INS.get(PurePosixPath(self.path).stem, "nothing uses it")
        if self.essential:
            return "tasks cannot do without it"
        return "a plain shape is drawn" if self.group == "objects" else "no task reads it"


@dataclass(frozen=True)
class Manifest:
    """The files of one revision (a full commit id) of a GitHub repository (owner/name)."""

    repository: str
    revision: str
    entries: dict[str, Entry]

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read a manifest file.

        Raises: `UserError` when it is missing or not a manifest.
        """
        try:
            content = json.loads(path.read_text())
            entries = [
                Entry(f"{folder}/{name}" if folder else name, size, checksum)
                for folder, files in content["files"].items()
                for name, (size, checksum) in files.items()
            ]
            known = {entry.path: entry for entry in entries}
            return cls(content["repository"], content["revision"], known)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} is not a manifest of official files ({error}); take the repository's own."
            ) from error

    def text(self) -> str:
        """The manifest as JSON, a line a file, in the order of paths."""
        folders: dict[str, list[str]] = {}
        for entry in sorted(self.entries.values(), key=lambda e: e.path):
            folder, _, name = entry.path.rpartition("/")
            value = json.dumps([entry.size, entry.checksum])
            folders.setdefault(folder, []).append(f"{json.dumps(name)}: {value}")
        files = ",\n".join(
            f"{json.dumps(folder)}: {{\n" + ",\n".join(lines) + "\n}"
            for folder, lines in folders.items()
        )
        head = f'"repository": "{self.repository}",\n"revision": "{self.revision}",\n'
        return f'{{\n{head}"files": {{\n{files}\n}}\n}}\n'

    def of(self, groups: tuple[str, ...]) -> list[Entry]:
        """Entries of some groups, and the licence."""
        return [e for e in self.entries.values() if e.group in (*groups, LICENCE)]


@functools.cache
def official() -> Manifest:
    """The manifest that this package pins."""
    return Manifest.read(MANIFEST_FILE)


def group_of(path: str) -> str | None:
    """Which of the groups a path of the repository belongs to, None where to none."""
    if path == "LICENSE":
        return LICENCE
    return next((group for prefix, group in _PREFIXES if path.startswith(prefix)), None)


def default_root() -> Path:
    """Folder that `install` fills where no other is named."""
    # The base-directory convention has relative values ignored.
    named = os.environ.get("XDG_DATA_HOME", "")
    data = Path(named) if Path(named).is_absolute() else Path.home() / ".local/share"
    return data / "self-flow-robotics" / "ManiSkill2_real2sim"


def check_file(root: Path, relative: str) -> None:
    """Look at an official file's size, without reading it; other files pass.

    Raises: `UserError` when it is missing, or not the pinned revision's.
    """
    entry = official().entries.get(relative)
    if entry is None:
        return
    path = root / relative
    if not path.is_file():
        raise UserError(
            f"{path} is missing; install it: python -m envs.simpler.assets install --to {root}"
        )
    size = path.stat().st_size
    if entry.size is not None and size != entry.size:
        raise UserError(
            f"{path} is of another revision or truncated ({size} bytes instead of {entry.size}); "
            f"install it again: python -m envs.simpler.assets install --to {root}"
        )


def missing(root: Path) -> list[str]:
    """Paths of the official files that a folder lacks, in the order of the manifest."""
    return [path for path in official().entries if not (root / path).is_file()]


def pieces(path: Path, size: int = 1 << 20) -> Iterator[bytes]:
    """Content of a file, piece by piece."""
    with path.open("rb") as file:
        while piece := file.read(size):
            yield piece


def checksum(path: Path) -> str:
    """Git's name for the content of a file: SHA-1 over its kind, its length and its bytes."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    for piece in pieces(path):
        digest.update(piece)
    return digest.hexdigest()
