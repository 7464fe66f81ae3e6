"""The page and its five verbs over plain HTTP, on loopback.

Everything that moves runs in the thread that called `run`: a simulator and its renderer belong to
one. A request that changes something carries the header `X-Play`, which a page of another site
cannot send.
"""

import base64
import io
import json
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiment.address import Address
from experiment.errors import UserError
from policies.pages import environment
from policies.playing.recording import Recording
from policies.playing.session import Session, View

_MOST_BYTES = 10_000
_ANSWER_SECONDS = 120.0


@dataclass
class _Job:
    verb: str
    given: dict[str, Any]
    done: threading.Event = field(default_factory=threading.Event)
    status: int = 200
    answer: dict[str, Any] = field(default_factory=dict)


class PlayServer:
    """Serves one session; `about` describes it in recordings, which go to `out`."""

    def __init__(self, session: Session, about: dict[str, Any], out: Path) -> None:
        self._session, self._about, self._out = session, about, out
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._recording: Recording | None = None
        self.verbs: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "view": lambda _: self._seen(session.view()),
            "act": self._act,
            "reset": lambda given: self._seen(session.reset(_whole(given, "seed"))),
            "anchor": lambda _: self._seen(session.anchor()),
            "record": self._record,
        }

    def run(self, address: Address, ready: Callable[[int], None]) -> None:
        """Serve until `stop`; `ready` is told the port. Raises `UserError` for a port in use."""
        try:
            server = ThreadingHTTPServer((address.host, address.port), self._handler())
        except (OSError, OverflowError) as error:
            raise address.refused(error) from error
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ready(server.server_address[1])
        try:
            while (job := self._jobs.get()) is not None:
                self._do(job)
        finally:
            server.shutdown()
            server.server_close()
            if self._recording is not None:
                self._recording.write(self._out)

    def stop(self) -> None:
        """Let `run` return after the jobs before."""
        self._jobs.put(None)

    def ask(self, verb: str, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Do something in the thread of `run`; return an HTTP status and an answer."""
        job = _Job(verb, given)
        self._jobs.put(job)
        if not job.done.wait(_ANSWER_SECONDS):
            return 503, {"error": "the simulator does not answer."}
        return job.status, job.answer

    def _do(self, job: _Job) -> None:
        try:
            job.answer = self.verbs[job.verb](job.given)
        except UserError as error:
            job.status, job.answer = 400, {"error": str(error)}
        finally:
            job.done.set()

    def _act(self, given: dict[str, Any]) -> dict[str, Any]:
        action = given.get("action")
        act = self._session.act
        try:
            asked = None if action is None else np.asarray(action, np.float32)
        except (TypeError, ValueError):
            raise UserError("action must be a list of seven numbers, or null.") from None
        return self._seen(act(asked))

    def _seen(self, view: View) -> dict[str, Any]:
        # A page that was loaded anew does not know it otherwise.
        return {**seen(view), "recording": self._recording is not None}

    def _record(self, given: dict[str, Any]) -> dict[str, Any]:
        """Begin or end a recording; the answer says where it went."""
        session, path = self._session, None
        if given.get("on"):
            if self._recording is None:
                self._recording = Recording(self._about | {"seed": session.seed})
                self._recording(session.view())
                session.watchers.append(self._recording)
        elif self._recording is not None:
            recording, self._recording = self._recording, None
            session.watchers.remove(recording)
            path = recording.write(self._out)
        written = None if path is None else str(path)
        return {"recording": self._recording is not None, "written": written}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        play = self
        page = environment().get_template("play.html").render(turn=self._session.turn_steps)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                if self.path == "/":
                    self._send(200, page.encode(), "text/html; charset=utf-8")
                else:
                    self._send(404, b"{}", "application/json")

            def do_POST(self) -> None:
                status, answer = 400, {"error": "this is not a request of the page."}
                verb, given = self.path.strip("/"), self._read()
                if verb in play.verbs and given is not None and "X-Play" in self.headers:
                    status, answer = play.ask(verb, given)
                self._send(status, json.dumps(answer).encode(), "application/json")

            def _read(self) -> dict[str, Any] | None:
                length = self.headers.get("Content-Length", "")
                if not length.isdigit() or int(length) > _MOST_BYTES:
                    self.close_connection = True
                    return None
                try:
                    given = json.loads(self.rfile.read(int(length)) or b"{}")
                except ValueError:
                    return None
                return given if isinstance(given, dict) else None

            def _send(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

        return Handler


def seen(view: View) -> dict[str, Any]:
    """Return a view as JSON, its pictures as data URIs."""
    values = dict(vars(view))
    for name in ("real", "dreamed"):
        buffer = io.BytesIO()
        Image.fromarray(values[name]).save(buffer, format="PNG")
        values[name] = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return values


def _whole(given: dict[str, Any], name: str) -> int:
    value = given.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise UserError(f"{name}={value!r} must be a whole number from 0 on.")
    return value
