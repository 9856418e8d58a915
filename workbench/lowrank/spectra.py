"""What a layer's weight says about every rank before anything is built: errors, energies, noise ranks."""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Protocol

import numpy as np
import torch

from workbench.lowrank.bayes import from_singular_values
from workbench.lowrank.filters import assign
from workbench.lowrank.tucker import TuckerBasis, basis

Tensor = torch.Tensor
Ranks = tuple[int, ...]

#: Share of the full rank that the noise rule never goes below, so that no layer collapses.
EVBMF_FLOOR = 0.125


class Spectrum(Protocol):
    """Relative weight error of every rank, and the ranks that rules ask for."""

    def error(self, ranks: Ranks) -> float:
        """Relative Frobenius error of the weight at these ranks, without sweeps or refitting."""

    def energy(self, share: float) -> Ranks:
        """The smallest ranks that keep this share of the squared norm."""

    def evbmf(self) -> Ranks:
        """The ranks above the noise (Nakajima et al. 2013), at least `EVBMF_FLOOR` of the full ones."""


@dataclass(frozen=True)
class OneRank:
    """Squared singular values of one matrix a group, (groups, m), each descending."""

    squares: np.ndarray
    shape: tuple[int, int]  # of each group's matrix

    @cached_property
    def errors(self) -> list[float]:
        """Relative error at rank 0, 1, ..., m."""
        pooled = self.squares.sum(0)
        tail = np.concatenate([np.cumsum(pooled[::-1])[::-1], [0.0]])
        return [float(x) for x in np.sqrt(tail / max(tail[0], 1e-300))]

    def error(self, ranks: Ranks) -> float:
        """Relative error at these ranks."""
        return self.errors[ranks[0]]

    def energy(self, share: float) -> Ranks:
        """The smallest ranks that keep this share of the energy."""
        limit = max(1 - share, 0.0) ** 0.5 + 1e-9
        return (max(1, bisect_left(self.errors, -limit, key=operator.neg)),)  # errors fall

    def evbmf(self) -> Ranks:
        """The ranks above the noise, with a floor."""
        found = [from_singular_values(np.sqrt(row), self.shape).rank for row in self.squares]
        return (max(*found, _floor(self.squares.shape[1])),)


@dataclass(frozen=True)
class TwoRanks:
    """Tucker-2 bases, one a group."""

    bases: tuple[TuckerBasis, ...]

    @cached_property
    def kept(self) -> np.ndarray:
        """Squared norm of the slice (r_out, r_in), summed over groups."""
        total: np.ndarray = np.sum([one.kept for one in self.bases], axis=0)
        return total

    @cached_property
    def errors(self) -> list[list[float]]:
        """Relative error at every (r_out, r_in)."""
        total = max(float(self.kept[-1, -1]), 1e-300)
        rows: list[list[float]] = np.sqrt(np.clip(1 - self.kept / total, 0, None)).tolist()
        return rows

    def error(self, ranks: Ranks) -> float:
        """Relative error at these ranks."""
        return self.errors[ranks[0]][ranks[1]]

    def energy(self, share: float) -> Ranks:
        """The smallest ranks that keep this share of the energy."""
        lost = (1 - share) / 2  # truncating both modes loses at most the sum of what each loses
        return self._mode(0, lost), self._mode(1, lost)

    def evbmf(self) -> Ranks:
        """The ranks above the noise, with a floor."""
        core = self.bases[0].core
        out, inp, taps = core.shape[0], core.shape[1], core[0, 0].numel()
        shapes = ((out, inp * taps), (inp, out * taps))
        ranks = []
        for mode, shape in enumerate(shapes):
            small = min(shape)
            found = [from_singular_values(one.values[mode][:small], shape).rank for one in self.bases]
            ranks.append(max(*found, _floor(small)))
        return tuple(ranks)

    def _mode(self, mode: int, lost: float) -> int:
        squares = np.sum([one.values[mode] ** 2 for one in self.bases], axis=0)
        kept = np.cumsum(squares) / max(float(squares.sum()), 1e-300)
        return min(int(np.searchsorted(kept, 1 - lost - 1e-9)) + 1, len(squares))


def matrix_spectrum(matrices: Sequence[Tensor]) -> OneRank:
    """The spectrum of one matrix a group, by the eigenvalues of the smaller Gram matrix."""
    rows = []
    for matrix in matrices:
        wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        values = torch.linalg.eigvalsh((wide @ wide.T).double())
        rows.append(values.flip(0).clamp_min(0).numpy())
    return OneRank(np.stack(rows), (matrices[0].shape[0], matrices[0].shape[1]))


def tucker_spectrum(weights: Sequence[Tensor]) -> TwoRanks:
    """The Tucker-2 bases of one kernel a group."""
    return TwoRanks(tuple(basis(weight) for weight in weights))


