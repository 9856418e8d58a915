"""`study.device(variants)`: a page that any device opens to measure the variants in its browser."""

from __future__ import annotations

import html
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.devices.answered import Device
from workbench.devices.codes import MISSING, as_svg, in_letters
from workbench.devices.keys import Keys
from workbench.devices.offer import Offer
from workbench.devices.received import Received
from workbench.devices.serving import Server
from workbench.errors import BadValue

HERE, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # only where the user asks for the local network
#: What `repr` and a notebook say of an address that only this machine can open.
ALONE = "Only this machine can open it. For others in the local network: lan=True, or --lan on the command line."
PLAIN = (
    "Over plain HTTP browsers give one thread and a coarse clock; with certificate= they give all threads, and WebGPU."
)


@dataclass(frozen=True)
class Place:
    """Where devices find the page: `lan` lets others than this machine open it, `port` 0 takes a free one.

    `certificate` are the files of a certificate and of its key (PEM), for HTTPS.
    """

    lan: bool = False
    port: int = 0
    certificate: tuple[Path, Path] | None = None

    @property
    def host(self) -> str:
        """What to listen on."""
        return EVERYWHERE if self.lan else HERE

    def address(self, port: int, key: str) -> str:
        """What a device opens."""
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://{own_address() if self.lan else HERE}:{port}/{key}/"


class Invitation:
    """A page for devices, open until `close` or the end of a `with` block; `address` is what a device opens.

    Each address is for one device: once one has come, `address` is another. What devices answered so far is in
    `devices`, and is in the study from its first figure on.
    """

    def __init__(self, offer: Offer, keep: Callable[[Device], None], place: Place) -> None:
        self.offer, self.keys, self.place = offer, Keys(), place
        #: What was refused to devices, a sentence each, the latest last.
        self.refusals: list[str] = []
        self._keep = keep
        self._came: dict[str, Received] = {}
        self._devices: dict[str, Device] = {}
        self._changed = threading.Condition()
        self._key = self.keys.issue()
        offer.described()  # what is wrong with the artefacts is said here, not to a device
        self._server = Server(self, place.host, place.port, place.certificate)

    @property
    def address(self) -> str:
        """What the next device opens."""
        return self.place.address(self._server.port, self._key)

    @property
    def qr(self) -> str:
        """The same as a QR code for a terminal; "" where segno is not installed."""
        return in_letters(self.address)

    @property
    def devices(self) -> list[Device]:
        """The devices that came and what they answered by now, in order of arrival."""
        with self._changed:
            return [self._devices[key] for key in self._came if key in self._devices]

    def wait(self, devices: int = 1, seconds: float | None = None) -> list[Device]:
        """What devices answered, once so many have measured all that they could, or after so many seconds.

        Ctrl-C leaves what came by then in the study.
        """
        if devices < 1:
            raise BadValue(f"devices={devices}: wait for at least one.")
        until = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            while sum(one.finished for one in self._devices.values()) < devices:
                left = 1.0 if until is None else min(1.0, until - time.monotonic())
                if left <= 0:
                    break
                self._changed.wait(left)  # by the second: Ctrl-C is heard in between
        return self.devices

    def close(self) -> None:
        """End the page. What devices answered stays in the study."""
        self._server.close()

    def __enter__(self) -> Invitation:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def arrived(self, key: str) -> Received:
        """The device that claimed a key; the first time another key becomes the free one."""
        with self._changed:
            if key not in self._came:
                self._came[key] = Received(secrets.token_hex(6), self.offer)
                self._key = self.keys.issue()
                self._changed.notify_all()
            return self._came[key]

    def others(self, received: Received) -> set[str]:
        """What the other devices are called."""
        with self._changed:
            return {one.name for one in self._came.values() if one is not received}

    def learned(self, received: Received) -> Device:
        """Keep what is known of a device by now, in the study too once there are figures."""
        device = received.device()
        if any(row.speedup or row.note for row in device.rows):
            self._keep(device)
        with self._changed:
            key = next(key for key, one in self._came.items() if one is received)
            self._devices[key] = device
            self._changed.notify_all()
        return device

    def refused(self, key: str, sentence: str) -> None:
        """Remember what was refused."""
        with self._changed:
            who = self._came[key].name + ": " if key in self._came and self._came[key].name else ""
            self.refusals = [*self.refusals[-99:], who + sentence]
            self._changed.notify_all()

    @property
    def notes(self) -> list[str]:
        """What whoever shows the address should say beside it."""
        said = [] if self.qr else [MISSING]
        if not self.place.lan:
            return [*said, ALONE]
        return said if self.place.certificate else [*said, PLAIN]

    def __repr__(self) -> str:
        return "\n".join([f"Open {self.address} on a device.", *self.notes])

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{html.escape(one)}</p>" for one in self.notes)
        return f'{as_svg(self.address)}<p>Open <a href="{self.address}">{self.address}</a> on a device.</p>{said}'


def own_address() -> str:
    """Where others in the local network find this machine; nothing is sent to learn it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a network of documentation (RFC 5737): any route outwards
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def checked(certificate: Any) -> tuple[Path, Path] | None:
    """The two files of a certificate. Raises: `BadValue`."""
    if certificate is None:
        return None
    if not isinstance(certificate, (tuple, list)) or len(certificate) != 2:
        raise BadValue(f"certificate is {certificate!r:.200}. Give two files: (\"cert.pem\", \"key.pem\").")
    return Path(certificate[0]), Path(certificate[1])
