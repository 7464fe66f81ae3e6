"""A tiny data set of the toy world, and a small configuration to learn from it."""

from pathlib import Path
from typing import Any

import pytest

from envs.collect import collect
from envs.collection import Collection
from experiment.settings import compose
from policies.finetune import trainer_of
from policies.learning.initial import with_initial
from worldmodel.training.trainer import Trainer


@pytest.fixture(scope="session")
def toy_demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LeRobot data set of four episodes of twenty steps."""
    out = tmp_path_factory.mktemp("toy") / "demonstrations"
    collection = Collection(
        task="toy",
        episodes=4,
        out=out,
        env={"_target_": "tests.envs.toy.ToyEnv"},
        policy={"_target_": "tests.envs.toy.ToyPolicy"},
        workers=1,
        keep_failures=True,
        robot_poses=("a0", "b0"),
    )
    collect(collection)
    return out


def tiny_trainer(
    data: Path, out: Path, kind: str, *overrides: str, steps: int = 4
) -> Trainer[Any, Any, Any]:
    """Return the trainer of a small policy of `kind`."""
    size = {
        "video_action": ["model=tiny", "model.depth=2", "tokenizer.hidden=32"],
        "regression": [
            "learner.settings.model.channels=[8,8,8]",
            "learner.settings.model.width=16",
        ],
    }[kind]
    arguments = [
        f"policy={kind}",
        "adapter=simpler_google_robot",  # the toy's robot is not known
        f"data.source.cache={data.parent / 'cache'}",
        f"data.root={data}",
        f"out={out}",
        "tokenizer.height=32",
        "tokenizer.width=32",
        "data.use.batch_size=8",
        "validation_windows=10",
        "trainer.device=cpu",
        "trainer.warmup=1",
        "trainer.log_every=2",
        f"trainer.observe_every={steps}",
        f"trainer.steps={steps}",
        *size,
        *overrides,
    ]
    return trainer_of(compose("finetune", with_initial(arguments)))


@pytest.fixture(scope="session", params=["video_action", "regression"])
def toy_run(
    request: pytest.FixtureRequest,
    toy_demonstrations: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The run folder of a policy that was trained for a few steps; one of each kind."""
    out = tmp_path_factory.mktemp(request.param) / "run"
    assert tiny_trainer(toy_demonstrations, out, request.param).run()
    return out


@pytest.fixture
def checkpoint(toy_run: Path) -> Path:
    """The checkpoint of the toy policy that is a world model, too."""
    folder = toy_run / "checkpoint"
    if '"kind": "regression"' in (folder / "config.json").read_text():
        pytest.skip("a regression dreams nothing")
    return folder
