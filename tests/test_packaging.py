"""What is declared is what is needed: imports, pins, sizes, versions, and what a wheel carries."""

from __future__ import annotations

import ast
import functools
import importlib.metadata as metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import workbench

ROOT = Path(__file__).parent.parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT: dict[str, Any] = PYPROJECT["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
BASE = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
STACKS = ("torch", "onnx", "onnxruntime", "onnxscript", "ipykernel", "ipywidgets", "voila")
# Base dependencies that no file imports, and why they are needed all the same.
NOT_IMPORTED = {
    "onnxscript": "torch.onnx.export works with it",
    "ipykernel": "the kernel of every notebook and of the dashboard",
    "voila": "started as a program by `workbench dashboard`",
}
# Extras whose packages a file of the engine or the screen imports once they are asked for.
OPTIONAL = ("lab", "devices", "zoo", "images", "tables", "detection", "openvino", "ncnn", "litert", "executorch", "mcp")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([A-Za-z0-9.+!_-]+)$")


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    matches = [PIN.match(line) for line in lines]
    bad = [line for line, match in zip(lines, matches, strict=True) if match is None]
    assert not bad, f"constraints.txt holds more than name==version: {bad}"
    return {canonicalize_name(m[1]): m[2] for m in matches if m}


def imports(folder: str) -> dict[str, set[str]]:
    """Top-level names imported anywhere in a folder -> the files that do."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.append(node.module)
            for name in names:
                found.setdefault(name.split(".")[0], set()).add(path.name)
    return found


def third_party(folder: str) -> dict[str, set[str]]:
    own = {"workbench", "workbench_widgets", "__future__"}
    if folder not in {"workbench", "widgets"}:  # scripts and tests import their neighbours by their bare names
        own |= {path.stem for place in ("benchmarks", "tests") for path in (ROOT / place).rglob("*.py")}
    return {n: files for n, files in imports(folder).items() if n not in sys.stdlib_module_names and n not in own}


@functools.cache
def installed() -> dict[str, set[str]]:
    """Top-level module names -> the distributions that hold them."""
    return {m: {canonicalize_name(n) for n in names} for m, names in metadata.packages_distributions().items()}


#: Modules named otherwise than their distribution, which may not be installed.
OTHERWISE = {"tltorch": "tensorly-torch"}


def distributions(module: str) -> set[str]:
    """The distributions that hold a module; for one that is not installed, its own name."""
    return installed().get(module, {str(canonicalize_name(OTHERWISE.get(module, module)))})


def closure(names: set[str]) -> set[str]:
    """These distributions and everything that they need, here and without extras but those asked for."""
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [Requirement(name) for name in names]
    while todo:
        wanted = todo.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        for line in metadata.requires(wanted.name) or []:
            need = Requirement(line)
            environments = [{"extra": extra} for extra in wanted.extras or {""}]
            if need.marker is None or any(need.marker.evaluate(e) for e in environments):
                todo.append(need)
    return {name for name, _ in seen}


def megabytes(name: str) -> float:
    files = metadata.files(name) or []
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


@pytest.mark.parametrize("folder", ["workbench", "widgets"])
def test_every_import_is_a_declared_dependency(folder: str) -> None:
    declared = BASE | {canonicalize_name(Requirement(r).name) for n in OPTIONAL for r in EXTRAS[n]}
    missing = {name: files for name, files in third_party(folder).items() if not distributions(name) & declared}
    assert not missing


def test_every_import_of_the_tests_and_benchmarks_is_declared() -> None:
    test_extra = {canonicalize_name(Requirement(r).name) for r in EXTRAS["test"]}
    # skipped where they are missing
    optional = {canonicalize_name(Requirement(r).name) for r in EXTRAS["zoo"] + EXTRAS["peers"]}
    needed = third_party("tests") | third_party("benchmarks")
    missing = {n: files for n, files in needed.items() if not distributions(n) & (BASE | test_extra | optional)}
    assert not missing


def test_every_dependency_is_used() -> None:
    used = {d for folder in ("workbench", "widgets") for name in third_party(folder) for d in distributions(name)}
    assert {name for name in BASE if name not in used} <= NOT_IMPORTED.keys()


def test_the_base_install_is_lean() -> None:
    """Beyond the torch, ONNX and Jupyter stacks at most 24 packages and 250 MB.

    Among them are the three that keep studies, 20 MB: SQLAlchemy, Alembic and Mako, which Alembic brings.
    """
    added = closure(set(BASE)) - closure(set(STACKS))
    sizes = {name: megabytes(name) for name in added}
    assert len(added) <= 24, sorted(added)
    assert sum(sizes.values()) <= 250, sizes


def test_an_installed_torch_is_never_moved() -> None:
    """Torch has a lower bound alone, and no other package of the base install asks for another."""
    specifier = next(Requirement(r).specifier for r in PROJECT["dependencies"] if Requirement(r).name == "torch")
    assert [s.operator for s in specifier] == [">="]
    others = [
        need.specifier
        for name in closure(set(BASE)) - {"torch"}
        for line in metadata.requires(name) or []
        if (need := Requirement(line)).name == "torch" and need.marker is None
    ]
    least = next(iter(specifier)).version
    assert all(one.contains(least) and {s.operator for s in one} <= {">="} for one in others), others


def test_the_constraints_pin_everything_that_is_installed_by_make() -> None:
    extras = {line for name in ("lab", "devices", "openvino", "test") for line in EXTRAS[name] if "[" not in line}
    wanted = closure(set(BASE) | extras)
    assert wanted - pins().keys() - {"nn-workbench"} == set()


def test_the_pins_satisfy_what_is_declared() -> None:
    pinned = pins()
    lines = [line for extra in ("lab", "devices", "openvino", "test") for line in EXTRAS[extra] if "[" not in line]
    for line in [*PROJECT["dependencies"], *lines]:
        need = Requirement(line)
        assert need.specifier.contains(pinned[canonicalize_name(need.name)]), line


def test_one_version_everywhere() -> None:
    assert metadata.version("nn-workbench") == workbench.__version__
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == workbench.__version__


def test_every_folder_with_code_is_a_declared_package() -> None:
    found = set()
    for folder, name in (("workbench", "workbench"), ("widgets/workbench_widgets", "workbench_widgets")):
        for init in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join((name, *init.parent.relative_to(ROOT / folder).parts)))
    notebooks = {"workbench.teach.notebooks"}  # no code: the labs of notebooks/, which a course is made from
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found | notebooks


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel, built from a copy so that the checkout stays as it is."""
    work = tmp_path_factory.mktemp("wheel")
    skip = shutil.ignore_patterns("__pycache__", "node_modules")
    for folder in ("workbench", "widgets", "notebooks"):
        shutil.copytree(ROOT / folder, work / folder, ignore=skip)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, work)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", "dist", "."]
    subprocess.run(command, cwd=work, check=True, capture_output=True)
    (path,) = (work / "dist").glob("*.whl")
    return set(zipfile.ZipFile(path).namelist())


