"""Columns of parquet files, whole or by rows."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from experiment.errors import UserError, nearest
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.formats.lerobot.files import Files

ARROW_ERRORS = (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError)
"""What pyarrow raises on damaged files."""


def has_column(files: Files, path: str, column: str) -> bool:
    """Return whether a parquet file has a column; raises `DamagedRecord` as `read_table` does."""
    with files.open(path) as file:
        try:
            return column in pq.read_schema(file).names
        except UserError:
            raise
        except ARROW_ERRORS as error:
            raise _damaged(files.name(path), error) from error


def read_table(files: Files, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a parquet file, or those of its columns that are named.

    Raises `DamagedRecord` naming the file when it is missing, truncated or lacks a column.
    """
    name = files.name(path)
    with files.open(path) as file:
        try:
            reader = pq.ParquetFile(file)
            known = reader.schema_arrow.names
            _check(name, known, columns or ())
            table = reader.read(columns=None if columns is None else list(columns))
            return table if columns is None else table.select(list(columns))
        except UserError:
            raise
        except ARROW_ERRORS as error:
            raise _damaged(name, error) from error


class Tables:
    """Rows of the columns of parquet files.

    Row groups that were read are kept, up to `budget` bytes, the latest used: a file often holds
    many episodes in one group. No file is held open, so that processes may be forked.
    """

    def __init__(self, files: Files, budget: int = 2**28) -> None:
        self._files = files
        self._budget = budget
        self._footers: dict[str, pq.FileMetaData] = {}
        self._groups: OrderedDict[tuple[str, int, str], pa.ChunkedArray] = OrderedDict()
        self._runs: dict[str, dict[int, list[tuple[int, int]]]] = {}
        self._bytes = 0
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, object]:
        """Another process gets the place of the files, not what was read of them."""
        return {"files": self._files, "budget": self._budget}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Begin with nothing read."""
        self.__init__(state["files"], state["budget"])  # type: ignore[misc, arg-type]

    def names(self, path: str) -> list[str]:
        """Return the names of a file's columns."""
        return self._guarded(path, lambda: list(self._footer(path).schema.to_arrow_schema().names))

    def rows_of(self, path: str, episode: int) -> tuple[int, int]:
        """Return the first row of an episode and the one after its last; `(0, 0)` without any."""
        with self._lock:
            if path not in self._runs:
                self._runs[path] = self._find_runs(path)
            spans = self._runs[path].get(episode, [])
        if len(spans) > 1:
            raise DamagedRecord(
                f"{self._files.name(path)} holds the episode in {len(spans)} pieces: "
                "copy or make it again."
            )
        return spans[0] if spans else (0, 0)

    def read(self, path: str, column: str, start: int, stop: int) -> pa.ChunkedArray:
        """Return rows `start` to `stop` of a column."""
        with self._lock:
            return self._guarded(path, lambda: self._read(path, column, start, stop))

    def _guarded(self, path: str, action):  # type: ignore[no-untyped-def]
        try:
            return action()
        except UserError:
            raise
        except ARROW_ERRORS as error:
            raise _damaged(self._files.name(path), error) from error

    def _find_runs(self, path: str) -> dict[int, list[tuple[int, int]]]:
        rows = self._guarded(path, lambda: self._footer(path).num_rows)
        numbers = self._guarded(path, lambda: self._read(path, "episode_index", 0, rows))
        values = as_numbers(numbers, (1,), "int64", self._files.name(path), "episode_index")[:, 0]
        cuts = np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1, [len(values)]])
        found: dict[int, list[tuple[int, int]]] = {}
        for first, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            if end > first:
                found.setdefault(int(values[first]), []).append((first, end))
        return found

    def _footer(self, path: str) -> pq.FileMetaData:
        if path not in self._footers:
            with self._files.open(path) as file:
                self._footers[path] = pq.ParquetFile(file).metadata
        return self._footers[path]

    def _read(self, path: str, column: str, start: int, stop: int) -> pa.ChunkedArray:
        footer = self._footer(path)
        _check(self._files.name(path), footer.schema.to_arrow_schema().names, [column])
        pieces, first = [], 0
        for group in range(footer.num_row_groups):
            end = first + footer.row_group(group).num_rows
            if first < stop and end > start:
                whole = self._group(path, group, column)
                if len(whole) != end - first:
                    raise ValueError(f"row group {group} holds {len(whole)} of {end - first} rows")
                low, high = max(start, first), min(stop, end)
                pieces.append(whole.slice(low - first, high - low))
            first = end
        chunks = [chunk for piece in pieces for chunk in piece.chunks]
        kind = pieces[0].type if pieces else pa.null()
        return pa.chunked_array(chunks, type=kind)

    def _group(self, path: str, group: int, column: str) -> pa.ChunkedArray:
        key = (path, group, column)
        if key in self._groups:
            self._groups.move_to_end(key)
            return self._groups[key]
        with self._files.open(path) as file:
            reader = pq.ParquetFile(file, metadata=self._footers[path])
            found = reader.read_row_group(group, columns=[column]).column(column)
        self._groups[key] = found
        self._bytes += found.nbytes
        while self._bytes > self._budget and len(self._groups) > 1:
            self._bytes -= self._groups.popitem(last=False)[1].nbytes
        return found


