"""Settings from the command line."""

import re

import pytest
from omegaconf import OmegaConf

from experiment.command import help_text
from experiment.errors import UserError
from experiment.settings import CONFIGS, build, compose
from worldmodel.model_config import ModelConfig
from worldmodel.objective import Objective
from worldmodel.training.trainer import TrainerConfig
from worldmodel.vision_encoder import VisionEncoder


@pytest.mark.parametrize("name", sorted(p.stem for p in (CONFIGS / "objective").glob("*.yaml")))
def test_every_objective_is_the_arm_it_is_named_after(name: str) -> None:
    arm, _, target = name.rpartition("_") if name.endswith("_zscore") else (name, "", "paper")
    outside = VisionEncoder("somewhere") if arm == "repa" else None
    given = ["objective.outside.name=somewhere"] if outside else []
    config = compose("pretrain", [f"objective={name}", *given])
    expected = Objective(arm=arm, target=target, outside=outside)  # type: ignore[arg-type]
    assert build(config.objective, Objective) == expected


def test_every_model_can_be_built() -> None:
    for path in (CONFIGS / "model").glob("*.yaml"):
        assert build(compose("pretrain", [f"model={path.stem}"]).model, ModelConfig).depth > 0


def test_values_and_choices_are_taken() -> None:
    config = compose("pretrain", ["model=tiny", "trainer.steps=7", "data.root=a b", "out=x"])
    assert config.model.width == 64
    assert config.data.source.sets[0].root == "a b"
    assert build(config.trainer, TrainerConfig).steps == 7


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("trainer.stesp=3", "unknown setting 'trainer.stesp'. Did you mean 'trainer.steps'"),
        ("steps=3", "Did you mean 'trainer.steps'"),
        ("+x=1", "unknown setting 'x'"),
        ("task=open_and_place", "unknown setting 'task'"),
        ("data=demoz", "unknown data 'demoz'. Did you mean 'demos'"),
        ("quick", "'quick' is not a setting: write key=value"),
        ("--steps", "'--steps' is not a setting: write key=value"),
        ("~seed", "a setting cannot be removed, give seed=VALUE"),
        ("seed=-1", "seed=-1 must be a whole number of at least 0"),
        ("trainer.steps=many", "trainer.steps=many must be a whole number"),
        ("trainer.clip=tight", "trainer.clip=tight must be a number"),
        ("trainer.learning_rate=nan", "must be a number"),
        ("trainer=3", "trainer=3: set an entry of trainer, such as trainer.steps"),
        ("trainer=null", "trainer=null: set an entry"),
        ("data.use.windows.future=[3, b]", "b must be a whole number, such as 3"),
        ("data.use.windows.future=3", "must be a list, such as [3, 6]"),
        ("data.use.windows.past=3", "must be a list, such as [a,b]"),
        ("objective.dropout=0.5", "must be a mapping, such as {name: value}"),
        ("objective.dropout={video", "the value could not be read"),
        ("data=lerobot", "data.root is not set"),
        ("out=${nowhere}", "the settings do not fit together"),
    ],
)
def test_a_mistake_is_named_with_what_was_meant(argument: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        compose("pretrain", [argument])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "key", "value"),
    [
        ("out=runs/jörg und Söhne", "out", "runs/jörg und Söhne"),
        ("out='a b'", "out", "a b"),
        ("out=a=b,c:d", "out", "a=b,c:d"),
        ("data.root=2024", "data.root", "2024"),
        ("trainer.learning_rate=1e-4", "trainer.learning_rate", 1e-4),
        ("trainer.clip=2", "trainer.clip", 2),
        ("data.use.windows.future=[1, 2,3]", "data.use.windows.future", [1, 2, 3]),
        ("objective.dropout={video: 0.5}", "objective.dropout", {"video": 0.5}),
        (
            "objective.dropout={video:0.5,text:1}",
            "objective.dropout",
            {"video": 0.5, "text": 1},
        ),
        ("objective.dropout.video=0.5", "objective.dropout", {"video": 0.5}),
        ("+objective.dropout.video=0.5", "objective.dropout", {"video": 0.5}),
        ("objective.condition_noise={}", "objective.condition_noise", {}),
    ],
)
def test_values_mean_what_they_look_like(argument: str, key: str, value: object) -> None:
    assert OmegaConf.select(compose("pretrain", [argument]), key) == value


@pytest.mark.parametrize(
    "argument", ["adapter=bridge", "adapter@data.adapter=bridge", "data.adapter=bridge"]
)
def test_a_group_is_found_by_its_name_and_by_its_place(argument: str) -> None:
    config = compose("inspect", [argument, "data=lerobot", "data.root=x"])
    assert config.data.source.sets[0].adapter.name == "bridge"


def test_a_class_of_the_users_takes_arguments_that_no_file_lists() -> None:
    config = compose("eval", ["policy=my.Policy", "policy.speed=3", "+policy.names=[a, b]"])
    assert config.policy == {"_target_": "my.Policy", "speed": 3, "names": ["a", "b"]}
    with pytest.raises(UserError, match="your class: policy=my_robot"):
        compose("eval", ["policy=custom"])
    with pytest.raises(UserError, match=r"unknown setting 'policy\.speed'"):
        compose("eval", ["policy=random", "policy.speed=3"])
    with pytest.raises(UserError, match="does not take these settings"):
        build(compose("eval", ["policy=random", "+policy.speed=3"]).policy)


def test_a_section_that_follows_another_says_so() -> None:
    with pytest.raises(UserError, match=r"follows \$\{model\}: set model\.width instead"):
        compose("finetune", ["learner.settings.model.width=3"])


def test_settings_that_contradict_are_named_by_the_class_that_knows() -> None:
    with pytest.raises(UserError, match="must be x or v"):
        build(compose("pretrain", ["model.prediction=eps"]).model, ModelConfig)
    with pytest.raises(UserError, match="is not a ModelConfig"):
        build(compose("pretrain", []).objective, ModelConfig)


def test_help_shows_each_setting_with_its_comment_and_the_choices_of_groups() -> None:
    text = help_text("pretrain", "usage", ["trainer.steps=7", "data=lerobot"])
    lines = text.splitlines()
    assert lines[0] == "usage"
    assert "  trainer.steps=7" in lines
    assert re.search(r"^  trainer\.schedule=cosine +# cosine \| constant$", text, re.MULTILINE)
    assert re.search(r"^  objective\.density: +# p\(t\) for video", text, re.MULTILINE)
    assert re.search(r"^  data\.root=\?\?\?", text, re.MULTILINE)
    assert any(line.startswith("  objective=self_flow") for line in lines)
    assert "diffusion_forcing | dual_timestep" in text


@pytest.mark.parametrize("name", ["pretrain", "finetune", "encode", "inspect", "eval", "collect"])
def test_every_comment_of_a_commands_own_file_is_in_its_help(name: str) -> None:
    comments = re.findall(r"\S +# (.*)", (CONFIGS / f"{name}.yaml").read_text())
    text = help_text(name, "")
    assert comments
    assert [comment for comment in comments if comment not in text] == []
