"""Installing official files: whole or absent, checked, resumable, and plain words when it fails."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from envs.simpler.assets import install as installing
from envs.simpler.assets.install import install
from envs.simpler.assets.sources import FolderSource, UrlSource, source_of
from experiment.errors import UserError
from tests.envs import assets_world as world

pytestmark = pytest.mark.slow

MANIFEST = world.manifest()


@pytest.fixture(autouse=True)
def direct(monkeypatch) -> None:
    """A proxy of the machine must not stand between a test and its own server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def source(tmp_path) -> Path:
    return world.write_tree(tmp_path / "source")


@pytest.fixture
def server():
    with world.serving() as served:
        yield served


def bring(source: Path | str, root: Path, timeout: float = 20.0, **options):
    here = UrlSource(source, timeout) if isinstance(source, str) else FolderSource(source)
    return install(here, root, MANIFEST, backoff=0.0, **options)


def test_from_a_folder_everything_arrives_and_nothing_else(tmp_path, source) -> None:
    (source / "data/custom/models/eggplant/textured_bkup.glb").write_bytes(b"not listed")
    done = bring(source, tmp_path / "to")
    assert world.tree(tmp_path / "to") == world.CONTENT
    assert {entry.path for entry in done.copied} == set(world.CONTENT)
    assert done.copied_bytes == sum(map(len, world.CONTENT.values()))
    assert done.complete
    assert not done.missing


def test_from_an_address_everything_arrives(tmp_path, server) -> None:
    done = bring(server.base + "/", tmp_path)
    assert world.tree(tmp_path) == world.CONTENT
    assert done.copied_bytes == sum(map(len, world.CONTENT.values()))


def test_what_is_there_is_not_fetched_again(tmp_path, server) -> None:
    world.write_tree(tmp_path, without=(world.ROBOT, world.STAGE))
    done = bring(server.base, tmp_path)
    assert server.asked == {world.ROBOT: 1, world.STAGE: 1}
    assert len(done.kept) == len(world.CONTENT) - 2
    assert bring(server.base, tmp_path).copied == ()
    assert server.asked.total() == 2


def test_truncated_and_altered_files_are_replaced(tmp_path, source) -> None:
    to = world.write_tree(tmp_path / "to")
    (to / world.ROBOT).write_bytes(world.CONTENT[world.ROBOT][:-1])
    (to / world.CABINET).write_bytes(b"<Cabinet/>")
    (to / world.STAGE).write_bytes(b"glT")
    done = bring(source, to)
    assert {entry.path for entry in done.copied} == {world.ROBOT, world.CABINET, world.STAGE}
    assert world.tree(to) == world.CONTENT


def test_only_some_groups(tmp_path, source) -> None:
    bring(source, tmp_path / "to", groups=("cabinet", "stages"))
    assert set(world.tree(tmp_path / "to")) == {"LICENSE", world.CABINET, world.STAGE}


@pytest.mark.parametrize("by_web", [False, True])
def test_what_the_source_lacks_is_named_and_the_rest_comes(
    tmp_path, source, server, by_web
) -> None:
    (source / world.STAGE).unlink()
    shutil.rmtree(source / "data/custom/models")
    server.faults = dict.fromkeys((world.STAGE, world.DRAWING, world.COLLISION), 404)
    done = bring(server.base if by_web else source, tmp_path / "to")
    lacking = {world.STAGE, world.DRAWING, world.COLLISION}
    assert {entry.path for entry in done.missing} == lacking
    assert set(world.tree(tmp_path / "to")) == set(world.CONTENT) - lacking
    assert not done.complete  # the collision mesh has no stand-in
    assert all(server.asked[path] <= 1 for path in lacking)


def test_stages_and_drawings_can_be_done_without(tmp_path, source) -> None:
    for path in (world.STAGE, world.DRAWING):
        (source / path).unlink()
    done = bring(source, tmp_path / "to")
    assert done.complete
    assert len(done.missing) == 2


def test_a_source_with_nothing_is_an_error(tmp_path, server) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty has none of the official files"):
        bring(tmp_path / "empty", tmp_path / "to")
    assert not (tmp_path / "to").exists()
    with pytest.raises(UserError, match="none of the official files"):
        bring(server.base + "/elsewhere", tmp_path / "to")
    assert world.tree(tmp_path / "to") == {}


@pytest.mark.parametrize("unsized", [False, True])
def test_another_revision_never_gets_a_final_name(tmp_path, source, unsized) -> None:
    path = world.STAGE if unsized else world.ROBOT
    (source / path).write_bytes(world.CONTENT[path][::-1])
    with pytest.raises(
        UserError, match=rf"{Path(path).name} from .*not the file of revision 01234"
    ):
        bring(source, tmp_path / "to")
    came = world.tree(tmp_path / "to")
    assert path not in came
    assert came.items() <= world.CONTENT.items()


