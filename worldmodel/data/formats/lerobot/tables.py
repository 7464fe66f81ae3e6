"""Columns of parquet files, whole or by rows, and the pictures in them.

Arrow's threads are not used: one that still lets go of a Python object when the interpreter ends
takes the process down with "terminate called without an active exception" (5 of 120 short scripts
that end in an error; 0 of 120 without threads).
"""

import io
import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from experiment.errors import UserError, nearest
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.formats.lerobot.metadata import Info
from worldmodel.data.formats.storage import Storage

_MOST_FILES = 1024  # whose footers are kept
_ARROW_ERRORS = (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError)
_PICTURE_ERRORS = (
    *(OSError, ValueError, SyntaxError, MemoryError, EOFError, KeyError, IndexError),
    *(OverflowError, TypeError, Image.DecompressionBombError),
)


@contextmanager
def _as_damage(name: str) -> Iterator[None]:
    """Turn what pyarrow raises on damaged files into a `DamagedRecord`."""
    try:
        yield
    except UserError:
        raise
    except _ARROW_ERRORS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DamagedRecord(
            f"{name} is truncated or no parquet file ({reason}): copy or make it again."
        ) from error


def read_table(storage: Storage, path: str) -> pa.Table:
    """Read a whole parquet file; raises `DamagedRecord` naming one that is damaged."""
    with storage.open(path) as file, _as_damage(storage.where(path)):
        table = pq.ParquetFile(file).read(use_threads=False)
        _ = table.column_names  # decoded only now: a damaged name is no UTF-8
        return table


@dataclass
class _File:
    """A file's footer, and of each episode in it the rows and what is wrong with it."""

    footer: pq.FileMetaData
    rows: dict[int, tuple[int, int]] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)


