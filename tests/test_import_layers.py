"""Imports run downwards only, the engine knows no screen, and torch waits until it is used.

Every import counts: at the top, inside a function, and for the type checker alone.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the bottom up. A module imports from its own row and from the rows above it in this list.
LAYERS = (
    {"errors", "estimate", "expectation", "files", "interface", "jobs", "meter", "modules", "progress", "untrusted"},
    {"artefact", "onnx_file", "operators", "lowrank", "cost", "runtimes", "models", "data", "coding", "tasks", "c99"},
    {"settings", "plan", "recipe_file", "schema", "recipe", "step"},
    {"factorization", "statistics", "pruning", "training", "quantization"},
    {"steps", "measure", "building", "certificate", "variant", "studies", "export", "charts", "frames", "manifest"}
    | {"diagnosis", "exporters", "proof", "reduction", "remote", "replay"},
    {"workers"},
    {"search"},
    {"doctor", "keeping", "kept", "making", "published", "report", "study"},
    {"__main__", "agents", "app", "cli", "dashboard", "doctor_command", "live", "probe_command", "reduce_command"}
    | {"report_command", "study_commands", "teach", "terminal"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
SCREEN = {"ipywidgets", "IPython", "anywidget", "ipykernel", "voila", "workbench_widgets"}


def sources(folder: str) -> list[Path]:
    return sorted(p for p in (ROOT / folder).rglob("*.py") if "static" not in p.parts)


def part_of(path: Path) -> str:
    """The module or subpackage of `workbench` that a file belongs to: steps/tucker.py -> steps."""
    return path.relative_to(ROOT / "workbench").parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """The dotted name of everything that a file imports absolutely."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(folder: str, package: str) -> dict[str, Path]:
    """Every file of a package by its dotted name."""
    names = {path: path.relative_to(ROOT / folder).with_suffix("").parts for path in sources(folder)}
    return {".".join([package, *parts]).removesuffix(".__init__"): path for path, parts in names.items()}


def home(name: str, known: Collection[str]) -> str:
    """The module that an imported name is, or stands in; "" where it is none of those known."""
    while name not in known and name:
        name = name.rpartition(".")[0]
    return name


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """What imports one another in a circle; empty where nothing does."""
    left = dict(graph)
    while left:  # peel off what imports nothing that is left, and what nothing left imports: circles stay
        needed = set().union(*left.values())
        free = [name for name, needs in left.items() if not needs & left.keys() or name not in needed]
        if not free:
            return sorted(left)
        for name in free:
            del left[name]
    return []


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
        graph.setdefault(part_of(path), set()).update(parts_imported(path) - {part_of(path)})
    graph.pop("__init__")
    assert not circle(graph)


@pytest.mark.parametrize(("folder", "package"), [("workbench", "workbench"), ("widgets", "workbench_widgets")])
def test_no_two_files_import_each_other(folder: str, package: str) -> None:
    files = modules(folder, package)
    inside = {name: path for name, path in files.items() if name != package}  # the front door knows everybody
    graph = {name: {home(one, files) for one in imported(path)} - {name, ""} for name, path in inside.items()}
    assert not circle(graph)


def test_a_circle_is_found_and_a_tree_is_none() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]
    assert circle({"a": {"b", "d"}, "b": {"d"}, "d": {"elsewhere"}}) == []


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


@pytest.mark.parametrize(
    "heavy", ["torch", "tensorly", "sqlalchemy", "onnx", "onnxruntime", "pandas", "altair", "ipywidgets"]
)
def test_import_workbench_loads_nothing_heavy(heavy: str) -> None:
    code = f"import sys, workbench; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
