"""The success rule of "open the drawer, put the object into it", on plain numbers.

It knows nothing of the simulator, so recorded states of the original can be fed to it.
"""

from dataclasses import dataclass, field

DRAWER_OPEN = 0.15
DRAWER_STILL_OPEN = 0.05
CONTACT_IMPULSE = 1e-6
REST_SPEED = 0.05


@dataclass
class DrawerState:
    """What one control step ends with.

    drawer: position of the drawer's joint (m). contact_impulse: norm of the summed impulse between
    the object and the drawer's bottom panel (N s). inside: the object's centre is in the drawer.
    released: nothing of the robot touches the object. speed: of the object (m/s).
    """

    drawer: float
    contact_impulse: float
    inside: bool = False
    released: bool = False
    speed: float = 0.0


@dataclass
class PlaceInDrawer:
    """Episode statistics of SIMPLER's rule, and a stricter reading of the same task.

    The first subtask ends when `advance` is called, or by force: the step after `forced_step`
    control steps is the first of the second subtask.
    """

    forced_step: int
    subtask: int = 0
    drawer_opened: bool = False
    contacts: int = 0
    success: bool = False
    success_ever: bool = False
    success_strict: bool = False
    elapsed_steps: int = field(default=0)

    def advance(self) -> None:
        """Go on to the second subtask (placing)."""
        self.subtask = 1

    def before_step(self) -> None:
        """Call before every control step: forces the second subtask when its time has come."""
        if self.elapsed_steps >= self.forced_step:
            self.advance()
        self.elapsed_steps += 1

    def update(self, state: DrawerState) -> bool:
        """Take in the end of a control step; returns SIMPLER's success at this step.

        Contacts with the bottom panel add up over the episode, also before the second subtask;
        success asks for the second subtask, a drawer still 5 cm open and one contact at any time.
        Strict success is sticky: the drawer was opened 15 cm, and the object rests in it, let go.
        """
        self.drawer_opened = self.drawer_opened or state.drawer >= DRAWER_OPEN
        self.contacts += state.contact_impulse > CONTACT_IMPULSE
        self.success = (
            self.subtask == 1 and state.drawer >= DRAWER_STILL_OPEN and self.contacts >= 1
        )
        self.success_ever = self.success_ever or self.success
        self.success_strict = self.success_strict or (
            self.success
            and self.drawer_opened
            and state.inside
            and state.released
            and state.speed < REST_SPEED
        )
        return self.success
