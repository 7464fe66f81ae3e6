"""SIMPLER's tasks on ManiSkill 3 / SAPIEN 3: `make` a task by name, or `gymnasium.make` its id.

A script written for SimplerEnv needs its imports changed and no more: `envs.simpler.make(name)`
takes SIMPLER's names, and `get_image_from_maniskill2_obs_dict(env, obs)` gives the picture.
"""

# The simulator takes seconds to import, so `make` and `make_vec` do it: names, helps and asset
# commands do without.
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gymnasium
import numpy as np

from envs.simpler.tasks.registry import TASKS, TaskSpec, task_spec
from envs.simpler.tasks.variants import VISUAL_MATCHING, variant_of
from experiment.errors import UserError

if TYPE_CHECKING:
    from envs.simpler.environment import SimplerEnv
    from envs.simpler.vector import SimplerVectorEnv

ENVIRONMENTS = tuple(spec.simpler_name for spec in TASKS.values())
"""SIMPLER's own names of the 25 tasks."""

LARGEST_SIDE = 4096
"""Largest width and height (px); more is taken for a typing error."""

_PROCESSES = (
    "for several processes on CPUs use gymnasium.make_vec(id, num_envs, vectorization_mode='async')"
)

Resolution = tuple[int, int] | Literal["native"] | None


def make(
    task: str,
    assets: str = "primitives",
    asset_root: str | Path | None = None,
    resolution: Resolution = "native",
    simulation_frequency: int | None = None,
    variant: str = VISUAL_MATCHING,
    terminate_on_success: bool = True,
    render_mode: str | None = None,
) -> "SimplerEnv":
    """Make the task called `task` (our name or SIMPLER's) as a gymnasium environment.

    Args: `assets` is primitives or simpler (then `asset_root` names a copy of ManiSkill2_real2sim);
        `resolution` is (width, height) of the camera with the original's field of view, native for
        the original's size, None for no renderer at all; `simulation_frequency` in Hz, None for the
        original's; `variant` as in `variants_of(task)`; `terminate_on_success` ends an episode at
        its first success as SimplerEnv's environments do; `render_mode` is rgb_array or None, which
        mean the same: a resolution decides whether there are pictures.
    Raises: `UserError` for an unknown task, pack or variant, missing assets, an impossible
        resolution, frequency or render mode. Whether a device can draw is known at the first reset.
    """
    from envs.simpler.assets.choice import asset_pack
    from envs.simpler.environment import SimplerEnv
    from envs.simpler.scenes import SCENES

    spec = task_spec(task)
    size = _size(resolution, spec)
    frequency = spec.simulation_frequency if simulation_frequency is None else simulation_frequency
    if not isinstance(frequency, int) or frequency < 1 or frequency % spec.control_frequency:
        raise UserError(
            f"simulation_frequency must be a positive multiple of {spec.control_frequency} Hz, the "
            f"control frequency of {spec.name}; got {frequency}."
        )
    if render_mode not in (None, "rgb_array"):
        raise UserError(f"render_mode must be rgb_array; got {render_mode!r}.")
    if render_mode is not None and size is None:
        raise UserError(f"render_mode={render_mode} needs pictures: give a resolution.")
    root = None if asset_root is None else str(asset_root)
    asset_pack(assets, root)
    variant_of(spec, variant)
    build = partial(
        SCENES[spec.family],
        spec=spec,
        assets=assets,
        asset_root=root,
        resolution=size,
        simulation_frequency=frequency,
        variant=variant,
    )
    return SimplerEnv(spec, size, build, terminate_on_success)


def make_vec(
    task: str,
    num_envs: int,
    assets: str = "primitives",
    asset_root: str | Path | None = None,
    resolution: Resolution = None,
    variant: str = VISUAL_MATCHING,
    terminate_on_success: bool = True,
    sim_backend: str = "physx_cuda",
) -> "SimplerVectorEnv":
    """Make `num_envs` environments of a task in one GPU simulation.

    Args: as in `make`; `sim_backend` physx_cpu has one environment only.
    Raises: `UserError` as `make` does, and where there is no NVIDIA GPU.
    """
    import torch

    from envs.simpler.scenes import SCENES
    from envs.simpler.vector import SimplerVectorEnv

    spec = task_spec(task)
    if num_envs < 1 or (sim_backend == "physx_cpu" and num_envs > 1):
        raise UserError(
            f"num_envs must be positive, and 1 for sim_backend=physx_cpu; got {num_envs}: "
            f"{_PROCESSES}."
        )
    if sim_backend == "physx_cuda" and not torch.cuda.is_available():
        raise UserError(f"a batch of environments needs an NVIDIA GPU: {_PROCESSES}.")
    scene = SCENES[spec.family](
        spec=spec,
        assets=assets,
        asset_root=None if asset_root is None else str(asset_root),
        resolution=_size(resolution, spec),
        variant=variant,
        num_envs=num_envs,
        sim_backend=sim_backend,
        batched_control=True,
    )
    return SimplerVectorEnv(scene, terminate_on_success)


def _size(resolution: Resolution, spec: TaskSpec) -> tuple[int, int] | None:
    if resolution is None:
        return None
    if isinstance(resolution, str):
        if resolution != "native":
            raise UserError(f"resolution must be two whole numbers or native; got {resolution}.")
        from envs.simpler.robots.registry import ROBOTS

        return ROBOTS[spec.robot].camera_size
    size = list(resolution) if isinstance(resolution, Iterable) else [resolution]
    whole = all(isinstance(n, int | np.integer) and 1 <= n <= LARGEST_SIDE for n in size)
    if len(size) != 2 or not whole:
        raise UserError(
            f"resolution must be width and height in whole pixels, 1 to {LARGEST_SIDE} each; "
            f"got {size}."
        )
    return int(size[0]), int(size[1])


def get_image_from_maniskill2_obs_dict(
    env: gymnasium.Env[Any, Any], obs: Mapping[str, Any], camera_name: str | None = None
) -> np.ndarray:
    """The image uint8 (h, w, 3) in an observation; SimplerEnv's helper of that name.

    Args: `env` and `camera_name` are ignored (old scripts pass them): a task has one camera.
    Raises: `UserError` for an observation without a picture.
    """
    del env, camera_name
    if "image" not in obs:
        raise UserError("the observation has no picture: make the task with a resolution.")
    return np.asarray(obs["image"])


for _spec in TASKS.values():
    gymnasium.register(
        id=_spec.gym_id,
        entry_point="envs.simpler:make",
        kwargs={"task": _spec.name},
        disable_env_checker=True,
    )
