"""k-means in one dimension: the values that a layer's weights share."""

from __future__ import annotations

import torch

Tensor = torch.Tensor

ROUNDS = 100


def kmeans(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """At most `count` centres, ascending, and the index of the nearest for each of the values (N,).

    Lloyd's algorithm from centres that are spread evenly between the least and the greatest value, which
    keeps the rare large weights (Han et al. 2016, section 3.2). With no more different values than centres,
    the values themselves.
    """
    if not len(values):
        return values.new_zeros(1), torch.zeros(0, dtype=torch.int64)
    ordered = values.double().sort().values
    distinct = ordered.unique()
    if len(distinct) <= count:
        book = distinct
    else:
        sums = torch.cat([torch.zeros(1, dtype=torch.float64), ordered.cumsum(0)])
        book = torch.linspace(float(ordered[0]), float(ordered[-1]), count, dtype=torch.float64)
        for _ in range(ROUNDS):
            moved = _step(ordered, sums, book)
            if torch.equal(moved, book):
                break
            book = moved
    indexes = torch.bucketize(values.double(), (book[1:] + book[:-1]) / 2)
    return book.to(values.dtype), indexes


def _step(ordered: Tensor, sums: Tensor, book: Tensor) -> Tensor:
    """The mean of what is nearest to each centre; a centre that nothing is near to stays."""
    edges = torch.searchsorted(ordered, (book[1:] + book[:-1]) / 2, right=True)
    ends = torch.cat([edges, torch.tensor([len(ordered)])])
    starts = torch.cat([torch.tensor([0]), edges])
    total, number = sums[ends] - sums[starts], ends - starts
    return torch.where(number > 0, total / number.clamp_min(1), book)
