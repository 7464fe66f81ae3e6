"""Gripper codecs: the canonical sign at every border, for both robots."""

import json
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from experiment.errors import UserError
from experiment.settings import ROOT
from policies.checkpoint import check_robot, load_policy
from worldmodel.data.action_map import to_closing
from worldmodel.data.gripper import (
    CLOSED,
    CODECS,
    OPEN,
    AbsolutePosition,
    RelativeCommand,
    TargetLevel,
    codec_name,
    codec_of,
    in_radians,
    scaled,
    with_learned_gripper,
)

LEVEL = TargetLevel()


def canonical(robot: str, recorded: np.ndarray) -> np.ndarray:
    """Return recorded gripper commands as the robot's demonstrations adapter reads them."""
    path = ROOT / "configs" / "adapter" / f"simpler_{robot}.yaml"
    adapter = yaml.safe_load(path.read_text())
    assert adapter["robot"] == robot
    return to_closing(recorded[:, None], adapter["action"]["gripper_kind"])[:, 0]


def test_a_level_holds_between_commands() -> None:
    given = np.zeros(12)
    given[0], given[5] = 1.0, -1.0
    assert np.allclose(LEVEL.learned(given)[:5], 1.0)
    assert np.allclose(LEVEL.learned(given)[5:], -1.0, atol=0.02)


def test_levels_start_at_the_reset_level() -> None:
    assert np.allclose(in_radians(LEVEL.learned(np.zeros(3))), 0.0)


def test_a_partial_level_is_reached_from_rest() -> None:
    given = np.zeros(8)
    given[1] = 0.7 / 1.31
    assert np.allclose(in_radians(LEVEL.learned(given))[1:], 0.7, atol=1e-6)


def test_the_stroke_saturates() -> None:
    assert in_radians(LEVEL.learned(np.full(5, 1.0)))[-1] == pytest.approx(CLOSED)
    assert in_radians(LEVEL.learned(np.full(5, -1.0)))[-1] == pytest.approx(OPEN)


@pytest.mark.parametrize("seed", range(5))
def test_levels_to_commands_to_levels(seed: int) -> None:
    """Open, hook and closed in any order, each held for a while, come back as they were."""
    generator = np.random.default_rng(seed)
    chosen = np.repeat(generator.choice([OPEN, 0.3, 0.7, CLOSED], 12), generator.integers(3, 9, 12))
    given = LEVEL.decoder()(scaled(chosen))
    assert np.abs(in_radians(LEVEL.learned(given)) - chosen).max() < 0.05


def test_a_noisy_level_gives_no_commands_while_held() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 40)
    given = LEVEL.decoder()(scaled(np.full(40, 0.7)) + noise)
    assert np.count_nonzero(given) == 1


def test_commands_continue_over_chunks_and_start_anew_in_each_episode() -> None:
    levels = scaled(np.repeat([0.7, CLOSED, OPEN], 6))
    decode = LEVEL.decoder()
    chunks = [decode(chunk) for chunk in np.split(levels, 3)]
    assert np.array_equal(np.concatenate(chunks), LEVEL.decoder()(levels))


@pytest.mark.parametrize("robot", sorted(CODECS))
def test_learning_closes_for_plus_one_and_the_environment_gets_its_own_sign(robot: str) -> None:
    """SIMPLER's Google robot takes +1 to close, its WidowX +1 to open."""
    closes = {"google_robot": 1.0, "widowx": -1.0}[robot]
    for codec in CODECS[robot].values():
        learned = codec.learned(np.array([1.0, 1.0, -1.0, -1.0]))
        assert learned[1] > 0.9
        assert learned[3] < -0.9
        commands = codec.decoder()(learned)
        assert commands.dtype == np.float32
        assert commands[0] == pytest.approx(closes, abs=1e-6)
        assert commands[2] == pytest.approx(-closes, abs=1e-6)


@pytest.mark.parametrize("robot", sorted(CODECS))
def test_what_the_environment_was_told_comes_back_from_the_adapter_and_the_codec(
    robot: str,
) -> None:
    """Environment -> recorded -> canonical -> learned -> environment."""
    told = {
        "google_robot": np.array([0, 1, 0, 0, 0, 0, -1, 0, 0, 0, 0], np.float32),
        "widowx": np.array([1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1], np.float32),
    }[robot]
    closing = {"google_robot": 1, "widowx": 3}[robot]
    commands = canonical(robot, told)
    assert commands[closing] == 1.0
    for codec in CODECS[robot].values():
        assert np.allclose(codec.decoder()(codec.learned(commands)), told)


