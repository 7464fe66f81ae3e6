"""What official files are there: the manifest, how a clone gives it, the status, the commands."""

import dataclasses
import json
import subprocess
from pathlib import Path

import pytest

from envs.simpler.assets import __main__ as command
from envs.simpler.assets import manifest as listing
from envs.simpler.assets.from_clone import manifest_of
from envs.simpler.assets.manifest import GROUPS, STAND_INS, Manifest, official
from envs.simpler.assets.status import missing_lines, report, status
from experiment.errors import UserError
from tests.envs import assets_world as world

MANIFEST = world.manifest()


@pytest.fixture
def tiny(monkeypatch) -> None:
    """The commands and checks take the small tree for the official one."""
    monkeypatch.setattr(command, "official", lambda: MANIFEST)
    monkeypatch.setattr(listing, "official", lambda: MANIFEST)
    monkeypatch.delenv("SIMPLER_ASSETS", raising=False)


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_pinned_list_is_sane() -> None:
    pinned = official()
    assert len(pinned.revision) == 40
    assert {entry.group for entry in pinned.entries.values()} == {*GROUPS, "licence"}
    assert {Path(e.path).stem for e in pinned.of(("stages",))} == {*STAND_INS, "LICENSE"}
    for entry in pinned.entries.values():
        assert len(entry.checksum) == 40
        assert entry.size is None or entry.size > 0
        # A size may only be left open where a stand-in keeps the file from being essential.
        assert entry.size is not None or not entry.essential


def test_a_manifest_reads_back_as_written(tmp_path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(MANIFEST.text())
    assert Manifest.read(path) == MANIFEST
    assert Manifest.read(listing.MANIFEST_FILE).text() == listing.MANIFEST_FILE.read_text()


@pytest.mark.parametrize("content", ["", "[]", '{"files": {}}', '{"files": {"a": {"b": 3}}}'])
def test_a_broken_manifest_is_named(tmp_path, content) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json is not a manifest"):
        Manifest.read(path)


def test_a_clone_gives_the_list(tmp_path) -> None:
    clone = world.write_tree(tmp_path)
    models = clone / "data/custom/models"
    (clone / "data/custom/info_pick.json").write_text(json.dumps({"eggplant": {}}))
    unused = [
        models / "eggplant/textured_bkup.glb",
        models / "eggplant/manual/textured.dae",
        models / "uncatalogued/collision.obj",
        clone / "data/hab2_bench_assets/stages/modern_office.glb",
        clone / "data/real_inpainting/fractal/another_episode.png",
        clone / "data/custom/mk_station4.urdf",
        clone / "data/debug/film.mp4",
        clone / "mani_skill2_real2sim/code.py",
    ]
    for path in unused:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("unused")
    git(clone, "init", "-q")
    git(clone, "add", ".")
    git(clone, "commit", "-q", "-m", "files")
    made = manifest_of(clone, "owner/assets", "HEAD")
    assert made.revision == git(clone, "rev-parse", "HEAD")
    assert set(made.entries) == {*world.CONTENT, "data/custom/info_pick.json"}
    for path, content in world.CONTENT.items():
        entry = made.entries[path]
        assert (entry.size, entry.checksum) == (len(content), world.git_checksum(content))

    blob = made.entries[world.STAGE].checksum
    (clone / ".git/objects" / blob[:2] / blob[2:]).unlink()
    again = manifest_of(clone, "owner/assets", made.revision)
    assert again.entries[world.STAGE] == dataclasses.replace(made.entries[world.STAGE], size=None)

    with pytest.raises(UserError, match="name a clone that has the pinned revision"):
        manifest_of(clone, "owner/assets", "0" * 40)
    with pytest.raises(UserError, match="git cannot read"):
        manifest_of(tmp_path / "nowhere", "owner/assets", "HEAD")


def test_the_third_cabinet_has_its_table_top() -> None:
    entry = official().entries["data/custom/models/stone_tabletop.glb"]
    assert (entry.group, entry.essential) == ("cabinet", True)


def test_a_clone_of_something_else(tmp_path) -> None:
    (tmp_path / "LICENSE").write_text("x")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "files")
    with pytest.raises(UserError, match="has no official files"):
        manifest_of(tmp_path, "owner/assets", "HEAD")


def test_status_of_a_whole_folder(tmp_path) -> None:
    found = status(world.write_tree(tmp_path), MANIFEST)
    assert found.usable
    lines = list(report(found))
    assert len(lines) == 1 + len(GROUPS) + 1
    assert lines[1].split() == ["robots", "1", "of", "1", "files", "0.2", "MB"]
    assert "revision 0123456: all 7 files here have the right size (2 of unknown" in lines[-1]
    assert "right checksum" in list(report(status(tmp_path, MANIFEST, verify=True)))[-1]


def test_missing_stages_name_their_stand_in_and_the_folder_stays_usable(tmp_path) -> None:
    world.write_tree(tmp_path, without=(world.STAGE, world.DRAWING))
    found = status(tmp_path, MANIFEST)
    assert found.usable
    lines = list(report(found))[-2:]
    assert lines[0] == f"  missing: {world.DRAWING}: a plain shape is drawn"
    assert f"missing: {world.STAGE}: eggplant_in_basket: a plain table" in lines[1]


