"""Random generators named by whole numbers, such as (seed, step): no state to carry along."""

import numpy as np
import torch


def seed_of(*names: int) -> int:
    """Return a 63-bit seed that depends on all of `names`."""
    return int(np.random.SeedSequence(names).generate_state(1, np.uint64)[0] >> 1)


def torch_generator(*names: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator for `names` on the device that draws from it."""
    return torch.Generator(device).manual_seed(seed_of(*names))


def numpy_generator(*names: int) -> np.random.Generator:
    return np.random.default_rng(names)


class RowGenerator(torch.Generator):
    """A generator for the `part`-th of `parts` equal runs of rows of a batch.

    With it `normal` and `uniform` draw for the whole batch and return the rows of the part: a batch
    gets the same numbers however it is divided among processes and passes.
    """

    part: int = 0
    parts: int = 1


def row_generator(
    part: int, parts: int, *names: int, device: torch.device | str = "cpu"
) -> RowGenerator:
    """Return a `RowGenerator` for `names`; one part of one is `torch_generator`."""
    generator = RowGenerator(device)
    generator.manual_seed(seed_of(*names))
    generator.part, generator.parts = part, parts
    return generator


def normal(generator: torch.Generator, rows: int, *shape: int) -> torch.Tensor:
    """Draw `(rows, *shape)` normal numbers on the generator's device, see `RowGenerator`."""
    parts, own = _rows(generator, rows)
    return torch.randn(rows * parts, *shape, generator=generator, device=generator.device)[own]


def uniform(generator: torch.Generator, rows: int, *shape: int) -> torch.Tensor:
    """Draw `(rows, *shape)` numbers in [0, 1) on the generator's device, see `RowGenerator`."""
    parts, own = _rows(generator, rows)
    return torch.rand(rows * parts, *shape, generator=generator, device=generator.device)[own]


def _rows(generator: torch.Generator, rows: int) -> tuple[int, slice]:
    if not isinstance(generator, RowGenerator):
        return 1, slice(None)
    return generator.parts, slice(generator.part * rows, (generator.part + 1) * rows)