def test_adapters_of_real_data_and_of_simpler_agree_about_the_widowx() -> None:
    """Bridge writes 1 for open; both adapters give -1, and the codec tells SIMPLER +1."""
    bridge = yaml.safe_load((ROOT / "configs" / "adapter" / "bridge.yaml").read_text())
    recorded = np.array([[1.0], [0.0]])
    commands = to_closing(recorded, bridge["action"]["gripper_kind"])[:, 0]
    assert commands.tolist() == [-1.0, 1.0]
    simpler = codec_of("widowx").decoder()(commands)
    assert simpler.tolist() == [1.0, -1.0]
    assert np.allclose(canonical("widowx", simpler), commands)
    assert np.allclose(to_closing(simpler[:, None], "opening")[:, 0], commands)


def test_after_the_end_a_position_stays_and_a_relative_command_is_zero() -> None:
    last = np.array([1.0, -1.0])
    assert np.array_equal(TargetLevel().resting(last), last)
    assert np.array_equal(AbsolutePosition().resting(last), last)
    assert np.array_equal(RelativeCommand().resting(last), np.zeros(2))


@pytest.mark.parametrize("robot", sorted(CODECS))
def test_only_the_gripper_is_changed_and_the_transform_can_be_sent_to_a_worker(
    robot: str,
) -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (9, 7)).astype(np.float32)
    before = actions.copy()
    transform = pickle.loads(pickle.dumps(partial(with_learned_gripper, codec=codec_of(robot))))
    learned = transform(actions)
    assert np.array_equal(actions, before)
    assert np.array_equal(learned[:, :6], before[:, :6])
    assert np.allclose(learned[:, 6], codec_of(robot).learned(before[:, 6]))


def test_each_robot_has_a_default_codec() -> None:
    assert codec_name("google_robot") == "level"
    assert codec_name("widowx") == "absolute"


@pytest.mark.parametrize(
    ("robot", "gripper", "sentence"),
    [
        ("google_robot", "levels", "Did you mean 'level'"),
        (
            "widowx",
            "level",
            "gripper=level is not a gripper codec of robot widowx. Known: absolute",
        ),
        ("franka", None, "robot 'franka' has no gripper codec"),
    ],
)
def test_a_codec_that_does_not_fit_the_robot_is_refused(
    robot: str, gripper: str | None, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        codec_of(robot, gripper)


SHIPPED = ROOT / "policies" / "checkpoints" / "open_and_place_regression"


def altered(tmp_path: Path, **changes: object) -> Path:
    """Return a copy of a shipped checkpoint whose `config.json` has `changes` (None: removed)."""
    for path in SHIPPED.iterdir():
        (tmp_path / path.name).symlink_to(path)
    config = json.loads((SHIPPED / "config.json").read_text()) | changes
    (tmp_path / "config.json").unlink()
    kept = {name: value for name, value in config.items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(kept))
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"robot": None}, "config.json does not name a robot: add one of google_robot, widowx"),
        ({"robot": "franka"}, "robot 'franka' has no gripper codec"),
        ({"robot": "widowx"}, "gripper=level is not a gripper codec of robot widowx"),
    ],
)
def test_a_checkpoint_needs_a_robot_and_a_codec_of_it(
    tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        load_policy(str(altered(tmp_path, **changes)))


def test_a_checkpoint_is_refused_on_a_task_of_another_robot(tmp_path: Path) -> None:
    check_robot(SHIPPED, ["open_and_place", "pick_coke_can", "not a task of ours"])
    with pytest.raises(UserError, match="policy of robot google_robot, but task stack_cube has"):
        check_robot(SHIPPED, ["open_and_place", "stack_cube"])
    (tmp_path / "video").mkdir()
    with pytest.raises(UserError, match=r"policies\.finetune turns into a policy"):
        check_robot(altered(tmp_path / "video", kind=None, robot=None), ["open_and_place"])
    widowx = altered(tmp_path, robot="widowx", gripper="absolute")
    check_robot(widowx, ["stack_cube", "eggplant_in_basket"])
    with pytest.raises(UserError, match="task open_drawer has robot google_robot"):
        check_robot(widowx, ["open_drawer"])
