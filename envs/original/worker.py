"""The original simulator behind a pipe; imports nothing of this package.

Started by `envs.original.client` with an interpreter that has SimplerEnv's ManiSkill2_real2sim
(SAPIEN 2). A message, either way, is a line of JSON and the bytes it announces under `bytes`:
`{"op": "make" | "reset" | "step" | "advance" | "close", ...}` in, `{"ok": true, ...}` or
`{"error": "..."}` out; the bytes are a picture uint8 (h, w, 3). What the original prints goes to
stderr.
"""

import json
import os
import signal
import sys
from importlib import metadata
from typing import Any

import numpy as np


def to_plain(value: Any) -> Any:
    """Numbers, texts and lists for JSON."""
    if isinstance(value, dict):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [to_plain(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def pose_of(thing: Any) -> list[float]:
    return [float(v) for v in (*thing.pose.p, *thing.pose.q)]


class Headless:
    """Replaces SAPIEN 2's renderer where there is none: makes materials that are never drawn."""

    def create_material(self) -> Any:
        return type("Material", (), {"set_base_color": lambda *_: None})()

    def set_log_level(self, level: str) -> None:
        """There is no log."""


def without_renderer(sapien: Any, base: Any) -> None:
    """Take renderer, cameras and lights out of the original; physics stays as it is."""
    sapien.SapienRenderer = lambda **_: Headless()
    sapien.Engine.set_renderer = lambda *_: None

    def nothing(*_: Any, **__: Any) -> None:
        return None

    def no_cameras(self: Any) -> None:
        self._cameras, self._render_cameras = {}, {}

    def every(kind: Any) -> Any:
        yield kind
        for child in kind.__subclasses__():
            yield from every(child)

    base._setup_cameras = no_cameras
    for kind in every(base):
        for name in ("_setup_lighting", "_load_background"):
            if name in vars(kind):
                setattr(kind, name, nothing)


def with_box_for_missing_stage(sapien: Any, scene_env: Any, box: Any, noted: list[str]) -> None:
    """Where a stage's file is missing, put a box in the place of its table, or a floor."""
    load = scene_env._load_arena_helper

    def load_arena(self: Any, add_collision: bool = True) -> None:
        path = self.scene_root / "stages" / f"{self.scene_name}.glb"
        if "dummy" in self.scene_name or path.exists():
            load(self, add_collision)
            return
        noted.append(f"stage {self.scene_name}")
        local, half, at = box
        builder = self._scene.create_actor_builder()
        if add_collision:
            pose = sapien.Pose(local)
            builder.add_box_collision(pose=pose, half_size=half)
            builder.add_box_visual(pose=pose, half_size=half, color=[0.4, 0.25, 0.15])
        # Around the cabinet a stage does not collide.
        builder.add_box_visual(half_size=[10.0, 10.0, 0.017], color=[0.32, 0.30, 0.28])
        self.arena = builder.build_static(name="arena")
        self.arena.set_pose(sapien.Pose(at))

    scene_env._load_arena_helper = load_arena


def checked_versions() -> dict[str, str]:
    """What is installed here; raises `RuntimeError` for what the original cannot work with."""
    versions = {name: metadata.version(name) for name in ("sapien", "numpy")}
    for name, major, requirement in (("sapien", "2", "sapien==2.2.2"), ("numpy", "1", "'numpy<2'")):
        if versions[name].split(".")[0] != major:
            raise RuntimeError(f"{name} {versions[name]} is installed there; install {requirement}")
    return versions


class Worker:
    """One environment of the original."""

    def __init__(self) -> None:
        self.env: Any = None
        self.stand_ins: list[str] = []
        self.camera: str | None = None

    def make(self, message: dict[str, Any]) -> dict[str, Any]:
        versions = checked_versions()
        import mani_skill2_real2sim.envs  # noqa: F401 - registers its environments
        import sapien.core as sapien
        from mani_skill2_real2sim.envs.custom_scenes.base_env import CustomSceneEnv
        from mani_skill2_real2sim.envs.sapien_env import BaseEnv
        from mani_skill2_real2sim.utils.registration import REGISTERED_ENVS

        self.sapien = sapien
        self.camera = message["camera"]
        if self.camera is None:
            without_renderer(sapien, BaseEnv)
        with_box_for_missing_stage(sapien, CustomSceneEnv, message["box"], self.stand_ins)
        kind = REGISTERED_ENVS[message["id"]].cls
        worker = self

        class Chosen(kind):  # type: ignore[misc, valid-type]
            """The environment, with the robot, colouring and photograph of the message."""

            def _additional_prepackaged_config_reset(self, options: Any) -> bool:  # noqa: ARG002
                return False  # nothing is drawn: `choose` has set what the client drew

            def _setup_prepackaged_env_init_config(self) -> dict[str, Any]:
                settings = super()._setup_prepackaged_env_init_config()
                if worker.camera is None:
                    settings |= {"rgb_overlay_path": None, "disable_bad_material": True}
                return settings

        drawn: dict[str, Any] = {"obs_mode": "image"}
        if self.camera is None:
            drawn = {"obs_mode": "none", "disable_bad_material": True}
        self.env = Chosen(reward_mode="sparse", **drawn, **message["settings"])
        return {"versions": versions}

    def choose(self, start: dict[str, Any]) -> dict[str, Any]:
        """Set what the client drew and return it as options of the original's reset."""
        env = self.env
        if start["drawer"]:
            env.drawer_ids = [start["drawer"]]
        env.urdf_version = start["coloring"]
        env._configure_agent()
        env.rgb_overlay_img = None
        if self.camera is not None and start["photograph"]:
            import cv2
            from mani_skill2_real2sim import ASSET_DIR

            path = ASSET_DIR / f"real_inpainting/{start['photograph']}.png"
            picture = cv2.imread(str(path))
            if picture is None:
                raise FileNotFoundError(f"{path} is missing or damaged")
            env.rgb_overlay_img = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) / 255
        robot = {"init_xy": start["robot_xy"], "init_rot_quat": start["robot_quaternion"]}
        if start["qpos"] is not None:
            robot["qpos"] = np.array(start["qpos"])
        # Without a rebuilt scene a reset would depend on the episodes before it.
        return {"robot_init_options": robot, "reconfigure": True}

    def reset(self, message: dict[str, Any]) -> dict[str, Any]:
        self.stand_ins.clear()
        options = message["options"] | self.choose(message["start"])
        self.observation, _ = self.env.reset(seed=message["seed"], options=options)
        return self.report({})

    def step(self, message: dict[str, Any]) -> dict[str, Any]:
        action = np.asarray(message["action"], dtype=np.float64)
        self.observation, _, _, _, info = self.env.step(action)
        return self.report(info)

    def advance(self, message: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        self.env.advance_to_next_subtask()
        return self.report({})

    # ---- the state --------------------------------------------------------------------------

    def report(self, info: dict[str, Any]) -> dict[str, Any]:
        env, robot = self.env, self.env.agent.robot
        gripper = env.agent.controller.controllers["gripper"]
        evaluation = {k: to_plain(v) for k, v in info.items() if _is_simple(v)}
        state = {
            "info": evaluation,
            "instruction": str(env.get_language_instruction()),
            "final": bool(env.is_final_subtask()),
            "stand_ins": sorted(set(self.stand_ins)),
            "base": pose_of(robot),
            "qpos": {
                joint.name: float(value)
                for joint, value in zip(robot.get_active_joints(), robot.get_qpos(), strict=True)
            },
            "gripper": pose_of(env.tcp),
            "gripper_target": float(np.mean(gripper._target_qpos)),
            "objects": [self.thing(item, scale) for item, scale in self.things()],
            "released": self.released(),
        }
        if hasattr(env, "art_obj"):
            state |= {
                "cabinet": pose_of(env.art_obj),
                "drawer": pose_of(env.drawer_obj),
                "drawer_position": float(env.art_obj.get_qpos()[env.joint_idx]),
            }
        return state

    def things(self) -> list[tuple[Any, float]]:
        """The loose objects in the order of a layout, with their scales."""
        env = self.env
        if hasattr(env, "episode_objs"):
            return list(zip(env.episode_objs, env.episode_model_scales, strict=True))
        if getattr(env, "obj", None) is None:
            return []
        others = getattr(env, "distractor_objs", [])
        scales = getattr(env, "selected_distractor_model_scales", None) or []
        return [(env.obj, env.model_scale), *zip(others, scales, strict=True)]

    def thing(self, item: Any, scale: float) -> dict[str, Any]:
        box = self.env.model_db[item.name]["bbox"]
        size = (np.array(box["max"]) - np.array(box["min"])) * scale
        return {
            "name": item.name,
            "pose": pose_of(item),
            "velocity": to_plain([*item.velocity, *item.angular_velocity]),
            "center": to_plain(item.pose.transform(item.cmass_local_pose).p),
            "size": to_plain(size),
        }

    def released(self) -> bool:
        """Whether nothing of the robot presses on the first object."""
        env = self.env
        source = getattr(env, "episode_source_obj", None) or getattr(env, "obj", None)
        if source is None:
            return True
        links = {link.name for link in env.agent.robot.get_links()}
        for contact in env._scene.get_contacts():
            names = [contact.actor0.name, contact.actor1.name]
            if source.name in names and links & set(names):
                push = np.sum([point.impulse for point in contact.points], axis=0)
                if np.linalg.norm(push) > 1e-6:
                    return False
        return True

    def picture(self) -> np.ndarray | None:
        if self.camera is None:
            return None
        image = self.observation["image"][self.camera]["Color"][..., :3]
        return np.ascontiguousarray(np.clip(image * 255, 0, 255).astype(np.uint8))


def _is_simple(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str, dict, list, np.generic))


def serve(source: Any, sink: Any) -> None:
    """Answer messages until `close` or the end of the pipe."""
    worker = Worker()
    for line in source:
        message = json.loads(line)
        if message["op"] == "close":
            return
        picture = None
        try:
            answer = getattr(worker, message["op"])(message) | {"ok": True}
            picture = worker.picture() if message["op"] != "make" else None
        except Exception as error:
            import traceback

            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        data = b"" if picture is None else picture.tobytes()
        answer |= {"bytes": len(data), "shape": None if picture is None else list(picture.shape)}
        sink.write(json.dumps(answer).encode() + b"\n" + data)
        sink.flush()


def main() -> None:
    """Keep the pipe for messages and send everything that is printed to stderr."""
    # Ctrl-C reaches the whole group; the worker stops at the end of the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
