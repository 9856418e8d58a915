"""Which test runs which line, recorded once a test file: what `mutation.py` asks to choose the tests of a mutant."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from mutants import ROOT, Mutant, Tree

KEPT = ROOT / "build" / "mutation"
EVERY = "*"  # in the place of a test: all of them


class Recorder:
    """A plugin of pytest that writes which test runs which lines, and how long it takes.

    What a fixture of more than one test does counts for all tests of the file, or of all files: only the first of
    them runs it. `targets`: where to write, by the name of the test file.
    """

    def __init__(self, folder: Path, targets: Mapping[str, Path]) -> None:
        import coverage

        self._folder, self._targets, self._file = folder, targets, ""
        self._seconds: dict[str, float] = {}
        self._coverage = coverage.Coverage(data_file=None, source=[str(folder / "workbench")], config_file=False)
        self._coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """The test that runs from here on."""
        self._file = _file(nodeid)
        self._coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """How long a test took; one that fails by itself notices nothing."""
        known = self._seconds.get(report.nodeid, 0.0)
        self._seconds[report.nodeid] = float("inf") if report.failed else known + report.duration

    def pytest_fixture_setup(self, fixturedef: Any) -> None:
        """From here on lines belong to the whole file, where others share the fixture."""
        if fixturedef.scope != "function":
            self._coverage.switch_context(EVERY if fixturedef.scope == "session" else self._file)

    def pytest_runtest_call(self, item: Any) -> None:
        """The test itself, after its fixtures."""
        self._coverage.switch_context(item.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Write what was seen."""
        self._coverage.stop()
        data = self._coverage.get_data()
        lines = {
            str(Path(one).relative_to(self._folder)): data.contexts_by_lineno(one) for one in data.measured_files()
        }
        for file, target in self._targets.items():
            mine = {source: _of(file, found) for source, found in lines.items()}
            seconds = {test: one for test, one in self._seconds.items() if _file(test) == file}
            target.write_text(
                json.dumps({"seconds": seconds, "lines": {one: found for one, found in mine.items() if found}})
            )


def _file(context: str) -> str:
    return context.partition("::")[0]


def _of(file: str, lines: Mapping[int, Sequence[str]]) -> dict[int, list[str]]:
    """What the tests of one file run, by line."""
    found = {
        line: [file if one == EVERY else one for one in tests if _file(one) in (file, EVERY)]
        for line, tests in lines.items()
    }
    return {line: tests for line, tests in found.items() if tests}


@dataclass(frozen=True)
class Coverage:
    """Which tests run which lines."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def add(self, other: Coverage) -> None:
        """What other tests run as well."""
        self.seconds.update(other.seconds)
        for file, lines in other.lines.items():
            mine = self.lines.setdefault(file, {})
            for line, tests in lines.items():
                mine[line] = [*mine.get(line, []), *tests]

    def tests(self, mutant: Mutant) -> list[str]:
        """Those that run the mutant's statement, quick ones first; all of the file's where it runs at import."""
        of_file = self.lines.get(mutant.file, {})
        return self._sorted({one for line in mutant.lines for one in of_file.get(str(line), [])})

    def others(self, mutant: Mutant) -> list[str]:
        """Those that run anything of the mutant's file."""
        return self._sorted({one for found in self.lines.get(mutant.file, {}).values() for one in found})

    def within(self, seconds: float, tests: Sequence[str]) -> list[str]:
        """The first of some tests, that take so long together; one at least."""
        ends = accumulate(self.seconds[one] for one in tests)
        return [one for n, (one, end) in enumerate(zip(tests, ends, strict=True)) if end <= seconds or n == 0]

    def _sorted(self, found: set[str]) -> list[str]:
        files = {one for one in found if "::" not in one}
        every = {one for one in self.seconds if one in found or one.partition("::")[0] in files}
        return sorted((one for one in every if self.seconds[one] < float("inf")), key=self.seconds.__getitem__)


def recorded(tree: Tree, tests: Sequence[str]) -> Coverage:
    """The coverage of test files and folders of them: of before where nothing has changed since, else taken anew."""
    shared = [*(tree.folder / "workbench").rglob("*.py"), *(tree.folder / "tests").rglob("*.py")]
    content = _digest([one for one in shared if not one.name.startswith("test_")])
    places = [tree.folder / one for one in tests]
    files = [file for one in places for file in (sorted(one.rglob("test_*.py")) if one.is_dir() else [one])]
    targets = {
        file.relative_to(tree.folder).as_posix(): KEPT / f"{file.stem}-{_digest([file])}-{content}.json"
        for file in files
    }
    _record(tree, {file: target for file, target in targets.items() if not target.exists()})
    found = Coverage()
    for target in targets.values():
        found.add(Coverage(**json.loads(target.read_text())))
    return found


def _digest(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(one.read_bytes() for one in sorted(files))).hexdigest()[:12]


def _record(tree: Tree, targets: Mapping[str, Path]) -> None:
    if not targets:
        return
    KEPT.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    ended = tree.run(list(targets), 3600.0, lambda: Recorder(tree.folder, targets))
    if ended == "timed out" or not all(one.exists() for one in targets.values()):
        raise SystemExit(f"{', '.join(targets)}:\n{(tree.folder / 'log.txt').read_text()[-3000:]}")
    print(f"coverage of {len(targets)} test files recorded in {time.monotonic() - began:.0f} s", flush=True)
