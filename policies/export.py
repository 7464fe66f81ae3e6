"""Entry point: a run's checkpoint as a folder to ship, with a model card.

    python -m policies.export checkpoint=runs/finetune out=policies/checkpoints/google_robot
    python -m policies.export checkpoint=runs/finetune out=FOLDER evaluations=[runs/eval/A]

Weights are averaged with those of `average`, checkpoints that were trained from one another, and
rounded to `dtype`; data sets and runs are named without their folders. The card,
README.md, is written from the checkpoint and from the summaries of the evaluations of these
weights, or of those they were rounded from.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from experiment.command import command
from experiment.errors import UserError, nearest
from experiment.files import write_bytes
from experiment.settings import shown
from policies.checkpoint import robot_of
from policies.evaluation.rates import Rate
from worldmodel.data.normalisation import Normalisation
from worldmodel.training.checkpoint import (
    CONFIG,
    WEIGHTS,
    checkpoint_folder,
    read_config,
    read_tensors,
    run_name,
    save_tensors,
)

CARD, SUMMARY = "README.md", "summary.json"

_UNITS_APART = 0.25
"""Of the range of an action or the deviation of a state; beyond it a mean is of two languages."""

_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@command("export", __doc__)
def main(config: DictConfig) -> Path:
    source, out = checkpoint_folder(config.checkpoint), Path(str(config.out)).expanduser()
    if config.dtype not in _TYPES:
        raise UserError(f"unknown dtype {config.dtype!r}.{nearest(config.dtype, _TYPES)}")
    empty = out.is_dir() and not any(out.iterdir())
    if out.exists() and not empty and not (out / CONFIG).is_file():
        raise UserError(f"out={out} holds other things than a checkpoint: give another out=FOLDER.")
    read = read_config(source)
    robot_of(source, read)
    sections = _without_folders(read)
    summaries = [_summary(Path(str(folder))) for folder in config.evaluations]
    others = [checkpoint_folder(str(folder), "average") for folder in config.average]
    for folder in others:
        _check_alike(folder, read_config(folder), read)
    if others:
        sections["averaged"] = [run_name(folder) for folder in others]
    mean = _mean(source, others)
    weights = {name: weight.to(_TYPES[config.dtype]) for name, weight in mean.items()}
    if not all(weight.isfinite().all() for weight in weights.values()):
        raise UserError(f"dtype={config.dtype} cannot hold these weights: give dtype=bfloat16.")
    save_tensors(out, weights, sections)
    write_bytes(out / CARD, card(sections, weights, summaries, config.about).encode())
    size = (out / WEIGHTS).stat().st_size / 1e6
    print(f"{out}: {_count(weights) / 1e6:.1f} million weights, {size:.1f} MB")
    return out


run = main.run


def card(
    sections: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    summaries: Sequence[Mapping[str, Any]],
    about: str | None = None,
) -> str:
    """Return the model card: what the model is, what it learned from, what was measured."""
    title, *lines = _card(sections, weights, summaries)
    return "\n".join([title, *(["", about] if about else []), *lines]) + "\n"


def _card(
    sections: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    summaries: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    training, tokenizer, text = (sections[name] for name in ("training", "tokenizer", "text"))
    size = f"{tokenizer.get('width')} x {tokenizer.get('height')}"
    state = "with" if sections.get("with_state", True) else "without"
    hours = training["seconds"] / 3600
    yield f"# {sections['robot']}: {sections['kind']}"
    yield ""
    yield f"- {_count(weights):,} weights, {_dtypes(weights)}; gripper code {sections['gripper']}."
    yield f"- Sees pictures of {size}, {state} proprioception; reads text as {text['kind']}."
    yield f"- Acts by {shown(dict(sections.get('inference', {})))}."
    yield f"- Learned from {training['episodes']:,} episodes in {training['steps']:,} steps,"
    yield f"  {hours:.2f} hours in {training['precision']}, seed {training['seed']}."
    yield f"- Started from {training.get('init') or 'random weights'}; data: {training['data']}."
    if sections.get("averaged"):
        yield f"- Its weights are averaged with those of {', '.join(sections['averaged'])}."
    yield f"- Versions: {shown(dict(sections['versions']))}."
    if not summaries:
        return
    yield ""
    yield "Success by SIMPLER's rule, per cent with 95 % intervals. Demonstrations and evaluation"
    yield "are both in simulation: not to be compared with policies that learned from real robots."
    yield ""
    yield "| task | protocol | assets | episodes | at end | strict |"
    yield "|---|---|---|---|---|---|"
    for summary in summaries:
        source = (summary["protocol"], ", ".join(summary["assets"]))
        for line in _task_lines(summary):
            rates = (_rate(line["success_at_end"]), _rate(line["success_strict"]))
            values = (line["label"].strip(), *source, line["episodes"], *rates)
            yield f"| {' | '.join(map(str, values))} |"


def _check_alike(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise `UserError` where weights mean something else, so that their mean would mean nothing.

    Units measured on other data may differ a little: those of `checkpoint=` are written.
    """
    for name in ("kind", "robot", "gripper", "tokenizer", "text", "windows", "with_state"):
        if _told(there.get(name)) != _told(here.get(name)):
            raise UserError(
                f"average={folder} has {name} {shown(there.get(name))}, checkpoint= has "
                f"{shown(here.get(name))}: only policies that are alike have a mean."
            )
    one, other = (Normalisation.from_section(each["normalisation"]) for each in (here, there))
    span, spread = one.high - one.low, one.std
    off = [(other.low - one.low) / span, (other.high - one.high) / span]
    off += [(other.mean - one.mean) / spread, (other.std - one.std) / spread]
    most = max(float(np.abs(each).max()) for each in off)
    if most > _UNITS_APART:
        raise UserError(
            f"average={folder}: its units of actions or states are {most:.0%} off those of "
            "checkpoint=: only policies of much the same data have a mean."
        )


