"""Pack an ONNX file: each tensor in the shortest of three codes, the rest of the file deflated."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from workbench.coding.decode import FILLER, MAGIC
from workbench.coding.huffman import encode
from workbench.errors import BadFile

Array = npt.NDArray[Any]
#: What the header says of a tensor, and its streams.
Code = tuple[dict[str, Any], list[bytes]]

#: Tensors of fewer bytes stay in the skeleton: a code of their own would cost more than it saves.
LEAST_BYTES = 128
#: A codebook of more values than this would be no codebook.
LARGEST_BOOK = 4096
#: Of zlib: more takes ten times as long on weights, for a thousandth of their size.
LEVEL = 5


def pack(path: Path) -> bytes:
    """The bundle of an ONNX file; `workbench.coding.decode.unpack` gives back the same bytes.

    Raises: `BadFile` for a file with external data, whose weights are not inside it.
    """
    content = Path(path).read_bytes()
    parts, tensors, streams, done, length = [], [], [], 0, 0
    for start, size, width in _places(content, path):
        parts.append(content[done:start])
        length += start - done
        described, coded = shortest(np.frombuffer(content[start : start + size], f"<u{width}"))
        tensors.append({"at": length, **described})
        streams += coded
        done = start + size
    skeleton = zlib.compress(b"".join([*parts, content[done:]]), 9)
    facts = {"skeleton": len(skeleton), "tensors": tensors, "sha256": hashlib.sha256(content).hexdigest()}
    header = zlib.compress(json.dumps(facts, separators=(",", ":")).encode(), 9)
    return b"".join([MAGIC, len(header).to_bytes(4, "little"), header, skeleton, *streams])


def shortest(values: Array) -> Code:
    """The shortest code of an array of unsigned integers."""
    options = [_dense(values)]
    present = np.flatnonzero(values)
    if len(present) < len(values):
        options.append(_sparse(values, present))
    return min(options, key=lambda code: sum(map(len, code[1])))


def _dense(values: Array) -> Code:
    plain, most = _plain(values), min(LARGEST_BOOK, len(values) // 2)
    if len(np.unique(values[: 2 * LARGEST_BOOK])) > most:  # a sort of them all would tell no more
        return plain
    book, indexes = np.unique(values, return_inverse=True)
    if not 0 < len(book) <= most:
        return plain
    described, streams = encode(indexes, len(book))
    coded = (
        {"kind": "book", "bytes": values.itemsize, "book": len(book), "indexes": described}, [book.tobytes(), *streams]
    )  # fmt: skip
    return min(plain, coded, key=lambda code: sum(map(len, code[1])))


def _plain(values: Array) -> Code:
    data = values.tobytes()
    deflated = zlib.compress(data, LEVEL)
    helps = len(deflated) < len(data)
    chosen = deflated if helps else data
    return {"kind": "plain", "bytes": values.itemsize, "size": len(chosen), "deflated": helps}, [chosen]


def _sparse(values: Array, present: Array) -> Code:
    """Gaps between the non-zero elements, with fillers where a gap is long, and the elements."""
    gaps = np.diff(present, prepend=-1) - 1
    fillers, rest = gaps // FILLER, gaps % FILLER
    written = np.full(int(fillers.sum()) + len(gaps), FILLER, np.uint8)
    written[np.cumsum(fillers + 1) - 1] = rest
    described, streams = encode(written, FILLER + 1)
    inner, inner_streams = _dense(values[present])
    code = {
        "kind": "sparse", "bytes": values.itemsize, "count": len(values), "gaps": described, "values": inner,
    }  # fmt: skip
    return code, [*streams, *inner_streams]


def _places(content: bytes, path: Path) -> Iterator[tuple[int, int, int]]:
    """Where in the file the bytes of each large tensor lie: start, size, bytes an element; in order."""
    model = onnx.load_from_string(content)
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
