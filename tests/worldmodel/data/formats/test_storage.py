"""Files near and far: limited retries, the cache, and the sentence when nothing helps."""

import errno
import http.server
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from experiment.errors import UserError
from worldmodel.data.formats import storage as module
from worldmodel.data.formats.storage import MissingFile, Storage

CONTENT = bytes(range(256)) * 40
ATTEMPTS = 4


def quick(address: str, cache: Path | None = None) -> Storage:
    """Return a storage that does not wait long between attempts."""
    return Storage(address, cache, attempts=ATTEMPTS, wait_s=0.001, timeout_s=0.5)


class Flaky(MemoryFileSystem):
    """A remote store in memory whose next reads go wrong as `faults` say."""

    protocol = "flaky"
    store: dict[str, Any] = {}  # noqa: RUF012 - as its parent's, shared by all instances
    pseudo_dirs = [""]  # noqa: RUF012
    faults: list[BaseException | str] = []  # noqa: RUF012
    reads = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("flaky://")))

    def cat_file(self, path: str, start: Any = None, end: Any = None, **kwargs: Any) -> bytes:
        type(self).reads += 1
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, BaseException):
            raise fault
        data = bytes(super().cat_file(path, start=start, end=end, **kwargs))
        return data[:-1] if fault == "short" else data

    def get_file(self, rpath: str, lpath: str, **kwargs: Any) -> None:  # noqa: ARG002
        Path(lpath).write_bytes(self.cat_file(rpath))


@pytest.fixture
def remote() -> Iterator[type[Flaky]]:
    """A store that holds `set/a/b.bin`."""
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    Flaky.store.clear()
    Flaky.faults, Flaky.reads = [], 0
    Flaky().pipe_file("/set/a/b.bin", CONTENT)
    yield Flaky
    Flaky.store.clear()


