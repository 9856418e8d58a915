"""The faults that `mutation.py` makes, one expression of a file in another's place, and the tree it makes them in."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

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


#: Functions that do not care which argument comes first.
SYMMETRIC = frozenset(("min", "max", "minimum", "maximum", "hypot", "isclose", "allclose", "gcd", "lcm", "equal"))


@dataclass(frozen=True)
class Mutant:
    """One expression of a file, and what stands in its place."""

    file: str  # below the root
    lines: range  # of the statement that it is in, or of the head of a compound one
    start: int  # bytes from the beginning of the file
    end: int
    old: str
    new: str
    exact: bool = False  # the new text stands as it is, not as an expression

    @property
    def line(self) -> int:
        """The first line of the statement."""
        return self.lines.start

    def made(self, source: bytes) -> bytes:
        """The file with the fault; an expression in brackets can stand wherever one stood."""
        new = self.new if self.exact or self.new == "pass" else f"({self.new})"
        return source[: self.start] + new.encode() + source[self.end :]


class Places(ast.NodeVisitor):
    """Finds the mutants of a file; what people read and what types say is left alone."""

    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.found = file, list[Mutant]()
        self._statement = range(0)
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
        outer = self._statement
        if isinstance(node, ast.stmt):
            self._statement = range(node.lineno, _last_line(node) + 1)
            if _can_go(node):
                self._add(node, "pass")
        if isinstance(node, ast.expr):
            for new in _others(node):
                self._add(node, _text(new))
        test = getattr(node, "test", None) if isinstance(node, (ast.If, ast.While, ast.IfExp)) else None
        if not (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"):
            for condition in [test] if test else getattr(node, "ifs", []):
                self._add(condition, _text(ast.UnaryOp(ast.Not(), condition)))
            if isinstance(node, ast.Return) and node.value and not _is_nothing(node.value):
                self._add(node.value, "None")
            super().visit(node)
        self._statement = outer

    def _add(self, node: ast.expr | ast.stmt, new: str) -> None:
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = self._lines[node.lineno - 1] + node.col_offset
        end = self._lines[node.end_lineno - 1] + node.end_col_offset
        self.found.append(Mutant(self.file, self._statement, start, end, ast.unparse(node), new))


def _text(node: ast.expr) -> str:
    return ast.unparse(ast.fix_missing_locations(node))


def _last_line(node: ast.stmt) -> int:
    """The last line of a statement, or of the head of one with others in it."""
    body = getattr(node, "body", None)
    return max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno


def _can_go(node: ast.stmt) -> bool:
    """Whether a statement does something that could be forgotten: a call for what it does, or a change in place."""
    if isinstance(node, ast.AugAssign):
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def _is_nothing(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _others(node: ast.expr) -> Iterator[ast.expr]:  # noqa: C901, PLR0912  # one branch a kind of slip
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
        either = getattr(node.func, "id", getattr(node.func, "attr", "")) in SYMMETRIC
        if len(node.args) == 2 and not either and not any(isinstance(one, ast.Starred) for one in node.args):
            yield ast.Call(node.func, node.args[::-1], node.keywords)


def mutants_of(root: Path, patterns: Sequence[str]) -> list[Mutant]:
    """Every mutant of the files below `workbench/` that the patterns name."""
    found: list[Mutant] = []
    for path in sorted(one for pattern in patterns for one in (root / "workbench").glob(pattern)):
        source = path.read_bytes()
        places = Places(path.relative_to(root).as_posix(), source)
        places.visit(ast.parse(source))
        found += places.found
    return found


def named(root: Path, file: str, old: str, new: str) -> Mutant:
    """The mutant that has `new` in the place of the one `old` of a file."""
    source = (root / file).read_bytes()
    if source.count(old.encode()) != 1:
        raise ValueError(f"{file} holds {source.count(old.encode())} times, not once: {old}")
    start = source.index(old.encode())
    line = source[:start].count(b"\n") + 1
    return Mutant(file, range(line, line + 1), start, start + len(old.encode()), old, new, exact=True)


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

    def run(self, tests: Sequence[str], limit: float, plugin: Callable[[], object] | None = None) -> str:
        """Run tests in a fork of this process, until one fails: "survived", "killed" or "timed out".

        With a plugin of pytest, which is made there, all of them run.
        """
        child = os.fork()
        if child == 0:
            self._test(tests, plugin)
        deadline = time.monotonic() + limit
        try:
            while time.monotonic() < deadline:
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    return "killed" if status else "survived"
                time.sleep(0.02)
            return "timed out"
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)

    def _test(self, tests: Sequence[str], plugin: Callable[[], object] | None) -> None:
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

            quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0", "--timeout=0"]
            plugins = [plugin()] if plugin else []
            code = int(pytest.main([*quiet, *([] if plugins else ["-x"]), *tests], plugins))
            found = str(sys.modules["workbench"].__file__)
            if not found.startswith(str(self.folder)):
                print(f"The tests ran on {found}.")
                code = 3
        finally:
            sys.stdout.flush()
            os._exit(code)
