"""One thread that runs the policy: requests that wait at the same time are one batch."""

import queue
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from experiment.errors import UserError
from experiment.settings import Description, build
from policies.chunking import ChunkedPolicy, act_together
from policies.contract import Observation, Policy, checked_policy, policy_name, validated_chunk


@dataclass
class Session:
    """One client's policy; only the thread of the batcher touches it."""

    policy: Policy | None = None


@dataclass(frozen=True)
class Answer:
    """Actions float32 `(k, 7)`, and the seconds that their batch took."""

    actions: np.ndarray
    seconds: float


@dataclass(frozen=True)
class _Job:
    session: Session
    observation: Observation
    seed: int | None
    future: Future[Answer] = field(default_factory=Future)


class Batcher:
    """Runs policies of one description, each session's with a state of its own.

    Sessions of a `ChunkedPolicy` share its model and are predicted together, up to `batch` at a
    time; other policies are built once a session and act one after the other.
    """

    def __init__(self, description: Description, batch: int) -> None:
        """Build the first policy; raises `UserError` for one that cannot be built."""
        self._description, self._batch = description, batch
        self._first = checked_policy(build(description))
        self.name = policy_name(self._first)
        self._free: list[Policy] = [self._first]
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._busy_since: float | None = None
        # A daemon, so that a policy that hangs does not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    def ask(self, session: Session, observation: Observation, seed: int | None) -> Future[Answer]:
        """Return the answer to come; with a `seed`, a new episode begins first.

        The future raises `UserError` where the policy fails. Cancelled in time, it costs nothing.
        """
        job = _Job(session, observation, seed)
        self._jobs.put(job)
        return job.future

    def end(self, session: Session) -> None:
        """Keep the policy of a session that is over for the next one, which resets it."""
        if session.policy is not None:
            self._free.append(session.policy)

    def close(self) -> None:
        self._jobs.put(None)

    @property
    def busy_seconds(self) -> float:
        """How long the batch in work has been running; 0 without one."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs, over = [job], False
            # What arrived while the last batch ran is waiting here: nobody waits for a full batch.
            while len(jobs) < self._batch and not over and not self._jobs.empty():
                another = self._jobs.get()
                over = another is None
                jobs += [another] if another is not None else []
            started = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            self._busy_since = time.monotonic()
            self._run(started)
            self._busy_since = None
            if over:
                return

    def _run(self, jobs: Sequence[_Job]) -> None:
        ready = []
        for job in jobs:
            try:
                self._begin(job)
                ready.append(job)
            except BaseException as error:
                job.future.set_exception(self._said(error))
        if len(ready) > 1 and isinstance(self._first, ChunkedPolicy):
            before = [cast(ChunkedPolicy, job.session.policy).copy() for job in ready]
            try:
                self._answer(ready)
                return
            except BaseException:  # whose fault it is shows when each is asked alone, as it was
                for job, policy in zip(ready, before, strict=True):
                    job.session.policy = policy
        for job in ready:
            try:
                self._answer([job])
            except BaseException as error:
                job.future.set_exception(self._said(error))

    def _begin(self, job: _Job) -> None:
        session = job.session
        if session.policy is None:
            session.policy = self._free.pop() if self._free else self._another()
        if job.seed is not None:
            session.policy.reset(job.observation.instruction, job.seed)

    def _another(self) -> Policy:
        if isinstance(self._first, ChunkedPolicy):
            return self._first.another()
        return checked_policy(build(self._description))

    def _answer(self, jobs: Sequence[_Job]) -> None:
        started = time.perf_counter()
        policies = [job.session.policy for job in jobs]
        observations = [job.observation for job in jobs]
        chunked = [policy for policy in policies if isinstance(policy, ChunkedPolicy)]
        answers: Sequence[ArrayLike]
        if len(chunked) == len(jobs):
            answers = act_together(chunked, observations)
        else:
            assert policies[0] is not None
            answers = [policies[0].act(observations[0])]
        seconds = time.perf_counter() - started
        for job, answer in zip(jobs, answers, strict=True):
            try:
                chunk = validated_chunk(answer, self.name, job.observation.step)
                job.future.set_result(Answer(chunk, seconds))
            except UserError as error:
                job.future.set_exception(error)

    def _said(self, error: BaseException) -> UserError:
        """Return what a client is told; a defect of the policy is printed for its author."""
        if isinstance(error, UserError):
            return error
        traceback.print_exception(error)
        return UserError(
            f"policy '{self.name}' failed with {type(error).__name__} (the server printed where)."
        )
