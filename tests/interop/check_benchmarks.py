"""SIMPLER's tasks in lerobot's own rollout and in vla-eval's own runner.

`PYTHON -m tests.interop.check_benchmarks`, where PYTHON (3.12 or newer) has this project with the
extra `serve`, `lerobot==0.6.1` and `vla-eval==0.8.0`. Prints a line a check; ends with an error at
the first that fails.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.envs import utils as hub
from lerobot.scripts.lerobot_eval import rollout
from torch import nn
from vla_eval import api

import envs.hub
from policies.checkpoint import load_policy
from policies.contract import Observation
from tests.policies.serving.toys import served

TASK, EPISODES = "close_top_drawer", 2


class Shipped(nn.Module):
    """The shipped policy as lerobot calls policies: a batch of observations, one action each."""

    def __init__(self, count: int) -> None:
        super().__init__()
        first = load_policy(None, task=TASK)
        self.each = [first, *(first.another() for _ in range(count - 1))]

    def reset(self) -> None:
        for seed, policy in enumerate(self.each):
            policy.reset("", seed)
        self.queues: list[list[np.ndarray]] = [[] for _ in self.each]

    def select_action(self, batch: dict[str, Any]) -> torch.Tensor:
        pictures = (batch["observation.image"] * 255).round().to(torch.uint8)
        actions = []
        for i, (policy, queue) in enumerate(zip(self.each, self.queues, strict=True)):
            if not queue:
                image = pictures[i].permute(1, 2, 0).numpy()
                state = batch["observation.state"][i].numpy()
                queue += [*policy.act(Observation(image, state, batch["task"][i], 0, {}))]
            actions.append(queue.pop(0))
        return torch.from_numpy(np.stack(actions))


def same(values: Any) -> Any:
    return values


def with_lerobot(processes: bool) -> None:
    """Load `env.py` as from the hub and roll the shipped policy out."""
    path = str(Path(str(envs.hub.__file__)).with_name("env.py"))
    module = hub._load_module_from_path(path, "hub_env")

    class Settings:
        task = TASK

    made = hub._call_make_env(module, EPISODES, processes, Settings())
    suites = hub._normalize_hub_result(made)
    env = suites["simpler"][0]
    policy = Shipped(EPISODES)
    seeds = [1_000_000 + n for n in range(EPISODES)]
    found = rollout(env, policy, same, same, same, same, seeds=seeds)
    hub.close_envs(suites)
    success = found["success"].any(1).tolist()
    kind = "processes" if processes else "one process"
    print(f"lerobot, {kind}: {found['action'].shape[1]} steps, success {success}")
    assert any(success)


def with_vla_eval() -> None:
    """Evaluate the shipped policy, served by policies.serve, in vla-eval's runner."""
    entry = {
        "benchmark": "envs.hub.vla_eval_benchmark:SimplerBenchmark",
        "episodes_per_task": EPISODES,
        "params": {"tasks": TASK},
    }
    target = {"_target_": "policies.checkpoint.load_policy", "checkpoint": None, "task": TASK}
    with served(target, idle=60) as server, tempfile.TemporaryDirectory() as folder:
        url = f"ws://127.0.0.1:{server.port}"
        (result,) = api.run({"benchmarks": [entry], "render": "cpu"}, server_url=url,
                            output_dir=folder, no_save=True)  # fmt: skip
    print(f"vla-eval: success {result['mean_success']:.0%} of {EPISODES}")
    assert result["mean_success"] > 0


if __name__ == "__main__":
    with_lerobot(processes=False)
    with_lerobot(processes=True)
    with_vla_eval()
