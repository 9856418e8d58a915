"""Imports run downwards only, the engine knows no screen, and torch waits until it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the bottom up. A module imports from its own row and from the rows above it in this list.
LAYERS = (
    {"arguments", "closures", "unwrap"}
    | {"calling", "callable_module", "checking", "content", "disk", "errors", "estimate", "jobs", "limits", "lineage"}
    | {"progress", "quota", "snapshot", "tracing_lock", "untrusted"},
    {"onnx_file", "onnx_graph", "lowrank", "cost", "runtimes", "models", "data", "coding"},
    {"settings", "plan", "step", "recipe"},
    {"factorization", "statistics", "pruning", "training", "quantization"},
    {"steps", "measure", "pareto", "build", "variant", "frame", "keeping", "naming", "storage", "export"}
    | {"charts", "manifest", "rewritten", "portability", "diagnosis"},
    {"diagnostics", "published", "study", "search"},
    {"__main__", "app", "cli", "dashboard", "teach"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# `a | b` makes a recipe of steps, and a recipe is made of steps: one part in two files.
TWINS = {frozenset({"recipe", "step"})}
SCREEN = {"ipywidgets", "IPython", "anywidget", "ipykernel", "voila", "workbench_widgets"}


def sources(folder: str) -> list[Path]:
    return sorted(p for p in (ROOT / folder).rglob("*.py") if "static" not in p.parts)


def part_of(path: Path) -> str:
    """The module or subpackage of `workbench` that a file belongs to: steps/tucker.py -> steps."""
    return path.relative_to(ROOT / "workbench").parts[0].removesuffix(".py")


def executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node, but not what only a type checker sees."""
    if isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from executed(child)


def imported(path: Path) -> Iterator[str]:
    """The dotted name of everything that a file imports absolutely, at the top or inside a function."""
    for node in executed(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "workbench":
                yield from (f"workbench.{alias.name}" for alias in node.names)
            else:
                yield node.module


def parts_imported(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("workbench.")}


@pytest.mark.parametrize("path", sources("workbench"), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downwards_only(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return  # the front door: it imports everything, lazily
    assert part in LEVEL, f"{part} has no place in LAYERS: say where it stands"
    upwards = {name for name in parts_imported(path) if name in LEVEL and LEVEL[name] > LEVEL[part]}
    assert not upwards, f"{path.name} imports from a layer above its own: {upwards}"


def test_no_two_parts_import_each_other() -> None:
    graph: dict[str, set[str]] = {}
    for path in sources("workbench"):
        part = part_of(path)
        others = {name for name in parts_imported(path) - {part} if frozenset({name, part}) not in TWINS}
        graph.setdefault(part, set()).update(others)
    graph.pop("__init__")
    while graph:  # peel off what imports nothing that is left; a cycle stays
        free = {part for part, needs in graph.items() if not needs & graph.keys()}
        assert free, f"These import each other in a circle: {sorted(graph)}"
        graph = {part: needs for part, needs in graph.items() if part not in free}


def test_the_engine_does_not_know_the_screen() -> None:
    guilty = {
        path.name: names
        for path in sources("workbench")
        if (names := {name.split(".")[0] for name in imported(path)} & SCREEN) and part_of(path) != "__init__"
    }
    assert not guilty


def test_the_front_door_forwards_to_the_screen_only_when_asked() -> None:
    tree = ast.parse((ROOT / "workbench" / "__init__.py").read_text())
    at_the_top = {n.module for n in tree.body if isinstance(n, ast.ImportFrom)} | {
        alias.name for n in tree.body if isinstance(n, ast.Import) for alias in n.names
    }
    assert not {name.split(".")[0] for name in at_the_top if name} & SCREEN


@pytest.mark.parametrize("heavy", ["torch", "tensorly", "onnx", "onnxruntime", "pandas", "altair", "ipywidgets"])
def test_import_workbench_loads_nothing_heavy(heavy: str) -> None:
    code = f"import sys, workbench; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
