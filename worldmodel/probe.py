"""Entry point: what a world model's layers know, and whether the loss can teach them anything.

    python -m worldmodel.probe checkpoint=runs/pretrain data.root=datasets/open_and_place
    python -m worldmodel.probe checkpoint=runs/a,runs/b names=[flow_matching,self_flow]

Linear probes read the simulator's state, which `envs.collect` records, from the features of video
tokens after every layer: the state now and at the window's last frame, from tokens that are noise
in part and from clean ones. Checkpoints of one name are seeds of one model and joined. The folder
`out` holds `probes.png` (score by layer), `probes.json`, `representation.json` with what the cosine
of the representation loss hides, and `figures.json` with the most telling numbers.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from experiment import progress
from experiment.command import command
from experiment.errors import UserError
from experiment.files import write_bytes
from experiment.run_folder import open_run, versions
from experiment.seeding import numpy_generator
from experiment.settings import build, plain
from worldmodel.data.source import DataSource, installed
from worldmodel.device import Compute
from worldmodel.objective import Objective
from worldmodel.probes import plots
from worldmodel.probes.features import Probed, load_probed, pooled
from worldmodel.probes.linear import split_groups
from worldmodel.probes.representation import Representation, measure
from worldmodel.probes.samples import Samples, read
from worldmodel.probes.scores import Curve, curve, joined
from worldmodel.training.checkpoint import checkpoint_folder

_SPLIT, _TESTED = 1, 0.3


def probe(
    probed: Probed, samples: Samples, times: Sequence[float], splits: int, seed: int
) -> list[Curve]:
    """Return the curve of every target that varies, at every time."""
    curves: list[Curve] = []
    total = len(times) * len(samples.targets)
    with progress.bar(desc="probing", unit="probe", total=total, delay=2.0) as bar:
        for time in times:
            features = pooled(probed, samples.windows, time, seed)
            for target in samples.targets:
                found = curve(features, target, samples.episodes, time, splits, seed)
                curves += [] if found is None else [found]
                bar.update()
    return curves


def table(curves: Sequence[Curve]) -> list[str]:
    """Return lines: layer 0, the best layer, the last one and chance of every target and time."""
    lines = [f"{'target':34s} {'time':>5s} {'layer 0':>14s} {'best layer':>19s} {'chance':>7s}"]
    for each in curves:
        mean, spread = each.mean, each.spread
        best = int(np.nanargmax(mean))
        lines.append(
            f"{each.target:34s} {each.time:5g} {mean[0]:6.3f} ± {spread[0]:5.3f} "
            f"{mean[best]:6.3f} ± {spread[best]:5.3f} ({each.layers[best]:2d}) "
            f"{np.nanmean(each.chance):7.3f}  {each.measure}"
        )
    return lines


def represented(
    probed: Probed, samples: Samples, objective: Objective, seed: int
) -> Representation:
    """Return what the cosine hides, on episodes that nothing was fitted on."""
    generator = numpy_generator(seed, _SPLIT)
    _, test = split_groups(samples.episodes, _TESTED, generator)
    return measure(probed, samples.windows, samples.episodes, test, objective, seed)


@command("probe", __doc__)
def main(config: DictConfig) -> Path:
    """Probe every checkpoint; return the folder."""
    folders, names = _checkpoints(config)
    for name in ("samples", "splits"):
        if config[name] < 2:
            raise UserError(f"{name}={config[name]} must be at least 2.")
    if not config.times or not all(0 <= time <= 1 for time in config.times):
        raise UserError(f"times={list(config.times)} must lie in [0, 1]; 1 is noise.")
    source = build(installed(plain(config.data.source)))
    if not isinstance(source, DataSource):
        raise UserError("probes read the state beside pictures: give the data set, not its tokens.")
    objective = build(config.objective, Objective)
    compute = Compute.of(config.device, config.precision, "")
    targets = None if config.targets is None else list(config.targets)
    found: dict[str, list[list[Curve]]] = {}
    figures: dict[str, Any] = {}
    folder = open_run("probe", config, results=("probes.json",))
    count = 0
    for path, name in zip(folders, names, strict=True):
        probed = load_probed(path, compute)
        assembler = probed.assembler
        samples = read(source, assembler.tokenizer, assembler.windows, targets, config.samples)
        count = samples.windows.samples
        curves = probe(probed, samples, list(config.times), config.splits, config.seed)
        found.setdefault(name, []).append(curves)
        numbers = represented(probed, samples, objective, config.seed)
        figures.setdefault(name, []).append({"checkpoint": str(path)} | numbers.section())
        print(f"{name}: {path}")
        print("\n".join(table(curves)))
        print(_in_words(numbers))
    whole = {
        name: [joined(each) for each in zip(*several, strict=True)]
        for name, several in found.items()
    }
    plots.draw(folder / "probes.png", whole, count, config.splits)
    section = {
        "windows": count,
        "versions": versions(),
        "models": {name: [each.section() for each in curves] for name, curves in whole.items()},
    }
    write_bytes(folder / "probes.json", json.dumps(section, indent=1).encode() + b"\n")
    text = json.dumps(figures, indent=1).encode() + b"\n"
    write_bytes(folder / "representation.json", text)
    short = json.dumps(_short(whole, figures), indent=1).encode() + b"\n"
    write_bytes(folder / "figures.json", short)
    print(f"{folder}: probes.png, probes.json, representation.json, figures.json")
    return folder


def _checkpoints(config: DictConfig) -> tuple[list[Path], list[str]]:
    listed = [each.strip() for each in str(config.checkpoint).split(",")]
    names = [Path(each).name for each in listed]
    if config.names is not None:
        names = [str(name) for name in config.names]
        if len(names) != len(listed):
            raise UserError(
                f"names has {len(names)} entries for {len(listed)} checkpoints: give one for each."
            )
    return [checkpoint_folder(each) for each in listed], names


def _short(
    curves: Mapping[str, Sequence[Curve]], figures: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """Return a few numbers of each model, for the log of a training that is evaluated."""
    found: dict[str, Any] = {}
    for name, several in curves.items():
        scores = {
            f"{each.target}, time {each.time:g}": {
                "layer 0": float(each.mean[0]),
                "best layer": float(np.nanmax(each.mean)),
                "chance": float(np.nanmean(each.chance)),
            }
            for each in several
        }
        numbers = {k: v for k, v in figures[name][0].items() if isinstance(v, float)}
        found[name] = scores | {"representation": numbers}
    return next(iter(found.values())) if len(found) == 1 else found


def _in_words(numbers: Representation) -> str:
    nothing = "; nothing is left to teach" if numbers.headroom >= 0.95 else ""
    return (
        f"cosines: teacher noisy/clean {numbers.noisy_clean:.3f}, raw floor {numbers.floor:.3f}, "
        f"fitted head {numbers.headroom:.3f}, constant {numbers.constant:.3f}, excess "
        f"{numbers.excess:+.3f}{nothing}"
    )


run = main.run


if __name__ == "__main__":
    main()
