"""Another look in every episode, so that a policy cannot rely on any."""

from typing import Any

import gymnasium
import numpy as np

from experiment.errors import UserError


class RandomLooks(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Domain randomisation of what is seen (`envs.simpler.scenes.looks`); nothing else changes."""

    def __init__(self, env: gymnasium.Env[Any, Any], scale: float) -> None:
        """Args: `scale` of all changes, 0 for none to 1."""
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 <= scale <= 1:
            raise UserError(f"randomisation={scale}: give a number from 0 (none) to 1.")
        super().__init__(env)
        self.scale = float(scale)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset; the look of the episode follows from `seed`."""
        from envs.simpler.scenes.looks import dress  # the simulator takes seconds to import

        raw, info = self.env.reset(seed=seed, options=options)
        if "image" in raw:
            task: Any = self.env.unwrapped
            generator = np.random.default_rng(None if seed is None else [seed, 6])
            dress(task.scene, generator, self.scale)
            raw = raw | {"image": task.render()}
        return raw, info
