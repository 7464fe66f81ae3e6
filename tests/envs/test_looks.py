"""Random looks: seeded, nothing but the picture changes, and what is named keeps its hue."""

import colorsys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs.simpler
from envs.collection import Collection
from envs.dataset.looks import RandomLooks
from envs.simpler.scenes.looks import materials, pattern
from experiment.errors import UserError
from experiment.settings import compose, plain

SIZE = (128, 96)


@pytest.fixture(scope="module")
def cubes() -> Iterator[Any]:
    env = envs.simpler.make("stack_cube", resolution=SIZE)
    yield env
    env.close()


def dressed(env: Any, seed: int, scale: float = 1.0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reset the same start in the look that follows from `seed`."""
    observation: tuple[dict[str, Any], dict[str, Any]]
    observation = RandomLooks(env, scale).reset(seed=seed, options={"layout": 3})
    return observation


@pytest.mark.usefixtures("drawing")
@pytest.mark.slow
def test_a_look_follows_from_the_seed_and_lasts_for_the_episode(cubes: Any) -> None:
    looks = [dressed(cubes, seed)[0]["image"] for seed in (3, 4, 5)]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert np.abs(looks[one].astype(int) - looks[other]).mean() > 5
    still = np.zeros(7, np.float32)
    after = cubes.step(still)[0]["image"]
    assert np.abs(after.astype(int) - looks[2]).mean() < 5
    np.testing.assert_array_equal(dressed(cubes, 3)[0]["image"], looks[0])


@pytest.mark.usefixtures("drawing")
@pytest.mark.slow
def test_nothing_but_the_picture_changes(cubes: Any) -> None:
    plain_raw, plain_info = cubes.reset(seed=3, options={"layout": 3})
    same, _ = dressed(cubes, 3, scale=0.0)
    assert np.abs(same["image"].astype(int) - plain_raw["image"]).max() <= 1
    changed, info = dressed(cubes, 3)
    assert np.abs(changed["image"].astype(int) - plain_raw["image"]).mean() > 5
    assert info["instruction"] == plain_info["instruction"]
    assert str(info["privileged"]) == str(plain_info["privileged"])
    np.testing.assert_array_equal(changed["state"], plain_raw["state"])


@pytest.mark.usefixtures("drawing")
@pytest.mark.slow
def test_a_green_cube_stays_green_and_the_next_reset_is_plain(cubes: Any) -> None:
    cubes.reset(seed=3, options={"layout": 3})
    before = cubes.render()
    for seed in range(8):
        dressed(cubes, seed)
        green = cubes.scene.objects[cubes.scene.start.layout.source]
        ((_, colour),) = materials([green._objs[0]])
        assert 0.2 < colorsys.rgb_to_hsv(*colour)[0] < 0.5
    cubes.reset(seed=3, options={"layout": 3})
    np.testing.assert_array_equal(cubes.render(), before)


def test_patterns_are_pictures_of_the_size_asked_for() -> None:
    drawn = [pattern(np.random.default_rng(seed), 40, 30) for seed in range(6)]
    assert {(one.shape, one.dtype) for one in drawn} == {((30, 40, 3), np.dtype(np.uint8))}
    assert all(one.std() > 1 for one in drawn)
    np.testing.assert_array_equal(drawn[2], pattern(np.random.default_rng(2), 40, 30))


@pytest.mark.parametrize("scale", [-0.1, 1.1, "much", True, float("nan")])
def test_a_scale_that_is_none_is_named(scale: Any) -> None:
    with pytest.raises(UserError, match=r"randomisation=.*0 \(none\) to 1"):
        RandomLooks(envs.simpler.make("stack_cube", resolution=None), scale)


def test_collections_without_it_are_what_they_were(tmp_path: Path) -> None:
    def identity(*settings: str) -> dict[str, Any]:
        given = ["task=stack_cube", f"out={tmp_path}", *settings]
        return Collection.from_settings(plain(compose("collect", given))).identity()

    without = identity()
    assert "RandomLooks" not in str(without)
    with_looks = identity("randomisation=0.5")
    assert with_looks["env"]["env"] == without["env"] | {"asset_root": None}
    driven = identity("randomisation=0.5", "label=oracle")
    assert driven["env"]["_target_"].endswith("LearnerDrives")
    assert driven["env"]["env"] == with_looks["env"]
