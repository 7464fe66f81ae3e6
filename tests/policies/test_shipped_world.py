"""The world model that comes with the package: whose policies it stands beside."""

from experiment.settings import ROOT
from policies.checkpoint import SHIPPED, shipped, shipped_world


def test_the_google_robots_policies_have_a_world_model_beside_them() -> None:
    world = ROOT / SHIPPED / "google_robot_world"
    for task in ("move_near", "open_and_place"):
        assert shipped_world(shipped(task)) == world


def test_a_robot_without_one_dreams_with_its_policy() -> None:
    policy = shipped("stack_cube")
    assert shipped_world(policy) == policy
