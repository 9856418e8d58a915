"""`.npz`: plain arrays, whose claims are compared with the file before memory is taken for them."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from workbench.errors import BadFile
from workbench.untrusted.guard import Guard

Array = np.ndarray[Any, Any]
#: Arrays in a file, and bytes of the zip file's own directory of them.
ARRAYS, DIRECTORY_BYTES = 64, 10**5
#: Arrays may unfold to this many times the size of their file, and to `LEAST` bytes in any case.
UNFOLDED, LEAST = 20, 64 * 10**6
#: The longest axis, also of an array that holds nothing.
LONGEST = 2**40
#: Kinds of elements: truth values, whole numbers, numbers and text. No objects, which would be code.
KINDS = "biufUS"
_END = b"PK\5\6"  # of the directory: 22 bytes, and a comment of up to 65,535
_ADVICE = "Write it with numpy.savez_compressed."


def read_npz(path: Path) -> dict[str, Array]:
    """The arrays of a file by name, in this machine's byte order.

    Raises: `BadFile`, also for objects, for a shape that does not fit the bytes, and for arrays that unfold to
    20 times the size of their file.
    """
    if not path.is_file():
        raise BadFile(f"There is no file {path}.")
    with Guard(f"{path} is not a readable .npz of plain arrays", _ADVICE):
        size = path.stat().st_size
        room = max(UNFOLDED * size, LEAST)
        with path.open("rb") as stream:
            _check_directory(stream, path, size)
            with zipfile.ZipFile(stream) as file:
                _check_room(file, path, room)
                return {one.filename.removesuffix(".npy"): _array(file, one, path) for one in file.infolist()}


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
        shape, fortran, dtype = _header(stream)
        name = entry.filename.removesuffix(".npy")
        if dtype.kind not in KINDS:
            raise BadFile(f"{path}: {name} holds {dtype}, not numbers or texts. Objects are not read: they are code.")
        count = math.prod(shape)
        held = entry.file_size - stream.tell()
        if not all(0 <= one < LONGEST for one in shape) or not dtype.itemsize or count * dtype.itemsize != held:
            raise BadFile(f"{path}: {name} says that its shape is {shape}, which is not what its {held:,} bytes hold.")
        content = stream.read()  # the file's own sum is checked at its end
    return _native(np.ndarray(shape, dtype, content, order="F" if fortran else "C"))


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)


def _native(array: Array) -> Array:
    """An array that may be written to, in the byte order of this machine, which is the one that torch takes."""
    return array.astype(array.dtype.newbyteorder("="))
