"""Filters made of simpler filters: sums of depthwise-separable terms, channel groups, stacks of three taps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd, prod

import torch
from torch.nn import functional

from workbench.errors import BadValue
from workbench.interface.arguments import check_kinds
from workbench.lowrank.checks import checked, checked_rank
from workbench.lowrank.moments import regress, solve

Tensor = torch.Tensor

#: Unknowns up to which the depthwise filters of `separable` are fitted jointly (a dense system of this size).
JOINT = 4096


@dataclass(frozen=True)
class Separable:
    """weight[o, i, ...] ~ sum over t of pointwise[o, i, t] * depthwise[i, t, ...]."""

    pointwise: Tensor  # (out, in, terms)
    depthwise: Tensor  # (in, terms, *kernel)

    def weight(self) -> Tensor:
        """The kernel that the factors stand for, (out, in, *kernel)."""
        return torch.einsum("oit,it...->oi...", self.pointwise, self.depthwise)


@check_kinds
def separable(weight: Tensor, terms: int, *, moment: Tensor | None = None, sweeps: int = 4) -> Separable:
    """A kernel (out, in, *kernel) as `terms` depthwise filters an input channel, mixed by a 1 x 1.

    Plain: per input channel an SVD of its (out, taps) slice, exact at min(out, taps) terms. With `moment`
    of the input patches: alternating least squares on the outputs, each half a closed form.
    Raises: `BadValue` for a bad weight or terms outside 1..min(out, taps).
    """
    weight = checked(weight, "Separable", (3, 4, 5))
    taps = prod(weight.shape[2:])
    full = min(weight.shape[0], taps)
    checked_rank(terms, full, "Separable(terms)")
    slices = weight.flatten(2).transpose(0, 1)  # (in, out, taps)
    u, s, vt = torch.linalg.svd(slices, full_matrices=False)
    pointwise = (u[..., :terms] * s[:, None, :terms]).transpose(0, 1)
    depthwise = vt[:, :terms]
    if moment is not None and terms < full:
        pointwise, depthwise = _fit_separable(weight.flatten(2), depthwise, moment, sweeps)
    return Separable(pointwise.to(weight.dtype), depthwise.reshape(-1, terms, *weight.shape[2:]).to(weight.dtype))


def separable_values(weight: Tensor) -> Tensor:
    """Singular values of every input channel's (out, taps) slice, (in, min(out, taps)), descending."""
    values: Tensor = torch.linalg.svdvals(weight.flatten(2).transpose(0, 1))
    return values


def _fit_separable(weight: Tensor, depthwise: Tensor, moment: Tensor, sweeps: int) -> tuple[Tensor, Tensor]:
    out, inp, taps = weight.shape
    terms = depthwise.shape[1]
    exact, depthwise = weight.to(moment.dtype), depthwise.to(moment.dtype)
    aim = (exact.reshape(out, -1) @ moment).reshape(out, inp, taps)
    joint = inp * terms * taps <= JOINT
    for sweep in range(sweeps if joint else 1):
        rows = torch.block_diag(*depthwise)  # (in * terms, in * taps)
        pointwise = regress(exact.reshape(out, -1), moment, rows).reshape(out, inp, terms)
        if joint and sweep < sweeps - 1:
            depthwise = _fit_depthwise(pointwise, aim, moment)
    return pointwise, depthwise


def _fit_depthwise(pointwise: Tensor, aim: Tensor, moment: Tensor) -> Tensor:
    """All depthwise filters at once, given the pointwise weights: a linear system of in * terms * taps unknowns."""
    out, inp, terms = pointwise.shape
    taps = aim.shape[2]
    mixed = pointwise.reshape(out, -1)
    gram = (mixed.T @ mixed).reshape(inp, terms, 1, inp, terms, 1)
    normal = gram * moment.reshape(inp, 1, taps, inp, 1, taps)
    right = torch.einsum("oit,oik->itk", pointwise, aim)
    size = inp * terms * taps
    fitted = solve(normal.reshape(size, size), right.reshape(size, 1)).reshape(inp, terms, taps)
    length: Tensor = torch.linalg.vector_norm(fitted, dim=2, keepdim=True)
    unit: Tensor = fitted / length.clamp_min(1e-12)
    return unit


