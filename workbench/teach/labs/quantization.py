"""Lab 5, quantization: scale and zero point, calibration, integer arithmetic, training for it, one and two bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.teach.judging import Choice, Function, Mistake, Number

Array = npt.NDArray[Any]

#: The range of the first questions, and the steps of 4 bits that cover it.
LOW, HIGH, STEPS = -1.0, 3.0, 15
#: The range of an activation whose error is asked for, in 8 bits.
SPAN = 6.0
#: An activation's usual largest value, and its rare one.
USUAL, RARE = 2.0, 20.0
#: Products that a convolution adds up for one number: 3 x 3 from 64 channels.
TERMS = 9 * 64
#: Scales of inputs, weights and outputs.
S_X, S_W, S_Y = 0.02, 0.005, 0.05
#: Largest weights of two channels of one layer.
WIDE, NARROW = 10.0, 0.1
#: The weights that are to be made binary.
WEIGHTS = (0.4, -0.2, 0.1, -0.9)

SCALE = (HIGH - LOW) / STEPS
RMS = SPAN / 255 / 12**0.5
#: The integers from 0 to 255.
TOP = 255


def quantized(x: Array, scale: float, zero: int) -> Array:
    """The integers x / scale + zero, rounded and saturated to 0 .. 255 (Jacob et al. 2018, eq. 1 and 12)."""
    return np.asarray(np.clip(np.rint(x / scale) + zero, 0, TOP))


def integer_dot(x: Array, w: Array, s_x: float, z_x: int, s_w: float) -> float:
    """The real sum that x (n,), 0 to 255, and w (n,), -127 to 127, stand for (Jacob et al. 2018, eq. 4)."""
    return s_x * s_w * float(((x.astype(np.int64) - z_x) * w.astype(np.int64)).sum())


def ternary(weight: Array, share: float = 0.7) -> Array:
    """Weights (outputs, n) as scale * {-1, 0, 1}, one scale for each output (Li et al. 2016, eq. 5 and 6)."""
    kept = np.abs(weight) > share * np.abs(weight).mean(1, keepdims=True)
    return _coded(weight, kept)


def accumulator_bits() -> int:
    """Bits of a signed integer that holds every sum of `TERMS` products of two int8."""
    return int(TERMS * 128 * 128).bit_length() + 1


def shift() -> int:
    """The n of M = M0 * 2^-n with M0 from 0.5 to 1, for the scales of the question."""
    ratio, n = S_X * S_W / S_Y, 0
    while ratio < 0.5:
        ratio, n = 2 * ratio, n + 1
    return n


def values_left() -> int:
    """How many whole steps the narrow channel has, where the wide one says how large a step is."""
    return 2 * round(NARROW / (WIDE / 127)) + 1


def _coded(weight: Array, kept: Array) -> Array:
    scale = (np.abs(weight) * kept).sum(1, keepdims=True) / np.maximum(kept.sum(1, keepdims=True), 1)
    return np.asarray(scale * kept * np.sign(weight))


def _kept(weight: Array) -> Array:
    return np.asarray(np.abs(weight) > 0.7 * np.abs(weight).mean(1, keepdims=True))


def _activations() -> list[tuple[Array, float, int]]:
    rng = np.random.default_rng(6)
    return [(rng.normal(size=shape) * 3, scale, zero) for shape, scale, zero in
            (((7,), 0.05, 100), ((3, 4), 0.02, 64), ((2, 3, 4), 0.011, 0))]  # fmt: skip


def _integers() -> list[tuple[Array, Array, float, int, float]]:
    rng = np.random.default_rng(7)
    return [(rng.integers(0, 256, n, dtype=np.uint8), rng.integers(-127, 128, n, dtype=np.int8), s_x, z_x, s_w)
            for n, s_x, z_x, s_w in ((64, 0.02, 30, 0.005), (576, 0.05, 128, 0.01), (4, 0.5, 200, 0.25))]  # fmt: skip


def _weights() -> list[tuple[Array]]:
    rng = np.random.default_rng(8)
    return [(rng.normal(size=(n, m)) * np.linspace(0.2, 3, n)[:, None],) for n, m in ((3, 8), (4, 27), (2, 50))]


QUESTIONS = (
    Number(
        "step-size",
        f"Values from {LOW:g} to {HIGH:g} are to be covered by 4 bits. How large is a step (the scale)?",
        ("How many integers are there, and how many steps between the first and the last?",
         "16 integers, 15 steps, a range of 4."),
        right=SCALE,
        mistakes=(
            Mistake((HIGH - LOW) / (STEPS + 1), "Sixteen integers have fifteen steps between them."),
            Mistake(HIGH / STEPS, "The range begins at −1: it is 4 wide."),
            Mistake(HIGH / 7, "That is symmetric, with as much room below zero as above: here the range is −1 to 3."),
            Mistake((HIGH + LOW) / STEPS, "The width is the highest less the lowest, and the lowest is −1."),
            Mistake(STEPS / (HIGH - LOW), "That is the other way round: steps for each unit."),
            Mistake((HIGH - LOW) / TOP, "That is for 8 bits."),
        ),
    ),
    Number(
        "zero-point",
        "Which of the integers 0 to 15 stands for the value 0 then (the zero point)?",
        ("How many steps is 0 above the lowest value?", "1 over 4 / 15 is 3.75: which integer is nearest?"),
        right=round(-LOW / SCALE), exact=True,
        mistakes=(
            Mistake(-LOW / SCALE, "The zero point is an integer, so that zero is exact: round it."),
            Mistake(int(-LOW / SCALE), "Rounded, not cut off."),
            Mistake(-round(-LOW / SCALE), "The lowest value becomes 0, so zero lies above: the sign is the other one."),
            Mistake(0, "0 stands for the lowest value, −1."),
            Mistake(8, "The middle of the integers stands for the middle of the range, which is 1."),
            Mistake(STEPS - round(-LOW / SCALE), "That is counted from the other end."),
        ),
    ),
    Function(
        "quantize",
        "Write quantized(x, scale, zero): the integers 0 to 255 that stand for x.",
        ("Divide, round, add; and what of values that lie outside of the range?",
         "np.clip(np.rint(x / scale) + zero, 0, 255)."),
        points=2, right=quantized, cases=_activations,
        mistakes=(
            Mistake(lambda x, s, z: np.clip(np.floor(x / s) + z, 0, TOP), "That cuts off; to the nearest integer the "
                    "error is half as large, and has no bias."),
            Mistake(lambda x, s, z: np.rint(x / s) + z, "Values outside of the range leave 0 to 255: saturate them."),
            Mistake(lambda x, s, z: quantized(x, s, 0), "The zero point is missing."),
            Mistake(lambda x, s, z: (np.rint(x / s) + z) % 256, "Too large a value wraps round to a small one, as a "
                    "cast to uint8 does: saturate before you cast."),
            Mistake(lambda x, s, z: np.clip(np.rint(x / s) + z, -128, 127), "That is int8; here it is 0 to 255."),
            Mistake(lambda x, s, z: (quantized(x, s, z) - z) * s, "Those are values again; asked are the integers."),
            Mistake(lambda x, s, z: quantized(x, 1 / s, z), "x is divided by the scale, which is the size of a step."),
        ),
    ),
    Number(
        "rounding-error",
        f"Values spread evenly over 0 to {SPAN:g} are rounded to 8 bits. How large is the root mean square error?",
        ("The error lies evenly between minus and plus half a step.", "A step over √12; a step is 6 / 255."),
        right=RMS,
        mistakes=(
            Mistake(SPAN / 255, "That is a step."),
            Mistake(SPAN / 255 / 2, "That is the largest error."),
            Mistake(SPAN / 255 / 4, "That is the mean magnitude; squared errors weigh the large ones more."),
            Mistake(RMS**2, "That is the mean square: take its root."),
            Mistake(SPAN / 255 / 12, "By the root of 12."),
            Mistake(SPAN / 255 / 3**0.5, "That is for an error of up to a whole step each way."),
        ),
    ),
    Number(
        "four-bits",
        "With 4 bits for the same range: how many times the error?",
        ("The error goes with the step.", "255 steps become 15."),
        right=TOP / STEPS,
        mistakes=(
            Mistake(16, "There are 255 and 15 steps, one less than integers."),
            Mistake(2, "Half the bits are far less than half the steps."),
            Mistake(4, "Each bit halves the step: four of them do it four times."),
            Mistake((TOP / STEPS) ** 2, "That is for the squared error."),
            Mistake(STEPS / TOP, "That is the other way round."),
        ),
    ),
    Number(
        "outlier",
        f"An activation lies between 0 and {USUAL:g}, but for one value in 10,000, which is {RARE:g}. How many times "
        f"finer is the step if the range ends at {USUAL:g}?",
        ("The number of steps is the same.", "20 / 255 against 2 / 255."),
        right=RARE / USUAL,
        mistakes=(
            Mistake(USUAL / RARE, "That is how much larger the new step is; it is asked how much finer."),
            Mistake(RARE - USUAL, "That is the room that is given up; ask for the ratio of the steps."),
            Mistake((RARE / USUAL) ** 2, "That is what the squared error gains."),
            Mistake(RARE / USUAL - 1, "So many times more steps come to it; in all it is one more."),
            Mistake(1, "The integers are the same; what they stand for lies closer together."),
            Mistake(10_000, "That is how rare it is; the step follows from how far away it lies."),
        ),
    ),
    Function(
        "integer-dot",
        "Write integer_dot(x, w, s_x, z_x, s_w): the real number that Σ (x − z_x) w stands for, with x uint8 and w "
        "int8 arrays.",
        ("x stands for s_x (x − z_x), and w for s_w w: multiply the two.",
         "s_x * s_w * ((x.astype(int) - z_x) * w.astype(int)).sum()."),
        points=2, right=integer_dot, cases=_integers,
        mistakes=(
            Mistake(lambda x, w, a, z, b: integer_dot(x, w, a, 0, b), "The zero point is missing."),
            Mistake(lambda x, w, a, z, b: a * b * float(((x - np.uint8(z)) * w).sum()), "uint8 wraps below zero: 3 − 5 "
                    "is 254 there. Widen the integers first, x.astype(int)."),
            Mistake(lambda x, w, a, z, b: integer_dot(x, w, 1, z, 1), "That is the integer sum: it stands for s_x s_w "
                    "times that."),
            Mistake(lambda x, w, a, z, b: a * b * (float(x.astype(int) @ w.astype(int)) - z), "z_x belongs to every "
                    "term: it is subtracted Σ w times."),
            Mistake(lambda x, w, a, z, b: integer_dot(x, w, a, z, 1), "The weights have a scale, too."),
            Mistake(lambda x, w, a, z, b: integer_dot(x, w, 1, z, a + b), "Scales are multiplied, as the values are."),
            Mistake(lambda x, w, a, z, b: a * b * float((x.astype(np.int8) * w).sum()), "Products of 8 bits do not fit "
                    "into 8 bits: widen the integers first, x.astype(int)."),
        ),
    ),
    Number(
        "accumulator",
        f"A 3 × 3 convolution from 64 channels adds up {TERMS} products of two int8 (−128 to 127). How many bits must "
        "a signed accumulator have, so that no sum can overflow?",
        ("How large can one product be? And 576 of them?", "576 · 128² lies between 2²³ and 2²⁴; one bit is the sign."),
        right=accumulator_bits(), exact=True, unit="bits",
        mistakes=(
            Mistake(accumulator_bits() - 1, "A signed integer has a bit for its sign."),
            Mistake(accumulator_bits() + 1, "16 bits for a product and 10 for 576 terms is on the safe side; but a "
                    "product is at most 2¹⁴, and one bit less is enough."),
            Mistake(16, "That is for one product; 576 of them are added."),
            Mistake(32, "So many it has on most machines; asked is how many it needs."),
            Mistake(8, "Not even one product fits."),
            Mistake(17, "Each doubling of the number of terms takes a bit: 576 terms take ten."),
        ),
    ),
    Number(
        "multiplier",
        f"Scales {S_X:g} (inputs), {S_W:g} (weights), {S_Y:g} (outputs): the sum is multiplied by M = s_x s_w / s_y, "
        "written as M₀ · 2⁻ⁿ with M₀ from 0.5 to 1, since a shift costs nothing. Which n?",
        ("M is 0.002. How often must it be doubled?", "0.002 · 2⁸ = 0.512."),
        right=shift(), exact=True,
        mistakes=(
            Mistake(shift() + 1, "M₀ would be 1.024: one doubling too many."),
            Mistake(shift() - 1, "M₀ would be 0.256: it can be doubled once more."),
            Mistake(-shift(), "The sign is in the formula: 2⁻ⁿ."),
            Mistake(S_X * S_W / S_Y, "That is M; how often can it be doubled until it is 0.5 or more?"),
            Mistake(2 ** shift(), "That is 2ⁿ."),
            Mistake(S_X * S_W / S_Y * 2 ** shift(), "That is M₀."),
        ),
    ),
    Number(
        "lost-channel",
        f"One scale for a whole depthwise layer, integers −127 to 127. The widest channel's weights reach ±{WIDE:g}, "
        f"another's ±{NARROW:g}. How many different values are left to the other?",
        ("How large is a step, and how many of them has the small channel?",
         "A step is 10 / 127 = 0.079; ±0.1 is ±1 step. And zero."),
        right=values_left(), exact=True,
        mistakes=(
            Mistake(255, "So many it would have with a scale of its own, which is what per_channel gives it."),
            Mistake(1, "±0.1 is more than half a step of 0.079: it becomes ±1, not zero."),
            Mistake(2, "Between minus and plus one there is zero."),
            Mistake(NARROW / (WIDE / 127), "That is the largest weight in steps: round it, count both sides and zero."),
            Mistake(255 * NARROW / WIDE, "That is its share of the integers; count whole steps, and zero."),
            Mistake(127, "Those are the steps on one side of the widest channel."),
        ),
    ),
    Choice(
        "small-networks",
        "Why does a small network such as a MobileNet usually lose more by the same rounding than a large one?",
        ("What evens errors out, and where is there little of it?",),
        right="d",
        options={
            "a": "Its weights are smaller numbers.",
            "b": "int8 has no kernels for small layers.",
            "c": "It has fewer layers.",
            "d": "Sums are short (nine terms in a depthwise layer), channels differ widely, and little is redundant.",
            "e": "It was trained on fewer images.",
            "f": "Its file was small already.",
        },
        wrong={
            "a": "The scale follows the weights: only their spread counts, not their size.",
            "b": "Then they would stay in float, and lose nothing.",
            "c": "MobileNets have many: each of them rounds again.",
            "e": "The same network on more images has the same short sums.",
            "f": "File size and loss are two things.",
        },
    ),
    Choice(
        "straight-through",
        "Rounding has a gradient of zero almost everywhere. How is a network trained through it?",
        ("Forward and backward need not use the same function (Bengio et al. 2013).",),
        right="b",
        options={
            "a": "It is not: quantization-aware training trains in float and rounds at the end.",
            "b": "Forward it rounds; backward the gradient passes as if it had not, where nothing saturates.",
            "c": "The integers themselves are trained, one step up or down at a time.",
            "d": "Rounding is replaced by a polynomial, forward as well.",
            "e": "By finite differences of the loss.",
            "f": "Only the biases are trained.",
        },
        wrong={
            "a": "Then it would not see the rounding, and could not learn to bear it.",
            "c": "Float weights stand behind the integers, and take many small steps before one of those moves.",
            "d": "Forward it must be what the integer file computes, or it learns to bear something else.",
            "e": "One difference for each of a million weights, at each step: nobody has that time.",
            "f": "That is bias correction, which needs no gradient.",
        },
    ),
    Function(
        "ternary",
        "Write ternary(weight) for weights (outputs, n): in each row zero what is at most 0.7 times its mean magnitude;"
        " the others become plus or minus the mean magnitude of the others.",
        ("Two means a row: one for the threshold, one for the scale.",
         "kept = |w| > 0.7 · mean |w|; scale = Σ |w| kept / Σ kept; scale · kept · sign(w)."),
        points=2, right=ternary, cases=_weights,
        mistakes=(
            Mistake(lambda w: _coded(w, np.abs(w) > 0.7 * np.abs(w).max(1, keepdims=True)), "The threshold is a share "
                    "of the mean, not of the largest."),
            Mistake(lambda w: np.abs(w).mean(1, keepdims=True) * _kept(w) * np.sign(w), "The scale is the mean of "
                    "those that are kept; those that are zeroed have no say in it."),
            Mistake(lambda w: ternary(w.reshape(1, -1)).reshape(w.shape), "One threshold and one scale for all: each "
                    "row has its own."),
            Mistake(lambda w: _kept(w) * np.sign(w), "Those are the signs; each row has a scale."),
            Mistake(lambda w: ternary(w, 1.0), "The threshold is 0.7 times the mean."),
            Mistake(lambda w: np.abs(_coded(w, _kept(w))), "Negative weights stay negative."),
            Mistake(lambda w: w * _kept(w), "That is pruning: those that are kept become one number, up to the sign."),
        ),
    ),
    Number(
        "binary-scale",
        f"The weights {', '.join(f'{one:g}'.replace('-', '−') for one in WEIGHTS)} become plus or minus one number. "
        "Which number has the least squared error?",
        ("Σ (|w| − α)² is least where its derivative is zero.", "The mean magnitude (Rastegari et al. 2016, eq. 6)."),
        right=float(np.abs(WEIGHTS).mean()),
        mistakes=(
            Mistake(float(np.sqrt(np.square(WEIGHTS).mean())), "That keeps the norm; the squared error is least at the "
                    "mean of the magnitudes."),
            Mistake(float(np.mean(WEIGHTS)), "The signs are kept apart: take magnitudes."),
            Mistake(float(np.abs(WEIGHTS).max()), "That fits the largest alone."),
            Mistake(float(np.median(np.abs(WEIGHTS))), "The median is best for absolute errors."),
            Mistake(float(np.abs(WEIGHTS).sum()), "That is the sum: divide by how many there are."),
            Mistake(1.0, "Without a scale the error is far larger."),
        ),
    ),
)  # fmt: skip
