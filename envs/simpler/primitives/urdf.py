"""Links and joints as plain numbers, and the URDF text made of them.

Only boxes, cylinders and spheres. Lengths in metres, angles in radians, masses in kilograms; a
cylinder's axis is z of its own frame. Fixed joints carry neither axis nor limits: robot kinematics
readers refuse the infinite limits that the original has on its fixed wheels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

Vector = tuple[float, float, float]
Color = tuple[float, float, float]

ZERO: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Shape:
    """One primitive of a link, in the link's frame.

    size: (x, y, z) edge lengths of a box, (radius, length) of a cylinder, (radius,) of a sphere.
    color: a key of the palette, or "" for a shape that is not drawn.
    solid: whether it collides.
    """

    size: tuple[float, ...]
    xyz: Vector = ZERO
    color: str = ""
    solid: bool = True
    rpy: Vector = ZERO

    def geometry(self) -> ElementTree.Element:
        element = ElementTree.Element("geometry")
        if len(self.size) == 3:
            ElementTree.SubElement(element, "box", size=_text(self.size))
        elif len(self.size) == 2:
            radius, length = self.size
            ElementTree.SubElement(element, "cylinder", radius=_text(radius), length=_text(length))
        else:
            ElementTree.SubElement(element, "sphere", radius=_text(self.size[0]))
        return element


@dataclass(frozen=True)
class Inertial:
    """Mass, centre of mass, and the tensor about it: ixx, ixy, ixz, iyy, iyz, izz (kg m^2)."""

    mass: float
    xyz: Vector
    tensor: tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Link:
    """A body; without `inertial` its mass follows from its solid shapes at 1000 kg/m^3."""

    name: str
    inertial: Inertial | None = None
    shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class Joint:
    """Joint of `child` to `parent`; fixed without `axis`, prismatic or revolute with it."""

    name: str
    parent: str
    child: str
    xyz: Vector = ZERO
    rpy: Vector = ZERO
    axis: Vector | None = None
    limits: tuple[float, float] = (0.0, 0.0)
    kind: str = "revolute"


def render(
    name: str,
    links: Sequence[Link],
    joints: Sequence[Joint],
    palette: Mapping[str, Color] | None,
) -> str:
    """URDF text of a robot called `name`; `palette` maps colour names to linear rgb in [0, 1].

    Without a palette nothing is drawn: SAPIEN's loader cannot make a colour on a machine that has
    no rendering device, not even for a simulation without pictures.

    Raises: KeyError for a shape whose colour is not in the palette.
    """
    robot = ElementTree.Element("robot", name=name)
    for link in links:
        robot.append(_link(link, palette))
    for joint in joints:
        robot.append(_joint(joint))
    ElementTree.indent(robot)
    return ElementTree.tostring(robot, encoding="unicode") + "\n"


def _link(link: Link, palette: Mapping[str, Color] | None) -> ElementTree.Element:
    element = ElementTree.Element("link", name=link.name)
    if link.inertial is not None:
        inertial = ElementTree.SubElement(element, "inertial")
        ElementTree.SubElement(inertial, "mass", value=_text(link.inertial.mass))
        inertial.append(_origin(link.inertial.xyz, ZERO))
        names = ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")
        values = {key: _text(v) for key, v in zip(names, link.inertial.tensor, strict=True)}
        ElementTree.SubElement(inertial, "inertia", attrib=values)
    for shape in link.shapes:
        if shape.color and palette is not None:
            visual = ElementTree.SubElement(element, "visual")
            visual.append(_origin(shape.xyz, shape.rpy))
            visual.append(shape.geometry())
            # Materials of one name are one material to URDF readers, so names are the colours'.
            material = ElementTree.SubElement(visual, "material", name=shape.color)
            ElementTree.SubElement(material, "color", rgba=_text((*palette[shape.color], 1.0)))
        if shape.solid:
            collision = ElementTree.SubElement(element, "collision")
            collision.append(_origin(shape.xyz, shape.rpy))
            collision.append(shape.geometry())
    return element


def _joint(joint: Joint) -> ElementTree.Element:
    kind = "fixed" if joint.axis is None else joint.kind
    element = ElementTree.Element("joint", name=joint.name, type=kind)
    element.append(_origin(joint.xyz, joint.rpy))
    ElementTree.SubElement(element, "parent", link=joint.parent)
    ElementTree.SubElement(element, "child", link=joint.child)
    if joint.axis is not None:
        lower, upper = joint.limits
        ElementTree.SubElement(element, "axis", xyz=_text(joint.axis))
        # Readers require effort and velocity; the simulator uses neither (the drives have limits).
        ElementTree.SubElement(
            element, "limit", lower=_text(lower), upper=_text(upper), effort="10", velocity="2"
        )
    return element


def _origin(xyz: Vector, rpy: Vector) -> ElementTree.Element:
    return ElementTree.Element("origin", xyz=_text(xyz), rpy=_text(rpy))


def _text(values: float | Sequence[float]) -> str:
    sequence = values if isinstance(values, Sequence) else (values,)
    return " ".join(repr(float(value)) for value in sequence)
