"""Each term of distillation against its formula written out, and zero for a student like its teacher."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from workbench.errors import StepFailed
from workbench.tasks.classification import CLASSIFICATION
from workbench.tasks.losses import softened
from workbench.training.distill import METHODS, Distillation, attention, common_layers, hint, logits, relational

X = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def net(width: int) -> nn.Module:
    torch.manual_seed(width)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(width, 6, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    ).eval()  # fmt: skip


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.randn(6, 4, generator=random), torch.randn(6, 4, generator=random)


def test_logits_and_soft() -> None:
    a, b = pair()
    assert float(logits(a, b)) == pytest.approx(float(((a - b) ** 2).mean() / 2))
    p, q = (b / 3).softmax(1), (a / 3).softmax(1)
    assert float(softened(1)(a, b, 3.0)) == pytest.approx(float((p * (p / q).log()).sum(1).mean() * 9), rel=1e-5)


def test_attention_looks_at_where_not_at_how_much() -> None:
    a = torch.randn(3, 5, 4, 4)
    assert float(attention(a, 7 * a)) == pytest.approx(0, abs=1e-10)
    one, two = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    one[..., 0, 0], two[..., 1, 1] = 1, 1
    assert float(attention(one, two)) == pytest.approx(2)  # two orthogonal unit vectors


def test_relations_by_hand() -> None:
    """Distances over their mean and cosines of all angles, looked at one by one."""
    a, b = pair()
    huber = nn.SmoothL1Loss(reduction="sum")
    n = len(a)

    def distances(x: torch.Tensor) -> torch.Tensor:
        d = torch.tensor([[float((x[i] - x[j]).norm()) for j in range(n)] for i in range(n)])
        return d / (d.sum() / (n * (n - 1)))

    angles = 0.0
    for j, i, k in itertools.product(range(n), repeat=3):
        cosines = []
        for x in (a, b):
            u, v = x[i] - x[j], x[k] - x[j]
            norms = u.norm().clamp_min(1e-12) * v.norm().clamp_min(1e-12)
            cosines.append((u @ v) / norms)
        angles += float(huber(cosines[0], cosines[1]))
    expected = float(huber(distances(a), distances(b))) / n**2 + 2 * angles / n**3
    assert float(relational(a, b)) == pytest.approx(expected, rel=1e-4)
    turn = torch.linalg.qr(torch.randn(4, 4)).Q
    assert float(relational(a, 3 * a @ turn + 1)) == pytest.approx(0, abs=1e-6)


def test_hints_are_relative_to_the_teacher() -> None:
    a, b = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    assert float(hint(a, b)) == pytest.approx(float((a - b).square().sum() / b.square().sum()), rel=1e-5)


@pytest.mark.parametrize("method", [m for m in METHODS if m not in {"none", "hints"}])
def test_a_student_like_its_teacher_has_nothing_to_learn(method: str) -> None:
    twin = net(5)
    layers = common_layers(twin, net(5), X[:1])
    answer, term = Distillation(method, (twin, net(5)), CLASSIFICATION, layers, X[:1])(X, 3.0)
    assert torch.allclose(answer, twin(X)) and float(term.detach()) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "none"])
def test_every_method_teaches_a_narrower_student(method: str) -> None:
    student, teacher = net(3), net(9)
    layers = common_layers(student, teacher, X[:1])
    assert layers == ("1", "2", "4", "5")  # the last layer of each map size
    teaching = Distillation(method, (student, teacher), CLASSIFICATION, layers, X[:1])
    optimizer = torch.optim.Adam([*student.parameters(), *teaching.parameters()], 0.02)
    first = float(teaching(X, 3.0)[1].detach())
    for _ in range(60):
        optimizer.zero_grad()
        teaching(X, 3.0)[1].backward()
        optimizer.step()
    assert float(teaching(X, 3.0)[1].detach()) < 0.6 * first
    assert all(p.grad is None for p in teacher.parameters())


def test_layers_of_other_sizes_are_refused() -> None:
    other = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 4)).eval()
    with pytest.raises(StepFailed, match="in the student"):
        Distillation("hints", (other, net(3)), CLASSIFICATION, ("0",), X[:1])
