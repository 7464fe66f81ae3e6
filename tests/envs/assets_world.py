"""A small tree of official files with its manifest, and a web server that can misbehave."""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from envs.simpler.assets.manifest import Entry, Manifest

ROBOT = "mani_skill2_real2sim/assets/descriptions/googlerobot_description/robot.urdf"
CABINET = "data/custom/mk_station.urdf"
COLLISION = "data/custom/models/eggplant/collision.obj"
DRAWING = "data/custom/models/eggplant/textured.dae"
PHOTOGRAPH = "data/real_inpainting/open_drawer_a0.png"
STAGE = "data/hab2_bench_assets/stages/bridge_table_1_v2.glb"
CONTENT: dict[str, bytes] = {
    "LICENSE": b"the licence",
    ROBOT: b"<robot/>" * 20_000,
    CABINET: b"<cabinet/>",
    COLLISION: b"v 0 0 0\n" * 40_000,
    DRAWING: b"<dae/>",
    PHOTOGRAPH: bytes(range(256)) * 50,
    STAGE: b"glTF" * 30_000,
}


def checksum(path: str, content: bytes) -> str:
    """As the official manifest has it: of a stage and a drawing only the blob's name is known."""
    if path in (STAGE, DRAWING):
        return "git:" + hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return "sha256:" + hashlib.sha256(content).hexdigest()


def manifest() -> Manifest:
    """Manifest of `CONTENT`; sizes of the files without a SHA-256 are left open."""
    entries = {
        path: Entry(
            path, None if path in (STAGE, DRAWING) else len(content), checksum(path, content)
        )
        for path, content in CONTENT.items()
    }
    return Manifest("owner/assets", "0123456789" * 4, entries)


def write_tree(root: Path, without: tuple[str, ...] = ()) -> Path:
    for path, content in CONTENT.items():
        if path not in without:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
    return root


def tree(root: Path) -> dict[str, bytes]:
    """All files beneath a folder; the lock is none of them."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != ".install.lock"
    }


class Server:
    """Serves `CONTENT` as GitHub lays it out. faults: path -> what goes wrong, times: how often.

    Faults: a status code, "cut" (the connection ends half-way), "other" (wrong content of the
    right length), "longer" (it does not end where it should), "hang" (until `release` is set).
    """

    def __init__(self) -> None:
        self.faults: dict[str, int | str] = {}
        self.times: dict[str, int] = {}
        self.asked: Counter[str] = Counter()
        self.release = threading.Event()
        self.hanging = threading.Event()
        self.base = ""


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    prefix = manifest().address.removeprefix("https://raw.githubusercontent.com")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix(prefix + "/")
            server.asked[path] += 1
            content = CONTENT.get(path)
            fault = server.faults.get(path)
            if server.asked[path] > server.times.get(path, 1_000):
                fault = None
            status = fault if isinstance(fault, int) else 200
            if content is None or status != 200:
                self.send_error(404 if content is None else status)
                return
            self.send_response(200)
            if fault == "other":
                content = content[::-1]
            if fault == "longer":
                content = content * 2
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            half = len(content) // 2
            self.wfile.write(content[:half])
            if fault == "cut":
                return
            if fault == "hang":
                self.wfile.flush()
                server.hanging.set()
                server.release.wait(60)
            self.wfile.write(content[half:])

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing: a client that was killed is no news."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        server.base = f"http://127.0.0.1:{http.server_address[1]}{prefix}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.release.set()
            http.shutdown()
            thread.join()
