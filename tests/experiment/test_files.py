"""Files that are whole or absent."""

import errno
import os
from pathlib import Path

import pytest

from experiment.errors import UserError
from experiment.files import append_line, write_bytes


def fail_with(code: int):  # type: ignore[no-untyped-def]
    """Return an `os.fsync` for a disk that answers with `code`."""

    def fsync(_: int) -> None:
        raise OSError(code, os.strerror(code))

    return fsync


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "video.mp4"
    write_bytes(path, b"old")
    monkeypatch.setattr(os, "fsync", fail_with(errno.ENOSPC))
    with pytest.raises(UserError, match=r"disk is full.*video\.mp4"):
        write_bytes(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_record_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "episodes.jsonl"
    append_line(path, '{"index": 0}')
    monkeypatch.setattr(os, "fsync", fail_with(errno.ENOSPC))
    with pytest.raises(UserError, match="disk is full"):
        append_line(path, '{"index": 1}')
    assert path.read_text() == '{"index": 0}\n'


def test_a_torn_last_line_is_dropped_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    path.write_text('{"index": 0}\n{"ind')
    append_line(path, '{"index": 1}')
    assert path.read_text() == '{"index": 0}\n{"index": 1}\n'


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError, match="runs"):
        write_bytes(tmp_path / "runs" / "x.json", b"{}")
