"""Writes for TypeScript what crosses between Python and the page: views one way, the user's actions the other.

The views' types are the TypedDicts that the panels' functions return, the actions' those of what does them.

python widgets/js/declare.py > widgets/js/src/views.d.ts
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from workbench_widgets import exporting
from workbench_widgets.screen import PANELS
from workbench_widgets.seam.page_view import Answer
from workbench_widgets.session import CHANGES, Session
from workbench_widgets.store import State, Store

PLAIN = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null", Any: "any", object: "any"}
HEAD = "// Made by `make views` from the screen's seam/ and the actions' signatures: change those; a test compares."


def written(kind: Any) -> str:
    """A type of Python as TypeScript writes it."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " | ".join(f'"{one}"' for one in inner)
    if origin in (types.UnionType, Union):
        return " | ".join(dict.fromkeys(map(written, inner)))  # int and float are one
    if origin in (list, Iterable):
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


def detail(act: Callable[..., Any]) -> str:
    """What an action is sent with: the parameters of what does it, but for the state, and bytes, which come beside."""
    kinds = get_type_hints(act)
    known = [one for one in inspect.signature(act).parameters.values() if kinds[one.name] not in (State, bytes)]
    fields = [f"{p.name}{'' if p.default is p.empty else '?'}: {written(kinds[p.name])}" for p in known]
    return f"{{ {'; '.join(fields)} }}" if fields else "{}"


def actions() -> dict[str, Callable[..., Any]]:
    """Everything that a panel can ask for, by its name: the session's, and what the screen does itself."""
    session = Session(Store(State()))
    own: dict[str, Callable[..., Any]] = {
        "again": lambda: None,
        "piece": exporting.piece,
        "upload": session.opening.upload,
    }
    return {**CHANGES, **session._actions, **own}


def declared() -> str:
    """The whole file."""
    views = {name: get_type_hints(view)["return"] for name, (view, _) in PANELS.items()}
    kinds = dict.fromkeys(kind for view in (*views.values(), Answer) for kind in within(view))
    panels = "\n".join(f"    {name}: {view.__name__};" for name, view in views.items())
    every = "\n".join(map(interface, kinds))
    shown = f"  /** What each panel shows. */\n  interface Panels {{\n{panels}\n  }}"
    details = "\n".join(f"    {name}: {detail(act)};" for name, act in actions().items())
    done = f"  /** What the user can do, and what goes with it. */\n  interface Actions {{\n{details}\n  }}"
    return f"{HEAD}\ndeclare namespace View {{\n{every}\n{shown}\n{done}\n}}\n"


if __name__ == "__main__":
    print(declared(), end="")
