"""Compare our pictures with the original's renders.

`python -m envs.original.pictures GOLDENS_DIR --asset-root FOLDER [--out FOLDER]` resets every
episode that has a recorded render, draws it at the original's size and prints the mean absolute
difference in grey levels (of 255), by region; side-by-side sheets (original, ours, four times
the difference) go to the folder.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

import envs.simpler
from envs.original.recordings import reset_options
from envs.simpler.environment import SimplerEnv
from envs.simpler.tasks.registry import TASKS, TaskSpec
from experiment import progress
from experiment.errors import UserError, exit_on_user_error

AMPLIFIED = 4
DRAWERS = ("top_drawer", "middle_drawer", "bottom_drawer")
Picture = NDArray[np.uint8]


def renders_of(folder: Path, spec: TaskSpec) -> list[tuple[Path, dict[str, Any]]]:
    """Recorded pictures of a task and what was recorded with each (seed, ...)."""
    table = folder / "renders" / f"{spec.simpler_name}.json"
    if not table.is_file():
        return []
    rows = json.loads(table.read_text())
    paths = [(table.with_name(name), row) for name, row in sorted(rows.items())]
    return [(path, row) for path, row in paths if path.is_file()]


def regions(picture: Path) -> dict[str, NDArray[np.bool_]]:
    """Masks (h, w) by the original's segmentation: robot, cabinet, drawers, objects.

    The rest is the photograph. Empty where no segmentation was recorded.
    """
    path = picture.with_name(f"{picture.stem}_seg.npz")
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as data:
        labels, links, actors = data["seg"], data["link_names"], data["actors"]
    masks: dict[str, NDArray[np.bool_]] = {}
    for kind, rows in (("link", links), ("actor", actors)):
        for first, second in rows:
            number, name = (first, second) if str(first).isdigit() else (second, first)
            group = _group(kind, str(name))
            mask = labels == int(number)
            masks[group] = masks.get(group, np.zeros_like(mask)) | mask
    masks["photograph"] = ~np.any(list(masks.values()), axis=0)
    return masks


def _group(kind: str, name: str) -> str:
    if kind == "actor":
        return "photograph" if name == "arena" else "objects"
    if name in DRAWERS:
        return "drawers"
    return "cabinet" if name == "body" else "robot"


def difference(ours: Picture, original: Picture) -> NDArray[np.float64]:
    """Absolute difference (h, w) in grey levels, mean over the colours."""
    return np.abs(ours.astype(np.float64) - original.astype(np.float64)).mean(-1)


def compare(env: SimplerEnv, path: Path, row: dict[str, Any]) -> tuple[dict[str, float], Picture]:
    """Differences by region, and the sheet: original, ours, amplified difference.

    Raises: `UserError` for a picture that does not decode.
    """
    try:
        with Image.open(path) as picture:
            original = np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise UserError(f"{path} does not decode as a picture; copy it again.") from error
    options = reset_options(row, np.array([*row["base_p"], *row["base_q"]]))
    observation, _ = env.reset(seed=row["seed"], options=options)
    ours = observation["image"]
    off = difference(ours, original)
    result = {"all": float(off.mean())}
    masks = regions(path)
    for name, mask in masks.items():
        if mask.any():
            result[name] = float(off[mask].mean())
    if "drawers" in masks:
        result["outside_drawers"] = float(off[~masks["drawers"]].mean())
    amplified = np.clip(off * AMPLIFIED, 0, 255).astype(np.uint8)
    sheet = np.concatenate([original, ours, np.repeat(amplified[..., None], 3, -1)], axis=1)
    return result, sheet


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("goldens", type=Path, help="folder with renders/")
    parser.add_argument("--asset-root", type=Path, help="copy of ManiSkill2_real2sim")
    parser.add_argument("--out", type=Path, help="folder for the side-by-side sheets")
    arguments = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    for spec in TASKS.values():
        renders = renders_of(arguments.goldens, spec)
        if not renders:
            continue
        env = envs.simpler.make(spec.name, "simpler", arguments.asset_root)
        for path, row in progress.each(renders, spec.name, "picture"):
            results[path.stem], sheet = compare(env, path, row)
            if arguments.out is not None:
                arguments.out.mkdir(parents=True, exist_ok=True)
                Image.fromarray(sheet).save(arguments.out / f"{path.stem}.png")
        env.close()
    if not results:
        raise UserError(f"{arguments.goldens} has no renders of a known task.")
    for name, values in results.items():
        print(name, *(f"{key}={value:.2f}" for key, value in values.items()))
    keys = sorted({key for values in results.values() for key in values})
    mean = {k: float(np.mean([v[k] for v in results.values() if k in v])) for k in keys}
    print(json.dumps({"pictures": len(results), **mean}))


if __name__ == "__main__":
    main()
