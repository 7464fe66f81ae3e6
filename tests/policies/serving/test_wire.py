"""Frames come back as they were sent; what is no frame is named and does no harm."""

import io
import pickle
from typing import Any

import numpy as np
import pytest
from PIL import Image

msgpack = pytest.importorskip("msgpack", reason="serving needs the extra 'serve'")

from experiment.errors import UserError  # noqa: E402
from policies.serving.wire import Dialect, decode, encode  # noqa: E402


@pytest.mark.parametrize("dialect", ["openpi", "vla-eval"])
def test_arrays_come_back(dialect: Dialect) -> None:
    arrays: dict[str, np.ndarray | np.generic] = {
        "picture": np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        "state": np.linspace(0, 1, 10, dtype=np.float32),
        "flag": np.array([True, False]),
        "empty": np.zeros((0, 7)),
        "scalar": np.float32(0.5),
    }
    back = decode(encode(arrays, dialect))
    for name, array in arrays.items():
        assert np.array_equal(back[name], array), name
    assert back["picture"].dtype == np.uint8


def array(**changes: Any) -> bytes:
    fields = {"__ndarray__": True, "data": b"\0" * 8, "dtype": "<f4", "shape": [2]} | changes
    return msgpack.packb({"a": {key.encode(): value for key, value in fields.items()}})


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, "PNG")
    return file.getvalue()


def test_a_compressed_picture_is_read_within_limits() -> None:
    picture = {"__image__": True, "format": "png", "data": png(4, 3)}
    assert decode(msgpack.packb({"a": picture}))["a"].shape == (3, 4, 3)
    for data, sentence in ((png(5000, 1), "larger than 4096"), (png(4, 3)[:40], "not a whole PNG")):
        with pytest.raises(UserError, match=sentence):
            decode(msgpack.packb({"a": picture | {"data": data}}))


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        ("hello", "text frame"),
        (b"", "not msgpack"),
        (b"\xc1\xff garbage", "not msgpack"),
        (pickle.dumps({"a": 1}), "not msgpack"),
        (b"\x81" * 5000, "not msgpack"),
        (b"\xdf\xff\xff\xff\xff", "not msgpack"),
        (msgpack.packb([1, 2]), "msgpack map"),
        (msgpack.packb({b"a": 1}), "text keys"),
        (array(dtype="|O"), r"dtype '\|O'"),
        (array(dtype="|V8"), "dtype"),
        (array(dtype="<c8"), "dtype"),
        (array(dtype="f4,f4"), "dtype"),
        (array(dtype=["f4"]), "dtype"),
        (array(shape=[3]), "does not fit its shape"),
        (array(shape=[-2]), "does not fit its shape"),
        (array(shape=[2] + [1] * 40), "does not fit its shape"),
        (array(shape=[0, 2**62], data=b""), "does not fit its shape"),
        (array(shape="2"), "does not fit its shape"),
        (array(data=[1, 2]), "does not fit its shape"),
    ],
)
def test_what_is_no_frame_is_named(frame: bytes | str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        decode(frame)
    assert len(str(caught.value)) < 400


def test_random_and_damaged_frames_are_refused_or_read_and_never_fail_otherwise() -> None:
    generator = np.random.default_rng(0)
    whole = encode({"image": np.zeros((4, 4, 3), np.uint8), "prompt": "go", "n": 3}, "openpi")
    for number in range(3000):
        frame = bytearray(whole if number % 2 else generator.bytes(60))
        frame[generator.integers(len(frame))] = generator.integers(256)
        try:
            decode(bytes(frame))
        except UserError:
            continue
