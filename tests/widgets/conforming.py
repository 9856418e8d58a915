"""Whether a value is what a TypedDict says, down to its last field; plain values only, as they cross to the page."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

NUMBERS = {int: (int,), float: (int, float)}


def differences(value: object, kind: Any, place: str = "view") -> Iterator[str]:
    """Where a value is not of a type, as sentences."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return
    if origin in (types.UnionType, Union):
        found = [list(differences(value, one, place)) for one in inner]
        yield from min(found, key=len)
    elif origin is Literal:
        yield from [] if value in inner else [f"{place} is {value!r}, none of {inner}"]
    elif origin is list:
        if type(value) is not list:
            yield f"{place} is {value!r}, no list"
            return
        for n, one in enumerate(value):
            yield from differences(one, inner[0], f"{place}[{n}]")
    elif is_typeddict(kind):
        yield from _fields(value, kind, place)
    elif origin is not dict and type(value) not in NUMBERS.get(kind, (kind,)):
        yield f"{place} is {value!r}, not {kind}"


def _fields(value: object, kind: Any, place: str) -> Iterator[str]:
    if type(value) is not dict:
        yield f"{place} is {value!r}, not {kind.__name__}"
        return
    wanted = get_type_hints(kind, include_extras=True)
    for name in value.keys() - wanted.keys():
        yield f"{place}.{name} is not among the fields of {kind.__name__}"
    for name, field in wanted.items():
        optional = get_origin(field) is NotRequired
        if name in value:
            yield from differences(value[name], get_args(field)[0] if optional else field, f"{place}.{name}")
        elif not optional:
            yield f"{place}.{name} is missing"