@dataclass(frozen=True)
class Grouped:
    """A block-diagonal kernel between reordered channels.

    Output channel `out_order[g * out / groups + a]` reads input channels `in_order[g * in / groups + b]`
    with the taps `blocks[g * out / groups + a, b]`.
    """

    blocks: Tensor  # (out, in / groups, *kernel)
    in_order: Tensor  # (in,)
    out_order: Tensor  # (out,)
    groups: int

    def weight(self) -> Tensor:
        """The kernel that the blocks stand for, (out, in, *kernel), zero outside them."""
        out, inp = len(self.out_order), len(self.in_order)
        dense = self.blocks.new_zeros(out, inp, *self.blocks.shape[2:])
        for rows, columns, block in zip(
            self.out_order.chunk(self.groups),
            self.in_order.chunk(self.groups),
            self.blocks.chunk(self.groups),
            strict=True,
        ):
            dense[rows[:, None], columns] = block
        return dense


@check_kinds
def grouped(weight: Tensor, groups: int, *, moment: Tensor | None = None) -> Grouped:
    """Keep `groups` blocks of a kernel (out, in, *kernel), channels reordered to keep the most energy.

    With `moment` of the input patches, energy is that of the contributions to the outputs, and every
    block is refitted by least squares to make up for what the others no longer see.
    Raises: `BadValue` unless `groups` divides both channel counts.
    """
    weight = checked(weight, "Grouped", (3, 4, 5))
    out, inp = weight.shape[:2]
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1 or gcd(out, inp) % groups:
        raise BadValue(f"Grouped: groups must divide {out} outputs and {inp} inputs, got {groups!r}.")
    energy = weight.flatten(2).square().sum(2)
    if moment is not None:
        taps = prod(weight.shape[2:])
        own = torch.diagonal(moment.reshape(inp, taps, inp, taps), dim1=0, dim2=2)  # (taps, taps, in)
        exact = weight.flatten(2).to(moment.dtype)
        energy = torch.einsum("oik,kli,oil->oi", exact, own, exact).clamp_min(0)
    rows, columns = assign(energy.double(), groups)
    in_order, out_order = columns.argsort(stable=True), rows.argsort(stable=True)
    blocks = _blocks(weight, in_order.chunk(groups), out_order.chunk(groups), moment)
    return Grouped(blocks, in_order, out_order, groups)


