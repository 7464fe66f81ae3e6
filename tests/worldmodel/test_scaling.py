"""The table of docs/scaling.md is what the formulas say."""

import math

import pytest
import torch

from experiment.settings import ROOT, build, compose
from worldmodel.cost import STATE_BYTES, Weights, activation_bytes, flops
from worldmodel.device import PEAKS
from worldmodel.model import WorldModel
from worldmodel.model_config import ModelConfig
from worldmodel.tokens import Modality

TOKENS = {"text": 64, "frame": 192, "video": 12 * 192}
MODALITIES = (
    Modality("text", 2048, predicted=False),
    Modality("frame", 48, predicted=False),
    Modality("video", 48),
)
MONTH = 30 * 86_400


@pytest.mark.parametrize("name", ["paper_290m", "paper_625m", "paper_1b"])
def test_the_table_follows_from_the_formulas(name: str) -> None:
    lines = (ROOT / "docs/scaling.md").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"| {name} |")]
    cells = [cell.strip() for cell in line.strip("|").split("|")][1:]
    config = build(compose("pretrain", [f"model={name}", "data=demos"]).model, ModelConfig)
    with torch.device("meta"):
        weights = Weights.of(WorldModel(MODALITIES, config, None)).total
    work = flops(config, MODALITIES, TOKENS, {"text": 1, "frame": 1, "video": 2})
    windows = PEAKS["H100"] / 2 / work.student
    figures = (
        weights / 1e6,
        STATE_BYTES * weights / 1e9,
        activation_bytes(config, "bfloat16") * sum(TOKENS.values()) / 1e9,
        work.student / 1e12,
        work.teacher / 1e12,
        windows,
        windows * MONTH / 1e6,
    )
    for cell, figure in zip(cells, figures, strict=True):
        digits = len(cell.partition(".")[2])
        assert math.isclose(float(cell), figure, abs_tol=0.51 * 10**-digits), (cell, figure)
