"""The mutation score: of faults of one operator, drawn at random, how many the tests notice.

    python benchmarks/mutants.py [--each 20] [--folders cost lowrank] [--files layer.py] [--tests steps] [--seed 0]

A mutant has one comparison, operator, constant or condition turned round, one value not returned, or one argument not
given. It is made in a copy of the tree, and the tests that belong to its folder run until one fails; of those that
survive the line is printed, since some are no fault: nothing that the product promises depends on them.

Why no tool: mutmut leaves functions with a decorator alone, and half of the cost model is properties; cosmic-ray
starts a process a mutant, which imports torch for longer than most tests take. Here that is done once, then forked.
Needs `fork`.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: What is imported before the forks; nothing of the workbench itself.
HEAVY = (
    "torch", "torch._dynamo", "torch.export", "torch.onnx", "torch.fx.experimental.proxy_tensor", "onnx", "onnxruntime",
    "onnxscript", "onnxscript.optimizer", "pandas", "scipy.stats", "tensorly", "hypothesis", "pytest",
)  # fmt: skip
#: The code of each folder, and the tests that belong to it; quick ones first.
FOLDERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cost": (
        ("cost/*.py",),
        ("core/test_cost_by_hand.py", "core/test_cost.py", "core/test_cells.py", "core/test_devices.py",
         "core/test_compressed.py", "core/test_by_layer.py", "core/test_shapes.py", "core/test_file_size.py"),
    ),
    "lowrank": (("lowrank/*.py",), ("lowrank",)),
    "factorization": (
        ("factorization/*.py", "plan.py"),
        ("core/test_plan.py", "steps/test_planning.py", "steps/test_best_fit.py", "steps/test_rank_bounds.py",
         "steps/test_tucker.py", "steps/test_svd.py", "steps/test_asymmetric.py", "steps/test_strangers_family.py",
         "steps/test_grouped.py", "steps/test_factorize.py"),
    ),
    "steps": (("steps/*.py", "step.py", "pruning/*.py", "statistics/*.py"), ("steps", "pruning")),
    "quantization": (("quantization/*.py",), ("quantization", "steps/test_quantize.py")),
    "export": (
        ("export.py", "content.py", "disk.py", "manifest.py"),
        ("core/test_export.py", "core/test_study.py", "core/test_storage.py"),
    ),
    "storage": (("storage.py", "keeping.py"), ("core/test_storage.py", "core/test_keeping.py", "core/test_study.py")),
    "study": (
        ("study.py", "recipe.py", "variant.py", "frame.py", "pareto.py", "build.py"),
        ("core/test_study_ids.py", "core/test_study.py", "core/test_recipe.py", "core/test_keeping.py",
         "core/test_without.py"),
    ),
}  # fmt: skip

COMPARISONS: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Lt: [ast.LtE, ast.GtE], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.LtE], ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.Is: [ast.IsNot], ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn], ast.NotIn: [ast.In],
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One expression of a file, and what stands in its place."""

    file: Path  # below the root
    line: int
    start: int  # bytes from the beginning of the file
    end: int
    new: str

    def made(self, source: bytes) -> bytes:
        """The file with the fault; an expression in brackets can stand wherever one stood."""
        return source[: self.start] + f"({self.new})".encode() + source[self.end :]


class Places(ast.NodeVisitor):
    """Finds the mutants of a file; what people read and what types say is left alone."""

    def __init__(self, file: Path, source: bytes) -> None:
        self.file, self.found = file, list[Mutant]()
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def generic_visit(self, node: ast.AST) -> None:
        """Everything below, except texts, errors, types and decorators."""
        if isinstance(node, (ast.JoinedStr, ast.Raise, ast.Assert)):
            return
        typed = ("annotation", "returns", "decorator_list", "bases", "type_comment")
        for name, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and name not in typed:
                    self.visit(child)

    def visit(self, node: ast.AST) -> None:
        """A node, and what is below it."""
        if isinstance(node, ast.expr):
            for new in _others(node):
                self._add(node, new)
        test = getattr(node, "test", None) if isinstance(node, (ast.If, ast.While, ast.IfExp)) else None
        if isinstance(test, ast.Name) and test.id == "TYPE_CHECKING":
            return
        for condition in [test] if test else getattr(node, "ifs", []):
            self._add(condition, ast.UnaryOp(ast.Not(), condition))
        if isinstance(node, ast.Return) and node.value and not _is_nothing(node.value):
            self._add(node.value, ast.Constant(None))
        super().visit(node)

    def _add(self, node: ast.expr, new: ast.expr) -> None:
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = self._lines[node.lineno - 1] + node.col_offset
        end = self._lines[node.end_lineno - 1] + node.end_col_offset
        self.found.append(Mutant(self.file, node.lineno, start, end, ast.unparse(ast.fix_missing_locations(new))))


