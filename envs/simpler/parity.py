"""Measure this port against recordings of the original simulator.

`python -m envs.simpler.parity GOLDENS_DIR [--assets simpler --asset-root FOLDER]` replays what it
has tasks for, without a renderer, and prints a line per file and one JSON line at the end:

* resets: joint positions, base and object poses;
* free space: joints and gripper position per step until the robot first touches something (contact
  is chaotic: after it two runs of the original itself part, see `sensitivity.json` there);
* rule: success, subtask and instruction when fed the recorded states and contacts.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import envs.simpler
from envs.errors import UserError, exit_on_user_error
from envs.simpler.environment import SimplerEnv
from envs.simpler.goldens import Golden, goldens_of, read_episode, read_resets
from envs.simpler.open_and_place import BOTTOM_PANEL
from envs.simpler.registry import TASKS, TaskSpec
from envs.simpler.success import DrawerState, PlaceInDrawer

FREE_SPACE_STEPS = 40


def angle_between(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Angle (rad) between two quaternions `(4,)`."""
    first, second = first / np.linalg.norm(first), second / np.linalg.norm(second)
    # atan2 keeps its precision near zero, where acos of the dot product has none.
    return float(
        2.0
        * np.arctan2(
            np.linalg.norm(first - second * np.sign(first @ second)),
            np.linalg.norm(first + second * np.sign(first @ second)),
        )
        * 2.0
    )


def joint_error(measured: dict[str, float], recorded: dict[str, float]) -> float:
    """Largest difference (rad) over the joints both sides know by name."""
    return max(abs(measured[name] - value) for name, value in recorded.items())


def reset_errors(
    env: SimplerEnv,
    seed: int,
    joints: dict[str, float],
    base: NDArray[np.float64],
    item: NDArray[np.float64],
) -> dict[str, float]:
    """Reset with `seed` and compare with the recorded joints, base pose and object pose `(7,)`."""
    _, info = env.reset(seed=seed)
    seen = info["privileged"]
    return {
        "joints_rad": joint_error(seen["qpos"], joints),
        "base_m": float(np.abs(seen["base_pose"][:3] - base[:3]).max()),
        "base_rad": angle_between(seen["base_pose"][3:], base[3:]),
        "object_m": float(np.linalg.norm(seen["object_pose_world"][:3] - item[:3])),
    }


def free_steps(golden: Golden) -> int:
    """Number of control steps before the robot first touches anything, at most 40."""
    robot = set(golden.meta["link_names"])
    for index, step in enumerate(golden.steps[:FREE_SPACE_STEPS]):
        bodies = {side.split("#")[0] for pair in step["contacts"] for side in pair.split("|")}
        if robot & bodies:
            return index
    return min(FREE_SPACE_STEPS, len(golden.steps))


def replay_errors(env: SimplerEnv, golden: Golden) -> dict[str, float]:
    """Replay the recorded actions over the contact-free start; the env was reset already.

    The recordings leave out contacts of the robot with itself, so the replay also ends where the
    simulated fingers first press on each other.
    """
    joints = gripper = 0.0
    steps = free_steps(golden)
    for step in range(steps):
        *_, info = env.step(golden.arrays["action"][step])
        if env.scene.robot_touches_itself():
            steps = step
            break
        seen = info["privileged"]
        joints = max(joints, joint_error(seen["qpos"], golden.joints("qpos", step)))
        distance = seen["gripper_pose_base"][:3] - golden.arrays["tcp_base"][step, :3]
        gripper = max(gripper, float(np.linalg.norm(distance)))
    return {"free_steps": steps, "free_joints_rad": joints, "free_gripper_m": gripper}


