"""Many episodes in several processes, each with its own environment, policy and recorders."""

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType

from tqdm import tqdm

from envs.descriptions import Latest
from envs.episode import Episode, EpisodeRecord
from envs.rollout import run_episode
from experiment.errors import UserError
from experiment.settings import Description, build

# One thread each, whatever the number of processes: they share the cores already, and the number
# of threads would otherwise show in the last bits of an episode.
_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class WorkerCrashError(RuntimeError):
    """An episode ended in an exception or took its process with it; the message names it."""


class Workers:
    """Builds environment and policy once a process, then runs episodes until closed.

    What is described with `task: None` or `variant: None` is built anew when an episode has another
    one; see `grouped`. With `count=1` everything happens in this process. Episodes come out of
    `run` in the order in which they finish; what each of them contains does not depend on `count`.
    """

    def __init__(
        self,
        env: Description,
        policy: Description,
        recorders: Sequence[Description] = (),
        *,
        count: int = 1,
        max_steps: int | None = None,
    ) -> None:
        if count < 1:
            raise UserError(f"workers={count}: at least one worker is needed.")
        self._job = (dict(env), dict(policy), [dict(r) for r in recorders], max_steps)
        self._count = count
        self._processes: list[tuple[BaseProcess, Connection]] = []
        self._local: _Stage | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._local is not None:
            self._local.close()
            self._local = None
        self._dismiss(at_once=kind is not None)

    def run(
        self, episodes: Sequence[Episode], progress: str | None = None
    ) -> Iterator[EpisodeRecord]:
        """Yield the records of `episodes` as they finish; `progress` names a progress bar.

        Raises what a policy or environment raised as `UserError`, everything else as
        `WorkerCrashError` with the episode's name.
        """
        records = self._here(episodes) if self._count == 1 else self._elsewhere(episodes)
        if progress is None:
            yield from records
            return
        successes = 0
        with tqdm(total=len(episodes), desc=progress, unit="episode", dynamic_ncols=True) as bar:
            for done, record in enumerate(records, start=1):
                successes += record.success_ever
                bar.set_postfix_str(f"success {successes}/{done}")
                bar.update()
                yield record

    def _here(self, episodes: Sequence[Episode]) -> Iterator[EpisodeRecord]:
        # Not at the top of the file, where it would slow down the start of every worker.
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            if self._local is None and episodes:
                self._local = _Stage(*self._job)
            for episode in episodes:
                assert self._local is not None
                try:
                    yield self._local.play(episode)
                except (UserError, KeyboardInterrupt):
                    raise
                except Exception as error:
                    raise WorkerCrashError(f"{_name(episode)} broke off: {error!r}") from error
        finally:
            torch.set_num_threads(threads)

    def _elsewhere(self, episodes: Sequence[Episode]) -> Iterator[EpisodeRecord]:
        waiting = list(reversed(episodes))
        self._start(min(self._count, len(waiting)))
        running: dict[Connection, tuple[BaseProcess, Episode]] = {}
        for process, connection in self._processes:
            if waiting:
                running[connection] = (process, waiting.pop())
                _hand_out(connection, running[connection][1])
        try:
            while running:
                for ready in wait(list(running)):
                    assert isinstance(ready, Connection)
                    process, episode = running.pop(ready)
                    outcome = _receive(ready, process, episode)
                    if waiting:
                        running[ready] = (process, waiting.pop())
                        _hand_out(ready, running[ready][1])
                    yield outcome
        finally:
            # Left early: an unfinished episode must not answer for one of the next run.
            if running:
                self._dismiss(at_once=True)

    def _dismiss(self, at_once: bool) -> None:
        for process, connection in self._processes:
            connection.close()
            if at_once:
                process.terminate()
        for process, _ in self._processes:
            process.join()
        self._processes = []

    def _start(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        with _one_thread():
            while len(self._processes) < count:
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, *self._job), daemon=True)
                process.start()
                # Only the child may hold its end, or its death would not end the pipe.
                theirs.close()
                self._processes.append((process, ours))


class _Stage:
    """One environment, one policy and their recorders."""

    def __init__(
        self,
        env: Description,
        policy: Description,
        recorders: Sequence[Description],
        max_steps: int | None,
    ) -> None:
        self._policy = Latest(policy)
        self._recorders = [build(recorder) for recorder in recorders]
        self._env = Latest(env)
        self._max_steps = max_steps

    def play(self, episode: Episode) -> EpisodeRecord:
        # The policy first: it is quicker to say what is wrong with its settings.
        policy = self._policy(episode)
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


def _work(
    connection: Connection,
    env: Description,
    policy: Description,
    recorders: Sequence[Description],
    max_steps: int | None,
) -> None:
    # Ctrl-C reaches the whole group; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stage: _Stage | None = None
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            episode = connection.recv()
            try:
                stage = stage or _Stage(env, policy, recorders, max_steps)
                connection.send(stage.play(episode))
            except (EOFError, BrokenPipeError):
                raise
            except UserError as error:
                connection.send(UserError(str(error)))
            except Exception:
                connection.send(
                    WorkerCrashError(f"{_name(episode)} broke off:\n{traceback.format_exc()}")
                )
    if stage is not None:
        stage.close()


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


def _hand_out(connection: Connection, episode: Episode) -> None:
    # A worker that is already dead is noticed, and named, at the next recv.
    with contextlib.suppress(BrokenPipeError):
        connection.send(episode)


def _receive(connection: Connection, process: BaseProcess, episode: Episode) -> EpisodeRecord:
    try:
        outcome = connection.recv()
    except (EOFError, OSError):
        process.join()
        raise WorkerCrashError(
            f"{_name(episode)} took its worker process with it "
            f"({_exit(process.exitcode)}); try it alone with workers=1."
        ) from None
    if isinstance(outcome, BaseException):
        raise outcome
    assert isinstance(outcome, EpisodeRecord)
    return outcome


def _name(episode: Episode) -> str:
    return f"episode {episode.index} of {episode.task} (seed {episode.seed})"


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
