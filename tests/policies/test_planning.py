"""Planning by imagination: what is chosen, by what, and what is refused."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from envs.episode import Episode
from envs.rollout import run_episode
from experiment.errors import UserError
from experiment.settings import build, compose, plain
from policies import value
from policies.checkpoint import load_policy
from policies.evaluation.settings import EvalSettings
from policies.planning.planner import Planner
from policies.planning.steps_left import StepsLeft, fit, steps_left
from policies.video_action import VideoActionPredictor
from tests.envs.toy import LIMIT, ToyEnv
from worldmodel.data.windows import WindowBatch
from worldmodel.device import CPU
from worldmodel.imagination.dream import Dreamer
from worldmodel.probes.features import load_probed


@pytest.fixture
def fitted(checkpoint: Path, toy_demonstrations: Path, tmp_path: Path) -> Path:
    return value.run(
        f"checkpoint={checkpoint}",
        f"data.root={toy_demonstrations}",
        f"data.source.cache={tmp_path / 'cache'}",
        f"out={tmp_path / 'value'}",
    )


class Brightness:
    """Imagines a picture that is brighter the further the chunk moves along x."""

    reach = 3

    def __call__(self, windows: WindowBatch, *_: Any, actions: bool) -> np.ndarray:
        assert actions
        moved = windows.action[..., 0].sum(1).numpy()
        grey = 5 * moved.argsort().argsort()
        return np.broadcast_to(grey[:, None, None, None, None], (len(moved), 1, 32, 32, 3)).astype(
            np.uint8
        )


def windows_like(count: int, seed: int = 0) -> WindowBatch:
    generator = torch.Generator().manual_seed(seed)
    frame = torch.randint(0, 255, (count, 32, 40, 3), generator=generator, dtype=torch.uint8)
    return WindowBatch(
        frame=frame,
        future=frame[:, None][:, :0],
        future_valid=torch.zeros(count, 0, dtype=torch.bool),
        action=torch.zeros(count, 0, 7),
        action_valid=torch.zeros(count, 0, dtype=torch.bool),
        state=torch.randn(count, 10, generator=generator),
        instructions=["open top drawer"] * count,
        start=None,
    )


def planner_of(checkpoint: Path, candidates: int, judge: Any) -> Planner:
    policy = load_policy(str(checkpoint))
    predictor = cast(VideoActionPredictor, policy._predictor)
    dreamer = cast(Dreamer, Brightness())
    return Planner(predictor, policy._code, dreamer, judge, candidates)


def darkest(windows: WindowBatch) -> np.ndarray:
    return windows.future.double().mean((1, 2, 3, 4)).numpy()


def generators(*seeds: int) -> Sequence[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_a_value_that_needs_what_a_window_leads_to_is_told_apart(checkpoint: Path) -> None:
    probed = load_probed(checkpoint, CPU)
    height, width = probed.assembler.tokenizer.picture
    count, times = 80, len(probed.assembler.windows.future)
    generator = np.random.default_rng(0)
    left = generator.uniform(0, 40, count)
    grey = (100 + left).round().astype(np.uint8)[:, None, None, None, None]
    future = torch.from_numpy(np.tile(grey, (1, times, height, width, 3)))
    frame = torch.from_numpy(generator.integers(0, 255, (count, height, width, 3), dtype=np.uint8))
    windows = replace(
        windows_like(count), frame=frame, future=future,
        future_valid=torch.ones(count, times, dtype=torch.bool),
    )  # fmt: skip
    fitted = fit(probed, StepsLeft(windows, np.arange(count) // 8, left), 0)
    assert max(fitted.explained) > 0.9
    assert fitted.before < 0.3


def test_the_chunk_that_is_imagined_to_lead_best_is_executed(checkpoint: Path) -> None:
    planner, windows = planner_of(checkpoint, 6, darkest), windows_like(3)
    chunks = planner.candidates_of(windows, generators(1, 2, 3))
    assert chunks.shape == (3, 6, planner.chunk, 7)
    np.testing.assert_array_equal(
        chunks[:, 0], planner.predictor.predict(windows, generators(1, 2, 3))
    )
    assert len(np.unique(chunks[0, :, 0, 0])) == 6
    along = planner.code.pose_back(chunks.reshape(-1, *chunks.shape[2:]))[..., 0]
    best = along.sum(1).reshape(3, 6).argmin(1)
    assert len(set(best.tolist()) | {0}) > 1
    chosen = planner.predict(windows, generators(1, 2, 3))
    np.testing.assert_array_equal(chosen, chunks[np.arange(3), best])
    worst = planner_of(checkpoint, 6, lambda windows: -darkest(windows))
    assert not np.array_equal(chosen, worst.predict(windows, generators(1, 2, 3)))


def test_what_is_chosen_does_not_depend_on_who_else_is_served(checkpoint: Path) -> None:
    planner, windows = planner_of(checkpoint, 4, darkest), windows_like(3)
    together = planner.predict(windows, generators(1, 2, 3))
    for row in range(3):
        alone = planner.predict(windows.rows(slice(row, row + 1)), generators(row + 1))
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_a_value_reads_how_much_of_a_demonstration_is_left(
    fitted: Path, checkpoint: Path, toy_demonstrations: Path
) -> None:
    figures = json.loads((fitted / "figures.json").read_text())
    # The toy's pictures brighten with every step.
    assert max(figures["R2 by layer"]) > 0.7
    # Where a demonstration is, its first picture says as well.
    assert 0.5 < figures["R2 without what the window leads to"] <= 1
    assert (fitted / "value.png").stat().st_size > 1000
    sections = json.loads((fitted / "checkpoint" / "config.json").read_text())
    assert sections["checkpoint"] == str(checkpoint)
    policy = load_policy(str(checkpoint), plan={"candidates": 2, "value": str(fitted)})
    read = cast(Planner, policy._predictor).value
    source = compose("value", [f"data.root={toy_demonstrations}"]).data.source
    progress = steps_left(build(plain(source)), load_probed(checkpoint, CPU), 1000)
    assert progress.left.max() == LIMIT - 6
    assert progress.left.min() == 0
    assert np.corrcoef(read(progress.windows), progress.left)[0, 1] > 0.8


def test_a_planning_policy_acts_and_says_so(fitted: Path, checkpoint: Path) -> None:
    plan = {"candidates": 3, "value": str(fitted)}
    ends = []
    for seed in (1, 1):
        env, policy = ToyEnv(), load_policy(str(checkpoint), plan=plan)
        record = run_episode(env, policy, Episode("toy", 0, seed))
        assert record.policy == "video_action, best of 3"
        assert record.steps == LIMIT
        ends.append(env.state)
    np.testing.assert_array_equal(ends[0], ends[1])


def test_impossible_plans_are_refused(fitted: Path, checkpoint: Path, tmp_path: Path) -> None:
    def refused(message: str, **plan: Any) -> None:
        with pytest.raises(UserError, match=message):
            load_policy(str(checkpoint), plan=plan)

    refused("at least 1", candidates=0)
    refused("plan.value: name a run", candidates=2)
    refused("plan.value=.* is no run", candidates=2, value=str(tmp_path / "none"))
    refused("is no run of python -m policies.value", candidates=2, value=str(checkpoint))
    refused("candidatess", candidatess=2)
    config = fitted / "checkpoint" / "config.json"
    changed = json.loads(config.read_text()) | {"weights": "0123456789abcdef"}
    config.write_text(json.dumps(changed))
    refused("was fitted on other weights", candidates=2, value=str(fitted))
    settings = EvalSettings.of(
        plain(compose("eval", ["policy=oracle", "plan.candidates=4", "plan.value=x"]))
    )
    with pytest.raises(UserError, match="only policy=checkpoint imagines"):
        settings.completed()


def test_a_regression_cannot_plan(toy_run: Path) -> None:
    if '"kind": "regression"' not in (toy_run / "checkpoint" / "config.json").read_text():
        pytest.skip("this one can")
    with pytest.raises(UserError, match="no video-action policy"):
        load_policy(str(toy_run), plan={"candidates": 2, "value": "x"})
