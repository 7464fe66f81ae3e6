"""Random numbers of a batch that is divided."""

import pytest
import torch

from experiment.seeding import normal, row_generator, torch_generator, uniform


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_parts_of_a_batch_get_the_numbers_of_the_whole(parts: int) -> None:
    whole = torch_generator(3, 5)
    expected = [normal(whole, 8, 3), uniform(whole, 8), torch.randperm(6, generator=whole)]
    generators = [row_generator(part, parts, 3, 5) for part in range(parts)]
    drawn = [
        [normal(g, 8 // parts, 3), uniform(g, 8 // parts), torch.randperm(6, generator=g)]
        for g in generators
    ]
    assert torch.equal(torch.cat([each[0] for each in drawn]), expected[0])
    assert torch.equal(torch.cat([each[1] for each in drawn]), expected[1])
    # What is drawn for the batch, not for its rows, is the same for all.
    assert all(torch.equal(each[2], expected[2]) for each in drawn)
