"""The original simulator as a back end: the pipe and what is asked for, against fake workers."""

import ast
import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs.original
from envs.original.client import OriginalEnv
from envs.original.names import original_id
from envs.original.pipe import WORKER, Pipe
from envs.simpler.tasks.registry import TASKS, task_spec
from experiment.errors import UserError

pytestmark = pytest.mark.slow

STATE = {
    "ok": True,
    "info": {"success": True, "episode_stats": {"has_contact": 1}},
    "instruction": "open top drawer",
    "final": False,
    "stand_ins": [],
    "base": [0.6, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
    "qpos": {"joint_finger_right": 0.25, "joint_finger_left": 0.75},
    "gripper": [0.3, 0.2, 1.0, 0.0, 1.0, 0.0, 0.0],
    "gripper_target": 0.5,
    "objects": [
        {
            "name": "baked_apple_v2",
            "pose": [0.0, 0.0, 0.8, 1.0, 0.0, 0.0, 0.0],
            "velocity": [0.0] * 6,
            "center": [0.0, 0.0, 0.8],
            "size": [0.08] * 3,
        }
    ],
    "released": True,
    "cabinet": [-0.295, 0.0, 0.017, 1.0, 0.0, 0.0, 0.0],
    "drawer": [0.0, 0.0, 0.78, 1.0, 0.0, 0.0, 0.0],
    "drawer_position": 0.2,
    "bytes": 0,
    "shape": None,
}
ANSWER = """
import json, sys
state = json.loads({state!r})
for line in sys.stdin:
    message = json.loads(line)
    print(line.strip(), file=open({log!r}, "a"))
    if message["op"] == "close":
        break
    versions = {{"versions": {{"sapien": "2.2.2"}}}}
    print(json.dumps(state | versions | {{"final": message["op"] == "advance"}}), flush=True)
"""


def pipe_to(folder: Path, code: str, patience: float = 20.0) -> Pipe:
    worker = folder / "worker.py"
    worker.write_text(code)
    return Pipe(sys.executable, worker, patience)


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[tuple[OriginalEnv, Path]]:
    log = tmp_path / "messages"
    code = ANSWER.format(state=json.dumps(STATE), log=str(log))
    made = OriginalEnv(task_spec("open_and_place"), pipe_to(tmp_path, code), None)
    yield made, log
    made.close()


def test_starts_are_drawn_here_and_handed_over(answering: Any) -> None:
    env, log = answering
    options = {"robot_pose": "b0", "object_xy": (-0.05, 0.02), "coloring": ""}
    _, info = env.reset(seed=4, options=options)
    sent = [json.loads(line) for line in log.read_text().splitlines()]
    assert sent[0]["id"] == "PlaceIntoClosedTopDrawerCustomInScene-v0"
    assert sent[0]["settings"] == {"model_ids": ["baked_apple_v2"], "prepackaged_config": True}
    assert sent[0]["camera"] is None
    assert sent[1]["seed"] == 4
    assert sent[1]["start"]["robot_xy"] == pytest.approx([0.652, 0.009])
    assert sent[1]["start"]["coloring"] == ""
    assert sent[1]["start"]["photograph"] == "open_drawer_b0"
    assert sent[1]["options"]["obj_init_options"]["init_xy"] == [-0.05, 0.02]
    assert sent[1]["options"]["model_id"] == "baked_apple_v2"
    assert info["robot_pose"] == "b0"
    assert info["assets"] == "original"
    assert info["versions"] == {"original sapien": "2.2.2"}


def test_its_layouts_are_fixed(tmp_path: Path) -> None:
    code = ANSWER.format(state=json.dumps(STATE), log=str(tmp_path / "messages"))
    env = OriginalEnv(task_spec("stack_cube"), pipe_to(tmp_path, code), None)
    with pytest.raises(UserError, match=r"object_xy: .* only where its layouts put them"):
        env.reset(seed=0, options={"object_xy": (-0.1, 0.0)})
    env.close()


def test_info_and_state_have_the_form_of_our_own_environments(answering: Any) -> None:
    env, _ = answering
    observation, info = env.reset(seed=0)
    assert not info["success"]  # nothing is judged at a reset
    assert observation["state"].shape == (10,)
    observation, reward, terminated, truncated, info = env.step(np.zeros(7))
    assert (reward, terminated, truncated) == (1.0, False, False)
    assert info["success_ever"]
    assert info["success_strict"]
    seen = info["privileged"]
    assert seen["finger_angle"] == pytest.approx(0.5)
    assert seen["source"] == "baked_apple_v2"
    # The base is turned by half a turn: what is behind it in the world is ahead of it.
    np.testing.assert_allclose(seen["gripper_pose_base"][:3], [0.3, -0.2, 1.0], atol=1e-6)
    env.advance_to_next_subtask()
    assert env.is_final_subtask()


def test_an_apple_outside_the_drawer_is_no_strict_success(tmp_path: Path) -> None:
    apple = STATE["objects"][0] | {"pose": [0.0, 0.0, 1.2, 1.0, 0.0, 0.0, 0.0]}  # type: ignore[index]
    code = ANSWER.format(state=json.dumps(STATE | {"objects": [apple]}), log=str(tmp_path / "log"))
    env = OriginalEnv(task_spec("open_and_place"), pipe_to(tmp_path, code), None)
    env.reset(seed=0)
    *_, info = env.step(np.zeros(7))
    env.close()
    assert info["success"]
    assert not info["success_strict"]


def test_bad_actions_are_refused(answering: Any) -> None:
    env, _ = answering
    env.reset(seed=0)
    with pytest.raises(UserError, match="action at step 0"):
        env.step(np.full(7, np.nan))


def test_before_the_first_reset_there_is_no_instruction(answering: Any) -> None:
    env, _ = answering
    with pytest.raises(UserError, match="reset it first"):
        env.get_language_instruction()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('no SAPIEN here')", "ended with code 1, after: no SAPIEN here"),
        ("import sapien_of_nowhere", "install sapien_of_nowhere there"),
        ("import os; os.kill(os.getpid(), 11)", "ended with code -11"),
        ("print('not json', flush=True)\ninput()", "broke off at 'reset'"),
        ("import time; time.sleep(60)", "no answer for 1 s"),
        ('input(); print(\'{"error": "boom", "bytes": 0}\', flush=True)', "failed .* boom"),
        ("input(); print('{\"bytes\": 9}', flush=True)", "it ended with code 0"),
    ],
)
def test_a_worker_that_fails_is_one_sentence(tmp_path: Path, code: str, message: str) -> None:
    pipe = pipe_to(tmp_path, code, patience=1.0 if "sleep" in code else 20.0)
    with pytest.raises(UserError, match=message) as caught:
        pipe.ask({"op": "reset"})
    assert "docs/original.md" in str(caught.value)
    pipe.close()


