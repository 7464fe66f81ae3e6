"""Dreams that follow their actions and dreams that ignore them are told apart."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from experiment.errors import UserError
from experiment.settings import ROOT, build, compose, plain
from tests.worldmodel import tiny
from tests.worldmodel.test_probe import saved
from worldmodel.assembler import Assembler
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.source import installed
from worldmodel.data.windows import WindowBatch, WindowConfig
from worldmodel.device import CPU
from worldmodel.imagination import inverse
from worldmodel.imagination.clips import Clips, with_actions
from worldmodel.imagination.dream import Dreamer, load_dreamer
from worldmodel.imagination.errors import (
    FOLLOWS,
    Counterfactuals,
    Interval,
    psnr,
    ratio,
    shifted,
    squared_errors,
    verdict,
)
from worldmodel.imagination.noise_levels import TIMES, by_noise_level, in_words
from worldmodel.imagine import run
from worldmodel.sampler import Sampling
from worldmodel.tokenizer.pixel import PixelTokenizer
from worldmodel.tokens import Batch, Modality

TOKENIZER = PixelTokenizer(height=8, width=8, patch=4, tubelet=2, hidden=8)
WINDOWS = WindowConfig((3, 6), 6)
STEP = 20
"""Grey levels by which an action of 1 brightens the toy world."""


class ToyWorld(nn.Module):
    """Knows how brightness follows from the first number of the actions, or pays no attention."""

    def __init__(self, attentive: bool) -> None:
        super().__init__()
        self.attentive = attentive
        self.config = SimpleNamespace(prediction="x")
        text, (frame, video) = tiny.TEXT.modality, TOKENIZER.modalities
        self.modalities = {m.name: m for m in (text, frame, video, Modality("action", 7))}

    def remember(self, known: Batch) -> tuple[None, Batch]:
        return None, known

    def forward(self, batch: Batch, **_: object) -> SimpleNamespace:
        frame = batch["frame"].values
        video = torch.cat([frame, frame], -1)
        if self.attentive and "action" in batch:
            pushed = batch["action"].values[:, :, 0].cumsum(1) * STEP / 127.5
            both = torch.stack([pushed[:, 2], pushed[:, 5]], 1).repeat_interleave(48, 1)
            video = video + both[:, None]
        return SimpleNamespace(prediction={"video": video})


def dreamer(attentive: bool = True, windows: WindowConfig = WINDOWS) -> Dreamer:
    same = Normalisation(-np.ones(6), np.ones(6), np.zeros(1), np.ones(1))
    assembler = Assembler(TOKENIZER, tiny.TEXT, windows, same, with_state=False)
    return Dreamer(ToyWorld(attentive), assembler, Sampling(2), CPU)  # type: ignore[arg-type]


def world(count: int, steps: int = 12, seed: int = 0) -> WindowBatch:
    """Return clips of the toy world with frames at +3, +6, ..., as actions made them."""
    generator = np.random.default_rng(seed)
    action = generator.choice([-1.0, 0.0, 1.0], size=(count, steps, 7)).astype(np.float32)
    level = 128 + STEP * action[:, :, 0].cumsum(1)[:, 2::3]
    frames = np.broadcast_to(level[..., None, None, None], (*level.shape, 8, 8, 3))
    return WindowBatch(
        frame=torch.full((count, 8, 8, 3), 128, dtype=torch.uint8),
        future=torch.from_numpy(np.clip(frames, 0, 255).astype(np.uint8)),
        future_valid=torch.ones(level.shape, dtype=torch.bool),
        action=torch.from_numpy(action),
        action_valid=torch.ones(count, steps, dtype=torch.bool),
        state=torch.zeros(count, 0),
        instructions=["go"] * count,
    )


def errors_of(attentive: bool, clips: WindowBatch) -> np.ndarray:
    dream = dreamer(attentive)(clips, 12, tiny.generator(), True)
    return squared_errors(world(16).future.numpy(), dream)


def test_a_dream_that_goes_on_remembers_what_it_dreamed() -> None:
    windows = WindowConfig((3, 6), 6, past=(3, 5, 9))
    shown: list[list[float]] = []

    class Remembering(ToyWorld):
        def remember(self, known: Batch) -> tuple[None, Batch]:
            # A patch of these pictures is the whole of them.
            assert known["past"].position[0, :, 0].tolist() == [-3, -5, -9]
            levels = known["past"].values[0].mean(-1) * 127.5 + 127.5
            shown.append([round(float(level)) for level in levels])
            return super().remember(known)

    dreams = replace(dreamer(windows=windows), model=Remembering(True))  # type: ignore[arg-type]
    clips = world(1)
    action = torch.zeros_like(clips.action)
    action[:, 0, 0] = 1.0  # 148 from step 1 on
    past = torch.tensor([100, 90, 80], dtype=torch.uint8)[None, :, None, None, None]
    clips = replace(clips, action=action, past=past.expand(1, 3, 8, 8, 3).contiguous())
    dreams(clips, 12, tiny.generator(), True)
    # The second one begins at step 6: steps 3, 1 and -3 are before it, of 1 it knows 0.
    assert shown == [[100, 90, 80], [148, 128, 100]]
    shown.clear()
    dreams(replace(clips, past=None), 6, tiny.generator(), True)
    assert shown == [[128, 128, 128]]


def test_a_dream_continues_from_its_own_last_frame_with_the_next_actions() -> None:
    clips = world(16)
    dream = dreamer()(clips, 12, tiny.generator(), True)
    assert dream.shape == (16, 4, 8, 8, 3)
    # Exact over two windows, which needs the last frame and the second chunk.
    np.testing.assert_allclose(dream, clips.future.numpy(), atol=2)
    still = dreamer()(clips, 12, tiny.generator(), False)
    np.testing.assert_allclose(still, 128, atol=1)
    assert dreamer().times(7) == [3, 6, 9, 12]
    assert dreamer().actions_needed(7) == 12


@pytest.mark.parametrize("attentive", [True, False])
def test_actions_of_others_tell_who_follows(attentive: bool) -> None:
    clips, groups = world(16), np.repeat(np.arange(4), 4)
    order = shifted(groups)
    assert sorted(order) == list(range(16))
    assert all(groups[order] != groups)
    own = errors_of(attentive, clips).mean(1)
    other = errors_of(attentive, with_actions(clips, order.tolist())).mean(1)
    grown = ratio(other + 1e-3, own + 1e-3, groups, np.random.default_rng(0))
    said = verdict(grown, "the actions of another clip")
    if attentive:
        assert grown.low > 2
        assert said.startswith("the dream follows its actions: error x")
    else:
        assert grown.value == pytest.approx(1)
        assert said.startswith("the dream ignores its actions: error x1.00 [1.00, 1.00]")


@pytest.mark.parametrize("attentive", [True, False])
def test_by_noise_what_is_left_and_what_actions_are_worth(attentive: bool) -> None:
    clips = world(16, steps=6)
    levels = by_noise_level(dreamer(attentive), clips, np.repeat(np.arange(4), 4), True, 0)
    assert [level.time for level in levels] == list(TIMES)
    for level in levels:
        assert level.other is not None
        if attentive:
            assert level.error.value < 0.05
            assert level.other.low > 10
        else:
            assert level.error.value == pytest.approx(1, abs=0.05)
            assert level.other.value == 1
    if attentive:
        assert in_words(levels).startswith("actions are worth something from t = 0.5 on")
    else:
        assert in_words(levels) == "actions are worth nothing at any noise of the video"


class Cleaned(ToyWorld):
    """Knows what the noisy video says where it is not mostly noise, and the actions elsewhere."""

    def forward(self, batch: Batch, **_: object) -> SimpleNamespace:
        noisy = batch["video"]
        if float(noisy.tau.max()) > 0.85:
            return super().forward(batch)
        return SimpleNamespace(prediction={"video": noisy.values})


def test_noise_says_where_actions_are_worth_something() -> None:
    model = replace(dreamer(), model=Cleaned(attentive=True))  # type: ignore[arg-type]
    episodes = np.repeat(np.arange(4), 4)
    levels = by_noise_level(model, world(16, steps=6), episodes, True, 0)
    worth = {level.time: level.other.value for level in levels if level.other is not None}
    assert worth[0.5] == worth[0.8] == 1
    assert min(worth[t] for t in TIMES if t >= 0.9) > 10
    assert "from t = 0.9 on" in in_words(levels)
    # Noise of half the range is worse than a picture in which nothing moves.
    assert levels[1].error.value > levels[0].error.value > 1
    alone = by_noise_level(model, world(16, steps=6), episodes, False, 0)
    assert all(level.other is None for level in alone)


def test_a_doubtful_verdict_says_so() -> None:
    assert "not clear" in verdict(Interval(1.3, 0.9, 1.8), "others")


def test_one_episode_alone_is_shuffled_within_itself() -> None:
    order = shifted(np.zeros(5, dtype=int))
    assert sorted(order) == list(range(5))
    assert (order != np.arange(5)).all()


@pytest.mark.parametrize("attentive", [True, False])
def test_branches_are_recognised_by_dreams_that_follow(attentive: bool) -> None:
    tables = []
    for episode in range(6):
        clips = world(3, seed=episode)
        truth = clips.future.numpy()
        dream = dreamer(attentive)(clips, 12, tiny.generator(), True)
        table = squared_errors(truth[None], dream[:, None]).mean(-1) + 1e-6
        still = squared_errors(truth, clips.frame.numpy()[:, None]).mean(-1)
        kinds = ["demonstration", "zero", "random"]
        tables.append((kinds, table, still, episode))
    tables[0] = (["demonstration", "zero"], tables[0][1][:2, :2], tables[0][2][:2], 0)
    found = Counterfactuals.of(tables)
    assert found.errors.shape == (6, 3, 3)
    assert np.isnan(found.own).sum() == 1
    assert found.chance == pytest.approx(6 / 17)
    grown = found.ratio(np.random.default_rng(0))
    if attentive:
        assert found.recognised == 1.0
        assert grown.low > 10
    else:
        assert grown.value == pytest.approx(1, abs=1e-6)
        assert found.recognised == pytest.approx(found.chance, abs=0.01)


def test_errors_are_those_of_pictures_between_0_and_1() -> None:
    black = np.zeros((2, 3, 4, 4, 3), np.uint8)
    grey = black.copy()
    grey[1, 2] = 51
    errors = squared_errors(black, grey)
    assert errors.shape == (2, 3)
    assert errors[1, 2] == pytest.approx(0.04)
    assert errors.sum() == pytest.approx(0.04)
    assert psnr(np.array([0.01]))[0] == pytest.approx(20)


def test_a_model_without_actions_refuses_them() -> None:
    blind = replace(dreamer(), assembler=Assembler(TOKENIZER, tiny.TEXT, WINDOWS))
    assert not blind.takes_actions
    with pytest.raises(UserError, match="was not trained with actions"):
        blind(world(2), 12, tiny.generator(), True)


def test_regression_finds_actions_that_are_linear_in_the_pixels() -> None:
    windows = world(60, steps=6)
    pushed = windows.action[:, :, 0].sum(1) * 0.01
    action = pushed[:, None, None].expand(60, 6, 7).contiguous()
    windows = replace(windows, action=action)
    answer, constant = inverse.regression(windows, np.repeat(np.arange(10), 6), 0)
    found = inverse.ActionErrors.of(answer, action.numpy())
    dull = inverse.ActionErrors.of(constant, action.numpy())
    assert (found.by_dimension[:6] < 0.3 * dull.by_dimension[:6]).all()
    # Millimetres: the mean distance from the mean of the actions.
    spread = 1e3 * float((pushed - pushed.mean()).abs().mean())
    assert dull.by_dimension[0] == pytest.approx(spread, rel=0.3)
    again, _ = inverse.regression(windows, np.arange(60), 0, (windows, np.arange(60)))
    assert inverse.ActionErrors.of(again, action.numpy()).by_dimension[0] < spread * 0.3


@dataclass
class Read:
    """The data set that is part of the package, as clips."""

    clips: Clips
    dreamer: Dreamer


@pytest.fixture(scope="module")
def shipped() -> Read:
    config = compose("imagine", [])
    source = build(installed(plain(config.data.source)))
    folder = ROOT / "policies/checkpoints/google_robot_world"
    model = load_dreamer(folder, Sampling(2, start="zeros"), CPU)
    return Read(Clips(source, model, model.times(12), model.actions_needed(12)), model)


def test_the_shipped_sample_is_small_and_has_branches(shipped: Read) -> None:
    size = sum(path.stat().st_size for path in (ROOT / "worldmodel/sample").rglob("*"))
    assert size < 450_000
    families = shipped.clips.families()
    assert len(shipped.clips.demonstrations()) == 3
    assert [(f.episode, f.step) for f in families] == [(i, s) for i in range(3) for s in (12, 30)]
    for family in families:
        assert family.actions == ("demonstration", "zero", "reversed", "random")
        first = family.clips.frame.float()
        # One state: but for the loss of compression the first pictures are the same.
        assert (first - first[0]).abs().mean() < 3
        end = family.clips.future[:, -1].float()
        assert (end[1:] - end[0]).abs().mean() > 2
        assert not family.clips.action[1, :, :6].any()


def test_clips_are_in_robot_units_with_the_gripper_as_learned(shipped: Read) -> None:
    clips, episodes = shipped.clips.spread(7)
    assert clips.action.shape[1:] == (12, 7)
    assert 0.005 < clips.action[..., :3].abs().mean() < 0.1
    # The level holds between commands: neighbours are mostly the same.
    level = clips.action[..., 6]
    assert (level[:, 1:] == level[:, :-1]).float().mean() > 0.8
    assert set(episodes) == {0, 1, 2}
    assert clips.state.shape == (7, 10)


def test_a_policy_dreams_from_pictures_without_state_or_actions(shipped: Read) -> None:
    source = build(installed(plain(compose("imagine", []).data.source)))
    clips, _ = Clips(source, shipped.dreamer, shipped.dreamer.times(12), 0).spread(2)
    assert clips.state.shape == (2, 0)
    dream = shipped.dreamer(clips, 12, tiny.generator(), False)
    assert dream.shape == (2, 4, 96, 128, 3)
    assert list(shipped.dreamer.known(clips, with_state=True)) == ["text", "frame", "start"]


def test_windows_of_branches_begin_where_they_left(shipped: Read) -> None:
    found = shipped.clips.others(1000)
    assert found is not None
    clips, of = found
    # 18 branches of 13 frames each, of which a window takes 13.
    assert clips.samples == 18
    assert sorted(set(of)) == [0, 1, 2]
    still = clips.action[::3]
    assert not still[..., :6].any()


@pytest.mark.slow
def test_the_command_writes_every_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run(f"out={out}", "clips=4", "horizon=7", "shown=1", "sampling.steps=1",
        f"data.source.cache={tmp_path / 'cache'}")  # fmt: skip
    figures = json.loads((out / "figures.json").read_text())
    assert figures["times"] == [3, 6, 9, 12]
    assert set(figures["psnr"]) == {
        "frame and actions", "frame alone", "actions of another clip", "nothing moves",
    }  # fmt: skip
    assert figures["branches"]["families"] == 6
    # What is shipped follows its actions, beyond doubt, from one step of denoising as well.
    grown = figures["branches"]["error with the actions of another branch, relative"]
    assert grown["low"] > FOLLOWS
    assert set(figures["inverse dynamics"]) == {"demonstrations", "other actions"}
    assert figures["inverse dynamics"]["other actions"]["constant"]["x (mm)"] > 1
    names = (
        "dreams", "horizon", "actions", "other_actions", "inverse_dynamics", "noise_levels",
    )  # fmt: skip
    levels = figures["by noise of the video"]
    assert levels[-1]["other actions"]["value"] > 1.1 > levels[0]["other actions"]["value"]
    for name in names:
        with Image.open(out / f"{name}.png") as picture:
            assert min(picture.size) > 100
    for name in ("dreams", "other_actions"):
        with av.open(str(out / f"{name}.mp4")) as film:
            assert sum(1 for _ in film.decode(video=0)) >= 5
    said = capsys.readouterr().out
    assert "the dream " in said
    assert "its actions: error x" in said


@pytest.mark.slow
def test_a_pretrained_model_dreams_without_actions(tmp_path: Path) -> None:
    data = tiny.write_data_set(tmp_path / "data", (20, 18))
    given = [f"checkpoint={saved(tmp_path / 'model')}", f"data.root={data}", "clips=4", "horizon=9",
             f"out={tmp_path / 'out'}", f"data.source.cache={tmp_path / 'cache'}"]  # fmt: skip
    with pytest.raises(UserError, match="was not trained with actions: set actions=false"):
        run(*given)
    run(*given, "actions=false", "sampling.steps=1")
    figures = json.loads((tmp_path / "out/figures.json").read_text())
    assert set(figures["psnr"]) == {"frame alone", "nothing moves"}
    assert "inverse dynamics" not in figures
    assert {level["other actions"] for level in figures["by noise of the video"]} == {None}
    with pytest.raises(UserError, match=r"longest episode has 20 steps.*lower horizon"):
        run(*given[:-2], "actions=false", f"out={tmp_path / 'far'}", "horizon=24")


def test_sections_of_a_checkpoint_that_do_not_fit_are_named(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["windows"] = {"futures": [1]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="damaged or too old"):
        load_dreamer(folder, Sampling(), CPU)
    config["windows"] = asdict(WINDOWS)
    config["tokenizer"]["patch"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="the model reads"):
        load_dreamer(folder, Sampling(), CPU)
