"""A batch that fails is asked again, one by one, as if it had not been."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from policies.chunking import ActionCode, ChunkedPolicy
from policies.contract import Observation
from policies.serving.batcher import Batcher, Session, _Job
from tests.policies.serving.toys import unit
from worldmodel.data.gripper import TargetLevel
from worldmodel.data.windows import WindowBatch
from worldmodel.sampler import Randomness


@dataclass(frozen=True)
class Noise:
    """Predicts noise of each policy's own; more than `most` at once are too many."""

    most: int
    name: str = "noise"
    chunk: int = 4

    def predict(self, windows: WindowBatch, generator: Randomness) -> np.ndarray:
        assert isinstance(generator, Sequence)
        rows = [torch.rand((4, 7), generator=each) / 10 for each in generator]
        if windows.samples > self.most:
            raise MemoryError
        return torch.stack(rows).numpy()


def noisy(most: int) -> ChunkedPolicy:
    return ChunkedPolicy(Noise(most), ActionCode(unit(), TargetLevel()), execute=3)


def answers(most: int) -> list[np.ndarray]:
    batcher = Batcher({"_target_": "tests.policies.serving.test_batcher.noisy", "most": most}, 4)
    sessions, given = [Session(), Session()], []
    for step in range(2):
        jobs = []
        for number, session in enumerate(sessions):
            seen = Observation(
                np.zeros((8, 8, 3), np.uint8), np.zeros(10, np.float32), "", step, {}
            )
            jobs.append(_Job(session, seen, number if step == 0 else None))
        batcher._run(jobs)
        given += [job.future.result(0).actions for job in jobs]
    batcher.close()
    return given


def test_each_answer_is_that_of_a_batch_that_did_not_fail() -> None:
    for one, other in zip(answers(4), answers(1), strict=True):
        np.testing.assert_array_equal(one, other)
