"""The next keypose: found in an episode, told in the state's units, learned in several draws."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.worldmodel import tiny
from tests.worldmodel.toy_episodes import ToyEpisodes
from tests.worldmodel.toy_streams import toy_set, window_at
from worldmodel.data.keypose import next_keyposes
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.windows import WindowConfig
from worldmodel.loss import losses
from worldmodel.objective import Objective
from worldmodel.tokens import Modality, Tokens, times_as_positions


def test_it_is_where_the_gripper_changes_next_and_then_where_the_episode_ends() -> None:
    gripper = np.array([-1.0, -0.9, -1.0, 1.0, 1.0, 0.8, -1.0, -1.0, -1.0])
    state = np.arange(9.0)[:, None] * [1.0, 10.0]
    found = next_keyposes(gripper, state)
    assert found[:, 0].tolist() == [3, 3, 3, 6, 6, 6, 8, 8, 8]
    assert (found[:, 1] == 10 * found[:, 0]).all()
    assert (next_keyposes(np.ones(9), state) == state[-1]).all()
    assert (next_keyposes(np.array([1.0]), state[:1]) == state[:1]).all()


def test_a_window_says_it_in_units_of_the_state() -> None:
    episodes = ToyEpisodes((8,))
    data = toy_set(episodes, WindowConfig((1, 2), 3, keypose=True))
    raw = data.canonical(0)
    expected = next_keyposes(raw.action[:, 6], raw.state)
    assert window_at(data, 0, 4).keypose == pytest.approx(expected[4:5])
    size = data.state_size
    low, std = np.zeros(6, np.float32), np.full(size, 0.5, np.float32)
    data.learn(None, Normalisation(low, low + 1, np.zeros(size, np.float32), std))
    assert window_at(data, 0, 4).keypose == pytest.approx(2 * expected[4:5])
    assert window_at(toy_set(episodes), 0, 4).keypose is None


def test_draws_of_actions_and_keypose_are_a_mean_over_draws() -> None:
    """A draw of the actions sees the same draw of the keypose and no other."""
    settings = Objective(arm="dual_timestep", dropout={"video": 1.0}, condition_noise={})
    config = dataclasses.replace(tiny.CONFIG, conditions="conditions")
    model = tiny.model(config=config)
    model.add_modality(Modality("keypose", 5), tiny.generator(7))
    torch.nn.init.normal_(model.outputs["keypose"].weight, generator=tiny.generator(8))  # type: ignore[arg-type]
    batch = dict(tiny.batch())
    values = torch.randn(len(batch["action"].values), 1, 5, generator=tiny.generator(9))
    batch["keypose"] = Tokens.clean(values, times_as_positions([6.0]))

    def losses_of(draws: int, count: int, name: str) -> torch.Tensor:
        several = replace(settings, draws=draws)
        with torch.no_grad():
            found = [
                losses(model, None, batch, tiny.generator(seed), several)[f"generation/{name}"]
                for seed in range(count)
            ]
        return torch.stack(found)

    for name in ("action", "keypose"):
        one, many = losses_of(1, 300, name), losses_of(32, 12, name)
        assert many.std() < 0.5 * one.std()
        error = (one.std() ** 2 / 300 + many.std() ** 2 / 12) ** 0.5
        assert (one.mean() - many.mean()).abs() < 4 * error
