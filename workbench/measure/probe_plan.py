"""The graphs that calibration times: every kind of operator, small and large, few and many, once each."""

from __future__ import annotations

import random
from collections.abc import Callable

from workbench.measure.probes import Probe

CHANNELS = (8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256, 320)
ODD = (18, 27, 30, 37, 58, 77, 102)  # no multiples of four: other kernels
SIDES = (3, 4, 6, 7, 8, 12, 14, 14, 16, 24, 28)
#: Beyond these a graph takes so long that others would be timed too seldom.
MOST_MACS, MOST_WEIGHTS = {32: 25e6, 8: 60e6}, 1_500_000


def plan(seed: int = 0) -> list[Probe]:
    """The same graphs every time, about a hundred."""
    chosen = random.Random(seed)
    probes = [Probe((16,)).unary("Relu", "activation"), Probe((16,)).linear(16)]
    for make, bits, count in _RECIPES:
        made = 0
        while made < count:
            probe = make(chosen, bits)
            macs = sum(layer.macs for layer in probe.layers)
            if macs <= MOST_MACS[bits] and sum(layer.params for layer in probe.layers) <= MOST_WEIGHTS:
                probes.append(probe)
                made += 1
    return [*probes, *(make(chosen, bits) for make in (_deep, _deep_mobile) for bits in (32, 32, 32, 8)), *_heavy()]


def _map(chosen: random.Random, bits: int, channels: tuple[int, ...] = CHANNELS) -> Probe:
    side = chosen.choice(SIDES)
    return Probe((chosen.choice(channels), side, side), bits)


def _dense(chosen: random.Random, bits: int) -> Probe:
    probe = _map(chosen, bits, CHANNELS[2:])
    for _ in range(chosen.randint(1, 3)):
        probe.conv(chosen.choice(CHANNELS[2:]), chosen.choice((3, 3, 3, 5)), stride=chosen.choice((1, 1, 2)))
    return probe


def _pointwise(chosen: random.Random, bits: int) -> Probe:
    probe = _map(chosen, bits, CHANNELS[2:])
    for _ in range(chosen.randint(1, 4)):
        probe.conv(chosen.choice(CHANNELS[2:]), 1, stride=chosen.choice((1, 1, 1, 2)), relu=chosen.random() < 0.7)
    return probe


def _depthwise(chosen: random.Random, bits: int) -> Probe:
    probe = _map(chosen, bits, CHANNELS[2:])
    for _ in range(chosen.randint(1, 4)):
        probe.conv(probe.input[0], chosen.choice((3, 3, 5)), groups=probe.input[0], stride=chosen.choice((1, 1, 2)))
    return probe


def _separable(chosen: random.Random, bits: int) -> Probe:
    probe = _map(chosen, bits, CHANNELS[2:9])
    width = probe.input[0] * 4
    return probe.conv(width, 1).conv(width, 3, groups=width, stride=chosen.choice((1, 2))).conv(
        probe.input[0], 1, relu=False
    )  # fmt: skip


def _stem(chosen: random.Random, bits: int) -> Probe:
    side = 2 * chosen.choice(SIDES)
    probe = Probe((chosen.choice((1, 3)), side, side), bits)
    return probe.conv(chosen.choice(CHANNELS[2:9]), chosen.choice((3, 3, 5, 7)), stride=chosen.choice((1, 2)))


def _odd(chosen: random.Random, bits: int) -> Probe:
    probe = _map(chosen, bits, ODD)
    for _ in range(chosen.randint(1, 3)):
        probe.conv(chosen.choice(ODD), chosen.choice((1, 1, 3)), relu=chosen.random() < 0.5)
    return probe


def _bottleneck(chosen: random.Random, bits: int) -> Probe:
    """Aligned, odd, aligned: what a factorization makes, with changes of order between."""
    probe = _map(chosen, bits, CHANNELS[4:])
    return probe.conv(chosen.choice(ODD), 1, relu=False).conv(chosen.choice(ODD), 3, relu=False).conv(
        chosen.choice(CHANNELS[4:]), 1
    )  # fmt: skip


def _odd_depthwise(chosen: random.Random, bits: int) -> Probe:
    probe = _map(chosen, bits, ODD)
    return probe.conv(probe.input[0], 3, groups=probe.input[0], stride=chosen.choice((1, 2)))


def _grouped(chosen: random.Random, bits: int) -> Probe:
    groups = chosen.choice((2, 4, 8))
    probe = _map(chosen, bits, (groups * 8, groups * 16))
    return probe.conv(probe.input[0], 3, groups=groups)


