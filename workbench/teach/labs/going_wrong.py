"""Lab 7, when it goes wrong: which layer, which class, which machine, which pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.teach.judging import Choice, Function, Mistake, Number

Array = npt.NDArray[Any]

#: Layers of the question on halving.
LAYERS = 64
#: Images, those that only the original has right, those that only the variant has, and the accuracy of both, about.
IMAGES, LOST, GAINED, ACCURACY = 10_000, 30, 20, 0.93
#: Half of a 95 % interval, in standard errors.
Z95 = 1.96
#: The rare class: its share of the images, and how many of them the original has right.
RARE, KNEW = 0.01, 0.9
#: Mean and standard deviation of Fashion-MNIST's pixels as shares of 255, and the pixel of the question.
MEAN, STD, PIXEL = 0.286, 0.353, 128
#: The same of ImageNet's red, green and blue.
MEANS, STDS = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def sqnr_db(original: Array, variant: Array) -> float:
    """Signal over error in decibels, of any two arrays of one shape."""
    return float(10 * np.log10(np.square(original).sum() / np.square(original - variant).sum()))


def paired_width(lost: int, gained: int, images: int) -> float:
    """Half the 95 % interval of a change of accuracy on the same images (Agresti 2013, section 11.1.1)."""
    return Z95 * math.sqrt(lost + gained - (lost - gained) ** 2 / images) / images


def drops(before: Array, after: Array, labels: Array) -> Array:
    """What each class that occurs loses of its accuracy, from marks (N,) of what is right."""
    return np.array([(before[labels == one].mean() - after[labels == one].mean()) for one in np.unique(labels)])


def worst_drop(before: Array, after: Array, labels: Array) -> float:
    """What the class that suffers most loses of its accuracy."""
    return float(drops(before, after, labels).max())


def prepared(pixels: Array) -> Array:
    """Pixels (N, H, W, 3), uint8 RGB, as a network of ImageNet reads them: (N, 3, H, W), standardised."""
    return _prepared(pixels / 255)


def _prepared(shares: Array, means: Array = MEANS, stds: Array = STDS) -> Array:
    found: Array = ((shares - means) / stds).transpose(0, 3, 1, 2)
    return found


def _maps() -> list[tuple[Array, Array]]:
    rng = np.random.default_rng(0)
    pairs = ((rng.normal(0, 2, size=shape), rng.normal(size=shape)) for shape in ((3, 4), (2, 3, 5), (50,)))
    return [(one, 0.8 * one + 0.3 * noise) for one, noise in pairs]


def _marks() -> list[tuple[Array, Array, Array]]:
    rng = np.random.default_rng(1)
    cases = []
    for count, classes in ((60, 3), (200, 5)):
        labels = np.sort(rng.choice(classes, size=count, p=np.arange(1, classes + 1) / (classes * (classes + 1) / 2)))
        before = rng.random(count) < 0.9
        cases.append((before, before & (rng.random(count) < np.where(labels == 1, 0.5, 0.95)), labels))
    return cases


def _pictures() -> list[tuple[Array]]:
    rng = np.random.default_rng(2)
    return [(rng.integers(0, 256, size=(n, h, w, 3), dtype=np.uint8),) for n, h, w in ((2, 4, 5), (1, 3, 2))]


def _pixel(mean: float = MEAN, std: float = STD) -> float:
    return (PIXEL / 255 - mean) / std


QUESTIONS = (
    Function(
        "sqnr",
        "Write sqnr_db(original, variant) for two arrays of one shape: ten times the decimal logarithm of the "
        "original's power over the error's.",
        ("Power is a sum of squares; the error is the difference of the two.",
         "10 * log10(sum of original², over sum of (original - variant)²)."),
        points=2, right=sqnr_db, cases=_maps,
        mistakes=(
            Mistake(lambda a, b: 2 * sqnr_db(a, b), "20 times the logarithm belongs to amplitudes; powers, which are "
                    "squares already, take 10."),
            Mistake(lambda a, b: sqnr_db(a, b) / 2, "That is of the root of the ratio: powers are compared as they "
                    "are."),
            Mistake(lambda a, b: -sqnr_db(a, b), "The ratio is upside down: more decibels are to mean less error."),
            Mistake(lambda a, b: np.square(a).sum() / np.square(a - b).sum(), "That is the ratio: decibels are ten "
                    "times its logarithm."),
            Mistake(lambda a, b: sqnr_db(a, b) * math.log(10), "That is the natural logarithm: decibels take the "
                    "decimal one, np.log10."),
            Mistake(lambda a, b: 10 * np.log10(np.square(b).sum() / np.square(a - b).sum()), "The signal is the "
                    "original: the variant holds the error already."),
            Mistake(lambda a, b: 10 * np.log10(np.abs(a).sum() / np.abs(a - b).sum()), "Those are absolute values: "
                    "power is the sum of squares."),
        ),
    ),
    Number(
        "one-bit",
        "A layer is rounded to a grid of one bit more: steps half as wide. By how many decibels does its signal over "
        "error rise?",
        ("Steps half as wide: what becomes of the errors, and what of their squares?",
         "The error's power falls to a quarter: 10 log10(4)."),
        right=10 * math.log10(4), unit="dB",
        mistakes=(
            Mistake(10 * math.log10(2), "Half the error is a quarter of its power."),
            Mistake(4, "That is the ratio of the powers: in decibels it is 10 log10(4)."),
            Mistake(2, "That is the ratio of the steps: in decibels it is 20 log10(2)."),
            Mistake(1, "A bit is a factor of 2 in the steps; in decibels that is 20 log10(2)."),
            Mistake(20 * math.log10(4), "Twice counted: 20 log10 of the steps' ratio 2, or 10 log10 of the powers' 4."),
            Mistake(10 * math.log(4), "That is the natural logarithm: decibels take the decimal one."),
        ),
    ),
    Choice(
        "at-fault",
        "Signal over error of five layers in a row, as they stand in the variant: 40, 38, 12, 11, 10 dB. Of each by "
        "itself, fed with what the original's layer reads: 41, 42, 13, 35, 12 dB. Whose own error breaks the outputs "
        "first?",
        ("Where does the first row fall? And is that this layer's own doing?",),
        right="c",
        options={"a": "The first.", "b": "The second.", "c": "The third.", "d": "The fourth.", "e": "The fifth."},
        wrong={
            "a": "It adds hardly anything: 40 dB are one ten-thousandth of the power.",
            "b": "It is better by itself than most: 42 dB.",
            "d": "It reads what the third has spoilt: by itself it is at 35 dB.",
            "e": "Its own error is large, too, but the outputs were as bad two layers before it.",
        },
    ),
    Number(
        "halving",
        f"One of {LAYERS} layers breaks a network, and restoring it mends the network. Restoring half of the suspects "
        "at a time, how many tries does it take?",
        ("How many suspects are left after one try?", "64, 32, 16, 8, 4, 2, 1: count the arrows."),
        right=math.log2(LAYERS), exact=True,
        mistakes=(
            Mistake(LAYERS, "That is one layer after the other: halves leave half of the suspects each time."),
            Mistake(LAYERS - 1, "That is one layer after the other; the last needs no try. Halves are faster."),
            Mistake(LAYERS // 2, "So many suspects are left after the first try."),
            Mistake(math.log2(LAYERS) + 1, "With one suspect left there is nothing to try."),
            Mistake(math.sqrt(LAYERS), "That is the root: each try halves, so it is the logarithm."),
            Mistake(math.log2(LAYERS) - 1, "Then two suspects are left."),
        ),
    ),
    Number(
        "paired-loss",
        f"Of {IMAGES:,} images {LOST} are right in the original alone and {GAINED} in the variant alone. Which share "
        "of accuracy does the variant lose?",
        ("Which images do not matter at all?", "What is lost less what is gained, over all images."),
        right=(LOST - GAINED) / IMAGES,
        mistakes=(
            Mistake((LOST + GAINED) / IMAGES, "So many answers changed; those that became right are gained."),
            Mistake(LOST / IMAGES, "That is what was lost; something was gained, too."),
            Mistake(GAINED / IMAGES, "That is what was gained."),
            Mistake((LOST - GAINED) / (LOST + GAINED), "That is of the answers that changed: accuracy is a share of "
                    "all images."),
            Mistake(LOST - GAINED, "So many images it is; the question is which share of them all."),
        ),
    ),
    Number(
        "paired-width",
        f"The same images: how wide is half of the 95 % interval of that loss? ({Z95} standard errors; both networks "
        f"have about {ACCURACY:.0%} right.)",
        ("For each image the difference is 1, -1 or 0: what is the variance of that?",
         f"{Z95} · √({LOST} + {GAINED}) / {IMAGES:,}, but for a hair: it is wider than the loss."),
        points=2, right=paired_width(LOST, GAINED, IMAGES),
        mistakes=(
            Mistake(Z95 * math.sqrt(2 * ACCURACY * (1 - ACCURACY) / IMAGES), "That is for two networks on images of "
                    "their own, five times as wide: on the same images only the answers that changed count."),
            Mistake(Z95 * math.sqrt(ACCURACY * (1 - ACCURACY) / IMAGES), "That is one network's accuracy, not the "
                    "difference of two."),
            Mistake(paired_width(LOST, GAINED, IMAGES) / Z95, f"That is one standard error: times {Z95}."),
            Mistake(Z95 * (LOST + GAINED) / IMAGES, "The standard error goes with the root of the changed answers."),
            Mistake(Z95 * math.sqrt(LOST - GAINED) / IMAGES, "Every changed answer adds to the variance, those that "
                    "were gained as well."),
            Mistake(2 * paired_width(LOST, GAINED, IMAGES), "That is the whole interval."),
        ),
    ),
    Number(
        "rare-class",
        f"A class is {RARE:.0%} of the test images. The original has {KNEW:.0%} of it right, the variant none; all "
        "else is as it was. Which share of accuracy is lost?",
        ("Of 10,000 images, how many are lost?", "0.01 · 0.9: a class can die, and the accuracy hardly moves."),
        right=RARE * KNEW,
        mistakes=(
            Mistake(KNEW, "That is what the class loses: of all images it is one in a hundred."),
            Mistake(RARE, "Some of it the original had wrong already: they cannot be lost."),
            Mistake(1, "That is the share of the class that is wrong now."),
            Mistake(RARE * (1 - KNEW), "That is what the original had wrong."),
            Mistake(KNEW / 10, "That is the mean over ten equal classes; this one is a hundredth of the images."),
            Mistake(1 - RARE, "That is the share of the images that are as they were."),
        ),
    ),
    Function(
        "worst-class",
        "Write worst_drop(before, after, labels): before and after are marks (N,) of what is right, labels (N,) class "
        "numbers. What does the class that suffers most lose of its own accuracy?",
        ("labels == one picks the images of a class.", "The mean of before less that of after, class by class; the "
        "max."),
        points=2, right=worst_drop, cases=_marks,
        mistakes=(
            Mistake(lambda b, a, y: b.mean() - a.mean(), "That is the loss over all images, in which a rare class "
                    "drowns."),
            Mistake(lambda b, a, y: drops(b, a, y).mean(), "That is the mean over the classes: the worst is asked "
                    "for."),
            Mistake(lambda b, a, y: drops(b, a, y).min(), "That is the class that suffers least."),
            Mistake(lambda b, a, y: -worst_drop(b, a, y), "A loss counts as a positive number: before less after."),
            Mistake(lambda b, a, y: np.unique(y)[drops(b, a, y).argmax()], "That is which class it is: how much does "
                    "it lose?"),
            Mistake(lambda b, a, y: max((b & (y == c)).mean() - (a & (y == c)).mean() for c in np.unique(y)), "Each "
                    "class's accuracy is a share of its own images, not of all."),
            Mistake(lambda b, a, y: 1 - min(a[y == c].mean() for c in np.unique(y)), "That is the error of the worst "
                    "class now; how much of it is new?"),
        ),
    ),
    Number(
        "pixel",
        f"A network was trained on pixels as shares of 255, less {MEAN}, over {STD}. What does it read for a pixel of "
        f"{PIXEL}?",
        ("First the share, then the mean, then the deviation.", f"({PIXEL} / 255 - {MEAN}) / {STD}."),
        right=_pixel(),
        mistakes=(
            Mistake(PIXEL / 255, "That is the share: it is standardised, too."),
            Mistake((PIXEL - MEAN) / STD, "Divide by 255 first: mean and deviation are of shares."),
            Mistake(_pixel(STD, MEAN), "Mean and deviation are swapped."),
            Mistake(PIXEL / 255 / STD - MEAN, "The mean goes before the deviation divides."),
            Mistake(PIXEL / 255 - MEAN, "The deviation is missing."),
            Mistake(2 * PIXEL / 255 - 1, "That is the range from -1 to 1, which other networks read."),
            Mistake(PIXEL, "That is the pixel as it is stored."),
        ),
    ),
    Function(
        "prepare",
        "Write prepare(pixels): pixels (N, H, W, 3), uint8 RGB, to (N, 3, H, W): shares of 255, less "
        f"{tuple(MEANS.tolist())}, over {tuple(STDS.tolist())}.",
        ("Standardise while the channels are the last axis, then move the axes.",
         "((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)."),
        points=2, right=prepared, cases=_pictures,
        mistakes=(
            Mistake(lambda x: _prepared(x.astype(float)), "Pixels go up to 255: divide by that first."),
            Mistake(lambda x: (x / 255).transpose(0, 3, 1, 2), "They are shares, not yet standardised."),
            Mistake(lambda x: _prepared(x[..., ::-1] / 255), "Blue comes first: that is what OpenCV reads. The network "
                    "was trained on RGB."),
            Mistake(lambda x: _prepared(x / 255, STDS, MEANS), "Mean and deviation are swapped."),
            Mistake(lambda x: _prepared(x / 255).transpose(0, 1, 3, 2), "Height and width are swapped: the picture "
                    "lies on its side."),
            Mistake(lambda x: prepared(x).transpose(0, 2, 3, 1), "The channels are last still: this network reads "
                    "(N, 3, H, W)."),
            Mistake(lambda x: prepared(x).transpose(0, 2, 3, 1).reshape(prepared(x).shape), "reshape keeps the order "
                    "of the numbers and tears the picture: transpose moves the axes."),
            Mistake(lambda x: (x / 127.5 - 1).transpose(0, 3, 1, 2), "That is the range from -1 to 1, which other "
                    "networks read."),
        ),
    ),
    Choice(
        "another-machine",
        "On a phone 9 of 64 canaries get another answer. All digests are right, and so is the preprocessing. From one "
        "int8 convolution on tensors differ. What is the matter?",
        ("What is left where the file and the inputs are the same?",),
        right="c",
        options={
            "a": "The file was damaged on its way.",
            "b": "The app prepares its pictures otherwise.",
            "c": "This machine's kernel of that operator computes something else.",
            "d": "The weights were rounded badly.",
            "e": "There are too few canaries to tell.",
        },
        wrong={
            "a": "Then its digest would be another.",
            "b": "Canaries are inputs that are prepared already, and the app's own preparing was compared.",
            "d": "They are the same bits here and there, and were right where it was measured.",
            "e": "One is enough: the same file and the same inputs give the same answers.",
        },
    ),
    Number(
        "order-of-sums",
        "What is (100,000,000 + 1) - 100,000,000 in float32?",
        ("How many digits has a float32?", "24 bits: around 10⁸ the next number is 8 away. To what is 10⁸ + 1 "
        "rounded?"),
        right=float(np.float32(1e8) + np.float32(1) - np.float32(1e8)), exact=True,
        mistakes=(
            Mistake(1, "So it is on paper. 100,000,001 has 27 bits, and a float32 has 24."),
            Mistake(8, "8 is how far the next float32 is away: 1 is nearer to nothing than to that."),
            Mistake(-1, "Rounding to the nearest changes nothing here: it does not take anything away."),
            Mistake(4, "Half a step is 4: what is less is rounded down."),
            Mistake(1e8, "That is the sum alone."),
        ),
    ),
    Choice(
        "runtime-noise",
        "Another runtime's outputs differ from those that were measured by 0.00001 of their size, and no answer "
        "changes. What now?",
        ("Think of the order in which a thousand products are added.",),
        right="b",
        options={
            "a": "The file is wrong: outputs must have the same bits.",
            "b": "Nothing: sums in another order are rounded otherwise.",
            "c": "Train again, with this runtime.",
            "d": "Export as float64.",
            "e": "Lower the number of threads until they agree.",
        },
        wrong={
            "a": "Two right kernels differ by so much: float32 carries seven digits.",
            "c": "There is nothing to be learnt: the answers are the same.",
            "d": "It would be slower on every device, for digits that no answer depends on.",
            "e": "Threads are one order among many: another machine has yet another.",
        },
    ),
)  # fmt: skip
