"""The batched control modes: in the real scenes, and on a stand-in for a GPU simulation."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import envs.simpler
from envs.simpler.robots.batched.agents import batched
from envs.simpler.robots.batched.combined import CombinedBatchedController
from envs.simpler.robots.controller import VELOCITY_WINDOW

pytestmark = pytest.mark.simulator

Array = NDArray[np.float64]
TASKS = ("open_and_place", "spoon_on_towel")
STEPS = 40


def smooth_actions(seed: int) -> NDArray[np.float32]:
    """Actions `(40, 7)` that wander through free space; the fingers move without touching."""
    rng = np.random.default_rng(seed)
    actions = np.zeros((STEPS, 7), dtype=np.float32)
    motion = np.zeros(6)
    for step in range(STEPS):
        motion = 0.7 * motion + 0.3 * rng.normal(size=6) * ([0.02] * 3 + [0.07] * 3)
        actions[step, :6] = motion
    actions[:, 2] += 0.003
    number = np.arange(STEPS)
    actions[:, 6] = np.where(number % 10 < 5, 0.12, -0.12) * (number % 3 > 0)
    return actions


def rollout(environment: Any, actions: NDArray[np.float32]) -> Array:
    environment.reset(seed=0)
    rows = []
    for action in actions:
        *_, info = environment.step(action)
        rows.append(list(info["privileged"]["qpos"].values()))
    return np.array(rows)


def made(task: str, in_batches: bool) -> Any:
    environment = envs.simpler.make(task, resolution=None)
    scene = environment.scene
    if in_batches:
        scene.robot_kind = replace(scene.robot_kind, agent=batched(scene.robot_kind.agent))
    return environment


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_of_one_moves_as_the_single_environment(task: str) -> None:
    sequences = [smooth_actions(seed) for seed in range(2)]
    runs = []
    for in_batches in (False, True):
        environment = made(task, in_batches)
        runs.append([rollout(environment, actions) for actions in sequences])
        controller = environment.scene.agent.controller
        assert isinstance(controller, CombinedBatchedController) == in_batches
        environment.close()
    single, batch = np.array(runs)
    assert np.ptp(single, axis=1).max() > 0.1
    np.testing.assert_allclose(batch, single, rtol=0, atol=1e-3)


def test_an_unreachable_target_freezes_the_arm() -> None:
    environment = made("open_and_place", in_batches=True)
    environment.reset(seed=0)
    *_, before = environment.step(np.zeros(7, np.float32))
    *_, after = environment.step(np.array([1, 1, 1, 0, 0, 0, 0], np.float32))
    environment.close()
    moved = np.subtract(
        list(after["privileged"]["qpos"].values()), list(before["privileged"]["qpos"].values())
    )
    assert np.abs(moved).max() < 5e-3


# ---- a stand-in for a GPU simulation: its tables, and drives without a lag ----

ROWS = (4, 1, 2)
"""Where the robots of three environments are in the tables; the rest is other articulations."""
ELSEWHERE = 7.0


class Table:
    def __init__(self, values: torch.Tensor) -> None:
        self.values = values

    def torch(self) -> torch.Tensor:
        return self.values


class Px:
    """What the controllers use of PhysX on a GPU; nothing is true before it is applied."""

    def __init__(self, qpos: torch.Tensor, frequency: int) -> None:
        self.timestep = 1.0 / frequency
        self.cuda_articulation_target_qpos = Table(torch.full((6, 14), ELSEWHERE))
        self.cuda_articulation_target_qvel = Table(torch.full((6, 14), ELSEWHERE))
        self.fetched = torch.full((6, 14), ELSEWHERE)
        self.fetched[list(ROWS), : qpos.shape[1]] = qpos
        self.actual = self.fetched.clone()
        self.target, self.velocity = self.actual.clone(), torch.zeros(6, 14)
        self.applied = self.fetches = 0

    def gpu_apply_articulation_target_position(self) -> None:
        self.target = self.cuda_articulation_target_qpos.values.clone()
        self.applied += 1

    def gpu_apply_articulation_target_velocity(self) -> None:
        self.velocity = self.cuda_articulation_target_qvel.values.clone()

    def gpu_fetch_articulation_qpos(self) -> None:
        self.fetched.copy_(self.actual)
        self.fetches += 1

    def step(self) -> None:
        self.actual[list(ROWS)] = self.target[list(ROWS)]


class Stage:
    """Robots in three environments of the stand-in, driven by the batched controller."""

    def __init__(self, agent: Any, which: tuple[int, ...] = (0, 1, 2)) -> None:
        robot, spec = agent.robot, agent.scene
        start = robot.get_qpos().repeat(3, 1)
        start[:, :-2] += torch.tensor([[0.0], [0.05], [-0.1]])  # all but the fingers
        self.px = Px(start, round(1 / spec.timestep))
        self.rows = torch.tensor([ROWS[i] for i in which], dtype=torch.int32)
        scene = SimpleNamespace(
            num_envs=len(which),
            device=torch.device("cpu"),
            gpu_sim_enabled=True,
            _reset_mask=torch.ones(len(which), dtype=torch.bool),
        )
        articulation = SimpleNamespace(
            scene=scene,
            px=self.px,
            device=scene.device,
            _objs=robot._objs,
            links_map=robot.links_map,
            active_joints=robot.active_joints,
            get_active_joints=robot.get_active_joints,
            get_qpos=lambda: self.px.fetched[self.rows][:, : start.shape[1]],
        )
        config = next(iter(agent._controller_configs.values()))
        self.frequency = agent._control_freq
        self.controller = CombinedBatchedController(
            config, articulation, self.frequency, scene=scene
        )
        # Rows are known from `gpu_init` on, which is after controllers are made.
        articulation._data_index = self.rows
        self.controller.reset()

    def control_step(self, actions: torch.Tensor) -> torch.Tensor:
        """All simulation steps of a control step: applied targets `(s, 3, 14)`."""
        self.controller.set_action(actions)
        targets = []
        for _ in range(round(1 / self.px.timestep) // self.frequency):
            self.controller.before_simulation_step()
            self.px.step()
            targets.append(self.px.target[self.rows])
        self.px.gpu_fetch_articulation_qpos()
        return torch.stack(targets)


@pytest.fixture(scope="module", params=TASKS)
def agent(request: pytest.FixtureRequest) -> Iterator[Any]:
    environment = made(request.param, in_batches=True)
    environment.reset(seed=0)
    yield environment.scene.agent
    environment.close()


def actions_for_three(count: int) -> torch.Tensor:
    rows = np.stack([smooth_actions(seed) for seed in (5, 6, 7)], 1)
    return torch.tensor(rows[:count] * np.array([[1.0], [2.0], [0.5]], np.float32))


def test_each_environment_is_driven_as_if_it_were_alone(agent: Any) -> None:
    actions = actions_for_three(4)
    together = Stage(agent)
    driven = [together.control_step(action) for action in actions]
    for number in range(3):
        alone = Stage(agent, (number,))
        for action, expected in zip(actions, driven, strict=True):
            targets = alone.control_step(action[number : number + 1])
            torch.testing.assert_close(targets[:, 0], expected[:, number], rtol=0, atol=1e-6)


def plans_paths(stage: Stage) -> bool:
    """Whether a control step is a path (Google's robot) or one target (the WidowX)."""
    return len(stage.controller.controllers["arm"].path) > 1


def test_targets_are_applied_before_every_simulation_step(agent: Any) -> None:
    stage, actions = Stage(agent), actions_for_three(2)
    stage.control_step(actions[0])
    applied, fetches = stage.px.applied, stage.px.fetches
    targets = stage.control_step(actions[1])
    moved = (targets[1:] - targets[:-1]).abs().amax((1, 2)) > 0
    if plans_paths(stage):
        assert stage.px.applied - applied == len(targets) == 171
        assert stage.px.fetches - fetches == 2  # for the window, and at the end
        assert moved.sum() > 100
        velocities = stage.px.velocity[stage.rows][:, : agent.robot.max_dof]
        fingers = agent.controller.controllers["gripper"].active_joint_indices.tolist()
        arm = agent.controller.controllers["arm"].active_joint_indices.tolist()
        assert (velocities[:, fingers] != 0).any()
        assert (velocities[:, arm] == 0).all()
    else:
        assert stage.px.applied - applied == 1
        assert not moved.any()
    others = [row for row in range(len(stage.px.target)) if row not in ROWS]
    assert (stage.px.target[others] == ELSEWHERE).all()


def test_resetting_one_environment_leaves_the_others_on_their_way(agent: Any) -> None:
    actions = actions_for_three(5)
    undisturbed, stage = Stage(agent), Stage(agent)
    for action in actions[:3]:
        undisturbed.control_step(action)
        stage.control_step(action)
    home = Stage(agent).px.fetched[ROWS[1]]
    stage.px.actual[ROWS[1]] = home
    stage.px.gpu_fetch_articulation_qpos()
    # As ManiSkill does: its own mask says all again when it resets the controllers.
    before = stage.px.target.clone()
    stage.controller.will_reset(torch.tensor([False, True, False]))
    stage.controller.reset()
    others = [row for row in range(len(before)) if row != ROWS[1]]
    assert torch.equal(stage.px.target[others], before[others])
    dof = agent.robot.max_dof
    torch.testing.assert_close(stage.px.target[ROWS[1], :dof], home[:dof], rtol=0, atol=1e-6)
    fresh = Stage(agent)
    for action in actions[3:]:
        expected, begun = undisturbed.control_step(action), fresh.control_step(action)
        targets = stage.control_step(action)
        assert torch.equal(targets[:, [0, 2]], expected[:, [0, 2]])
        torch.testing.assert_close(targets[:, 1], begun[:, 1], rtol=0, atol=1e-6)


def test_the_start_velocity_is_that_of_the_last_simulation_steps(agent: Any) -> None:
    stage = Stage(agent)
    gripper = stage.controller.controllers["gripper"]
    actions = torch.zeros(3, 7)
    actions[:, 6] = torch.tensor([0.12, 0.15, 0.2])  # not at their limit when it ends
    targets = stage.control_step(actions)
    if not plans_paths(stage):
        assert (gripper.path_velocity == 0).all()
        return
    fingers = gripper.active_joint_indices.tolist()
    window = (targets[-1] - targets[-1 - VELOCITY_WINDOW])[:, fingers]
    assert (window > 1e-3).all()
    stage.controller.set_action(actions)
    expected = window / (VELOCITY_WINDOW * stage.px.timestep)
    torch.testing.assert_close(gripper.path_velocity[0].float(), expected, rtol=0, atol=1e-3)


def test_a_robot_tells_its_controller_whom_a_reset_is_for(
    agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = torch.tensor([False])
    monkeypatch.setattr(agent.scene, "_reset_mask", mask)
    targets = agent.controller._members[0].target_positions.clone()
    agent.reset()
    monkeypatch.setattr(agent.scene, "_reset_mask", torch.tensor([True]))
    monkeypatch.setattr(agent.controller._drives, "write", lambda *_: None)
    agent.controller._members[0].target_positions += 1.0
    agent.controller.reset()
    assert torch.equal(agent.controller._members[0].target_positions, targets + 1.0)
    agent.controller.reset()
    assert not torch.equal(agent.controller._members[0].target_positions, targets + 1.0)
