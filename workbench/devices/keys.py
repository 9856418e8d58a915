"""Keys that open the device's page, each for one device: the first that claims it is known by a cookie from then on."""

from __future__ import annotations

import hmac
import secrets

from workbench.devices.refusal import Refused

#: Letters that nobody takes for others, also when an address is typed from a screen.
LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
#: Letters of a key: 59 bits, which nobody guesses over a network while a server runs.
LENGTH = 12

FORGED = "This address is none that the workbench gave. Look at the address on its screen again, or scan its code anew."
SPENT = (
    "Another device has used this address already: each is for one device. Ask the workbench for a new one "
    "and open that."
)


class Keys:
    """The keys of one server, and what the devices that claimed them are known by."""

    def __init__(self) -> None:
        self._holders: dict[str, str] = {}  # the cookie by the key; "" until a device comes

    def issue(self) -> str:
        """A new key."""
        key = "".join(secrets.choice(LETTERS) for _ in range(LENGTH))
        self._holders[key] = ""
        return key

    def check(self, key: str, cookie: str) -> None:
        """Raise `Refused` unless the key is free, or claimed by the device with this cookie."""
        if key not in self._holders:
            raise Refused(FORGED, 404)
        if self._holders[key] and not self.holds(key, cookie):
            raise Refused(SPENT, 403)

    def holds(self, key: str, cookie: str) -> bool:
        """Whether the device with this cookie has claimed the key."""
        holder = self._holders.get(key, "")
        return bool(holder) and hmac.compare_digest(holder, cookie.encode("ascii", "replace").decode())

    def claim(self, key: str, cookie: str) -> str:
        """The cookie of the device that claims a key: a new one the first time. Raises: as `check`."""
        self.check(key, cookie)
        if not self._holders[key]:
            self._holders[key] = secrets.token_urlsafe(32)
        return self._holders[key]
