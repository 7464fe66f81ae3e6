"""Fine-tuning for a few steps on a tiny data set."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from experiment.errors import UserError
from experiment.seeding import torch_generator
from experiment.settings import build, compose
from policies.checkpoint import load_policy
from policies.contract import Observation
from policies.finetune import run, trainer_of
from policies.learning.initial import with_initial
from policies.video_action import VideoActionSettings
from tests.policies.conftest import tiny_trainer
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.windows import WindowConfig
from worldmodel.model import WorldModel
from worldmodel.model_config import ModelConfig
from worldmodel.objective import Objective
from worldmodel.text.words import HashedWords
from worldmodel.tokenizer.pixel import PixelTokenizer
from worldmodel.training import checkpoint

pytestmark = pytest.mark.slow

KINDS = ("video_action", "regression")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.read_tensors(folder / "checkpoint" / checkpoint.WEIGHTS)[0]


def test_a_run_explains_itself(toy_run: Path) -> None:
    names = {path.name for path in toy_run.iterdir()}
    assert {"config.yaml", "run.json", "log.jsonl", "curves.png", "checkpoint"} <= names
    records = [json.loads(line) for line in (toy_run / "log.jsonl").read_text().splitlines()]
    assert any("total" in record for record in records)
    last = records[-1]
    for figure in ("translation_mm", "rotation_mrad", "gripper_wrong"):
        assert last[f"held_out/{figure}"] >= 0
    said = checkpoint.read_config(toy_run / "checkpoint")
    assert said["training"]["episodes"] == 3  # and one held out
    assert said["gripper"] == "level"


@pytest.mark.parametrize("kind", KINDS)
def test_resumed_equals_uninterrupted(kind: str, toy_demonstrations: Path, tmp_path: Path) -> None:
    straight = tiny_trainer(toy_demonstrations, tmp_path / "straight", kind)
    straight.run()

    broken = tiny_trainer(toy_demonstrations, tmp_path / "broken", kind)
    broken.advance()
    broken.save()
    resumed = tiny_trainer(toy_demonstrations, tmp_path / "broken", kind)
    assert resumed.step == 1
    resumed.run()
    for name, tensor in weights(tmp_path / "straight").items():
        assert torch.equal(tensor, weights(tmp_path / "broken")[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_learning_one_batch_lowers_the_loss(
    kind: str, toy_demonstrations: Path, tmp_path: Path
) -> None:
    trainer = tiny_trainer(
        toy_demonstrations, tmp_path / "run", kind, "trainer.learning_rate=3e-3", steps=30
    )
    state = trainer.state
    model, batch = state.model, trainer._assemble(trainer._windows(0))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        parts = trainer._loss(model, state.teacher, batch, torch_generator(0))
        losses.append(parts["total"].item())
        optimiser.zero_grad()
        parts["total"].backward()
        optimiser.step()
    assert losses[-1] < 0.7 * losses[0]


def pretrained(folder: Path, **sizes: int) -> None:
    """Write what worldmodel.pretrain would, of the tiny size."""
    tokenizer = PixelTokenizer(height=32, width=32, hidden=32)
    text = HashedWords()
    config = ModelConfig(**{"width": 64, "depth": 2, "heads": 2, **sizes})  # type: ignore[arg-type]
    modalities = (text.modality, *tokenizer.modalities)
    model = WorldModel(modalities, config, torch_generator(7))
    sections = {
        "tokenizer": tokenizer.config(),
        "text": text.config(),
        "windows": {"future": [3, 6], "chunk": 6},
    }
    checkpoint.save(folder, model, sections)


def test_fine_tuning_starts_from_the_pretrained_weights(
    toy_demonstrations: Path, tmp_path: Path
) -> None:
    pretrained(tmp_path / "pretrained")
    trainer = tiny_trainer(
        toy_demonstrations,
        tmp_path / "run",
        "video_action",
        f"init={tmp_path / 'pretrained'}",
    )
    before, _ = checkpoint.read_tensors(tmp_path / "pretrained" / checkpoint.WEIGHTS)
    now = trainer.state.model.state_dict()
    assert all(torch.equal(now[name], tensor) for name, tensor in before.items())
    added = {name.split(".")[1] for name in now.keys() - before.keys()}
    assert added == {"state", "action"}


def test_a_pretrained_model_brings_its_settings_along(tmp_path: Path) -> None:
    pretrained(tmp_path / "pretrained", depth=3)
    config = compose("finetune", with_initial([f"init={tmp_path / 'pretrained'}"]))
    assert (config.model.width, config.model.depth, config.model.heads) == (64, 3, 2)
    assert (config.tokenizer.height, config.tokenizer.hidden) == (32, 32)
    assert config.learner.settings.tokenizer == config.tokenizer
    assert config.text.words == 24


def test_a_run_says_from_how_many_starts_its_episodes_begin(
    toy_demonstrations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_trainer(toy_demonstrations, tmp_path / "one", "regression", steps=1)
    assert "4 episodes begin from 4 different starts.\n" in capsys.readouterr().out
    both = f"data.root='{toy_demonstrations},{toy_demonstrations}'"
    tiny_trainer(toy_demonstrations, tmp_path / "two", "regression", both, steps=1)
    said = capsys.readouterr().out
    assert "8 episodes begin from 4 different starts: collect some with another seed=" in said


def test_a_stem_and_the_first_picture_can_be_added_and_stay(
    toy_demonstrations: Path, tmp_path: Path
) -> None:
    pretrained(tmp_path / "pretrained")
    more = ("tokenizer.stem=4", "data.use.windows.start=true", "data.use.windows.past=[3,6]")
    run = tmp_path / "run"
    init = f"init={tmp_path / 'pretrained'}"
    trainer = tiny_trainer(toy_demonstrations, run, "video_action", init, *more, steps=1)
    before, _ = checkpoint.read_tensors(tmp_path / "pretrained" / checkpoint.WEIGHTS)
    now = trainer.state.model.state_dict()
    assert all(torch.equal(now[name], tensor) for name, tensor in before.items())
    added = {name.split(".")[1] for name in now.keys() - before.keys()}
    assert added == {"state", "action", "start", "past", "frame"}
    assert trainer.run()
    # The next run has them without being told.
    config = compose("finetune", with_initial([f"init={run / 'checkpoint'}"]))
    assert config.tokenizer.stem == 4
    assert config.data.use.windows.start is True
    assert list(config.data.use.windows.past) == [3, 6]
    policy = load_policy(str(run / "checkpoint"))
    assert "start" in policy._predictor.model.modalities  # type: ignore[attr-defined]
    assert policy._past == (3, 6)
    picture = np.zeros((32, 32, 3), np.uint8)
    state = np.zeros(policy._code.normalisation.mean.shape, np.float32)
    for level in (0, 50, 100):
        given = policy.act(Observation(picture + level, state, "open top drawer", 0, {}))
        assert np.isfinite(given).all()


def test_a_policy_can_learn_to_remember_its_last_grip(
    toy_demonstrations: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert tiny_trainer(toy_demonstrations, first, "video_action", steps=1).run()
    init = f"init={first / 'checkpoint'}"
    more = (init, "data.use.windows.grip=true")
    trainer = tiny_trainer(toy_demonstrations, second, "video_action", *more, steps=1)
    before, _ = checkpoint.read_tensors(first / "checkpoint" / checkpoint.WEIGHTS)
    now = trainer.state.model.state_dict()
    changed = {name for name, tensor in before.items() if not torch.equal(now[name], tensor)}
    assert changed == {"inputs.state.weight"}
    assert torch.equal(now["inputs.state.weight"][:, :-1], before["inputs.state.weight"])
    assert trainer.run()
    config = compose("finetune", with_initial([f"init={second / 'checkpoint'}"]))
    assert config.data.use.windows.grip is True
    policy = load_policy(str(second / "checkpoint"))
    assert policy._predictor.model.modalities["state"].channels == 11  # type: ignore[attr-defined]
    observation = Observation(
        np.zeros((32, 32, 3), np.uint8), np.zeros(10, np.float32), "do", 0, {}
    )
    assert np.isfinite(policy.act(observation)).all()


def test_what_a_policy_would_not_heed_is_refused(toy_demonstrations: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    assert tiny_trainer(toy_demonstrations, first, "regression", steps=1).run()
    for kind, given, sentence in (
        ("regression", f"init={first / 'checkpoint'}", "policy=regression has no pretraining"),
        ("regression", "data.use.windows.start=true", "windows.start: policy=regression sees one"),
        ("regression", "learner.settings.execute=7", "execute=7 must lie between 1 and the 6"),
        ("video_action", "data.use.windows.chunk=2", "execute=3 must lie between 1 and the 2"),
        ("video_action", "learner.settings.inference.ensemble=0", "ensemble=0 must be at least 1"),
        ("video_action", "+objective.weights.action=3", "learner.settings.action_weight in its"),
        ("video_action", "+objective.dropout.video=0.1", "learner.settings.video_dropout in its"),
    ):
        with pytest.raises(UserError, match=sentence):
            tiny_trainer(toy_demonstrations, tmp_path / "run", kind, given)


def test_video_told_as_differences_begins_its_layers_anew(
    toy_demonstrations: Path, tmp_path: Path
) -> None:
    pretrained(tmp_path / "pretrained")
    run, init = tmp_path / "run", f"init={tmp_path / 'pretrained'}"
    more = ("tokenizer.difference=2",)
    trainer = tiny_trainer(toy_demonstrations, run, "video_action", init, *more, steps=1)
    before, _ = checkpoint.read_tensors(tmp_path / "pretrained" / checkpoint.WEIGHTS)
    now = trainer.state.model.state_dict()
    changed = {name for name, tensor in before.items() if not torch.equal(now[name], tensor)}
    # Those of the output begin at zero, as they are in this pretrained model.
    assert {".".join(name.split(".")[:2]) for name in changed} == {"inputs.video"}
    assert list(trainer.state.model.modalities)[:3] == ["text", "frame", "video"]
    assert trainer.run()
    # The next run keeps what this one learned.
    config = compose("finetune", with_initial([f"init={run / 'checkpoint'}"]))
    assert config.tokenizer.difference == 2
    settings = build(config.learner.settings, VideoActionSettings)
    normalisation = Normalisation.of(np.zeros((2, 10)), np.zeros((2, 7)))
    again = settings.learner(WindowConfig(), normalisation, 1).model.state_dict()
    after, _ = checkpoint.read_tensors(run / "checkpoint" / checkpoint.WEIGHTS)
    assert all(torch.equal(again[name], tensor) for name, tensor in after.items())


def test_pictures_can_become_finer_and_stay(toy_demonstrations: Path, tmp_path: Path) -> None:
    pretrained(tmp_path / "pretrained")
    sizes = ("tokenizer.height=64", "tokenizer.width=64", "tokenizer.patch=32")
    run = tmp_path / "run"
    init = f"init={tmp_path / 'pretrained'}"
    trainer = tiny_trainer(toy_demonstrations, run, "video_action", init, *sizes, steps=1)
    before, _ = checkpoint.read_tensors(tmp_path / "pretrained" / checkpoint.WEIGHTS)
    now = trainer.state.model.state_dict()
    grown = {name for name, tensor in before.items() if now[name].shape != tensor.shape}
    assert grown == {
        "inputs.frame.0.weight", "inputs.video.0.weight", "outputs.video.weight",
        "outputs.video.bias",
    }  # fmt: skip
    assert all(torch.equal(now[name], before[name]) for name in before.keys() - grown)
    first = before["inputs.frame.0.weight"]
    torch.testing.assert_close(now["inputs.frame.0.weight"].sum(1), first.sum(1))
    assert trainer.run()
    config = compose("finetune", with_initial([f"init={run / 'checkpoint'}"]))
    assert (config.tokenizer.width, config.tokenizer.patch) == (64, 32)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("model.depth=2", r"has model.depth=3, these settings have 2: leave model out"),
        ("tokenizer.patch=8", r"has tokenizer.patch=16, these settings have 8"),
        ("text.words=30", r"has text.words=24, these settings have 30"),
    ],
)
def test_settings_that_do_not_fit_the_pretrained_model_are_named(
    tmp_path: Path, argument: str, sentence: str
) -> None:
    pretrained(tmp_path / "pretrained", depth=3)
    arguments = [f"init={tmp_path / 'pretrained'}", argument]
    config = compose("finetune", with_initial(arguments))
    settings = build(config.learner.settings, VideoActionSettings)
    normalisation = Normalisation.of(np.zeros((2, 10)), np.zeros((2, 7)))
    with pytest.raises(UserError, match=sentence):
        settings.learner(WindowConfig(), normalisation, 0)


def test_fine_tuning_starts_from_a_checkpoint_that_says_less(tmp_path: Path) -> None:
    pretrained(tmp_path / "pretrained")
    path = tmp_path / "pretrained/config.json"
    sections = json.loads(path.read_text())
    for name in ("double", "single", "swiglu", "bias", "rope", "head_ratio"):
        del sections["model"][name]
    path.write_text(json.dumps(sections))
    config = compose("finetune", with_initial([f"init={tmp_path / 'pretrained'}"]))
    built = build(config.learner.settings, VideoActionSettings)
    normalisation = Normalisation.of(np.zeros((2, 10)), np.zeros((2, 7)))
    learner = built.learner(WindowConfig(), normalisation, 0)
    assert {"state", "action"} < set(learner.model.modalities)


def test_a_run_means_its_checkpoint_wherever_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained(tmp_path / "run/checkpoint", depth=3)
    monkeypatch.chdir(tmp_path)
    arguments = with_initial(["init=run"])
    assert "model.depth=3" in arguments
    built = build(compose("finetune", arguments).learner.settings, VideoActionSettings)
    normalisation = Normalisation.of(np.zeros((2, 10)), np.zeros((2, 7)))
    assert built.learner(WindowConfig(), normalisation, 0).model.config.depth == 3
    shipped = with_initial(["init=policies/checkpoints/google_robot"])
    assert "tokenizer.width=256" in shipped
    with pytest.raises(UserError, match="init elsewhere was not found: give init= a folder"):
        with_initial(["init=elsewhere"])


def test_a_checkpoint_has_nothing_looked_up(tmp_path: Path) -> None:
    pretrained(tmp_path / "pretrained")
    path = tmp_path / "pretrained/config.json"
    sections = json.loads(path.read_text())
    sections["model"]["prediction"] = "${oc.env:HOME}"
    path.write_text(json.dumps(sections))
    with pytest.raises(UserError, match="is not a plain value"):
        with_initial([f"init={tmp_path / 'pretrained'}"])


def settings(**changes: object) -> VideoActionSettings:
    return VideoActionSettings(
        PixelTokenizer(),
        HashedWords(),
        ModelConfig(),
        Objective(),
        **changes,  # type: ignore[arg-type]
    )


def test_timesteps_are_shared_unless_they_are_own() -> None:
    assert settings()._joint().own_timesteps == {}
    assert set(settings(timesteps="own")._joint().own_timesteps) == {"action"}
    with pytest.raises(UserError, match="shared or own"):
        settings(timesteps="both")


def test_a_policy_without_proprioception_has_no_state_layer(
    toy_demonstrations: Path, tmp_path: Path
) -> None:
    trainer = tiny_trainer(
        toy_demonstrations,
        tmp_path / "run",
        "video_action",
        "learner.settings.with_state=false",
        steps=1,
    )
    assert "state" not in trainer.state.model.modalities
    assert trainer.run()


def test_a_policy_that_does_not_learn_is_refused() -> None:
    with pytest.raises(UserError, match=r"there is no learner 'oracle'"):
        compose("finetune", ["policy=oracle"])


def test_an_unknown_gripper_is_refused(toy_demonstrations: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'level'"):
        tiny_trainer(toy_demonstrations, tmp_path / "run", "regression", "gripper=levle")


ROLLOUTS = Path(__file__).parents[1] / "data/rollouts"
STREAMS = {
    "fractal": ("fractal20220817_data/0.1.0", [], "google_robot", "level"),
    "bridge": ("bridge_dataset/1.0.0", [], "widowx", "absolute"),
    "rlds": ("bridge_dataset/1.0.0", ["adapter=bridge_dataset"], "widowx", "absolute"),
    "lerobot": ("widowx/lerobot_v2.1", [], "widowx", "absolute"),
    "demos": ("google_robot/lerobot_v3.0", [], "google_robot", "level"),
    "demos of two tasks": (
        "google_robot/lerobot_v3.0",
        [f"data.root={ROLLOUTS}/google_robot/lerobot_v3.0,{ROLLOUTS}/google_robot/lerobot_v2.1"],
        "google_robot",
        "level",
    ),
    "openx": (
        "",
        [
            "data.source.only=[fractal20220817_data,bridge_dataset]",
            "data.statistics_of=bridge_dataset",
        ],
        "widowx",
        "absolute",
    ),
}


@pytest.mark.parametrize("data", STREAMS)
def test_every_data_set_can_be_learned_from(data: str, tmp_path: Path) -> None:
    root, given, robot, gripper = STREAMS[data]
    arguments = [
        f"data={data.split()[0]}", f"data.root={ROLLOUTS / root}", *given,
        f"out={tmp_path / 'run'}",
        f"data.source.cache={tmp_path / 'cache'}", "data.source.workers=0", "policy=regression",
        "learner.settings.model.channels=[8,8,8]", "learner.settings.model.width=16",
        "tokenizer.height=32", "tokenizer.width=32", "data.use.batch_size=4",
        "data.use.held_out=0.3", "trainer.device=cpu", "trainer.steps=2", "validation_windows=4",
    ]  # fmt: skip
    assert trainer_of(compose("finetune", arguments)).run()
    saved = checkpoint.read_config(tmp_path / "run/checkpoint")
    assert (saved["robot"], saved["gripper"]) == (robot, gripper)
    assert len(saved["normalisation"]["low"]) == 6
    records = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert records[-1]["held_out/translation_mm"] > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data=lerobot", "data.camera=observation.images.head"], "no adapter says what its act"),
        (["data=lerobot", "adapter=jaco_play"], "has no column"),
        (["validation_windows=0"], "validation_windows=0 must be at least 1"),
        (["data=tokens"], "learns from whole episodes, which encoded tokens are not"),
    ],
)
def test_what_no_policy_can_learn_is_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    root = Path(__file__).parents[1] / "data/lerobot_v3.0"
    given = [f"data.root={root}", f"out={tmp_path / 'run'}", *arguments]
    if "data=tokens" not in given:
        given.append(f"data.source.cache={tmp_path}")
    with pytest.raises(UserError, match=sentence):
        run(*given)
    assert not (tmp_path / "run").exists()
