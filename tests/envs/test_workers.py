"""Several processes give what one gives, and say which episode ended badly."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from envs.descriptions import for_episode
from envs.episode import Episode, EpisodeRecord
from envs.workers import Workers, grouped
from experiment.errors import UserError
from experiment.settings import build, locate
from tests.envs.toy import ToyEnv

pytestmark = pytest.mark.slow

ENV = {"_target_": "tests.envs.toy.ToyEnv"}
POLICY = {"_target_": "tests.envs.toy.ToyPolicy", "chunk": 4}
EPISODES = [Episode(task="toy", index=i, seed=100 + 7 * i, robot_pose="a0") for i in range(5)]


def broken(how: str, seed: int | None = None) -> dict[str, object]:
    return {"_target_": "tests.envs.toy.BrokenPolicy", "how": how, "seed": seed}


def outcomes(records: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
    """Return records by index, without what the clock says."""
    timeless = [dataclasses.replace(r, seconds=0.0, policy_seconds=0.0) for r in records]
    return sorted(timeless, key=lambda record: record.index)


def test_two_processes_give_what_one_gives() -> None:
    with Workers(ENV, POLICY, count=1) as workers:
        alone = list(workers.run(EPISODES))
    with Workers(ENV, POLICY, count=2) as workers:
        together = list(workers.run(EPISODES[:3])) + list(workers.run(EPISODES[3:]))
    assert outcomes(alone) == outcomes(together)
    assert [record.index for record in alone] == [0, 1, 2, 3, 4]


def test_an_environment_is_built_once_and_closed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    env = {"_target_": "tests.envs.toy_tasks.ToyTask", "task": "toy", "log": str(log)}
    with Workers(env, POLICY) as workers:
        list(workers.run(EPISODES))
        list(workers.run(EPISODES))
        assert log.read_text().splitlines() == ["built toy visual_matching"]
    assert log.read_text().splitlines()[1:] == ["closed toy visual_matching"]


def test_a_policy_without_act_is_said_before_a_scene_is_built(tmp_path: Path) -> None:
    log = tmp_path / "log"
    env = {"_target_": "tests.envs.toy_tasks.ToyTask", "task": "toy", "log": str(log)}
    with (
        Workers(env, {"_target_": "threading.Event"}) as workers,
        pytest.raises(UserError, match=r"Event has no reset\(instruction, seed\)"),
    ):
        list(workers.run(EPISODES))
    assert not log.exists()


@pytest.mark.parametrize("count", [1, 2])
def test_bad_input_stays_one_sentence(count: int) -> None:
    with (
        Workers(ENV, broken("nan"), count=count) as workers,
        pytest.raises(UserError, match=r"'broken' returned NaN or infinity .* step 8"),
    ):
        list(workers.run(EPISODES))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raise", r"failed with KeyError: 'lost'"),
        ("sys_exit", r"called sys\.exit\(0\)"),
        ("exit", r"ended its worker process \(exit code 0\)"),
    ],
)
def test_an_episode_that_breaks_off_is_named(how: str, says: str, count: int) -> None:
    done: list[int] = []
    with (
        Workers(ENV, broken(how, seed=128), count=count) as workers,
        pytest.raises(UserError, match=rf"episode 4 of toy \(seed 128\) {says}") as caught,
    ):
        done.extend(record.index for record in workers.run(EPISODES))
    assert "\n" not in str(caught.value)
    # All but the lost one and the one that the other process was at.
    assert len(done) >= 5 - count
    assert 4 not in done


@pytest.mark.parametrize("count", [1, 2])
def test_an_episode_that_hangs_is_stopped_and_the_others_are_run(count: int) -> None:
    done: list[int] = []
    with (
        Workers(ENV, broken("hang", seed=107), count=count, time_limit=10) as workers,
        pytest.raises(UserError, match=r"episode 1 of toy \(seed 107\) .* time_limit=10 s: "),
    ):
        done.extend(record.index for record in workers.run(EPISODES))
    assert sorted(done) == [0, 2, 3, 4]


def test_a_worker_killed_from_outside_is_one_sentence() -> None:
    with Workers(ENV, broken("hang"), count=2) as workers:
        records = workers.run(EPISODES)
        killer = threading.Timer(4.0, lambda: multiprocessing.active_children()[0].kill())
        killer.start()
        with pytest.raises(UserError, match=r"episode \d of toy .*killed by SIGKILL"):
            list(records)
    assert not multiprocessing.active_children()


def test_workers_end_with_a_killed_parent() -> None:
    parent, workers = hanging_run()
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while any(alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(worker) for worker in workers)


def test_ctrl_c_is_one_line_and_leaves_no_worker() -> None:
    parent, workers = hanging_run()
    os.killpg(parent.pid, signal.SIGINT)
    _, errors = parent.communicate(timeout=60)
    assert parent.returncode == 130
    assert errors.strip() == "interrupted"
    assert not any(alive(worker) for worker in workers)


def hanging_run() -> tuple[subprocess.Popen[str], list[int]]:
    """Start a run in a process group of its own; return it and its workers' process ids."""
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.envs.hanging_run"],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout is not None
    workers = [int(number) for number in parent.stdout.readline().split()]
    assert len(workers) == 2
    return parent, workers


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


