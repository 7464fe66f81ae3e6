"""The batched face and the batched contact queries, on the CPU's one environment."""

from typing import Any, cast

import numpy as np
import pytest
import torch

import envs.simpler
from envs.simpler.scenes.body_contacts import BodyContacts
from envs.simpler.scenes.contacts import Contacts
from envs.simpler.tasks.registry import task_spec
from envs.simpler.vector import SimplerVectorEnv
from experiment.errors import UserError
from policies.contract import Observation
from policies.experts.grasp import GraspExpert
from policies.experts.registry import make_expert

pytestmark = pytest.mark.simulator


@pytest.fixture(scope="module")
def batch() -> Any:
    made = envs.simpler.make_vec("pick_standing_coke_can", 1, sim_backend="physx_cpu")
    yield made
    made.close()


def test_a_batch_of_one_is_the_single_environment(batch: SimplerVectorEnv) -> None:
    actions = np.random.default_rng(0).normal(0.0, 0.03, (8, 7)).astype(np.float32)
    single = envs.simpler.make("pick_standing_coke_can", resolution=None)
    one, info = single.reset(seed=3)
    many, _ = batch.reset(seed=[3])
    np.testing.assert_allclose(many["state"][0], one["state"], atol=1e-6)
    for action in actions:
        one, reward, terminated, truncated, info = single.step(action)
        many, rewards, ends, cuts, _ = batch.step(action[None])
        assert (rewards[0], ends[0], cuts[0]) == (reward, terminated, truncated)
    single.close()
    np.testing.assert_allclose(many["state"][0], one["state"], atol=1e-4)
    other = batch.infos()[0]
    assert other["instruction"] == info["instruction"]
    assert other["elapsed_steps"] == len(actions)
    np.testing.assert_allclose(
        other["privileged"]["object_pose_world"], info["privileged"]["object_pose_world"], atol=1e-5
    )


def test_an_expert_succeeds_in_a_batch_and_its_contacts_are_known_per_body(
    batch: SimplerVectorEnv,
) -> None:
    """Per body and per shape must agree at every step, on a can that is gripped and lifted."""
    expert = cast(GraspExpert, make_expert("pick_standing_coke_can"))
    observations, _ = batch.reset(seed=5)
    scene = batch.scene
    can, links = scene.objects[0], scene.links
    fingers = [link for finger in scene.fingers for link in finger]
    expert.reset(batch.infos()[0]["instruction"], 5)
    gripped = lifted = 0
    for step in range(scene.task.max_steps):
        info = batch.infos()[0]
        seen = Observation(None, observations["state"][0], "", step, info["privileged"])
        action = expert.act(seen)[0]
        if expert.done:
            break
        observations, *_ = batch.step(action[None])
        shapes = Contacts(scene.scene.px.get_contacts())
        bodies = BodyContacts(scene.scene)
        for finger in fingers:
            np.testing.assert_allclose(
                bodies.between(finger, can), shapes.between(finger, can), atol=1e-6
            )
        assert torch.equal(bodies.touched(can, links), shapes.touched(can, links))
        others = shapes.touched_by_others(can, links)
        assert torch.equal(bodies.touched_by_others(can, links), others)
        gripped += int(shapes.touched(can, fingers))
        lifted += int(not others)
    assert batch.infos()[0]["success"]
    assert gripped > 3
    assert lifted > 1


def test_actions_of_another_shape_are_refused(batch: SimplerVectorEnv) -> None:
    batch.reset(seed=0)
    with pytest.raises(UserError, match=r"actions must be \(1, 7\)"):
        batch.step(np.zeros((2, 7)))


@pytest.mark.parametrize(("count", "backend"), [(0, "physx_cuda"), (2, "physx_cpu")])
def test_impossible_batches_are_refused(count: int, backend: str) -> None:
    with pytest.raises(UserError, match="num_envs must be positive"):
        envs.simpler.make_vec("open_drawer", count, sim_backend=backend)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_a_batch_is_refused() -> None:
    with pytest.raises(UserError, match="needs an NVIDIA GPU"):
        envs.simpler.make_vec("open_drawer", 4)


@pytest.mark.parametrize("task", ["open_drawer", "move_near", "pick_object", "stack_cube"])
def test_on_a_gpu_an_environment_keeps_its_objects_through_resets(task: str) -> None:
    """`keeping` turns any draw into one that a scene built for another draw can hold."""
    from envs.simpler.assets.catalogues import CATALOGUES
    from envs.simpler.tasks.start import draw_start, keeping
    from envs.simpler.tasks.variants import variant_of

    spec = task_spec(task)
    variant = variant_of(spec, "visual_matching")
    catalogue = CATALOGUES[spec.catalogue]
    built = draw_start(0, spec, variant, {}, catalogue)
    positions = set()
    for seed in range(1, 9):
        drawn = draw_start(seed, spec, variant, {}, catalogue)
        kept = draw_start(seed, spec, variant, keeping(spec, drawn, built), catalogue)
        assert kept.layout.models == built.layout.models
        assert kept.coloring == built.coloring
        positions.add(str((kept.layout.positions, kept.drawer)))
    assert len(positions) > 1
