"""Tables of pictures: CSV of paths and labels; Parquet and Arrow with the pictures in a column."""

from __future__ import annotations

import csv
import io
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from workbench.data.collect import LABEL_KEYS
from workbench.data.dataset import SPLITS
from workbench.data.folder import split_of
from workbench.data.listing import UNDIVIDED, Found, Listing
from workbench.data.pictures import Files, Paths
from workbench.data.source import INPUT_KEYS
from workbench.errors import BadFile, shown
from workbench.untrusted import quota

PATH_KEYS = ("path", "file", "filename", "file_name", "filepath", "image_path")
SPLIT_KEYS = ("split", "set", "subset")
COLUMNAR = frozenset({".parquet", ".arrow", ".feather"})
#: Groups of rows that are held at a time; readers go through a table in order.
_HELD = 2


def list_csv(table: Path) -> Found:
    """Paths, beside the table or absolute, and labels; a column `split` divides them.

    The first row names the columns; without such names the first is the path, and the second the label.
    Raises: `BadFile` for a table without paths, or a path that leads nowhere.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = [[cell.strip() for cell in row] for row in csv.reader(stream) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadFile(f"{table} cannot be read as CSV: {error}.") from error
    columns, rows = _columns(table, rows)
    files = [_file(table, row, columns["path"], number) for number, row in enumerate(rows, 1)]
    labels = _cells(table, rows, columns["label"]) if "label" in columns else None
    splits = [split_of(one) for one in _cells(table, rows, columns["split"])] if "split" in columns else None
    return Found(_by_split(table, files, labels, splits))


def _columns(table: Path, rows: list[list[str]]) -> tuple[dict[str, int], list[list[str]]]:
    """Where path, label and split stand, and the rows below the names."""
    if not rows:
        raise BadFile(f"{table} is empty. Give a path and a label in each row.")
    names = [cell.lower() for cell in rows[0]]
    known = {"path": (*PATH_KEYS, *INPUT_KEYS), "label": (*LABEL_KEYS, "name"), "split": SPLIT_KEYS}
    found = {what: next((names.index(one) for one in keys if one in names), -1) for what, keys in known.items()}
    found = {what: place for what, place in found.items() if place >= 0}
    if "path" in found:
        return found, rows[1:]
    if "." not in rows[0][0]:
        raise BadFile(
            f"{table} has the columns {shown(rows[0])}, and none of them is the path of a picture "
            f"({', '.join(PATH_KEYS)}). Name it so."
        )
    return {"path": 0, "label": 1} if len(rows[0]) > 1 else {"path": 0}, rows


def _cells(table: Path, rows: list[list[str]], column: int) -> list[str]:
    for number, row in enumerate(rows, 1):
        if column >= len(row):
            raise BadFile(f"{table}, row {number} has {len(row)} cells, and its label would be in cell {column + 1}.")
    return [row[column] for row in rows]


def _file(table: Path, row: list[str], column: int, number: int) -> Path:
    """The picture of a row. On a published page it must lie in the folder of the table."""
    said = row[column] if column < len(row) else ""
    path = table.parent / Path(said).expanduser()
    inside = path.resolve().is_relative_to(table.parent.resolve())
    if not said or "\0" in said or not path.is_file() or (quota.here().memory_mb is not None and not inside):
        raise BadFile(f"{table}, row {number}: there is no picture {said!r} in {table.parent}.")
    return path


def _by_split(table: Path, files: list[Path], labels: list[str] | None, splits: list[str] | None) -> dict[str, Listing]:
    if splits is None:
        return {UNDIVIDED: Listing(Paths(files), _labels(labels))}
    odd = next((one for one in splits if one not in SPLITS), None)
    if odd is not None:
        raise BadFile(f"{table} has the split {odd!r}. Known: {', '.join(SPLITS)}.")
    places = {name: [i for i, one in enumerate(splits) if one == name] for name in dict.fromkeys(splits)}
    return {
        name: Listing(Paths([files[i] for i in rows]), _labels(labels and [labels[i] for i in rows]))
        for name, rows in places.items()
    }


def _labels(labels: Sequence[str] | None) -> Any:
    """Labels (N,): numbers where all are whole numbers, else texts."""
    if labels is None:
        return None
    whole = all(one.lstrip("-").isdecimal() for one in labels)
    return np.array([int(one) for one in labels]) if whole else np.array(labels)


def list_columnar(files: list[Path]) -> Found:
    """Parquet or Arrow files of a column of pictures, bytes or `{bytes, path}`, and a column of labels.

    A file belongs to the split that its name begins with, as in `train-00000-of-00002.parquet`.
    Raises: `BadFile` where pyarrow is missing, or there is no column of pictures.
    """
    parts: dict[str, list[Path]] = {}
    for file in files:
        name = split_of(file.stem.split("-")[0].split("_")[0].lower())
        parts.setdefault(name if name in SPLITS else UNDIVIDED, []).append(file)
    if UNDIVIDED in parts and len(parts) > 1:
        raise BadFile(f"{parts[UNDIVIDED][0]} stands beside files of splits, and its name says no split.")
    found = {split: Cells(some) for split, some in parts.items()}
    names = next((one.classes for one in found.values() if one.classes), ())
    return Found({split: Listing(one, one.labels) for split, one in found.items()}, names)


class Cells(Files):
    """Pictures in the cells of a column, read a group of rows at a time."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files, self._held = list(files), OrderedDict[tuple[int, int], Any]()
        self.groups: list[tuple[int, int, int]] = []  # file, group, first row
        labels: list[Any] = []
        self.classes: tuple[str, ...] = ()
        count = 0
        for number, file in enumerate(self.files):
            table = _opened(file)
            self.column, label = _pictured(file, table)
            for group in range(table.groups):
                self.groups.append((number, group, count))
                count += table.rows(group)
            if label:
                labels += table.column(label)
                self.classes = self.classes or _class_names(table, label)
        self.count, self.starts = count, np.array([start for *_, start in self.groups])
        self.labels = np.array(labels) if labels else None

    def __len__(self) -> int:
        return self.count

    def _cell(self, index: int) -> Any:
        which = int(np.searchsorted(self.starts, index, side="right")) - 1
        number, group, start = self.groups[which]
        if (number, group) not in self._held:
            self._held[number, group] = _opened(self.files[number]).group(group, self.column)
            while len(self._held) > _HELD:
                self._held.popitem(last=False)
        return self._held[number, group][index - start].as_py()

    def name(self, index: int) -> str:
        """The file, and its row."""
        return f"row {index} of {', '.join(str(one) for one in self.files[:2])}"

    def open(self, index: int) -> io.BytesIO:
        """The bytes of the cell."""
        return io.BytesIO(self._bytes(index))

    def digest(self, index: int) -> bytes:
        """As `Files.digest`."""
        return sha256(self._bytes(index)).digest()

    def version(self, index: int) -> str:
        """Its row, and the state of all files."""
        return f"{index}\0{self._about}" if index == 0 else str(index)

    @property
    def _about(self) -> str:
        return repr([(str(one.resolve()), one.stat().st_size, one.stat().st_mtime_ns) for one in self.files])

    def _bytes(self, index: int) -> bytes:
        cell = self._cell(index)
        if isinstance(cell, dict):
            inside = cell.get("bytes")
            if inside is None and isinstance(cell.get("path"), str):
                raise BadFile(f"{self.name(index)} names a file, {cell['path']!r}, and does not hold it. Embed it.")
            cell = inside
        if not isinstance(cell, bytes):
            raise BadFile(f"{self.name(index)} holds {shown(cell)}, and no picture.")
        return cell


