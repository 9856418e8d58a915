"""The part of a `Study` that measures on devices: any browser that opens an address."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from workbench.devices.answered import Device, by_age
from workbench.devices.invitation import Invitation, Place, checked
from workbench.devices.offer import offered
from workbench.errors import BadValue
from workbench.interface.arguments import check_kinds
from workbench.studies.storage import Storage
from workbench.tasks import Task
from workbench.variant import Variant

#: Variants that one device is given at most: each takes its turn in every round.
MOST = 8


class Inviting(ABC):
    """The part of a `Study` that invites devices, and knows what they answered."""

    task: Task
    _storage: Storage
    _devices: dict[str, Device]  # by id
    _lock: threading.Lock

    @property
    @abstractmethod
    def baseline(self) -> Variant:
        """The original network."""

    @property
    @abstractmethod
    def variants(self) -> list[Variant]:
        """Every finished variant."""

    @abstractmethod
    def _own(self, variant: Variant | str) -> Variant:
        """The variant itself, which must be one of this study's."""

    @abstractmethod
    def _renew(self, *identities: str) -> None:
        """Read variants again, with what devices answered by now."""

    @property
    def devices(self) -> list[Device]:
        """What devices answered, the oldest first."""
        with self._lock:
            return by_age(self._devices)

    @check_kinds
    def device(
        self,
        variants: Variant | str | Sequence[Variant | str] | None = None,
        *,
        lan: bool = False,
        port: int = 0,
        certificate: Sequence[str | Path] | None = None,
    ) -> Invitation:
        """Invite devices to measure variants: `print(study.device(v))` shows what to open, `.wait()` waits for one.

        Whatever has a browser (phone, tablet, laptop) runs the very artefacts of the original and of these variants,
        or ids, in ONNX Runtime's WebAssembly build. From the first figure on they are in the study: `study.devices`,
        columns such as `latency_ms on Pixel 8`, rows of `study.portability`, sentences of `variant.verdict`.
        None takes every variant that is not archived.

        The page serves this machine alone unless `lan`; `certificate` names the files of a certificate and its key,
        for HTTPS, without which browsers give others than this machine one thread alone.
        Raises: `BadValue` for variants of another study, more than 8, or a port that is taken.
        """
        given = [variants] if isinstance(variants, (str, Variant)) else variants
        chosen = [one for one in self.variants if not one.archived] if given is None else list(map(self._own, given))
        chosen = [one for one in chosen if one.recipe.steps]
        if not 1 <= len(chosen) <= MOST:
            raise BadValue(f"A device takes 1 to {MOST} variants beside the original, got {len(chosen)}. Name some.")
        place = Place(lan, port, checked(certificate))
        return Invitation(offered(self.baseline, chosen, self.task), self._learn, place)

    def forget_device(self, device: Device | str) -> None:
        """Take what a device answered, or the one of this id, out of the study. Raises: `BadValue`."""
        identity = device.id if isinstance(device, Device) else device
        found = self._devices.get(identity)
        if found is None:
            raise BadValue(f"No device of this study has the id {identity!r:.80}.")
        self._storage.forget_device(identity)
        with self._lock:
            self._devices.pop(identity, None)
        self._renew(*found.estimates)

    def _learn(self, device: Device) -> None:
        self._storage.keep_device(device.id, device.to_json())
        with self._lock:
            before = self._devices.get(device.id)
            self._devices[device.id] = device
        self._renew(*device.estimates, *(before.estimates if before else ()))
