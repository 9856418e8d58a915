"""`CP` in both forms."""

from __future__ import annotations

import pytest
import torch
from factorizing import actions, applied, convolutions, exact_at_full_rank, images, relative_output_error, small_net
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import workbench as wb
from workbench.errors import StepFailed
from workbench.step import Context


@settings(max_examples=30, deadline=None)
@given(layer=convolutions(), form=st.sampled_from(["4-way", "3-way"]), aware=st.booleans())
def test_full_rank_is_exact(layer: nn.Conv2d, form: str, aware: bool) -> None:
    exact_at_full_rank(wb.CP(1.0, form=form), layer, aware=aware)


def test_full_rank_is_exact_in_one_dimension() -> None:
    exact_at_full_rank(wb.CP(1.0), nn.Conv1d(4, 6, 5, stride=2, padding=2), aware=False)


@pytest.mark.parametrize(("form", "kernels"), [("4-way", [1, 3, 3, 1]), ("3-way", [1, 9, 1])])
def test_the_chain(form: str, kernels: list[int]) -> None:
    new, _ = applied(wb.CP(9, layers="3", form=form), small_net(), images())
    parts = list(new[3])
    assert [part.kernel_size[0] * part.kernel_size[1] for part in parts] == kernels
    assert [part.groups for part in parts] == [1, *[9] * (len(parts) - 2), 1]


def test_more_terms_come_closer() -> None:
    net, x = small_net(), images()
    errors = [
        relative_output_error(net, wb.CP(rank, layers="3", allow_growth=True).apply(net, Context(example=x[:1])), x)
        for rank in (4, 40)
    ]
    assert errors[1] < 0.7 * errors[0]


def test_degenerate_fits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.steps.cp.DEGENERATE", 0.5)  # less than any sum of terms has
    with pytest.raises(StepFailed, match="rank-one terms cancel each other"):
        wb.CP(9, layers="3").apply(small_net(), Context(example=images(1)))


def test_what_it_cannot_treat() -> None:
    _, rows = applied(wb.CP(4), small_net(), images())
    found = actions(rows)
    assert found["7"].startswith("left alone: depthwise")
    assert found["8"].startswith("left alone: a 1x1 convolution")
    assert torch.isfinite(torch.tensor([row.macs_after for row in rows])).all()
