"""Checkpoint folders: they stand alone, and a bad one is named."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.rollout import run_episode
from experiment.errors import UserError
from experiment.settings import ROOT
from policies.checkpoint import SHIPPED, load_policy, shipped, shipped_world
from policies.chunking import act_together
from policies.contract import Observation
from policies.evaluation.protocol import Protocol, episodes
from policies.evaluation.run import Evaluation, evaluate
from tests.envs.toy import ToyEnv
from worldmodel.training.checkpoint import CONFIG, WEIGHTS

pytestmark = pytest.mark.slow


def observation(seed: int = 0) -> Observation:
    generator = np.random.default_rng(seed)
    return Observation(
        image=generator.integers(0, 255, (32, 40, 3), dtype=np.uint8),
        state=generator.normal(size=10).astype(np.float32),
        instruction="open top drawer",
        step=0,
        privileged={},
    )


def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run / "checkpoint", tmp_path / "elsewhere"))


def test_a_checkpoint_stands_alone_and_the_same_seed_gives_the_same_chunk(
    toy_run: Path, tmp_path: Path
) -> None:
    folder = copied(toy_run, tmp_path)
    policy, again = load_policy(str(folder)), load_policy(str(folder))
    policy.reset("open top drawer", 3)
    again.reset("open top drawer", 3)
    first = policy.act(observation())
    assert first.shape == (3, 7)
    assert first.dtype == np.float32
    assert np.array_equal(first, again.act(observation()))
    assert not np.array_equal(first, policy.act(observation(1)))


def test_noise_follows_from_the_seed(toy_run: Path) -> None:
    if "regression" in str(toy_run):
        pytest.skip("a regression has no noise")
    policy = load_policy(str(toy_run / "checkpoint"), start="noise", steps=2)
    chunks = []
    for seed in (3, 4, 3):
        policy.reset("open top drawer", seed)
        chunks.append(policy.act(observation()))
    assert np.array_equal(chunks[0], chunks[2])
    assert not np.array_equal(chunks[0], chunks[1])


def test_the_shipped_policy_is_that_of_the_task_or_of_its_robot(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("policies.checkpoint.ROOT", tmp_path)
    with pytest.raises(UserError, match=r"no policy for move_near is installed \(.*google_robot"):
        load_policy(None, task="google_robot_move_near")
    robot, task = (tmp_path / SHIPPED / name for name in ("google_robot", "open_and_place"))
    shutil.copytree(toy_run / "checkpoint", robot)
    assert shipped("open_and_place") == shipped("move_near") == robot
    shutil.copytree(toy_run / "checkpoint", task)
    assert shipped("open_and_place") == task
    expected = load_policy(str(robot)).act(observation())
    np.testing.assert_array_equal(load_policy(None, task="move_near").act(observation()), expected)
    with pytest.raises(UserError, match="no policy for stack_cube is installed"):
        load_policy(None, task="stack_cube")
    with pytest.raises(UserError, match="give a folder"):
        load_policy(None)


def test_sessions_predicted_together_act_as_each_would_alone(toy_run: Path) -> None:
    noise: dict[str, Any] = {} if "regression" in str(toy_run) else {"start": "noise", "steps": 2}
    first = load_policy(str(toy_run / "checkpoint"), **noise)
    sessions = [first, first.another(), first.another()]
    observations = [observation(seed) for seed in range(3)]
    alone = []
    for seed, seen in enumerate(observations):
        first.reset("open top drawer", seed)
        alone.append(first.act(seen))
    for seed, session in enumerate(sessions):
        session.reset("open top drawer", seed)
    for together, each in zip(act_together(sessions, observations), alone, strict=True):
        assert np.allclose(together, each, atol=1e-5)


def test_how_a_checkpoint_acts_can_be_set(toy_run: Path) -> None:
    folder = str(toy_run / "checkpoint")
    assert load_policy(folder, execute=2).act(observation()).shape == (2, 7)
    with pytest.raises(UserError, match="execute=9"):
        load_policy(folder, execute=9)
    for execute in ("abc", 2.5, True):
        with pytest.raises(UserError, match=r"policy\.execute=.* must be of type int"):
            load_policy(folder, execute=execute)
    with pytest.raises(UserError, match="stesp=3 means nothing"):
        load_policy(folder, stesp=3)
    if "video_action" in str(toy_run):
        with_video = load_policy(folder, predict_video=True, steps=2)
        assert with_video.act(observation()).shape == (3, 7)
        with pytest.raises(UserError, match="steps"):
            load_policy(folder, steps=0).act(observation())


def test_a_policy_hears_the_words_of_its_demonstrations(toy_run: Path) -> None:
    folder = toy_run / "checkpoint"
    learned = json.loads((folder / CONFIG).read_text())["instructions"]
    own = "place apple into top drawer"  # of the second half of each episode
    assert learned == ["open top drawer", own]

    def chunk(instruction: str, listen: str | None = None) -> np.ndarray:
        policy = load_policy(str(folder), listen=listen)
        policy.reset(instruction, 0)
        return policy.act(replace(observation(), instruction=instruction))

    for listen in (None, "said"):
        assert np.array_equal(chunk(own, listen), chunk(own))
    assert np.array_equal(chunk(f"please, {own} for us"), chunk(own))
    assert not np.array_equal(chunk(f"please, {own} for us", "said"), chunk(own))


def test_a_policy_computes_in_another_precision_within_a_bound(toy_run: Path) -> None:
    folder = str(toy_run / "checkpoint")
    exact = load_policy(folder).act(observation())
    rounded = load_policy(folder, device="cpu", precision="bfloat16").act(observation())
    scale = np.abs(exact[:, :6]).mean()
    assert 0 < np.abs(rounded[:, :6] - exact[:, :6]).mean() < 0.05 * scale
    with pytest.raises(UserError, match=r"policy.precision='float8' must be"):
        load_policy(folder, precision="float8")
    with pytest.raises(UserError, match=r"policy.device='cuda:77' is not usable"):
        load_policy(folder, device="cuda:77")


def test_a_policy_needs_pictures(toy_run: Path) -> None:
    policy = load_policy(str(toy_run / "checkpoint"))
    with pytest.raises(UserError, match="needs pictures"):
        run_episode(ToyEnv(None), policy, episodes(Protocol(), "toy", 1)[0])


def test_a_checkpoint_is_evaluated_like_any_policy(toy_run: Path, tmp_path: Path) -> None:
    evaluation = Evaluation(
        episodes(Protocol(), "toy", 2),
        {"_target_": "tests.envs.toy.ToyEnv"},
        {"_target_": "policies.checkpoint.load_policy", "checkpoint": str(toy_run / "checkpoint")},
    )
    records = evaluate(evaluation, tmp_path)
    assert [record.calls for record in records] == [7, 7]


def truncated(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def no_safetensors(folder: Path) -> None:
    (folder / WEIGHTS).write_text("not weights")


def no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def no_config(folder: Path) -> None:
    (folder / CONFIG).unlink()


def torn_config(folder: Path) -> None:
    path = folder / CONFIG
    path.write_text(path.read_text()[:50])


def changed(folder: Path, **values: object) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def other_width(folder: Path) -> None:
    model = json.loads((folder / CONFIG).read_text())["model"]
    changed(folder, model={**model, "width": 2 * model["width"]})


def other_kind(folder: Path) -> None:
    changed(folder, kind="regresion")


def pretrained_only(folder: Path) -> None:
    changed(folder, kind=None)


def short_statistics(folder: Path) -> None:
    statistics = json.loads((folder / CONFIG).read_text())["normalisation"]
    changed(folder, normalisation=statistics | {"low": [0.0]})


def other_state(folder: Path) -> None:
    statistics = json.loads((folder / CONFIG).read_text())["normalisation"]
    changed(folder, normalisation=statistics | {"mean": [0.0] * 11})


def unknown_tokenizer(folder: Path) -> None:
    changed(folder, tokenizer={"kind": "os.system", "command": "true"})


def unknown_text(folder: Path) -> None:
    changed(folder, text={"kind": "words", "wrods": 3})


def no_patch(folder: Path) -> None:
    tokenizer = json.loads((folder / CONFIG).read_text())["tokenizer"]
    changed(folder, tokenizer=tokenizer | {"patch": 0})


def no_statistics(folder: Path) -> None:
    changed(folder, normalisation={})


def statistics_not_finite(folder: Path) -> None:
    statistics = json.loads((folder / CONFIG).read_text())["normalisation"]
    changed(folder, normalisation=statistics | {"low": [float("nan")] * 6})


def endless_chunk(folder: Path) -> None:
    windows = json.loads((folder / CONFIG).read_text())["windows"]
    changed(folder, windows=windows | {"chunk": 10**9})


def far_future(folder: Path) -> None:
    changed(folder, windows={"future": [3, 10**9], "chunk": 6})


def huge_picture(folder: Path) -> None:
    tokenizer = json.loads((folder / CONFIG).read_text())["tokenizer"]
    changed(folder, tokenizer=tokenizer | {"height": 10**6})


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (truncated, "truncated or not a safetensors"),
        (no_safetensors, "truncated or not a safetensors"),
        (no_weights, "model.safetensors is missing"),
        (no_config, "has no config.json"),
        (torn_config, "config.json is damaged"),
        (other_width, "another size"),
        (other_kind, "Did you mean 'regression'"),
        (pretrained_only, "policies.finetune turns into a policy"),
        (no_statistics, "'normalisation' is damaged"),
        (short_statistics, r"normalisation.low has shape \(1,\) where the model has 6"),
        (other_state, r"normalisation.mean has shape \(11,\) where the model has 10"),
        (unknown_tokenizer, r"tokenizer.kind='os.system' is unknown"),
        (unknown_text, r"text.wrods: words has no such setting. Did you mean 'words'"),
        (statistics_not_finite, "'normalisation' is damaged: low is not finite"),
        (endless_chunk, r"windows.chunk=1000000000 is more than 1,000"),
        (far_future, r"windows.future=1000000000 is more than 10,000"),
        (huge_picture, r"tokenizer.height=1000000 is more than 4,096"),
        (no_patch, r"tokenizer.patch=0 must be at least 1"),
    ],
)
def test_a_bad_checkpoint_is_named(
    harm: Callable[[Path], None], sentence: str, toy_run: Path, tmp_path: Path
) -> None:
    folder = copied(toy_run, tmp_path)
    harm(folder)
    with pytest.raises(UserError, match=sentence) as caught:
        load_policy(str(folder))
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value) or "'normalisation'" in sentence


def test_the_google_robots_policies_have_a_world_model_beside_them() -> None:
    world = ROOT / SHIPPED / "google_robot_world"
    for task in ("move_near", "open_and_place"):
        assert shipped_world(shipped(task)) == world


def test_a_robot_without_one_dreams_with_its_policy() -> None:
    policy = shipped("stack_cube")
    assert shipped_world(policy) == policy
