"""SimplerEnv's simulator as a gymnasium environment with the interface of `envs.simpler`.

It runs in another interpreter (SAPIEN 2 needs numpy < 2), in `worker.py`, behind a pipe. Starts are
drawn here, by the same code as in `envs.simpler`, and sent to it: an episode of a protocol begins
the same in both simulators.
"""

from typing import Any

import gymnasium
import numpy as np
from PIL import Image
from sapien import Pose

from envs.actions import spaces, validated_action
from envs.original.names import TABLE_BOXES, original_id, settings
from envs.original.pipe import Pipe
from envs.simpler.assets.catalogues import CATALOGUES
from envs.simpler.environment import proprioception
from envs.simpler.robots.registry import ROBOTS
from envs.simpler.rules.base import REST_SPEED
from envs.simpler.rules.drawer import OPEN
from envs.simpler.scenes.cabinet import INSIDE_X, INSIDE_Y, INSIDE_Z
from envs.simpler.scenes.state import privileged_state
from envs.simpler.tasks.registry import TaskSpec
from envs.simpler.tasks.simplerenv_options import translated
from envs.simpler.tasks.start import Start, checked_options, draw_start
from envs.simpler.tasks.variants import VISUAL_MATCHING, variant_of
from experiment.errors import UserError

CAMERAS = {"google_robot": "overhead_camera"}


class OriginalEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """A task in the original simulator; made by `envs.original.make`."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(
        self,
        spec: TaskSpec,
        pipe: Pipe,
        resolution: tuple[int, int] | None,
        variant: str = VISUAL_MATCHING,
    ) -> None:
        self.task, self.resolution = spec, resolution
        self._pipe = pipe
        self._robot = ROBOTS[spec.robot]
        self._variant = variant_of(spec, variant)
        self._seed = np.random.RandomState(2022)
        self._ever = self._strict = self._opened = False
        self._steps = 0
        self._answer: dict[str, Any] = {}
        self._image: np.ndarray | None = None
        self.observation_space, self.action_space = spaces(resolution)  # type: ignore[assignment]
        family = "google_robot" if spec.robot == "google_robot" else "widowx"
        made, _ = pipe.ask(
            {
                "op": "make",
                "id": original_id(spec, variant),
                "camera": None if resolution is None else CAMERAS.get(family, "3rd_view_camera"),
                "box": TABLE_BOXES[family],
                "settings": settings(spec, self._variant),
            }
        )
        self._versions = {f"original {name}": version for name, version in made["versions"].items()}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; seed and options as for `envs.simpler`."""
        options = translated(options or {}, self.task)
        options.pop("reconfigure", None)
        given = checked_options(options, self.task)
        moved = sorted(given.keys() & {"object_xy", "target_xy", "distractor_xy"})
        if self.task.layouts and moved:
            raise UserError(
                f"{moved[0]}: the original simulator has the objects of {self.task.name} only "
                "where its layouts put them; leave it out."
            )
        super().reset(seed=seed)
        seed = int(self._seed.randint(2**32)) if seed is None else seed
        self._start = self._draw(seed, given)
        self._ever = self._strict = self._opened = False
        self._steps = 0
        message = {"op": "reset", "seed": seed, "start": self._chosen(), "options": self._options()}
        return self._observed(*self._pipe.ask(message), judged=False)

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Execute one action `(7,)`; as `envs.simpler`, success does not end an episode.

        Raises: `UserError` for an action of another shape or with NaN or infinity.
        """
        # Not rounded to float32, so that recorded actions repeat to the last bit.
        action = validated_action(action, self._steps, np.float64)
        answer = self._pipe.ask({"op": "step", "action": action.tolist()})
        self._steps += 1
        observation, info = self._observed(*answer, judged=True)
        over = self._steps >= self.task.max_steps
        return observation, float(info["success"]), False, over, info

    def advance_to_next_subtask(self) -> None:
        if self.task.family == "place":
            self._answer = self._pipe.ask({"op": "advance"})[0]

    def get_language_instruction(self) -> str:
        """The instruction of the current subtask; raises `UserError` before the first reset."""
        return str(self._last("instruction"))

    def is_final_subtask(self) -> bool:
        """Whether the current subtask is the last one; raises `UserError` before a reset."""
        return bool(self._last("final"))

    def _last(self, what: str) -> Any:
        if not self._answer:
            raise UserError("nothing has happened in the original simulator yet: reset it first.")
        return self._answer[what]

    def render(self) -> np.ndarray | None:
        """The last picture, or None without a renderer."""
        return self._image

    def close(self) -> None:
        self._pipe.close()

    # ---- what the original is sent ------------------------------------------------------------

    def _draw(self, seed: int, options: dict[str, Any]) -> Start:
        catalogue = CATALOGUES[self._variant.catalogue or self.task.catalogue]
        return draw_start(seed, self.task, self._variant, options, catalogue)

    def _chosen(self) -> dict[str, Any]:
        """Robot, colouring, photograph and drawer; `qpos` where the head is tilted differently."""
        position, quaternion = self._start.base_pose(0.0)
        tilt = self._variant.head_tilt
        joints = self._robot.qpos | {"joint_head_tilt": tilt}
        return {
            "robot_xy": [float(v) for v in position[:2]],
            "robot_quaternion": [float(v) for v in quaternion],
            "qpos": None if tilt is None else list(joints.values()),
            "coloring": self._start.coloring,
            "photograph": self._start.photograph,
            "drawer": self._start.drawer,
        }

    def _options(self) -> dict[str, Any]:
        """Objects as options of the original's reset."""
        layout, family = self._start.layout, self.task.family
        if family in ("move_near", "put_on"):
            return {"obj_init_options": {"episode_id": layout.number}}
        if family == "drawer":
            return {"obj_init_options": {}}
        chosen: dict[str, Any] = {"init_xy": list(layout.positions[0])}
        if self._start.orientation:
            chosen["orientation"] = self._start.orientation
        options = {"obj_init_options": chosen, "model_id": layout.models[0]}
        others = dict(zip(layout.models[1:], layout.positions[1:], strict=True))
        if others:
            options["distractor_model_ids"] = list(others)
            options["distractor_obj_init_options"] = {
                name: {"init_xy": list(xy)} for name, xy in others.items()
            }
        return options

    # ---- what it answers ----------------------------------------------------------------------

    def _observed(
        self, answer: dict[str, Any], picture: np.ndarray | None, judged: bool
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        self._answer = answer
        state = self._privileged(answer)
        observation = {"state": proprioception(state)}
        self._image = None
        if self.resolution is not None and picture is not None:
            shown = Image.fromarray(picture).resize(self.resolution, Image.Resampling.BOX)
            self._image = observation["image"] = np.asarray(shown)
        evaluation = answer["info"]
        success = judged and bool(evaluation.get("success", False))
        self._ever |= success
        self._strict |= success and self._strictly(answer, state)
        start = self._start
        report = {
            k: v for k, v in evaluation.items() if k not in ("episode_stats", "elapsed_steps")
        }
        return observation, report | {
            "instruction": answer["instruction"],
            "subtask": int(answer["final"]) if self.task.family == "place" else 0,
            "elapsed_steps": self._steps,
            "success": success,
            "success_ever": self._ever,
            "success_strict": self._strict,
            "episode_stats": evaluation.get("episode_stats", {}),
            "robot_pose": start.robot_pose,
            "coloring": start.coloring,
            "layout": start.layout.number,
            "object": None if start.layout.source is None else state["source"],
            "variant": self._variant.name,
            "assets": "original",
            "stand_ins": answer["stand_ins"],
            "versions": self._versions,
            "privileged": state,
        }

    def _strictly(self, answer: dict[str, Any], state: dict[str, Any]) -> bool:
        """Whether a success also meets the strict rule of `envs.simpler`."""
        family = self.task.family
        if family == "drawer":
            return True
        evaluation = answer["info"]
        if family == "grasp":
            return bool(evaluation["lifted_object_significantly"] and evaluation["is_grasped"])
        slow = float(np.linalg.norm(state["object_velocity"][:3])) < REST_SPEED
        strict = bool(answer["released"]) and slow
        if family == "place":
            drawer, item = state["drawer_pose_world"], state["object_pose_world"]
            x, y, z = (_pose(drawer).inv() * _pose(item)).p
            inside = abs(x) < INSIDE_X and abs(y) < INSIDE_Y and INSIDE_Z[0] < z < INSIDE_Z[1]
            strict = strict and inside and self._opened
        return strict

    def _privileged(self, answer: dict[str, Any]) -> dict[str, Any]:
        base, gripper = np.array(answer["base"]), np.array(answer["gripper"])
        local = _pose(base).inv() * _pose(gripper)
        drawer: dict[str, Any] = {}
        if "drawer" in answer:
            self._opened |= answer["drawer_position"] >= OPEN
            drawer = {
                "drawer": self._start.drawer,
                "drawer_position": answer["drawer_position"],
                "drawer_pose_world": np.array(answer["drawer"]),
                "cabinet_pose_world": np.array(answer["cabinet"]),
            }
        return privileged_state(
            self._robot,
            self._start.layout,
            qpos=answer["qpos"],
            base=base,
            gripper_base=np.array([*local.p, *local.q], dtype=np.float64),
            gripper_world=gripper,
            gripper_target=answer["gripper_target"],
            objects={
                item["name"]: {k: np.array(v) for k, v in item.items() if k != "name"}
                for item in answer["objects"]
            },
            drawer=drawer,
        )


def _pose(row: np.ndarray) -> Any:
    return Pose(row[:3], row[3:])
