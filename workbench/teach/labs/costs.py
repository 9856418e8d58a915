"""Lab 1, what costs: weights, multiply-accumulates, memory access, energy; and four guidelines (Ma et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.cost.energy import PJ_PER_DRAM_BYTE, PJ_PER_MAC
from workbench.teach.judging import Choice, Function, Mistake, Number

FLOAT = 4  # bytes of a float32
#: The convolution of the first questions: channels in and out, kernel, side of what it reads and of what it makes.
C_IN, C_OUT, KERNEL, SIDE, HALVED = 64, 128, 3, 28, 14
#: The pointwise layers of the guidelines: equal widths, unequal ones, groups.
WIDTH, NARROW, WIDE, GROUPS = 128, 32, 512, 16
#: A layer on a machine: its MACs and bytes, and how many of each the machine does in a second (Williams et al. 2009).
MACS, BYTES, MACS_PER_S, BYTES_PER_S = 20e6, 10e6, 100e9, 20e9

PER_MAC, PER_BYTE = PJ_PER_MAC[32], PJ_PER_DRAM_BYTE


@dataclass(frozen=True)
class Totals:
    """What a network has: multiply-accumulates, weights, and numbers of its maps read and written, for one image."""

    macs: int
    weights: int
    moved: int


#: As torchvision defines the two, counted by `wb.cost` (a test counts again); Krizhevsky 2014, Iandola et al. 2016.
ALEXNET = Totals(714_188_480, 61_100_840, 1_314_536)
SQUEEZENET = Totals(818_924_576, 1_248_424, 15_686_136)
#: Of AlexNet, the three linear layers, and all that they multiply.
LINEAR = 9216 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
LINEAR_MACS = 9216 * 4096 + 4096 * 4096 + 4096 * 1000
FIRST_LINEAR = 9216 * 4096 + 4096

WEIGHTS = KERNEL**2 * C_IN * C_OUT


def pointwise_bytes(c_in: int, c_out: int) -> int:
    """Memory access of a 1 x 1 layer in bytes: its maps and its weights, once each (Ma et al. 2018, eq. 1)."""
    return FLOAT * (SIDE**2 * (c_in + c_out) + c_in * c_out)


def energy_uj(macs: float, weight_bytes: float, map_bytes: float, batch: int) -> float:
    """Microjoules an image: the weights are read once for the batch, the maps for each image (Horowitz 2014)."""
    return (PER_MAC * macs + PER_BYTE * (map_bytes + weight_bytes / batch)) / 1e6


def _of(one: Totals, batch: int) -> float:
    return energy_uj(one.macs, FLOAT * one.weights, FLOAT * one.moved, batch)


def break_even() -> int:
    """The smallest batch for which an image costs AlexNet less than SqueezeNet."""
    return next(batch for batch in range(1, 1000) if _of(ALEXNET, batch) < _of(SQUEEZENET, batch))


def _cases() -> list[tuple[float, float, float, int]]:
    return [
        (one.macs, FLOAT * one.weights, FLOAT * one.moved, batch)
        for one in (ALEXNET, SQUEEZENET, Totals(10**6, 10**5, 10**5)) for batch in (1, 4, 48)
    ]  # fmt: skip


QUESTIONS = (
    Number(
        "conv-params",
        f"How many weights and biases has a {KERNEL} × {KERNEL} convolution from {C_IN} to {C_OUT} channels?",
        ("Each output channel has a filter of its own. How large is it?",
         f"A filter is {KERNEL} × {KERNEL} × {C_IN}; there are {C_OUT} of them, and {C_OUT} biases."),
        right=WEIGHTS + C_OUT, exact=True, unit="weights",
        mistakes=(
            Mistake(WEIGHTS, "The biases are missing: one for each channel that is made."),
            Mistake(WEIGHTS + C_IN, "A bias belongs to a channel that is made, not to one that is read."),
            Mistake(C_IN * C_OUT + C_OUT, "A 3 × 3 kernel has nine weights for each pair of channels, not one."),
            Mistake(KERNEL * C_IN * C_OUT + C_OUT, "3 × 3 are nine weights for each pair of channels, not three."),
            Mistake(KERNEL**2 * C_OUT + C_OUT, "That is depthwise: here each output reads all of the inputs."),
            Mistake(HALVED**2 * WEIGHTS, "Those are the MACs: each weight is used at every place, and stored once."),
        ),
    ),
    Number(
        "conv-macs",
        f"The same convolution reads a map of {SIDE} × {SIDE} with stride 2 and padding 1. How many MACs has it?",
        ("How large is the map that it makes? And what does one number of it take?",
         f"{HALVED} × {HALVED} places, {C_OUT} channels, and for each number of them 9 · {C_IN} products."),
        right=HALVED**2 * WEIGHTS, unit="MACs",
        mistakes=(
            Mistake(SIDE**2 * WEIGHTS, "Stride 2 leaves every second place out, in both directions: a map of 14 × 14."),
            Mistake((HALVED - 1) ** 2 * WEIGHTS, "Without padding the map would be 13 × 13; with it, it is 14 × 14."),
            Mistake(WEIGHTS, "Those are the weights: each is used at every place of the map that is made."),
            Mistake(2 * HALVED**2 * WEIGHTS, "A multiply-accumulate is one here; whoever counts FLOPs counts two."),
            Mistake(HALVED**2 * C_IN * C_OUT, "Each number that is made takes nine products for each channel read."),
            Mistake(HALVED * WEIGHTS, "That is one row of the map."),
        ),
    ),
    Number(
        "memory-access",
        f"A 1 × 1 convolution from {WIDTH} to {WIDTH} channels on a map of {SIDE} × {SIDE}, all in float32, no bias: "
        "how many bytes must be read and written at least?",
        ("What is read, what is written? Two maps, and something else.",
         f"{SIDE}² · ({WIDTH} + {WIDTH}) numbers of maps and {WIDTH}² weights of four bytes (Ma et al. 2018, eq. 1)."),
        right=pointwise_bytes(WIDTH, WIDTH), unit="bytes",
        mistakes=(
            Mistake(pointwise_bytes(WIDTH, WIDTH) / FLOAT, "Those are numbers; a float32 takes four bytes."),
            Mistake(FLOAT * SIDE**2 * 2 * WIDTH, "Those are the two maps: the weights are read, too."),
            Mistake(FLOAT * WIDTH**2, "Those are the weights: the maps are read and written, too."),
            Mistake(FLOAT * (SIDE**2 * WIDTH + WIDTH**2), "One map is read and another is written: both count."),
            Mistake(SIDE**2 * WIDTH**2, "Those are the MACs. Each number is moved once and used many times."),
            Mistake(FLOAT * (SIDE * 2 * WIDTH + WIDTH**2), "A map has 28 rows of 28 places."),
        ),
    ),
    Number(
        "unequal-widths",
        f"From {NARROW} to {WIDE} channels it has as many MACs. How many times the bytes does it move?",
        (f"Which of the three parts is another, if {NARROW} · {WIDE} = {WIDTH}²?",
         f"(28² · ({NARROW} + {WIDE}) + {WIDTH}²) over (28² · ({WIDTH} + {WIDTH}) + {WIDTH}²)."),
        points=2, right=pointwise_bytes(NARROW, WIDE) / pointwise_bytes(WIDTH, WIDTH),
        mistakes=(
            Mistake((NARROW + WIDE) / (2 * WIDTH), "Those are the maps alone; the weights are as many as they were."),
            Mistake(1, "The MACs are the same, and the weights; a sum of two widths is least when they are equal."),
            Mistake(WIDE / NARROW, "That is how unequal they are."),
            Mistake(WIDE / WIDTH, "That is the map that is written; the one that is read became smaller."),
            Mistake(pointwise_bytes(WIDTH, WIDTH) / pointwise_bytes(NARROW, WIDE), "That is the other way round."),
            Mistake(NARROW / WIDTH, "That is the map that is read; the one that is written became larger."),
        ),
    ),
    Number(
        "grouped-width",
        f"A 1 × 1 layer in {GROUPS} groups, as wide at its output as at its input, has the MACs of one from {WIDTH} to "
        f"{WIDTH} channels without groups. How wide is it?",
        ("Of a grouped layer each output reads only c / g of the inputs.", "c² / 16 = 128²."),
        right=WIDTH * GROUPS**0.5, exact=True, unit="channels",
        mistakes=(
            Mistake(WIDTH * GROUPS, "Both widths grow, so the MACs grow with the square of it."),
            Mistake(WIDTH / GROUPS, "Groups take MACs away: at equal MACs the layer becomes wider."),
            Mistake(WIDTH / GROUPS**0.5, "The root is right, the direction is not: groups take MACs away."),
            Mistake(WIDTH, "At the same width it has a sixteenth of the MACs."),
            Mistake(WIDTH * GROUPS / 2, "MACs are c · c / g: one group reads c / g, and the whole layer makes c."),
        ),
    ),
    Number(
        "roofline",
        f"A layer has {MACS / 1e6:g} million MACs and moves {BYTES / 1e6:g} MB, on a machine of {MACS_PER_S / 1e9:g} "
        f"thousand million MACs and {BYTES_PER_S / 1e9:g} GB a second. How many milliseconds at least?",
        ("How long does each of the two take? Both go on at the same time.",
         "0.2 ms of arithmetic beside 0.5 ms of memory: which of them is waited for?"),
        right=1e3 * max(MACS / MACS_PER_S, BYTES / BYTES_PER_S), unit="ms",
        mistakes=(
            Mistake(1e3 * MACS / MACS_PER_S, "That is the arithmetic, and it waits for its numbers."),
            Mistake(1e3 * (MACS / MACS_PER_S + BYTES / BYTES_PER_S), "They overlap: while it multiplies, the next "
                    "numbers come. The longer of the two counts."),
            Mistake(1e3 * (MACS / MACS_PER_S + BYTES / BYTES_PER_S) / 2, "Not the mean: the longer one is waited for."),
            Mistake(MACS / BYTES, "That is the layer's arithmetic intensity, MACs for each byte."),
            Mistake(MACS_PER_S / BYTES_PER_S, "That is how many MACs a byte the machine needs to be busy; this layer "
                    "has fewer."),
            Mistake(1e3 * (BYTES / BYTES_PER_S - MACS / MACS_PER_S), "That is how long the arithmetic waits."),
        ),
    ),
    Choice(
        "what-an-interval-says",
        "The 1:4 layers took 1.01 times as long as the equal ones, 95 % interval [0.97, 1.05]. What follows?",
        ("Which slowdowns are compatible with what was measured?",),
        right="d",
        options={
            "a": "Unequal widths cost nothing here.",
            "b": "They cost 1 %.",
            "c": "The guideline is wrong.",
            "d": "This measurement cannot tell whether they cost time; if they do, it is hardly more than 5 %.",
            "e": "They cost time with a probability of 95 %.",
            "f": "The measurement failed.",
        },
        wrong={
            "a": "A cost of 4 % would be just as compatible with the interval: not seen is not zero.",
            "b": "1.01 is the best guess, and the interval holds less than 1, too.",
            "c": "One machine, one pair of widths, and an interval that is too wide: it says nothing against it.",
            "e": "The interval would hold the true ratio in 95 of 100 such measurements; it says nothing of this kind.",
            "f": "It did what it could in its time: measuring longer makes the interval narrower.",
        },
    ),
    Choice(
        "fragments",
        "Many small layers in a row take longer than one wide one of the same MACs. Why?",
        ("What is done once for every layer, whatever its size?",),
        right="b",
        options={
            "a": "Small layers have more weights.",
            "b": "Each layer has to be started, and reads and writes maps of its own.",
            "c": "Small numbers are multiplied more slowly.",
            "d": "MACs of small layers are counted twice.",
            "e": "They are computed in the wrong order.",
            "f": "Deeper networks need higher precision.",
        },
        wrong={
            "a": "At equal MACs on equal maps they have as many.",
            "c": "A product takes the same time, whatever its factors.",
            "d": "Every one is counted once; the table shows equal MACs.",
            "e": "There is but one order for layers in a row.",
            "f": "All of them compute in float32.",
        },
    ),
    Number(
        "moved-number",
        "By Horowitz's figures: how many float32 MACs take as much energy as one float32 from DRAM?",
        ("DRAM: 1.3 nJ for 64 bits. A MAC: 3.7 pJ and 0.9 pJ.", "650 pJ for 32 bits, over 4.6 pJ."),
        right=FLOAT * PER_BYTE / PER_MAC,
        mistakes=(
            Mistake(8 * PER_BYTE / PER_MAC, "1.3 nJ bring 64 bits, which are two float32."),
            Mistake(PER_BYTE / PER_MAC, "That is for one byte; a float32 has four."),
            Mistake(FLOAT * PER_BYTE / 3.7, "That is the multiplication alone; a MAC adds, too."),
            Mistake(FLOAT * PER_BYTE / 0.9, "That is the addition alone; a MAC multiplies, too."),
            Mistake(PER_MAC / (FLOAT * PER_BYTE), "That is the other way round."),
            Mistake(FLOAT * PER_BYTE, "Those are picojoules; how many MACs are they worth?"),
        ),
    ),
    Number(
        "linear-share",
        "Which share of AlexNet's weights and biases stands in its three linear layers?",
        ("They go from 9216 to 4096, to 4096, to 1000.", "9216 · 4096 + 4096 · 4096 + 4096 · 1000, over 61 million."),
        right=LINEAR / ALEXNET.weights,
        mistakes=(
            Mistake(1 - LINEAR / ALEXNET.weights, "That is the share of the convolutions."),
            Mistake(LINEAR_MACS / ALEXNET.macs, "That is their share of the MACs: a linear weight is used once."),
            Mistake(FIRST_LINEAR / ALEXNET.weights, "That is the first of the three."),
            Mistake(3 / 8, "That is their share of the layers, and layers are not alike."),
            Mistake(ALEXNET.weights / LINEAR, "That is the other way round."),
        ),
    ),
    Function(
        "energy-per-image",
        "Write energy_per_image(macs, weight_bytes, map_bytes, batch) in microjoules: the weights are read once for "
        "the whole batch, the maps are moved for each image.",
        ("What does an image pay alone, and what do all images of a batch share?",
         "(4.6 · macs + 162.5 · (map_bytes + weight_bytes / batch)) / 1e6."),
        points=2, right=energy_uj, cases=_cases,
        mistakes=(
            Mistake(lambda m, w, a, b: energy_uj(m, w, a, 1), "Every image pays for all weights here, whatever the "
                    "batch: they are read once for all of it."),
            Mistake(lambda m, w, a, b: energy_uj(m, w, a, 1) / b, "Everything is shared here; MACs and maps are each "
                    "image's own."),
            Mistake(lambda m, w, a, b: energy_uj(m, w, 0, b), "The maps are missing: they go to memory and back."),
            Mistake(lambda m, w, a, b: energy_uj(0, w, a, b), "The arithmetic is missing: 4.6 pJ for each MAC."),
            Mistake(lambda m, w, a, b: energy_uj(m, w, a, b) * 1e6, "That is in picojoules."),
            Mistake(lambda m, w, a, b: energy_uj(m, w, a, b) * b, "That is for the batch; asked is for an image."),
            Mistake(lambda m, w, a, b: energy_uj(m, 0, a, b), "The weights are missing."),
        ),
    ),
    Number(
        "break-even-batch",
        "What is the smallest batch for which an image costs AlexNet less energy than SqueezeNet?",
        ("Try batches in a loop, with the totals of the table.",
         "next(b for b in range(1, 100) if energy of AlexNet at b < energy of SqueezeNet at b)."),
        points=2, right=break_even(), exact=True,
        mistakes=(
            Mistake(1, "For a single image AlexNet pays for all of its weights: it costs three times as much."),
            Mistake(break_even() - 1, "There AlexNet still costs a little more."),
            Mistake(break_even() + 1, "One too many. Without the MACs it would be so; SqueezeNet has more of them."),
            Mistake(round(ALEXNET.weights / SQUEEZENET.weights), "That is how many times the weights it has; maps and "
                    "MACs count beside them."),
            Mistake(round(SQUEEZENET.moved / ALEXNET.moved), "That is how many times the maps SqueezeNet moves; the "
                    "weights count beside them."),
            Mistake(1000, "Far fewer are enough: divide the bytes of the weights by those of the maps."),
        ),
    ),
    Choice(
        "fewer-weights-more-energy",
        "SqueezeNet has a fiftieth of AlexNet's weights. Why can an image cost it more energy?",
        ("Which of the three totals is larger in SqueezeNet?",),
        right="c",
        options={
            "a": "Its weights are larger numbers.",
            "b": "1 × 1 convolutions cannot be computed efficiently.",
            "c": "It moves twelve times as many numbers of maps; weights can be shared by a batch, maps cannot.",
            "d": "It has fifty times as many layers.",
            "e": "It has fifty times as many MACs.",
            "f": "Its file is compressed and has to be unpacked.",
        },
        wrong={
            "a": "A float32 costs the same, whatever its value.",
            "b": "They are matrix products, which every machine does best.",
            "d": "It has 26 layers with weights, and AlexNet 8.",
            "e": "It has 15 % more, which costs little beside what is moved.",
            "f": "Deep Compression made its file smaller still; here neither is compressed.",
        },
    ),
)  # fmt: skip
