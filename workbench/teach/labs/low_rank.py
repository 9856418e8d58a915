"""Lab 2, low rank: what SVD, Tucker and CP cost and keep, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.teach.judging import Choice, Function, Mistake, Number

Array = npt.NDArray[Any]

#: The matrix of the first questions, and the rank it is cut to.
ROWS, COLUMNS, RANK = 256, 512, 32
#: The convolution of the others: channels in and out, kernel, places of its output, Tucker's ranks, CP's rank.
C_IN, C_OUT, KERNEL, PLACES, RANKS, TERMS = 64, 128, 3, 28 * 28, (16, 32), 48
#: Singular values of the question on energy, and the share of it that is to be kept.
VALUES, KEPT = (10.0, 5.0, 2.0, 1.0, 0.5), 0.9

CONV_MACS = PLACES * KERNEL**2 * C_IN * C_OUT


def tucker_macs(r_in: int, r_out: int) -> int:
    """MACs of a Tucker-2 chain in the convolution's place: 1 x 1, the core, 1 x 1 (Kim et al. 2016)."""
    return PLACES * (C_IN * r_in + KERNEL**2 * r_in * r_out + r_out * C_OUT)


def cp_macs(terms: int) -> int:
    """MACs of a CP chain: 1 x 1, k x 1 and 1 x k depthwise, 1 x 1 (Lebedev et al. 2015)."""
    return PLACES * terms * (C_IN + 2 * KERNEL + C_OUT)


def half_rank() -> int:
    """The largest r for which ranks (r, 2 r) leave at most half of the MACs."""
    return max(r for r in range(1, C_IN + 1) if tucker_macs(r, 2 * r) <= CONV_MACS / 2)


def energy_rank(values: npt.ArrayLike, share: float) -> int:
    """The smallest rank that keeps this share of the energy, the sum of squared singular values."""
    kept = np.cumsum(np.square(values)) / np.sum(np.square(values))
    return int(np.searchsorted(kept, share)) + 1


def best_error(matrix: Array, rank: int) -> float:
    """The relative Frobenius error of the nearest matrix of this rank (Eckart & Young 1936)."""
    values = np.linalg.svd(matrix, compute_uv=False)
    return float(np.sqrt((values[rank:] ** 2).sum() / (values**2).sum()))


def _matrices() -> list[tuple[Array, int]]:
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(m, n)) * np.linspace(3, 0.1, n), r) for m, n, r in ((6, 4, 1), (5, 9, 3), (8, 8, 5))]


def _lost(matrix: Array, rank: int) -> Array:
    return np.linalg.svd(matrix, compute_uv=False)[rank:]


