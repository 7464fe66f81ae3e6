"""What the official files are: path, size and checksum of each, at one pinned revision.

`manifest.json` lists the files that SIMPLER's tasks use out of the repository named in it: robots,
cabinet, catalogued objects, photographs, stages. Left out are other robots and colourings, earlier
candidates of a texture, debugging material, and stages and photographs that no task names.
"""

import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from experiment.errors import UserError

FOLDER_VARIABLE = "SIMPLER_ASSETS"
"""Environment variable that names a copy of the official files."""
GROUPS = ("robots", "cabinet", "objects", "photographs", "stages", "licence")
INSTALL = "python -m envs.simpler.assets install"

_PREFIXES = (
    ("data/custom/mk_station", "cabinet"),
    ("data/custom/models/stone_tabletop.glb", "cabinet"),
    ("data/custom/", "objects"),
    ("data/real_inpainting/", "photographs"),
    ("data/hab2_bench_assets/stages/", "stages"),
    ("mani_skill2_real2sim/assets/descriptions/", "robots"),
)


@dataclass(frozen=True)
class Entry:
    """One official file.

    size: bytes, None where unknown. checksum: `sha256:` of the content; `git:`, the name of a blob,
    for the few files whose content was not at hand when the list was made.
    """

    path: str
    size: int | None
    checksum: str

    @property
    def group(self) -> str:
        """One of `GROUPS`."""
        return next((g for prefix, g in _PREFIXES if self.path.startswith(prefix)), "licence")

    @property
    def essential(self) -> bool:
        """Whether tasks fail without it; stages and the drawn meshes of objects have stand-ins."""
        drawing = self.group == "objects" and PurePosixPath(self.path).stem == "textured"
        return self.group not in ("stages", "licence") and not drawing

    @property
    def stand_in(self) -> str:
        """What a task does without the file."""
        if self.essential:
            return "tasks need it"
        if self.group == "stages":
            return "a plain table or room stands in"
        return "a plain shape is drawn" if self.group == "objects" else "no task reads it"

    @property
    def sha256(self) -> str | None:
        """The checksum as pooch takes it, None where only the name of the blob is known."""
        return self.checksum if self.checksum.startswith("sha256:") else None

    def matches(self, path: Path) -> bool:
        """Whether the file at `path` has the right content; reads all of it."""
        data = path.read_bytes()
        if self.sha256 is not None:
            return f"sha256:{hashlib.sha256(data).hexdigest()}" == self.sha256
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
        return f"git:{blob.hexdigest()}" == self.checksum


@dataclass(frozen=True)
class Manifest:
    """The files of one revision (a full commit id) of a GitHub repository (owner/name)."""

    repository: str
    revision: str
    entries: dict[str, Entry]

    @property
    def address(self) -> str:
        """Where GitHub serves the files, none of which is in Git LFS."""
        return f"https://raw.githubusercontent.com/{self.repository}/{self.revision}"


@functools.cache
def official() -> Manifest:
    """The manifest that this package pins."""
    content = json.loads(Path(__file__).with_name("manifest.json").read_text())
    entries = [
        Entry(f"{folder}/{name}" if folder else name, size, checksum)
        for folder, files in content["files"].items()
        for name, (size, checksum) in files.items()
    ]
    by_path = {entry.path: entry for entry in entries}
    return Manifest(content["repository"], content["revision"], by_path)


def default_root() -> Path:
    """Folder that `install` fills where no other is named."""
    # The base-directory convention has relative values ignored.
    named = os.environ.get("XDG_DATA_HOME", "")
    data = Path(named) if Path(named).is_absolute() else Path.home() / ".local/share"
    return data / "self-flow-robotics" / "ManiSkill2_real2sim"


def check_file(root: Path, relative: str) -> None:
    """Look at an official file's size, without reading it; files that are not official pass.

    Raises: `UserError` when it is missing, or not the pinned revision's.
    """
    entry = official().entries.get(relative)
    if entry is None:
        return
    path = root / relative
    if not path.is_file():
        raise UserError(f"{path} is missing; install it: {INSTALL} --to {root}")
    size = path.stat().st_size
    if entry.size not in (None, size):
        raise UserError(
            f"{path} is of another revision or truncated ({size} bytes instead of {entry.size}); "
            f"install it again: {INSTALL} --to {root}"
        )


def missing(root: Path) -> list[str]:
    """Paths of the official files that a folder lacks, in the order of the manifest."""
    return [path for path in official().entries if not (root / path).is_file()]
