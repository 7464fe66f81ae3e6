"""The settings of a server, typed: `configs/serve.yaml` and what follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiment.address import Address
from experiment.errors import UserError
from experiment.settings import Description, typed
from policies.checkpoint import shipped
from policies.evaluation.settings import Task
from policies.serving.request import Keys
from worldmodel.training.checkpoint import checkpoint_folder


@dataclass  # not frozen: OmegaConf could not fill it inside of another
class Limits:
    """`request` and `idle` in s, `megabytes` of a frame, `clients` at once, `batch` of requests."""

    request: float
    idle: float
    megabytes: float
    clients: int
    batch: int

    def check(self) -> None:
        """Raise `UserError` for a limit that lets nothing through."""
        for name, value in vars(self).items():
            if not value > 0:
                raise UserError(f"limits.{name}={value} must be more than 0.")


@dataclass(frozen=True)
class ServeSettings:
    """What `configs/serve.yaml` says, setting by setting; `policy` is built."""

    task: Task
    policy: dict[str, Any]
    checkpoint: str | None
    host: str
    port: int
    with_state: bool
    keys: Keys
    limits: Limits

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "ServeSettings":
        """Check `values`; raises `UserError` naming the first setting that is off."""
        settings = typed(cls, values)
        settings.limits.check()
        _ = settings.address  # raises `UserError` for an impossible port
        return settings

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)

    def description(self) -> Description:
        """Return the policy to build, with its checkpoint looked up.

        Raises `UserError` for a checkpoint that is missing or means nothing to the policy.
        """
        if "checkpoint" in self.policy:
            given = self.checkpoint or self.policy["checkpoint"]
            folder = shipped(self.task.name) if given is None else checkpoint_folder(given)
            return self.policy | {"checkpoint": str(folder)}
        if self.checkpoint is not None:
            raise UserError(
                f"checkpoint={self.checkpoint} means nothing to this policy: leave it out, "
                "or use policy=checkpoint."
            )
        return self.policy
