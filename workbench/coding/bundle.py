"""Pack an ONNX file: each tensor in the shortest of three codes, the rest of the file deflated."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from workbench.coding.decode import FILLER, MAGIC
from workbench.coding.huffman import Code, blocks, encode
from workbench.errors import BadFile

Array = npt.NDArray[Any]

#: Tensors of fewer bytes stay in the skeleton: a code of their own would cost more than it saves.
LEAST_BYTES = 128
#: A codebook of more values than this would be no codebook.
LARGEST_BOOK = 4096
#: Of zlib: more takes ten times as long on weights, for a thousandth of their size.
LEVEL = 5
#: How zlib may look at weights. Dense ones hardly repeat: Huffman's code alone is as short, in a third of the time.
STRATEGIES = (zlib.Z_HUFFMAN_ONLY, zlib.Z_DEFAULT_STRATEGY)
#: Bytes that tell which of them is better.
_SAMPLE = 1 << 16


def pack(path: Path) -> bytes:
    """The bundle of an ONNX file; `workbench.coding.decode.unpack` gives back the same bytes.

    Raises: `BadFile` for a file with external data, whose weights are not inside it.
    """
    with _mapped(path) as content:
        head, found = _coded(content, path)
        streams = [stream for code in found for stream in code.write()]
    return b"".join([head, *streams])


def packed_bytes(path: Path) -> int:
    """The size of the bundle, without writing it. Raises: as `pack`."""
    with _mapped(path) as content:
        # A code is dropped once its size is known: all of them together would be as large as the file.
        head, found = _coded(content, path, lambda code: replace(code, write=list))
        return len(head) + sum(code.size for code in found)


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    """A file's bytes, read as they are looked at."""
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def _coded(
    content: mmap.mmap, path: Path, keep: Callable[[Code], Code] = lambda code: code
) -> tuple[bytes, list[Code]]:
    """What a bundle begins with, and the code of each large tensor."""
    parts, tensors, found, done, length = [], [], [], 0, 0
    for start, size, width in _places(content, path):
        parts.append(content[done:start])
        length += start - done
        found.append(keep(shortest(np.frombuffer(content[start : start + size], f"<u{width}"))))
        tensors.append({"at": length, **found[-1].described})
        done = start + size
    skeleton = zlib.compress(b"".join([*parts, content[done:]]), 9)
    facts = {"skeleton": len(skeleton), "tensors": tensors, "sha256": hashlib.sha256(content).hexdigest()}
    header = zlib.compress(json.dumps(facts, separators=(",", ":")).encode(), 9)
    return b"".join([MAGIC, len(header).to_bytes(4, "little"), header, skeleton]), found


def shortest(values: Array) -> Code:
    """The shortest code of an array of unsigned integers."""
    dense, present = _dense(values), np.count_nonzero(values)
    # Each element that is left costs a bit at least to say where it lies.
    if present >= (len(values) - present) * 8 * values.itemsize:
        return dense
    return min(dense, _sparse(values), key=lambda code: code.size)


def _dense(values: Array) -> Code:
    book = _book(values)
    plain = _plain(values)
    if not len(book):
        return plain
    kind = np.uint8 if len(book) <= 256 else np.uint16
    indexes = np.concatenate([np.searchsorted(book, part).astype(kind) for part in blocks(values)])
    inner = encode(indexes, len(book))
    described = {"kind": "book", "bytes": values.itemsize, "book": len(book), "indexes": inner.described}
    coded = Code(described, book.nbytes + inner.size, lambda: [book.tobytes(), *inner.write()])
    return min(plain, coded, key=lambda code: code.size)


def _book(values: Array) -> Array:
    """The different values, ascending; none where they are too many for a codebook."""
    found, most = values[:0], min(LARGEST_BOOK, len(values) // 2)
    for part in (values[: 2 * LARGEST_BOOK], *blocks(values)):  # a sort of the first few mostly tells
        found = np.union1d(found, part)
        if len(found) > most:
            return values[:0]
    return found


def _plain(values: Array) -> Code:
    data = values.tobytes()
    best = min(STRATEGIES, key=lambda strategy: len(_deflated(data[:_SAMPLE], strategy)))
    chosen = min(data, _deflated(data, best), key=len)
    described = {"kind": "plain", "bytes": values.itemsize, "size": len(chosen), "deflated": len(chosen) < len(data)}
    return Code(described, len(chosen), lambda: [chosen])


def _deflated(data: bytes, strategy: int) -> bytes:
    squeezer = zlib.compressobj(LEVEL, strategy=strategy)
    return squeezer.compress(data) + squeezer.flush()


def _sparse(values: Array) -> Code:
    """Gaps between the non-zero elements, with fillers where a gap is long, and the elements."""
    gaps, inner = encode(_gaps(values), FILLER + 1), _dense(values[values != 0])
    described = {
        "kind": "sparse", "bytes": values.itemsize, "count": len(values), "gaps": gaps.described,
        "values": inner.described,
    }  # fmt: skip
    return Code(described, gaps.size + inner.size, lambda: [*gaps.write(), *inner.write()])


def _gaps(values: Array) -> Array:
    """Zeros before each non-zero element; a filler stands for so many more, and for no element."""
    found, start, last = [], 0, -1
    for part in blocks(values):
        present = np.flatnonzero(part) + start
        gaps = np.diff(present, prepend=last) - 1
        fillers, rest = gaps // FILLER, gaps % FILLER
        written = np.full(int(fillers.sum()) + len(gaps), FILLER, np.uint8)
        written[np.cumsum(fillers + 1) - 1] = rest
        found.append(written)
        start, last = start + len(part), int(present[-1]) if len(present) else last
    return np.concatenate(found)


def _places(content: mmap.mmap, path: Path) -> Iterator[tuple[int, int, int]]:
    """Where in the file the bytes of each large tensor lie: start, size, bytes an element; in order."""
    model = onnx.load_from_string(content[:])
    position = 0
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise BadFile(f"{path} keeps weights in other files, which cannot be packed. Write it as one file.")
        raw = tensor.raw_data
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        if len(raw) < LEAST_BYTES or width not in {1, 2, 4, 8} or len(raw) % width:
            continue
        start = content.find(raw, position)
        if start < 0:
            continue  # written in another order than listed: it stays in the skeleton
        yield start, len(raw), width
        position = start + len(raw)
