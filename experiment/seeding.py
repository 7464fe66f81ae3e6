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
