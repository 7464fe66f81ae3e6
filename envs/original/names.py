"""What the original's simulator calls the tasks, and with which settings it makes a variant."""

from typing import Any

from envs.simpler.tasks.registry import TaskSpec
from envs.simpler.tasks.variants import VISUAL_MATCHING, Variant

# The table of the original's stages, for where their files are missing, as in the recordings:
# centre in its own frame, half extents, position of that frame (m).
TABLE_BOXES = {
    "google_robot": ([-0.295, 0.0, 0.4495], [0.315, 0.3075, 0.4325], [0.0, 0.21, 0.0]),
    "widowx": ([-0.34, 0.0, 0.435], [0.36, 0.45, 0.435], [0.0, 0.0, 0.0]),
}
_DRAWERS = {"top": "Top", "middle": "Middle", "bottom": "Bottom"}
_OTHERS = {
    "pick_object": "GraspSingleRandomObjectInScene-v0",
    "move_near": "MoveNearGoogleBakedTexInScene-v1",
    "move_near_v0": "MoveNearGoogleBakedTexInScene-v0",
    "move_near_v1": "MoveNearGoogleBakedTexInScene-v1",
    "spoon_on_towel": "PutSpoonOnTableClothInScene-v0",
    "carrot_on_plate": "PutCarrotOnPlateInScene-v0",
    "stack_cube": "StackGreenCubeOnYellowCubeBakedTexInScene-v0",
    "eggplant_in_basket": "PutEggplantInBasketScene-v0",
}
# The prepackaged tasks bring these along; SimplerEnv's scripts of the variants give them.
_ROBOT = {
    "robot": "google_robot_static",
    "control_freq": 3,
    "sim_freq": 513,
    "control_mode": "arm_pd_ee_delta_pose_align_interpolate_by_planner"
    "_gripper_pd_joint_target_delta_pos_interpolate_by_planner",
    "camera_cfgs": {"add_segmentation": True},
}


def original_id(spec: TaskSpec, variant: str = VISUAL_MATCHING) -> str:
    """Name under which ManiSkill2_real2sim registers the task's environment."""
    if spec.family == "move_near" and variant != VISUAL_MATCHING:
        return "MoveNearGoogleInScene-v0"
    if spec.name in _OTHERS:
        return _OTHERS[spec.name]
    if spec.family == "grasp":
        return "GraspSingleOpenedCokeCanInScene-v0"
    drawer = _DRAWERS[spec.drawers[0]] if len(spec.drawers) == 1 else ""
    if spec.family == "place":
        return f"PlaceIntoClosed{drawer}DrawerCustomInScene-v0"
    return f"{'Open' if spec.goal == 'open' else 'Close'}{drawer}DrawerCustomInScene-v0"


def settings(spec: TaskSpec, variant: Variant) -> dict[str, Any]:
    """Arguments of the original's environment.

    Source: SimplerEnv's table of tasks and its `rt1_*_variant_agg.sh` scripts. Cameras and
    distractors are not separate environments here: a reset sets them.
    """
    made: dict[str, Any] = {}
    if spec.family == "grasp" and spec.orientation:
        made[spec.orientation] = True
    if spec.family == "place":
        made["model_ids"] = list(variant.models or spec.models)
    if variant.name == VISUAL_MATCHING:
        return made | {"prepackaged_config": True}
    made |= _ROBOT | {"scene_name": variant.stage}
    if spec.family in ("drawer", "place"):
        made |= {"shader_dir": "rt", "station_name": variant.station}
        if variant.lighting != "standard":
            made["light_mode"] = variant.lighting
    elif variant.lighting != "standard":
        made[f"slightly_{variant.lighting}_lighting"] = True
    if variant.distractors:
        made["distractor_model_ids"] = list(variant.distractors)
    if variant.without_distractor:
        made["no_distractor"] = True
    return made
