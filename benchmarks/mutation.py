"""The mutation score: of faults of one operator, drawn at random, how many the tests notice.

    python benchmarks/mutation.py lowrank storage [--draw 25] [--seed 0] [--files ranks.py]
    python benchmarks/mutation.py --check            # every folder of mutation.toml, against the score kept there

A mutant has one comparison, operator, constant or condition turned round, one value not returned, one statement or
argument left out, or two arguments exchanged (`mutants.py`). It is made in a copy of the tree. Which test runs which
line is recorded once (coverage.py; kept in build/mutation until a file changes), and the tests of the mutant's
statement run, quick ones first, until one fails; where none does, the others that enter its file follow, since what is
remembered is computed under one test and read under many. Survivors that are no fault stand in `mutation.toml` with
the reason.

Why no tool: mutmut leaves functions with a decorator alone, and half of the cost model is properties; cosmic-ray
starts a process a mutant, which imports torch for longer than most tests take. Here that is done once, then forked.
Needs `fork`.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutants import Mutant, mutants_of

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "build" / "mutation"
KNOWN = tomllib.loads((Path(__file__).parent / "mutation.toml").read_text(encoding="utf-8"))
#: What is imported before the forks; nothing of the workbench itself.
HEAVY = (
    "torch", "torch._dynamo", "torch.export", "torch.onnx", "torch.fx.experimental.proxy_tensor", "onnx", "onnxruntime",
    "onnxscript", "onnxscript.optimizer", "pandas", "scipy.stats", "tensorly", "hypothesis", "pytest", "coverage",
)  # fmt: skip


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

    def run(self, tests: Sequence[str], limit: float, record: Path | None = None) -> str:
        """Run tests in a fork of this process: "survived", "killed" or "timed out"."""
        child = os.fork()
        if child == 0:
            self._test(tests, record)
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

    def _test(self, tests: Sequence[str], record: Path | None) -> None:
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
            plugins = [Recorder(self.folder, record)] if record else []
            code = int(pytest.main([*quiet, *([] if record else ["-x"]), *tests], plugins))
            found = str(sys.modules["workbench"].__file__)
            if not found.startswith(str(self.folder)):
                print(f"The tests ran on {found}.")
                code = 3
        finally:
            sys.stdout.flush()
            os._exit(code)


class Recorder:
    """A plugin of pytest that writes which test runs which lines, and how long it takes.

    What a fixture of more than one test does counts for all tests of the file: only the first of them runs it.
    """

    def __init__(self, folder: Path, target: Path) -> None:
        import coverage

        self._folder, self._target = folder, target
        self._seconds: dict[str, float] = {}
        self._coverage = coverage.Coverage(data_file=None, source=[str(folder / "workbench")], config_file=False)
        self._coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """The test that runs from here on."""
        self._coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """How long a test took; one that fails by itself notices nothing."""
        known = self._seconds.get(report.nodeid, 0.0)
        self._seconds[report.nodeid] = float("inf") if report.failed else known + report.duration

    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> None:
        """From here on lines belong to the whole file, where others share the fixture."""
        if fixturedef.scope != "function":
            self._coverage.switch_context(request.node.nodeid.partition("::")[0] or "")

    def pytest_runtest_call(self, item: Any) -> None:
        """The test itself, after its fixtures."""
        self._coverage.switch_context(item.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Write what was seen."""
        self._coverage.stop()
        data = self._coverage.get_data()
        lines = {
            str(Path(file).relative_to(self._folder)): data.contexts_by_lineno(file) for file in data.measured_files()
        }
        self._target.write_text(json.dumps({"seconds": self._seconds, "lines": lines}))


@dataclass(frozen=True)
class Coverage:
    """Which tests run which lines."""

    seconds: dict[str, float]
    lines: dict[str, dict[str, list[str]]]

    def tests(self, mutant: Mutant) -> list[str]:
        """Those that run the mutant's statement, quick ones first; all of the file's where it runs at import."""
        of_file = self.lines.get(mutant.file, {})
        return self._sorted({one for line in mutant.lines for one in of_file.get(str(line), [])})

    def others(self, mutant: Mutant) -> list[str]:
        """Those that run anything of the mutant's file."""
        return self._sorted({one for found in self.lines.get(mutant.file, {}).values() for one in found})

    def _sorted(self, found: set[str]) -> list[str]:
        files = {one for one in found if "::" not in one}
        every = {one for one in self.seconds if one in found or one.partition("::")[0] in files}
        return sorted((one for one in every if self.seconds[one] < float("inf")), key=self.seconds.__getitem__)


