"""Values as C99 has them: names, comments, numbers, arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.c99.program import Array, Map

#: Characters of a line of the files.
WIDTH = 116
_LONGEST_NAME = 48
TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t", "float32": "float"}


def name_of(layer: str, word: str, taken: Mapping[str, object]) -> str:
    """A name for what belongs to a layer, whatever that is called: letters, digits and underscores, not yet taken."""
    stem = re.sub(r"[^0-9A-Za-z]+", "_", layer).strip("_")[:_LONGEST_NAME].strip("_") or "layer"
    stem = f"{'' if stem[0].isalpha() else 'layer_'}{stem}_{word}"
    return next(one for n in range(1, len(taken) + 2) if (one := f"{stem}_{n}" if n > 1 else stem) not in taken)


def comment(text: str, indent: str = "") -> str:
    """A comment in one line or several; what could end it early, or means something to a compiler, becomes `_`."""
    words = re.sub(r"[^ -~]|[*?\\\"]", "_", text).split()
    lines, line = [], f"{indent}/*"
    for word in words:
        if len(line) + 1 + len(word) > WIDTH and line.strip() != "/*":
            lines.append(line)
            line = f"{indent}  "
        line += f" {word}"
    return "\n".join([*lines, f"{line} */"])


def number(value: Any) -> str:
    """A number: whole, or a float of 32 bits with as many digits as it takes."""
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if not np.isfinite(value):
        raise ValueError(f"{value} is no number that C99 has a text for")
    text = str(np.float32(value))
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def struct_of(shape: Map) -> str:
    """A map's sides, in the order of kernels.h."""
    return f"{{{shape.height}, {shape.width}, {shape.channels}}}"


def array(name: str, values: Array) -> str:
    """The definition of a constant array."""
    kind = TYPES[values.dtype.name]
    said = map(number, values.tolist()) if values.dtype.kind != "f" else map(number, values)
    return f"const {kind} {name}[{values.size}] = {{\n{filled(said)}\n}};\n"


def filled(words: Any, indent: str = "    ") -> str:
    """Words with commas between, in lines."""
    lines, line = [], indent
    for word in words:
        if len(line) + len(word) + 2 > WIDTH:
            lines.append(line.rstrip())
            line = indent
        line += f"{word}, "
    return "\n".join([*lines, line.rstrip().rstrip(",")])