def test_a_folder_is_read_whole_in_part_and_as_a_stream(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.bin").write_bytes(CONTENT)
    for address in (str(tmp_path), f"file://{tmp_path}"):
        near = Storage(address)
        assert near.read("a/b.bin") == CONTENT
        assert near.read_range("a/b.bin", 300, 17) == CONTENT[300:317]
        assert near.size("a/b.bin") == len(CONTENT)
        assert near.find("") == near.find("a") == ["a/b.bin"]
        assert near.find("b") == []
        assert near.exists("a/b.bin")
        assert not near.exists("a/c.bin")
        assert near.path("a/b.bin") == tmp_path / "a/b.bin"
        with near.open("a/b.bin") as file:
            assert file.read() == CONTENT


def test_a_store_is_read_like_a_folder(remote: type[Flaky]) -> None:
    far = quick("flaky://set")
    assert far.read("a/b.bin") == CONTENT
    assert far.read_range("a/b.bin", 300, 17) == CONTENT[300:317]
    assert far.read_range("a/b.bin", 300, 0) == b""
    assert far.sizes(["a/b.bin"]) == {"a/b.bin": len(CONTENT)}
    assert far.find("") == far.find("a") == ["a/b.bin"]
    assert far.exists("a/b.bin")
    assert not far.exists("a/c.bin")
    with far.open("a/b.bin") as file:
        file.seek(-10, io.SEEK_END)
        assert file.read() == CONTENT[-10:]
        assert file.read() == b""
        file.seek(256)
        assert file.read(256) == CONTENT[256:512]
    assert far.path("a/b.bin") is None


@pytest.mark.parametrize(
    "fault", [ConnectionResetError("reset"), TimeoutError(), OSError("503"), "short"]
)
def test_what_passes_is_tried_again(remote: type[Flaky], fault: Any) -> None:
    remote.faults = [fault] * (ATTEMPTS - 1)
    assert quick("flaky://set").read_range("a/b.bin", 0, 5) == CONTENT[:5]
    assert remote.reads == ATTEMPTS
    remote.faults = [fault] * ATTEMPTS
    with pytest.raises(UserError, match=r"flaky://set/a/b\.bin could not be read in 4 attempts"):
        quick("flaky://set").read_range("a/b.bin", 0, 5)


def test_an_answer_of_refusal_is_final_whichever_client_tells_it(remote: type[Flaky]) -> None:
    for status, reads in ((401, 1), (429, 2), (503, 2)):
        refusal = OSError("refused")
        refusal.response = SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
        remote.faults, remote.reads = [refusal], 0
        far = quick("flaky://set")
        if reads == 1:
            with pytest.raises(UserError, match=r"b\.bin could not be read \(OSError: refused"):
                far.read("a/b.bin")
        else:
            assert far.read("a/b.bin") == CONTENT
        assert remote.reads == reads


def test_what_does_not_pass_is_not_tried_again(remote: type[Flaky]) -> None:
    remote.faults = [PermissionError("no")]
    with pytest.raises(UserError, match=r"a/b\.bin could not be read \(PermissionError: no\)"):
        quick("flaky://set").read("a/b.bin")
    with pytest.raises(UserError, match=r"flaky://set/c is missing"):
        quick("flaky://set").read("c")
    assert remote.reads == 2


def test_a_mistake_in_the_code_is_no_network_error(remote: type[Flaky]) -> None:
    remote.faults = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        quick("flaky://set").read("a/b.bin")


def test_a_cache_holds_one_whole_copy(remote: type[Flaky], tmp_path: Path) -> None:
    far = quick("flaky://set", tmp_path)
    remote.faults = [ConnectionResetError("reset"), "short"]
    assert far.read_range("a/b.bin", 300, 17) == CONTENT[300:317]
    assert remote.reads == 3
    copy = far.path("a/b.bin")
    assert copy is not None
    assert copy.read_bytes() == far.read("a/b.bin") == CONTENT
    assert far.exists("a/b.bin")
    assert far.size("a/b.bin") == len(CONTENT)
    assert remote.reads == 3
    other = quick("flaky://other", tmp_path)
    assert not other.exists("a/b.bin")


def test_a_download_that_fails_leaves_nothing(
    remote: type[Flaky], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = quick("flaky://set", tmp_path)
    remote.faults = [ConnectionResetError("reset")] * 4
    with pytest.raises(UserError, match="4 attempts"):
        far.read("a/b.bin")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(UserError, match=r"disk is full, .*b\.bin could not be written"):
        far.read("a/b.bin")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["../b.bin", "/etc/hostname", "a/../../b"])
def test_names_stay_inside_the_data_set(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="not a file inside the data set"):
        Storage(str(tmp_path / "set")).read(name)


def test_a_folder_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes(CONTENT)
    near = Storage(str(tmp_path))
    with pytest.raises(UserError, match=r"c\.bin is missing"):
        near.read("c.bin")
    with pytest.raises(UserError, match=r"b\.bin ends before byte 10250: .*truncated"):
        near.read_range("b.bin", 10230, 20)
    with pytest.raises(UserError, match="could not be read"):
        near.read("")
    with pytest.raises(MissingFile, match=r"b\.bin/c is missing"):
        near.read("b.bin/c")
    with pytest.raises(UserError, match=r"nope://x/b cannot be opened .*check the address"):
        quick("nope://x").read("b")


def test_a_refused_permission_is_neither_missing_nor_damaged(own_folder: Path) -> None:
    (own_folder / "inner").mkdir()
    (own_folder / "b.bin").write_bytes(CONTENT)
    near = Storage(str(own_folder))
    (own_folder / "b.bin").chmod(0)
    (own_folder / "inner").chmod(0)
    for read in (near.read, near.open, lambda name: near.read_range(name, 0, 5)):
        with pytest.raises(UserError, match=r"b\.bin could not be read .*no permission"):
            read("b.bin")
    for ask in (near.exists, near.size, near.find):
        with pytest.raises(UserError, match=r"inner.* could not be read .*no permission") as raised:
            ask("inner" if ask == near.find else "inner/c.bin")
        assert not isinstance(raised.value, MissingFile)
    (own_folder / "inner").chmod(0o700)


class _Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT: parts of it but at /whole, nothing at /missing and /secret, late at /slow."""

    fail = 0

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        if "missing" in self.path:
            self.send_error(404)
            return
        if "secret" in self.path:
            self.send_error(403)
            return
        if "slow" in self.path:
            time.sleep(1)
        if type(self).fail:
            type(self).fail -= 1
            self.send_error(503)
            return
        part, wanted = CONTENT, self.headers.get("Range")
        if wanted and "whole" not in self.path:
            first, last = wanted.removeprefix("bytes=").split("-")
            part = CONTENT[int(first) : int(last) + 1]
        self.send_response(200 if part is CONTENT else 206)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if body:
            self.wfile.write(part)

    def log_message(self, *args: Any) -> None:  # noqa: ARG002 - its parent's name
        return


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a web server on this machine."""
    pytest.importorskip("aiohttp", reason="https:// needs the extra 'remote'")
    _Server.fail = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()


def test_a_web_server(server: str, tmp_path: Path) -> None:
    far = quick(server)
    _Server.fail = 2
    assert far.read_range("a.bin", 300, 17) == CONTENT[300:317]
    assert far.read("a.bin") == CONTENT
    _Server.fail = 4  # of each attempt at a size, HEAD and GET
    assert far.size("a.bin") == len(CONTENT)
    assert far.exists("a.bin")
    assert not far.exists("missing")
    with pytest.raises(UserError, match=r"/missing is missing"):
        far.read("missing")
    with pytest.raises(UserError, match=r"/missing is missing"):
        far.sizes(["a.bin", "missing"])
    for ask in (far.read, far.size, far.exists):
        with pytest.raises(UserError, match=r"/secret could not be read .*no permission") as raised:
            ask("secret")
        assert not isinstance(raised.value, MissingFile)
    with pytest.raises(UserError, match="the server sends whole files"):
        far.read_range("whole", 300, 17)
    _Server.fail = 9
    with pytest.raises(UserError, match=r"/a\.bin could not be read in 4 attempts .*503"):
        far.exists("a.bin")
    _Server.fail = 9
    with pytest.raises(UserError, match=r"/a\.bin could not be read in 4 attempts .*503"):
        far.read_range("a.bin", 300, 17)


def test_a_web_server_that_does_not_answer_is_given_up(server: str) -> None:
    far = Storage(server, attempts=2, wait_s=0.001, timeout_s=0.1)
    with pytest.raises(UserError, match=r"/slow could not be read in 2 attempts .*imeout"):
        far.read("slow")


def test_a_web_server_fills_a_cache(server: str, tmp_path: Path) -> None:
    far = quick(server, tmp_path)
    _Server.fail = 1
    with far.open("a/b.bin") as file:
        assert file.read() == CONTENT
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["b.bin"]
