"""The training loop against a loop written out by hand, broken off, diverging, cancelled, stopped early."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from workbench.data import Split
from workbench.data.batches import as_split
from workbench.errors import Cancelled
from workbench.jobs import Reporter
from workbench.tasks.classification import CLASSIFICATION
from workbench.training.augment import augment, augmented
from workbench.training.checkpoint import Checkpoint
from workbench.training.constraints import KeepZeros, LowRank
from workbench.training.loop import Diverged, Settings, Trainer, _generator, score
from workbench.training.schedule import SCHEDULES, rate

N = 60


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)
    )  # fmt: skip


def split(n: int = N, seed: int = 0) -> Split:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, 8, 8, generator=random)
    return as_split(x, (x.mean((1, 2, 3)) * 40).long().clamp(-1, 1) + 1)


def trainer(student: nn.Module, **settings: object) -> Trainer:
    how = Settings(**{"epochs": 3, "lr": 0.05, "batch": 16, "precision": "float32", **settings})  # type: ignore[arg-type]
    return Trainer(
        student, lambda x, y: functional.cross_entropy(student(x), y), split(), split(40, 1), how, CLASSIFICATION
    )


def by_hand(student: nn.Module, epochs: int) -> nn.Module:
    """The same run in a bare loop: SGD, one cycle, the same batches."""
    data, steps = split(), epochs * math.ceil(N / 16)
    optimizer = torch.optim.SGD(student.parameters(), 0.05, momentum=0.9, nesterov=True)
    step = 0
    for epoch in range(epochs):
        student.train()
        for chosen in torch.randperm(N, generator=_generator(0, epoch)).split(16):
            loss = functional.cross_entropy(student(data.inputs[chosen]), data.labels[chosen])
            optimizer.param_groups[0]["lr"] = 0.05 * rate("one-cycle", step, steps)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 5.0)
            optimizer.step()
            step += 1
    return student.eval()


def test_it_does_what_a_bare_loop_does() -> None:
    """Without validation the last weights count: nothing is chosen."""
    student, reference = net(), net()
    one = trainer(student)
    one.validation = None
    one.fit(Reporter())
    by_hand(reference, 3)
    for a, b in zip(student.state_dict().values(), reference.state_dict().values(), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=1e-5)


def test_the_best_on_validation_is_kept() -> None:
    student = net()
    one = trainer(student, epochs=6)
    history = one.fit(Reporter())
    assert len(history.scores) == 7
    found, best = score(student, split(40, 1), CLASSIFICATION), history.scores[history.best]
    assert (found.figure, found.loss) == (best.figure, pytest.approx(best.loss, rel=1e-4))
    assert not any(s.beats(history.scores[history.best]) for s in history.scores)
    assert history.best > 0 and not student.training


class Stop(Reporter):
    """Cancels itself after some steps."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def __call__(self, fraction: float, stage: str) -> None:
        self.left -= 1
        if self.left == 0:
            self.cancelled.set()
        super().__call__(fraction, stage)