def as_numbers(
    values: pa.ChunkedArray, shape: tuple[int, ...], dtype: str, name: str, column: str
) -> np.ndarray:
    """Return a column as an array `(rows, *shape)` of `dtype`.

    Raises `DamagedRecord` naming file and column when a value is missing, a row is of another
    shape, or the type is another.
    """

    def other(found: object) -> DamagedRecord:
        return DamagedRecord(
            f"{name}: the column {column!r} holds {found} where meta/info.json lists {dtype} of "
            f"shape {list(shape)}: copy or make it again."
        )

    try:
        flat = values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
        if isinstance(flat, pa.ExtensionArray):
            flat = flat.storage
        for size in shape if shape != (1,) or _is_list(flat.type) else ():
            if flat.null_count or not _is_list(flat.type):
                raise other("missing values" if flat.null_count else str(values.type))
            lengths = np.diff(_offsets(flat))
            if (lengths != size).any():
                raise other(f"rows of {lengths[lengths != size][0]} numbers")
            flat = flat.flatten()
        if flat.null_count:
            raise other("missing values")
        kind = flat.type
        fits = {
            "b": pa.types.is_boolean(kind),
            "i": pa.types.is_integer(kind),
            "u": pa.types.is_integer(kind),
            "f": pa.types.is_floating(kind) or pa.types.is_integer(kind),
        }[np.dtype(dtype).kind]
        if not fits:
            raise other(values.type)
        found = flat.to_numpy(zero_copy_only=False)
        cast = found.astype(dtype, copy=False)
        if np.dtype(dtype).kind in "iu" and not np.array_equal(cast, found):
            raise other("larger numbers")
        return cast.reshape(len(values), *shape)
    except UserError:
        raise
    except ARROW_ERRORS as error:
        raise _damaged(name, error) from error


def as_vectors(values: pa.ChunkedArray, dtype: str, name: str, column: str) -> np.ndarray:
    """Return a column `(rows, d)` of whatever length `d` its first row has; else `as_numbers`."""
    first = values[0].as_py() if len(values) else None
    return as_numbers(
        values, (len(first),) if isinstance(first, list) else (1,), dtype, name, column
    )


def as_text(values: pa.ChunkedArray, name: str, column: str) -> list[str]:
    """Return a column as strings; raises `DamagedRecord` naming file and column."""
    try:
        found = values.to_pylist()
    except ARROW_ERRORS as error:
        raise _damaged(name, error) from error
    if not all(isinstance(text, str) for text in found):
        raise DamagedRecord(
            f"{name}: the column {column!r} holds {values.type} with {values.null_count} missing "
            "where text is expected: copy or make it again."
        )
    return found


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_list(kind) or types.is_fixed_size_list(kind) or types.is_large_list(kind)


def _offsets(values: pa.Array) -> np.ndarray:
    if pa.types.is_fixed_size_list(values.type):
        return np.arange(len(values) + 1) * values.type.list_size
    return values.offsets.to_numpy()


def _check(name: str, known: Sequence[str], wanted: Sequence[str]) -> None:
    for column in wanted:
        if column not in known:
            raise DamagedRecord(f"{name} has no column {column!r}.{nearest(column, known)}")


def _damaged(name: str, error: BaseException) -> DamagedRecord:
    said = (str(error) or type(error).__name__).splitlines()[0]
    return DamagedRecord(f"{name} is truncated or no parquet file ({said}): copy or make it again.")