def test_an_answer_that_trickles_in_is_not_waited_for_longer(tmp_path: Path) -> None:
    code = "import sys, time\nwhile True: sys.stdout.write('x'); sys.stdout.flush(); time.sleep(.1)"
    pipe = pipe_to(tmp_path, code, patience=1.0)
    with pytest.raises(UserError, match="no answer for 1 s"):
        pipe.ask({"op": "reset"})


def test_what_has_ended_says_so(tmp_path: Path) -> None:
    pipe = pipe_to(tmp_path, "print('not json', flush=True)\ninput()")
    with pytest.raises(UserError, match="broke off"):
        pipe.ask({"op": "reset"})
    with pytest.raises(UserError, match="has ended: make the environment again"):
        pipe.ask({"op": "step"})


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    pipe = pipe_to(tmp_path, "import time; time.sleep(60)", patience=0.5)
    with pytest.raises(UserError):
        pipe.ask({"op": "reset"})
    assert pipe._process.poll() is not None


def test_the_worker_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = """
        import os, sys
        from envs.original.pipe import WORKER, Pipe
        print(Pipe(sys.executable)._process.pid, flush=True)
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    worker = Path("/proc") / done.stdout.strip() / "cmdline"
    for _ in range(100):
        if not worker.exists() or b"worker.py" not in worker.read_bytes():
            break
        time.sleep(0.1)
    else:
        pytest.fail("the worker still runs")


def test_the_worker_imports_nothing_of_ours() -> None:
    found = set()
    for node in ast.walk(ast.parse(WORKER.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(str(node.module).split(".")[0])
    theirs = {"numpy", "sapien", "mani_skill2_real2sim", "cv2"}
    assert found <= theirs | set(sys.stdlib_module_names)


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(envs.original.PYTHON_VARIABLE, raising=False)
    with pytest.raises(UserError, match=r"needs original\.python"):
        envs.original.make("open_drawer")
    with pytest.raises(UserError, match="cannot be started"):
        envs.original.make("open_drawer", "/nowhere/python")
    with pytest.raises(UserError, match="has no variant 'table_9'"):
        envs.original.make("pick_coke_can", sys.executable, variant="table_9")
    # This interpreter has SAPIEN 3.
    with pytest.raises(UserError, match=r"sapien 3\..*install sapien==2\.2\.2"):
        envs.original.make("pick_coke_can", sys.executable)


def test_every_task_has_a_name_in_the_original() -> None:
    names = [original_id(spec) for spec in TASKS.values()]
    assert all(name.endswith(("-v0", "-v1")) for name in names)
    # Groups of orientations, of objects and of versions share an environment.
    assert len(set(names)) == 20
