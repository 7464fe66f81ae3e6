"""SIMPLER's 25 tasks by name: our name, SIMPLER's name, family, robot, step limit.

Source: SimplerEnv's table of prepackaged (visual matching) environments.
"""

from dataclasses import dataclass

from experiment.errors import UserError, nearest

DRAWERS = ("top", "middle", "bottom")
ORIENTATIONS = ("upright", "laid_vertically", "lr_switch")
"""Orientations of a can, in the order of the original's random draw."""
ALL_POSES = ("a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2")
NEAR_POSES = ("a0", "b0", "c0")
COLORINGS = (
    "",
    "recolor_tabletop_visual_matching_1",
    "recolor_tabletop_visual_matching_2",
    "recolor_cabinet_visual_matching_1",
)
"""Robot and cabinet colourings for visual matching, in the order of the original's random draw."""


@dataclass(frozen=True)
class TaskSpec:
    """What names a task; the scene and the success rule are in the class of its family.

    family: drawer, place, grasp, move_near or put_on. robot: google_robot, widowx or widowx_sink
    (another camera and start). drawers, robot_poses, models and orientation: what a reset may draw
    from (models empty: all of the task's catalogue). catalogue: table of object models.
    """

    name: str
    simpler_name: str
    family: str
    max_steps: int
    robot: str = "google_robot"
    catalogue: str = "pick_custom_v0"
    drawers: tuple[str, ...] = ()
    robot_poses: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    orientation: str | None = None
    goal: str = ""
    forced_subtask_step: int = 100

    @property
    def gym_id(self) -> str:
        """Name for `gymnasium.make`: simpler/OpenAndPlace-v0."""
        return f"simpler/{''.join(word.capitalize() for word in self.name.split('_'))}-v0"

    @property
    def robot_type(self) -> str:
        """The robot whatever its set-up, by the name in data sets and checkpoints."""
        return "widowx" if self.robot.startswith("widowx") else self.robot

    @property
    def control_frequency(self) -> int:
        """Control steps a second."""
        return 3 if self.robot == "google_robot" else 5

    @property
    def simulation_frequency(self) -> int:
        """Simulation steps a second."""
        return 513 if self.robot == "google_robot" else 500

    @property
    def layouts(self) -> int:
        """Number of fixed layouts a reset draws from; 0 where objects are drawn freely."""
        return {"move_near": 60, "put_on": 24}.get(self.family, 0)


PICKABLE = (
    "opened_pepsi_can",
    "opened_coke_can",
    "opened_sprite_can",
    "opened_fanta_can",
    "opened_redbull_can",
    "blue_plastic_bottle",
    "apple",
    "orange",
    "sponge",
    "bridge_spoon_generated_modified",
    "bridge_carrot_generated_modified",
    "green_cube_3cm",
    "yellow_cube_3cm",
    "eggplant",
)


def _google(name: str, family: str, max_steps: int, **settings: object) -> TaskSpec:
    return TaskSpec(name, f"google_robot_{name}", family, max_steps, **settings)  # type: ignore[arg-type]


def _coke(name: str, orientation: str | None) -> TaskSpec:
    return _google(name, "grasp", 80, models=("opened_coke_can",), orientation=orientation)


def _drawer(goal: str, drawer: str | None) -> TaskSpec:
    name = f"{goal}_{drawer}_drawer" if drawer else f"{goal}_drawer"
    drawers = (drawer,) if drawer else DRAWERS
    return _google(name, "drawer", 113, drawers=drawers, robot_poses=ALL_POSES, goal=goal)


def _place(drawer: str | None) -> TaskSpec:
    name = f"place_in_closed_{drawer}_drawer" if drawer else "place_in_closed_drawer"
    return _google(
        name,
        "place",
        200,
        catalogue="pick_custom_baked_tex_v1",
        drawers=(drawer,) if drawer else DRAWERS,
        robot_poses=NEAR_POSES,
    )


def _put(name: str, simpler_name: str, source: str, target: str, **settings: object) -> TaskSpec:
    settings = {"max_steps": 60, "robot": "widowx", "catalogue": "bridge_custom_v0"} | settings
    return TaskSpec(name, simpler_name, "put_on", models=(source, target), **settings)  # type: ignore[arg-type]


_SPECS = (
    _coke("pick_coke_can", None),
    _coke("pick_horizontal_coke_can", "lr_switch"),
    _coke("pick_vertical_coke_can", "laid_vertically"),
    _coke("pick_standing_coke_can", "upright"),
    _google("pick_object", "grasp", 80, models=PICKABLE),
    _google("move_near", "move_near", 80, catalogue="pick_custom_baked_tex_v1"),
    _google("move_near_v0", "move_near", 80, catalogue="pick_custom_baked_tex_v0"),
    _google("move_near_v1", "move_near", 80, catalogue="pick_custom_baked_tex_v1"),
    *(_drawer(goal, drawer) for goal in ("open", "close") for drawer in (None, *DRAWERS)),
    *(_place(drawer) for drawer in (None, *DRAWERS)),
    TaskSpec(
        "open_and_place",
        "google_robot_place_apple_in_closed_top_drawer",
        "place",
        200,
        catalogue="pick_custom_baked_tex_v1",
        drawers=("top",),
        robot_poses=NEAR_POSES,
        models=("baked_apple_v2",),
    ),
    _put(
        "spoon_on_towel",
        "widowx_spoon_on_towel",
        "bridge_spoon_generated_modified",
        "table_cloth_generated_shorter",
    ),
    _put(
        "carrot_on_plate",
        "widowx_carrot_on_plate",
        "bridge_carrot_generated_modified",
        "bridge_plate_objaverse_larger",
    ),
    _put(
        "stack_cube",
        "widowx_stack_cube",
        "baked_green_cube_3cm",
        "baked_yellow_cube_3cm",
        catalogue="bridge_custom_baked_tex_v0",
    ),
    _put(
        "eggplant_in_basket",
        "widowx_put_eggplant_in_basket",
        "eggplant",
        "dummy_sink_target_plane",
        max_steps=120,
        robot="widowx_sink",
    ),
)

TASKS: dict[str, TaskSpec] = {spec.name: spec for spec in _SPECS}


def task_spec(name: str) -> TaskSpec:
    """Look a task up by our name or by SIMPLER's.

    Raises: `UserError` naming the nearest known tasks.
    """
    for spec in TASKS.values():
        if name in (spec.name, spec.simpler_name):
            return spec
    names = [*TASKS, *(spec.simpler_name for spec in TASKS.values())]
    raise UserError(f"unknown task {name!r}.{nearest(name, names)}")