def assign(energy: Tensor, groups: int, rounds: int = 20) -> tuple[Tensor, Tensor]:
    """A group of equal size for every row and column of (out, in) that keeps much energy inside blocks.

    Rows and columns are reassigned in turn, each greedily by regret under the size limit, from two starts:
    the order given, and columns gathered by the likeness of their energies over the rows.
    """
    starts = (torch.arange(energy.shape[1]) * groups // energy.shape[1], _alike(energy, groups))
    found = [_reassign(energy, columns, groups, rounds) for columns in starts]
    return max(found, key=lambda pair: _inside(energy, *pair))


def _reassign(energy: Tensor, columns: Tensor, groups: int, rounds: int) -> tuple[Tensor, Tensor]:
    out, inp = energy.shape
    rows = _balanced(_sums(energy, columns, groups), out // groups)
    best, kept = (rows, columns), _inside(energy, rows, columns)
    for _ in range(rounds):
        columns = _balanced(_sums(energy.T, rows, groups), inp // groups)
        rows = _balanced(_sums(energy, columns, groups), out // groups)
        now = _inside(energy, rows, columns)
        if now <= kept * (1 + 1e-9):
            break
        best, kept = (rows, columns), now
    return best


def _alike(energy: Tensor, groups: int) -> Tensor:
    """Groups of columns: the strongest free one and those most like it, again and again."""
    unit = functional.normalize(energy, dim=0)
    likeness = unit.T @ unit
    strength = energy.sum(0)
    chosen = torch.full((energy.shape[1],), -1)
    for group in range(groups):
        free = chosen < 0
        seed = int(torch.where(free, strength, torch.full_like(strength, -1.0)).argmax())
        near = torch.where(free, likeness[seed], torch.full_like(strength, -1.0))
        near[seed] = 2.0
        chosen[near.topk(len(chosen) // groups).indices] = group
    return chosen


def _inside(energy: Tensor, rows: Tensor, columns: Tensor) -> float:
    return float((energy * (rows[:, None] == columns)).sum())


def _sums(energy: Tensor, columns: Tensor, groups: int) -> Tensor:
    """(rows, groups): how much energy each row has in each group of columns."""
    return energy @ functional.one_hot(columns, groups).to(energy.dtype)


def _balanced(gain: Tensor, size: int) -> Tensor:
    """One of the groups for every row of `gain` (n, groups), `size` rows a group; most regret chooses first."""
    groups = gain.shape[1]
    top = gain.topk(min(2, groups), dim=1).values
    order = (top[:, 0] - top[:, -1]).argsort(descending=True).tolist()
    preference = gain.argsort(dim=1, descending=True, stable=True).tolist()
    free = [size] * groups
    chosen = [0] * len(gain)
    for row in order:
        group = next(g for g in preference[row] if free[g])
        chosen[row] = group
        free[group] -= 1
    return torch.tensor(chosen)


def _blocks(weight: Tensor, columns: Sequence[Tensor], rows: Sequence[Tensor], moment: Tensor | None) -> Tensor:
    if moment is None:
        return torch.cat([weight[r][:, c] for r, c in zip(rows, columns, strict=True)])
    taps = prod(weight.shape[2:])
    exact = weight.flatten(1).to(moment.dtype)
    blocks = []
    for r, c in zip(rows, columns, strict=True):
        seen = (c[:, None] * taps + torch.arange(taps)).flatten()
        fitted = solve(moment[seen][:, seen], moment[seen] @ exact[r].T).T
        blocks.append(fitted.reshape(len(r), len(c), *weight.shape[2:]))
    return torch.cat(blocks).to(weight.dtype)


def compose(kernels: Sequence[Tensor], groups: int = 1) -> Tensor:
    """The kernel of a chain of convolutions, first to last, each (out, in / groups, k, k); odd square taps."""
    result = kernels[0]
    for kernel in kernels[1:]:
        split = [_compose_two(a, b) for a, b in zip(result.chunk(groups), kernel.chunk(groups), strict=True)]
        result = torch.cat(split)
    return result


def _compose_two(first: Tensor, second: Tensor) -> Tensor:
    size = second.shape[-1]
    padded = functional.pad(first.transpose(0, 1), [size - 1] * 4)  # (in, mid, ...)
    return functional.conv2d(padded, second.flip(2, 3)).transpose(0, 1)


@check_kinds
def stack3(weight: Tensor, width: int, *, moment: Tensor | None = None, steps: int = 200) -> list[Tensor]:
    """A kernel (out, in, k, k), k = 5 or 7, as a chain of 3 x 3 kernels with `width` channels between.

    Minimises the error of the weight, or with `moment` of the input patches that of the outputs, by L-BFGS
    on the composed kernel. Returns the kernels, first to last. Raises: `BadValue` for other shapes.
    """
    weight = checked(weight, "Stack3x3", (4,))
    high, wide = weight.shape[2:]
    if high != wide or high not in {5, 7}:
        raise BadValue(f"Stack3x3 needs a 5 x 5 or 7 x 7 kernel, got {high} x {wide}.")
    root = None if moment is None else torch.linalg.cholesky(moment).to(weight.dtype)
    kernels = [kernel.requires_grad_() for kernel in _stack_start(weight, width)]
    scale = weight.flatten(1) if root is None else weight.flatten(1) @ root
    norm = float(scale.square().sum()) or 1.0
    optimizer = torch.optim.LBFGS(kernels, max_iter=steps, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        difference = (compose(kernels) - weight).flatten(1)
        loss = (difference if root is None else difference @ root).square().sum() / norm
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return [kernel.detach() for kernel in kernels]


def _stack_start(weight: Tensor, width: int) -> list[Tensor]:
    """Principal input-output directions at the centre, a little noise around: a start that L-BFGS improves."""
    out, inp, size, _ = weight.shape
    generator = torch.Generator().manual_seed(0)
    widths = [inp] + [width] * ((size - 1) // 2 - 1) + [out]
    kernels = []
    for index, (a, b) in enumerate(pairwise(widths)):
        noise = torch.randn(b, a, 3, 3, generator=generator, dtype=weight.dtype)
        kernel = noise / (a * 9) ** 0.5
        if index:
            kernel[:, :, 1, 1] += torch.eye(b, a, dtype=weight.dtype)
        kernels.append(kernel)
    gain = float(weight.norm()) / max(float(compose(kernels).norm()), 1e-12)
    return [kernel * gain ** (1 / len(kernels)) for kernel in kernels]
