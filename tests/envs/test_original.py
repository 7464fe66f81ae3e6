"""The original simulator as a back end: the pipe, what is asked for, and a replay where it is."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs.original
from envs.errors import UserError
from envs.original.client import OriginalEnv
from envs.original.names import original_id
from envs.original.pipe import Pipe
from envs.simpler.registry import TASKS, task_spec

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
def answering(tmp_path: Path) -> tuple[OriginalEnv, Path]:
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
    assert sent[0]["settings"] == {"model_ids": ["baked_apple_v2"]}
    assert sent[0]["camera"] is None
    assert sent[1]["seed"] == 4
    assert sent[1]["start"]["robot_xy"] == pytest.approx([0.652, 0.009])
    assert sent[1]["start"]["coloring"] == ""
    assert sent[1]["options"]["obj_init_options"]["init_xy"] == [-0.05, 0.02]
    assert sent[1]["options"]["model_id"] == "baked_apple_v2"
    assert info["robot_pose"] == "b0"
    assert info["assets"] == "original"
    assert info["versions"] == {"original sapien": "2.2.2"}


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


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('no SAPIEN here')", "no SAPIEN here"),
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


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    pipe = pipe_to(tmp_path, "import time; time.sleep(60)", patience=0.5)
    with pytest.raises(UserError):
        pipe.ask({"op": "reset"})
    assert pipe._process.poll() is not None


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(envs.original.PYTHON_VARIABLE, raising=False)
    with pytest.raises(UserError, match=r"needs original\.python"):
        envs.original.make("open_drawer")
    with pytest.raises(UserError, match="cannot be started"):
        envs.original.make("open_drawer", "/nowhere/python")
    with pytest.raises(UserError, match="has no variant 'table_1'"):
        envs.original.make("pick_coke_can", sys.executable, variant="table_1")


def test_every_task_has_a_name_in_the_original() -> None:
    names = [original_id(spec) for spec in TASKS.values()]
    assert all(name.endswith(("-v0", "-v1")) for name in names)
    # Groups of orientations, of objects and of versions share an environment.
    assert len(set(names)) == 20


@pytest.mark.simulator
@pytest.mark.parametrize("task", ["open_and_place", "pick_horizontal_coke_can", "stack_cube"])
def test_the_original_repeats_its_recordings(task: str) -> None:
    python, goldens = (
        os.environ.get(envs.original.PYTHON_VARIABLE),
        os.environ.get("SIMPLER_GOLDENS"),
    )
    if not python or not goldens:
        pytest.skip(f"{envs.original.PYTHON_VARIABLE} or SIMPLER_GOLDENS is not set")
    name = task_spec(task).simpler_name
    path = sorted(Path(goldens).glob(f"random/{name}*.npz"))[0]
    with np.load(path, allow_pickle=False) as recording:
        meta = json.loads(str(recording["meta_json"]))
        env = envs.original.make(task, python)
        _, info = env.reset(seed=meta["seed"])
        np.testing.assert_allclose(
            info["privileged"]["gripper_pose_world"], recording["reset_tcp_world"], atol=1e-6
        )
        for number in range(5):
            *_, info = env.step(recording["action"][number])
            np.testing.assert_allclose(
                info["privileged"]["gripper_pose_world"], recording["tcp_world"][number], atol=1e-4
            )
        env.close()