QUESTIONS = (
    Number(
        "svd-params",
        f"How many weights have the two thin layers of rank {RANK} in place of a {ROWS} × {COLUMNS} matrix?",
        ("Draw the two layers: what does the first read, and what does it make?",
         f"The first is {ROWS} × {RANK}, the second {RANK} × {COLUMNS}: add what they hold."),
        right=RANK * (ROWS + COLUMNS), exact=True, unit="weights",
        mistakes=(
            Mistake(ROWS * COLUMNS, f"That is the matrix itself. Two thin ones of rank {RANK} stand in its place: "
                    f"({ROWS} × {RANK}) and ({RANK} × {COLUMNS})."),
            Mistake(ROWS * RANK * COLUMNS, "The two layers stand one after the other: their weights are added."),
            Mistake(RANK * ROWS, "That is the first of the two layers; the second has weights, too."),
            Mistake(RANK * COLUMNS, "That is the second of the two layers; the first has weights, too."),
            Mistake(RANK * (ROWS + COLUMNS) + RANK, "The middle matrix of an SVD is diagonal and is multiplied into "
                    "one of the two layers: its values cost nothing of their own."),
        ),
    ),
    Number(
        "svd-break-even",
        f"What is the largest rank at which the two layers have fewer weights than the {ROWS} × {COLUMNS} matrix?",
        ("Write down when r (m + n) is less than m n.", "Divide m n by m + n, and think of what a rank is."),
        right=ROWS * COLUMNS // (ROWS + COLUMNS), exact=True,
        mistakes=(
            Mistake(ROWS * COLUMNS / (ROWS + COLUMNS), "A rank is a whole number."),
            Mistake(ROWS * COLUMNS // (ROWS + COLUMNS) + 1, "Rounded up it is one too large: there the two layers have "
                    "more weights than the matrix."),
            Mistake(ROWS, "That is full rank: exact, and larger than the matrix it replaces."),
            Mistake(ROWS // 2, "Half of full rank is break-even for a square matrix; this one is not square."),
            Mistake(ROWS + COLUMNS, "That is what one more rank costs; how many of these fit into the matrix?"),
        ),
    ),
    Function(
        "svd-error",
        "Write best_error(matrix, rank): the relative Frobenius error of the nearest matrix of that rank.",
        ("Which singular values are lost?",
         "Eckart and Young: the square root of the sum of the squares that are lost, over that of all."),
        points=2, right=best_error, cases=_matrices,
        mistakes=(
            Mistake(lambda a, r: best_error(a, r) ** 2, "That is the share of the energy that is lost, the error "
                    "squared. Take its root."),
            Mistake(lambda a, r: float(np.sqrt((_lost(a, r) ** 2).sum())), "That is the absolute error: divide by the "
                    "norm of the matrix."),
            Mistake(lambda a, r: 1 - best_error(a, r) ** 2, "That is the share of the energy that is kept."),
            Mistake(lambda a, r: float(_lost(a, r)[0] / np.linalg.norm(a, 2)), "That is the error in the spectral "
                    "norm: the largest value that is lost. Frobenius takes all of them."),
            Mistake(lambda a, r: float(_lost(a, r).sum() / np.linalg.svd(a, compute_uv=False).sum()), "Singular "
                    "values are squared before they are added."),
        ),
    ),
    Number(
        "energy-rank",
        f"Singular values {', '.join(f'{one:g}' for one in VALUES)}: which is the smallest rank that keeps "
        f"{KEPT:.0%} of the energy?",
        ("Energy is the sum of squares.", "Add the squares up from the largest, and stop at nine tenths of their sum."),
        right=energy_rank(VALUES, KEPT), exact=True,
        mistakes=(
            Mistake(energy_rank(np.sqrt(VALUES), KEPT), "Energy is the sum of the squared values, not of the values."),
            Mistake(1, "The largest alone keeps less than that: its square is 100 of 130.25."),
            Mistake(round(KEPT * len(VALUES)), "That is nine tenths of the number of values, and they are not alike."),
            Mistake(len(VALUES), "All of them keep all of the energy; fewer are enough."),
            Mistake(0, "A layer of rank 0 gives nothing but zeros."),
        ),
    ),
    Number(
        "tucker-macs",
        f"A {KERNEL} × {KERNEL} convolution from {C_IN} to {C_OUT} channels makes a map of 28 × 28. How many MACs has "
        f"it as Tucker-2 of ranks {RANKS} (in, out)?",
        ("Three convolutions: 1 × 1, the core, 1 × 1. All three run at every place of the map.",
         "The first reads 64 channels and makes 16; the core is 3 × 3 from 16 to 32; the last reads 32 and makes 128."),
        points=2, right=tucker_macs(*RANKS), unit="MACs",
        mistakes=(
            Mistake(tucker_macs(*RANKS) / PLACES, "Those are the weights: each is used at every place of the map."),
            Mistake(CONV_MACS, "That is the convolution as it was."),
            Mistake(tucker_macs(*RANKS[::-1]), "The ranks are swapped: 16 is of the channels that are read."),
            Mistake(PLACES * (C_IN * RANKS[0] + RANKS[0] * RANKS[1] + RANKS[1] * C_OUT), "The core is a 3 × 3 "
                    "convolution: nine weights for each pair of channels."),
            Mistake(PLACES * KERNEL**2 * RANKS[0] * RANKS[1], "That is the core alone: what of the two 1 × 1 layers?"),
        ),
    ),
    Number(
        "tucker-rank",
        "In the same convolution with ranks (r, 2 r): the largest r that leaves at most half of the MACs?",
        ("Write the MACs for ranks (r, 2 r): r appears once as r and once as r².",
         "Try it in a loop: tucker_macs(r, 2 * r) <= half of 9 · 64 · 128, at every place."),
        points=2, right=half_rank(), exact=True,
        mistakes=(
            Mistake(half_rank() + 1, "One too large: it leaves a little more than half."),
            Mistake(int((CONV_MACS / PLACES / 2 / (2 * KERNEL**2)) ** 0.5), "The two 1 × 1 layers cost, too."),
            Mistake(C_IN // 2, "Half of the ranks leaves about a quarter of the core, and the 1 × 1 layers besides."),
            Mistake(2 * half_rank(), "That is the other rank, 2 r."),
            Mistake(max(r for r in range(1, C_IN + 1) if tucker_macs(r, r) <= CONV_MACS / 2), "That is for two equal "
                    "ranks; here the second is twice the first."),
        ),
    ),
    Number(
        "cp-macs",
        f"And as CP of rank {TERMS}: 1 × 1, {KERNEL} × 1 and 1 × {KERNEL} depthwise, 1 × 1?",
        ("A depthwise convolution reads one channel for each that it makes.",
         "For each term and place: 64 to read, 3 and 3 for the two depthwise layers, 128 to write."),
        points=2, right=cp_macs(TERMS), unit="MACs",
        mistakes=(
            Mistake(cp_macs(TERMS) / PLACES, "Those are the weights: each is used at every place of the map."),
            Mistake(PLACES * TERMS * (C_IN + KERNEL**2 + C_OUT), "That has one 3 × 3 depthwise layer: here it is "
                    "split into 3 × 1 and 1 × 3."),
            Mistake(PLACES * (TERMS * (C_IN + C_OUT) + 2 * KERNEL * TERMS**2), "Depthwise layers do not mix the terms: "
                    "each of them reads one."),
            Mistake(PLACES * TERMS * (C_IN + C_OUT), "The two depthwise layers are missing."),
            Mistake(CONV_MACS, "That is the convolution as it was."),
        ),
    ),
    Choice(
        "why-not-faster",
        "CP leaves a tenth of a layer's MACs, and the layer is no faster. What is the likeliest reason?",
        ("Compare what each of the four layers reads and writes with what it computes.",),
        right="b",
        options={
            "a": "MACs were counted wrongly.",
            "b": "The chain reads and writes more maps, and its depthwise layers do little work for each byte.",
            "c": "The rank is too low.",
            "d": "CP is computed in double precision.",
            "e": "The processor has no instruction for CP.",
        },
        wrong={
            "a": "Counting is exact: the plan and the finished network agree to the last one.",
            "c": "A lower rank makes it faster still; what it costs is accuracy.",
            "d": "The chain computes in the same numbers as the layer did.",
            "e": "The chain is made of ordinary convolutions; none of them is special to CP.",
        },
    ),
)  # fmt: skip