@pytest.mark.parametrize("fault", ["cut", "other", "longer", 503, 429])
@pytest.mark.parametrize("path", [world.ROBOT, world.STAGE])
def test_a_passing_fault_is_tried_again(tmp_path, server, fault, path) -> None:
    server.faults, server.times = {path: fault}, {path: 2}
    done = bring(server.base, tmp_path)
    assert server.asked[path] == 3
    assert world.tree(tmp_path) == world.CONTENT
    assert done.copied_bytes == sum(map(len, world.CONTENT.values()))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("cut", r"ended after 80000 of 160000 bytes \(4 attempts\); check the network"),
        ("other", "not the file of revision"),
        ("longer", "not the file of revision"),
        (500, "answered 500"),
        ("hang", "could not be read .*timed out"),
    ],
)
def test_a_lasting_fault_is_one_sentence(tmp_path, server, fault, words) -> None:
    server.faults = {world.ROBOT: fault}
    with pytest.raises(UserError, match=words) as caught:
        bring(server.base, tmp_path, timeout=0.3)
    assert "robot.urdf" in str(caught.value)
    assert server.asked[world.ROBOT] == 4
    came = world.tree(tmp_path)
    assert world.ROBOT not in came
    assert came.items() <= world.CONTENT.items()


def test_a_refusal_is_not_tried_again(tmp_path, server) -> None:
    server.faults = {world.ROBOT: 403}
    with pytest.raises(UserError, match=r"answered 403 Forbidden; check the address"):
        bring(server.base, tmp_path)
    assert server.asked[world.ROBOT] == 1


def test_no_network(tmp_path) -> None:
    with world.serving() as gone:
        base = gone.base
    with pytest.raises(UserError, match=r"could not be read .*refused.*--from"):
        bring(base, tmp_path)
    assert world.tree(tmp_path) == {}


def test_a_kill_leaves_only_whole_files_and_the_next_install_goes_on(tmp_path, server) -> None:
    server.faults, server.times = {world.STAGE: "hang"}, {world.STAGE: 1}
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.envs import assets_world as world\n"
        "from envs.simpler.assets.install import install\n"
        "from envs.simpler.assets.sources import UrlSource\n"
        "install(UrlSource(sys.argv[1]), Path(sys.argv[2]), world.manifest())\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, server.base, str(tmp_path)])
    try:
        assert server.hanging.wait(60)
        others = [tmp_path / path for path in world.CONTENT if path != world.STAGE]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not all(path.is_file() for path in others):
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
    left = world.tree(tmp_path)
    torn = [path for path in left if path.endswith(".partial")]
    assert len(torn) == 1
    whole = {path: content for path, content in left.items() if path not in torn}
    assert whole == {p: c for p, c in world.CONTENT.items() if p != world.STAGE}
    server.asked.clear()
    server.release.set()
    bring(server.base, tmp_path)
    assert server.asked == {world.STAGE: 1}
    assert world.tree(tmp_path) == world.CONTENT


def test_two_at_once_take_turns_and_fetch_once(tmp_path, server, capsys, monkeypatch) -> None:
    waiting, flock = threading.Event(), fcntl.flock

    def watched(file: object, operation: int) -> None:
        if not operation & fcntl.LOCK_NB:
            waiting.set()
        flock(file, operation)

    monkeypatch.setattr(installing.fcntl, "flock", watched)
    server.faults, server.times = {world.STAGE: "hang"}, {world.STAGE: 1}
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(bring(server.base, tmp_path)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
        assert server.hanging.wait(20)
    assert waiting.wait(20)
    assert all(thread.is_alive() for thread in threads)
    server.release.set()
    for thread in threads:
        thread.join(20)
    assert world.tree(tmp_path) == world.CONTENT
    assert sorted(len(done.copied) for done in results) == [0, len(world.CONTENT)]
    assert set(server.asked.values()) == {1}
    assert "another install is filling" in capsys.readouterr().err


def test_without_locks_it_installs_all_the_same(tmp_path, source, monkeypatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(installing.fcntl, "flock", unsupported)
    bring(source, tmp_path / "to")
    assert world.tree(tmp_path / "to") == world.CONTENT


def test_a_full_disk_leaves_nothing_half_written(tmp_path, source, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="the disk is full"):
        bring(source, tmp_path / "to")
    assert world.tree(tmp_path / "to") == {}


def test_too_little_room_is_said_before_anything_is_fetched(tmp_path, server, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"room for 0 MB but .* --to"):
        bring(server.base, tmp_path)
    assert not server.asked


def test_targets_that_cannot_be_written(tmp_path, source) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="could not be written"):
        bring(source, tmp_path / "file" / "to")
    (tmp_path / "to" / world.ROBOT).mkdir(parents=True)
    with pytest.raises(UserError, match=r"robot.urdf could not be written"):
        bring(source, tmp_path / "to")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_forbidden_target(tmp_path, source) -> None:
    (tmp_path / "to").mkdir(mode=0o500)
    with pytest.raises(UserError, match="Permission denied"):
        bring(source, tmp_path / "to")


def test_a_folder_cannot_repair_itself(source) -> None:
    (source / world.ROBOT).write_bytes(b"broken")
    with pytest.raises(UserError, match="--from and --to both name"):
        bring(source, source)


def test_which_source_is_meant(tmp_path) -> None:
    public = "https://raw.githubusercontent.com/owner/assets/" + "0123456789" * 4
    assert str(source_of(None, MANIFEST)) == public
    assert isinstance(source_of(str(tmp_path), MANIFEST), FolderSource)
    assert isinstance(source_of("http://127.0.0.1:9/tree", MANIFEST), UrlSource)
    for wrong in ("ftp://host/tree", "file:///tree", "https://"):
        with pytest.raises(UserError, match="only http:// and https://"):
            source_of(wrong, MANIFEST)
    with pytest.raises(UserError, match="no such folder"):
        source_of(str(tmp_path / "nowhere"), MANIFEST)
