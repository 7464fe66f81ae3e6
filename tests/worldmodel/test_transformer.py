"""The trunk: rotary positions, per-token times."""

import pytest
import torch

from tests.worldmodel.tiny import generator
from worldmodel.transformer import Rotary, Transformer, axis_channels, rotate

G = generator()


def test_axes_share_all_channel_pairs() -> None:
    for width in (8, 16, 32, 64, 72):
        assert sum(axis_channels(width)) == width // 2
        assert min(axis_channels(width)) > 0


def test_rotation_keeps_lengths_and_depends_on_differences_of_position() -> None:
    rotary = Rotary(16)
    q, k = torch.randn(1, 1, 2, 16, generator=G), torch.randn(1, 1, 2, 16, generator=G)
    here, there = torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[4.5, 0.0, 1.0]]])
    away = torch.tensor([[[7.0, -2.0, 0.5]]])

    def score(p: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return (rotate(q, rotary(p)) * rotate(k, rotary(s))).sum(-1)

    torch.testing.assert_close(rotate(q, rotary(here)).norm(dim=-1), q.norm(dim=-1))
    torch.testing.assert_close(score(here, there), score(here + away, there + away))
    assert (score(here, there) - score(here, there + away)).abs().max() > 1e-2
    torch.testing.assert_close(rotate(q, rotary(torch.zeros(1, 1, 3))), q)


def test_each_axis_turns_channels_of_its_own() -> None:
    rotary = Rotary(16)
    turned = [rotary(torch.eye(3)[axis].view(1, 1, 3))[1].flatten() != 0 for axis in range(3)]
    assert (torch.stack(turned).sum(0) == 1).all()


def test_tokens_are_modulated_by_their_own_time() -> None:
    trunk = Transformer(32, 2, 2, 4.0)
    torch.nn.init.normal_(trunk.modulation.weight, generator=G)
    levels = torch.tensor([[0.1, 0.9], [0.5, 0.9]])
    index = torch.tensor([[0, 1, 0], [0, 0, 1]])
    found = trunk.modulations(levels, index)
    first = torch.zeros(1, 1, dtype=torch.int64)
    for part in range(8):
        for row in range(2):
            for token in range(3):
                time = levels[row, index[row, token]].view(1, 1)
                alone = trunk.modulations(time, first)[part][0, 0]
                torch.testing.assert_close(found[part][row, token], alone)
    assert (found[0][0, 0] - found[0][0, 1]).abs().max() > 1e-3


def test_a_fresh_block_is_the_identity() -> None:
    trunk = Transformer(32, 3, 2, 4.0)
    torch.nn.init.zeros_(trunk.modulation.weight)
    torch.nn.init.zeros_(trunk.modulation.bias)
    x, levels, position = torch.randn(2, 5, 32), torch.rand(2, 1), torch.rand(1, 5, 3)
    index = torch.zeros(2, 5, dtype=torch.int64)
    _, features = trunk(x, levels, index, position, capture=(0, 3))
    assert torch.equal(features[0], features[3])


def test_angles_are_the_same_under_autocast() -> None:
    rotary = Rotary(16)
    position = torch.tensor([[[60.0, 31.0, 17.0], [61.0, 30.0, 16.0]]])
    plain = rotary(position)
    with torch.autocast("cpu", torch.bfloat16):
        low = rotary(position)
    for one, other in zip(plain, low, strict=True):
        assert other.dtype == torch.float32
        assert torch.equal(one, other)


def test_norms_modulation_and_the_residual_stream_stay_in_float32() -> None:
    trunk = Transformer(32, 2, 2, 4.0)
    x, levels, position = torch.randn(2, 5, 32), torch.rand(2, 1), torch.rand(1, 5, 3)
    index = torch.zeros(2, 5, dtype=torch.int64)
    with torch.autocast("cpu", torch.bfloat16):
        scale = trunk.modulations(levels, index)[1]
        output, features = trunk(x.bfloat16(), levels, index, position, capture=(1,))
    assert {scale.dtype, output.dtype, features[1].dtype} == {torch.float32}


@pytest.mark.slow
def test_a_block_compiles_into_one_graph() -> None:
    trunk = Transformer(32, 1, 2, 4.0)
    x, levels, position = torch.randn(2, 5, 32), torch.rand(2, 3), torch.rand(1, 5, 3)
    index = torch.randint(0, 3, (2, 5))
    plain, _ = trunk(x, levels, index, position)
    trunk.blocks[0].compile(fullgraph=True, backend="aot_eager")
    compiled, _ = trunk(x, levels, index, position)
    torch.testing.assert_close(compiled, plain)
    whole = torch.compile(trunk, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(whole(x, levels, index, position)[0], plain)