@pytest.mark.parametrize("path", [world.ROBOT, world.CABINET, world.COLLISION, world.PHOTOGRAPH])
def test_what_tasks_need_makes_a_folder_unusable(tmp_path, path) -> None:
    world.write_tree(tmp_path, without=(path,))
    found = status(tmp_path, MANIFEST)
    assert not found.usable
    assert list(report(found))[-1] == f"  missing: {path}: tasks cannot do without it"


def test_another_revision_shows_by_size_or_by_content(tmp_path) -> None:
    world.write_tree(tmp_path)
    (tmp_path / world.CABINET).write_bytes(b"<Cabinet/>")
    assert status(tmp_path, MANIFEST).usable
    found = status(tmp_path, MANIFEST, verify=True)
    assert not found.usable
    assert f"not revision 0123456: {world.CABINET} differs; install again" in "".join(report(found))
    (tmp_path / world.ROBOT).write_bytes(b"short")
    assert [e.path for e in status(tmp_path, MANIFEST).differing] == [world.ROBOT]
    found = status(tmp_path, MANIFEST, verify=True)
    assert f"{world.ROBOT} and 1 more differ;" in "".join(report(found))


def test_long_lists_of_missing_files_are_cut(tmp_path) -> None:
    robots = official().of(("robots",))
    lines = list(missing_lines(robots, most=3))
    assert len(lines) == 5  # three, how many more, and the licence
    assert lines[3] == f"  missing: {len(robots) - 1 - 3} more files of robots"


def test_a_file_is_checked_by_its_size(tmp_path, tiny) -> None:
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


@pytest.mark.parametrize("named", ["", "relative/folder"])
def test_the_default_folder(tmp_path, monkeypatch, named) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", named)
    ours = Path("self-flow-robotics/ManiSkill2_real2sim")
    assert listing.default_root() == tmp_path / ".local/share" / ours
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert listing.default_root() == tmp_path / "data" / ours


def test_the_commands_install_and_look(tmp_path, tiny, monkeypatch, capsys) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    source = world.write_tree(tmp_path / "source", without=(world.STAGE,))
    assert command.run(["install", "--from", str(source)]) == 0
    assert world.tree(listing.default_root()) == world.tree(source)
    said = capsys.readouterr().out
    assert "6 files (0.5 MB) came" in said
    assert f"missing: {world.STAGE}: eggplant_in_basket" in said
    assert "export" not in said
    assert command.run(["status"]) == 0
    assert command.run(["status", "--verify", "--root", str(source)]) == 0

    to = tmp_path / "to"
    (source / world.ROBOT).unlink()
    assert command.run(["install", "--from", str(source), "--to", str(to)]) == 1
    assert f"export SIMPLER_ASSETS={to}" in capsys.readouterr().out
    monkeypatch.setenv("SIMPLER_ASSETS", str(to))
    assert command.run(["status"]) == 1
    assert str(to) in capsys.readouterr().out
    only = ["--only", "cabinet", "photographs"]
    assert command.run(["install", "--from", str(source), "--to", str(tmp_path / "c"), *only]) == 0
    assert set(world.tree(tmp_path / "c")) == {"LICENSE", world.CABINET, world.PHOTOGRAPH}


def test_the_manifest_command_writes_the_list(tmp_path, tiny, capsys) -> None:
    clone = world.write_tree(tmp_path / "clone")
    (clone / "data/custom/info_pick.json").write_text('{"eggplant": {}}')
    git(clone, "init", "-q")
    git(clone, "add", ".")
    git(clone, "commit", "-q", "-m", "files")
    out = tmp_path / "out.json"
    assert command.run(["manifest", str(clone), "--revision", "HEAD", "--out", str(out)]) == 0
    assert set(Manifest.read(out).entries) == {*world.CONTENT, "data/custom/info_pick.json"}
    with pytest.raises(UserError, match="pinned revision"):
        command.run(["manifest", str(clone), "--out", str(out)])


def test_an_interruption_says_that_it_goes_on(tmp_path, tiny, monkeypatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "install", interrupted)
    with pytest.raises(UserError, match="goes on where it stopped"):
        command.run(["install", "--from", str(tmp_path), "--to", str(tmp_path / "to")])


@pytest.mark.parametrize(
    "arguments",
    [[], ["instal"], ["install", "--only", "tables"], ["status", "extra"], ["manifest"]],
)
def test_wrong_arguments_end_with_code_2(arguments, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        command.run(arguments)
    assert ended.value.code == 2
    assert "usage: python -m envs.simpler.assets" in capsys.readouterr().err


def test_there_is_no_folder(tmp_path, tiny) -> None:
    with pytest.raises(UserError, match=r"there is no asset folder .*; fill it"):
        command.run(["status", "--root", str(tmp_path / "nowhere")])


def test_the_official_folder_is_the_pinned_revision(simpler_assets) -> None:
    found = status(simpler_assets, official())
    assert found.usable, "\n".join(report(found))
    assert len(found.missing) + len(found.unsized) < 20
