"""The tasks as lerobot's EnvHub and vla-eval see them."""

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.hub.lerobot_env import LaterVectorEnv, make_env, make_one
from envs.simpler.tasks.registry import TASKS
from experiment.errors import UserError

SMALL = (40, 32)
STILL = np.zeros((2, 7), np.float32)


def test_all_tasks_are_offered_and_none_is_simulated() -> None:
    suites = make_env(n_envs=3, use_async_envs=True)
    assert list(suites) == ["simpler"]
    assert len(suites["simpler"]) == len(TASKS) == 25
    each = suites["simpler"][7]
    assert isinstance(each, LaterVectorEnv)
    assert each._made is None
    assert each.num_envs == 3
    observed = each.observation_space
    assert isinstance(observed, gymnasium.spaces.Dict)
    assert observed["pixels"].shape == (3, 512, 640, 3)
    assert each.action_space.shape == (3, 7)


def test_tasks_are_chosen_by_name_or_by_lerobots_settings() -> None:
    class Settings:
        task = "move_near, google_robot_open_top_drawer"

    assert len(make_env(cfg=Settings())["simpler"]) == 2
    assert len(make_env(tasks=["stack_cube"], cfg=Settings())["simpler"]) == 1
    for wrong, sentence in (
        ({"tasks": "stack_cub"}, "stack_cube"),
        ({"n_envs": 0}, "n_envs=0"),
        ({"tasks": "stack_cube", "resolution": None}, "has no pictures"),
    ):
        with pytest.raises(UserError, match=sentence):
            make_env(**wrong)


def test_the_file_for_the_hub_has_what_it_is_asked_for() -> None:
    import envs.hub

    path = Path(str(envs.hub.__file__)).with_name("env.py")
    spec = importlib.util.spec_from_file_location("hub_env", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.make_env is make_env


@pytest.mark.simulator
@pytest.mark.parametrize("processes", [False, True])
def test_a_vector_environment_has_lerobots_names(drawing: None, processes: bool) -> None:
    suites = make_env(2, processes, tasks="pick_coke_can", resolution=SMALL)
    env = suites["simpler"][0]
    assert isinstance(env, LaterVectorEnv)
    try:
        observation, _ = env.reset(seed=[1, 2], options={"lerobot_new_rollout": True})
        assert observation["pixels"].shape == (2, 32, 40, 3)
        assert observation["pixels"].dtype == np.uint8
        assert observation["agent_pos"].shape == (2, 10)
        assert not np.array_equal(observation["pixels"][0], observation["pixels"][1])
        assert env.call("task_description") == ("pick coke can",) * 2
        assert env.call("_max_episode_steps") == (80, 80)
        assert env.get_attr("task") == ("pick_coke_can",) * 2
        *_, info = env.step(STILL)
        assert info["is_success"].tolist() == [False, False]
        assert len(env.call("render")) == 2
    finally:
        env.close()
    # A closed one can be used again, as when a suite is evaluated twice.
    again, _ = env.reset(seed=[1, 2])
    np.testing.assert_array_equal(again["agent_pos"], observation["agent_pos"])
    env.close()


@pytest.mark.simulator
def test_the_checker_passes(drawing: None) -> None:
    check_env(make_one("open_top_drawer", SMALL, render_mode="rgb_array").unwrapped)
    env = make_one("open_top_drawer", SMALL)
    observation, info = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert env.task_description == "open top drawer"
    assert set(info) == {"is_success", "success_strict", "subtask", "task"}
    env.close()


@pytest.fixture
def benchmark() -> Any:
    pytest.importorskip("vla_eval", reason="vla-eval is not installed")
    from envs.hub.vla_eval_benchmark import SimplerBenchmark

    return SimplerBenchmark


def test_a_gripper_can_be_told_in_three_ways(benchmark: Any) -> None:
    def commands(gripper: str, given: list[float]) -> list[float]:
        made = benchmark(tasks="pick_coke_can", gripper=gripper, resolution=SMALL)
        rows = [np.array([0, 0, 0, 0, 0, 0, g], np.float32) for g in given]
        return [float(made._translated(row)[6]) for row in rows]

    assert commands("native", [0.3, -1]) == pytest.approx([0.3, -1])
    assert commands("binary", [0.3, 0.7]) == [-1, 1]
    # Closed at once and held for 15 steps, whatever comes; then the next command counts.
    held = commands("sticky", [0.0] + [0.6] * 15)
    assert held[:15] == [1.0] * 15
    assert held[15] == pytest.approx(-0.2, abs=1e-6)


def test_benchmark_settings_that_cannot_be_are_refused(benchmark: Any) -> None:
    for wrong, sentence in (
        ({"tasks": "stack_cub"}, "stack_cube"),
        ({"success_mode": "never"}, "success_mode='never'"),
        ({"gripper": "open"}, "gripper='open'"),
        ({"resolution": (0, 3)}, "resolution must be"),
    ):
        with pytest.raises(UserError, match=sentence):
            benchmark(**wrong)


@pytest.mark.simulator
def test_an_episode_of_the_benchmark(drawing: None, benchmark: Any) -> None:
    made = benchmark(tasks=["pick_coke_can"], resolution=SMALL, seed=5)
    (task,) = made.get_tasks()

    async def episode() -> dict[str, Any]:
        await made.start_episode(task | {"episode_idx": 2})
        first = await made.get_observation()
        assert first["images"]["primary"].shape == (32, 40, 3)
        assert first["task_description"] == "pick coke can"
        assert first["states"].shape == (10,)
        steps = 0
        while not await made.is_done():
            await made.apply_action({"actions": STILL[0]})
            steps += 1
        assert steps == made.get_metadata()["max_steps"] == 80
        return await made.get_result()

    assert asyncio.run(episode()) == {"success": False, "strict": False, "ever": False}
    with pytest.raises(ValueError, match="7 numbers"):
        made.step({"actions": [0.0] * 6})
    made.cleanup()
