"""A training run on disk: tensors and a few metadata, replaced as a whole, so that a killed run can go on."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """One file. `key` tells runs apart: what another run left is not taken up."""

    path: Path
    key: str

    def save(self, tensors: Tensors, metadata: dict[str, Any]) -> None:
        """Write beside the file and rename: killing the process leaves the old one or the new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(f".{secrets.token_hex(4)}.part")  # another process may train the same
        plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        save_file(plain, part, {"key": self.key, "metadata": json.dumps(metadata)})
        part.replace(self.path)

    def load(self) -> tuple[Tensors, dict[str, Any]] | None:
        """What `save` wrote last; None where there is nothing, or nothing of this run."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("key") != self.key:
                    return None
                return {name: file.get_tensor(name) for name in file.keys()}, json.loads(metadata["metadata"])  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError):
            return None  # a file that another program damaged: the run starts anew

    def remove(self) -> None:
        """Delete the file, where there is one."""
        self.path.unlink(missing_ok=True)


def nested(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors under names that start with `prefix.`."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def unnested(prefix: str, tensors: Tensors) -> Tensors:
    """The reverse of `nested`."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
