"""Entry point: look at what a world model dreams, and whether its dreams follow its actions.

    python -m worldmodel.imagine
    python -m worldmodel.imagine checkpoint=runs/finetune data.root=datasets/open_and_place_branches
    python -m worldmodel.imagine checkpoint=runs/pretrain actions=false data.root=datasets/demos

Without settings: the shipped world model, on a few demonstrations that are part of the package. The
folder `out` holds real beside dreamed video (`dreams.mp4`, `dreams.png`), error against horizon
beside a picture in which nothing moves (`horizon.png`), dreams of the same and of other actions
(`actions.png`, and where the data has branches of `envs.branch` also `other_actions.mp4` and
`other_actions.png`), what is left to foresee and what actions are worth by how noisy the video is
(`noise_levels.png`), the error of inverse dynamics beside a regression (`inverse_dynamics.png`),
and all figures (`figures.json`).
"""

import json
from pathlib import Path

from omegaconf import DictConfig

from experiment.command import command
from experiment.errors import UserError
from experiment.files import write_bytes
from experiment.run_folder import open_run, versions
from experiment.settings import build, plain
from worldmodel.data.source import DataSource, installed
from worldmodel.device import Compute
from worldmodel.imagination.dream import load_dreamer
from worldmodel.imagination.look import Look
from worldmodel.sampler import Sampling
from worldmodel.training.checkpoint import checkpoint_folder

_SHOWN = (".mp4", ".png", ".json")


@command("imagine", __doc__)
def main(config: DictConfig) -> Path:
    """Dream, compare and draw; return the folder."""
    for name in ("horizon", "clips", "shown"):
        if config[name] < 1:
            raise UserError(f"{name}={config[name]} must be at least 1.")
    sampling = build(config.sampling, Sampling)
    description = installed(plain(config.data.source))
    source = build(description)
    if not isinstance(source, DataSource):
        raise UserError("dreams are compared with pictures: give the data set, not its tokens.")
    compute = Compute.of(config.device, config.precision, "")
    dreamer = load_dreamer(checkpoint_folder(config.checkpoint), sampling, compute, config.state)
    if config.actions and not dreamer.takes_actions:
        raise UserError(
            f"checkpoint={config.checkpoint} was not trained with actions: set actions=false, or "
            "give a checkpoint of policies.finetune."
        )
    folder = open_run("imagine", config, results=("figures.json",))
    fit_on = None
    if config.regression_root is not None:
        sets = [{**each, "root": config.regression_root} for each in description["sets"]]
        fit_on = build(installed(description | {"sets": sets}), DataSource)
    look = Look(
        dreamer, source, folder, config.horizon, config.clips, config.shown, config.actions,
        config.seed, fit_on,
    )  # fmt: skip
    figures = look()
    section = {"checkpoint": str(config.checkpoint), "versions": versions()} | figures
    write_bytes(folder / "figures.json", json.dumps(section, indent=1).encode() + b"\n")
    for sentence in figures["in words"]:
        print(sentence)
    print(f"{folder}: {', '.join(sorted(p.name for p in folder.iterdir() if p.suffix in _SHOWN))}")
    return folder


run = main.run


if __name__ == "__main__":
    main()
