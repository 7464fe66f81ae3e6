"""Measure this port against recordings of the original simulator.

`python -m envs.original.parity GOLDENS_DIR [--assets simpler --asset-root FOLDER]` replays every
recording it finds, without a renderer, and prints a line per file, a table per task and one JSON
line at the end:

* resets: joint positions, base, cabinet and object poses;
* free space: joints and gripper position per step until the robot first touches something (contact
  is chaotic: after it two runs of the original itself part, see `sensitivity.json` there);
* rule: success, subtask, evaluation and statistics when fed the recorded states, and instruction.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

import envs.simpler
from envs.original.recordings import (
    Golden,
    goldens_of,
    read_episode,
    read_resets,
    reset_options,
)
from envs.original.replay import agreement
from envs.simpler.environment import SimplerEnv
from envs.simpler.scenes.contacts import Contacts
from envs.simpler.tasks.registry import TASKS, TaskSpec, task_spec
from experiment import progress
from experiment.errors import UserError, exit_on_user_error

FREE_SPACE_STEPS = 40


def angle_between(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Angle (rad) between two quaternions `(4,)`."""
    turns = Rotation.from_quat(np.stack([first, second]), scalar_first=True)
    return float((turns[0].inv() * turns[1]).magnitude())


def joint_error(measured: Mapping[str, float], recorded: Mapping[str, float]) -> float:
    """Largest difference (rad) over the joints both sides know by name."""
    return max(abs(measured[name] - value) for name, value in recorded.items())


def reset_errors(
    env: SimplerEnv,
    described: Mapping[str, Any],
    joints: Mapping[str, float],
    row: Mapping[str, NDArray[np.float64]],
) -> dict[str, float]:
    """Reset as a recorded reset was made and compare with it.

    Args: `described` has its seed and options; `joints` by name (rad); `row` the arrays of the
        recording, `reset_base_pose` `(7,)`, `reset_obj_poses` `(o, 7)` and `reset_cabinet_qpos`
        `(3,)` as far as the task has them.
    """
    base = row["reset_base_pose"]
    _, info = env.reset(seed=described["seed"], options=reset_options(described, base))
    state = info["privileged"]
    errors = {
        "joints_rad": joint_error(state["qpos"], joints),
        "base_m": float(np.abs(state["base_pose"][:3] - base[:3]).max()),
        "base_rad": angle_between(state["base_pose"][3:], base[3:]),
    }
    if "reset_obj_poses" in row:
        poses = [item["pose"] for item in state["objects"].values()]
        pairs = list(zip(poses, row["reset_obj_poses"], strict=False))
        errors["object_m"] = max(float(np.linalg.norm(a[:3] - b[:3])) for a, b in pairs)
        errors["object_rad"] = max(angle_between(a[3:], b[3:]) for a, b in pairs)
    if "reset_cabinet_qpos" in row:
        ours = env.scene.cabinet.qpos[0].numpy()
        errors["drawers_m"] = float(np.abs(ours - row["reset_cabinet_qpos"]).max())
    return errors


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
    fingers = [link for link in env.scene.links if "finger" in link.name]
    for step in range(steps):
        *_, info = env.step(golden.arrays["action"][step])
        if Contacts(env.scene.scene.px.get_contacts()).among(fingers):
            steps = step
            break
        state = info["privileged"]
        joints = max(joints, joint_error(state["qpos"], golden.joints("qpos", step)))
        distance = state["gripper_pose_base"][:3] - golden.arrays["tcp_base"][step, :3]
        gripper = max(gripper, float(np.linalg.norm(distance)))
    return {"free_steps": steps, "free_joints_rad": joints, "free_gripper_m": gripper}


def instruction_agreement(env: SimplerEnv, golden: Golden) -> float:
    """Share of the recorded instructions that ours are, subtask by subtask.

    The env was reset as the recording's; it is advanced to its last subtask.
    """
    ours = [env.get_language_instruction()]
    env.advance_to_next_subtask()
    ours.append(env.get_language_instruction())
    same = 0
    for index, step in enumerate(golden.steps):
        final = bool(golden.arrays["is_final_subtask"][index])
        two = env.scene.rule.subtasks > 1
        same += ours[int(final and two)] == step["instruction"]
    return same / len(golden.steps)


