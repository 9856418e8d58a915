"""`Finetune` as a step: it learns, stays within its data, goes on after a kill, fails with a sentence."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.building.build import context, rewrite
from workbench.data import Data, Split
from workbench.errors import BadValue, Cancelled, StepFailed
from workbench.jobs import Reporter
from workbench.models import Model
from workbench.step import Context
from workbench.tasks.classification import CLASSIFICATION
from workbench.training import distill
from workbench.training.distill import METHODS
from workbench.training.loop import Diverged, score

SHAPE = (2, 8, 8)
NET = """
import torch, workbench as wb
from torch import nn

def model():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    return wb.load(net, example=torch.zeros(1, 2, 8, 8))

def data(n=240):
    splits = {}
    for seed, name in enumerate(("train", "test")):
        x = torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(seed))
        splits[name] = (x, (x.mean((1, 2, 3)) * 12).round().long().clamp(-1, 1) + 1)
    return wb.data(splits, name="small", classes=("a", "b", "c"))
"""
_scope: dict[str, object] = {}
exec(NET, _scope)


def model() -> Model:
    found = _scope["model"]()  # type: ignore[operator]  # defined by the text that the killed process runs too
    assert isinstance(found, Model)
    return found


def data(n: int = 240) -> Data:
    found = _scope["data"](n)  # type: ignore[operator]
    assert isinstance(found, Data)
    return found


def damaged(module: nn.Module) -> nn.Module:
    """The network with noise on its weights: something to recover."""
    torch.manual_seed(1)
    again = wb.Prune(0.0).apply(module, Context(torch.zeros(1, *SHAPE)))
    for p in again.parameters():
        p.data += 0.1 * torch.randn(p.shape)
    return again


@pytest.mark.parametrize("method", METHODS)
def test_every_way_of_teaching_runs_and_keeps_the_best(method: str) -> None:
    m, d = model(), data()
    start = damaged(m.module)
    before = {k: v.clone() for k, v in start.state_dict().items()}
    step = wb.Finetune(epochs=3, distill=method, lr=0.02, batch=32)
    tuned = step.apply(start, context(m, d, Reporter()))
    assert all(torch.equal(v, before[k]) for k, v in start.state_dict().items())  # the input stays
    assert not score(start, d["validation"], CLASSIFICATION).beats(score(tuned, d["validation"], CLASSIFICATION))


def test_a_student_comes_back_to_its_teacher() -> None:
    m, d = model(), data()
    start = damaged(m.module)
    tuned = wb.Finetune(epochs=12, lr=0.05, labels=0.0, teacher=1.0).apply(start, context(m, d, Reporter()))
    x = d["test"].inputs
    with torch.no_grad():
        wanted, first, last = (net(x).softmax(1) for net in (m.module, start, tuned))
    assert (last - wanted).square().mean() < 0.3 * (first - wanted).square().mean()


def test_classes_weigh_the_same_when_balanced() -> None:
    """Nine in ten images are of one class: without weights the others are hardly ever named."""
    d = data(600)
    x, y = d["train"].inputs, d["train"].labels
    keep = (y == 1) | (torch.arange(len(y)) % 12 == 0)
    few = wb.data({"train": (x[keep], y[keep]), "test": (d["test"].inputs, d["test"].labels)}, name="few")
    rare = few["test"].labels != 1
    named = {}
    for balance in (False, True):
        report = Reporter()
        step = wb.Finetune(epochs=8, distill="none", balance=balance, lr=0.05, augment="none")
        scene = context(model(), Data("few", {k: v for k, v in few.splits.items() if k != "validation"}), report)
        net = step.apply(model().module, scene)
        named[balance] = int((net(few["test"].inputs).argmax(1)[rare] != 1).sum())
        assert any("balance=True" in note for note in report.notes) is not balance
    assert named[True] > 1.3 * named[False]


def test_a_low_rank_pull_leaves_less_to_lose() -> None:
    """What the best approximation of half the rank loses, with the pull and without."""
    lost = {}
    for strength in (0.0, 0.4):
        step = wb.Finetune(epochs=6, low_rank=strength, schedule="constant", lr=0.01)
        scene = context(model(), Data("x", {k: v for k, v in data().splits.items() if k != "validation"}), Reporter())
        s = torch.linalg.svdvals(step.apply(model().module, scene)[4].weight.detach().flatten(1))
        lost[strength] = float(s[4:].square().sum() / s.square().sum())
    assert lost[0.4] < 0.5 * lost[0.0]


def test_training_sees_neither_test_images_nor_their_labels() -> None:
    """With another test split, or one that cannot be read, the very same weights come out."""
    d = data()

    def sealed() -> tuple[torch.Tensor, torch.Tensor]:
        raise AssertionError("the test split was read")

    closed = Data("closed", {**d.splits, "test": Split("test", sealed)}, d.classes)
    recipe = wb.PruneChannels(ratio=0.3, rounds=1) | wb.Finetune(epochs=2) | wb.ShareWeights(bits=3, lr=1e-3)
    a, b = (rewrite(model(), recipe, one) for one in (d, closed))
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    train = {row.numpy().tobytes() for row in d["train"].inputs}
    assert not train & {row.numpy().tobytes() for row in d["validation"].inputs}
    bundled = wb.data("fashion-mnist")
    seen = {row.numpy().tobytes() for row in bundled["train"].inputs[:, :, ::3, ::3]}
    overlap = sum(row.numpy().tobytes() in seen for row in bundled["test"].inputs[:, :, ::3, ::3])
    assert overlap < 10  # Fashion-MNIST has a few near twins of its own, at a third of the resolution


def test_no_training_split_is_an_error_with_what_to_do() -> None:
    only = wb.data({"test": (torch.zeros(4, *SHAPE), torch.zeros(4).long())}, name="only")
    for step in (wb.Finetune(), wb.ShareWeights(bits=2)):
        with pytest.raises(StepFailed, match="no split 'train'"):
            rewrite(model(), step.recipe(), only)


def test_divergence_says_where_and_keeps_the_last_good_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))
    original = distill.logits
    monkeypatch.setattr(distill, "logits", lambda a, b: original(a, b) * (float("nan") if next(calls) == 10 else 1))
    study = wb.Study(model(), data(), path=tmp_path)
    first = study.run(wb.Recipe(), progress=False)
    where = r"Finetune\(.*\): the loss became nan at step 5 of 6 in epoch 2 of 3.* Use a lower lr"
    with pytest.raises(Diverged, match=where) as caught:
        study.run(wb.Finetune(epochs=3, batch=32, distill="logits"), progress=False)
    assert study.variants == [first]
    study.run(wb.Finetune(epochs=1), progress=False)
    assert len(list((tmp_path / "unfinished").iterdir())) == 1  # what a finished run kept to go on is gone
    found = re.search(r"are in (\S+); wb.load", str(caught.value))
    assert found and Path(found[1]).exists()


def test_cancel_keeps_the_best_weights_and_the_next_run_goes_on(tmp_path: Path) -> None:
    m, d = model(), data()
    report = Reporter()
    seen: list[str] = []

    class Impatient(Reporter):
        def __call__(self, fraction: float, stage: str) -> None:
            seen.append(stage)
            if "epoch 3" in stage:
                self.cancelled.set()
            super().__call__(fraction, stage)

        def part(self, start: float, end: float) -> Reporter:
            return self

    recipe = wb.Finetune(epochs=4, batch=32).recipe()
    with pytest.raises(Cancelled, match="best weights so far are in"):
        rewrite(m, recipe, d, Impatient(), folder=tmp_path)
    assert re.match(r"epoch 1 of 4, loss \d\.\d+, validation accuracy \d+\.\d+ %", seen[1])
    again: list[str] = []
    resumed = rewrite(m, recipe, d, Reporter(lambda _, stage: again.append(stage)), folder=tmp_path)
    assert not any("epoch 1" in stage or "epoch 2" in stage for stage in again)
    whole = rewrite(m, recipe, d, report)
    assert all(torch.equal(v, whole.state_dict()[k]) for k, v in resumed.state_dict().items())


def test_a_killed_process_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    code = NET + textwrap.dedent("""
        import sys
        from pathlib import Path
        from workbench.building.build import rewrite
        from workbench.jobs import Reporter
        recipe = wb.Prune(0.5) | wb.Finetune(epochs=10, batch=16)
        report = Reporter(lambda fraction, stage: print(stage, flush=True))
        rewrite(model(), recipe, data(), report, folder=Path(sys.argv[1]))
        print("done")
    """)
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 3 "):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert list(tmp_path.rglob("finetune.safetensors"))
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    epochs = {int(n) for n in re.findall(r"epoch (\d+) of 10", out)}
    assert min(epochs) >= 2 and max(epochs) == 10 and "done" in out


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"distill": "magic"}, {"lr": 0}, {"schedule": "steps"}, {"lr": 50}])
def test_settings_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(BadValue, match=next(iter(wrong))):
        wb.Finetune(**wrong)  # type: ignore[arg-type]  # the mistake under test


CHANGED = {
    "epochs": 2, "distill": "none", "lr": 0.05, "optimizer": "adam", "schedule": "cosine", "warmup": 0.4,
    "teacher": 0.5, "labels": 0.7, "temperature": 1.0, "augment": "none", "balance": True, "batch": 32,
    "weight_decay": 0.1, "precision": "bfloat16", "low_rank": 0.9,
}  # fmt: skip


def test_no_setting_is_without_effect() -> None:
    """Each, changed alone, trains other weights; `patience` and `compare` decide when and what of, not here."""
    m, d = model(), data(96)
    base = {"epochs": 1, "precision": "float32"}

    def trained(**settings: object) -> torch.Tensor:
        step = wb.Finetune(**{**base, **settings})
        module = wb.Prune(0.3).apply(m.module, Context(m.example))  # from where the teacher is not
        found = step.apply(module, replace(context(m, d, Reporter()), validation=None))  # the last weights stay
        return torch.cat([one.detach().flatten() for one in found.parameters()])

    plain = trained()
    assert torch.equal(plain, trained())
    assert {name for name, value in CHANGED.items() if torch.equal(plain, trained(**{name: value}))} == set()
    assert {one.name for one in wb.Finetune.settings()} == CHANGED.keys() | {"patience", "compare"}
