"""What the state remembers of the fingers, from the episode to the model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiment.errors import UserError
from tests.worldmodel import tiny
from tests.worldmodel.toy_episodes import ToyEpisodes
from tests.worldmodel.toy_streams import toy_set, window_at
from worldmodel.assembler import Assembler
from worldmodel.data.grip import LastGrip, last_grips
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.windows import WindowConfig
from worldmodel.model import WorldModel
from worldmodel.text.words import HashedWords
from worldmodel.tokenizer import PixelTokenizer
from worldmodel.tokens import Modality, Tokens, times_as_positions
from worldmodel.wider_state import widen


@pytest.mark.parametrize("scale", [1.0, -0.03])
def test_it_is_how_far_the_fingers_shut_the_last_time(scale: float) -> None:
    """In whatever unit and direction the gripper is told, from wherever it begins."""
    missed, held = [0.2, 0.6, 1.3, 1.3], [0.5, 0.7, 0.7]
    fingers = [0.0, 0.0, *missed, 0.9, 0.1, 0.0, *held, 0.3, 0.0, 0.0]
    expected = [0.0, 0.0, 0.2, 0.6, *[1.3] * 5, 0.5, *[0.7] * 5]
    grips = last_grips(2.0 + scale * np.array(fingers))
    assert grips.shape == (len(fingers), 1)
    assert grips[:, 0] == pytest.approx(abs(scale) * np.array(expected), abs=1e-6)


def test_it_is_nearly_the_same_for_a_policy_that_looks_every_third_step() -> None:
    fingers = np.array([0.0] * 6 + [0.2, 0.5, *[0.7] * 10, 0.4, 0.1] + [0.0] * 6)
    every = last_grips(fingers)[::3]
    grip = LastGrip()
    seldom = [grip.observe(each) for each in fingers[::3]]
    assert seldom[-1] == pytest.approx(every[-1, 0])
    assert seldom[0] == 0


def test_a_window_says_it_in_units_of_the_state() -> None:
    episodes = ToyEpisodes((8,))
    data = toy_set(episodes, WindowConfig((1, 2), 3, grip=True))
    raw = data.canonical(0).state[:, -1]
    assert window_at(data, 0, 4).grip == pytest.approx(last_grips(raw)[4:5])
    size = data.state_size
    low, std = np.zeros(6, np.float32), np.full(size, 0.5, np.float32)
    data.learn(None, Normalisation(low, low + 1, np.zeros(size, np.float32), std))
    assert window_at(data, 0, 4).grip == pytest.approx(2 * last_grips(raw)[4:5])
    assert window_at(toy_set(episodes), 0, 4).grip is None


def test_what_is_learned_is_what_is_told_to_the_policy() -> None:
    """The assembler makes the same state of a window in the model's units and in the robot's."""
    size = 4
    mean, std = np.arange(size, dtype=np.float32), np.full(size, 0.5, np.float32)
    normalisation = Normalisation(np.zeros(6), np.ones(6), mean, std)
    windows = WindowConfig((1, 2), 3, grip=True)
    tokenizer = PixelTokenizer(height=16, width=24, patch=8, hidden=16)
    assembler = Assembler(tokenizer, HashedWords(), windows, normalisation)
    data = toy_set(ToyEpisodes((8,)), windows)
    picture = torch.zeros(1, 16, 24, 3, dtype=torch.uint8)
    state, grip = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[0.25]])
    seen = replace(
        window_at(data, 0, 4), frame=picture, future=picture[:, None].repeat(1, 2, 1, 1, 1),
        state=state, grip=grip,
    )  # fmt: skip
    known = assembler.known(seen)["state"].values
    assert known.tolist() == [[[2.0, 2.0, 2.0, 2.0, 0.5]]]
    learned = replace(
        seen,
        state=torch.from_numpy(normalisation.state(state.numpy())),
        grip=torch.from_numpy(normalisation.grip(grip.numpy())),
    )
    assert torch.equal(assembler(learned)["state"].values, known)
    assert assembler.known(replace(seen, grip=None))["state"].values[0, 0, -1] == 0


def test_a_wider_state_is_read_from_the_start_and_where_it_is_zero_changes_nothing() -> None:
    narrow, wide = (Modality("state", size, predicted=False) for size in (4, 5))
    action = Modality("action", 7)
    built = WorldModel((narrow, action), tiny.CONFIG, tiny.generator(0))
    for parameter in (built.trunk.modulation.weight, *built.outputs.parameters()):
        torch.nn.init.normal_(parameter, std=0.2, generator=tiny.generator(1))
    state = torch.rand((2, 1, 5), generator=tiny.generator(2))
    noise = torch.rand((2, 3, 7), generator=tiny.generator(3))

    def predicted(values: torch.Tensor) -> torch.Tensor:
        batch = {
            "state": Tokens.clean(values, times_as_positions([0.0])),
            "action": Tokens.at(noise, torch.full((2,), 0.5), times_as_positions(range(3))),
        }
        return built(batch).prediction["action"]

    before = predicted(state[..., :4])
    widen(built, wide, tiny.generator(4))
    assert built.modalities["state"] == wide
    assert not torch.allclose(predicted(state), before)
    layer = built.inputs["state"]
    assert isinstance(layer, torch.nn.Linear)
    size = layer.weight.detach().square().mean(0).sqrt()
    assert 0.7 * size[:4].mean() < size[4] < 1.4 * size[:4].mean()
    state[..., -1] = 0
    torch.testing.assert_close(predicted(state), before)
    with pytest.raises(UserError, match=r"reads 5 numbers of state, .* 4: set data.use.windows"):
        widen(built, narrow, tiny.generator(4))
