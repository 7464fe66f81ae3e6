"""Files near and far: retries with limits, the cache, and what is said when nothing helps."""

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
from worldmodel.data.formats.storage import Storage
from worldmodel.data.retries import Retries

CONTENT = bytes(range(256)) * 40
QUICK = Retries(count=3, wait_s=0.001, timeout_s=5)


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
        if fault == "short":
            return data[:-1]
        if fault == "hang":
            time.sleep(30)
        return data


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
        assert near.find() == near.find("a") == {"a/b.bin": len(CONTENT)}
        assert near.exists("a/b.bin")
        assert not near.exists("a/c.bin")
        assert near.local("a/b.bin") == tmp_path / "a/b.bin"
        with near.open("a/b.bin") as file:
            assert file.read() == CONTENT


def test_a_store_is_read_like_a_folder(remote: type[Flaky]) -> None:
    far = Storage("flaky://set", retries=QUICK)
    assert far.read("a/b.bin") == CONTENT
    assert far.read_range("a/b.bin", 300, 17) == CONTENT[300:317]
    assert far.read_range("a/b.bin", 300, 0) == b""
    assert far.sizes(["a/b.bin"]) == far.find() == {"a/b.bin": len(CONTENT)}
    assert far.exists("a/b.bin")
    assert not far.exists("a/c.bin")
    with far.open("a/b.bin") as file:
        file.seek(-10, io.SEEK_END)
        assert file.read() == CONTENT[-10:]
        assert file.read() == b""
        file.seek(256)
        assert file.read(256) == CONTENT[256:512]
    with pytest.raises(UserError, match=r"flaky://set/a/b\.bin must be read from a disk.*cache"):
        far.local("a/b.bin")


@pytest.mark.parametrize(
    "fault", [ConnectionResetError("reset"), TimeoutError(), OSError("503"), "short"]
)
def test_what_passes_is_tried_again(remote: type[Flaky], fault: Any) -> None:
    remote.faults = [fault] * QUICK.count
    assert Storage("flaky://set", retries=QUICK).read_range("a/b.bin", 0, 5) == CONTENT[:5]
    assert remote.reads == QUICK.count + 1
    remote.faults = [fault] * (QUICK.count + 1)
    with pytest.raises(UserError, match=r"flaky://set/a/b\.bin could not be read in 4 attempts"):
        Storage("flaky://set", retries=QUICK).read_range("a/b.bin", 0, 5)


def test_an_answer_of_refusal_is_final_whichever_client_tells_it(remote: type[Flaky]) -> None:
    for status, reads in ((401, 1), (429, 2), (503, 2)):
        refusal = OSError("refused")
        refusal.response = SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
        remote.faults, remote.reads = [refusal], 0
        far = Storage("flaky://set", retries=QUICK)
        if reads == 1:
            with pytest.raises(UserError, match=r"b\.bin could not be read \(OSError: refused"):
                far.read("a/b.bin")
        else:
            assert far.read("a/b.bin") == CONTENT
        assert remote.reads == reads


def test_what_does_not_pass_is_not_tried_again(remote: type[Flaky]) -> None:
    remote.faults = [PermissionError("no")]
    with pytest.raises(UserError, match=r"a/b\.bin could not be read \(PermissionError: no\)"):
        Storage("flaky://set", retries=QUICK).read("a/b.bin")
    with pytest.raises(UserError, match=r"flaky://set/c does not exist"):
        Storage("flaky://set", retries=QUICK).read("c")
    assert remote.reads == 2


def test_a_store_that_does_not_answer_is_given_up(remote: type[Flaky]) -> None:
    remote.faults = ["hang"] * 2
    impatient = Retries(count=1, wait_s=0.001, timeout_s=0.05)
    with pytest.raises(UserError, match=r"in 2 attempts \(TimeoutError: no answer within 0.05 s"):
        Storage("flaky://set", retries=impatient).read("a/b.bin")


def test_a_mistake_in_the_code_is_no_network_error(remote: type[Flaky]) -> None:
    remote.faults = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        Storage("flaky://set", retries=QUICK).read("a/b.bin")


def test_a_cache_holds_one_whole_copy(
    remote: type[Flaky], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PIECE_BYTES", 1000)
    far = Storage("flaky://set", cache=tmp_path, retries=QUICK)
    remote.faults = [ConnectionResetError("reset")]
    assert far.read_range("a/b.bin", 300, 17) == CONTENT[300:317]
    assert remote.reads == 12  # 11 pieces, one of them twice
    assert far.local("a/b.bin").read_bytes() == far.read("a/b.bin") == CONTENT
    assert far.exists("a/b.bin")
    assert remote.reads == 12
    other = Storage("flaky://other", cache=tmp_path, retries=QUICK)
    assert not other.exists("a/b.bin")


def test_a_download_that_fails_leaves_nothing(
    remote: type[Flaky], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = Storage("flaky://set", cache=tmp_path, retries=QUICK)
    remote.faults = [ConnectionResetError("reset")] * 4
    with pytest.raises(UserError, match="4 attempts"):
        far.read("a/b.bin")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(UserError, match=r"disk is full, .*b\.bin could not be written"):
        far.read("a/b.bin")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5}))
    with pytest.raises(UserError, match=r"no room for flaky://set/a/b\.bin"):
        far.read("a/b.bin")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["../b.bin", "/etc/hostname", "a/../../b"])
def test_names_stay_inside_the_data_set(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no name of a file inside the data set"):
        Storage(str(tmp_path / "set")).read(name)


def test_a_folder_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes(CONTENT)
    near = Storage(str(tmp_path))
    with pytest.raises(UserError, match=r"c\.bin is missing"):
        near.read("c.bin")
    with pytest.raises(UserError, match=r"b\.bin ends at byte 10240, before .* byte 10230"):
        near.read_range("b.bin", 10230, 20)
    with pytest.raises(UserError, match="could not be read"):
        near.read("")
    with pytest.raises(UserError, match=r"nope://x/b cannot be opened .*check the address"):
        Storage("nope://x", retries=QUICK).read("b")


class _Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT at any address but /missing; parts of it unless the address says /whole."""

    fail = 0

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        if "missing" in self.path:
            self.send_error(404)
            return
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
    far = Storage(server, retries=QUICK)
    _Server.fail = 2
    assert far.read_range("a.bin", 300, 17) == CONTENT[300:317]
    assert far.read("a.bin") == CONTENT
    _Server.fail = 4  # of each attempt at a size, HEAD and GET
    assert far.size("a.bin") == len(CONTENT)
    assert far.exists("a.bin")
    assert not far.exists("missing")
    with pytest.raises(UserError, match=r"/missing does not exist"):
        far.read("missing")
    with pytest.raises(UserError, match=r"/missing does not exist"):
        far.sizes(["a.bin", "missing"])
    with pytest.raises(UserError, match="the server sends whole files"):
        far.read_range("whole", 300, 17)
    _Server.fail = 9
    with pytest.raises(UserError, match=r"/a\.bin could not be read in 4 attempts .*503"):
        far.exists("a.bin")
    _Server.fail = 9
    with pytest.raises(UserError, match=r"/a\.bin could not be read in 4 attempts .*503"):
        far.read_range("a.bin", 300, 17)