class Tables:
    """Rows of the columns of parquet files.

    A file is checked when it is first opened: the rows of an episode lie together and count its
    steps from 0. Row groups that were read are kept, up to `budget` bytes, the latest used: a file
    often holds many episodes in one group. No file is held open, so that processes may be forked.
    """

    def __init__(self, storage: Storage, info: Info, budget: int = 2**28) -> None:
        self._storage, self._info, self._budget = storage, info, budget
        self._files: dict[str, _File] = {}
        self._groups: OrderedDict[tuple[str, int, str], pa.ChunkedArray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """Another process gets the place of the files, not what was read of them."""
        return Tables, (self._storage, self._info, self._budget)

    def rows(self, path: str, episode: int, length: int) -> tuple[int, int]:
        """Return the first row of an episode of `length` steps and the one after its last."""
        file, name = self._open(path), self._storage.where(path)
        start, stop = file.rows.get(episode, (0, 0))
        if stop - start != length:
            raise DamagedRecord(
                f"{name} holds {stop - start} of the {length} steps that meta/episodes lists: "
                "copy or make it again."
            )
        if episode in file.faults:
            raise DamagedRecord(f"{name} {file.faults[episode]}: copy or make it again.")
        return start, stop

    def read(self, path: str, column: str, start: int, stop: int) -> pa.ChunkedArray:
        with self._lock, _as_damage(self._storage.where(path)):
            return self._read(path, self._open(path), column, start, stop)

    def _open(self, path: str) -> _File:
        with self._lock:
            if path not in self._files:
                with self._storage.open(path) as opened, _as_damage(self._storage.where(path)):
                    file = _File(pq.ParquetFile(opened).metadata)
                    self._check(path, file)
                if len(self._files) >= _MOST_FILES:
                    del self._files[next(iter(self._files))]
                self._files[path] = file
            return self._files[path]

    def _check(self, path: str, file: _File) -> None:
        """Find the rows of each episode and what is wrong with them."""

        def counter(column: str) -> np.ndarray:
            values = self._read(path, file, column, 0, file.footer.num_rows)
            return as_numbers(values, (1,), "int64", self._storage.where(path), column)[:, 0]

        numbers = counter("episode_index")
        frames = counter("frame_index") if "frame_index" in self._info.features else None
        cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        for start, stop in itertools.pairwise(cuts):
            if start == stop:
                continue
            episode, count = int(numbers[start]), stop - start
            if episode in file.rows:
                file.faults[episode] = "holds the episode in several pieces"
                start, stop = file.rows[episode][0], file.rows[episode][1] + count
            elif frames is not None and (frames[start:stop] != np.arange(count)).any():
                file.faults[episode] = "has a 'frame_index' that does not count the steps from 0"
            file.rows[episode] = (start, stop)

    def _read(self, path: str, file: _File, column: str, start: int, stop: int) -> pa.ChunkedArray:
        columns = file.footer.schema.to_arrow_schema().names
        if column not in columns:
            name = self._storage.where(path)
            raise DamagedRecord(f"{name} has no column {column!r}.{nearest(column, columns)}")
        chunks: list[pa.Array] = []
        kind, first = pa.null(), 0
        for group in range(file.footer.num_row_groups):
            end = first + file.footer.row_group(group).num_rows
            if first < stop and end > start:
                whole = self._group(path, file, group, column)
                if len(whole) != end - first:
                    raise ValueError(f"row group {group} holds {len(whole)} of {end - first} rows")
                chunks += whole[max(start - first, 0) : stop - first].chunks
                kind = whole.type
            first = end
        return pa.chunked_array(chunks, type=kind)

    def _group(self, path: str, file: _File, group: int, column: str) -> pa.ChunkedArray:
        key = (path, group, column)
        if key in self._groups:
            self._groups.move_to_end(key)
            return self._groups[key]
        with self._storage.open(path) as opened:
            reader = pq.ParquetFile(opened, metadata=file.footer)
            values = reader.read_row_group(group, columns=[column], use_threads=False)
            values = values.column(column)
        self._groups[key] = values
        self._bytes += values.nbytes
        while self._bytes > self._budget and len(self._groups) > 1:
            self._bytes -= self._groups.popitem(last=False)[1].nbytes
        return values


def as_numbers(
    values: pa.ChunkedArray, shape: tuple[int, ...], dtype: str, name: str, column: str
) -> np.ndarray:
    """Return a column as an array `(rows, *shape)` of `dtype`.

    Raises `DamagedRecord` naming file and column when a value is missing, a row is of another
    shape, or the type is another.
    """

    def other(description: object) -> DamagedRecord:
        return DamagedRecord(
            f"{name}: the column {column!r} holds {description} where meta/info.json lists {dtype} "
            f"of shape {list(shape)}: copy or make it again."
        )

    with _as_damage(name):
        flat = values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
        if isinstance(flat, pa.ExtensionArray):
            flat = flat.storage
        for size in shape if shape != (1,) or _is_list(flat.type) else ():
            if flat.null_count or not _is_list(flat.type):
                raise other("missing values" if flat.null_count else str(values.type))
            lengths = pc.list_value_length(flat).to_numpy(zero_copy_only=False)
            if (lengths != size).any():
                raise other(f"rows of {lengths[lengths != size][0]} numbers")
            flat = flat.flatten()
        if flat.null_count:
            raise other("missing values")
        kind, types = np.dtype(dtype).kind, pa.types
        is_number = types.is_integer(flat.type) or (kind == "f" and types.is_floating(flat.type))
        if not (types.is_boolean(flat.type) if kind == "b" else is_number):
            raise other(values.type)
        numbers = flat.to_numpy(zero_copy_only=False)
        cast = numbers.astype(dtype, copy=False)
        if kind in "iu" and not np.array_equal(cast, numbers):
            raise other("larger numbers")
        return cast.reshape(len(values), *shape)


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_list(kind) or types.is_fixed_size_list(kind) or types.is_large_list(kind)


def as_text(values: pa.ChunkedArray, name: str, column: str) -> list[str]:
    """Return a column as strings; raises `DamagedRecord` naming file and column."""
    with _as_damage(name):
        texts = values.to_pylist()
    if not all(isinstance(text, str) for text in texts):
        raise DamagedRecord(
            f"{name}: the column {column!r} holds {values.type} with {values.null_count} missing "
            "where text is expected: copy or make it again."
        )
    return texts


def as_picture(value: pa.Scalar, size: tuple[int, int], name: str) -> np.ndarray:
    """Return a PNG or JPEG, as a struct `{bytes, path}` or the bytes alone, uint8 `(h, w, 3)`.

    `name` is file, column and step. Raises `DamagedRecord` for one of another size than `(h, w)`.
    """
    with _as_damage(name):
        content = value.as_py()
    data = content.get("bytes") if isinstance(content, dict) else content
    if not isinstance(data, bytes):
        raise DamagedRecord(
            f"{name}: {value.type} holds no picture's bytes: pictures that lie in files of their "
            "own must be converted to video."
        )
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            # Before decoding: a damaged size may ask for any amount of memory.
            if (picture.height, picture.width) != size:
                raise DamagedRecord(
                    f"{name}: a picture of {picture.height}x{picture.width} where meta/info.json "
                    f"lists {size[0]}x{size[1]}: copy or make it again."
                )
            if picture.mode.startswith(("I", "F")):
                raise DamagedRecord(
                    f"{name}: a picture of 16 bits or more holds no colours: leave this column out."
                )
            return np.asarray(picture.convert("RGB"))
    except DamagedRecord:
        raise
    except _PICTURE_ERRORS as error:
        raise DamagedRecord(
            f"{name}: a damaged picture ({error}): copy or make it again."
        ) from error
