"""Asset packs: the geometry and looks that one task definition is built from."""

from envs.simpler.assets.packs import (
    COLORINGS,
    FOLDER_VARIABLE,
    PACKS,
    AssetPack,
    PrimitivePack,
    asset_pack,
)

__all__ = [
    "COLORINGS",
    "FOLDER_VARIABLE",
    "PACKS",
    "AssetPack",
    "PrimitivePack",
    "asset_pack",
]
