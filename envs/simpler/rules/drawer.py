"""Rules of the cabinet: move a drawer, and open a drawer to put an object into it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.simpler.rules.base import CONTACT_IMPULSE, REST_SPEED, Report, Rule

OPEN = 0.15
STILL_OPEN = 0.05
CLOSED = 0.05


@dataclass
class DrawerState:
    """position: of the drawer's joint `(b,)`, m."""

    position: Tensor


class MoveDrawer(Rule):
    """Open (at least 0.15 m) or close (at most 0.05 m) a drawer. Strict success is the same."""

    def __init__(self, goal: str, batch: int = 1, device: torch.device | str = "cpu") -> None:
        """Args: `goal` is open or close."""
        super().__init__(batch, device)
        self.opening = goal == "open"
        self._position = torch.zeros(batch, device=self.device)

    def update(self, state: DrawerState) -> Tensor:
        self._position = state.position
        done = state.position >= OPEN if self.opening else state.position <= CLOSED
        return self._judge(done, done, qpos=state.position)

    @property
    def statistics(self) -> Report:
        return {"qpos": self._position}


@dataclass
class PlaceState:
    """What one control step ends with, all `(b,)`.

    position: of the drawer's joint (m). impulse: norm of the summed impulse between the object and
    the drawer's bottom panel (N s). inside: the object's centre is in the drawer. released: nothing
    of the robot touches the object. speed: of the object (m/s).
    """

    position: Tensor
    impulse: Tensor
    inside: Tensor
    released: Tensor
    speed: Tensor


class PlaceInDrawer(Rule):
    """Open the drawer, then put the object into it.

    The first subtask ends when `advance` is called, or by force: the step after `forced_step`
    control steps is the first of the second subtask. Contacts with the bottom panel add up over the
    episode, also before the second subtask; success requires the second subtask, a drawer still
    5 cm open and one contact at any time. Strict: the drawer was opened 15 cm, and the object
    rests in it, let go.
    """

    subtasks = 2

    def __init__(
        self, forced_step: int, batch: int = 1, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(batch, device)
        self.forced_step = forced_step
        self.opened = self._remembered(self._no())
        self.contacts = self._remembered(self._zeros())
        self._position = torch.zeros(batch, device=self.device)

    def advance(self, index: Tensor | None = None) -> None:
        """Advance to the second subtask (placing), in environments `index` (all if None)."""
        self.subtask[slice(None) if index is None else index] = 1

    def before_step(self) -> None:
        """Call before every control step: forces the second subtask when its time has come."""
        self.subtask[self.elapsed_steps >= self.forced_step] = 1
        super().before_step()

    def update(self, state: PlaceState) -> Tensor:
        self._position = state.position
        self.opened |= state.position >= OPEN
        self.contacts += state.impulse > CONTACT_IMPULSE
        success = (self.subtask == 1) & (state.position >= STILL_OPEN) & (self.contacts >= 1)
        resting = state.inside & state.released & (state.speed < REST_SPEED)
        return self._judge(success, success & self.opened & resting)

    @property
    def statistics(self) -> Report:
        return {
            "qpos": self._position,
            "is_drawer_open": self.opened,
            "has_contact": self.contacts,
        }
