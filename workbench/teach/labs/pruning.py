"""Lab 4, pruning: single weights and whole channels, what each saves, what hangs together, and many rounds."""

from __future__ import annotations

from itertools import pairwise
from math import log2
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.teach.judging import Choice, Function, Mistake, Number

Array = npt.NDArray[Any]

#: The matrix of the first questions: its side, the share of its weights that stays, bytes of a value and of an index.
SIDE, KEPT, VALUE, INDEX = 512, 1 / 8, 4, 2
#: Widths of three 3 x 3 convolutions in a row; the inner two are halved.
WIDTHS = (48, 64, 64, 64)
#: An inverted residual block: channels outside and inside, kernel of its depthwise layer.
OUTSIDE, INSIDE, KERNEL = 16, 96, 3
#: Rounds of pruning, and the share that is gone after the last.
ROUNDS, GONE = 3, 0.8

WEIGHTS = SIDE * SIDE
STAY = int(WEIGHTS * KEPT)


def pruned(weight: Array, ratio: float) -> Array:
    """A copy whose `round(ratio * size)` weights of least magnitude are zero (Han et al. 2015)."""
    found = weight.copy()
    found.reshape(-1)[np.argsort(np.abs(weight), axis=None)[: round(ratio * weight.size)]] = 0
    return found


def filter_norms(weight: Array) -> Array:
    """The sum of magnitudes (out,) of each filter of a weight (out, in, h, w) (Li et al. 2017)."""
    return np.asarray(np.abs(weight).sum((1, 2, 3)))


def _zeroed(weight: Array, ratio: float, score: Array) -> Array:
    found = weight.copy()
    found.reshape(-1)[np.argsort(score, axis=None)[: round(ratio * weight.size)]] = 0
    return found


def _by_row(weight: Array, ratio: float) -> Array:
    return np.stack([pruned(row, ratio) for row in weight])


def _left(*pairs: tuple[int, int]) -> float:
    """Which share of the three layers' MACs is left when they have these channels in and out."""
    before = sum(one * other for one, other in pairwise(WIDTHS))
    return sum(one * other for one, other in pairs) / before


