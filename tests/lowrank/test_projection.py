"""Projections of inputs against the best that Eckart and Young's theorem allows."""

from __future__ import annotations

import pytest
import torch

from workbench.lowrank.moments import output_error, projected_regression


def spread(size: int) -> torch.Tensor:
    """A root L of a moment L L^T whose directions are of very unequal size and lie across the axes."""
    generator = torch.Generator().manual_seed(size)
    turned = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
    return torch.linalg.cholesky(turned @ torch.diag(torch.logspace(1, -2, size, dtype=torch.float64)) @ turned.T)


@pytest.mark.parametrize("rank", [1, 3, 5])
@pytest.mark.parametrize("taps", [1, 4])
def test_inputs_are_projected_where_they_matter(rank: int, taps: int) -> None:
    """Where taps are alike and independent, the projection is a truncated SVD of the whitened weight."""
    out, inputs = 7, 6
    weight = torch.randn(out, inputs, taps, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    root = spread(inputs)
    moment = torch.kron((root @ root.T).contiguous(), torch.eye(taps, dtype=torch.float64))
    found = projected_regression(weight, moment, rank, None)
    rebuilt = torch.einsum("oa,aqk,qp->opk", found.out, found.core, found.projection)
    values = torch.linalg.svdvals(weight.transpose(1, 2).reshape(-1, inputs) @ root)
    least = float((values[rank:].square().sum() / values.square().sum()).sqrt())
    assert output_error(weight.flatten(1), rebuilt.flatten(1), moment) == pytest.approx(least, rel=1e-4)
    plain = torch.linalg.svd(weight.transpose(1, 2).reshape(-1, inputs))[2][:rank]
    assert output_error(weight.flatten(1), (weight.transpose(1, 2) @ plain.T @ plain).transpose(1, 2).flatten(1),
                        moment) > 1.05 * least  # fmt: skip


@pytest.mark.parametrize(("rank_in", "rank_out"), [(3, 2), (6, 4), (2, 7)])
def test_the_core_is_the_best_between_the_two_projections(rank_in: int, rank_out: int) -> None:
    """No small change of a factor makes the outputs' error smaller: reduced-rank regression is a global optimum."""
    weight = torch.randn(7, 6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    root = spread(18)
    moment = root @ root.T
    found = projected_regression(weight, moment, rank_in, rank_out)

    def error(out: torch.Tensor, core: torch.Tensor) -> torch.Tensor:
        rest = (weight - torch.einsum("oa,aqk,qp->opk", out, core, found.projection)).flatten(1)
        return ((rest @ moment) * rest).sum()

    out, core = found.out.clone().requires_grad_(), found.core.clone().requires_grad_()
    loss = error(out, core)
    slopes = torch.autograd.grad(loss, (out, core))
    assert all(float(one.norm()) < 1e-4 * float(loss) for one in slopes)
    if rank_out < 7:  # nor does another direction of the outputs: the best of them hold the most of the answer
        free = projected_regression(weight, moment, rank_in, None)
        seen = torch.einsum("qp,pkrl,sr->qksl", found.projection, moment.reshape(6, 3, 6, 3), found.projection)
        answer = free.core.flatten(1) @ torch.linalg.cholesky(seen.reshape(3 * rank_in, -1))
        rest = torch.linalg.svdvals(answer)[rank_out:].square().sum()
        least = float(error(free.out, free.core) + rest)
        assert float(loss) == pytest.approx(least, rel=1e-4)
