"""A stand-in for the hub: as much of its HTTP interface as up- and downloads of a model need."""

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "a" * 40


class Hub:
    """Repositories by name, each a mapping of files; `asked` are the requests so far."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.url = ""


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def say(self, value: Any, status: int = 200) -> None:
            self.answer(status, json.dumps(value).encode(), Content_Type="application/json")

        def missing(self, code: str) -> None:
            self.answer(404, b"{}", X_Error_Code=code, X_Error_Message="not there")

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                name = "/".join(parts[2:4])
                files = hub.repositories.get(name)
                if files is None:
                    self.missing("RepoNotFound")
                elif "tree" in parts:
                    self.say([
                        {"type": "file", "path": path, "size": len(content),
                         "oid": hashlib.sha1(content).hexdigest()}
                        for path, content in files.items()
                    ])  # fmt: skip
                else:
                    names = [{"rfilename": path} for path in files]
                    self.say({"id": name, "sha": COMMIT, "siblings": names})
                return
            name, path = "/".join(parts[:2]), "/".join(parts[4:])
            content = hub.repositories.get(name, {}).get(path)
            if content is None:
                self.missing("EntryNotFound" if name in hub.repositories else "RepoNotFound")
            else:
                digest = hashlib.sha256(content).hexdigest()
                self.answer(200, content, ETag=f'"{digest}"', X_Repo_Commit=COMMIT)

        def do_POST(self) -> None:
            hub.asked.append(f"POST {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = self.path.partition("?")[0].strip("/").split("/")
            name = "/".join(parts[2:4])
            if self.path == "/api/repos/create":
                given = json.loads(body)
                created = "/".join(filter(None, [given.get("organization"), given["name"]]))
                hub.repositories.setdefault(created, {})
                self.say({"url": f"{hub.url}/{created}"})
            elif "preupload" in parts:
                files = json.loads(body)["files"]
                each = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in files
                ]
                self.say({"files": each})
            elif "commit" in parts:
                for line in body.decode().splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        content = base64.b64decode(entry["value"]["content"])
                        hub.repositories[name][entry["value"]["path"]] = content
                url = f"{hub.url}/{name}/commit/{COMMIT}"
                self.say({"success": True, "commitOid": COMMIT, "commitUrl": url})
            else:
                self.say({})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
