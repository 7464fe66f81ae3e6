"""The paper's experiments as configs: what they set, and that they run, made small."""

import dataclasses
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from experiment.errors import UserError
from experiment.files import read_records
from experiment.settings import build, compose
from policies import finetune
from tests.worldmodel.test_text_pretrained import save_t5, save_tokenizer
from tests.worldmodel.test_wan import save_wan
from worldmodel import pretrain
from worldmodel.model_config import ModelConfig
from worldmodel.objective import Objective
from worldmodel.sampler import Sampling
from worldmodel.schedule import TimestepDensity
from worldmodel.training import checkpoint
from worldmodel.training.trainer import TrainerConfig

ROLLOUTS = Path(__file__).parents[1] / "data/rollouts"
COMMANDS = [("pretrain", "pretrain_video"), ("finetune", "finetune_rt1")]
SMALL = [
    "model.width=48", "model.depth=4", "model.heads=2", "model.double=2",
    "data.use.batch_size=2", "data.use.windows.future=[1,2,3,4,5,6,7,8]", "data.use.held_out=0.3",
    "data.source.workers=0", "text.length=4", "tokenizer.height=32", "tokenizer.width=48",
    "tokenizer.subfolder=''", "tokenizer.precision=float32", "trainer.log_every=1",
    "trainer.device=cpu", "trainer.precision=float32", "trainer.compile=false",
]  # fmt: skip


@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_the_settings_are_the_papers(command: str, name: str) -> None:
    config = compose(command, [f"experiment={name}"])
    assert config.model == compose("pretrain", ["model=paper_625m"]).model
    assert config.tokenizer._target_.endswith("WanTokenizer")
    assert "t5" in config.text.name
    future = list(config.data.use.windows.future)
    assert future == list(range(1, 49))  # with the first frame: 49, and 48 = 12 latents
    objective = build(config.objective, Objective)
    video = TimestepDensity(mean=0.0, std=1.0, shift=2.95, tail_share=0.05, tail_start=0.95)
    assert (objective.arm, objective.gamma, objective.mask_ratio) == ("self_flow", 0.8, 0.1)
    assert objective.density == video
    assert objective.condition_noise == {"frame": 0.2}
    trainer = build(config.trainer, TrainerConfig)
    assert (trainer.ema_decay, trainer.ema_warmup) == (0.9999, 0)
    sampling = (
        build(config.samples.sampling, Sampling)
        if command == "pretrain"
        else build(config.learner.settings.inference).sampling
    )
    assert sampling == Sampling(steps=50, shift=15.0, start="noise")
    if command == "finetune":
        settings = config.learner.settings
        assert trainer.steps == 100_000
        assert (settings.timesteps, settings.with_state) == ("shared", False)
        assert (settings.inference.execute, config.data.use.windows.chunk) == (6, 6)


def test_an_experiment_of_another_command_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"pretrain_video is one of another command: it sets sample"
    ):
        compose("finetune", ["experiment=pretrain_video"])
    with pytest.raises(UserError, match="Could not override 'policy'"):
        compose("pretrain", ["experiment=finetune_rt1"])


@pytest.mark.slow
@pytest.mark.skipif(find_spec("diffusers") is None, reason="needs the extra wan")
@pytest.mark.skipif(find_spec("transformers") is None, reason="needs the extra text")
def test_pretraining_then_fine_tuning(tmp_path: Path) -> None:
    """Real classes of autoencoder and text encoder, everything small and random."""
    torch.manual_seed(0)
    save_wan(tmp_path / "wan")
    save_t5(tmp_path / "t5")
    save_tokenizer(tmp_path / "t5")
    folders = [f"tokenizer.name={tmp_path / 'wan'}", f"text.name={tmp_path / 't5'}"]
    common = [*SMALL, *folders, f"data.source.cache={tmp_path / 'cache'}"]
    first = pretrain.run(
        "experiment=pretrain_video", *common, f"data.root={ROLLOUTS}", f"out={tmp_path / 'video'}",
        "data.source.only=[fractal20220817_data,bridge_dataset]", "trainer.steps=3",
        "samples.sampling.steps=2", "samples.clips=2",
    )  # fmt: skip
    records = read_records(first / "log.jsonl")
    assert [record["step"] for record in records if "cosine" in record] == [1, 2, 3]
    model = checkpoint.load(first / "checkpoint").model
    expected = build(compose("pretrain", ["model=paper_625m"]).model, ModelConfig)
    assert model.config == dataclasses.replace(expected, width=48, depth=4, heads=2, double=2)
    assert model.modalities["video"].channels == 6
    second = finetune.run(
        "experiment=finetune_rt1", *common, f"out={tmp_path / 'policy'}",
        f"init={first / 'checkpoint'}", f"data.root={ROLLOUTS / 'fractal20220817_data/0.1.0'}",
        "learner.training.steps=2", "learner.settings.inference.steps=2", "validation_windows=2",
    )  # fmt: skip
    records = read_records(second / "log.jsonl")
    assert all("generation/video" in r and "generation/action" in r for r in records[:2])
    joint = checkpoint.load(second / "checkpoint").model
    assert list(joint.modalities) == ["text", "frame", "video", "action"]