def _told(section: Any) -> Any:
    """Return a section without what says no: an older checkpoint does not know of it."""
    return {k: v for k, v in section.items() if v} if isinstance(section, dict) else section


def _mean(source: Path, others: Sequence[Path]) -> dict[str, torch.Tensor]:
    """Return the mean of the weights, in float32; raises `UserError` for models of other shapes."""
    mean = {name: weight.float() for name, weight in read_tensors(source / WEIGHTS)[0].items()}
    for folder in others:
        weights = read_tensors(folder / WEIGHTS)[0]
        if {n: w.shape for n, w in weights.items()} != {n: w.shape for n, w in mean.items()}:
            raise UserError(f"average={folder} has weights of other shapes than {source}.")
        for name, weight in weights.items():
            mean[name] += weight.float()
    return {name: weight / (1 + len(others)) for name, weight in mean.items()}


def _without_folders(sections: dict[str, Any]) -> dict[str, Any]:
    """Return the sections with data sets and runs by their names: folders are the machine's own."""
    training = dict(sections["training"])
    names = Counter(Path(root).name for root in str(training["data"]).split(", "))
    training["data"] = ", ".join(f"{n} ({k} sets)" if k > 1 else n for n, k in names.items())
    if training.get("init"):
        training["init"] = run_name(Path(str(training["init"])))
    return {**sections, "training": training}


def _rate(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return ""
    return str(Rate(**value))


def _count(weights: Mapping[str, torch.Tensor]) -> int:
    return sum(weight.numel() for weight in weights.values())


def _dtypes(weights: Mapping[str, torch.Tensor]) -> str:
    return ", ".join(
        sorted({str(weight.dtype).removeprefix("torch.") for weight in weights.values()})
    )


def _task_lines(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the lines of success, without those of single robot poses and of partial success."""
    lines = [line for line in summary["table"] if "/" not in line["name"]]
    return [line for line in lines if "success_at_end" in line]


def _summary(folder: Path) -> Mapping[str, Any]:
    path = folder / SUMMARY
    try:
        summary: Mapping[str, Any] = json.loads(path.read_bytes())
        _ = _task_lines(summary), summary["protocol"], summary["assets"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no summary that policies.eval wrote ({error!r}).") from error
    return summary


if __name__ == "__main__":
    main()
