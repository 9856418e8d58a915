"""Writes the views' types for TypeScript, from the TypedDicts that the panels' functions return.

python widgets/js/declare.py > widgets/js/src/views.d.ts
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from workbench_widgets.screen import PANELS

PLAIN = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null", Any: "any"}
HEAD = "// Made by `make views` from the TypedDicts in widgets/seam: change those. A test compares both."


def written(kind: Any) -> str:
    """A type of Python as TypeScript writes it."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " | ".join(f'"{one}"' for one in inner)
    if origin in (types.UnionType, Union):
        return " | ".join(dict.fromkeys(map(written, inner)))  # int and float are one
    if origin is list:
        text = written(inner[0])
        return f"({text})[]" if " " in text else f"{text}[]"
    if origin is dict:
        return f"Record<{written(inner[0])}, {written(inner[1])}>"
    return str(kind.__name__) if is_typeddict(kind) else PLAIN[kind]


def within(kind: Any) -> Iterator[Any]:
    """The TypedDicts of a type, each behind those that it is made of."""
    parts = get_type_hints(kind).values() if is_typeddict(kind) else get_args(kind)
    for part in parts:
        yield from within(part)
    if is_typeddict(kind):
        yield kind


def interface(kind: Any) -> str:
    """A TypedDict with its docstring."""
    lines = [f"  /** {' '.join((kind.__doc__ or '').split())} */", f"  interface {kind.__name__} {{"]
    for name, field in get_type_hints(kind, include_extras=True).items():
        optional = get_origin(field) is NotRequired
        lines.append(f"    {name}{'?' if optional else ''}: {written(get_args(field)[0] if optional else field)};")
    return "\n".join([*lines, "  }"])


def declared() -> str:
    """The whole file."""
    views = {name: get_type_hints(view)["return"] for name, (view, _) in PANELS.items()}
    kinds = dict.fromkeys(kind for view in views.values() for kind in within(view))
    panels = "\n".join(f"    {name}: {view.__name__};" for name, view in views.items())
    every = "\n".join(map(interface, kinds))
    last = f"  /** What each panel shows. */\n  interface Panels {{\n{panels}\n  }}"
    return f"{HEAD}\ndeclare namespace View {{\n{every}\n{last}\n}}\n"


if __name__ == "__main__":
    print(declared(), end="")
