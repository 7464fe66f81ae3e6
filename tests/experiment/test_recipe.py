"""Recipes: stages in their order, each once, and every command one that can be run."""

from pathlib import Path

import pytest

from experiment.errors import UserError
from experiment.files import read_records
from experiment.recipe import STAGES, Recipe, Stage, follow, main
from experiment.settings import compose, plain, typed
from experiment.settings_files import options


def test_what_has_ended_is_not_run_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    module = "tests.experiment.stage"
    stages = [
        Stage("first", module, [str(log), "{x}{y}"], each={"x": ["a", "b"], "y": ["1", "2"]}),
        Stage("second", module, [str(log), "c"]),
    ]
    follow(stages[:1], tmp_path)
    (tmp_path / "fail").touch()
    with pytest.raises(UserError, match="stage second ended with exit code 3"):
        follow(stages, tmp_path)
    (tmp_path / "fail").unlink()
    follow(stages, tmp_path)
    follow(stages, tmp_path)
    assert log.read_text().split() == ["a1", "a2", "b1", "b2", "c", "c"]
    names = [record["name"] for record in read_records(tmp_path / STAGES)]
    assert names == ["first a 1", "first a 2", "first b 1", "first b 2", "second"]


@pytest.mark.parametrize("name", options("recipe"))
def test_every_command_of_a_recipe_takes_its_settings(name: str, tmp_path: Path) -> None:
    config = compose("recipe", [f"recipe={name}", f"out={tmp_path}"])
    commands = [each for s in typed(Recipe, plain(config.recipe)).stages for each in s.commands()]
    assert len(commands) > 4
    for _, (module, *settings) in commands:
        compose(module.rpartition(".")[2], settings)
        for setting in settings:
            assert "${" not in setting
            assert "{" not in setting


def test_the_list_is_printed_and_nothing_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["google_robot", "--list", "only=[pretrain]", f"out={tmp_path / 'run'}"])
    printed = capsys.readouterr().out
    assert "python -m worldmodel.pretrain data.root=" in printed
    assert "policies.eval" not in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "unknown recipe 'nothing'"),
        (["only=[pretrian]"], "Did you mean 'pretrain'"),
        (["only=pretrain"], "such as [pretrain]"),
    ],
)
def test_slips_are_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--list"])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
