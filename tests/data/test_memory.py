"""Batches are what they were; of long passes no more memory stays than one batch and its neighbours need."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from workbench.data import memory
from workbench.data.memory import bounded

#: Batches of 16 MB, each freed between blocks that stay: without giving back, a gigabyte is resident at the end.
PASS = """
import numpy, resource, sys
from workbench.data.memory import bounded
import torch
kept = []
def batches():
    for index in range(200):
        one = torch.zeros(4_000_000)
        kept.append(numpy.ones(20_000 + index))
        yield one, None
for inputs, _ in bounded(batches()):
    other = inputs * 2
with open("/proc/self/statm") as file:
    print(int(file.read().split()[1]) * resource.getpagesize() // 2**20)
"""


def test_nothing_is_lost_and_memory_is_given_back_between(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(memory, "_trim", lambda: given.append)
    monkeypatch.setattr(memory, "EVERY", 100)
    pairs = [(torch.full((10,), float(index)), index) for index in range(10)]  # 40 bytes each
    found = list(bounded(iter(pairs)))
    assert [label for _, label in found] == list(range(10))
    assert all(torch.equal(one, pair[0]) for (one, _), pair in zip(found, pairs, strict=True))
    assert len(given) == 3  # after the third, the sixth and the ninth


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_long_pass_stays_small() -> None:
    done = subprocess.run([sys.executable, "-c", PASS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 700
