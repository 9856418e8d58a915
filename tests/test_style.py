"""Functions and files stay short: what ruff holds for each function, held for all of them together."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
LONGEST_FILE = 360
TRAVELS_ALONE = {"check.py": 620}  # lies beside every export and needs no other file


def lengths(text: str) -> dict[str, int]:
    """Lines of each function, from its `def` to its end, docstring and inner functions included."""
    functions = [one for one in ast.walk(ast.parse(text)) if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return {f"{one.name}, line {one.lineno}": (one.end_lineno or one.lineno) - one.lineno + 1 for one in functions}


def sources() -> list[Path]:
    found = [path for folder in ("workbench", "widgets") for path in (ROOT / folder).rglob("*.py")]
    return [path for path in found if not {"node_modules", "static"} & set(path.parts)]


def test_functions_stay_short() -> None:
    found = {f"{path.name}: {name}": n for path in sources() for name, n in lengths(path.read_text()).items()}
    values, longest = list(found.values()), max(found, key=found.__getitem__)
    median, most = np.percentile(values, [50, 90])
    print(f"{len(values)} functions: median {median:g}, 90th percentile {most:g}, longest {max(values)} ({longest})")
    assert len(values) > 1000
    assert median <= 7 and most <= 17
    assert found[longest] <= 50, longest


def test_files_stay_short() -> None:
    found = {path: len(path.read_text().splitlines()) for path in sources()}
    assert not {path.name: n for path, n in found.items() if n > TRAVELS_ALONE.get(path.name, LONGEST_FILE)}
    assert np.percentile(list(found.values()), 90) <= 250


def test_length_is_counted_from_def_to_end() -> None:
    first = 'def one():\n    """Say."""\n    return 1\n\n'
    rest = "async def two(): return [\n    2,\n]\n@a\ndef three():\n    ...\n"
    assert lengths(first + rest) == {"one, line 1": 3, "two, line 5": 3, "three, line 9": 2}
