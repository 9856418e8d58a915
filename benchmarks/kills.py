"""Kill the workbench at random moments, fill its disk, take its folder away, swap its files: what is lost or wrong?

    .venv/bin/python benchmarks/kills.py --kills 60 --seed 0

Prints a Markdown table. A child announces each variant that `study.run` gave back, with the digest of its file and
its figures, before it goes on; whatever is not there any more, or is another, once the study is opened again counts.
Latencies are not taken, or kills would mostly hit the waiting for them; `--timed` takes them.
Root is needed for the full disk and the read-only folder, which are small disks in memory.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import onnxruntime
import torch
from torch import nn

import workbench as wb
from workbench.data import Data
from workbench.errors import WorkbenchError
from workbench.export import REPLACING
from workbench.measure import figures as measuring
from workbench.models import Model
from workbench.study import Study
from workbench.variant import Variant

SHAPE, CLASSES = (2, 12, 12), 4
FORMATS = ("onnx", "safetensors", "bundle")
EXPORTED = (wb.Prune(ratio=0.5), wb.SVD(rank=0.5))
PATIENCE_S = 120.0
TIMED = "KILLS_TIMED"
#: What Python tells of before it is done; a child can be killed at any of them.
EVENTS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "sqlite3.connect"})


@dataclass
class Outcome:
    """What was found after something went wrong. `raw` are exceptions that are no `WorkbenchError`."""

    finished: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


class Net(nn.Module):
    """A small network of the usual parts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, 4)."""
        x = torch.relu(self.norm(self.conv1(x)))
        logits: torch.Tensor = self.head(torch.relu(self.conv2(x)).mean((2, 3)))
        return logits


def model() -> Model:
    torch.manual_seed(0)
    return wb.load(Net(), example=torch.zeros(1, *SHAPE))


def data() -> Data:
    random_ = torch.Generator().manual_seed(1)
    pairs = {s: (torch.randn(60, *SHAPE, generator=random_), torch.arange(60) % CLASSES) for s in ("train", "test")}
    return wb.data(pairs, name="noise", classes=tuple("abcd"))


def study(folder: Path) -> Study:
    return Study(model(), data(), path=folder)


# --- what children do until they are killed; each gets the study's folder, a file to announce in, and a number


def run(folder: Path, log: Path, start: int) -> None:
    here = study(folder)
    for number in itertools.count(start):
        announce(log, here.run(wb.Prune(ratio=number % 900 / 1000 + 0.01), progress=False))


def finetune(folder: Path, log: Path, start: int) -> None:
    here = study(folder)
    for number in itertools.count(start):
        recipe = wb.Prune(ratio=number % 900 / 1000 + 0.01) | wb.Finetune(epochs=2)
        announce(log, here.run(recipe, progress=False))


def export(folder: Path, log: Path, start: int) -> None:
    here = study(folder)
    pair = [here.run(recipe, progress=False) for recipe in EXPORTED]
    for variant in pair:
        announce(log, variant)
    for number in itertools.count(start):
        wb.export(pair[number % 2], folder / "out", format=FORMATS[number // 2 % 3])


def calibration(folder: Path, log: Path, start: int) -> None:
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    here = study(folder)
    for number in itertools.count(start):
        announce(log, here.run(wb.Prune(ratio=number % 900 / 1000 + 0.01), progress=False))
        wb.measure.calibrate(again=True)


def search(folder: Path, log: Path, start: int) -> None:
    """Search after search, each under another limit, so that they choose other variants; every second one trains."""
    here = study(folder)
    known = {one.id for one in here.variants}

    def tell(_promises: object) -> None:
        for variant in here.variants:
            if variant.id not in known:
                known.add(variant.id)
                announce(log, variant)

    for number in itertools.count(start):
        look(here, number, "20 s", tell)


def look(here: Study, number: int, budget: str, tell: Callable[[Any], None] = lambda _: None) -> list[Variant]:
    """The variants that one of these searches finds."""
    limits = ["accuracy >= baseline - 0.05", f"params <= {0.5 + number % 45 / 100:.2f}"]
    return list(here.submit_search("macs", limits, budget, train=number % 2 == 1, watch=tell).result())


WORK: dict[str, Callable[[Path, Path, int], None]] = {
    "run": run, "fine-tune": finetune, "export": export, "calibration": calibration, "two writers": run,
    "search": search,
}  # fmt: skip


def announce(log: Path, variant: Variant) -> None:
    """Tell that a variant is finished; the system keeps what was written, whatever becomes of this process."""
    said = {"id": variant.id, "sha256": sha256(variant.onnx), "figures": figures(variant)}
    with log.open("a") as stream:
        stream.write(json.dumps(said) + "\n")


def figures(variant: Variant) -> dict[str, Any]:
    return {name: [e.value, e.low, e.high] for name, e in sorted(variant.estimates.items())}


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextmanager
def untimed() -> Iterator[None]:
    """Runs without the measuring of time, of which nothing depends here and which is nine tenths of them."""
    one = wb.Estimate(1.0, 0.9, 1.1, 9)
    with (
        patch.object(measuring, "measure_latency", lambda *_, **__: SimpleNamespace(latency_ms=one, speedup=one)),
        patch.object(measuring, "run_memory", lambda *_, **__: one),
        patch.object(measuring, "calibrate", lambda **_: None),
    ):
        yield


def child(scenario: str, folder: Path, log: Path, start: int, event: int | None) -> None:
    """Work until killed, by the parent or at the n-th thing done to the disk once a variant is there."""
    warnings.simplefilter("ignore")
    os.environ["WORKBENCH_LATENCY_SECONDS"] = "0.03"
    torch.set_num_threads(1)
    with nullcontext() if os.environ.get(TIMED) else untimed():
        work(scenario, folder, log, start, event)


def work(scenario: str, folder: Path, log: Path, start: int, event: int | None) -> None:
    """What a child does."""
    if event is not None:
        sys.addaudithook(_killer(event, log))
    WORK[scenario](folder, log, start)


def _killer(event: int, log: Path) -> Callable[[str, tuple[Any, ...]], None]:
    left = itertools.count(event, -1)

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if name in EVENTS and log.exists() and _writes(name, arguments) and next(left) <= 0:
            os.kill(os.getpid(), 9)

    return hook


def _writes(name: str, arguments: tuple[Any, ...]) -> bool:
    return name != "open" or any(letter in str(arguments[1]) for letter in "wax+")


# --- killing, and looking at what is left


def kill(scenario: str, folder: Path, random_: random.Random, *, by_event: bool) -> Outcome:
    """Start a child (two where two write) on a study, kill it at a random moment, and open what it left."""
    logs = [folder.parent / f"{folder.name}-{number}.log" for number in range(2 if scenario == "two writers" else 1)]
    starts = [random_.randrange(900)] * len(logs)  # the same recipes: they meet
    event = random_.randrange(1, 120) if by_event else None
    context = multiprocessing.get_context("forkserver")
    children = [
        context.Process(target=child, args=(scenario, folder, log, start, event), daemon=True)
        for log, start in zip(logs, starts, strict=True)
    ]
    for one in children:
        one.start()
    wait(lambda: all(log.exists() for log in logs) or not any(one.is_alive() for one in children))
    if by_event:
        wait(lambda: not any(one.is_alive() for one in children))
    else:
        time.sleep(random_.uniform(0, 4))
    for one in children:
        one.kill()
        one.join()
    announced = [json.loads(line) for log in logs if log.exists() for line in log.read_text().splitlines()]
    return after(folder, announced, partial(resumed, start=starts[0]) if scenario == "search" else lambda _: [])


def wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not done() and time.monotonic() < end:
        time.sleep(0.02)


def resumed(here: Study, start: int) -> list[str]:
    """What is wrong with the search that was killed, when it is started again in what is left."""
    before = {one.id: sha256(one.onnx) for one in here.variants}
    found = look(here, start, "5 s")
    again = [one.name for one in found if before.get(one.id, sha256(one.onnx)) != sha256(one.onnx)]
    return [f"made again: {name}" for name in again] if found else ["the search found nothing when it was resumed"]


def after(
    folder: Path, announced: list[dict[str, Any]], go_on: Callable[[Study], list[str]] = lambda _: []
) -> Outcome:
    """Open the study as a user would, and compare it with what was announced; then go on with it."""
    found = Outcome(finished=len(announced))
    try:
        here = study(folder)
        found.lost += [one["id"] for one in announced if not same(here, one)]
        found.wrong += [variant.name for variant in here.variants if not sound(variant)]
        found.wrong += exported(folder / "out", here)
        found.wrong += go_on(here)
        recipe = wb.Prune(ratio=0.95)
        here.run(recipe, progress=False)
        wb.export(here.run(recipe, progress=False), folder / "out")
        found.wrong += exported(folder / "out", here)
        found.wrong += [f"left over: {one}" for one in folder.glob(".unfinished-*")]
    except Exception as error:  # noqa: BLE001  # counted, whatever it is: after a kill nothing may fail
        found.raw.append(repr(error))
    return found


def same(here: Study, announced: dict[str, Any]) -> bool:
    """Whether an announced variant is here, with the same file and figures."""
    known = {one.id: one for one in here.variants}.get(announced["id"])
    if known is None or not known.whole:
        return False
    return bool(sha256(known.onnx) == announced["sha256"] and figures(known) == announced["figures"])


def sound(variant: Variant) -> bool:
    """Whether the artefact computes what the torch network does, and weighs what was measured."""
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(2))
    session = onnxruntime.InferenceSession(str(variant.onnx), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    with torch.no_grad():
        expected = variant.module(x).numpy()
    heavy = variant["file_bytes"].value == variant.onnx.stat().st_size
    return bool(heavy and np.allclose(outputs, expected, rtol=1e-3, atol=1e-4))


def exported(folder: Path, here: Study) -> list[str]:
    """What is wrong with an export that looks whole: that has a manifest."""
    if not (folder / "manifest.json").exists():
        return []
    manifest = json.loads((folder / "manifest.json").read_text())
    bad = [name for name, known in manifest["files"].items() if sha256(folder / name) != known]
    # Killed after the manifest is in place, the list of what was replaced may still be there; the next export has it.
    more = {one.name for one in folder.iterdir()} - {*manifest["files"], "manifest.json", REPLACING}
    recipe = wb.Recipe.load(folder / "recipe.yaml")
    variant = here.find(recipe)
    original = variant is not None and manifest["recipe"] == json.loads(json.dumps(variant.recipe.to_list()))
    if manifest["format"] == "onnx" and variant is not None:
        original = original and manifest["files"]["model.onnx"] == sha256(variant.onnx)
    bad += [f"{name} is of another export" for name in more]
    return bad if original else [*bad, f"{recipe.name} is wrong"]


# --- disks


@contextmanager
def small_disk(megabytes: float) -> Iterator[Path]:
    """A disk in memory."""
    with tempfile.TemporaryDirectory() as folder:
        size = f"size={int(megabytes * 1024)}k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def full_disk(random_: random.Random, tries: int) -> Outcome:
    """Leave little room for a run, a training and an export; then make room and go on."""
    found = Outcome()
    with small_disk(2) as disk:
        here = study(disk / "study")
        announced = [_told(here.baseline), _told(here.run(wb.SVD(rank=0.5), progress=False))]
        for number in range(tries):
            filler = disk / "filler"
            filler.write_bytes(b"\0" * max(0, shutil.disk_usage(disk).free - random_.randrange(60_000)))
            recipe = wb.Prune(ratio=0.1 + number / 1000) | wb.Recipe((wb.Finetune(epochs=1),) if number % 2 else ())
            found += _said(partial(here.run, recipe, progress=False))
            found += _said(partial(wb.export, here.baseline, disk / "study" / "out", FORMATS[number % 3]))
            found.wrong += exported(disk / "study" / "out", here)
            found.lost += [one["id"] for one in announced if not same(study(disk / "study"), one)]
            filler.unlink()
            found.finished += 1
            here.delete(here.run(recipe, progress=False))  # there is room again: it works
        found += after(disk / "study", announced)
    return found


def read_only() -> Outcome:
    """A study on a disk that became read-only: it opens, gives all its variants, and says that it cannot run."""
    found = Outcome()
    with small_disk(4) as disk, tempfile.TemporaryDirectory() as elsewhere:
        here = study(disk / "study")
        announced = [_told(here.baseline), _told(here.run(wb.SVD(rank=0.5), progress=False))]
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        again = study(disk / "study")
        found.finished = len(announced)
        found.lost += [one["id"] for one in announced if not same(again, one)]
        wb.export(again.baseline, Path(elsewhere) / "out")
        for work in (
            lambda: again.run(wb.Prune(ratio=0.3), progress=False), lambda: again.delete(again.variants[1]),
            lambda: again.tag(again.baseline, "x"), lambda: wb.export(again.baseline, disk / "study" / "out"),
            lambda: study(disk / "other"),
        ):  # fmt: skip
            found += _said(work, must=True)
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        found += after(disk / "study", announced)
    return found


def damaged(folder: Path, random_: random.Random, tries: int) -> Outcome:
    """Delete, swap, cut or change a file of a variant: it is refused, and run again it is back."""
    found = Outcome()
    here = study(folder)
    for ratio in (0.1, 0.3, 0.5):
        here.run(wb.Prune(ratio=ratio), progress=False)
    for _ in range(tries):
        one, other = random_.sample(here.variants, 2)
        harm = random_.choice(HARM)
        file = random_.choice(["artefact", "weights"])
        harm(getattr(one, file), getattr(other, file), random_)
        here = study(folder) if random_.random() < 0.5 else here
        one = here[one.id]
        uses = {"artefact": lambda v=one: v.onnx, "weights": lambda v=one: Variant.module.func(v)}[file]  # type: ignore[attr-defined]
        found += _said(uses, must=True)
        form = "onnx" if file == "artefact" else "safetensors"
        found += _said(lambda v=one, f=form: wb.export(v, folder / "out", format=f), must=True)
        found.finished += 1
        back = here.run(one.recipe, progress=False)
        if not (back.whole and sound(back)):
            found.lost.append(one.name)
    return found + after(folder, [_told(one) for one in here.variants])


HARM: tuple[Callable[[Path, Path, random.Random], Any], ...] = (
    lambda one, _other, _random: one.unlink(),
    lambda one, other, _random: shutil.copy2(other, one),
    lambda one, _other, random_: one.write_bytes(one.read_bytes()[: random_.randrange(one.stat().st_size)]),
    lambda one, _other, random_: _flip(one, random_),
)


def _flip(file: Path, random_: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[random_.randrange(len(content))] ^= 1 << random_.randrange(8)
    file.write_bytes(content)


def _told(variant: Variant) -> dict[str, Any]:
    return {"id": variant.id, "sha256": sha256(variant.onnx), "figures": figures(variant)}


def _said(work: Callable[[], Any], *, must: bool = False) -> Outcome:
    """What is wrong with the answer: no sentence of ours; or, where it `must` be refused, that it was not."""
    try:
        work()
    except WorkbenchError:
        return Outcome()
    except Exception as error:  # noqa: BLE001  # this is what is looked for
        return Outcome(raw=[repr(error)])
    return Outcome(wrong=["accepted what it must refuse"] if must else [])


def table(rows: dict[str, tuple[int, Outcome]]) -> str:
    """Markdown: what was done, how often, variants finished before, and what came of them."""
    lines = ["| what | times | variants finished | lost | wrong | raw errors |", "|" + " --- |" * 6]
    for name, (times, one) in rows.items():
        lines.append(f"| {name} | {times} | {one.finished} | {len(one.lost)} | {len(one.wrong)} | {len(one.raw)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--kills", type=int, default=60, help="how many, over all kinds of work")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tries", type=int, default=20, help="of a full disk, and of damaged files")
    parser.add_argument("--work", nargs="*", choices=list(WORK), default=list(WORK), help="what is killed")
    parser.add_argument("--timed", action="store_true", help="take latencies too")
    args = parser.parse_args()
    os.environ["WORKBENCH_LATENCY_SECONDS"] = "0.03"
    os.environ[TIMED] = "1" if args.timed else ""
    torch.set_num_threads(1)
    with nullcontext() if args.timed else untimed():
        print(table(everything(args)))


def everything(args: argparse.Namespace) -> dict[str, tuple[int, Outcome]]:
    """The rows of the table."""
    random_ = random.Random(args.seed)
    rows: dict[str, tuple[int, Outcome]] = {}
    with tempfile.TemporaryDirectory() as place:
        multiprocessing.set_forkserver_preload(["kills"])  # type: ignore[attr-defined]
        os.environ["XDG_CACHE_HOME"] = str(Path(place) / "cache")  # not the user's calibration
        for recipe in EXPORTED:  # once for all
            study(Path(place) / "original").run(recipe, progress=False)
        groups = list(itertools.product(args.work, (False, True)))
        for index, (name, by_event) in enumerate(groups):
            share = (args.kills + len(groups) - 1 - index) // len(groups)
            total = Outcome()
            for number in range(share):
                print(f"{time.monotonic():.0f} s: {name}, {number + 1} of {share}", file=sys.stderr)
                folder = Path(shutil.copytree(Path(place) / "original", Path(place) / f"{index}-{number}"))
                total += kill(name, folder, random_, by_event=by_event)
                shutil.rmtree(folder)
            rows[f"killed: {name}, " + ("at a write" if by_event else "at any moment")] = (share, total)
            print(name, total.lost, total.wrong, total.raw, file=sys.stderr)
        print("damaged files, disks", file=sys.stderr)
        if args.tries:
            harmed = damaged(Path(place) / "files", random_, args.tries)
            rows["files deleted, swapped, cut, changed"] = (args.tries, harmed)
    if args.tries and os.name == "posix" and os.geteuid() == 0:
        rows["full disk"] = (args.tries, full_disk(random_, args.tries))
        rows["read-only folder"] = (1, read_only())
    for name, (_, one) in rows.items():
        if one.lost or one.wrong or one.raw:
            print(name, one, file=sys.stderr)
    return rows


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
