"""How large the file of a network will be once it is compressed, from its shapes and what is known of its weights.

Zeros and weights of few values cost nothing while a network runs and nothing less in the file; they pay when it is
stored or sent. How much is found by compressing made-up weights of the same kind, not by a formula that was fitted.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from workbench.cost.file_size import file_bytes, weight_bytes
from workbench.cost.layer import Layer
from workbench.cost.network import Network

ZSTD_LEVEL = 9
_CHANNELS, _EACH = 64, 576  # of the made-up weights
#: What is left of names, attributes and shapes: the same words again and again.
_TEXT = 0.2
#: Parts of a byte that are counted, so that sums do not depend on the order in which they are made.
_GRAIN = 2**20


def compressed_bytes(network: Network) -> float:
    """Bytes that a network's file will have once it is compressed with zstd. An estimate, as `file_bytes`."""
    return _TEXT * file_bytes(network) + network.total(_beyond)


def _beyond(layer: Layer) -> float:
    """Bytes that a layer's weights take once they are compressed, beyond what text of their length would."""
    size = weight_bytes(layer)
    return round(size * (ratio(layer.stored_bits or layer.bits, *layer.pattern) - _TEXT) * _GRAIN) / _GRAIN


def ratio(bits: int, zeros: float = 0.0, values: int = 0) -> float:
    """Compressed over stored bytes of weights of some bits: a share `zeros` is zero, the others have few `values`.

    0 values stand for any number of them.
    """
    return _ratio(bits, round(zeros, 2), values)


@lru_cache(maxsize=512)
def _ratio(bits: int, zeros: float, values: int) -> float:
    stored = _stored(_weights(zeros, values), bits)
    return len(zstandard.compress(stored, ZSTD_LEVEL)) / len(stored)


def _weights(zeros: float, values: int) -> npt.NDArray[Any]:
    """Normal weights (channels, weights), the smallest of them zero, the others at the middles of equal steps."""
    random = np.random.default_rng(0)
    weights = random.normal(size=(_CHANNELS, _EACH)) * random.uniform(0.5, 1.5, (_CHANNELS, 1))
    size = np.abs(weights)
    gone = size < np.quantile(size, zeros)
    if values:
        half = max(1, values // 2)
        most = size.max(axis=1, keepdims=True) if values <= 2 else size.max()  # one scale a channel, or one book
        steps = np.minimum(size / most * half, half - 1).astype(int)
        weights = np.sign(weights) * (steps + 0.5) / half * most
    return np.where(gone, 0.0, weights)


def _stored(weights: npt.NDArray[Any], bits: int) -> bytes:
    """As a file holds them: floats, or integers with a scale for each channel."""
    if bits >= 16:
        return bytes(weights.astype(np.float32 if bits > 16 else np.float16).tobytes())
    largest = 2 ** (bits - 1) - 1
    most = np.abs(weights).max(axis=1, keepdims=True)  # 0 where all of a channel is pruned
    whole = np.rint(weights / np.where(most > 0, most, 1.0) * largest).astype(np.int8)
    if bits > 4:
        return bytes(whole.tobytes())
    pairs = whole.reshape(-1, 2) & 15
    return bytes((pairs[:, 0] | (pairs[:, 1] << 4)).astype(np.uint8).tobytes())