def rule_agreement(golden: Golden, spec: TaskSpec) -> dict[str, float]:
    """Share of steps where our rule, fed the recorded states, says what the original said."""
    rule = PlaceInDrawer(spec.forced_subtask_step)
    drawer = golden.meta["cabinet_joints"].index(f"{spec.drawer}_drawer_joint")
    panel = f"{spec.drawer}_drawer#{BOTTOM_PANEL}"
    item = golden.meta["obj_names"][0]
    names = (f"open {spec.drawer} drawer", f"place apple into {spec.drawer} drawer")
    agree = {"success": 0, "subtask": 0, "instruction": 0, "contacts": 0}
    for index, step in enumerate(golden.steps):
        if golden.meta.get("advance_before_step") == index:
            rule.advance()
        rule.before_step()
        impulse = sum(
            value
            for pair, value in step["contacts"].items()
            if panel in pair.split("|") and any(s.startswith(item) for s in pair.split("|"))
        )
        rule.update(DrawerState(float(golden.arrays["cabinet_qpos"][index, drawer]), impulse))
        agree["success"] += rule.success == bool(golden.arrays["success"][index])
        agree["subtask"] += rule.subtask == int(golden.arrays["is_final_subtask"][index])
        agree["instruction"] += names[rule.subtask] == step["instruction"]
        agree["contacts"] += rule.contacts == step["eval"]["episode_stats"]["has_contact"]
    return {f"rule_{name}": count / len(golden.steps) for name, count in agree.items()}


def measure(env: SimplerEnv, folder: Path, spec: TaskSpec) -> list[dict[str, Any]]:
    """Measure one task against every recording of it in `folder`; one dict per file."""
    results: list[dict[str, Any]] = []
    for path in goldens_of(folder, spec.simpler_name, "resets"):
        rows, arrays, names = read_resets(path)
        each = [
            reset_errors(
                env,
                row["seed"],
                dict(zip(names, map(float, arrays["reset_qpos"][i]), strict=True)),
                arrays["reset_base_pose"][i],
                arrays["reset_obj_poses"][i, 0],
            )
            for i, row in enumerate(tqdm(rows, desc=path.stem, leave=False))
        ]
        worst = {key: max(row[key] for row in each) for key in each[0]}
        results.append({"file": f"resets/{path.name}", "resets": len(rows), **worst})
    episodes = [
        (k, p) for k in ("random", "oracle") for p in goldens_of(folder, spec.simpler_name, k)
    ]
    for kind, path in tqdm(episodes, desc=spec.name, leave=False):
        golden = read_episode(path)
        result: dict[str, Any] = {"file": f"{kind}/{path.name}", "resets": 1}
        result |= reset_errors(
            env,
            golden.meta["seed"],
            golden.joints("reset_qpos"),
            golden.arrays["reset_base_pose"],
            golden.arrays["reset_obj_poses"][0],
        )
        result |= replay_errors(env, golden)
        result |= rule_agreement(golden, spec)
        results.append(result)
    return results


def summary(results: list[dict[str, Any]], assets: str) -> dict[str, Any]:
    """Worst error of each kind, lowest agreement, number of files."""
    keys = sorted({key for r in results for key in r} - {"file", "resets", "free_steps"})
    worst = {
        key: (min if key.startswith("rule_") else max)(r[key] for r in results if key in r)
        for key in keys
    }
    return {
        "assets": assets,
        "files": len(results),
        "resets": sum(r["resets"] for r in results),
        "free_steps": sum(r.get("free_steps", 0) for r in results),
        **worst,
    }


@exit_on_user_error
def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("goldens", type=Path, help="folder with resets/, random/ and oracle/")
    parser.add_argument("--assets", default="primitives", help="asset pack (primitives, simpler)")
    parser.add_argument("--asset-root", type=Path, help="clone of ManiSkill2_real2sim")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    for spec in TASKS.values():
        env = envs.simpler.make(spec.name, arguments.assets, arguments.asset_root, resolution=None)
        results += measure(env, arguments.goldens, spec)
        env.close()
    if not results:
        raise UserError(f"{arguments.goldens} has no recording of a known task.")
    for result in results:
        numbers = (f"{k}={v:.3g}" for k, v in result.items() if k != "file")
        print(result["file"], *numbers)
    print(json.dumps(summary(results, arguments.assets)))


if __name__ == "__main__":
    main()
