"""Choosing the device that draws, and laying the photograph behind the scene."""

import os
from dataclasses import replace
from functools import lru_cache

import numpy as np
import sapien
from mani_skill.envs.utils.system.backend import BackendInfo
from numpy.typing import NDArray
from PIL import Image

from envs.simpler.assets.pack import AssetPack
from experiment.errors import UserError

NO_DEVICE = (
    "no Vulkan device that can draw was found; install a software driver "
    "(Debian/Ubuntu: mesa-vulkan-drivers >= 24) or run without pictures; "
    "`python -m envs.doctor` says more."
)


@lru_cache(maxsize=1)
def drawing_device() -> sapien.Device:
    """The device SAPIEN would draw with by itself: a GPU, else a software driver.

    Raises: `UserError` when there is none.
    """
    try:
        return sapien.render.RenderSystem().device
    except RuntimeError as error:
        raise UserError(NO_DEVICE) from error


_inherited_by_fork = False


def _note_fork() -> None:
    global _inherited_by_fork
    _inherited_by_fork = drawing_device.cache_info().currsize > 0


os.register_at_fork(after_in_child=_note_fork)


def with_drawing_device(backend: BackendInfo) -> BackendInfo:
    """Replace ManiSkill's choice where it cannot draw.

    ManiSkill 3.0.1 hands a plain CPU device to the renderer when there is no GPU; SAPIEN refuses to
    draw with it although a software Vulkan device is there.
    """
    if backend.render_device is None or backend.render_device.is_cuda():
        return backend
    if _inherited_by_fork:
        # SAPIEN would wait for threads that only the parent has.
        raise UserError(
            "this process was forked from one that had drawn already, where a renderer cannot "
            "start: start processes by spawn, in gymnasium.make_vec with "
            'vector_kwargs={"context": "spawn"}.'
        )
    return replace(backend, render_device=drawing_device())


class Overlay:
    """A photograph laid behind the simulated robot and objects (SIMPLER's visual matching)."""

    def __init__(
        self, photograph: NDArray[np.uint8], width: int, height: int, opacity: float = 1.0
    ) -> None:
        """Args: `photograph` uint8 (h, w, 3), scaled once to the picture's size; below an `opacity`
        of 1 the surroundings shine through.
        """
        self._opacity = opacity
        resized = Image.fromarray(photograph).resize((width, height), Image.Resampling.BILINEAR)
        self._background = np.asarray(resized)

    def apply(
        self, image: NDArray[np.uint8], segmentation: NDArray[np.int16], foreground: list[int]
    ) -> NDArray[np.uint8]:
        """Keep `image` (h, w, 3) where `segmentation` (h, w) is one of `foreground`."""
        keep = np.isin(segmentation, foreground)[..., None]
        behind = self._background
        if self._opacity < 1:
            behind = (self._opacity * behind + (1 - self._opacity) * image).astype(np.uint8)
        return np.where(keep, image, behind)


class Photographs:
    """The photograph behind each environment of a scene, where it has one."""

    def __init__(self, pack: AssetPack, size: tuple[int, int] | None, count: int) -> None:
        """Args: `size` is width and height of the picture, None where nothing is drawn."""
        self._pack = pack
        self._size = size
        self.overlays: list[Overlay | None] = [None] * count

    def lay(self, number: int, name: str) -> None:
        """Lay the photograph called `name` ("" for none) behind environment `number`."""
        picture = self._pack.overlay(name) if name and self._size is not None else None
        self.overlays[number] = None
        if picture is not None and self._size is not None:
            self.overlays[number] = Overlay(picture, *self._size)
