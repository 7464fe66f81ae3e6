"""Official files: installed whole or not at all, checked, resumable; what a folder lacks."""

import errno
import io
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pooch.core
import pytest

from envs.simpler.assets import __main__ as command
from envs.simpler.assets import manifest as listing
from envs.simpler.assets.install import Installed, install
from envs.simpler.assets.manifest import GROUPS, official
from envs.simpler.assets.status import missing_lines, report, status
from envs.simpler.primitives.stages import STAGES
from experiment.errors import UserError
from tests.envs import assets_world as world

MANIFEST = world.manifest()


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy must not stand between a test and its own server, nor a pause between attempts."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(pooch.core.time, "sleep", lambda _: None)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands and checks take the small tree for the official one."""
    monkeypatch.setattr(command, "official", lambda: MANIFEST)
    monkeypatch.setattr(listing, "official", lambda: MANIFEST)
    monkeypatch.delenv("SIMPLER_ASSETS", raising=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return world.write_tree(tmp_path / "source")


@pytest.fixture
def server() -> Iterator[world.Server]:
    with world.serving() as served:
        yield served


def bring(source: Path | str, root: Path, timeout: float = 20.0) -> Installed:
    return install(str(source), root, MANIFEST, timeout)


# ---- install ------------------------------------------------------------------------------------


def test_from_a_folder_everything_arrives_and_nothing_else(tmp_path: Path, source: Path) -> None:
    (source / "data/custom/models/eggplant/textured_bkup.glb").write_bytes(b"not listed")
    done = bring(source, tmp_path / "to")
    assert world.tree(tmp_path / "to") == world.CONTENT
    assert {entry.path for entry in done.brought} == set(world.CONTENT)
    assert not done.missing


def test_from_an_address_what_is_there_is_not_fetched_again(
    tmp_path: Path, server: world.Server
) -> None:
    world.write_tree(tmp_path, without=(world.ROBOT, world.STAGE))
    done = bring(server.base + "/", tmp_path)
    assert world.tree(tmp_path) == world.CONTENT
    assert server.asked == {world.ROBOT: 1, world.STAGE: 1}
    assert len(done.kept) == len(world.CONTENT) - 2
    assert bring(server.base, tmp_path).brought == []
    assert server.asked.total() == 2


def test_truncated_and_altered_files_are_replaced(tmp_path: Path, source: Path) -> None:
    to = world.write_tree(tmp_path / "to")
    (to / world.ROBOT).write_bytes(world.CONTENT[world.ROBOT][:-1])
    (to / world.CABINET).write_bytes(b"<Cabinet/>")
    (to / world.STAGE).write_bytes(b"glT")
    done = bring(source, to)
    assert {entry.path for entry in done.brought} == {world.ROBOT, world.CABINET, world.STAGE}
    assert world.tree(to) == world.CONTENT


@pytest.mark.parametrize("by_web", [False, True])
def test_what_the_source_lacks_is_named_and_the_rest_comes(
    tmp_path: Path, source: Path, server: world.Server, by_web: bool
) -> None:
    lacking = {world.STAGE, world.DRAWING, world.COLLISION}
    for path in lacking:
        (source / path).unlink()
    server.faults = dict.fromkeys(lacking, 404)
    done = bring(server.base if by_web else source, tmp_path / "to")
    assert {entry.path for entry in done.missing} == lacking
    assert set(world.tree(tmp_path / "to")) == set(world.CONTENT) - lacking
    assert all(server.asked[path] <= 1 for path in lacking)


def test_a_source_with_nothing_leaves_nothing(tmp_path: Path, server: world.Server) -> None:
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", server.base + "/elsewhere"):
        with pytest.raises(UserError, match=r"has none of the official files"):
            bring(nothing, tmp_path / "to")
        assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("path", [world.ROBOT, world.STAGE])
def test_another_revision_never_gets_a_final_name(tmp_path: Path, source: Path, path: str) -> None:
    (source / path).write_bytes(world.CONTENT[path][::-1])
    with pytest.raises(UserError, match=rf"{Path(path).name} is not the file of the pinned"):
        bring(source, tmp_path / "to")
    arrived = world.tree(tmp_path / "to")
    assert path not in arrived
    assert arrived.items() <= world.CONTENT.items()


@pytest.mark.parametrize("fault", ["cut", "other", "longer", 503, 429])
@pytest.mark.parametrize("path", [world.ROBOT, world.STAGE])
def test_a_passing_fault_is_tried_again(
    tmp_path: Path, server: world.Server, fault: int | str, path: str
) -> None:
    server.faults, server.times = {path: fault}, {path: 2}
    bring(server.base, tmp_path)
    assert server.asked[path] == 3
    assert world.tree(tmp_path) == world.CONTENT


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("cut", r"broke off, 4 attempts\); check the network"),
        ("other", "is not the file of the pinned revision"),
        (403, "it answered 403 Forbidden"),
        (500, "it answered 500"),
        ("hang", "could not be read"),
    ],
)
def test_a_lasting_fault_is_one_sentence(
    tmp_path: Path, server: world.Server, fault: int | str, words: str
) -> None:
    server.faults = {world.ROBOT: fault}
    with pytest.raises(UserError, match=words) as caught:
        bring(server.base, tmp_path, timeout=0.3)
    assert "robot.urdf" in str(caught.value)
    arrived = world.tree(tmp_path)
    assert world.ROBOT not in arrived
    assert arrived.items() <= world.CONTENT.items()


