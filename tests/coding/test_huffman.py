"""Huffman codes: they decode back, and are as short as whole bits allow."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.coding.decode import BLOCK, Damaged, Streams, codes, symbols
from workbench.coding.huffman import LONGEST, code_lengths, encode


def back(values: np.ndarray, kinds: int) -> np.ndarray:
    code = encode(values, kinds)
    written = b"".join(code.write())
    assert len(written) == code.size
    return symbols(code.described, Streams(written, 0))


@settings(deadline=None, max_examples=60)
@given(values=st.lists(st.integers(0, 20), max_size=300))
def test_what_is_coded_comes_back(values: list[int]) -> None:
    array = np.array(values, dtype=np.uint8)
    assert back(array, 21).tolist() == values


@pytest.mark.parametrize("count", [BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7])
def test_blocks_meet_without_a_seam(count: int) -> None:
    values = np.random.default_rng(0).geometric(0.1, count).clip(0, 255)
    assert np.array_equal(back(values, 256), values)


@pytest.mark.parametrize("count", [2 * BLOCK, 4 * BLOCK - 1, 4 * BLOCK + 3])
def test_pieces_meet_without_a_seam(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece rarely ends with a whole byte: the next goes on in the middle of it."""
    values = np.random.default_rng(0).geometric(0.3, count).clip(0, 255)
    whole = encode(values, 256).write()
    monkeypatch.setattr("workbench.coding.huffman.PIECE", BLOCK)
    assert np.array_equal(back(values, 256), values)
    assert encode(values, 256).write() == whole


@settings(deadline=None, max_examples=60)
@given(counts=st.lists(st.integers(0, 1000), min_size=2, max_size=40).filter(lambda c: sum(x > 0 for x in c) > 1))
def test_the_expected_length_is_the_least(counts: list[int]) -> None:
    """Huffman's optimum is the sum of the merged weights, here merged by hand."""
    heap = [c for c in counts if c]
    heapq.heapify(heap)
    least = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        least += merged
        heapq.heappush(heap, merged)
    lengths = code_lengths(np.array(counts)).astype(int)
    assert int((lengths * np.array(counts)).sum()) == least
    probabilities = np.array([c for c in counts if c]) / sum(counts)
    entropy = -(probabilities * np.log2(probabilities)).sum()
    assert entropy - 1e-9 <= least / sum(counts) <= entropy + 1


def test_codes_are_those_of_a_textbook() -> None:
    """Lengths 1, 2, 3, 3 give the canonical code 0, 10, 110, 111."""
    assert codes(np.array([2, 1, 3, 3], np.uint8)).tolist() == [0b10, 0b0, 0b110, 0b111]


def test_no_code_is_longer_than_a_window() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 30:  # the worst case: without a limit the longest code would have 29 bits
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = code_lengths(np.array(fibonacci)).astype(int)
    assert lengths.max() <= LONGEST
    assert (2.0**-lengths).sum() <= 1  # Kraft: the code can be told apart
    values = np.repeat(np.arange(30), np.minimum(fibonacci, 50))
    assert np.array_equal(back(values, 30), values)


def test_a_cut_stream_is_told() -> None:
    code = encode(np.arange(50), 50)
    described, streams = code.described, code.write()
    with pytest.raises(Damaged, match="too early"):
        symbols(described, Streams(b"".join(streams)[:-3], 0))
