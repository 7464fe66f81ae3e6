"""Collision meshes taken apart into their connected pieces.

SAPIEN 2 made one convex hull of each connected piece of a collision file, SAPIEN 3 makes one of
each named object in it. Where an object has several pieces (a spoon of four, one hull over all of
which would be twice as heavy) the file is rewritten with a name for each.
"""

import hashlib
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from envs.simpler.primitives.files import cache_folder
from experiment.errors import UserError
from experiment.files import write_bytes

Face = tuple[int, ...]


def separated(path: Path) -> Path:
    """The file itself if each object is in one piece, else a copy in the cache where it is.

    Raises: `UserError` for a file that is no Wavefront mesh or is cut short.
    """
    vertices, objects = _read(path)
    pieces = [piece for faces in objects for piece in _connected(faces, vertices)]
    if len(pieces) == len(objects):
        return path
    lines = [f"v {vertex}" for vertex in vertices]
    for number, faces in enumerate(pieces):
        lines.append(f"o piece_{number}")
        lines += ["f " + " ".join(str(i + 1) for i in face) for face in faces]
    data = ("\n".join(lines) + "\n").encode()
    name = f"{path.parent.name}-{hashlib.sha256(data).hexdigest()[:16]}.obj"
    copy = cache_folder() / name
    if not copy.is_file():
        write_bytes(copy, data)
    return copy


def _read(path: Path) -> tuple[list[str], list[list[Face]]]:
    vertices: list[str] = []
    objects: list[list[Face]] = []
    try:
        for line in path.read_text().splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                vertices.append(" ".join(rest.split()[:3]))
            elif kind == "o":
                objects.append([])
            elif kind == "f":
                if not objects:
                    objects.append([])
                objects[-1].append(tuple(int(c.split("/")[0]) - 1 for c in rest.split()))
        if not any(objects) or max(i for o in objects for f in o for i in f) >= len(vertices):
            raise ValueError("a face names a vertex that is not there")
    except (ValueError, IndexError) as error:
        raise UserError(f"{path} is not a whole mesh ({error}); fetch it again.") from error
    return vertices, [faces for faces in objects if faces]


def _connected(faces: list[Face], vertices: list[str]) -> list[list[Face]]:
    """Faces grouped by shared vertex positions, in the order of their first face."""
    nodes: dict[str, int] = {}
    corners = [[nodes.setdefault(vertices[i], len(nodes)) for i in face] for face in faces]
    edges = np.array([(face[0], node) for face in corners for node in face])
    graph = coo_array((np.ones(len(edges)), edges.T), shape=(len(nodes), len(nodes)))
    _, labels = connected_components(graph, directed=False)
    groups: dict[int, list[Face]] = {}
    for face, (first, *_) in zip(faces, corners, strict=True):
        groups.setdefault(labels[first], []).append(face)
    return list(groups.values())
