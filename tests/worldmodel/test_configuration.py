"""Settings from the command line, and the folder of a run."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from experiment.errors import UserError
from experiment.run_folder import open_run
from experiment.settings import CONFIGS, build, compose
from worldmodel.model import ModelConfig
from worldmodel.objective import Objective
from worldmodel.training.trainer import TrainerConfig


@pytest.mark.parametrize("arm", sorted(p.stem for p in (CONFIGS / "objective").glob("*.yaml")))
def test_every_objective_is_the_arm_it_is_named_after(arm: str) -> None:
    config = compose("pretrain", [f"objective={arm}"])
    assert build(config.objective, Objective) == Objective(arm=arm)  # type: ignore[arg-type]


def test_every_model_can_be_built() -> None:
    for path in (CONFIGS / "model").glob("*.yaml"):
        assert build(compose("pretrain", [f"model={path.stem}"]).model, ModelConfig).depth > 0


def test_values_and_choices_are_taken() -> None:
    config = compose("pretrain", ["model=tiny", "trainer.steps=7", "data.root=a b", "out=x"])
    assert config.model.width == 64
    assert config.data.source.root == "a b"
    assert build(config.trainer, TrainerConfig).steps == 7


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("trainer.stesp=3", "unknown setting 'trainer.stesp'. Did you mean 'trainer.steps'"),
        ("steps=3", "Did you mean 'trainer.steps'"),
        ("data=demoz", "unknown data 'demoz'. Did you mean 'demos'"),
        ("quick", "'quick' is no setting: write key=value"),
        ("trainer.steps=many", "trainer.steps='many' must be a whole number"),
        ("trainer.clip=tight", "trainer.clip='tight' must be a number"),
        ("trainer=3", "trainer has parts"),
    ],
)
def test_a_mistake_is_named_with_what_was_meant(argument: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        build(compose("pretrain", [argument]).trainer, TrainerConfig)
    assert sentence in str(caught.value)


def test_settings_that_contradict_are_named_by_the_class_that_knows() -> None:
    with pytest.raises(UserError, match="must be x or v"):
        build(compose("pretrain", ["model.prediction=eps"]).model, ModelConfig)
    with pytest.raises(UserError, match="is no ModelConfig"):
        build(compose("pretrain", []).objective, ModelConfig)


def test_help_prints_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        compose("pretrain", ["--help", "trainer.steps=7"])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert "steps: 7" in printed
    assert "objective=diffusion_forcing|" in printed


def test_a_run_folder_explains_itself_and_belongs_to_one_run(tmp_path: Path) -> None:
    config = OmegaConf.create({"seed": 0, "out": str(tmp_path / "run"), "trainer": {"steps": 3}})
    folder = open_run("pretrain", config)
    assert folder == tmp_path / "run"
    assert OmegaConf.load(folder / "config.yaml") == config
    assert '"torch"' in (folder / "run.json").read_text()
    assert open_run("pretrain", config) == folder
    assert (folder / "run.json").read_text().count('"started"') == 2
    config.trainer.steps = 4
    with pytest.raises(UserError, match=r"there trainer.steps=3, here trainer.steps=4"):
        open_run("pretrain", config)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    config = OmegaConf.create({"out": str(tmp_path)})
    with pytest.raises(UserError, match="is no run of this kind"):
        open_run("pretrain", config)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
