"""Pixels that were decoded once, kept on the disk within a bound: what is read often is decoded once."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from functools import cached_property
from math import prod

import torch

from workbench.files import cache


class Stored:
    """The pixels of a list of pictures, uint8, each kept when it has been decoded.

    They are read piece by piece, not mapped into memory, where they would count as this process's own. Where the disk
    refuses, or all of them would be too many, nothing is kept: this only saves time.

    Args:
        key: what the pixels follow from; called when the first is asked for.
        count: how many pictures.
        shape: of each.
    """

    def __init__(self, key: Callable[[], str], count: int, shape: tuple[int, ...]) -> None:
        self._key, self.count, self.shape = key, count, shape

    def fetch(self, place: int, into: torch.Tensor) -> bool:
        """Fill a contiguous tensor with the pixels at a place; False where they are not kept."""
        if self._files is None:
            return False
        pixels, marks = self._files
        with contextlib.suppress(OSError):
            if os.pread(marks, 1, place) == b"\1":
                size = prod(self.shape)
                return os.preadv(pixels, [into.numpy().data.cast("B")], place * size) == size
        return False

    def keep(self, place: int, pixels: torch.Tensor) -> None:
        """Keep the pixels at a place."""
        if self._files is None:
            return
        size = prod(self.shape)
        with contextlib.suppress(OSError):
            if os.pwrite(self._files[0], pixels.numpy().tobytes(), place * size) == size:
                os.pwrite(self._files[1], b"\1", place)  # only now: a process may be killed in between

    @cached_property
    def _files(self) -> tuple[int, int] | None:
        """Open files of the pixels, and of a mark for each that is there."""
        if not hasattr(os, "preadv"):  # Windows
            return None
        try:
            where = cache.folder("pixels")
            size = self.count * prod(self.shape)
            if where is None or size > cache.bound(where):
                return None
            name = hashlib.sha256(self._key().encode()).hexdigest()[:32]
            # Marks go first: without them nothing is read.
            cache.make_room(where, size, ".pixels", beside=".marks", keep=name)
            how = os.O_RDWR | os.O_CREAT
            return os.open(where / f"{name}.pixels", how, 0o600), os.open(where / f"{name}.marks", how, 0o600)
        except OSError:
            return None

    def __del__(self) -> None:
        for one in self.__dict__.get("_files") or ():
            with contextlib.suppress(OSError):
                os.close(one)
