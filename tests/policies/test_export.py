"""A checkpoint as it is shipped: rounded weights that act alike, and a card of what was found."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.episode import Observation
from experiment.errors import UserError
from policies.checkpoint import load_policy
from policies.contract import STATE_SIZE
from policies.export import _without_folders, run
from tests.policies.conftest import tiny_trainer
from worldmodel.training.checkpoint import WEIGHTS, read_config, read_tensors, write_tensors

SUMMARY = {
    "protocol": "scattered",
    "assets": ["primitives"],
    "table": [
        {
            "name": "open_and_place",
            "label": "open_and_place",
            "episodes": 60,
            "success_at_end": {"rate": 0.95, "low": 0.863, "high": 0.983, "total": 60},
            "success_strict": None,
        },
        {"name": "open_and_place/a0", "label": "  a0", "episodes": 20},
        {"name": "open_and_place_grasped", "label": "  grasped", "episodes": 60},
    ],
}


@pytest.fixture(scope="module")
def trained(toy_demonstrations: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    assert tiny_trainer(toy_demonstrations, out, "video_action").run()
    return out


def test_it_acts_as_the_run_does(trained: Path, tmp_path: Path) -> None:
    evaluation = tmp_path / "eval"
    evaluation.mkdir()
    (evaluation / "summary.json").write_text(json.dumps(SUMMARY))
    out = run(
        f"checkpoint={trained}",
        f"out={tmp_path / 'out'}",
        f"evaluations=[{evaluation}]",
        "about=A toy.",
    )
    weights, before = (read_tensors(f / WEIGHTS)[0] for f in (out, trained / "checkpoint"))
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    assert (out / WEIGHTS).stat().st_size < 0.6 * (trained / "checkpoint" / WEIGHTS).stat().st_size
    assert weights.keys() == before.keys()
    image, state = np.full((32, 32, 3), 90, np.uint8), np.zeros(STATE_SIZE, np.float32)
    observation = Observation(image, state, "lift the block", step=0, privileged={})
    actions = []
    for folder in (out, trained):
        policy = load_policy(str(folder))
        policy.reset("lift the block", 0)
        actions.append(policy.act(observation))
    assert np.ptp(actions[1]) > 0
    np.testing.assert_allclose(actions[0], actions[1], atol=0.005 * np.abs(actions[1]).max())
    card = (out / "README.md").read_text()
    assert "| open_and_place | scattered | primitives | 60 | 95 [86, 98] |  |" in card
    assert card.count("| open_and_place") == card.count("| primitives") == 1
    assert "3 episodes" in card
    assert "\n\nA toy.\n\n" in card
    said = read_config(out)["training"]
    assert said["data"] == "demonstrations"
    assert "/" not in json.dumps(said)


def test_data_sets_of_one_name_are_counted() -> None:
    roots = "first/move_near, second/move_near, first/stack_cube"
    said = _without_folders({"training": {"data": roots, "init": "runs/one/checkpoint"}})
    assert said["training"] == {"data": "move_near (2 sets), stack_cube", "init": "one"}


def shifted(folder: Path) -> dict[str, object]:
    """Return a checkpoint's units with the states half a deviation off."""
    units = json.loads((folder / "config.json").read_text())["normalisation"]
    mean = [m + 0.5 * s for m, s in zip(units["mean"], units["std"], strict=True)]
    return {**units, "mean": mean}


def test_what_is_no_policy_is_named(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained / "checkpoint", copy)
    (copy / "config.json").write_text(json.dumps({"kind": "value", "robot": None}))
    with pytest.raises(UserError, match="does not name a robot"):
        run(f"checkpoint={copy}", f"out={tmp_path / 'out'}")
    with pytest.raises(UserError, match="average nowhere was not found"):
        run(f"checkpoint={trained}", f"out={tmp_path / 'out'}", "average=[nowhere]")
    with pytest.raises(UserError, match="average=nowhere must be a list"):
        run(f"checkpoint={trained}", f"out={tmp_path / 'out'}", "average=nowhere")


def test_weights_are_averaged(trained: Path, tmp_path: Path) -> None:
    before = read_tensors(trained / "checkpoint" / WEIGHTS)[0]
    others = [tmp_path / "first" / "checkpoint", tmp_path / "second"]
    for times, other in ((3, others[0]), (5, others[1])):
        shutil.copytree(trained / "checkpoint", other)
        tensors = {name: times * weight for name, weight in before.items()}
        write_tensors(other / WEIGHTS, tensors, {})
    given = f"average=[{','.join(map(str, others))}]"
    out = run(f"checkpoint={trained}", f"out={tmp_path / 'out'}", given, "dtype=float32")
    for name, weight in read_tensors(out / WEIGHTS)[0].items():
        torch.testing.assert_close(weight, 3 * before[name])
    assert "averaged with those of first, second." in (out / "README.md").read_text()
    for change, sentence in (
        ({"gripper": "raw"}, "has gripper raw, checkpoint= has"),
        ({"normalisation": shifted(others[0])}, "its units of actions or states are 50% off"),
    ):
        config = others[0] / "config.json"
        told = config.read_text()
        config.write_text(json.dumps(json.loads(told) | change))
        with pytest.raises(UserError, match=sentence):
            run(f"checkpoint={trained}", f"out={tmp_path / 'none'}", given)
        config.write_text(told)
    write_tensors(others[1] / WEIGHTS, {"alone": torch.zeros(3)}, {})
    with pytest.raises(UserError, match=r"second has weights of other shapes"):
        run(f"checkpoint={trained}", f"out={tmp_path / 'none'}", given)
    assert not (tmp_path / "none").exists()


def test_weights_that_float16_cannot_hold_are_refused(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained / "checkpoint", copy)
    tensors = dict(read_tensors(copy / WEIGHTS)[0])
    name = next(iter(tensors))
    tensors[name] = torch.full_like(tensors[name], 1e6)
    write_tensors(copy / WEIGHTS, tensors, {})
    with pytest.raises(UserError, match="dtype=float16 cannot hold"):
        run(f"checkpoint={copy}", f"out={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("dtype=bflaot16", "Did you mean 'bfloat16'"),
        ("evaluations=[nowhere]", "nowhere/summary.json is no summary"),
    ],
)
def test_slips_leave_nothing(trained: Path, setting: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        run(f"checkpoint={trained}", f"out={tmp_path / 'out'}", setting)
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_filled(trained: Path, tmp_path: Path) -> None:
    run(f"checkpoint={trained}", f"out={tmp_path}")
    assert (tmp_path / "config.json").is_file()


def test_a_folder_of_other_things_is_kept(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other things"):
        run(f"checkpoint={trained}", f"out={tmp_path}")
    assert (tmp_path / "notes.txt").read_text() == "mine"
