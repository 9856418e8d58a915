"""safetensors: the header is compared with the file before memory is taken for what it lists."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import BadFile, shown
from workbench.untrusted.guard import Guard
from workbench.untrusted.text import parse_json

if TYPE_CHECKING:
    import torch

#: Bytes and values of a header: 100,000 tensors, or the description of a network.
HEADER_BYTES, HEADER_NODES = 16 * 10**6, 10**6
#: Bytes of an element of each type that is read.
WIDTHS = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8, "C64": 8,
}  # fmt: skip


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors (numbers as float32) and the metadata. Raises `BadFile`."""
    metadata = read_metadata(path)
    with Guard(f"{path} is not a readable safetensors file"):
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        return {name: one.float() if one.is_floating_point() else one for name, one in state.items()}, metadata


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata alone, and that the tensors are as the header says. Raises `BadFile`."""
    if not path.is_file():
        raise BadFile(f"There is no file {path}.")
    with Guard(f"{path} is not a readable safetensors file"):
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(HEADER_BYTES, size - 8):
                raise BadFile(f"{path} is not a readable safetensors file: its header cannot have {length:,} bytes.")
            text = stream.read(length)
        header = parse_json(text, f"The header of {path}", size=HEADER_BYTES, nodes=HEADER_NODES, depth=8)
        return _checked(header, size - 8 - length, path)


def _checked(header: Any, room: int, path: Path) -> dict[str, str]:
    metadata = header.pop("__metadata__", {})
    if not all(isinstance(text, str) for text in metadata.values()):
        raise BadFile(f"{path}: the metadata are not texts.")
    total = 0
    for name, said in header.items():
        start, end = said["data_offsets"]
        shape = said["shape"]
        numbers = all(type(one) is int and 0 <= one < 2**40 for one in (*shape, start, end))
        if said["dtype"] not in WIDTHS or not numbers:
            raise BadFile(f"{path}: the tensor {shown(name)} is {shown(said)}, which is not read here.")
        size = math.prod(shape) * WIDTHS[said["dtype"]]
        if size != end - start or end > room:
            raise BadFile(f"{path}: the tensor {shown(name)} says {shown(said)}; the file does not hold that.")
        total += size
    if total != room:
        raise BadFile(f"{path} holds {room:,} bytes of tensors, and its header lists {total:,}.")
    return dict(metadata)
