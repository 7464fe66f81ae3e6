"""Domain randomisation (Tobin et al., 2017): another look for a scene that has been reset.

Drawn are the colours of the surroundings and of furniture, lights, the camera's place and focal
length, and a picture behind robot and objects; what an instruction may name keeps its hue.
"""

import colorsys
from collections.abc import Iterable
from typing import Any

import numpy as np
import sapien
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from transforms3d.euler import euler2quat

from envs.simpler.robots.camera import CAMERA
from envs.simpler.scenes.rendering import Overlay
from envs.simpler.scenes.scene import SimplerScene

Colour = tuple[float, float, float]

# Standard deviations at scale 1: shift (m), turn (rad) and focal length (share) of the camera.
CAMERA_SHIFT, CAMERA_TURN, CAMERA_FOCAL = 0.007, 0.01, 0.015
# Of the logarithms of a surface's brightness and saturation; of its hue (turns).
BRIGHTNESS, SATURATION, HUE = 0.3, 0.4, 0.03
# Of the logarithm of a light's strength; of its angle (rad).
LIGHT, LIGHT_TURN = 0.35, 0.3
GREY = 0.15
"""Up to this saturation a surface has no hue of its own, and may be given a little of any."""
# Shares of the episodes with nothing behind but the stage, and with no stage at all.
STAGE_ALONE, PICTURE_ALONE = 0.3, 0.4


def dress(scene: SimplerScene, generator: np.random.Generator, scale: float) -> None:
    """Give `scene`, one environment on the CPU, a look drawn from `generator` until its next reset.

    Args: `scale` of all changes, 0 to 1. A photograph that is behind the scene stays.
    """
    _paint(scene, generator, scale)
    _light(scene, generator, scale)
    _move_camera(scene, generator, scale)
    if scene.photographs.overlays[0] is None and scene.resolution is not None:
        width, height = scene.resolution
        picture = pattern(generator, width, height)
        kind = generator.random()
        opacity = 0.0 if kind < STAGE_ALONE else generator.random()
        opacity = 1.0 if kind > 1.0 - PICTURE_ALONE else opacity
        scene.photographs.overlays[0] = Overlay(picture, width, height, scale * opacity)


def _paint(scene: SimplerScene, generator: np.random.Generator, scale: float) -> None:
    named = [item._objs[0] for item in scene.objects]
    named += [link._objs[0].entity for link in scene.links]
    around = [each for each in scene.scene.sub_scenes[0].entities if each not in named]
    anew: dict[Colour, Colour] = {}  # what had one colour keeps one
    for material, before in materials(around):
        if before not in anew:
            weight = scale * generator.uniform(0.3, 1.0)
            anew[before] = _mixed(before, _any_colour(generator), weight)
        material.base_color = [*anew[before], 1.0]
    anew = {}
    for material, before in materials(named):
        if before not in anew:
            anew[before] = _varied(before, generator, scale)
        material.base_color = [*anew[before], 1.0]


def materials(entities: Iterable[Any]) -> list[tuple[Any, Colour]]:
    """Return every material of `entities` and its colour (linear rgb)."""
    found = []
    for entity in entities:
        body = entity.find_component_by_type(sapien.render.RenderBodyComponent)
        for shape in body.render_shapes if body is not None else ():
            for part in shape.parts:
                red, green, blue, _ = map(float, part.material.base_color)
                found.append((part.material, (red, green, blue)))
    return found


def _any_colour(generator: np.random.Generator) -> Colour:
    hue, saturation, root = generator.uniform((0.0, 0.0, 0.1), (1.0, 0.6, 0.95))
    return colorsys.hsv_to_rgb(hue, saturation, root**2)  # linear: even to the eye


def _mixed(one: Colour, other: Colour, weight: float) -> Colour:
    red, green, blue = (1 - weight) * np.array(one) + weight * np.array(other)
    return float(red), float(green), float(blue)


def _varied(colour: Colour, generator: np.random.Generator, scale: float) -> Colour:
    """Return about the same colour: what is red stays red, what is grey may be tinged."""
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    deviations = (HUE, SATURATION, BRIGHTNESS, GREY)
    turn, fade, brightness, tinge = scale * generator.normal(0.0, deviations)
    saturation, value = min(1.0, saturation * np.exp(fade)), min(1.0, value * np.exp(brightness))
    varied = colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value)
    tint = colorsys.hsv_to_rgb(generator.random(), 1.0, value)
    return _mixed(varied, tint, min(1.0, abs(tinge)) if saturation <= GREY else 0.0)


def _light(scene: SimplerScene, generator: np.random.Generator, scale: float) -> None:
    system = scene.scene.sub_scenes[0].render_system
    ambient = np.array(system.ambient_light) * np.exp(scale * generator.normal(0.0, LIGHT))
    system.ambient_light = ambient.tolist()
    for light in system.lights:
        strength = np.exp(scale * generator.normal(0.0, LIGHT))
        tint = 1.0 + scale * generator.uniform(-0.1, 0.1, 3)
        light.color = (np.array(light.color) * strength * tint).tolist()
        turn = sapien.Pose(q=euler2quat(*(scale * generator.normal(0.0, LIGHT_TURN, 3))))
        light.entity.pose = light.entity.pose * turn


def _move_camera(scene: SimplerScene, generator: np.random.Generator, scale: float) -> None:
    camera = scene.scene.sensors[CAMERA].camera
    shift = scale * generator.normal(0.0, CAMERA_SHIFT, 3)
    turn = euler2quat(*(scale * generator.normal(0.0, CAMERA_TURN, 3)))
    longer = float(np.exp(scale * generator.normal(0.0, CAMERA_FOCAL)))
    for each in camera._render_cameras:
        each.local_pose = each.local_pose * sapien.Pose(shift, turn)
        each.set_focal_lengths(each.fx * longer, each.fy * longer)


def pattern(generator: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """Draw a picture uint8 `(height, width, 3)`: clouds in a few colours, and patches."""
    colours = np.array([_any_colour(generator) for _ in range(generator.integers(2, 5))]) ** 0.5
    clouds = np.zeros((height, width), np.float32)
    for cells in (2, 4, 8, 16, 32):
        across, down = generator.integers(1, cells + 1, 2)
        grid = generator.random((int(down) + 1, int(across) + 1), dtype=np.float32)
        weight = generator.random() * cells**-0.5
        size = (width, height)
        clouds += weight * np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC))
    clouds = (clouds - clouds.min()) / max(float(np.ptp(clouds)), 1e-6)
    places = np.linspace(0.0, 1.0, len(colours))
    bands = [np.interp(clouds, places, colours[:, channel]) for channel in range(3)]
    image = Image.fromarray((255 * np.stack(bands, -1)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(generator.integers(0, 7)):
        middle, corners = generator.random(2) * (width, height), generator.integers(3, 7)
        angles = np.sort(generator.uniform(0.0, 2 * np.pi, corners))
        reach = generator.uniform(0.03, 0.3, corners) * width
        points = middle + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
        fill = tuple(int(255 * part**0.5) for part in _any_colour(generator))
        draw.polygon([(float(x), float(y)) for x, y in points], fill=fill)
    blur = ImageFilter.GaussianBlur(float(generator.uniform(0.0, width / 200)))
    return np.asarray(image.filter(blur))
