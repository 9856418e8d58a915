"""The mutation score's tool: the faults that it makes, the tests that it chooses, and what is written of the scores."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest
from covering import Coverage
from mutants import ROOT, Mutant, mutants_of, named

KNOWN: dict[str, Any] = tomllib.loads((ROOT / "benchmarks" / "mutation.toml").read_text())
#: What must be noticed of the mutants that change behaviour; scores of folders that lie higher must not fall.
LEAST = 0.85


def of(folder: Path, source: str) -> list[Mutant]:
    (folder / "workbench").mkdir(exist_ok=True)
    (folder / "workbench" / "one.py").write_text(source)
    return mutants_of(folder, ["one.py"])


@pytest.mark.parametrize(
    ("source", "others"),
    [
        ("x = a < b", {"x = (a <= b)", "x = (a >= b)"}),
        ("x = a + b", {"x = (a - b)"}),
        ("x = a and b", {"x = (a or b)"}),
        ("x = 3", {"x = (4)", "x = (2)"}),
        ("x = True", {"x = (False)"}),
        ("x = f(a, k=b)", {"x = (f(a))"}),
        ("x = f(a, b)", {"x = (f(b, a))"}),
        ("x = max(a, b)", set()),  # it does not matter
        ("f(a)", {"pass"}),
        ("x += a", {"pass"}),
        ("x = [a for a in b if a]", {"x = [a for a in b if (not a)]"}),
        ("if a:\n    b = c", {"if (not a):\n    b = c"}),
        ("def f():\n    return a", {"def f():\n    return (None)"}),
        ("def f(a: X[1] = b) -> Y[2]:\n    return None", set()),  # types say nothing at run time
        ("raise E(1)", set()),  # what people read
        ("x = f'{a + b}'", set()),
        ("if TYPE_CHECKING:\n    import a", set()),
    ],
)
def test_a_fault_is_one_slip(source: str, others: set[str], tmp_path: Path) -> None:
    assert {one.made(source.encode()).decode() for one in of(tmp_path, source)} == others


def test_a_fault_in_the_midst_of_a_file_changes_nothing_else(tmp_path: Path) -> None:
    source = "# é\nx = 'é', a == b\n\n\ny = f(\n    a,\n    k=1,\n)\n"
    found = of(tmp_path, source)
    assert [(one.old, one.new, list(one.lines)) for one in found] == [
        ("a == b", "a != b", [2]),
        ("f(a, k=1)", "f(a)", [5, 6, 7, 8]),
        ("1", "2", [5, 6, 7, 8]),
        ("1", "0", [5, 6, 7, 8]),
    ]
    assert found[0].made(source.encode()).decode() == source.replace("a == b", "(a != b)")
    assert found[2].made(source.encode()).decode() == source.replace("k=1", "k=(2)")


def test_what_is_made_of_our_own_files_can_be_read() -> None:
    found = mutants_of(ROOT, ["jobs.py"])
    source = (ROOT / "workbench" / "jobs.py").read_bytes()
    assert len(found) > 50
    for one in found:
        assert ast.dump(ast.parse(one.made(source))) != ast.dump(ast.parse(source))


def test_quick_tests_of_the_statement_are_asked_first() -> None:
    lines = {"a.py": {"3": ["t.py::slow", "t.py::quick"], "4": ["u.py"], "9": ["t.py::other"]}}
    seconds = {"t.py::slow": 9.0, "t.py::quick": 1.0, "u.py::x": 2.0, "u.py::y": 0.5, "t.py::other": 0.1}
    seconds["u.py::fails"] = float("inf")  # by itself
    known = Coverage(seconds, lines)
    mutant = Mutant("a.py", range(3, 5), 0, 0, "", "")
    assert known.tests(mutant) == ["u.py::y", "t.py::quick", "u.py::x", "t.py::slow"]
    assert known.others(mutant) == ["t.py::other", "u.py::y", "t.py::quick", "u.py::x", "t.py::slow"]
    assert known.within(3.5, known.tests(mutant)) == ["u.py::y", "t.py::quick", "u.py::x"]
    assert known.within(0.0, known.tests(mutant)) == ["u.py::y"]
    assert known.tests(Mutant("b.py", range(3, 5), 0, 0, "", "")) == []
    known.add(Coverage({"v.py::z": 0.2}, {"a.py": {"3": ["v.py::z"]}}))
    assert known.tests(mutant)[0] == "v.py::z" and len(known.tests(mutant)) == 5


@pytest.mark.parametrize("name", KNOWN["folder"])
def test_a_folder_has_code_tests_and_a_score_that_is_high_enough(name: str) -> None:
    folder = KNOWN["folder"][name]
    assert all(list((ROOT / "workbench").glob(one)) for one in folder["code"])
    assert all((ROOT / one).exists() for one in folder["tests"])
    assert LEAST <= folder.get("score", 1.0) <= 1  # none: not measured yet


def test_what_is_no_fault_is_still_there_and_has_its_reason() -> None:
    for one in KNOWN["equivalent"]:
        source = ROOT / one["file"]
        lines = [line.strip() for line in source.read_text().splitlines()]
        assert one["line"] in lines, one
        made = {(mutant.old, mutant.new) for mutant in mutants_of(ROOT, [str(source.relative_to(ROOT / "workbench"))])}
        assert (one["old"], one["new"]) in made, one
        assert len(one["reason"]) > 20


@pytest.mark.parametrize("one", KNOWN["named"], ids=lambda one: one["fault"])
def test_a_fault_with_a_name_can_still_be_made(one: dict[str, Any]) -> None:
    source = (ROOT / one["file"]).read_bytes()
    made = named(ROOT, one["file"], one["old"], one["new"]).made(source)
    assert ast.dump(ast.parse(made)) != ast.dump(ast.parse(source))
    assert all((ROOT / path).exists() for path in one["tests"])
