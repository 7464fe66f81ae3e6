"""Entry point: fit what says how far a demonstration is from its end, for planning.

    python -m policies.value data.root=datasets/open_and_place out=runs/value
    python -m policies.eval task=open_and_place plan.candidates=8 plan.value=runs/value

Writes the readout, `value.png` (what it reads beside the true steps left, of held-out
demonstrations) and `figures.json`.
"""

import json
from pathlib import Path

from omegaconf import DictConfig

from experiment.command import command
from experiment.errors import UserError
from experiment.files import write_bytes
from experiment.run_folder import open_run, versions
from experiment.settings import build, plain
from policies.planning.plots import draw
from policies.planning.steps_left import fit, steps_left
from worldmodel.data.source import DataSource, installed
from worldmodel.device import Compute
from worldmodel.probes.features import load_probed
from worldmodel.training.checkpoint import checkpoint_folder, weights_digest


@command("value", __doc__)
def main(config: DictConfig) -> Path:
    """Fit a value and say how good it is; return its folder."""
    if config.samples < 2:
        raise UserError(f"samples={config.samples} must be at least 2.")
    source = build(installed(plain(config.data.source)))
    if not isinstance(source, DataSource):
        raise UserError("a value reads whole demonstrations: give the data set, not its tokens.")
    world = checkpoint_folder(config.checkpoint)
    probed = load_probed(world, Compute.of(config.device, config.precision, ""))
    folder = open_run("value", config, results=("figures.json",))
    demonstrations = steps_left(source, probed, config.samples)
    fitted = fit(probed, demonstrations, config.seed)
    named = {"checkpoint": str(world), "weights": weights_digest(world), "versions": versions()}
    fitted.value.save(folder / "checkpoint", named)
    draw(folder / "value.png", fitted.truth, fitted.read)
    off = abs(fitted.read - fitted.truth).mean()
    figures = {
        "windows": len(demonstrations.left),
        "R2 by layer": [round(each, 4) for each in fitted.explained],
        "R2 without what the window leads to": round(fitted.before, 4),
        "layer": fitted.value.layer,
        "mean error, steps": round(float(off), 3),
    }
    write_bytes(folder / "figures.json", json.dumps(figures, indent=1).encode() + b"\n")
    print(
        f"steps left of held-out demonstrations: R² {max(fitted.explained):.2f} after layer "
        f"{fitted.value.layer}, off by {off:.1f} steps; without what a window leads to R² "
        f"{fitted.before:.2f}"
    )
    if max(fitted.explained) <= fitted.before:
        print(
            "what a window leads to says no more than the picture before it: such a value chooses "
            "hardly better than chance. More demonstrations help."
        )
    print(f"{folder}: value.png, figures.json")
    return folder


run = main.run


if __name__ == "__main__":
    main()