def _vector(chosen: random.Random, bits: int) -> Probe:
    probe = Probe((chosen.choice((64, 128, 256, 512, 1024)),), bits)
    for _ in range(chosen.randint(1, 3)):
        probe.linear(chosen.choice((10, 64, 128, 256, 512, 1024)), relu=True)
    return probe


def _tokens(chosen: random.Random, bits: int) -> Probe:
    probe = Probe((chosen.choice((16, 49, 64, 197)), chosen.choice((48, 64, 96, 128, 192))), bits)
    for _ in range(chosen.randint(1, 2)):
        probe.linear(chosen.choice((64, 96, 128, 192, 384)))
    return probe


def _heads(chosen: random.Random, bits: int) -> Probe:
    return Probe((chosen.choice((2, 3, 6)), chosen.choice((49, 64, 128)), chosen.choice((16, 32, 64))), bits).matmul()


def _pool(chosen: random.Random, bits: int) -> Probe:
    return _map(chosen, bits).pool(chosen.choice(("MaxPool", "AveragePool")))


def _function(chosen: random.Random, bits: int) -> Probe:
    probe = _map(chosen, bits)
    for _ in range(chosen.randint(1, 3)):
        probe.unary(chosen.choice(("Gelu", "Sigmoid", "Tanh")), "activation")
    return probe


def _sum(chosen: random.Random, bits: int) -> Probe:
    return _map(chosen, bits).add()


def _residual(chosen: random.Random, bits: int) -> Probe:
    probe = _map(chosen, bits, CHANNELS[2:8])
    return probe.conv(probe.input[0], 3).conv(probe.input[0], 3, relu=False).add()


def _turn(chosen: random.Random, bits: int) -> Probe:
    return Probe((chosen.choice((49, 64, 196)), chosen.choice((64, 96, 192))), bits).transpose().norm()


def _shuffle(chosen: random.Random, bits: int) -> Probe:
    probe = _map(chosen, bits, CHANNELS[2:9])
    for _ in range(chosen.randint(1, 3)):
        probe.conv(chosen.choice(CHANNELS[2:9]), 1).reshape()
    return probe


def _wide(chosen: random.Random, bits: int) -> Probe:
    side, width = chosen.choice((40, 48, 56)), chosen.choice((64, 96, 128))
    probe = Probe((chosen.choice((16, 24, 32)), side, side), bits).conv(width, 1)
    return probe.conv(width, 3, groups=width, stride=chosen.choice((1, 2))).conv(chosen.choice((16, 24, 32)), 1)


# Whole networks, random: their operators follow each other with cold caches, as in what will be predicted.


