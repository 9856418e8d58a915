"""Altair without the wait for a grammar that nothing here uses.

Altair imports jsonschema, and jsonschema, where Jupyter's servers have brought rfc3987-syntax, builds a parser of
international web addresses at import: two to three seconds, more than all the rest of this package's charts. Until
jsonschema is imported the parser's place is taken by a function that builds it when it is first asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

PARSER = "rfc3987_syntax"


def _import() -> None:
    """Import jsonschema, all its checks in place; the parser of addresses waits for its first use."""
    if "jsonschema" in sys.modules or PARSER in sys.modules or importlib.util.find_spec(PARSER) is None:
        return
    stand_in = ModuleType(PARSER)
    stand_in.is_valid_syntax = _is_valid_syntax  # type: ignore[attr-defined]  # a module takes any name
    sys.modules[PARSER] = stand_in
    try:
        importlib.import_module("jsonschema")
    finally:
        del sys.modules[PARSER]


def _is_valid_syntax(term: str, value: str) -> bool:
    return bool(importlib.import_module(PARSER).is_valid_syntax(term, value))


_import()