def test_no_network(tmp_path: Path) -> None:
    with world.serving() as gone:
        base = gone.base
    with pytest.raises(UserError, match=r"could not be read .*connection.*--from"):
        bring(base, tmp_path / "to")
    assert not (tmp_path / "to").exists()


@pytest.mark.slow
def test_a_kill_leaves_only_whole_files_and_the_next_install_resumes(
    tmp_path: Path, server: world.Server
) -> None:
    server.faults, server.times = {world.STAGE: "hang"}, {world.STAGE: 1}
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.envs import assets_world as world\n"
        "from envs.simpler.assets.install import install\n"
        "install(sys.argv[1], Path(sys.argv[2]), world.manifest())\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, server.base, str(tmp_path)])
    try:
        assert server.hanging.wait(300)
        others = [tmp_path / path for path in world.CONTENT if path != world.STAGE]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not all(path.is_file() for path in others):
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
    left = world.tree(tmp_path)
    torn = set(left) - set(world.CONTENT)
    assert len(torn) == 1
    assert world.STAGE not in left
    assert {p: c for p, c in left.items() if p not in torn}.items() <= world.CONTENT.items()
    server.asked.clear()
    server.release.set()
    bring(server.base, tmp_path)
    assert server.asked == {world.STAGE: 1}
    assert world.tree(tmp_path) == world.CONTENT


def test_two_at_once_take_turns_and_fetch_once(
    tmp_path: Path, server: world.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults, server.times = {world.STAGE: "hang"}, {world.STAGE: 1}
    results = []
    # Reading capsys while another thread prints may lose what it is just printing.
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)

    def work() -> None:
        results.append(bring(server.base, tmp_path))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert server.hanging.wait(20)
    deadline = time.monotonic() + 20
    while "another install is filling" not in said.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    waited = "another install is filling" in said.getvalue()
    server.release.set()
    for thread in threads:
        thread.join(20)
    assert waited
    assert world.tree(tmp_path) == world.CONTENT
    assert sorted(len(done.brought) for done in results) == [0, len(world.CONTENT)]
    assert set(server.asked.values()) == {1}


