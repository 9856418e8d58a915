"""Lab 3, filters taken apart: smaller kernels, separable ones, groups, shuffles and shifts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.teach.judging import Choice, Function, Mistake, Number

Array = npt.NDArray[Any]

#: Channels, kernel and groups of the questions.
C, KERNEL, GROUPS = 96, 3, 4


def shuffled(maps: Array, groups: int) -> Array:
    """Channels dealt out over groups: of each group the first, then of each the second (Zhang et al. 2018)."""
    count = maps.shape[1]
    return maps.reshape(len(maps), groups, count // groups, -1).swapaxes(1, 2).reshape(maps.shape)


def _maps() -> list[tuple[Array, int]]:
    rng = np.random.default_rng(1)
    return [(rng.normal(size=(2, c, 2, 3)), g) for c, g in ((6, 2), (12, 3), (8, 8), (20, 5))]


QUESTIONS = (
    Number(
        "two-3x3",
        "A 5 × 5 convolution becomes two 3 × 3, all with as many channels in as out. Which share of the weights is "
        "left?",
        ("What do two 3 × 3 see together? And what do they weigh?", "Twice nine, over twenty-five."),
        right=18 / 25,
        mistakes=(
            Mistake(9 / 25, "That is one 3 × 3, which sees less: it takes two to see 5 × 5."),
            Mistake(25 / 18, "That is the other way round: how many times more the 5 × 5 has."),
            Mistake(7 / 25, "That is the share that is saved."),
            Mistake(27 / 25, "Two of them see 5 × 5; three see 7 × 7."),
            Mistake(2 * 9 / 49, "The kernel that they replace is 5 × 5; three would replace 7 × 7."),
        ),
    ),
    Number(
        "spatial",
        "A 3 × 3 convolution becomes 3 × 1 and 1 × 3 with as many channels between as outside. Which share is left?",
        ("How many weights has each for a pair of channels?", "Three and three, over nine."),
        right=2 / 3,
        mistakes=(
            Mistake(1 / 3, "That is one of the two: saved is a third, left are two."),
            Mistake(1.5, "That is the other way round."),
            Mistake(4 / 9, "Their weights are added, three and three."),
            Mistake(1.0, "3 × 1 and 1 × 3 have three weights each for a pair of channels, not nine together."),
            Mistake(2 / 9, "Each has three weights for a pair of channels, not one."),
        ),
    ),
    Number(
        "separable",
        f"Depthwise {KERNEL} × {KERNEL}, then 1 × 1, in place of a {KERNEL} × {KERNEL} convolution from {C} to {C} "
        "channels. Which share of the MACs is left?",
        ("For a place: 9 for each channel, then 96 for each channel that is made.",
         "Over 9 · 96 for each channel: 1 / 96 + 1 / 9 (Howard et al. 2017, section 3.1)."),
        points=2, right=1 / C + 1 / KERNEL**2,
        mistakes=(
            Mistake(1 / KERNEL**2, "That is the 1 × 1 alone: small beside it, but there, is the depthwise layer."),
            Mistake(1 / C, "That is the depthwise layer alone; most of the work is in the 1 × 1."),
            Mistake(1 / (1 / C + 1 / KERNEL**2), "That is the other way round: how many times fewer."),
            Mistake(1 / C * 1 / KERNEL**2, "The two layers stand one after the other: their MACs are added."),
            Mistake(1 - 1 / C - 1 / KERNEL**2, "That is the share that is saved."),
        ),
    ),
    Number(
        "groups",
        f"A 1 × 1 convolution from {C} to {C} channels in {GROUPS} groups: how many weights?",
        ("Each group reads a quarter of the channels and makes a quarter.", "Four times 24 · 24."),
        right=C * C // GROUPS, exact=True, unit="weights",
        mistakes=(
            Mistake(C * C, "That is without groups."),
            Mistake(C * C // GROUPS**2, "That is one group of the four."),
            Mistake(C * C * GROUPS, "Groups leave connections out; none are added."),
            Mistake(C // GROUPS, "That is how many channels a group reads."),
            Mistake(C, "So many it would be with as many groups as channels: then it is depthwise."),
        ),
    ),
    Function(
        "shuffle",
        "Write shuffled(maps, groups) for maps (N, C, H, W): of each group the first channel, then of each the second, "
        "and so on.",
        ("Give the channels an axis of groups and one of places within them; what has to be swapped?",
         "reshape to (N, groups, C // groups, ...), swap the second and the third axis, reshape back."),
        points=2, right=shuffled, cases=_maps,
        mistakes=(
            Mistake(lambda x, g: x, "The channels are where they were: after the reshape two axes must be swapped."),
            Mistake(lambda x, g: shuffled(x, x.shape[1] // g), "It is dealt out over C // groups groups: the axis of "
                    "groups comes first in the reshape."),
            Mistake(lambda x, g: x[:, ::-1], "That turns the channels round."),
            Mistake(lambda x, g: np.roll(x, x.shape[1] // g, 1), "That moves whole groups: none reads of another."),
            Mistake(lambda x, g: x.reshape(len(x), g, -1).swapaxes(1, 2).reshape(x.shape), "The pixels went along: "
                    "swap channels alone, with rows and columns on axes of their own."),
        ),
    ),
    Choice(
        "why-shuffle",
        "Why are channels shuffled between two grouped convolutions?",
        ("Follow one input channel through both layers.",),
        right="c",
        options={
            "a": "It makes them faster.",
            "b": "It saves weights.",
            "c": "Without it no group would ever see what the others saw.",
            "d": "It normalises the channels.",
            "e": "Groups must have equal sizes.",
        },
        wrong={
            "a": "It costs time: a shuffle moves every number and computes nothing.",
            "b": "A shuffle has no weights, and saves none.",
            "d": "It changes the order of the channels and nothing of their values.",
            "e": "They have equal sizes with or without it.",
        },
    ),
    Choice(
        "shift",
        "A shift moves each channel by a pixel: no weights, no MACs (Wu et al. 2018). Why does it take time?",
        ("What has to happen to every number of the map?",),
        right="a",
        options={
            "a": "Every number is read and written: memory access is not counted in MACs.",
            "b": "It has hidden MACs.",
            "c": "Its weights are large.",
            "d": "It is computed in float64.",
            "e": "It does not: layers without MACs take no time.",
        },
        wrong={
            "b": "There is nothing to multiply.",
            "c": "It has none.",
            "d": "It moves the numbers as they are.",
            "e": "Measure it: latency follows from what is moved, too.",
        },
    ),
)  # fmt: skip
