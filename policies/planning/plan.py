"""The settings of planning, which need no torch."""

from dataclasses import dataclass

from experiment.errors import UserError

_MOST = 256


@dataclass  # not frozen: OmegaConf could not fill it inside of another
class Plan:
    """`candidates` chunks are compared by the `value` (a run of policies.value); 1: none are."""

    candidates: int = 1
    value: str | None = None

    def check(self) -> "Plan":
        """Return the plan itself; raises `UserError` for an impossible one."""
        if not 1 <= self.candidates <= _MOST:
            raise UserError(
                f"plan.candidates={self.candidates} must be at least 1 and at most {_MOST}."
            )
        if self.candidates > 1 and self.value is None:
            raise UserError("plan.value: name a run of python -m policies.value.")
        if self.candidates == 1 and self.value is not None:
            raise UserError(f"plan.value={self.value} chooses nothing: set plan.candidates.")
        return self
