"""Probes recover what was planted and report chance on noise."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from experiment.errors import UserError
from tests.worldmodel import tiny
from worldmodel.assembler import Assembler
from worldmodel.data.windows import WindowBatch, WindowConfig
from worldmodel.device import CPU
from worldmodel.model import WorldModel
from worldmodel.objective import Objective
from worldmodel.probe import run
from worldmodel.probes.features import Probed, load_probed, pooled
from worldmodel.probes.linear import area_under_curve, explained, logistic, ridge, split_groups
from worldmodel.probes.representation import fitted_head, measure
from worldmodel.probes.samples import Target
from worldmodel.probes.scores import curve, joined
from worldmodel.tokenizer.pixel import PixelTokenizer
from worldmodel.training import checkpoint

EPISODES = np.repeat(np.arange(20), 15)
TOKENIZER = PixelTokenizer(height=16, width=16, patch=8, tubelet=2, hidden=16)
WINDOWS = WindowConfig((3, 6), 6)


def features(width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(len(EPISODES), width))


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("width", [8, 600])
def test_ridge_recovers_a_planted_linear_signal(width: int) -> None:
    latent = features(6)
    x = latent @ generator(1).normal(size=(6, width)) + 0.05 * features(width, seed=2) + 5
    y = latent[:, :2] * [3, -7] + 0.1 * features(2, seed=3) + 100
    train, test = split_groups(EPISODES, 0.3, generator())
    predicted = ridge(x[train], y[train], EPISODES[train], x[test], generator())
    assert explained(y[test], predicted).min() > 0.98


def test_ridge_reports_chance_on_noise() -> None:
    x, y = features(100), features(2, seed=9)
    train, test = split_groups(EPISODES, 0.3, generator())
    predicted = ridge(x[train], y[train], EPISODES[train], x[test], generator())
    assert explained(y[test], predicted).max() < 0.05


def test_a_state_that_is_true_or_false_is_found_and_chance_is_a_half() -> None:
    x = features(10)
    truth = x[:, 3] + 0.3 * features(1, seed=4)[:, 0] > 0.8
    train, test = split_groups(EPISODES, 0.3, generator())
    found = logistic(x[train], truth[train], EPISODES[train], x[test], generator())
    assert area_under_curve(found, truth[test]) > 0.95
    mixed = generator(3).permutation(truth)
    lost = logistic(x[train], mixed[train], EPISODES[train], x[test], generator())
    assert 0.3 < area_under_curve(lost, mixed[test]) < 0.7


def test_the_area_under_the_curve_counts_pairs() -> None:
    truth = np.array([True, True, False, False])
    assert area_under_curve(np.array([2.0, 1.0, 1.0, 0.0]), truth) == pytest.approx(3.5 / 4)
    assert area_under_curve(np.zeros(4), truth) == 0.5
    assert np.isnan(area_under_curve(np.zeros(2), np.array([True, True])))


def test_no_episode_trains_and_tests() -> None:
    train, test = split_groups(EPISODES, 0.3, generator())
    assert not {*EPISODES[train]} & {*EPISODES[test]}
    assert len(train) + len(test) == len(EPISODES)
    assert len(np.unique(EPISODES[test])) == 6


@pytest.mark.parametrize("binary", [False, True])
def test_a_curve_shows_the_layer_that_knows(binary: bool) -> None:
    signal = features(3, seed=5)
    by_layer = {0: features(6), 1: features(6, seed=2), 2: features(6, seed=3)}
    by_layer[2][:, :3] += 3 * signal
    values = (signal[:, :1] > 0.5).astype(float) if binary else signal
    target = Target("state", 6, values, binary)
    found = curve(by_layer, target, EPISODES, 0.9, splits=3, seed=0)
    assert found is not None
    nothing = 0.5 if binary else 0.0
    assert found.measure == ("AUC" if binary else "R²")
    assert found.target == "state +6 steps"
    assert found.mean[2] > 0.85
    assert np.abs(found.mean[:2] - nothing).max() < 0.15
    assert np.abs(found.chance - nothing).max() < 0.2
    both = joined([found, found])
    assert both.scores.shape == (6, 3)
    np.testing.assert_allclose(both.mean, found.mean)
    again = curve(by_layer, target, EPISODES, 0.9, splits=3, seed=0)
    assert again is not None
    np.testing.assert_array_equal(again.scores, found.scores)


def test_what_does_not_vary_has_no_curve() -> None:
    target = Target("still", 0, np.ones((len(EPISODES), 1)), False)
    assert curve({0: features(3)}, target, EPISODES, 0.0, 2, 0) is None


def probed(seed: int = 0) -> Probed:
    assembler = Assembler(TOKENIZER, tiny.TEXT, WINDOWS)
    model = WorldModel(assembler.modalities, tiny.CONFIG, tiny.generator(seed))
    for parameter in [model.trunk.modulation.weight, *model.outputs.parameters()]:
        torch.nn.init.normal_(parameter, std=0.2, generator=tiny.generator(seed))
    return Probed(model.eval(), assembler, CPU)


def windows(count: int) -> WindowBatch:
    pictures = torch.randint(0, 255, (count, 3, 16, 16, 3), generator=tiny.generator())
    pictures = pictures.to(torch.uint8)
    return WindowBatch(
        frame=pictures[:, 0],
        future=pictures[:, 1:],
        future_valid=torch.ones(count, 2, dtype=torch.bool),
        action=torch.zeros(count, 6, 0),
        action_valid=torch.ones(count, 6, dtype=torch.bool),
        state=torch.zeros(count, 0),
        instructions=["open top drawer"] * count,
    )


def test_features_are_those_of_the_model_at_that_time() -> None:
    model, seen = probed(), windows(5)
    clean = pooled(model, seen, 0.0, seed=1)
    assert list(clean) == [0, 1, 2, 3, 4]
    batch = model.batch(seen)
    with torch.no_grad():
        layer = model.model(batch, capture=(3,), stop=3).features[3].mean(1)
        first = model.model.inputs["video"](batch["video"].values).mean(1)
    np.testing.assert_allclose(clean[3], layer, atol=1e-5)
    np.testing.assert_allclose(clean[0], first, atol=1e-5)
    noise = pooled(model, seen, 1.0, seed=1)
    other = pooled(model, windows(10), 1.0, seed=1)
    # Pure noise knows nothing of its picture until it has looked at the frame.
    assert np.abs(noise[0] - clean[0]).max() > 0.1
    np.testing.assert_array_equal(noise[0], pooled(model, seen, 1.0, seed=1)[0])
    assert np.abs(noise[0] - other[0][:5]).max() < 1e-6


def test_a_fitted_head_finds_what_is_there_and_no_more() -> None:
    x = torch.randn(40, 6, 12, generator=tiny.generator())
    reachable = x @ torch.randn(12, 12, generator=tiny.generator(1))
    head = fitted_head(x[:30], reachable[:30], seed=0, steps=300)
    with torch.no_grad():
        found = torch.nn.functional.cosine_similarity(head(x[30:]), reachable[30:], dim=-1).mean()
    assert found > 0.9
    noise = torch.randn(40, 6, 12, generator=tiny.generator(2))
    lost = fitted_head(x[:30], noise[:30], seed=0, steps=50)
    with torch.no_grad():
        found = torch.nn.functional.cosine_similarity(lost(x[30:]), noise[30:], dim=-1).mean()
    assert found < 0.2


def test_the_figures_of_a_representation_are_consistent() -> None:
    model, episodes = probed(), np.repeat(np.arange(6), 4)
    test = np.flatnonzero(episodes >= 4)
    found = measure(model, windows(24), episodes, test, Objective(), seed=0, steps=100)
    assert found.constant >= found.constant_global - 0.05
    assert found.headroom > found.constant
    assert found.excess == found.headroom - found.constant
    # A layer that sees clean tokens on both sides agrees with itself: nothing was noised.
    still = Objective(condition_noise={}, mask_ratio=0.0)
    same = measure(model, windows(24), episodes, test, still, seed=0, steps=1)
    assert same.views <= 1.0 + 1e-5
    assert found == measure(model, windows(24), episodes, test, Objective(), seed=0, steps=100)


def saved(folder: Path) -> Path:
    model = probed()
    sections = {
        "tokenizer": TOKENIZER.config(),
        "text": tiny.TEXT.config(),
        "windows": asdict(WINDOWS),
    }
    checkpoint.save(folder, model.model, sections)
    return folder


@pytest.mark.slow
def test_the_command_writes_a_picture_and_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tiny.write_data_set(tmp_path / "data", (14, 12, 16, 13, 15, 14))
    folder = saved(tmp_path / "model")
    run(
        f"checkpoint={folder},{folder}", "names=[a,a]", f"data.root={data}",
        f"out={tmp_path / 'out'}", "targets=['observation.state[0:3]']", "times=[0.5]",
        "samples=40", "splits=2", f"data.source.cache={tmp_path / 'cache'}",
    )  # fmt: skip
    assert (tmp_path / "out/probes.png").stat().st_size > 5000
    section = json.loads((tmp_path / "out/probes.json").read_text())
    now, later = section["models"]["a"]
    assert (now["target"], later["target"]) == (
        "observation.state[0:3] now",
        "observation.state[0:3] +6 steps",
    )
    assert np.shape(now["scores"]) == (4, 5)
    # The toy state is noise.
    assert max(now["mean"]) < 0.3
    assert len(json.loads((tmp_path / "out/representation.json").read_text())["a"]) == 2
    short = json.loads((tmp_path / "out/figures.json").read_text())
    assert short["observation.state[0:3] +6 steps, time 0.5"]["layer 0"] == later["mean"][0]
    assert -1 <= short["representation"]["headroom"] <= 1
    assert "observation.state[0:3] +6 steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ([], "no column privileged"),
        (["targets=['observation.stat[0:3]']"], "Did you mean 'observation.state'"),
        (["targets=[task]"], "column 'task' holds text"),
        (["times=[1.5]"], "must lie in"),
        (["names=[a,b]"], "2 entries for 1 checkpoints"),
        (["samples=1"], "samples=1"),
    ],
)
def test_bad_input_is_named(settings: list[str], names: str, tmp_path: Path) -> None:
    data = tiny.write_data_set(tmp_path / "data", (14, 12, 16, 13))
    folder = saved(tmp_path / "model")
    given = [f"checkpoint={folder}", f"data.root={data}", f"out={tmp_path / 'out'}", *settings]
    with pytest.raises(UserError, match=names):
        run(*given)


def test_a_policy_checkpoint_is_probed_by_its_video(tmp_path: Path) -> None:
    model = load_probed(saved(tmp_path / "model"), CPU)
    assert model.layers == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match="at least four"):
        run(
            f"checkpoint={tmp_path / 'model'}", f"out={tmp_path / 'out'}",
            f"data.root={tiny.write_data_set(tmp_path / 'data')}",
            "targets=['observation.state[0:3]']",
        )  # fmt: skip