def measure(
    env: SimplerEnv, folder: Path, spec: TaskSpec, most: int | None = None
) -> list[dict[str, Any]]:
    """Measure one task against every recording of it in `folder`; one dict per file.

    Args: `most` limits the files of a kind and the resets of a file.
    """
    results: list[dict[str, Any]] = []
    for path in goldens_of(folder, spec.simpler_name, "resets")[:most]:
        rows, arrays, names = read_resets(path)
        each = []
        for i, row in enumerate(progress.each(rows[:most], path.stem, "reset")):
            values = {name: array[i] for name, array in arrays.items()}
            joints = dict(zip(names, map(float, values["reset_qpos"]), strict=True))
            each.append(reset_errors(env, row, joints, values))
        worst = {key: max(row[key] for row in each) for key in each[0]}
        results.append(
            {"task": spec.name, "file": f"resets/{path.name}", "resets": len(each), **worst}
        )
    episodes = [
        (kind, path)
        for kind in ("random", "oracle")
        for path in goldens_of(folder, spec.simpler_name, kind)[:most]
    ]
    for kind, path in progress.each(episodes, spec.name, "episode"):
        golden = read_episode(path)
        result: dict[str, Any] = {
            "task": spec.name,
            "file": f"{kind}/{path.name}",
            "resets": 1,
        }
        result |= reset_errors(env, golden.meta, golden.joints("reset_qpos"), golden.arrays)
        result |= replay_errors(env, golden)
        result["rule_instruction"] = instruction_agreement(env, golden)
        result |= agreement(golden, spec)
        results.append(result)
    return results


def summary(results: list[dict[str, Any]], assets: str) -> dict[str, Any]:
    """Worst error of each kind, lowest agreement, number of files."""
    plain = {"task", "file", "resets", "free_steps"}
    keys = sorted({key for r in results for key in r} - plain)
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


_COLUMNS = (
    ("files", "", ""),
    ("resets", "", ""),
    ("joints_rad", "reset joints", "mrad"),
    ("base_m", "base", "mm"),
    ("object_m", "objects", "mm"),
    ("object_rad", "objects", "mrad"),
    ("free_steps", "free steps", ""),
    ("free_joints_rad", "joints", "mrad"),
    ("free_gripper_m", "gripper", "mm"),
    ("rule", "rules agree", "%"),
)


def table(results: list[dict[str, Any]], assets: str) -> str:
    """A Markdown table, one row a task: worst errors in mm and mrad, lowest agreement."""
    heads = [f"{title or key}{f' ({unit})' if unit else ''}" for key, title, unit in _COLUMNS]
    lines = [f"| task | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for task in dict.fromkeys(result["task"] for result in results):
        worst = summary([r for r in results if r["task"] == task], assets)
        rules = [v for k, v in worst.items() if k.startswith("rule_")]
        worst["rule"] = min(rules) if rules else None
        lines.append(f"| {task} | {' | '.join(_cell(worst, k, u) for k, _, u in _COLUMNS)} |")
    return "\n".join(lines)


def _cell(worst: dict[str, Any], key: str, unit: str) -> str:
    value = worst.get(key)
    if value is None:
        return "-"
    if unit == "":
        return str(value)
    return f"{value * (100 if unit == '%' else 1000):.3g}"


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("goldens", type=Path, help="folder with resets/, random/ and oracle/")
    parser.add_argument("--assets", default="primitives", help="asset pack (primitives, simpler)")
    parser.add_argument("--asset-root", type=Path, help="copy of ManiSkill2_real2sim")
    parser.add_argument("--task", action="append", help="only this task (may be repeated)")
    arguments = parser.parse_args()
    specs = [task_spec(name) for name in arguments.task or TASKS]
    results: list[dict[str, Any]] = []
    for spec in progress.each(specs, "comparing", "task"):
        kinds = ("resets", "random", "oracle")
        if not any(goldens_of(arguments.goldens, spec.simpler_name, kind) for kind in kinds):
            continue
        env = envs.simpler.make(spec.name, arguments.assets, arguments.asset_root, resolution=None)
        results += measure(env, arguments.goldens, spec)
        env.close()
    if not results:
        raise UserError(f"{arguments.goldens} has no recording of a known task.")
    for result in results:
        numbers = (f"{k}={v:.3g}" for k, v in result.items() if k not in ("file", "task"))
        print(result["file"], *numbers)
    print(table(results, arguments.assets))
    print(json.dumps(summary(results, arguments.assets)))


if __name__ == "__main__":
    main()
