"""What a teacher said before: trials of one search show it the same batches again, and it is the larger network."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from workbench.modules.calling import Inputs, flatten

#: Bytes of answers that are kept of each network, the latest: those to 40 epochs of 8,000 images of ten classes are 13.
ROOM = 64 << 20


class Answers:
    """What a network said, by the content of what it was asked; the network stays as it is all the while."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def to(self, inputs: Inputs, ask: Callable[[], Tensor]) -> Tensor:
        """The answer (N, ...) to a batch, by asking where it is not known. It is not to be changed."""
        if any(one.device.type != "cpu" for one in flatten(inputs)):  # fetching the batch would cost more than asking
            return ask()
        key = _content(inputs)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        answer = ask()
        with self._lock:
            self._add(key, answer)
        return answer

    def _add(self, key: bytes, answer: Tensor) -> None:
        self._bytes += answer.nbytes - (self._known[key].nbytes if key in self._known else 0)
        self._known[key] = answer
        while self._bytes > ROOM:
            self._bytes -= self._known.popitem(last=False)[1].nbytes


_ALL: WeakKeyDictionary[nn.Module, tuple[bytes, Answers]] = WeakKeyDictionary()
_LOCK = threading.Lock()


def answers_of(network: nn.Module) -> Answers:
    """What a network has said in this process, as long as it lives and its weights are the same."""
    now = _state(network)
    with _LOCK:
        before = _ALL.get(network)
        if before is None or before[0] != now:
            _ALL[network] = before = (now, Answers())
    return before[1]


def _state(network: nn.Module) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for name, value in network.state_dict().items():
        found.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        found.update(_bytes(value))
    return found.digest()


def _content(inputs: Inputs) -> bytes:
    """Of every tensor, and of the arithmetic that answers are computed in."""
    enabled = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu")
    found = hashlib.blake2b(str(enabled).encode(), digest_size=16)
    for one in flatten(inputs):
        found.update(f"{one.dtype} {tuple(one.shape)} ".encode())
        found.update(_bytes(one))
    return found.digest()


def _bytes(value: Tensor) -> Any:
    """The memory of a tensor's numbers, in their order."""
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
