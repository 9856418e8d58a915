"""Unpack a compressed bundle.

    python decode.py model.wbz model.onnx

Needs Python and numpy alone, so that a bundle can be unpacked where workbench is not installed. What
comes out is the packed ONNX file, byte for byte; its SHA-256 is checked.

A bundle is b"WBZ1", the length of a header (4 bytes, little endian), the header (JSON, deflated) and the
streams it lists, one after another. The first stream is the file without its weights; each tensor then
says where its bytes go and how they are coded: "plain" (deflated where that helps), "book" (a codebook
and Huffman-coded indexes into it) or "sparse" (Huffman-coded gaps between the non-zero elements, which
are coded in either way). The layout follows Han et al. 2016, "Deep Compression".
"""

from __future__ import annotations

import hashlib
import json
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAGIC = b"WBZ1"
#: Symbols between two places at which decoding can begin: blocks are decoded side by side.
BLOCK = 1024
#: What a bundle may unpack to: so many times its size, and so many bytes in any case.
UNFOLDED, LEAST = 200, 256 * 2**20
#: Bits of the longest code: a window of three bytes holds it wherever it begins.
LONGEST = 16
#: This gap means: so many zeros, and no element behind them.
FILLER = 255


class Damaged(ValueError):
    """The bundle is not one, or is not complete."""


def unpack(bundle: bytes) -> bytes:
    """The packed file. Raises: `Damaged`."""
    try:
        return _unpack(bundle)
    except Damaged:
        raise
    except Exception as error:  # whatever it is: the bytes are not what `pack` wrote
        raise Damaged(f"the bundle is damaged: {type(error).__name__}: {str(error)[:200]}") from error


def _unpack(bundle: bytes) -> bytes:
    if bundle[:4] != MAGIC:
        raise Damaged("this is not a bundle: it does not begin with WBZ1")
    size = int.from_bytes(bundle[4:8], "little")
    streams = Streams(bundle, 8 + size)
    header = json.loads(streams.inflate(bundle[8 : 8 + size]))
    skeleton = streams.inflate(streams.take(header["skeleton"]))
    parts, done = [], 0
    for tensor in header["tensors"]:
        parts += [skeleton[done : tensor["at"]], elements(tensor, streams).tobytes()]
        done = tensor["at"]
    content = b"".join([*parts, skeleton[done:]])
    if hashlib.sha256(content).hexdigest() != header["sha256"]:
        raise Damaged("the unpacked file has another SHA-256 than the packed one")
    return content


class Streams:
    """The bytes behind the header, taken one stream after another."""

    def __init__(self, bundle: bytes, start: int) -> None:
        self.bundle, self.position = bundle, start
        self.room = max(UNFOLDED * len(bundle), LEAST)

    def claim(self, size: int) -> int:
        """`size`, which so many bytes will be taken for. Raises `Damaged` for more than a bundle may unpack to."""
        if not 0 <= size <= self.room:
            raise Damaged(f"the bundle says that {size} bytes are in it, which is more than it can hold")
        self.room -= size
        return size

    def inflate(self, data: bytes) -> bytes:
        """Deflated bytes as they were."""
        unpacker = zlib.decompressobj()
        found = unpacker.decompress(data, self.room)
        if not unpacker.eof:
            raise Damaged("the bundle unpacks to more than it can hold, or ends too early")
        self.claim(len(found))
        return found

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if size < 0:
            raise Damaged("the bundle says that a part of it has less than no bytes")
        found = self.bundle[self.position : self.position + size]
        if len(found) != size:
            raise Damaged("the bundle ends too early")
        self.position += size
        return found


def elements(code: dict[str, Any], streams: Streams) -> Array:
    """The elements of a tensor as unsigned integers of its element size."""
    kind = np.dtype(f"<u{code['bytes']}")
    if code["kind"] == "plain":
        data = streams.take(code["size"])
        return np.frombuffer(streams.inflate(data) if code["deflated"] else data, kind)
    if code["kind"] == "book":
        book = np.frombuffer(streams.take(code["book"] * kind.itemsize), kind)
        return book[symbols(code["indexes"], streams)]
    gaps = symbols(code["gaps"], streams).astype(np.int64)
    places = np.cumsum(np.where(gaps == FILLER, FILLER, gaps + 1)) - 1
    full = np.zeros(streams.claim(code["count"] * kind.itemsize) // kind.itemsize, kind)
    full[places[gaps != FILLER]] = elements(code["values"], streams)
    return full


def symbols(code: dict[str, Any], streams: Streams) -> Array:
    """The symbols of a Huffman stream: code lengths, the bit at which each block begins, the bits."""
    count = streams.claim(4 * code["count"]) // 4
    lengths = np.frombuffer(streams.inflate(streams.take(code["lengths"])), np.uint8)
    blocks = -(-count // BLOCK)
    position = np.cumsum(np.frombuffer(streams.take(2 * blocks), "<u2").astype(np.int64))
    position = np.concatenate([[0], position[:-1]]) if blocks else position
    bits = np.frombuffer(streams.take(code["bits"]) + b"\0\0\0", np.uint8).astype(np.uint32)
    symbol_of, length_of, width = table(lengths)
    found = np.empty((BLOCK, blocks), np.uint32)
    for step in range(BLOCK if blocks else 0):
        place = np.minimum(position >> 3, len(bits) - 3)
        window = (bits[place] << 16 | bits[place + 1] << 8 | bits[place + 2]) >> (24 - width - (position & 7))
        window &= (1 << width) - 1
        found[step] = symbol_of[window]
        position += length_of[window]
    return found.T.reshape(-1)[:count]


def codes(lengths: Array) -> Array:
    """The canonical code of every symbol, from the lengths of the codes; 0 for a symbol without one."""
    found = np.zeros(len(lengths), np.uint32)
    code, before = 0, 0
    for symbol in np.lexsort((np.arange(len(lengths)), lengths)):
        length = int(lengths[symbol])
        if length:
            code <<= length - before
            found[symbol], before = code, length
            code += 1
    return found


def table(lengths: Array) -> tuple[Array, Array, int]:
    """For every window of as many bits as the longest code: the symbol it begins with, and that one's length."""
    width = max(int(lengths.max()), 1)
    if width > LONGEST:
        raise Damaged(f"the bundle has a code of {width} bits, which is longer than any that is written")
    symbol_of, length_of = np.zeros(1 << width, np.uint32), np.ones(1 << width, np.int64)
    for symbol, code in enumerate(codes(lengths)):
        length = int(lengths[symbol])
        if length:
            start = int(code) << (width - length)
            symbol_of[start : start + (1 << (width - length))] = symbol
            length_of[start : start + (1 << (width - length))] = length
    return symbol_of, length_of, width


def main() -> None:
    """Unpack the bundle named first to the file named second."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        Path(sys.argv[2]).write_bytes(unpack(Path(sys.argv[1]).read_bytes()))
    except (OSError, Damaged) as error:
        sys.exit(f"Not unpacked: {error}.")


if __name__ == "__main__":
    main()
