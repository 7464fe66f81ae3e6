"""Looks and surroundings of a scene by name: visual matching, and SIMPLER's variant aggregation.

Source: the `*_visual_matching.sh` and `*_variant_agg.sh` scripts of SimplerEnv.
"""

from dataclasses import dataclass

from envs.simpler.tasks.registry import TaskSpec, task_spec
from experiment.errors import UserError, nearest

VISUAL_MATCHING = "visual_matching"

_STAGE = {
    "grasp": "google_pick_coke_can_1_v4",
    "move_near": "google_pick_coke_can_1_v4",
    "drawer": "frl_apartment_stage_simple",
    "place": "frl_apartment_stage_simple",
}
_BACKGROUNDS = {
    "grasp": (
        "google_pick_coke_can_1_v4_alt_background",
        "google_pick_coke_can_1_v4_alt_background_2",
    ),
    "move_near": (
        "google_pick_coke_can_1_v4_alt_background",
        "google_pick_coke_can_1_v4_alt_background_2",
    ),
    "drawer": ("modern_bedroom_no_roof", "modern_office_no_roof"),
    "place": ("modern_bedroom_no_roof", "modern_office_no_roof"),
}
_TABLES = ("Baked_sc1_staging_objaverse_cabinet1_h870", "Baked_sc1_staging_objaverse_cabinet2_h870")

LESS_DISTRACTORS = ("opened_pepsi_can", "apple", "sponge", "orange")
MORE_DISTRACTORS = (
    "opened_7up_can",
    "opened_sprite_can",
    "sponge",
    "orange",
    "opened_fanta_can",
    "bridge_spoon_generated_modified",
)
CAMERA_TILTS = {"camera_1": 0.9351361, "camera_2": 0.6651361}
"""Position of the head's tilt joint (rad) in the variants with another camera orientation."""


@dataclass(frozen=True)
class Variant:
    """What one variant changes.

    stage: name of the surroundings ("" for a floor alone). photograph: whether a real photograph is
    laid behind robot and objects. lighting: matching, standard, darker or brighter. station: the
    cabinet's file. head_tilt: position of that joint (rad), None for the usual one. models and
    catalogue: other objects than the prepackaged ones.
    """

    name: str
    stage: str
    photograph: bool = False
    lighting: str = "standard"
    station: str = "mk_station"
    head_tilt: float | None = None
    distractors: tuple[str, ...] = ()
    without_distractor: bool = False
    catalogue: str | None = None
    models: tuple[str, ...] = ()


def _matching(spec: TaskSpec) -> Variant:
    drawers = spec.family in ("drawer", "place")
    stage = "" if drawers else _STAGE.get(spec.family, "bridge_table_1_v1")
    if spec.robot == "widowx_sink":
        stage = "bridge_table_1_v2"
    lighting = "matching" if drawers else "sink" if spec.robot == "widowx_sink" else "standard"
    return Variant(
        VISUAL_MATCHING,
        stage,
        photograph=True,
        lighting=lighting,
        station="mk_station_recolor",
    )


def _aggregation(spec: TaskSpec) -> dict[str, Variant]:
    family = spec.family
    if family not in _STAGE:
        return {}
    others: dict[str, object] = {}
    if family == "move_near":
        others = {"catalogue": "pick_custom_v0"}
    if spec.name == "open_and_place":
        others = {"models": ("apple",)}
    stage = _STAGE[family]

    def variant(name: str, at: str = stage, **changes: object) -> Variant:
        return Variant(name, at, **(others | changes))  # type: ignore[arg-type]

    made = [
        variant("base"),
        *(variant(f"background_{i + 1}", at) for i, at in enumerate(_BACKGROUNDS[family])),
        variant("lighting_darker", lighting="darker"),
        variant("lighting_brighter", lighting="brighter"),
    ]
    if family in ("drawer", "place"):
        made += [variant(f"cabinet_{i}", station=f"mk_station{i + 1}") for i in (1, 2)]
    else:
        made += [variant(f"table_{i + 1}", at) for i, at in enumerate(_TABLES)]
        made += [variant(name, head_tilt=tilt) for name, tilt in CAMERA_TILTS.items()]
    if family == "grasp":
        made += [
            variant("distractors_less", distractors=LESS_DISTRACTORS),
            variant("distractors_more", distractors=MORE_DISTRACTORS),
        ]
    if family == "move_near":
        made.append(variant("no_distractors", without_distractor=True))
    return {each.name: each for each in made}


def variants_of(task: str) -> tuple[str, ...]:
    """Names of the variants of a task, visual matching first."""
    return (VISUAL_MATCHING, *_aggregation(task_spec(task)))


def variant_of(spec: TaskSpec, name: str) -> Variant:
    """The variant `name` of a task.

    Raises: `UserError` naming the variants that the task has.
    """
    if name == VISUAL_MATCHING:
        return _matching(spec)
    variants = _aggregation(spec)
    if name not in variants:
        close = nearest(name, (VISUAL_MATCHING, *variants))
        raise UserError(f"task {spec.name} has no variant {name!r}.{close}")
    return variants[name]