def test_the_wheel_holds_what_the_package_reads_at_run_time(wheel: set[str]) -> None:
    from workbench.models.architectures import BUNDLED
    from workbench.teach.course.laying import TEMPLATES

    expected = {f"workbench/models/{name}.safetensors" for name in BUNDLED}
    expected |= {f"workbench/models/cards/{name}.md" for name in BUNDLED}
    expected |= {f"workbench/recipes/{path.name}" for path in (ROOT / "workbench" / "recipes").glob("*.yaml")}
    expected |= {"workbench/data/fashion-mnist.npz", "workbench/py.typed"}
    labs = (ROOT / "notebooks" / "labs" / "solutions").glob("*.ipynb")
    expected |= {f"workbench/teach/notebooks/{path.name}" for path in labs}
    expected |= {f"workbench/teach/course/{name}" for name in ("leaderboard.ipynb", *TEMPLATES)}
    parts = (path for name in ("page", "runtime") for path in (ROOT / "workbench" / "devices" / name).iterdir())
    expected |= {str(path.relative_to(ROOT)) for path in parts}
    static = (ROOT / "widgets" / "workbench_widgets" / "static").rglob("*")
    expected |= {str(p.relative_to(ROOT / "widgets")) for p in static if p.is_file()}
    python = (p.relative_to(ROOT) for p in (ROOT / "workbench").rglob("*.py"))
    expected |= {str(path) for path in python}
    assert expected - wheel == set()


def test_the_wheel_holds_nothing_else(wheel: set[str]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in wheel} == {"workbench", "workbench_widgets", "nn_workbench"}
