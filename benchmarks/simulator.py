"""Control steps per second, and where the time of a step goes.

`python -m benchmarks.simulator [--steps 60]` measures one thing after the other in one process, so
the lines are comparable: one task of each family without pictures, then open_and_place with its
camera at several resolutions; `--workers 2` adds several processes at once; `--original PYTHON`
takes turns with the original simulator in that interpreter (docs/original.md). The limit is 171
PhysX steps a control step (100 for the WidowX); `physics` is the time spent inside them.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

import envs.simpler
from envs.simpler.environment import SimplerEnv
from experiment.errors import UserError

RESOLUTIONS = ((96, 96), (160, 128), (320, 256), (640, 512))
PHASES = ("physics", "control", "rule", "picture")
TASKS = (
    *("open_and_place", "open_top_drawer", "pick_coke_can", "move_near"),
    *("stack_cube", "eggplant_in_basket"),
)
# The original (SAPIEN 2) on two shared cores, for scale.
ORIGINAL = "original, elsewhere: 17-25 steps/s without pictures, 4.4 at 640x512, reset 0.2-2 s"


def timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """Wrap `function` so that the seconds inside it are added to `spent[0]`."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = function(*args, **kwargs)
        spent[0] += time.perf_counter() - started
        return result

    return wrapper


def measure(env: SimplerEnv, steps: int) -> dict[str, float]:
    """Reset once and take `steps` small random steps; returns seconds by name."""
    env.reset(seed=0)
    started = time.perf_counter()
    env.reset(seed=1)
    reset = time.perf_counter() - started
    scene = env.scene
    phases: dict[str, list[float]] = {name: [0.0] for name in PHASES}
    simulation, agent = scene.scene, scene.agent
    simulation.step = timed(simulation.step, phases["physics"])
    agent.set_action = timed(agent.set_action, phases["control"])
    agent.before_simulation_step = timed(agent.before_simulation_step, phases["control"])
    scene.get_obs = timed(scene.get_obs, phases["picture"])
    scene.head_image = timed(scene.head_image, phases["picture"])  # type: ignore[method-assign]
    scene.evaluate = timed(scene.evaluate, phases["rule"])  # type: ignore[method-assign]
    actions = np.random.default_rng(0).normal(0.0, 0.02, (steps, 7)).astype(np.float32)
    actions[:, 6] = 0.0
    started = time.perf_counter()
    for action in actions:
        env.step(action)
    total = time.perf_counter() - started
    shares = {name: spent[0] / steps for name, spent in phases.items()}
    return {"reset": reset, "step": total / steps, **shares}


def line(name: str, seconds: dict[str, float], base: float) -> str:
    """One row of the table; `base` are the seconds of a step that the ratio compares with."""
    phases = " ".join(f"{1e3 * seconds[phase]:7.1f}" for phase in PHASES)
    return (
        f"{name:32s} {1 / seconds['step']:7.1f} {base / seconds['step']:7.2f}"
        f" {seconds['reset']:8.2f}   {phases}"
    )


def alone(
    task: str, assets: str, resolution: tuple[int, int] | None, steps: int, root: str | None = None
) -> dict[str, Any]:
    env = envs.simpler.make(task, assets, root, resolution=resolution)
    seconds = measure(env, steps)
    env.close()
    return seconds


def together(workers: int, assets: str, steps: int, root: str | None) -> list[float]:
    """Steps per second of each of several processes that run open_and_place at once."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool:
        case = ("open_and_place", assets, None, steps, root)
        jobs = [pool.apply_async(alone, case) for _ in range(workers)]
        return [1 / job.get()["step"] for job in jobs]


def in_turns(
    task: str, python: str, assets: str, root: str | None, steps: int
) -> tuple[float, float]:
    """Steps per second without pictures, ours and the original's, in three turns of `steps`."""
    from envs.original import make

    ours = envs.simpler.make(task, assets, root, resolution=None, terminate_on_success=False)
    pair = (ours, make(task, python))
    actions = np.random.default_rng(0).normal(0.0, 0.02, (3, steps, 7)).astype(np.float32)
    actions[..., 6] = 0.0
    spent = [0.0, 0.0]
    for turn in actions:
        for number, env in enumerate(pair):
            env.reset(seed=0)
            started = time.perf_counter()
            for action in turn:
                env.step(action)
            spent[number] += time.perf_counter() - started
    for env in pair:
        env.close()
    return 3 * steps / spent[0], 3 * steps / spent[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--assets", default="primitives")
    parser.add_argument("--workers", type=int, default=0, help="also so many processes at once")
    parser.add_argument("--asset-root", default=None)
    parser.add_argument("--original", default=None, help="python that has SimplerEnv")
    arguments = parser.parse_args()
    if arguments.original:
        print(f"{'steps/s, no pictures':24s}     ours  original   ratio")
        for task in TASKS:
            ours, theirs = in_turns(
                task, arguments.original, arguments.assets, arguments.asset_root, arguments.steps
            )
            print(f"{task:24s} {ours:8.1f} {theirs:9.1f} {ours / theirs:7.2f}", flush=True)
        return
    cases: list[tuple[str, tuple[int, int] | None]] = [(task, None) for task in TASKS]
    cases += [(TASKS[0], resolution) for resolution in RESOLUTIONS]
    rows = []
    for task, resolution in tqdm(cases, desc="cases", leave=False):
        name = task if resolution is None else f"{task} {resolution[0]}x{resolution[1]}"
        try:
            rows.append(
                (
                    name,
                    alone(
                        task, arguments.assets, resolution, arguments.steps, arguments.asset_root
                    ),
                )
            )
        except UserError as error:
            print(f"{name}: {error}")
    base = rows[0][1]["step"]
    head = " ".join(f"{phase:>7s}" for phase in PHASES)
    print(f"{'':32s} steps/s   ratio  reset s   ms a step: {head}")
    for name, seconds in rows:
        print(line(name, seconds, base))
    if arguments.workers > 1:
        rates = together(arguments.workers, arguments.assets, arguments.steps, arguments.asset_root)
        ratio = sum(rates) * base
        print(
            f"{arguments.workers} processes at once: {sum(rates):.1f} steps/s, {ratio:.2f} of one"
        )
    print(ORIGINAL)


if __name__ == "__main__":
    main()