class _Table:
    """A Parquet or an Arrow file, group of rows by group."""

    def __init__(self, file: Any, parquet: bool) -> None:
        self.file, self.parquet = file, parquet
        self.schema = file.schema_arrow if parquet else file.schema
        self.groups: int = file.num_row_groups if parquet else file.num_record_batches

    def rows(self, group: int) -> int:
        """How many a group holds."""
        found: int = (
            self.file.metadata.row_group(group).num_rows if self.parquet else self.file.get_batch(group).num_rows
        )
        return found

    def group(self, group: int, column: str) -> Any:
        """A column of one group."""
        if self.parquet:
            return self.file.read_row_group(group, columns=[column]).column(column)
        return self.file.get_batch(group).column(column)

    def column(self, name: str) -> list[Any]:
        """A whole column, of labels."""
        return [value for group in range(self.groups) for value in self.group(group, name).to_pylist()]


def _opened(file: Path) -> _Table:
    try:
        import pyarrow as arrow
        from pyarrow import ipc, parquet
    except ImportError as error:
        raise BadFile(f'{file} needs pyarrow, which is not installed: pip install "nn-workbench[tables]".') from error
    try:
        if file.suffix == ".parquet":
            return _Table(parquet.ParquetFile(file), parquet=True)
        mapped = arrow.memory_map(str(file))
        return _Table(ipc.open_file(mapped), parquet=False)
    except (OSError, arrow.ArrowException) as error:
        raise BadFile(f"{file} cannot be read: {error}.") from error


def _pictured(file: Path, table: _Table) -> tuple[str, str]:
    """The columns of the pictures and of the labels, which may be missing ("")."""
    import pyarrow as arrow

    def holds(kind: Any) -> bool:
        if arrow.types.is_struct(kind):
            return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
        return bool(arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))

    pictures = [one.name for one in table.schema if holds(one.type)]
    chosen = [name for name in pictures if name in INPUT_KEYS] or pictures
    if len(chosen) != 1:
        raise BadFile(
            f"{file} has the columns {shown(table.schema.names)}, and {len(chosen)} of them hold pictures, as bytes or "
            "{bytes, path}. Give a table of one such column."
        )
    return chosen[0], next((one for one in LABEL_KEYS if one in table.schema.names), "")


def _class_names(table: _Table, label: str) -> tuple[str, ...]:
    """The names that Hugging Face notes beside a column of class numbers."""
    import json

    try:
        about = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
        return tuple(about["info"]["features"][label]["names"])
    except (ValueError, KeyError, TypeError):
        return ()
