"""The trunk: rotary positions, per-token times."""

import pytest
import torch
import torch.nn.functional as F

from tests.worldmodel.tiny import generator
from worldmodel.embedding import Rotary, UnitRotated, axis_channels, rotate
from worldmodel.transformer import Transformer

G = generator()


def test_axes_share_all_channel_pairs() -> None:
    for width in (8, 16, 32, 64, 72, 96):
        for equal in (False, True):
            assert sum(axis_channels(width, equal=equal)) == width // 2
            assert min(axis_channels(width, equal=equal)) > 0
    assert axis_channels(72, equal=True) == (12, 12, 12)  # App. A.3: 24 channels an axis


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


def test_the_written_out_gradient_of_queries_and_keys_is_that_of_autograd() -> None:
    x = torch.randn(2, 3, 2, 4, 16, generator=G, requires_grad=True)
    scale = torch.randn(2, 1, 16, generator=G, requires_grad=True)
    rotation = [part.unsqueeze(2) for part in Rotary(16)(torch.rand(2, 3, 3, generator=G))]
    plain = rotate(F.rms_norm(x, (16,), eps=1e-6) * scale, (rotation[0], rotation[1]))
    written = UnitRotated.apply(x, scale, *rotation)
    assert torch.equal(written, plain)
    grad = torch.randn(plain.shape, generator=G)
    for one, other in zip(
        torch.autograd.grad(written, (x, scale), grad),
        torch.autograd.grad(plain, (x, scale), grad),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def variants(depth: int = 2) -> dict[str, Transformer]:
    """Return trunks of every kind of block, all of whose layers matter."""
    trunks = {
        "sequential": Transformer(32, depth, 2, 96),
        "parallel": Transformer(32, depth, 2, 96, parallel=True, biases=False),
        "double and sequential": Transformer(32, depth, 2, 96, double=1),
        "double and parallel": Transformer(32, depth, 2, 96, double=1, parallel=True),
        "double alone": Transformer(32, depth, 2, 96, double=depth),
    }
    for trunk in trunks.values():
        torch.nn.init.normal_(trunk.modulation.weight, std=0.2, generator=G)
    return trunks


KINDS = list(variants())


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_modulated_by_their_own_time(kind: str) -> None:
    trunk = variants()[kind]
    levels = torch.tensor([[0.1, 0.9], [0.5, 0.9]])
    index = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 1]])

    def looked_up(text: int) -> list[list[torch.Tensor]]:
        found = trunk.modulations(levels, index, text)
        double = found.double or []
        return [[*(found.single or []), *found.final], [*double[:6]], [*double[6:]]]

    def alone(time: torch.Tensor, of_text: bool) -> list[list[torch.Tensor]]:
        first = torch.zeros(1, 1, dtype=torch.int64)
        found = trunk.modulations(time.view(1, 1), first, int(of_text))
        double = found.double or []
        common = [*(found.single or []), *found.final]
        return [common, [*double[:6]], []] if of_text else [common, [], [*double[6:]]]

    every = looked_up(text=2)
    for row in range(2):
        for token in range(4):
            of_text = token < 2
            places = (token, token, token - 2)
            single = alone(levels[row, index[row, token]], of_text)
            for parts, expected, place in zip(every, single, places, strict=True):
                for part, value in zip(parts, expected, strict=False):
                    torch.testing.assert_close(part[row, place], value[0, 0])
    assert (every[0][0][0, 0] - every[0][0][0, 1]).abs().max() > 1e-3


def inputs(tokens: int = 6) -> tuple[torch.Tensor, ...]:
    index = torch.randint(0, 3, (2, tokens), generator=G)
    x = torch.randn(2, tokens, 32, generator=G)
    return x, torch.rand(2, 3, generator=G), index, torch.rand(2, tokens, 3, generator=G)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [0, 2, 6])
def test_every_token_reads_every_other_one(kind: str, text: int) -> None:
    trunk = variants()[kind]
    x, *rest = inputs()
    before, _ = trunk(x, *rest, text=text)
    for token in (0, 5):
        changed = x.clone()
        changed[:, token] += torch.randn(2, 32, generator=G)
        after, _ = trunk(changed, *rest, text=text)
        assert ((after - before).abs().amax(-1) > 1e-5).all()


def test_text_and_other_tokens_have_weights_of_their_own() -> None:
    trunk = variants()["double alone"]
    x, *rest = inputs()
    for stream, own in (("text", slice(0, 2)), ("other", slice(2, 6))):
        _, before = trunk(x, *rest, capture=(1,), text=2)
        # What a block's MLP adds stays with its token, so only those of the stream move.
        torch.nn.init.normal_(getattr(trunk.blocks[0], stream).down.bias, generator=G)
        _, after = trunk(x, *rest, capture=(1,), text=2)
        moved = (after[1] - before[1]).abs().amax((0, 2)) > 1e-6
        assert moved.nonzero().flatten().tolist() == list(range(6))[own]


def test_a_double_block_with_the_same_weights_twice_is_a_single_one() -> None:
    double, single = Transformer(32, 1, 2, 96, double=1), Transformer(32, 1, 2, 96)
    torch.nn.init.normal_(single.modulation.weight, std=0.2, generator=G)
    weights = {n: w for n, w in single.state_dict().items() if not n.startswith("blocks.")}
    for stream in ("text", "other"):
        for name, weight in single.blocks[0].state_dict().items():
            weights[f"blocks.0.{stream}.{name}"] = weight
    for name in ("modulation.weight", "modulation.bias"):
        of_block, of_output = weights[name].split([6 * 32, 2 * 32])
        weights[name] = torch.cat([of_output, of_block, of_block])
    double.load_state_dict(weights)
    given = inputs()
    torch.testing.assert_close(double(*given, text=2)[0], single(*given)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_block_is_the_identity(kind: str) -> None:
    trunk = variants(3)[kind]
    torch.nn.init.zeros_(trunk.modulation.weight)
    torch.nn.init.zeros_(trunk.modulation.bias)
    _, features = trunk(*inputs(), capture=(0, 3), text=2)
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


@pytest.mark.parametrize("kind", KINDS)
def test_norms_modulation_and_the_residual_stream_stay_in_float32(kind: str) -> None:
    trunk = variants()[kind]
    x, levels, index, position = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        shift, scale = trunk.modulations(levels, index).final
        output, features = trunk(x.bfloat16(), levels, index, position, capture=(1,), text=2)
    assert {shift.dtype, scale.dtype, output.dtype, features[1].dtype} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_compiles_into_one_graph(kind: str) -> None:
    trunk = variants()[kind]
    given = inputs()
    plain, _ = trunk(*given, text=2)
    for block in trunk.blocks:
        block.compile(fullgraph=True, backend="aot_eager")
    compiled, _ = trunk(*given, text=2)
    torch.testing.assert_close(compiled, plain)
    whole = torch.compile(trunk, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(whole(*given, text=2)[0], plain)