def test_a_full_disk_leaves_nothing(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: str, output: str) -> None:
        Path(output).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(UserError, match="the disk is full"):
        bring(source, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_targets_that_cannot_be_written(tmp_path: Path, source: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="could not be written"):
        bring(source, tmp_path / "file" / "to")
    (tmp_path / "to" / world.ROBOT).mkdir(parents=True)
    with pytest.raises(UserError, match=r"robot.urdf could not be written"):
        bring(source, tmp_path / "to")


def test_wrong_sources(tmp_path: Path, source: Path) -> None:
    (source / world.ROBOT).write_bytes(b"broken")
    with pytest.raises(UserError, match="--from and --to both name"):
        bring(source, source)
    for wrong in (tmp_path / "nowhere", "ftp://host/tree"):
        with pytest.raises(UserError, match=r"no such folder.*https://"):
            bring(wrong, tmp_path / "to")


# ---- what is there ------------------------------------------------------------------------------


def test_the_pinned_list_is_sane() -> None:
    entries = official().entries.values()
    assert len(official().revision) == 40
    assert {entry.group for entry in entries} == set(GROUPS)
    assert {Path(e.path).stem for e in entries if e.group == "stages"} == set(STAGES)
    for entry in entries:
        # Size and SHA-256 may only be left open where a stand-in keeps the file from being needed.
        assert (entry.size is None) == (entry.sha256 is None)
        assert entry.sha256 or not entry.essential
    # The third cabinet needs its table top, which lies among the objects' models.
    top = official().entries["data/custom/models/stone_tabletop.glb"]
    assert (top.group, top.essential) == ("cabinet", True)


def test_the_official_folder_is_the_pinned_revision(simpler_assets: Path) -> None:
    current = status(simpler_assets, official(), verify=True)
    assert current.usable, "\n".join(report(current))
    assert len(current.missing) < 20


def test_status_of_a_whole_folder(tmp_path: Path) -> None:
    current = status(world.write_tree(tmp_path), MANIFEST)
    assert current.usable
    lines = list(report(current))
    assert lines[1].split() == ["robots", "1", "of", "1", "files", "0.2", "MB"]
    assert lines[-1] == "revision 0123456: all 7 files here have the right size"
    assert "right checksum" in list(report(status(tmp_path, MANIFEST, verify=True)))[-1]


def test_missing_stages_name_their_stand_in_and_the_folder_stays_usable(tmp_path: Path) -> None:
    world.write_tree(tmp_path, without=(world.STAGE, world.DRAWING))
    current = status(tmp_path, MANIFEST)
    assert current.usable
    lines = list(report(current))[-2:]
    assert lines[0] == f"  missing: {world.DRAWING}: a plain shape is drawn"
    assert f"missing: {world.STAGE}: a plain table or room stands in" in lines[1]


@pytest.mark.parametrize("path", [world.ROBOT, world.CABINET, world.COLLISION, world.PHOTOGRAPH])
def test_what_tasks_need_makes_a_folder_unusable(tmp_path: Path, path: str) -> None:
    current = status(world.write_tree(tmp_path, without=(path,)), MANIFEST)
    assert not current.usable
    assert list(report(current))[-1] == f"  missing: {path}: tasks need it"


def test_another_revision_shows_by_size_or_by_content(tmp_path: Path) -> None:
    world.write_tree(tmp_path)
    for path in (world.CABINET, world.STAGE):
        (tmp_path / path).write_bytes(world.CONTENT[path].upper())
    assert status(tmp_path, MANIFEST).usable
    current = status(tmp_path, MANIFEST, verify=True)
    assert not current.usable
    assert f"another checksum of {world.CABINET} and 1 more; install" in "".join(report(current))
    (tmp_path / world.ROBOT).write_bytes(b"short")
    assert not status(tmp_path, MANIFEST).usable


def test_what_is_needed_is_listed_first_and_long_lists_are_cut() -> None:
    objects = [entry for entry in official().entries.values() if entry.group == "objects"]
    lines = list(missing_lines(objects, most=3))
    assert all(line.endswith("tasks need it") for line in lines[:3])
    assert lines[3:] == [f"  missing: {len(objects) - 3} more files of objects"]


def test_a_file_is_checked_by_its_size(tmp_path: Path, tiny: None) -> None:
    world.write_tree(tmp_path)
    for path in (*world.CONTENT, "data/custom/models/of_my_own/collision.obj"):
        listing.check_file(tmp_path, path)
    assert listing.missing(tmp_path) == []
    (tmp_path / world.ROBOT).write_bytes(b"short")
    with pytest.raises(UserError, match=r"another revision or truncated \(5 bytes instead of 16"):
        listing.check_file(tmp_path, world.ROBOT)
    (tmp_path / world.STAGE).unlink()
    with pytest.raises(UserError, match=r"bridge_table_1_v2.glb is missing; install it"):
        listing.check_file(tmp_path, world.STAGE)
    assert listing.missing(tmp_path) == [world.STAGE]


# ---- the commands -------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["", "relative/folder"])
def test_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", named)
    ours = Path("self-flow-robotics/ManiSkill2_real2sim")
    assert listing.default_root() == tmp_path / ".local/share" / ours
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert listing.default_root() == tmp_path / "data" / ours


def test_the_commands_install_and_look(
    tmp_path: Path, tiny: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    source = world.write_tree(tmp_path / "source", without=(world.STAGE,))
    assert command.run(["install", "--from", str(source)]) == 0
    assert world.tree(listing.default_root()) == world.tree(source)
    output = capsys.readouterr().out
    assert "6 files (0.5 MB) installed" in output
    assert f"missing: {world.STAGE}: a plain table" in output
    assert "export" not in output
    assert command.run(["status"]) == 0
    assert command.run(["status", "--verify", "--root", str(source)]) == 0

    to = tmp_path / "to"
    (source / world.ROBOT).unlink()
    assert command.run(["install", "--from", str(source), "--to", str(to)]) == 1
    assert f"export SIMPLER_ASSETS={to}" in capsys.readouterr().out
    monkeypatch.setenv("SIMPLER_ASSETS", str(to))
    assert command.run(["status"]) == 1
    assert str(to) in capsys.readouterr().out
    with pytest.raises(UserError, match=r"there is no asset folder .*; fill it"):
        command.run(["status", "--root", str(tmp_path / "nowhere")])


def test_an_interruption_says_that_it_resumes(
    tmp_path: Path, tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "install", interrupted)
    with pytest.raises(UserError, match="resumes where it stopped"):
        command.run(["install", "--from", str(tmp_path), "--to", str(tmp_path / "to")])


@pytest.mark.parametrize("arguments", [[], ["instal"], ["status", "extra"]])
def test_wrong_arguments_end_with_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.run(arguments)
    assert ended.value.code == 2
    assert "usage: python -m envs.simpler.assets" in capsys.readouterr().err
