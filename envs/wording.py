"""Instructions in other words than those that a policy learned."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium

from experiment.errors import UserError


@dataclass  # not frozen: OmegaConf could not fill it inside of another
class Rule:
    """What to look for (a regular expression) and what to say instead (`\\1`: its first group)."""

    find: str
    say: str


@dataclass
class Wording:
    """Rules by name, applied in turn; `configs/wording`."""

    name: str
    rules: list[Rule]

    def __call__(self, instruction: str) -> str:
        """Return the instruction in these words; raises `UserError` where no rule fits."""
        said, fitting = instruction, 0
        for rule in self.rules:
            try:
                said, count = re.subn(rule.find, rule.say, said)
            except (re.error, IndexError) as error:
                raise UserError(
                    f"wording={self.name}: '{rule.find}' with '{rule.say}' cannot be used: {error}."
                ) from error
            fitting += count
        if not fitting:
            raise UserError(
                f"wording={self.name} has no rule for '{instruction}': add one to its file, or "
                "leave this task out."
            )
        return said


class Reworded(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Gives the instructions of `env` in other words; the task stays what it is."""

    def __init__(
        self, env: gymnasium.Env[Any, Any], name: str, rules: Sequence[dict[str, str]]
    ) -> None:
        super().__init__(env)
        self._wording = Wording(name, [Rule(**rule) for rule in rules])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        raw, info = self.env.reset(seed=seed, options=options)
        return raw, self._reworded(info)

    def step(self, action: Any) -> Any:
        *outcome, info = self.env.step(action)
        return *outcome, self._reworded(info)

    def _reworded(self, info: dict[str, Any]) -> dict[str, Any]:
        said = self._wording(str(info["instruction"]))
        return {**info, "instruction": said, "wording": self._wording.name}
