"""Batched kinematics against SAPIEN's Pinocchio model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import sapien
import torch
from numpy.typing import NDArray
from transforms3d.quaternions import mat2quat, qmult

import envs.simpler
from envs.simpler.robots.batched.kinematics import Chain, rotation_matrix
from envs.simpler.robots.joint_path import rotation_vector_to_quaternion

pytestmark = pytest.mark.simulator

Array = NDArray[np.float64]


@dataclass
class Arm:
    """A chain and the same arm as SAPIEN knows it."""

    chain: Chain
    model: Any
    link: int
    mask: Array
    qpos: Array

    def pose(self, qpos: Array) -> sapien.Pose:
        self.model.compute_forward_kinematics(qpos)
        return self.model.get_link_pose(self.link)

    def inverse(self, target: sapien.Pose, qpos: Array) -> tuple[Array, bool]:
        solution, reached, _ = self.model.compute_inverse_kinematics(
            self.link, target, initial_qpos=qpos, active_qmask=self.mask, max_iterations=100
        )
        return solution, reached

    def working_poses(self, count: int, rng: np.random.Generator) -> Array:
        """Joint positions `(count, n)` around the start of the tasks."""
        qpos = np.repeat(self.qpos[None], count, 0)
        columns = self.chain.columns.numpy()
        qpos[:, columns] += rng.normal(0.0, 0.3, (count, len(columns)))
        return qpos


@pytest.fixture(scope="module", params=["open_and_place", "spoon_on_towel"])
def arm(request: pytest.FixtureRequest) -> Iterator[Arm]:
    environment = envs.simpler.make(request.param, resolution=None)
    environment.reset(seed=0)
    robot = environment.scene.agent.robot._objs[0]
    link = environment.scene.gripper._objs[0]
    chain = Chain(robot, link, "cpu")
    mask = np.zeros(robot.dof, dtype=np.int32)
    mask[chain.columns.numpy()] = 1
    yield Arm(
        chain,
        robot.create_pinocchio_model(),
        robot.links.index(link),
        mask,
        robot.qpos.astype(np.float64),
    )
    environment.close()


def angles(arm: Arm, qpos: Array) -> torch.Tensor:
    return torch.tensor(qpos[..., arm.chain.columns.numpy()])


def test_forward_kinematics(arm: Arm) -> None:
    qpos = arm.working_poses(50, np.random.default_rng(0))
    poses = arm.chain.pose(angles(arm, qpos)).numpy()
    for row, pose in zip(qpos, poses, strict=True):
        expected = arm.pose(row).to_transformation_matrix()
        np.testing.assert_allclose(pose, expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize(("metres", "radians"), [(0.005, 0.02), (0.03, 0.1), (0.1, 0.3)])
def test_same_joints_and_same_failures_as_pinocchio(
    arm: Arm, metres: float, radians: float
) -> None:
    rng = np.random.default_rng(1)
    starts = arm.working_poses(250, rng)
    targets = []
    for start in starts:
        here = arm.pose(start)
        turn = rotation_vector_to_quaternion(rng.normal(0.0, radians, 3))
        targets.append(sapien.Pose(here.p + rng.normal(0.0, metres, 3), qmult(turn, here.q)))
    poses = torch.tensor(np.array([target.to_transformation_matrix() for target in targets]))
    found, reached = arm.chain.inverse(poses, angles(arm, starts))
    expected = [arm.inverse(target, start) for target, start in zip(targets, starts, strict=True)]
    assert reached.tolist() == [bool(ok) for _, ok in expected]
    assert 0.8 < reached.double().mean() <= 1.0
    solutions = angles(arm, np.array([solution for solution, _ in expected]))
    assert (found - solutions)[reached].abs().max() < 1e-4
    missed = (arm.chain.pose(found) - poses)[reached]
    assert missed.abs().max() < 2e-4


def test_far_targets_are_out_of_reach(arm: Arm) -> None:
    starts = arm.working_poses(20, np.random.default_rng(2))
    away = np.array([arm.pose(start).to_transformation_matrix() for start in starts])
    away[:, :3, 3] += [2.0, 0.0, 0.0]
    _, reached = arm.chain.inverse(torch.tensor(away), angles(arm, starts))
    assert not reached.any()
    assert not any(arm.inverse(sapien.Pose(a), s)[1] for a, s in zip(away, starts, strict=True))


def test_a_pose_already_reached_moves_nothing(arm: Arm) -> None:
    starts = angles(arm, arm.working_poses(5, np.random.default_rng(3)))
    found, reached = arm.chain.inverse(arm.chain.pose(starts), starts)
    assert reached.all()
    assert torch.equal(found, starts)


def test_rotation_vectors() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    vectors[0] = 0.0
    vectors[1] *= 1e-7
    for vector, matrix in zip(vectors.numpy(), rotation_matrix(vectors).numpy(), strict=True):
        quaternion = rotation_vector_to_quaternion(vector)
        assert abs(mat2quat(matrix) @ quaternion) == pytest.approx(1.0, abs=1e-12)
