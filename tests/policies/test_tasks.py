"""The task files agree with the tables of the tasks and of the published lists."""

from pathlib import Path

import pytest
import yaml

from envs.simpler.tasks.registry import TASKS
from policies.evaluation.protocol import Protocol, episodes
from policies.evaluation.published import GRID_POSITIONS, visual_matching

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "task"


def task_file(name: str) -> dict[str, object]:
    found = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    assert isinstance(found, dict)
    return found


def test_every_task_has_a_file() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {"all", *TASKS}


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_file_says_what_the_registry_says(name: str) -> None:
    spec, found = TASKS[name], task_file(name)
    found.pop("reference", None)
    assert found == {
        "name": name,
        "robot": spec.robot_type,
        "robot_poses": list(spec.robot_poses),
        "layouts": spec.layouts,
    }


def test_the_grid_of_a_task_is_the_one_of_visual_matching() -> None:
    places: dict[str, set[object]] = {}
    for task, _, options in visual_matching():
        if "object_xy" in options:
            places.setdefault(task, set()).add(options["object_xy"])
    for task, positions in places.items():
        assert set(GRID_POSITIONS[task]) == positions
    chosen = episodes(Protocol("grid", ["a0", "b0", "c0"]), "open_and_place", 27)
    assert len({(e.robot_pose, e.object_xy) for e in chosen}) == 27
    assert chosen[3].object_xy == (-0.08, 0.03)
