"""The certificate's test on simulated variants whose true loss is known, looked at after every 100 inputs.

    python benchmarks/certificate.py

Each row is 2,000 simulated variants: of so many inputs a share changes from right to wrong and another from wrong to
right. A pass where the true loss is the margin or more is false. For comparison: an exact one-sided McNemar-like test
against the margin (the normal approximation of Tango's score), looked at as often, which is what people do.
"""

from __future__ import annotations

import argparse

import numpy as np

from workbench.estimate import _score
from workbench.measure.certify import LOOK
from workbench.measure.sequential import Bounded, Unbounded

MARGIN, ALPHA = 0.01, 0.05
#: True loss, share of inputs that change.
WORLDS = ((0.01, 0.012), (0.01, 0.03), (0.01, 0.1), (0.012, 0.05), (0.0, 0.002), (0.0, 0.02), (0.003, 0.02),
          (0.005, 0.03), (0.015, 0.05), (0.03, 0.05))  # fmt: skip


def row(loss: float, changed: float, variants: int, inputs: int) -> str:
    """One line of the table."""
    rng = np.random.default_rng(0)
    looks = np.arange(LOOK - 1, inputs, LOOK)
    passed, failed, naive, wide, needed = 0, 0, 0, 0, []
    for _ in range(variants):
        thrown = rng.random(inputs)
        lost, gained = thrown < (changed + loss) / 2, thrown > 1 - (changed - loss) / 2
        gains = gained.astype(float) - lost
        yes = Bounded(ALPHA).evidence(gains, -MARGIN)[looks] >= 0
        no = Bounded(ALPHA).evidence(-gains, MARGIN)[looks] >= 0
        first = [int(np.argmax(one)) if one.any() else inputs for one in (yes, no)]
        passed += first[0] < first[1]
        failed += first[1] < first[0]
        if min(first) < inputs:
            needed.append(looks[min(first)] + 1)
        wide += bool((Unbounded(ALPHA, 30 * MARGIN).evidence(gains, -MARGIN)[looks] >= 0).any())
        sums = [(int(lost[: n + 1].sum()), int(gained[: n + 1].sum()), int(n + 1)) for n in looks]
        naive += any(_score(*one, -MARGIN) > 1.645 for one in sums)
    median = f"{np.median(needed):,.0f}" if needed else "-"
    shares = " | ".join(f"{100 * one / variants:.2f}" for one in (passed, failed, wide, naive))
    return f"| {100 * loss:g} | {100 * changed:g} | {shares} | {median} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=int, default=2000)
    parser.add_argument("--inputs", type=int, default=10000)
    given = parser.parse_args()
    print(f"margin {100 * MARGIN:g} points, alpha {ALPHA}, {given.variants:,} variants, {given.inputs:,} inputs\n")
    print("| true loss, points | inputs that change, % | passes, % | fails, % | passes without bounds, % "
          "| a usual test passes, % | inputs to the answer, median |\n" + "| --- " * 7 + "|")  # fmt: skip
    for world in WORLDS:
        print(row(*world, given.variants, given.inputs), flush=True)


if __name__ == "__main__":
    main()
