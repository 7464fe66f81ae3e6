"""What the original's simulator calls the tasks."""

from envs.simpler.registry import TaskSpec

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


def original_id(spec: TaskSpec) -> str:
    """Name under which ManiSkill2_real2sim registers the task's environment."""
    if spec.name in _OTHERS:
        return _OTHERS[spec.name]
    if spec.family == "grasp":
        return "GraspSingleOpenedCokeCanInScene-v0"
    drawer = _DRAWERS[spec.drawers[0]] if len(spec.drawers) == 1 else ""
    if spec.family == "place":
        return f"PlaceIntoClosed{drawer}DrawerCustomInScene-v0"
    return f"{'Open' if spec.goal == 'open' else 'Close'}{drawer}DrawerCustomInScene-v0"