def recorded(tree: Tree, name: str, tests: Sequence[str]) -> Coverage:
    """The coverage of a folder's tests: of before where no file has changed since, else taken anew."""
    files = sorted(path for top in ("workbench", "tests") for path in (tree.folder / top).rglob("*.py"))
    content = "".join(tests).encode() + b"".join(path.read_bytes() for path in files)
    digest = hashlib.sha256(content).hexdigest()[:12]
    target = KEPT / f"{name}-{digest}.json"
    if not target.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        began = time.process_time(), time.monotonic()
        if tree.run(tests, 3600.0, target) == "timed out" or not target.exists():
            raise SystemExit(f"The tests of {name}:\n{(tree.folder / 'log.txt').read_text()[-3000:]}")
        print(f"{name}: coverage recorded in {time.monotonic() - began[1]:.0f} s", flush=True)
    return Coverage(**json.loads(target.read_text()))


def outcome(tree: Tree, mutant: Mutant, coverage: Coverage) -> str:
    """What the tests make of a mutant."""
    tests = coverage.tests(mutant)
    others = [one for one in coverage.others(mutant) if one not in set(tests)]
    if not others and not tests:
        return "not run"
    with tree.changed(mutant):
        for chosen in filter(None, (tests, others)):
            limit = 30.0 + 5 * sum(coverage.seconds[one] for one in chosen)  # a fault, or a neighbour, makes them slow
            found = tree.run(chosen, limit)
            if found != "survived":
                return found
    return "survived"


def reason(mutant: Mutant, source: bytes) -> str | None:
    """Why a mutant is no fault, where `mutation.toml` says so."""
    line = source.decode().splitlines()[mutant.line - 1].strip()
    key = {"file": mutant.file, "line": line, "old": mutant.old, "new": mutant.new}
    return next((one["reason"] for one in KNOWN["equivalent"] if key.items() <= one.items()), None)


def difference(mutant: Mutant, source: bytes) -> str:
    """The changed lines, as a diff has them."""
    before, after = (text.decode().splitlines() for text in (source, mutant.made(source)))
    found = difflib.unified_diff(before, after, n=0, lineterm="")
    return "\n".join(f"    {line}" for line in found if line[:1] in "+-" and line[:3] not in ("+++", "---"))


def score(tree: Tree, name: str, mutants: Sequence[Mutant], tests: Sequence[str]) -> Counter[str]:
    """Try mutants of one folder; each is printed as it comes."""
    coverage = recorded(tree, name, tests)
    found: Counter[str] = Counter()
    for mutant in mutants:
        source = (tree.folder / mutant.file).read_bytes()
        began, why = time.monotonic(), reason(mutant, source)
        result = "equivalent" if why else outcome(tree, mutant, coverage)
        found[result] += 1
        print(f"- {result} ({time.monotonic() - began:.0f} s): {mutant.file}:{mutant.line}", flush=True)
        print(difference(mutant, source) + (f"\n    {why}" if why else ""), flush=True)
    return found


def share(found: Counter[str]) -> float:
    """Of the mutants that change behaviour, how many are noticed; what never ends was noticed too."""
    number = found.total() - found["equivalent"]
    return (found["killed"] + found["timed out"]) / number if number else 1.0


def row(name: str, found: Counter[str]) -> str:
    """A line of the table."""
    each = ("killed", "timed out", "survived", "not run", "equivalent")
    return f"| {name} | {found.total()} | " + " | ".join(str(found[one]) for one in each) + f" | {share(found):.0%} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", choices=[[], *KNOWN["folder"]], help="none: every folder")
    parser.add_argument("--draw", type=int, default=25, help="mutants of each folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", nargs="+", default=[], help="only files of these names")
    parser.add_argument("--check", action="store_true", help="fail where a score fell below that of mutation.toml")
    given = parser.parse_args()
    for heavy in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(heavy)
    scores = {}
    with tempfile.TemporaryDirectory(prefix="workbench-mutation-") as folder:
        tree = Tree(Path(folder))
        for name in given.folders or KNOWN["folder"]:
            every = mutants_of(tree.folder, KNOWN["folder"][name]["code"])
            chosen = [one for one in every if not given.files or Path(one.file).name in given.files]
            drawn = random.Random(given.seed).sample(chosen, min(given.draw, len(chosen)))
            scores[name] = score(tree, name, drawn, KNOWN["folder"][name]["tests"])
    print("\n| folder | mutants | killed | timed out | survived | not run | equivalent | score |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(row(name, found) for name, found in scores.items()))
    fallen = [name for name, found in scores.items() if share(found) < KNOWN["folder"][name]["score"]]
    if given.check and fallen:
        raise SystemExit(f"The score fell in {', '.join(fallen)}.")


if __name__ == "__main__":
    main()
