"""What lab 6 calls right, against torch: its losses, its gradients, and the workbench's own distillation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from workbench.tasks.losses import softened as taught_by
from workbench.teach.labs import distillation as lab
from workbench.training import distill

RIGHT: dict[str, Any] = {one.name: one.right for one in lab.QUESTIONS}  # type: ignore[attr-defined]


def drawn(*shape: int, seed: int = 5) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_softened_answers_by_torch() -> None:
    logits = drawn(6, 10) * 4
    for warm in (0.5, 1.0, 4.0):
        assert np.allclose(RIGHT["soft-targets"](logits.numpy(), warm), torch.softmax(logits / warm, 1).numpy())
    assert RIGHT["temperature"] == pytest.approx(float(torch.softmax(torch.tensor([1.5, 0.5, 0.0]), 0)[1]))


def test_the_soft_loss_by_torch_and_by_the_workbench() -> None:
    student, teacher, warm = drawn(7, 10), drawn(7, 10, seed=6), 3.0
    pair = functional.log_softmax(student / warm, 1), functional.softmax(teacher / warm, 1)
    by_torch = warm**2 * functional.kl_div(*pair, reduction="batchmean")
    found = RIGHT["soft-loss"](student.numpy(), teacher.numpy(), warm)
    assert found == pytest.approx(float(by_torch))
    assert found == pytest.approx(float(taught_by(1)(student, teacher, warm)))


def gradient(student: torch.Tensor, teacher: torch.Tensor, warm: float) -> torch.Tensor:
    """Of the divergence of softened answers, without the factor T², for one image."""
    own = student.clone().requires_grad_()
    pair = functional.log_softmax(own / warm, 0), functional.softmax(teacher / warm, 0)
    functional.kl_div(*pair, reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert own.grad is not None
    return own.grad


def test_gradients_shrink_with_the_square_of_the_temperature() -> None:
    """At temperatures high enough for the rule: four times the temperature, a sixteenth of the gradient."""
    student, teacher = drawn(10) / 3, drawn(10, seed=6) / 3
    ratio = gradient(student, teacher, 2.0).norm() / gradient(student, teacher, 2.0 * lab.WARM).norm()
    assert RIGHT["loss-scale"] == pytest.approx(float(ratio), rel=0.1)


def test_at_high_temperatures_logits_are_matched() -> None:
    student, teacher = drawn(10), drawn(10, seed=6)
    student[0], teacher[0] = lab.STUDENT, lab.TEACHER
    student[1:] -= student.sum() / 9  # both with mean 0
    teacher[1:] -= teacher.sum() / 9
    warm = 1000.0
    assert RIGHT["high-temperature"] == pytest.approx(float(warm**2 * gradient(student, teacher, warm)[0]), rel=0.01)


def test_the_regressor_by_torch() -> None:
    assert RIGHT["regressor"] == nn.Conv2d(lab.NARROW, lab.WIDE, 1, bias=False).weight.numel()


def test_attention_by_torch_and_by_the_workbench() -> None:
    """The authors' own line is `F.normalize(x.pow(2).mean(1).view(x.size(0), -1))`."""
    one, two = drawn(4, 6, 5, 3), drawn(4, 2, 5, 3, seed=6)
    maps = [functional.normalize(x.pow(2).mean(1).view(x.size(0), -1)).numpy() for x in (one, two)]
    found = [RIGHT["attention"](x.numpy()) for x in (one, two)]
    assert np.allclose(found, maps)
    assert float(distill.attention(one, two)) == pytest.approx(np.square(found[0] - found[1]).sum(1).mean())


def test_relations_by_torch() -> None:
    vectors = drawn(6, 4)
    apart = torch.cdist(vectors, vectors)
    mean = torch.pdist(vectors).mean()
    assert np.allclose(RIGHT["relations"](vectors.numpy()), (apart / mean).numpy())
    assert np.allclose(RIGHT["relations"](5 * vectors.numpy()), RIGHT["relations"](vectors.numpy()))
