"""What a server is told to serve: the shipped policy unless another one is named."""

from pathlib import Path

import pytest

from experiment.errors import UserError
from experiment.settings import compose, plain
from policies.checkpoint import shipped
from policies.serving.settings import ServeSettings


def served(*given: str) -> str:
    settings = ServeSettings.of(plain(compose("serve", list(given))))
    return str(settings.description()["checkpoint"])


@pytest.mark.parametrize("task", ["open_and_place", "stack_cube"])
def test_the_shipped_policy_of_the_task_is_served(task: str) -> None:
    assert Path(served(f"task={task}")).samefile(shipped(task))


def test_another_checkpoint_is_served(tmp_path: Path) -> None:
    (tmp_path / "run/checkpoint").mkdir(parents=True)
    named = served(f"checkpoint={tmp_path / 'run'}")
    assert Path(named).samefile(tmp_path / "run/checkpoint")
    with pytest.raises(UserError, match="checkpoint nowhere was not found"):
        served("checkpoint=nowhere")
    with pytest.raises(UserError, match="means nothing to this policy"):
        served("policy=random", f"checkpoint={tmp_path}")
