"""The tasks as gymnasium's own tools see them."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs.simpler
from envs.simpler.scenes import rendering
from experiment.errors import UserError

SMALL = (40, 32)


@pytest.mark.simulator
def test_the_checker_passes_without_pictures() -> None:
    check_env(gymnasium.make("simpler/PickCokeCan-v0", resolution=None).unwrapped)


@pytest.mark.simulator
def test_the_checker_passes_with_pictures(drawing: None) -> None:
    made = gymnasium.make("simpler/PickCokeCan-v0", resolution=SMALL, render_mode="rgb_array")
    check_env(made.unwrapped)
    made.reset(seed=0)
    picture = made.render()
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (32, 40, 3)
    made.close()


@pytest.mark.simulator
def test_a_step_needs_a_reset() -> None:
    made = envs.simpler.make("stack_cube", resolution=None)
    with pytest.raises(gymnasium.error.ResetNeeded):
        made.step(np.zeros(7))


@pytest.mark.simulator
def test_simplerenv_options_choose_the_start() -> None:
    made = envs.simpler.make("pick_coke_can", resolution=None)
    options = {
        "reconfigure": True,
        "robot_init_options": {"init_xy": [0.4, 0.25], "init_rot_quat": [0, 0, 0, 1]},
        "obj_init_options": {"init_xy": [-0.25, 0.3], "orientation": "upright"},
    }
    _, info = made.reset(seed=3, options=options)
    np.testing.assert_allclose(info["privileged"]["base_pose"][:2], [0.4, 0.25], atol=1e-6)
    at = info["privileged"]["object_pose_world"][:2]
    np.testing.assert_allclose(at, [-0.25, 0.3], atol=5e-3)
    made.close()


@pytest.mark.simulator
@pytest.mark.slow
def test_an_asynchronous_vector_draws_in_every_process() -> None:
    made = gymnasium.make_vec(
        "simpler/PickCokeCan-v0", num_envs=2, vectorization_mode="async", resolution=SMALL
    )
    if rendering.drawing_device.cache_info().currsize:
        # Another test has drawn in this process: a fork of it is told so, instead of hanging.
        with pytest.raises(UserError, match=r'"context": "spawn"'):
            made.reset(seed=1)
        made.close(terminate=True)
        return
    try:
        observation, _ = made.reset(seed=1)
    except UserError as error:
        pytest.skip(str(error))
    assert observation["image"].shape == (2, 32, 40, 3)
    assert observation["image"].std() > 10
    made.close()


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"simulation_frequency": -3}, "positive multiple of 3"),
        ({"simulation_frequency": 0}, "positive multiple of 3"),
        ({"resolution": [100000, 100000]}, "1 to 4096"),
        ({"resolution": ["a", "b"]}, "whole pixels"),
        ({"resolution": 160}, "whole pixels"),
        ({"resolution": [160.5, 128]}, "whole pixels"),
        ({"render_mode": "human"}, "rgb_array"),
        ({"render_mode": "rgb_array", "resolution": None}, "needs pictures"),
    ],
)
def test_a_slip_is_named_at_construction(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        envs.simpler.make("open_and_place", **settings)
