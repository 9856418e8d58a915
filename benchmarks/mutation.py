"""The mutation score: of faults of one operator, drawn at random, how many the tests notice.

    python benchmarks/mutation.py lowrank storage [--draw 25] [--seed 0] [--files ranks.py]
    python benchmarks/mutation.py --named            # faults of the kinds that once were made
    python benchmarks/mutation.py --check            # these, and every folder against its score in mutation.toml

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
import importlib
import json
import random
import re
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from covering import KEPT, Coverage, recorded
from mutants import Mutant, Tree, mutants_of, named

KNOWN = tomllib.loads((Path(__file__).parent / "mutation.toml").read_text(encoding="utf-8"))
#: What is imported before the forks; nothing of the workbench itself.
HEAVY = (
    "torch", "torch._dynamo", "torch.export", "torch.onnx", "torch.fx.experimental.proxy_tensor", "onnx", "onnxruntime",
    "onnxscript", "onnxscript.optimizer", "pandas", "scipy.stats", "tensorly", "hypothesis", "pytest", "coverage",
)  # fmt: skip

#: Tests that would come later are not asked, so that a score is rather too low: those that run a mutant's statement,
#: and then the others that enter its file.
PATIENCE_S = 60.0


class Killed:
    """The mutants that a test has killed, by what they make of their file, with the test's: none is tried twice."""

    def __init__(self, tree: Tree) -> None:
        self._tree, self._path = tree, KEPT / "killed.json"
        self._known: dict[str, list[str]] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def knows(self, mutant: Mutant) -> bool:
        """Whether a mutant was killed by a file of tests that is as it was."""
        file, content = self._known.get(self._key(mutant), ("", ""))
        return bool(file) and (self._tree.folder / file).exists() and self._content(file) == content

    def add(self, mutant: Mutant) -> None:
        """Remember the test that the last run has ended with."""
        failed = re.search(
            r"^(?:FAILED|ERROR) (tests/[\w/.]+)", (self._tree.folder / "log.txt").read_text(), re.MULTILINE
        )
        if failed:
            self._known[self._key(mutant)] = [failed[1], self._content(failed[1])]
            self._path.write_text(json.dumps(self._known))

    def _key(self, mutant: Mutant) -> str:
        return sha256(mutant.made((self._tree.folder / mutant.file).read_bytes())).hexdigest()

    def _content(self, file: str) -> str:
        return sha256((self._tree.folder / file).read_bytes()).hexdigest()


def outcome(tree: Tree, mutant: Mutant, coverage: Coverage) -> str:
    """What the tests make of a mutant."""
    tests = coverage.tests(mutant)
    others = [one for one in coverage.others(mutant) if one not in set(tests)]
    if not others and not tests:
        return "not run"
    with tree.changed(mutant):
        for chosen in filter(None, (coverage.within(PATIENCE_S, tests), coverage.within(PATIENCE_S, others))):
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


def difference(mutant: Mutant) -> str:
    """The change, without what is the same before and after it."""
    old, new, margin = mutant.old, mutant.new, 40
    start = _alike(old, new)
    end = _alike(old[start:][::-1], new[start:][::-1])
    cut = max(0, start - margin)
    return "\n".join(
        f"    {sign} {text[cut : len(text) - max(0, end - margin)]}" for sign, text in (("-", old), ("+", new))
    )


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def score(tree: Tree, name: str, mutants: Sequence[Mutant], tests: Sequence[str]) -> Counter[str]:
    """Try mutants of one folder; each is printed as it comes."""
    coverage, killed = recorded(tree, tests), Killed(tree)
    found: Counter[str] = Counter()
    for mutant in mutants:
        source = (tree.folder / mutant.file).read_bytes()
        began, why = time.monotonic(), reason(mutant, source)
        known = not why and killed.knows(mutant)
        result = "equivalent" if why else "killed" if known else outcome(tree, mutant, coverage)
        if result == "killed" and not known:
            killed.add(mutant)
        found[result] += 1
        print(f"- {result} ({time.monotonic() - began:.0f} s): {mutant.file}:{mutant.line}", flush=True)
        print(difference(mutant) + (f"\n    {why}" if why else ""), flush=True)
    return found


def named_kinds(tree: Tree) -> Counter[str]:
    """Try the faults of `mutation.toml` that have a name, each against the tests beside it."""
    found: Counter[str] = Counter()
    for one in KNOWN["named"]:
        mutant = named(tree.folder, one["file"], one["old"], one["new"])
        with tree.changed(mutant):
            result = tree.run(one["tests"], 600.0)
        found[result] += 1
        print(f"- {result}: {one['fault']} ({mutant.file}:{mutant.line})", flush=True)
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
    parser.add_argument("--named", action="store_true", help="only the faults that have a name")
    parser.add_argument("--check", action="store_true", help="fail where a score fell below that of mutation.toml")
    given = parser.parse_args()
    for heavy in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(heavy)
    scores = {}
    with tempfile.TemporaryDirectory(prefix="workbench-mutation-") as folder:
        tree = Tree(Path(folder))
        if given.named or given.check:
            scores["named"] = named_kinds(tree)
        for name in () if given.named else given.folders or KNOWN["folder"]:
            every = mutants_of(tree.folder, KNOWN["folder"][name]["code"])
            chosen = [one for one in every if not given.files or Path(one.file).name in given.files]
            drawn = random.Random(given.seed).sample(chosen, min(given.draw, len(chosen)))
            scores[name] = score(tree, name, drawn, KNOWN["folder"][name]["tests"])
    print("\n| folder | mutants | killed | timed out | survived | not run | equivalent | score |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(row(name, found) for name, found in scores.items()))
    least = {"named": 1.0} | {name: folder.get("score", 0.0) for name, folder in KNOWN["folder"].items()}
    fallen = [name for name, found in scores.items() if share(found) < least[name]]
    if given.check and fallen:
        raise SystemExit(f"The score fell in {', '.join(fallen)}.")


if __name__ == "__main__":
    main()
