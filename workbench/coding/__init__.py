"""Lossless coding of an artefact's weights: sparse indexes, codebooks, Huffman; every code decodes back."""

from workbench.coding.bundle import pack, packed_bytes
from workbench.coding.decode import unpack

__all__ = ["pack", "packed_bytes", "unpack"]
