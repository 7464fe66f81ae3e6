"""The toy world with the arguments of `envs.simpler.make`, for the command line."""

from tests.envs.toy import ToyEnv


def make(task: str, assets: str, asset_root: str | None, resolution: list[int]) -> ToyEnv:
    """Make the toy world whatever the task."""
    return ToyEnv((resolution[0], resolution[1]))
