"""Environment steps per second of one simulation of many environments, and the expert in it.

`python -m benchmarks.parallel [--task open_and_place] [--envs 1 16 64 256] [--steps 20]` needs an
NVIDIA GPU. Every line is measured in the same process, beside the same task in one environment on
the CPU; `scene` is the simulation with its controllers and rule, `face` adds the true state of
every environment as numbers (what an expert or a state-based policy reads), `reset` starts an
episode in half of the environments. `--episodes` runs the scripted expert in the largest batch and
counts its successes at the end, the check that a GPU simulation does the same task.

The limit: 171 PhysX steps a control step (100 for the WidowX), each with its launches, so a small
batch costs about what one environment costs and throughput should grow with the batch until the
GPU is full.
"""

import argparse
import time
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import envs.simpler
from envs.simpler.vector import SimplerVectorEnv
from experiment.errors import exit_on_user_error
from policies.contract import Observation
from policies.experts.registry import make_expert


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def small_actions(count: int, steps: int, seed: int) -> np.ndarray:
    """Actions `(steps, count, 7)` in free space, the fingers at rest."""
    actions = np.random.default_rng(seed).normal(0.0, 0.02, (steps, count, 7))
    actions[..., 6] = 0.0
    return actions.astype(np.float32)


def measure(env: SimplerVectorEnv, steps: int) -> dict[str, float]:
    """Seconds a control step and a reset of half of the environments, by name."""
    env.reset(seed=0)
    actions = small_actions(env.num_envs, steps + 2, seed=0)
    device = env.scene.device
    for action in actions[:2]:  # launches, caches, the first plan
        env.step(action)
    _wait()
    started = time.perf_counter()
    for action in actions[2:]:
        env.scene.step(torch.from_numpy(action).to(device))
    _wait()
    scene = (time.perf_counter() - started) / steps
    started = time.perf_counter()
    for action in actions[2:]:
        env.step(action)
    _wait()
    face = (time.perf_counter() - started) / steps
    half = list(range(max(1, env.num_envs // 2)))
    started = time.perf_counter()
    env.reset(seed=1, options={"env_idx": half} if env.num_envs > 1 else None)
    _wait()
    return {"scene": scene, "face": face, "reset": time.perf_counter() - started}


def expert_successes(env: SimplerVectorEnv, rounds: int, seed: int) -> tuple[int, int]:
    """Run the scripted expert once in every environment, `rounds` times: successes, episodes."""
    successes = 0
    for number in range(rounds):
        observations, _ = env.reset(seed=seed + number)
        infos = env.infos()
        experts = [make_expert(env.scene.task.name) for _ in infos]
        for i, (expert, info) in enumerate(zip(experts, infos, strict=True)):
            expert.reset(info["instruction"], seed * 1000 + i)
        final: dict[int, bool] = {}
        for step in tqdm(range(env.scene.task.max_steps), desc="expert", unit="step"):
            actions = np.zeros((env.num_envs, 7), dtype=np.float32)
            for i, (expert, info) in enumerate(zip(experts, infos, strict=True)):
                if i in final:
                    continue
                observation = Observation(
                    None, observations["state"][i], info["instruction"], step, info["privileged"]
                )
                actions[i] = expert.act(observation)[0]
                if getattr(expert, "subtask_done", False):
                    env.advance_to_next_subtask(i)
                if getattr(expert, "done", False):
                    final[i] = bool(info["success"])
            if len(final) == env.num_envs:
                break
            observations, *_ = env.step(actions)
            infos = env.infos()
        successes += sum(final.get(i, bool(info["success"])) for i, info in enumerate(infos))
    return successes, rounds * env.num_envs


def _made(task: str, count: int, assets: dict[str, Any]) -> SimplerVectorEnv:
    backend = "physx_cuda" if count else "physx_cpu"
    return envs.simpler.make_vec(task, max(count, 1), sim_backend=backend, **assets)


@exit_on_user_error
def main() -> None:
    """Print one line for the CPU and one for each number of environments."""
    parser = argparse.ArgumentParser(description="Environment steps/s of batched simulation.")
    parser.add_argument("--task", default="open_and_place")
    parser.add_argument("--assets", default="primitives")
    parser.add_argument("--asset-root", default=None)
    parser.add_argument("--envs", type=int, nargs="*", default=[1, 16, 64, 256])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--episodes", type=int, default=1, help="rounds of the expert, 0 for none")
    arguments = parser.parse_args()
    assets = {"assets": arguments.assets, "asset_root": arguments.asset_root}
    print(f"{arguments.task}, {arguments.assets}: environment steps a second")
    print(f"{'':>12}{'scene':>10}{'face':>10}{'ratio':>8}{'reset of half':>16}")
    single = None
    largest: SimplerVectorEnv | None = None
    for count in (0, *arguments.envs):  # 0: the batched code with one environment on the CPU
        if largest is not None:
            largest.close()
        largest = _made(arguments.task, count, assets)
        seconds = measure(largest, arguments.steps)
        rate = largest.num_envs / seconds["scene"]
        single = single or rate
        print(
            f"{f'{count} on GPU' if count else '1 on CPU':>12}{rate:>10.1f}"
            f"{largest.num_envs / seconds['face']:>10.1f}{rate / single:>7.1f}x"
            f"{seconds['reset']:>14.2f} s",
            flush=True,
        )
    if arguments.episodes and largest is not None:
        successes, episodes = expert_successes(largest, arguments.episodes, seed=7)
        print(f"expert in {largest.num_envs} at once: success at the end {successes}/{episodes}")


if __name__ == "__main__":
    main()
