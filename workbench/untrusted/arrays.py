"""`.npz`: plain arrays, whose claims are compared with the file before memory is taken for them.

An array that was not packed lies in the file as it would in memory: a large one is read row by row, as it is used. It
is not mapped into memory, since a file that is written anew meanwhile would end the process that has it mapped.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from workbench.errors import BadFile
from workbench.untrusted.guard import Guard

Array = np.ndarray[Any, Any]
T = TypeVar("T")
Claims = tuple[tuple[int, ...], bool, np.dtype[Any]]
#: Arrays in a file, and bytes of the zip file's own directory of them.
ARRAYS, DIRECTORY_BYTES = 64, 10**5
#: Arrays may unfold to this many times the size of their file, and to `LEAST` bytes in any case.
UNFOLDED, LEAST = 20, 64 * 10**6
#: The longest axis, also of an array that holds nothing.
LONGEST = 2**40
#: Kinds of elements: truth values, whole numbers, numbers and text. No objects, which would be code.
KINDS = "biufUS"
_END = b"PK\5\6"  # of the directory: 22 bytes, and a comment of up to 65,535
_LOCAL = 30  # bytes before a file's name within a zip
_ADVICE = "Write it with numpy.savez_compressed."


@dataclass(frozen=True)
class Unread:
    """An array of `shape` that lies in a file from `offset` on; `stamp` is what tells whether the file was changed."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stamp: tuple[int, int]

    @property
    def ndim(self) -> int:
        """How many axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, places: Array) -> Array:
        """The rows at places int64 (n,), in memory of their own. Raises: `BadFile` where the file is another by now."""
        found = np.empty((len(places), *self.shape[1:]), self.dtype)
        size = found[:1].nbytes
        room: Any = memoryview(found.reshape(-1).view(np.uint8))  # type: ignore[arg-type]  # before Python 3.12
        try:
            with self.path.open("rb") as stream:
                read = 0
                if _stamp(stream) == self.stamp:
                    for index, place in enumerate(places.tolist()):
                        stream.seek(self.offset + place * size)
                        read += stream.readinto(room[index * size : (index + 1) * size])
        except OSError as error:
            raise BadFile(f"{self.path} cannot be read any more: {error}. Open it again.") from error
        if read != found.nbytes:
            raise BadFile(f"{self.path} has been changed since it was opened. Open it again with wb.data.")
        return found


def read_npz(path: Path) -> dict[str, Array]:
    """The arrays of a file by name, in this machine's byte order.

    Raises: `BadFile`, also for objects, for a shape that does not fit the bytes, and for arrays that unfold to
    20 times the size of their file.
    """
    return _read(path, _array)


def open_npz(path: Path, most: int) -> dict[str, Array | Unread]:
    """As `read_npz`; arrays of more than `most` bytes that are not packed are not read yet."""

    def one(file: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> Array | Unread:
        large = entry.compress_type == zipfile.ZIP_STORED and entry.file_size > most
        return (_unread(file, entry, path) if large else None) or _array(file, entry, path)

    return _read(path, one)


def _read(path: Path, one: Callable[[zipfile.ZipFile, zipfile.ZipInfo, Path], T]) -> dict[str, T]:
    if not path.is_file():
        raise BadFile(f"There is no file {path}.")
    with Guard(f"{path} is not a readable .npz of plain arrays", _ADVICE):
        size = path.stat().st_size
        room = max(UNFOLDED * size, LEAST)
        with path.open("rb") as stream:
            _check_directory(stream, path, size)
            with zipfile.ZipFile(stream) as file:
                _check_room(file, path, room)
                return {each.filename.removesuffix(".npy"): one(file, each, path) for each in file.infolist()}


def _check_directory(stream: IO[bytes], path: Path, size: int) -> None:
    """Refuse a directory of millions of files, before it is read."""
    stream.seek(max(0, size - 2**16 - 22))
    tail = stream.read()
    place = tail.rfind(_END)
    directory = int.from_bytes(tail[place + 12 : place + 16], "little") if place >= 0 else 0
    if directory > DIRECTORY_BYTES:
        raise BadFile(f"{path} holds too many arrays: its directory alone has {directory:,} bytes.")
    stream.seek(0)


def _check_room(file: zipfile.ZipFile, path: Path, room: int) -> None:
    entries = file.infolist()
    if len(entries) > ARRAYS:
        raise BadFile(f"{path} holds {len(entries)} arrays; at most {ARRAYS} are read.")
    size = sum(one.file_size for one in entries)
    if size > room:
        raise BadFile(
            f"{path} unfolds to {size / 10**6:,.0f} MB of arrays, which is more than the {room / 10**6:,.0f} MB that "
            f"are read from a file of its size. Send fewer images, or write them with numpy.savez."
        )


def _array(file: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> Array:
    """One array, whose header says no more than the file holds."""
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise BadFile(f"{path}: {entry.filename} is packed in a way that numpy does not write. {_ADVICE}")
    with file.open(entry) as stream:
        shape, fortran, dtype = _claims(stream, entry, path)
        content = stream.read()  # the file's own sum is checked at its end
    return _native(np.ndarray(shape, dtype, content, order="F" if fortran else "C"))


def _unread(file: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> Unread | None:
    """Where an array's rows lie in the file; None where they are not in the order that this machine has."""
    with file.open(entry) as stream:
        shape, fortran, dtype = _claims(stream, entry, path)
        header = stream.tell()
    if fortran or not shape or not dtype.isnative or dtype.kind not in "biuf":
        return None
    with path.open("rb") as whole:
        stamp = _stamp(whole)
        whole.seek(entry.header_offset)
        name, extra = struct.unpack("<HH", whole.read(_LOCAL)[-4:])  # which lie before the array's own header
    offset = entry.header_offset + _LOCAL + name + extra + header
    if offset + math.prod(shape) * dtype.itemsize > stamp[0]:
        raise BadFile(f"{path}: {entry.filename} is longer than the file, which is cut. {_ADVICE}")
    return Unread(path, offset, shape, dtype, stamp)


def _stamp(stream: IO[bytes]) -> tuple[int, int]:
    """A file's length, and when it was written."""
    found = os.fstat(stream.fileno())
    return found.st_size, found.st_mtime_ns


def _claims(stream: IO[bytes], entry: zipfile.ZipInfo, path: Path) -> Claims:
    """What an array's header says, where its bytes hold that."""
    shape, fortran, dtype = _header(stream)
    name = entry.filename.removesuffix(".npy")
    if dtype.kind not in KINDS:
        raise BadFile(f"{path}: {name} holds {dtype}, not numbers or texts. Objects are not read: they are code.")
    count, held = math.prod(shape), entry.file_size - stream.tell()
    if not all(0 <= one < LONGEST for one in shape) or not dtype.itemsize or count * dtype.itemsize != held:
        raise BadFile(f"{path}: {name} says that its shape is {shape}, which is not what its {held:,} bytes hold.")
    return shape, fortran, dtype


def _header(stream: IO[bytes]) -> Claims:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)


def _native(array: Array) -> Array:
    """An array that may be written to, in the byte order of this machine, which is the one that torch takes."""
    return array.astype(array.dtype.newbyteorder("="))
