"""The asset packs by name.

`primitives` needs nothing downloaded. `simpler` reads the official meshes, textures and photographs
from a copy of ManiSkill2_real2sim (Apache-2.0): a folder named by the user or the SIMPLER_ASSETS
variable, else where `python -m envs.simpler.assets install` puts it.
"""

import os
from pathlib import Path

from envs.simpler.assets.manifest import FOLDER_VARIABLE, default_root
from envs.simpler.assets.official import SimplerPack
from envs.simpler.assets.pack import AssetPack
from envs.simpler.assets.primitive_pack import PrimitivePack
from experiment.errors import UserError, nearest

PACKS = ("primitives", "simpler")


def asset_pack(name: str, root: str | Path | None = None) -> AssetPack:
    """Make the pack called `name`.

    Raises: `UserError` for an unknown name, a missing folder or an incomplete one.
    """
    if name == "primitives":
        return PrimitivePack()
    if name == "simpler":
        folder = root or os.environ.get(FOLDER_VARIABLE)
        if not folder and default_root().is_dir():
            folder = default_root()
        if not folder:
            raise UserError(
                "assets=simpler needs the official files: run `python -m envs.simpler.assets "
                f"install`, or set asset_root= or {FOLDER_VARIABLE} to a clone of "
                "ManiSkill2_real2sim."
            )
        return SimplerPack(Path(folder).expanduser())
    raise UserError(f"unknown asset pack {name!r}.{nearest(name, PACKS)}")
