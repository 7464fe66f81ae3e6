"""What the RLDS reader says about damaged data sets: a sentence with file and record, always."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from experiment.errors import UserError
from tests.worldmodel import rlds_records as made
from tests.worldmodel.fuzz_rlds import fuzz
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.formats.rlds import RldsEpisodes
from worldmodel.data.formats.rlds.example import masked_crc
from worldmodel.data.formats.storage import Storage

STEPS = {
    "action": made.tensor("float32", 2),
    "image": made.picture(16, 24, 3),
    "text": made.text(),
    "done": made.tensor("bool"),
}
JPEG = simplejpeg.encode_jpeg(np.full((16, 24, 3), 90, np.uint8))
GOOD: dict[str, Any] = {
    "steps/action": [0.5, 1.0, -1.0, 2.0],
    "steps/image": [JPEG, JPEG],
    "steps/text": ["開ける".encode(), b""],
    "steps/done": [0, 1],
}


def opened(root: Path, **options: Any) -> RldsEpisodes:
    return RldsEpisodes.open(Storage(str(root)), **options)


def one(root: Path, **values: Any) -> RldsEpisodes:
    """Return a data set of a good record and one with other lists in it."""
    changed = {**GOOD, **{f"steps/{name}": value for name, value in values.items()}}
    return opened(made.write(root / "set", STEPS, [made.example(GOOD), made.example(changed)]))


def test_what_is_whole_is_read(tmp_path: Path) -> None:
    episode = one(tmp_path)[1]
    assert episode.array("action").tolist() == [[0.5, 1.0], [-1.0, 2.0]]
    assert episode.array("done").tolist() == [False, True]
    assert episode.text("text") == ["開ける", ""]
    assert episode.images("image").shape == (2, 16, 24, 3)
    assert episode.name.endswith("set/made-train.tfrecord-00000-of-00001, record 1")


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("action", [0.5, float("nan"), 1.0, 2.0], "'steps/action' that is not finite in step 0"),
        ("action", [0.5, 1.0, 1.0, float("-inf")], "'steps/action' that is not finite in step 1"),
        ("action", [0.5, 1.0, 1.0], "3 numbers in 'steps/action' instead of 4"),
        ("action", [1, 2, 3, 4], "has int64_list where float_list is expected"),
        ("action", made.part(2, made.part(1, b"abcdef")), "ends within a number"),
        ("action", made.part(2, b"\x09" + bytes(8)), "wire type 1 in a list of numbers"),
        ("action", made.part(2, b"\x12\x00"), "has the field 2"),
        ("image", [JPEG, JPEG[:200]], r"'steps/image', step 1, that is a JPEG that does not dec"),
        ("image", [JPEG, b"GIF89a"], "step 1, that is neither a JPEG nor a PNG"),
        ("image", [JPEG], "1 entries in 'steps/image' instead of 2"),
        (
            "image",
            [JPEG, simplejpeg.encode_jpeg(np.zeros((8, 24, 3), np.uint8))],
            r"step 1, that is of 8 x 24 pixels where features.json says \(16, 24\)",
        ),
        ("text", [b"ok", b"\xff\xfe"], "a text in 'steps/text' that is no UTF-8"),
    ],
)
def test_a_column_that_is_damaged(tmp_path: Path, column: str, value: Any, sentence: str) -> None:
    episodes = one(tmp_path, **{column: value})
    read = {"image": "images", "text": "text"}.get(column, "array")
    with pytest.raises(DamagedRecord, match=f"00000-of-00001, record 1 .*{sentence}"):
        getattr(episodes[1], read)(column)
    assert len(getattr(episodes[0], read)(column)) == 2


@pytest.mark.parametrize(
    ("example", "sentence"),
    [
        (b"\x08\x01", "wire type 0 in field 1 where 2 is expected"),
        (made.part(2, b""), "has the field 2"),
        (made.part(1, made.part(1, made.part(1, b"\xff") + made.part(2, b""))), "no UTF-8"),
        (made.part(1, made.part(1, made.part(1, b"a"))), "not a name and a list"),
        (made.example(GOOD)[:-1], "continues past its end"),
        (made.example(GOOD) + b"\x0a\xff", "ends within a number"),
        (made.example(GOOD) + b"\x0a" + b"\xff" * 10, "more than 64 bits"),
        (made.example(GOOD) + made.example({"steps/done": [0, 1]}), "has 'steps/done' twice"),
        (made.example({**GOOD, "steps/done": b""}), "not exactly one list"),
        (made.example({"steps/text": [b"a"]}), "has no 'steps/done', which features.json lists"),
        (made.example({**GOOD, "steps/done": []}), "an episode without steps"),
    ],
)
def test_a_record_that_is_damaged(tmp_path: Path, example: bytes, sentence: str) -> None:
    root = made.write(tmp_path / "set", STEPS, [made.example(GOOD), example, made.example(GOOD)])
    with pytest.raises(DamagedRecord, match=f"record 1 .*{sentence}"):
        opened(root)[1]
    kept = opened(root, on_damage="keep")
    with pytest.raises(DamagedRecord, match=f"record 1 .*{sentence}"):
        kept[1]
    for number in (0, 2):
        assert kept.lengths[number] == len(kept[number].text("text")) == 2


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("damage", "record", "sentence"),
    [
        (lambda c, n: c[: n + 7], 1, "begins less than 12 bytes before the file's end"),
        (lambda c, n: c[:n], 1, "is missing, the file being truncated"),
        (lambda c, n: c[: n + 50], 1, "bytes after the file's end"),
        (lambda c, n: _flipped(c, n + 1), 1, "a length whose checksum does not agree"),
        (lambda c, n: _flipped(c, n + 30), 1, "data whose checksum does not agree"),
        (lambda c, n: _flipped(c, 2 * n - 1), 1, "data whose checksum does not agree"),
    ],
)
def test_a_file_that_is_damaged(
    tmp_path: Path, damage: Callable[[bytes, int], bytes], record: int, sentence: str
) -> None:
    root = made.write(tmp_path / "set", STEPS, [made.example(GOOD)] * 3)
    path = made.shards(root)[0]
    content = path.read_bytes()
    path.write_bytes(damage(content, len(content) // 3))
    with pytest.raises(DamagedRecord, match=f"00000-of-00001, record {record} .*{sentence}"):
        opened(root)[record]
    kept = opened(root, on_damage="keep")
    assert len(kept) == 3
    assert len(kept[0]) == 2
    with pytest.raises(DamagedRecord, match=sentence):
        kept[record]


def test_a_length_that_lies_with_a_checksum(tmp_path: Path) -> None:
    root = made.write(tmp_path / "set", STEPS, [made.example(GOOD)])
    length = struct.pack("<Q", 2**62)
    made.shards(root)[0].write_bytes(length + struct.pack("<I", masked_crc(length)))
    with pytest.raises(DamagedRecord, match=r"record 0 .* ends 46116.* bytes after"):
        opened(root)


def test_a_file_changes_or_vanishes_while_it_is_read(tmp_path: Path) -> None:
    root = made.write(tmp_path / "set", STEPS, [made.example(GOOD)] * 3)
    episodes, path = opened(root), made.shards(root)[0]
    content = path.read_bytes()
    other = made.frame(made.example({**GOOD, "steps/text": [b"a", b"b", b"c", b"d"]}))
    path.write_bytes(other + content[len(other) :])
    with pytest.raises(DamagedRecord, match=r"record 0 .*(checksum|index)"):
        episodes[0]
    path.write_bytes(content[:-5])
    with pytest.raises(UserError, match=r"00000-of-00001 ends before byte .* truncated"):
        episodes[2]
    path.unlink()
    with pytest.raises(UserError, match="00000-of-00001 is missing"):
        episodes[1]


def test_more_records_than_are_listed(tmp_path: Path) -> None:
    root = made.write(tmp_path / "set", STEPS, [made.example(GOOD)])
    path = made.shards(root)[0]
    path.write_bytes(path.read_bytes() * 2)
    for on_damage in ("stop", "keep"):
        with pytest.raises(
            UserError, match=r"continues after the 1 records that dataset_info\.json"
        ):
            opened(root, on_damage=on_damage)


def test_the_kept_index_is_of_these_files(tmp_path: Path) -> None:
    root = made.write(tmp_path / "set", STEPS, [made.example(GOOD)] * 3)
    folder = tmp_path / "cache"
    first = opened(root, index_folder=folder)
    (kept,) = folder.rglob("*.json")
    written = kept.read_bytes()
    # Kept numbers are used as they are, and records checked against them.
    kept.write_bytes(written.replace(b'"steps": [2', b'"steps": [1'))
    wrong = opened(root, index_folder=folder)
    assert wrong.lengths.tolist() == [1, 2, 2]
    with pytest.raises(DamagedRecord, match="instead of 1"):
        wrong[0].text("text")
    for damaged in (written[:20], b"[]", b'{"format": 1}', written.replace(b"[2, ", b"[")):
        kept.write_bytes(damaged)
        again = opened(root, index_folder=folder)
        np.testing.assert_array_equal(again.lengths, first.lengths)
        assert kept.read_bytes() == written
    made.shards(root)[0].unlink()
    with pytest.raises(UserError, match="is missing"):
        opened(root, index_folder=folder)


def _info(root: Path, **changes: Any) -> None:
    path = root / "dataset_info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _split(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "train", "shardLengths": ["1"], **changes}]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"splits": []}, "lists no split 'train'"),
        ({"splits": _split(name="val")}, "lists no split 'train'.* Known: val"),
        ({"splits": _split(shardLengths=["x"])}, "is damaged"),
        ({"splits": _split(shardLengths=[])}, "does not say how many episodes"),
        ({"splits": _split(shardLengths=[10**30])}, "does not say how many episodes"),
        ({"splits": _split(filepathTemplate="{NOPE}")}, "is damaged"),
        ({"splits": _split(filepathTemplate="../../{DATASET}")}, "not a file inside"),
        ({"splits": _split(shardLengths=["1", "1"])}, "00000-of-00002 is missing"),
        ({"fileFormat": "array_record"}, "format 'array_record' are not read, only tfrecord"),
        ({"splits": 3}, "is damaged"),
    ],
)
def test_dataset_info(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    root = made.write(tmp_path / "set", STEPS, [made.example(GOOD)])
    _info(root, **changes)
    with pytest.raises(UserError, match=sentence):
        opened(root)


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ("{", "features.json is damaged"),
        ("[]", "features.json is damaged"),
        ('{"type": "x.FeaturesDict", "content": {}}', "of a TFDS from before 2022"),
        (made.features({"image": made.picture(2, 2, 3)}), "no data set 'steps'"),
        (made.features({"steps": made.text()}), "no data set 'steps'"),
        (made.features({"steps": made.sequence(made.features({}))}), "no column in 'steps'"),
        (
            made.features({"steps": made.sequence(made.features(STEPS)), "text": made.text()}),
            "has both 'text' and 'steps/text'",
        ),
        (made.features({"steps": made.sequence(made.tensor("float32", 10**30))}), "is damaged"),
    ],
)
def test_features(tmp_path: Path, schema: Any, sentence: str) -> None:
    root = made.write(tmp_path / "set", STEPS, [made.example(GOOD)])
    text = schema if isinstance(schema, str) else json.dumps(schema)
    (root / "features.json").write_text(text)
    with pytest.raises(UserError, match=sentence):
        opened(root)


def test_a_column_that_only_the_schema_has(tmp_path: Path) -> None:
    steps = {**STEPS, "state": made.tensor("float32", 7)}
    episodes = opened(made.write(tmp_path / "set", steps, [made.example(GOOD)]))
    with pytest.raises(DamagedRecord, match=r"record 0 has no 'steps/state', which features.json"):
        episodes[0].array("state")
    assert len(episodes[0].array("action")) == 2


def test_features_of_unknown_kinds_stand_in_nobodys_way(tmp_path: Path) -> None:
    steps = {**STEPS, "sound": {"pythonClassName": "tfds.Audio", "audio": {}}}
    steps["complex"] = made.tensor("complex64", 2)
    episodes = opened(made.write(tmp_path / "set", steps, [made.example(GOOD)]))
    assert set(episodes.columns) == set(STEPS)
    with pytest.raises(UserError, match=r"'sound' cannot be read: .* the kind Audio are not read"):
        episodes[0].array("sound")
    with pytest.raises(
        UserError, match=r"'complex' cannot be read: .* the type complex64 and the shape"
    ):
        episodes[0].array("complex")


def test_a_folder_that_is_no_version(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no features\.json: give the folder of one version"):
        opened(tmp_path)


@pytest.mark.slow
def test_random_damage(tmp_path: Path) -> None:
    outcomes, failures = fuzz(150, 7, tmp_path)
    assert failures == []
    assert sum(n for (_, what), n in outcomes.items() if what != "as written") > 75