def _plain(chosen: random.Random, bits: int) -> Probe:
    side, width = chosen.choice((16, 24, 28, 32)), chosen.choice((16, 24, 32))
    probe = Probe((3, side, side), bits).conv(width, 3)
    for _ in range(chosen.randint(3, 5)):
        width = min(256, width * chosen.choice((1, 2, 2)))
        probe.conv(width, 3, stride=chosen.choice((1, 2))).conv(
            chosen.choice((width, width // 2)), chosen.choice((1, 3))
        )
    return probe


def _mobile(chosen: random.Random, bits: int) -> Probe:
    side, width = chosen.choice((16, 24, 32, 48)), chosen.choice((8, 16, 24))
    probe = Probe((3, side, side), bits).conv(width, 3, stride=2)
    for _ in range(chosen.randint(4, 10)):
        inner = width * chosen.choice((3, 4, 6))
        width = min(160, width + 8 * chosen.randint(0, 3))
        probe.conv(inner, 1).conv(inner, 3, groups=inner, stride=chosen.choice((1, 1, 1, 2))).conv(width, 1, relu=False)
    return probe


def _clipped(chosen: random.Random, bits: int) -> Probe:
    """As MobileNetV2 has it: ReLU6 where others have ReLU."""
    side, width = chosen.choice((16, 24, 32, 48)), chosen.choice((8, 16, 24))
    probe = Probe((3, side, side), bits).conv(width, 3, stride=2, relu=False).clip()
    for _ in range(chosen.randint(2, 8)):
        inner = width * chosen.choice((3, 4, 6))
        width = min(160, width + 8 * chosen.randint(0, 3))
        probe.conv(inner, 1, relu=False).clip()
        probe.conv(inner, 3, groups=inner, stride=chosen.choice((1, 1, 1, 2)), relu=False).clip()
        probe.conv(width, 1, relu=False)
    return probe


def _thin(chosen: random.Random, bits: int) -> Probe:
    """Factorized convolutions with ranks that are no round numbers."""
    side, width = chosen.choice((8, 14, 16, 24)), chosen.choice((32, 48, 64, 96))
    probe = Probe((width, side, side), bits)
    for _ in range(chosen.randint(3, 8)):
        rank = chosen.randint(5, width // 2)
        probe.conv(rank, 1, relu=False).conv(chosen.randint(5, width // 2), 3, relu=False).conv(width, 1)
    return probe


def _split(chosen: random.Random, bits: int) -> Probe:
    """Columns, then rows: what a spatial factorization makes."""
    side, width, size = chosen.choice((4, 8, 14, 16, 24)), chosen.choice((32, 48, 64, 96)), chosen.choice((3, 3, 5))
    probe = Probe((width, side, side), bits)
    for _ in range(chosen.randint(1, 5)):
        width = chosen.choice((width, width, min(192, 2 * width)))
        probe.conv(4 * chosen.randint(3, width // 4), (size, 1), relu=False).conv(width, (1, size))
    return probe


def _deep(chosen: random.Random, bits: int) -> Probe:
    """Dozens of small layers, together more than a core's cache holds: each finds it cold."""
    side, width = chosen.choice((4, 6, 8)), chosen.choice((192, 256))
    probe = Probe((width, side, side), bits)
    for _ in range(chosen.randint(10, 18)):
        probe.conv(chosen.choice((64, 96, 128)), 1).conv(width, chosen.choice((1, 3)))
    return probe


def _deep_mobile(chosen: random.Random, bits: int) -> Probe:
    """The same of pointwise and depthwise layers, some of their widths odd."""
    side, width = chosen.choice((2, 4, 8)), chosen.choice((96, 112, 160))
    probe = Probe((width, side, side), bits)
    for _ in range(chosen.randint(8, 14)):
        inner, rank = chosen.choice((3, 4, 6)) * width, chosen.choice((width, chosen.randint(20, 90)))
        probe.conv(inner, 1).conv(inner, chosen.choice((3, 5)), groups=inner)
        if rank != width:
            probe.conv(rank, 1, relu=False)
        probe.conv(width, 1, relu=False)
    return probe


def _joined(chosen: random.Random, bits: int) -> Probe:
    """Maps joined, as in SqueezeNet and DenseNet, and made small again."""
    probe = _map(chosen, bits, CHANNELS[2:8])
    for _ in range(chosen.randint(1, 4)):
        probe.conv(chosen.choice((32, 64, 96)), 1).cat()
    return probe


def _growing(chosen: random.Random, bits: int) -> Probe:
    probe = Probe((3, 32, 32), bits).conv(32, 3, stride=chosen.choice((1, 2)))
    for _ in range(chosen.randint(2, 6)):
        probe.cat().conv(128, 1).conv(32, 3, stride=chosen.choice((1, 1, 2)))
    return probe


_RECIPES: tuple[tuple[Callable[[random.Random, int], Probe], int, int], ...] = (
    (_wide, 32, 6), (_wide, 8, 2), (_plain, 32, 8), (_mobile, 32, 7), (_clipped, 32, 8), (_thin, 32, 10),
    (_growing, 32, 4), (_shuffle, 32, 6), (_split, 32, 6), (_split, 8, 2), (_shuffle, 8, 4),
    (_joined, 32, 4), (_joined, 8, 5),
    (_plain, 8, 5), (_mobile, 8, 6), (_thin, 8, 5), (_growing, 8, 3),
    (_dense, 32, 8), (_pointwise, 32, 8), (_depthwise, 32, 6), (_separable, 32, 3), (_stem, 32, 6), (_odd, 32, 6),
    (_bottleneck, 32, 5), (_odd_depthwise, 32, 3), (_grouped, 32, 3), (_vector, 32, 6), (_tokens, 32, 4),
    (_heads, 32, 2), (_pool, 32, 4), (_function, 32, 4), (_sum, 32, 3), (_residual, 32, 2), (_turn, 32, 3),
    (_dense, 8, 6), (_pointwise, 8, 6), (_depthwise, 8, 6), (_separable, 8, 2), (_stem, 8, 2), (_odd, 8, 3),
    (_grouped, 8, 2), (_vector, 8, 4), (_sum, 8, 3), (_pool, 8, 2), (_residual, 8, 2),
)  # fmt: skip


def _heavy() -> list[Probe]:
    """Weights beyond the cache of a core, which come from further away every time."""
    return [
        Probe((256, 4, 4)).conv(256, 3).conv(256, 3).conv(256, 3).conv(256, 3),
        Probe((512, 2, 2)).conv(512, 3).conv(512, 3),
        Probe((512, 4, 4)).conv(1024, 1).conv(1024, 1).conv(512, 1),
        Probe((1024,)).linear(1024).linear(1024),
        Probe((2048,)).linear(1024).linear(512),
        Probe((512, 4, 4), 8).conv(512, 3).conv(512, 3),
    ]