def _is_nothing(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _others(node: ast.expr) -> Iterator[ast.expr]:  # noqa: C901  # one branch a kind of slip
    """What an expression could have been by a slip."""
    if isinstance(node, ast.Compare):
        for index, one in enumerate(node.ops):
            for other in COMPARISONS[type(one)]:
                yield ast.Compare(node.left, [*node.ops[:index], other(), *node.ops[index + 1 :]], node.comparators)
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield from (ast.Constant(node.value + 1), ast.Constant(node.value - 1))
    elif isinstance(node, ast.Call):
        for index in range(len(node.keywords)):
            yield ast.Call(node.func, node.args, [*node.keywords[:index], *node.keywords[index + 1 :]])


def mutants_of(root: Path, patterns: Sequence[str]) -> list[Mutant]:
    """Every mutant of the files below `workbench/` that the patterns name."""
    found: list[Mutant] = []
    for path in sorted(one for pattern in patterns for one in (root / "workbench").glob(pattern)):
        source = path.read_bytes()
        places = Places(path.relative_to(root), source)
        places.visit(ast.parse(source))
        found += places.found
    return found


class Tree:
    """A copy of the checkout in which mutants are made, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._changes = folder, int(time.time())
        given = ("-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        names = subprocess.run(["git", *given], capture_output=True, text=True, check=True).stdout.split("\0")
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)

    @contextlib.contextmanager
    def changed(self, mutant: Mutant) -> Iterator[None]:
        """The tree with the fault in it, while the block runs."""
        path = self.folder / mutant.file
        before = path.read_bytes()
        try:
            self._write(path, mutant.made(before))
            yield
        finally:
            self._write(path, before)

    def _write(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self._changes += 2  # Python takes what it compiled for the file's while the second of its time is the same
        os.utime(path, (self._changes, self._changes))

    def run(self, tests: Sequence[str], limit: float) -> str:
        """Run tests in a fork of this process: "survived", "killed" or "timed out"."""
        paths = [path for one in tests if (path := self.folder / "tests" / one).exists()]
        child = os.fork()
        if child == 0:
            self._test(paths)
        deadline = time.monotonic() + limit
        try:
            while time.monotonic() < deadline:
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    return "killed" if status else "survived"
                time.sleep(0.05)
            return "timed out"
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)

    def _test(self, paths: Sequence[Path]) -> None:
        """In the child: run the tests, and end with their outcome."""
        code = 1
        try:
            os.setsid()
            log = os.open(self.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.chdir(self.folder)
            places = [str(self.folder), str(self.folder / "widgets")]
            sys.path[:0] = places
            os.environ |= {"PYTHONPATH": os.pathsep.join(places), "WORKBENCH_LATENCY_SECONDS": "0.1"}
            import pytest

            quiet = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"]
            code = int(pytest.main([*quiet, *map(str, paths)]))
            found = str(sys.modules["workbench"].__file__)
            if not found.startswith(str(self.folder)):
                print(f"The tests ran on {found}.")
                code = 3
        finally:
            sys.stdout.flush()
            os._exit(code)


def score(tree: Tree, name: str, mutants: Sequence[Mutant], tests: Sequence[str]) -> Counter[str]:
    """Try mutants of one folder; those that survive are printed as they come."""
    began = time.monotonic()
    if tree.run(tests, 3600.0) != "survived":
        raise SystemExit(f"The tests of {name} fail without a fault:\n{(tree.folder / 'log.txt').read_text()[-3000:]}")
    limit = 60.0 + 4 * (time.monotonic() - began)  # a fault may make things slow, and so may a neighbour
    found: Counter[str] = Counter()
    for mutant in mutants:
        source = (tree.folder / mutant.file).read_bytes()
        old = " ".join(source[mutant.start : mutant.end].decode().split())
        with tree.changed(mutant):
            outcome = tree.run(tests, limit)
        found[outcome] += 1
        if outcome != "killed":
            print(f"- {outcome}: {mutant.file}:{mutant.line}: `{old}` → `{mutant.new}`", flush=True)
    return found


def row(name: str, found: Counter[str]) -> str:
    """A line of the table; what never ended was noticed too."""
    number, noticed = found.total(), found["killed"] + found["timed out"]
    share = f"{noticed / number:.0%}" if number else "–"
    return f"| {name} | {number} | {found['killed']} | {found['survived']} | {found['timed out']} | {share} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=20, help="mutants of each folder")
    parser.add_argument("--folders", nargs="+", choices=list(FOLDERS), default=list(FOLDERS))
    parser.add_argument("--files", nargs="+", default=[], help="only files of these names")
    parser.add_argument("--tests", nargs="+", default=[], help="files below tests/ in the place of the folder's own")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    rows = []
    with tempfile.TemporaryDirectory(prefix="workbench-mutants-") as folder:
        tree = Tree(Path(folder))
        for name in given.folders:
            patterns, tests = FOLDERS[name]
            mutants = [
                one for one in mutants_of(tree.folder, patterns) if not given.files or one.file.name in given.files
            ]
            drawn = random.Random(given.seed).sample(mutants, min(given.each, len(mutants)))
            rows.append(row(name, score(tree, name, drawn, given.tests or tests)))
    print("\n| folder | mutants | killed | survived | timed out | score |\n| --- | --- | --- | --- | --- | --- |")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
