"""Whether paired intervals cover what they should, and how often a true loss is found; simulated, seeded.

python benchmarks/paired.py [runs]
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import cache

import numpy as np

from workbench.estimate import Z95, Estimate, mcnemar, paired_change, wilson
from workbench.measure.paired import Sample, resample, resample_whole

#: Inputs, the share that the variant alone gets wrong, the share that it alone gets right.
SETTINGS = (
    (10_000, 0.0125, 0.0075), (10_000, 0.0100, 0.0100), (10_000, 0.0030, 0.0020), (10_000, 0.0010, 0.0010),
    (10_000, 0.0010, 0.0005), (10_000, 0.0005, 0.0005), (10_000, 0.0004, 0.0003), (2_000, 0.0200, 0.0100),
    (2_000, 0.0020, 0.0015), (500, 0.0300, 0.0100), (100, 0.1000, 0.0500), (50, 0.1000, 0.1000),
)  # fmt: skip
Method = Callable[[int, int, int], tuple[float, float]]


def wald(lost: int, gained: int, n: int) -> tuple[float, float]:
    change, half = (gained - lost) / n, Z95 * math.sqrt(lost + gained - (gained - lost) ** 2 / n) / n
    return change - half, change + half


def bonett_price(lost: int, gained: int, n: int) -> tuple[float, float]:
    """Bonett and Price 2012: one pair more of each kind."""
    one, two = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
    half = Z95 * math.sqrt((one + two - (two - one) ** 2) / (n + 2))
    return two - one - half, two - one + half


def agresti_min(lost: int, gained: int, n: int) -> tuple[float, float]:
    """Agresti and Min 2005: half a pair more in each cell of the table."""
    change, size = (gained - lost) / (n + 2), n + 2
    half = Z95 * math.sqrt(lost + gained + 1 - (gained - lost) ** 2 / size) / size
    return change - half, change + half


def newcombe(lost: int, gained: int, n: int) -> tuple[float, float]:
    """Newcombe 1998, method 10, where 93 % of the other inputs are right in both."""
    both = round(0.93 * (n - lost - gained))
    neither = n - lost - gained - both
    before, after = wilson(both + lost, n), wilson(both + gained, n)
    product = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    minor = both * neither - lost * gained
    minor = minor - n / 2 if minor > n / 2 else min(minor, 0)
    phi = minor / math.sqrt(product) if product else 0.0
    a, b = after.value - after.low, before.high - before.value
    c, d = after.high - after.value, before.value - before.low
    change = after.value - before.value
    low = change - math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))
    return low, change + math.sqrt(max(c * c - 2 * phi * c * d + d * d, 0.0))


def tango(lost: int, gained: int, n: int) -> tuple[float, float]:
    found = paired_change(lost, gained, n)
    return found.low, found.high


METHODS: dict[str, Method] = {
    "Tango (ours)": tango, "Newcombe 10": newcombe, "Bonett-Price": bonett_price, "Agresti-Min": agresti_min,
    "Wald": wald,
}  # fmt: skip


def table(head: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def coverage(runs: int) -> None:
    """Each setting drawn `runs` times, and ours without the chance of drawing."""
    rows, hits, total, random = [], dict.fromkeys(METHODS, 0), 0, np.random.default_rng(0)
    for n, lost, gained in SETTINGS:
        drawn = random.multinomial(n, [lost, gained, 1 - lost - gained], size=runs)
        known = {name: cache(method) for name, method in METHODS.items()}
        row = [f"{n:,}", f"{100 * (lost - gained):.2f}", f"{n * (lost + gained):.0f}"]
        for name, method in known.items():
            ends = [method(int(b), int(c), n) for b, c, _ in drawn]
            covered = sum(low <= gained - lost <= high for low, high in ends)
            hits[name] += covered
            row.append(f"{100 * covered / runs:.2f}")
        row.insert(4, f"{100 * by_enumeration(n, lost, gained):.2f}")
        total += runs
        rows.append(row)
    rows.append(["all", "", "", *(f"{100 * hit / total:.2f}" for hit in hits.values())])
    rows[-1].insert(4, "")
    ours, *others = METHODS
    print(f"Coverage of 95 % intervals in {runs:,} runs a row, %\n")
    table(["inputs", "true loss, points", "discordant, expected", ours, "ours, exactly", *others], rows)


def by_enumeration(n: int, lost: float, gained: float) -> float:
    """The coverage of ours without chance: every outcome that occurs, with its probability."""
    most = [int(n * share + 9 * math.sqrt(n * share) + 9) for share in (lost, gained)]
    covered = 0.0
    for b in range(min(n, most[0]) + 1):
        for c in range(min(n - b, most[1]) + 1):
            chance = math.exp(_log_chance(b, c, n, lost, gained))
            if chance > 1e-9 and paired_change(b, c, n).holds(gained - lost):
                covered += chance
    return covered


def _log_chance(b: int, c: int, n: int, lost: float, gained: float) -> float:
    rest = n - b - c
    ways = math.lgamma(n + 1) - math.lgamma(b + 1) - math.lgamma(c + 1) - math.lgamma(rest + 1)
    return ways + b * math.log(lost) + c * math.log(gained) + rest * math.log(1 - lost - gained)


def power(runs: int) -> None:
    """A true loss of 0.5 points on 10,000 inputs of which 2 % are answered otherwise."""
    n, lost, gained = 10_000, 0.0125, 0.0075
    drawn = np.random.default_rng(99).multinomial(n, [lost, gained, 1 - lost - gained], size=runs)
    right = np.random.default_rng(98).binomial(drawn[:, 2], 0.92)  # of those that both answer alike
    found = [paired_change(int(b), int(c), n) for b, c, _ in drawn]
    apart = [(wilson(int(r + b), n), wilson(int(r + c), n)) for r, (b, c, _) in zip(right, drawn, strict=True)]
    same = np.random.default_rng(97).multinomial(n, [0.01, 0.01, 0.98], size=runs)
    false = np.mean([not paired_change(int(b), int(c), n).holds(0) for b, c, _ in same])
    rows = [
        ["paired interval leaves out none", f"{100 * np.mean([one.high < 0 for one in found]):.1f}"],
        [
            "McNemar's exact test, p < 0.05",
            f"{100 * np.mean([mcnemar(int(b), int(c)) < 0.05 for b, c, _ in drawn]):.1f}",
        ],
        ["unpaired intervals do not overlap", f"{100 * np.mean([two.high < one.low for one, two in apart]):.1f}"],
        ["paired interval leaves out none where there is no loss", f"{100 * false:.1f}"],
    ]
    print(f"A true loss of 0.5 points, 2 % of 10,000 answers differ: found in % of {runs:,} runs\n")
    table(["by", "found, %"], rows)


def other(runs: int) -> None:
    """Figures that are no share of inputs: the bootstrap on the same resamples."""
    rows = []
    for name, n, draw, truth in (
        ("mean absolute error", 1000, errors, 0.05), ("mean absolute error", 50, errors, 0.05), ("F1", 1000, f1, None),
    ):  # fmt: skip
        found = [draw(np.random.default_rng((7, run)), n) for run in range(runs)]
        true = truth if truth is not None else float(np.mean([one.value for one, _ in found]))
        width = np.median([paired.high - paired.low for paired, _ in found])
        alone = np.median([single.high - single.low for _, single in found])
        covered = np.mean([paired.holds(true) for paired, _ in found])
        rows.append([name, f"{n:,}", f"{100 * covered:.1f}", f"{width / alone:.2f}"])
    print(f"Other figures, {runs:,} runs a row\n")
    table(["figure", "inputs", "covered, %", "width over that of one figure's own interval"], rows)


def errors(random: np.random.Generator, n: int) -> tuple[Estimate, Estimate]:
    """Errors of an original, and of a variant that are 0.05 larger on average."""
    before = np.abs(random.normal(0, 1, n))
    one, two = (_mean(values) for values in (before, before + random.exponential(0.05, n)))
    return one.change_to(two), one.estimate


def f1(random: np.random.Generator, n: int) -> tuple[Estimate, Estimate]:
    """F1 of two classifiers that share most of their errors."""
    labels = random.integers(2, size=n)
    before = labels + random.normal(0, 0.7, n)
    after = before + random.normal(0, 0.1, n)

    def of(scores: np.ndarray) -> Sample:
        def figure(i: np.ndarray) -> float:
            said, true = scores[i] > 0.5, labels[i] == 1
            return float(2 * (said & true).sum() / (said.sum() + true.sum()))

        return resample_whole(figure, n)

    one, two = of(before), of(after)
    return one.change_to(two), one.estimate


def _mean(values: np.ndarray) -> Sample:
    return resample(values[:, None], lambda sums: sums[..., 0] / len(values))


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    coverage(wanted)
    power(wanted)
    other(min(wanted, 500))