@pytest.mark.parametrize("after", [2, 4, 7])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_broken_run_goes_on_as_if_it_had_not_been(tmp_path: Path, after: int, optimizer: str) -> None:
    whole, broken = net(), net()
    trainer(whole, augmentation="shift+flip", optimizer=optimizer).fit(Reporter())
    checkpoint = Checkpoint(tmp_path / "run.safetensors", "key")
    first = trainer(broken, augmentation="shift+flip", optimizer=optimizer)
    first.checkpoint = checkpoint
    with pytest.raises(Cancelled):
        first.fit(Stop(after))
    fresh = net()
    with torch.no_grad():
        for p in fresh.parameters():
            p.add_(1)  # whatever the weights are: those of the checkpoint count
    second = trainer(fresh, augmentation="shift+flip", optimizer=optimizer)
    second.checkpoint = checkpoint
    history = second.fit(Reporter())
    assert len(history.scores) == 4
    for a, b in zip(whole.state_dict().values(), fresh.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_not_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    Checkpoint(path, "one").save({"a": torch.ones(2)}, {"step": 1})
    assert Checkpoint(path, "two").load() is None
    found = Checkpoint(path, "one").load()
    assert found is not None and found[1] == {"step": 1} and torch.equal(found[0]["a"], torch.ones(2))
    path.write_bytes(path.read_bytes()[:20])
    assert Checkpoint(path, "one").load() is None


def test_a_loss_that_is_not_finite_stops_with_the_best_so_far() -> None:
    student = net()
    steps = iter(range(100))

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        value = functional.cross_entropy(student(x), y)
        return value * float("nan") if next(steps) == 5 else value

    one = trainer(student)
    one.loss = loss
    with pytest.raises(Diverged, match="nan at step 2 of 4 in epoch 2 of 3"):
        one.fit(Reporter())
    assert all(bool(v.isfinite().all()) for v in student.state_dict().values())
    assert score(student, split(40, 1), CLASSIFICATION).figure == one.history.scores[one.history.best].figure


def test_it_stops_when_nothing_gets_better() -> None:
    student = net()
    one = trainer(student, epochs=50, lr=1e-7, patience=2, schedule="constant")
    one.loss = lambda x, y: functional.cross_entropy(student(x), y) * 0
    assert len(one.fit(Reporter()).scores) < 10


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules(schedule: str) -> None:
    rates = [rate(schedule, step, 100, 0.1) for step in range(100)]
    assert min(rates) > 0 and max(rates) <= 1
    assert rates[0] < 0.2  # warm-up
    assert rates[-1] == 1 if schedule == "constant" else rates[-1] < 0.01
    peak = max(range(100), key=rates.__getitem__)
    assert peak == pytest.approx({"one-cycle": 25, "cosine": 10, "constant": 10}[schedule], abs=1)


def test_augmented_images_are_shifted_or_mirrored_copies() -> None:
    x = torch.arange(2 * 28 * 28, dtype=torch.float32).reshape(2, 1, 28, 28)
    out = augment(x, "shift+flip", torch.Generator().manual_seed(3))
    for image, new in zip(x, out, strict=True):
        inner = new[0, 4:24, 4:24]
        candidates = [
            source[0, 4 + dy : 24 + dy, 4 + dx : 24 + dx]
            for source in (image, image.flip(2))
            for dy in (-2, -1, 0, 1, 2)
            for dx in (-2, -1, 0, 1, 2)
        ]
        assert any(torch.equal(inner, c) for c in candidates)
    assert torch.equal(augment(x, "none", torch.Generator()), x)


def test_zeros_stay_zero() -> None:
    student = net()
    student[0].weight.data[:2] = 0
    one = trainer(student)
    one.after_step = KeepZeros(student)
    before = student[0].weight.clone()
    one.validation = None
    one.fit(Reporter())
    assert not student[0].weight[:2].any() and not torch.equal(student[0].weight[2:], before[2:])


def test_the_low_rank_pull_is_the_nuclear_norms_proximal_operator() -> None:
    """It minimises |X - W|^2 / 2 + t |X|_* : no small move does better."""
    torch.manual_seed(0)
    layer = nn.Linear(6, 5)
    original = layer.weight.detach().clone()
    s = torch.linalg.svdvals(original)
    threshold = 0.8 * 0.5 * s.mean()
    LowRank(layer, 0.8)(0.5)

    def cost(x: torch.Tensor) -> float:
        return float((x - original).square().sum() / 2 + threshold * torch.linalg.svdvals(x).sum())

    best = cost(layer.weight.detach())
    for _ in range(50):
        assert best <= cost(layer.weight.detach() + 0.01 * torch.randn(5, 6)) + 1e-6
    assert torch.linalg.matrix_rank(layer.weight.detach(), rtol=1e-4) < 5
    untouched = copy.deepcopy(layer)
    LowRank(untouched, 0.0)(1.0)
    assert torch.equal(untouched.weight, layer.weight)


def test_classes_of_pixels_are_moved_as_their_images_are() -> None:
    """Every image is its own mask, before and after; boxes and values stay with images that were not moved."""
    random = torch.Generator().manual_seed(3)
    masks = torch.randint(5, (20, 15, 15), generator=random)
    images = masks[:, None].float().repeat(1, 2, 1, 1)
    x, y = augmented(images, masks, "shift+flip", torch.Generator().manual_seed(0))
    assert torch.equal(x[:, 1].long(), y) and not torch.equal(y, masks)
    assert torch.equal(x, augment(images, "shift+flip", torch.Generator().manual_seed(0)))
    for labels in ([{"boxes": torch.zeros(1, 4)}] * 20, torch.rand(20, 3, 4)):
        assert augmented(images, labels, "shift+flip", random)[0] is images
