"""Many episodes in worker processes, each with its own environment, policy and recorders.

Not on a library's pool: `concurrent.futures` has no time limit and gives up all tasks with one dead
process, pebble (5.2) takes an exit with code 0 inside a task for no event and waits for its result.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType

from tqdm import tqdm

from envs.descriptions import CachedFactory
from envs.episode import Episode, EpisodeRecord, checked_policy
from envs.rollout import run_episode
from experiment.errors import UserError
from experiment.processes import die_with_parent
from experiment.progress import bar
from experiment.settings import Description, build

# One thread each, whatever the number of processes: they share the cores already, and the number
# of threads would otherwise show in the last bits of an episode.
_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_CLOSING_SECONDS = 20.0
_RESUMES = "the finished episodes are kept; the same command with the same out= resumes"


@dataclass(frozen=True)
class Job:
    """What a worker builds: environment, policy and recorders as descriptions."""

    env: Description
    policy: Description
    recorders: Sequence[Description] = ()
    max_steps: int | None = None


class Workers:
    """Builds environment and policy once a process, then runs episodes until closed.

    What is described with `task: None` or `variant: None` is rebuilt when an episode has another
    one; see `grouped`. Episodes come out of `run` in the order in which they finish; what each of
    them contains does not depend on `count`. Episodes never run in this process, so none of them
    can end or hang it.
    """

    def __init__(
        self,
        env: Description,
        policy: Description,
        recorders: Sequence[Description] = (),
        *,
        count: int = 1,
        max_steps: int | None = None,
        time_limit: float | None = None,
    ) -> None:
        """Args: `time_limit` (s) of an episode, the building of its environment included."""
        if count < 1:
            raise UserError(f"workers={count}: at least one worker is needed.")
        if time_limit is not None and not time_limit > 0:
            raise UserError(f"time_limit={time_limit}: give seconds above 0, or null for no limit.")
        self._job = Job(dict(env), dict(policy), [dict(r) for r in recorders], max_steps)
        self._count = count
        self._time_limit = time_limit
        self._idle: list[_Worker] = []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        idle, self._idle = self._idle, []
        for worker in idle:
            worker.connection.close()
        for worker in idle:
            worker.process.join(_CLOSING_SECONDS if kind is None else 0)
            worker.kill()

    def run(
        self, episodes: Sequence[Episode], progress: str | None = None
    ) -> Iterator[EpisodeRecord]:
        """Yield the records of `episodes` as they finish; `progress` names a progress bar.

        Raises `UserError`: what a policy or environment raised as one, and, naming the episode, for
        every other exception, an exit and a killed process. An episode that reaches the time limit
        is given up; the others are run to the end before the error is raised.
        """
        records = self._records(episodes)
        if progress is None:
            yield from records
            return
        successes = 0
        with bar(total=len(episodes), desc=progress, unit="episode") as shown:
            for done, record in enumerate(records, start=1):
                successes += record.success_at_end
                shown.set_postfix_str(f"success {successes}/{done}", refresh=False)
                shown.update()
                yield record

    def _records(self, episodes: Sequence[Episode]) -> Iterator[EpisodeRecord]:
        waiting = deque(episodes)
        busy: dict[Connection, _Worker] = {}
        given_up: list[str] = []
        try:
            self._hand_out(waiting, busy)
            while busy:
                ready = wait(list(busy), self._seconds_left(busy))
                outcomes = []
                for connection in ready:
                    assert isinstance(connection, Connection)
                    outcome = busy[connection].receive()
                    if outcome is None:  # it began
                        busy[connection].deadline = time.monotonic() + (self._time_limit or inf)
                        continue
                    worker = busy.pop(connection)
                    outcomes.append(outcome)
                    if worker.process.is_alive():
                        self._idle.append(worker)
                for worker in [w for w in busy.values() if w.deadline <= time.monotonic()]:
                    del busy[worker.connection]
                    worker.kill()
                    given_up.append(self._too_long(worker.episode))
                    tqdm.write(given_up[-1], file=sys.stderr)
                # Before the caller has its records, so that no worker waits for the caller.
                self._hand_out(waiting, busy)
                yield from (outcome for outcome in outcomes if isinstance(outcome, EpisodeRecord))
                for error in outcomes:
                    if isinstance(error, UserError):
                        raise error
        finally:
            # Left early: an unfinished episode must not answer for one of the next run.
            for worker in busy.values():
                worker.kill()
        if given_up:
            and_more = f" (and {len(given_up) - 1} more)" if len(given_up) > 1 else ""
            raise UserError(
                f"{given_up[0]}{and_more}: {_RESUMES}; a larger time_limit gives them longer."
            )

    def _hand_out(self, waiting: deque[Episode], busy: "dict[Connection, _Worker]") -> None:
        while waiting and len(busy) < self._count:
            worker = self._idle.pop() if self._idle else _Worker.started(self._job)
            worker.begin(waiting.popleft())
            busy[worker.connection] = worker

    def _seconds_left(self, busy: "dict[Connection, _Worker]") -> float | None:
        if self._time_limit is None:
            return None
        left = min(worker.deadline for worker in busy.values()) - time.monotonic()
        return None if left == inf else max(0.0, left)

    def _too_long(self, episode: Episode | None) -> str:
        assert episode is not None
        return f"{_name(episode)} was stopped at time_limit={self._time_limit:g} s"


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    episode: Episode | None = None
    deadline: float = inf

    @classmethod
    def started(cls, job: Job) -> "_Worker":
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, job), daemon=True)
        with _one_thread(), _interrupts_blocked():
            process.start()
        # Only the child may hold its end, or its death would not end the pipe.
        theirs.close()
        return cls(process, ours)

    def begin(self, episode: Episode) -> None:
        self.episode = episode
        self.deadline = inf
        # A worker that is already dead is noticed, and named, by `receive`.
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(episode)

    def receive(self) -> EpisodeRecord | UserError | None:
        """Return how the episode ended, None when it has begun; blocks."""
        assert self.episode is not None
        try:
            outcome = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return UserError(
                f"{_name(self.episode)} ended its worker process "
                f"({_exit(self.process.exitcode)}): {_RESUMES}."
            )
        assert outcome is None or isinstance(outcome, EpisodeRecord | UserError)
        return outcome

    def kill(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()


class _EpisodeRunner:
    """One environment, one policy and their recorders."""

    def __init__(self, job: Job) -> None:
        self._policy = CachedFactory(job.policy)
        self._recorders = [build(recorder) for recorder in job.recorders]
        self._env = CachedFactory(job.env)
        self._max_steps = job.max_steps

    def play(self, episode: Episode) -> EpisodeRecord:
        # The policy first: it is quicker to say what is wrong with its settings.
        policy = checked_policy(self._policy(episode))
        return run_episode(self._env(episode), policy, episode, self._recorders, self._max_steps)

    def close(self) -> None:
        self._env.close()


def grouped(episodes: Sequence[Episode]) -> list[Episode]:
    """Return `episodes` with those of a task and variant together, so that little is rebuilt."""
    groups: dict[tuple[str, str], list[Episode]] = {}
    for episode in episodes:
        groups.setdefault((episode.task, episode.variant), []).append(episode)
    return [episode for group in groups.values() for episode in group]


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def _work(connection: Connection, job: Job) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    assert parent.pid is not None
    die_with_parent(parent.pid)
    # Ctrl-C reaches the whole group; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    runner: _EpisodeRunner | None = None
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            episode = connection.recv()
            connection.send(None)
            outcome: EpisodeRecord | UserError
            try:
                runner = runner or _EpisodeRunner(job)
                outcome = runner.play(episode)
            except UserError as error:
                outcome = UserError(str(error))
            except SystemExit as error:
                outcome = UserError(f"{_name(episode)} called sys.exit({error.code!r}).")
            except Exception as error:
                traceback.print_exc()
                kind = type(error).__name__
                outcome = UserError(f"{_name(episode)} failed with {kind}: {error} (see above).")
            connection.send(outcome)
    if runner is not None:
        runner.close()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _THREAD_SETTINGS}
    os.environ.update(dict.fromkeys(_THREAD_SETTINGS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start a child that Ctrl-C cannot reach: it inherits the mask until it ignores the signal."""
    # Its start would take the mask away again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _name(episode: Episode) -> str:
    return f"episode {episode.index} of {episode.task} (seed {episode.seed})"


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
