"""Control steps per second of open_and_place, and where the time of a step goes.

`python -m benchmarks.simulator [--steps 60]` measures one process after the other, so the lines are
comparable with each other: physics only, then with the head camera at several resolutions. The
limit is 171 PhysX steps a control step; `physics` is the share spent inside them.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

import envs.simpler
from envs.errors import UserError
from envs.simpler.environment import SimplerEnv

RESOLUTIONS = (None, (96, 96), (160, 128), (320, 256), (640, 512))


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
    parts: dict[str, list[float]] = {name: [0.0] for name in ("physics", "control", "picture")}
    simulation, agent = scene.scene, scene.agent
    simulation.step = timed(simulation.step, parts["physics"])
    agent.set_action = timed(agent.set_action, parts["control"])
    agent.before_simulation_step = timed(agent.before_simulation_step, parts["control"])
    env._observation = timed(env._observation, parts["picture"])  # type: ignore[method-assign]
    scene.get_obs = timed(scene.get_obs, parts["picture"])
    actions = np.random.default_rng(0).normal(0.0, 0.02, (steps, 7)).astype(np.float32)
    actions[:, 6] = 0.0
    started = time.perf_counter()
    for action in actions:
        env.step(action)
    total = time.perf_counter() - started
    shares = {name: spent[0] / steps for name, spent in parts.items()}
    return {"reset": reset, "step": total / steps, **shares}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--assets", default="primitives")
    arguments = parser.parse_args()
    rows = []
    for resolution in tqdm(RESOLUTIONS, desc="resolutions", leave=False):
        try:
            env = envs.simpler.make("open_and_place", arguments.assets, resolution=resolution)
        except UserError as error:
            print(f"{resolution}: {error}")
            continue
        rows.append((resolution, measure(env, arguments.steps)))
        env.close()
    base = rows[0][1]["step"]
    print("picture    steps/s  of physics only  reset s   ms a step: physics control picture")
    for resolution, seconds in rows:
        name = "none" if resolution is None else f"{resolution[0]}x{resolution[1]}"
        print(
            f"{name:10s} {1 / seconds['step']:7.1f}  {base / seconds['step']:15.2f}"
            f"  {seconds['reset']:7.2f}  "
            f"{1e3 * seconds['physics']:18.1f} {1e3 * seconds['control']:7.1f}"
            f" {1e3 * seconds['picture']:7.1f}"
        )


if __name__ == "__main__":
    main()