TASKS = [
    Episode(task=task, index=i, seed=50 + i, variant=variant)
    for i in range(2)
    for task, variant in (("one", "base"), ("two", "base"), ("one", "table_1"))
]


def test_an_environment_lasts_as_long_as_task_and_variant(tmp_path: Path) -> None:
    log = tmp_path / "log"
    env = {"_target_": "tests.envs.toy_tasks.ToyTask", "task": None, "variant": None}
    policy = {"_target_": "tests.envs.toy_tasks.TaskPolicy", "task": None}
    with Workers({**env, "log": str(log)}, policy) as workers:
        records = list(workers.run(grouped(TASKS)))
    names = ["one base", "two base", "one table_1"]
    assert log.read_text().splitlines() == [
        f"{event} {name}" for name in names for event in ("built", "closed")
    ]
    for record in records:
        assert record.statistics == {"task": record.task, "variant": record.variant}
        assert record.policy == f"toy of {record.task}"


def test_grouping_keeps_every_episode_and_the_order_within() -> None:
    order = grouped(TASKS)
    assert sorted(map(repr, order)) == sorted(map(repr, TASKS))
    assert [episode.index for episode in order] == [0, 1, 0, 1, 0, 1]


def test_what_is_said_of_a_task_stays() -> None:
    said = {"_target_": "x", "task": "other", "variant": None, "chunk": None}
    assert for_episode(said, TASKS[2]) == {**said, "variant": "table_1"}
    assert for_episode(POLICY, TASKS[2]) == POLICY
    wrapped = {"_target_": "y", "env": said, "learner": {"task": None}}
    assert for_episode(wrapped, TASKS[2]) == {**wrapped, "env": {**said, "variant": "table_1"}}


def test_leaving_early_does_not_disturb_the_next_run() -> None:
    with Workers(ENV, POLICY, count=2) as workers:
        for _ in workers.run(EPISODES):
            break
        assert {record.index for record in workers.run(EPISODES[1:3])} == {1, 2}


def test_recorders_work_in_each_process(tmp_path: Path) -> None:
    recorder = {"_target_": "envs.recorder.VideoRecorder", "folder": str(tmp_path)}
    with Workers(ENV, POLICY, [recorder], count=2) as workers:
        for record in workers.run(EPISODES[:3], progress="toy"):
            # A record is handed out when its files are there, not before.
            assert (tmp_path / f"toy_{record.index:04d}.mp4").exists()


@pytest.mark.parametrize(
    ("description", "says"),
    [
        ({}, "names no '_target_'"),
        ({"_target_": "policies.orcale.Oracle"}, "'policies.orcale.Oracle' could not be imported"),
        ({"_target_": "tests.envs.toy.ToyPolcy"}, "Did you mean 'ToyPolicy'"),
        ({"_target_": "nothing"}, "'nothing' could not be imported"),
        ({"_target_": "tests.envs.toy.ToyPolicy", "chunks": 3}, "does not take .* 'chunks'"),
    ],
)
def test_a_wrong_description_says_what_is_wrong(description: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        build(description)


def test_an_error_of_the_target_comes_through_unchanged() -> None:
    description = {"_target_": "envs.workers.Workers", "env": {}, "policy": {}, "count": 0}
    with pytest.raises(UserError, match="workers=0"):
        build(description)
    assert locate("tests.envs.toy.ToyEnv") is ToyEnv