def assumed(count: int) -> OneRank:
    """Stands in for a weight that is not known yet: the r-th singular value falls as 1 / sqrt(r)."""
    return OneRank(1.0 / np.arange(1, count + 1)[None, :], (count, count))


def assumed_two(out: int, inp: int) -> TwoRanks:
    """The same for two modes."""
    energy = np.outer(1.0 / np.arange(1, out + 1), 1.0 / np.arange(1, inp + 1))
    kept = np.zeros((out + 1, inp + 1))
    kept[1:, 1:] = energy.cumsum(0).cumsum(1)
    values = (np.sqrt(energy.sum(1)), np.sqrt(energy.sum(0)))
    empty = torch.empty(out, inp, 1)
    return TwoRanks((TuckerBasis(empty, (empty, empty), kept, values),))


@dataclass(frozen=True)
class Triplets(OneRank):
    """Energies of the singular triplets of single taps: their tail bounds the error of as many CP terms."""

    output_squares: np.ndarray  # of the output unfolding, (groups, out)
    output_shape: tuple[int, int]

    def evbmf(self) -> Ranks:
        """The ranks above the noise, with a floor."""
        return OneRank(self.output_squares, self.output_shape).evbmf()


def triplet_spectrum(weights: Sequence[Tensor]) -> Triplets:
    """Triplets of the taps in their principal basis, one kernel (out, in, *kernel) a group."""
    rows = []
    for weight in weights:
        flat = weight.flatten(2).double()
        unfolding = flat.permute(2, 0, 1).flatten(1)
        basis_taps = torch.linalg.eigh(unfolding @ unfolding.T)[1]
        taps = torch.einsum("oik,kl->loi", flat, basis_taps)
        rows.append(torch.linalg.svdvals(taps).square().flatten().sort(descending=True).values.numpy())
    outputs = matrix_spectrum([weight.flatten(1) for weight in weights])
    first = weights[0]
    return Triplets(np.stack(rows), (first.shape[0], first[0].numel()), outputs.squares, outputs.shape)


@dataclass(frozen=True)
class TrainRanks:
    """Spectra of the three unfoldings of a kernel as a train, (in | high, wide, out) and so on.

    `counted` are those that differ: where a kernel has one tap along an axis, two are the same. The square of the
    error is at least what any of them loses and at most the sum of it (Oseledets 2011, theorem 2.2).
    """

    modes: tuple[OneRank, OneRank, OneRank]
    counted: tuple[int, ...]

    def error(self, ranks: Ranks) -> float:
        """The relative error at these ranks where losses are independent; exact where one unfolding loses anything."""
        kept = prod(1 - self.modes[mode].errors[ranks[mode]] ** 2 for mode in self.counted)
        return float(max(1 - kept, 0.0) ** 0.5)

    def energy(self, share: float) -> Ranks:
        """Ranks that keep at least this share of the energy."""
        kept = 1 - (1 - share) / len(self.counted)
        return tuple(mode.energy(kept)[0] for mode in self.modes)

    def evbmf(self) -> Ranks:
        """The ranks above the noise, with a floor."""
        return tuple(mode.evbmf()[0] for mode in self.modes)


def train_spectrum(weights: Sequence[Tensor], counted: tuple[int, ...]) -> TrainRanks:
    """The unfoldings of one kernel (out, in, *kernel) a group, of two spatial axes at most."""
    kernel = weights[0].shape[2:] + (1,) * (4 - weights[0].dim())
    trains = [weight.movedim(0, -1).reshape(len(weight[0]), *kernel, len(weight)) for weight in weights]
    first, second, third = (matrix_spectrum([one.flatten(0, m).flatten(1) for one in trains]) for m in range(3))
    return TrainRanks((first, second, third), counted)


@dataclass(frozen=True)
class GroupErrors:
    """Relative error by the number of channel groups; fewer groups keep more."""

    by_groups: dict[int, float]

    def error(self, ranks: Ranks) -> float:
        """Relative error at these ranks."""
        return self.by_groups[ranks[0]]

    def energy(self, share: float) -> Ranks:
        """The smallest ranks that keep this share of the energy."""
        limit = max(1 - share, 0.0) ** 0.5 + 1e-9
        return (max(groups for groups, error in self.by_groups.items() if error <= limit),)

    def evbmf(self) -> Ranks:
        """The ranks above the noise, with a floor."""
        return (1,)


def group_errors(weight: Tensor, groups: Sequence[int]) -> GroupErrors:
    """The error of every number of groups in `groups`, channels reordered as `filters.grouped` does."""
    energy = weight.flatten(2).square().sum(2).double()
    total = float(energy.sum())
    found = {}
    for count in groups:
        rows, columns = assign(energy, count)
        lost = total - float((energy * (rows[:, None] == columns)).sum())
        found[count] = (max(lost, 0.0) / total) ** 0.5
    return GroupErrors(found)


def _floor(full: int) -> int:
    return max(1, round(EVBMF_FLOOR * full))