def halved() -> float:
    """The share of the MACs that is left when the two inner widths are halved."""
    a, b, c, d = WIDTHS
    return _left((a, b // 2), (b // 2, c // 2), (c // 2, d))


def _weights() -> list[tuple[Array, float]]:
    rng = np.random.default_rng(4)
    return [(rng.normal(size=shape), ratio) for shape, ratio in (((4, 6), 0.25), ((3, 2, 3, 3), 0.5), ((5, 8), 0.8))]


def _filters() -> list[tuple[Array]]:
    rng = np.random.default_rng(5)
    return [(rng.normal(size=shape),) for shape in ((4, 3, 3, 3), (5, 5, 1, 1), (2, 6, 3, 5))]


_ENTROPY = -KEPT * log2(KEPT) - (1 - KEPT) * log2(1 - KEPT)

QUESTIONS = (
    Function(
        "prune-weights",
        "Write pruned(weight, ratio): a copy whose round(ratio * size) weights of least magnitude are zero.",
        ("What makes a weight small: its value, or its distance from zero?",
         "np.argsort(np.abs(weight), axis=None)[:round(ratio * weight.size)] are the places of those that go."),
        points=2, right=pruned, cases=_weights,
        mistakes=(
            Mistake(lambda w, r: _zeroed(w, r, w), "The most negative weights went, and they matter as much as the "
                    "most positive: compare magnitudes."),
            Mistake(lambda w, r: _zeroed(w, r, -np.abs(w)), "The largest went: it is the other end."),
            Mistake(lambda w, r: pruned(w, 1 - r), "The ratio is the share that goes, not the share that stays."),
            Mistake(lambda w, r: np.where(np.abs(w) < r * np.abs(w).max(), 0, w), "A threshold at a share of the "
                    "largest is another number of weights each time: sort them."),
            Mistake(_by_row, "Each row lost the same share; here all weights compete with each other."),
            Mistake(lambda w, r: (pruned(w, r) != 0).astype(float), "That is the mask; multiply the weight by it."),
        ),
    ),
    Number(
        "sparse-bytes",
        f"A {SIDE} × {SIDE} matrix has seven zeros in eight. Stored are the others alone, each as a float32 and a "
        "column index of 16 bits. How many bytes?",
        ("How many weights are left, and what does each of them take?", f"{STAY} times 4 + 2."),
        right=STAY * (VALUE + INDEX), exact=True, unit="bytes",
        mistakes=(
            Mistake(STAY * VALUE, "Those are the values; where they stand must be known, too."),
            Mistake(WEIGHTS * VALUE, "That is the whole matrix in float32."),
            Mistake((WEIGHTS - STAY) * (VALUE + INDEX), "Those are the zeros: it is the others that are stored."),
            Mistake(8 * STAY * (VALUE + INDEX), "Those are bits."),
            Mistake(STAY * 2 * VALUE, "An index of 16 bits takes two bytes, not four."),
            Mistake(WEIGHTS * INDEX + STAY * VALUE, "Only weights that are stored need an index."),
        ),
    ),
    Number(
        "sparse-break-even",
        "Which share of zeros is just enough for this form to be no larger than the matrix in float32?",
        ("How many bytes does it take for each weight, if a share d is not zero?", "6 d = 4; asked is 1 − d."),
        right=1 - VALUE / (VALUE + INDEX),
        mistakes=(
            Mistake(VALUE / (VALUE + INDEX), "That is the share that may stay."),
            Mistake(0.5, "It would be half if an index were as long as a value."),
            Mistake(0.0, "Each weight that stays takes half as much again: a few zeros do not pay for it."),
            Mistake((VALUE + INDEX) / VALUE, "That is how much longer a stored weight has become."),
            Mistake(1.0, "With nothing but zeros it takes no bytes at all; it pays long before."),
        ),
    ),
    Number(
        "zeros-entropy",
        "Seven weights in eight are zero, in no order. At least how many bits a weight says where the zeros are?",
        ("Shannon's entropy of a coin that shows heads once in eight throws.", "−1/8 log₂ 1/8 − 7/8 log₂ 7/8."),
        right=_ENTROPY, unit="bits",
        mistakes=(
            Mistake(1.0, "That is a bit map, which could say it of any matrix: most of its bits are alike."),
            Mistake(16 * KEPT, "That is an index of 16 bits for one weight in eight: what is usual, not the least."),
            Mistake(-log2(KEPT), "That is what one surprise tells; they are one in eight."),
            Mistake(-(1 - KEPT) * log2(1 - KEPT), "That is the zeros' part; the others tell more, if more seldom."),
            Mistake(_ENTROPY * float(np.log(2)), "Those are nats: take the logarithm to base 2."),
            Mistake(KEPT, "That is how many there are; it is not said where."),
        ),
    ),
    Choice(
        "zeros-not-faster",
        "Nine weights in ten are zero, the file is a quarter, and the latency is what it was. Why?",
        ("What does a dense kernel do with a zero?",),
        right="e",
        options={
            "a": "The zeros were not written to the file.",
            "b": "Ninety per cent are too few in principle.",
            "c": "Latency follows from the number of layers alone.",
            "d": "The pruned network has to be unpacked at each inference.",
            "e": "Shapes are what they were: dense kernels multiply by the zeros, too.",
            "f": "It was measured badly.",
        },
        wrong={
            "a": "They are in the file that was measured; they compress well, which is why it can be stored small.",
            "b": "Kernels for sparse matrices profit from less, but they have to be there, and to be used.",
            "c": "Narrower layers are faster, at the same number of them: see the pruned channels.",
            "d": "It is unpacked once, when it is loaded.",
            "f": "The interval of the ratio holds 1, and is narrow: there is nothing to be found.",
        },
    ),
    Number(
        "two-of-four",
        "2:4 sparsity: of four weights in a row two are stored as float16, each with an index of 2 bits. Which share "
        "of the dense float16 weights is that?",
        ("Count the bits of four weights.", "Dense 4 · 16; stored 2 · 16 + 2 · 2 (Mishra et al. 2021)."),
        right=(2 * 16 + 2 * 2) / (4 * 16),
        mistakes=(
            Mistake(0.5, "Those are the values: the indices are 2 bits each."),
            Mistake(1 - (2 * 16 + 2 * 2) / (4 * 16), "That is the share that is saved."),
            Mistake((4 * 16) / (2 * 16 + 2 * 2), "That is the other way round."),
            Mistake((2 * 16 + 4 * 2) / (4 * 16), "Only the two that are stored have an index."),
            Mistake((2 * 16 + 2) / (4 * 16), "Each of the two has an index of its own."),
            Mistake((2 * 16 + 2 * 2) / (4 * 32), "Dense weights are float16 here, too."),
        ),
    ),
    Function(
        "filter-norms",
        "Write filter_norms(weight): for a weight (out, in, h, w) the sum of magnitudes of each filter, (out,).",
        ("A filter is what one output channel reads with. Which axes belong to it?", "np.abs(weight).sum((1, 2, 3))."),
        right=filter_norms, cases=_filters,
        mistakes=(
            Mistake(lambda w: np.sqrt((w**2).sum((1, 2, 3))), "That is the Euclidean norm; here magnitudes are added."),
            Mistake(lambda w: np.abs(w).mean((1, 2, 3)), "That is the mean; within a layer it sorts the same, but "
                    "asked is the sum."),
            Mistake(lambda w: w.sum((1, 2, 3)), "Positive and negative weights cancel: take magnitudes first."),
            Mistake(lambda w: np.abs(w.sum((1, 2, 3))), "Magnitudes first, then the sum."),
            Mistake(lambda w: np.abs(w).sum((0, 2, 3)), "That is for each input channel: filters are along axis 0."),
            Mistake(lambda w: np.abs(w).sum((2, 3)), "That is for each kernel; a filter has one for each input."),
        ),
    ),
    Number(
        "halved-widths",
        f"Three 3 × 3 convolutions, {' to '.join(map(str, WIDTHS))} channels, all on maps of one size. The two inner "
        "widths are halved. Which share of the MACs is left?",
        ("What a layer does not make the next does not read.",
         "48 · 32 + 32 · 32 + 32 · 64, over 48 · 64 + 64 · 64 + 64 · 64."),
        points=2, right=halved(),
        mistakes=(
            Mistake(0.5, "The layer in the middle loses half of its inputs and half of its outputs."),
            Mistake(0.25, "Only the middle one loses on both sides: the first still reads 48, the last makes 64."),
            Mistake(1 - halved(), "That is the share that is saved."),
            Mistake(_left((48, 32), (64, 32), (64, 64)), "What a layer does not make, the next need not read."),
            Mistake(_left((48, 32), (32, 32), (32, 32)), "The last makes what it made: its channels are the outputs."),
            Mistake(1 / halved(), "That is the other way round."),
        ),
    ),
    Number(
        "expanded-channel",
        f"An inverted residual block: 1 × 1 from {OUTSIDE} to {INSIDE} channels, depthwise {KERNEL} × {KERNEL}, 1 × 1 "
        f"from {INSIDE} to {OUTSIDE}. One of the {INSIDE} channels goes: how many weights (no biases, no norms)?",
        ("Which layers make this channel, filter it, read it?", "16 that make it, 9 that filter it, 16 that read it."),
        right=2 * OUTSIDE + KERNEL**2, exact=True, unit="weights",
        mistakes=(
            Mistake(OUTSIDE, "That is the layer that makes it; what of those that come after?"),
            Mistake(OUTSIDE + KERNEL**2, "The last layer reads it, and its weights for it go, too."),
            Mistake(2 * OUTSIDE, "The depthwise layer has nine weights for this channel."),
            Mistake(KERNEL**2, "That is the depthwise layer alone."),
            Mistake(INSIDE * (2 * OUTSIDE + KERNEL**2), "Those are the weights of the whole block."),
            Mistake(2 * OUTSIDE + KERNEL**2 * OUTSIDE, "A depthwise filter reads one channel, not sixteen."),
        ),
    ),
    Choice(
        "tied-layers",
        "x = stem(image); y = x + second(relu(first(x))); head(y). Which layers must lose the same output channels?",
        ("What does a sum ask of its two summands?",),
        right="c",
        options={
            "a": "stem and first",
            "b": "first and second",
            "c": "stem and second",
            "d": "stem, first and second",
            "e": "second and head",
            "f": "none: each may lose its own",
        },
        wrong={
            "a": "first reads what stem makes, so it loses inputs; its own outputs are free.",
            "b": "second reads what first makes, so it loses inputs; its own outputs meet those of stem in the sum.",
            "d": "first makes channels that only second reads: they are its own.",
            "e": "head reads y and loses inputs; what it makes are the network's outputs, which stay.",
            "f": "Channel 5 of the sum is channel 5 of both summands: it goes in both, or in neither.",
        },
    ),
    Number(
        "per-round",
        f"{ROUNDS} rounds, each prunes the same share of the weights that are left; after the last {GONE:.0%} are gone."
        " Which share is it?",
        ("What is left is multiplied from round to round.", "(1 − p)³ = 0.2."),
        right=1 - (1 - GONE) ** (1 / ROUNDS),
        mistakes=(
            Mistake(GONE / ROUNDS, "Shares of what is left do not add up: the second round has less to take from."),
            Mistake((1 - GONE) ** (1 / ROUNDS), "That is the share that stays in a round."),
            Mistake(1 - GONE ** (1 / ROUNDS), "A cube root of what is left, not of what is gone."),
            Mistake(GONE ** (1 / ROUNDS), "After three rounds of this far more would be gone: think of what is left."),
            Mistake(1 - (1 - GONE) ** ROUNDS, "That goes the other way: as if 80 % went in each round."),
            Mistake(GONE, "That is all rounds together."),
        ),
    ),
    Choice(
        "why-iterative",
        "Why do several rounds of pruning and training keep more than one of the same total?",
        ("What does a weight's magnitude say after all others have settled anew?",),
        right="a",
        options={
            "a": "After each round the rest is trained, and what matters then is judged anew.",
            "b": "Fewer weights are removed in total.",
            "c": "Weights that were removed come back.",
            "d": "Each round rounds the weights more finely.",
            "e": "The network is measured more often.",
            "f": "It is always the same: only the total counts.",
        },
        wrong={
            "b": "The totals are equal; that is what makes it a comparison.",
            "c": "Here a zero stays zero, also while the rest is trained.",
            "d": "Nothing is rounded: weights go, or stay as they are.",
            "e": "Measuring changes nothing of a network.",
            "f": "Order matters: at once, much is judged by weights that belong to a network which is no more.",
        },
    ),
)  # fmt: skip
