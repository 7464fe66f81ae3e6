"""Questions about the contacts of the last simulation step (SAPIEN's own objects, CPU)."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.simpler.success import CONTACT_IMPULSE


def impulse(contact: Any) -> NDArray[np.float64]:
    """Sum over a contact's points `(3,)`, N s, as it acts on the contact's first body."""
    return np.sum([point.impulse for point in contact.points], axis=0, initial=0.0)


def impulse_on_shape(
    contacts: Iterable[Any], body: Any, other: Any, shape: Any
) -> NDArray[np.float64]:
    """Summed impulse `(3,)` (N s) on `body` from the collision `shape` of body `other`."""
    total = np.zeros(3)
    for contact in contacts:
        if shape in contact.shapes and {body, other} == set(contact.bodies):
            sign = 1.0 if contact.bodies[0] == body else -1.0
            total += sign * impulse(contact)
    return total


def touches(contacts: Iterable[Any], body: Any, others: Iterable[Any]) -> bool:
    """Whether any of `others` presses on `body`."""
    known = set(others)
    return any(
        body in contact.bodies
        and known.intersection(contact.bodies)
        and np.linalg.norm(impulse(contact)) > CONTACT_IMPULSE
        for contact in contacts
    )


def press_on_each_other(contacts: Iterable[Any], bodies: Iterable[Any]) -> bool:
    """Whether two of `bodies` press on each other."""
    known = set(bodies)
    return any(
        known.issuperset(contact.bodies) and np.linalg.norm(impulse(contact)) > CONTACT_IMPULSE
        for contact in contacts
    )
