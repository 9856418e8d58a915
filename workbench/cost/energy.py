"""Energy of an inference, estimated from Horowitz's table for a 45 nm process at 0.9 V.

Source of every figure: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014,
figure 1.1.9. Absolute joules are another process's; the proportions (a DRAM access costs hundreds of
multiplications, and 8 bits a fifteenth of 32) are what the estimate is for.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.cost.layer import Layer
from workbench.cost.network import Network

#: Picojoules of one multiply-accumulate by bits: a multiplication and an addition.
PJ_PER_MAC = {
    8: 0.2 + 0.1,  # 8-bit integer multiplication, 32-bit integer addition (the accumulator)
    16: 1.1 + 0.4,  # 16-bit float multiplication and addition
    32: 3.7 + 0.9,  # 32-bit float multiplication and addition
}
#: Picojoules to move a byte: the table's lower bound for DRAM, 1.3 nJ for 64 bits.
PJ_PER_DRAM_BYTE = 1300 / 8
#: Picojoules to move a byte to or from a 1 MB on-chip memory: 100 pJ for 64 bits.
PJ_PER_SRAM_BYTE = 100 / 8


@dataclass(frozen=True)
class Energy:
    """Microjoules of one inference, arithmetic apart from memory."""

    arithmetic_uj: float
    memory_uj: float

    @property
    def total_uj(self) -> float:
        """Arithmetic and memory."""
        return self.arithmetic_uj + self.memory_uj


def layer_energy(layer: Layer, pj_per_byte: float = PJ_PER_DRAM_BYTE) -> Energy:
    """Every multiply-accumulate, and every byte of memory access, taken as an access to the memory given."""
    per_mac = PJ_PER_MAC[min((bits for bits in PJ_PER_MAC if bits >= layer.bits), default=32)]
    return Energy(layer.macs * per_mac / 1e6, layer.memory_access_bytes * pj_per_byte / 1e6)


def energy(network: Network, pj_per_byte: float = PJ_PER_DRAM_BYTE) -> Energy:
    """The sum over all layers."""
    parts = [layer_energy(layer, pj_per_byte) for layer in network.layers]
    return Energy(sum(p.arithmetic_uj for p in parts), sum(p.memory_uj for p in parts))
