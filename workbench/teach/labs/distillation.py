"""Lab 6, distillation: what a small network learns from a large one, loss by loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.teach.judging import Choice, Function, Mistake, Number

Array = npt.NDArray[Any]

#: Logits of the question on temperature, and the temperature; it is that of the question on sizes, too.
LOGITS, WARM = np.array([6.0, 2.0, 0.0]), 4.0
#: Classes, and one class's logits of student and teacher, of the question on high temperatures.
CLASSES, STUDENT, TEACHER = 10, 1.2, 0.2
#: Channels of the student's map and of the teacher's, and their height, of the question on regressors.
NARROW, WIDE, SIDE = 32, 128, 7


def softened(logits: Array, temperature: float) -> Array:
    """Probabilities (..., classes) of logits that are divided by a temperature first (Hinton et al. 2015, eq. 1)."""
    powers = np.exp((logits - logits.max(-1, keepdims=True)) / temperature)
    shares: Array = powers / powers.sum(-1, keepdims=True)
    return shares


def divergence(student: Array, teacher: Array, temperature: float) -> Array:
    """Kullback-Leibler divergence (N,) of a student's softened answers from its teacher's."""
    wanted, given = softened(teacher, temperature), softened(student, temperature)
    sums: Array = (wanted * np.log(wanted / given)).sum(-1)
    return sums


def soft_loss(student: Array, teacher: Array, temperature: float) -> float:
    """The loss on soft targets, as large as at temperature 1 (Hinton et al. 2015, section 2)."""
    return float(temperature**2 * divergence(student, teacher, temperature).mean())


def attention_map(maps: Array) -> Array:
    """(N, C, H, W) to (N, H W): the mean squared channels, of length 1 (Zagoruyko & Komodakis 2017, eq. 2)."""
    return _unit(_sizes(maps))


def _sizes(maps: Array) -> Array:
    """Mean squared channels (N, H W), of the length that they have."""
    flat: Array = np.square(maps).mean(1).reshape(len(maps), -1)
    return flat


def _unit(rows: Array) -> Array:
    """Rows (N, D), each of length 1."""
    found: Array = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def apart(vectors: Array) -> Array:
    """Distances (N, N) among vectors (N, D)."""
    found: Array = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    return found


def relations(vectors: Array) -> Array:
    """Distances (N, N) among vectors (N, D), over their mean without the diagonal (Park et al. 2019, eqs. 5, 6)."""
    found = apart(vectors)
    shares: Array = found / _mean(found)
    return shares


def _blocks(vectors: Array) -> Array:
    """Sums (N, N) of absolute differences among vectors (N, D)."""
    found: Array = np.abs(vectors[:, None] - vectors[None]).sum(2)
    return found


def _mean(table: Array) -> float:
    """The mean of a table (N, N) with zeros on its diagonal, without these."""
    return float(table.sum() / (len(table) * (len(table) - 1)))


def _cross_entropy(student: Array, teacher: Array, t: float) -> float:
    return float(-(t**2) * (softened(teacher, t) * np.log(softened(student, t))).sum(-1).mean())


def _cold_student(student: Array, teacher: Array, t: float) -> float:
    wanted = softened(teacher, t)
    return float(t**2 * (wanted * np.log(wanted / softened(student, 1))).sum(-1).mean())


def _answers() -> list[tuple[Array, float]]:
    rng = np.random.default_rng(0)
    return [(rng.normal(0, 3, size=(n, k)), t) for n, k, t in ((4, 3, 4.0), (2, 10, 2.0), (3, 5, 0.5))]


def _pairs() -> list[tuple[Array, Array, float]]:
    rng = np.random.default_rng(1)
    return [(rng.normal(0, 2, size=s), rng.normal(0, 2, size=s), t) for s, t in (((4, 3), 4.0), ((6, 10), 2.0))]


def _maps() -> list[tuple[Array]]:
    rng = np.random.default_rng(2)
    return [(rng.normal(size=shape),) for shape in ((3, 4, 2, 5), (2, 6, 3, 3))]


def _vectors() -> list[tuple[Array]]:
    rng = np.random.default_rng(3)
    return [(rng.normal(size=shape),) for shape in ((4, 3), (6, 8))]


QUESTIONS = (
    Function(
        "soft-targets",
        "Write softened(logits, temperature) for logits (N, classes): probabilities of the logits over the "
        "temperature.",
        ("A softmax, of other numbers.", "exp(logits / temperature), over its sum along the classes."),
        points=2, right=softened, cases=_answers,
        mistakes=(
            Mistake(lambda z, t: softened(z, 1), "The temperature changes nothing: the logits are divided by it."),
            Mistake(lambda z, t: softened(z * t, 1), "The logits are divided by the temperature, not multiplied: so "
                    "the answers become harder, not softer."),
            Mistake(lambda z, t: softened(z, 1) / t, "The temperature divides the logits, before the exponential: "
                    "these no longer add up to 1."),
            Mistake(lambda z, t: softened(z.T, t).T, "The sum runs over the images: it belongs along the classes, the "
                    "last axis, for each image alone."),
            Mistake(lambda z, t: np.exp(z / t), "Probabilities add up to 1: divide by their sum along the classes."),
            Mistake(lambda z, t: z / t, "Those are logits still: take the softmax of them."),
            Mistake(lambda z, t: np.exp(z / t) / np.exp(z / t).sum(), "The sum runs over all images together: keep the "
                    "classes of each image apart, axis=-1 with keepdims=True."),
        ),
    ),
    Number(
        "temperature",
        f"Logits 6, 2 and 0 at temperature {WARM:g}: which probability has the second class?",
        ("Divide the three logits by the temperature, then take the softmax.",
         "exp(0.5) over exp(1.5) + exp(0.5) + exp(0)."),
        right=float(softened(LOGITS, WARM)[1]),
        mistakes=(
            Mistake(float(softened(LOGITS, 1)[1]), "That is at temperature 1, where hardly anything is left to the "
                    "second class: divide the logits first."),
            Mistake(float(softened(LOGITS, WARM)[0]), "That is the first class's."),
            Mistake(float(softened(LOGITS, WARM)[2]), "That is the third class's."),
            Mistake(float(softened(LOGITS * WARM, 1)[1]), "That is with logits times the temperature: it divides "
                    "them."),
            Mistake(LOGITS[1] / LOGITS.sum(), "That is the logit's share of their sum: take exponentials first."),
            Mistake(float(softened(LOGITS, 1)[1]) / WARM, "The temperature divides the logits, not the probability."),
            Mistake(float(np.exp(LOGITS[1] / WARM)), "That is the exponential: divide it by the sum of all three."),
        ),
    ),
    Function(
        "soft-loss",
        "Write soft_loss(student, teacher, temperature) for two logits (N, classes): temperature squared times the "
        "mean over the images of the divergence KL(teacher || student) of the softened answers.",
        ("KL(p || q) is the sum over the classes of p log(p / q): which of the two is p?",
         "p is the teacher's, q the student's, both softened; sum over the classes, mean over the images, times T²."),
        points=2, right=soft_loss, cases=_pairs,
        mistakes=(
            Mistake(lambda s, z, t: soft_loss(s, z, t) / t**2, "Its gradients shrink with the square of the "
                    "temperature: the loss is multiplied by T²."),
            Mistake(lambda s, z, t: soft_loss(s, z, t) / s.shape[1], "The mean runs over the classes, too: sum over "
                    "the classes, mean over the images alone (torch's 'batchmean', where 'mean' divides by both)."),
            Mistake(lambda s, z, t: soft_loss(s, z, t) * len(s), "That is the sum over the images: it should not "
                    "depend on how many there are."),
            Mistake(lambda s, z, t: soft_loss(z, s, t), "That is KL(student || teacher): what the teacher says is p, "
                    "by which the logarithms are weighed."),
            Mistake(_cross_entropy, "That is the cross entropy: it has the same gradients, and is not 0 where both say "
                    "the same. Subtract the teacher's entropy: log(p / q), not -log(q)."),
            Mistake(_cold_student, "Only the teacher is softened: both are, or the student has to be soft by itself."),
            Mistake(lambda s, z, t: soft_loss(s, z, t) / t, "The loss is multiplied by the temperature squared."),
        ),
    ),
    Number(
        "loss-scale",
        f"Without the factor T², how many times smaller are the gradients of the soft targets at temperature {WARM:g} "
        "than at 1, about?",
        ("The temperature divides the logits once; what does it do to the difference of the two answers?",
         "Each gradient is 1 / T times a difference of probabilities, which themselves shrink with 1 / T."),
        right=WARM**2,
        mistakes=(
            Mistake(WARM, "That is one of two: the difference of the two softened answers shrinks with T as well."),
            Mistake(1 / WARM**2, "That is how many times as large they are; the question is how many times smaller."),
            Mistake(1 / WARM, "It is how many times smaller, and there are two factors 1 / T, not one."),
            Mistake(1, "They do shrink: a softened answer moves less when a logit does."),
            Mistake(2 * WARM, "The two factors T are multiplied, not added."),
            Mistake(WARM**3, "That is one T too many: one from the logits, one from the probabilities."),
        ),
    ),
    Number(
        "high-temperature",
        f"At a very high temperature T² times the gradient of the soft loss becomes a difference of logits. "
        f"{CLASSES} classes; for one the student's logit is {STUDENT:g} and the teacher's {TEACHER:g}, both with mean "
        "0 over the classes. What is the gradient of that logit, for one image?",
        ("Write exp(z / T) as 1 + z / T; what is the sum of ten of these?",
         "Hinton et al. 2015, eq. 4: (z - v) / N with N classes: matching logits is what remains."),
        points=2, right=(STUDENT - TEACHER) / CLASSES,
        mistakes=(
            Mistake(STUDENT - TEACHER, "Each probability is about 1 / N: the difference is divided by the classes."),
            Mistake((STUDENT - TEACHER) / CLASSES**2, "The sum of N exponentials divides once, not twice."),
            Mistake(STUDENT / CLASSES, "That is without a teacher: its logit is subtracted."),
            Mistake((STUDENT + TEACHER) / CLASSES, "It is a difference: where both say the same there is nothing to "
                    "learn."),
            Mistake((STUDENT - TEACHER) / CLASSES / 2, "The loss is half a squared difference, and its gradient is the "
                    "difference: no half is left."),
            Mistake(0, "It goes to 0 as 1 / T², and T² times it does not."),
        ),
    ),
    Number(
        "regressor",
        f"The student's map has {NARROW} channels, the teacher's {WIDE}, both {SIDE} × {SIDE}. How many weights has "
        "the 1 × 1 convolution that makes the one comparable with the other? (no bias)",
        ("It reads the student's channels and makes the teacher's.", "1 × 1: one weight for each pair of channels."),
        right=NARROW * WIDE, exact=True, unit="weights",
        mistakes=(
            Mistake(NARROW * WIDE * SIDE**2, "The same weights serve every place of the map."),
            Mistake(NARROW * WIDE * SIDE**4, "That is a linear layer from map to map: a convolution needs far fewer, "
                    "which is why Romero et al. take one."),
            Mistake(9 * NARROW * WIDE, "That is 3 × 3; here it is 1 × 1."),
            Mistake(NARROW + WIDE, "Every channel that is made reads every channel of the student."),
            Mistake(NARROW * WIDE + WIDE, "That counts the bias."),
            Mistake(WIDE * WIDE, "It reads the student's channels, of which there are fewer."),
        ),
    ),
    Function(
        "attention",
        "Write attention_map(maps) for maps (N, C, H, W): the mean over the channels of the squares, flattened to "
        "(N, H · W), each of length 1.",
        ("Square, mean over axis 1, reshape; and then?", "Divide each row by its own norm, the root of its squares' "
        "sum."),
        points=2, right=attention_map, cases=_maps,
        mistakes=(
            Mistake(_sizes, "Each image's map has length 1: divide by its norm, or a student with smaller numbers "
                    "could never agree."),
            Mistake(lambda a: _sizes(a) / np.linalg.norm(_sizes(a)), "That is one norm for all images: each has its "
                    "own."),
            Mistake(lambda a: _sizes(a) / _sizes(a).sum(1, keepdims=True), "They add up to 1; of length 1 they are "
                    "over the root of the sum of squares."),
            Mistake(lambda a: _unit(a.mean(1).reshape(len(a), -1)),
                    "Without squares positive and negative channels cancel: how strongly a place answers is lost."),
            Mistake(lambda a: _unit(np.square(a).mean((2, 3))),
                    "That is one number a channel, and two networks have not the same channels: mean over the "
                    "channels, and keep the places."),
            Mistake(lambda a: attention_map(a).reshape(len(a), *a.shape[2:]), "The numbers are right: flatten each map "
                    "to a row, (N, H · W)."),
            Mistake(lambda a: attention_map(np.sqrt(np.abs(a))), "Those are absolute values: their squares are asked "
                    "for."),
        ),
    ),
    Function(
        "relations",
        "Write relations(vectors) for vectors (N, D): the distances (N, N) among them, over the mean distance of two "
        "different ones.",
        ("All pairs at once: vectors[:, None] - vectors[None].",
         "The norm along the last axis; the mean leaves the N zeros of the diagonal out: sum over N (N - 1)."),
        points=2, right=relations, cases=_vectors,
        mistakes=(
            Mistake(apart, "Divide by the mean distance: a student may draw its picture on another scale."),
            Mistake(lambda v: apart(v) / apart(v).mean(), "The mean counts the zeros of the diagonal, too: of two "
                    "different ones there are N (N - 1) pairs."),
            Mistake(lambda v: apart(v) ** 2 / _mean(apart(v) ** 2), "Those are squared distances: take the root."),
            Mistake(lambda v: apart(v) / apart(v).max(), "That is over the largest distance: one odd image would "
                    "change all of them."),
            Mistake(lambda v: _blocks(v) / _mean(_blocks(v)), "Those are "
                    "sums of absolute differences: the distance is the root of the sum of squares."),
            Mistake(lambda v: apart(v.T), "Those are distances among the D columns: it is the N images that are "
                    "compared."),
        ),
    ),
    Choice(
        "own-layer",
        "Student and teacher have other numbers of channels. Which loss needs a layer of its own, trained along and "
        "thrown away afterwards?",
        ("Which of them compares channel by channel?",),
        right="c",
        options={
            "a": "Logits.",
            "b": "Soft targets.",
            "c": "Hints.",
            "d": "Attention.",
            "e": "Relations.",
        },
        wrong={
            "a": "Logits are one number a class, and both have the same classes.",
            "b": "Soft targets are one number a class, and both have the same classes.",
            "d": "Attention takes the mean over the channels: how many there are no longer shows.",
            "e": "Distances among images are a table (N, N), however long the vectors are.",
        },
    ),
    Choice(
        "born-again",
        "A born-again network learns from a teacher of its own shape (Furlanello et al. 2018). What is gained?",
        ("Compare the two networks' shapes, and then their errors.",),
        right="d",
        options={
            "a": "It is smaller than its teacher.",
            "b": "It runs faster than its teacher.",
            "c": "It needs no images to be trained.",
            "d": "It is often more accurate than its teacher, at the same cost.",
            "e": "It has the same weights as its teacher.",
        },
        wrong={
            "a": "It has the same layers, and as many weights.",
            "b": "It has the same layers, and computes as much.",
            "c": "It sees the same images as its teacher did, with another loss.",
            "e": "It begins with random weights and ends with others: only its answers are alike.",
        },
    ),
)  # fmt: skip
