"""What a device sends, held to what can be: each check gives the value, or refuses it with a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.devices.refusal import Refused
from workbench.errors import shown

#: What a device may be called: words that a column and a limit can hold.
NAME = re.compile(r"[^\W_](?:[^\W_]|[ -](?=[^\W_])){0,39}")
BROWSER_LENGTH = 400
#: The slowest block that is believed, in milliseconds.
SLOWEST_MS = 600_000.0
#: Multiply-accumulates a second that nothing exceeds: one core with the widest vectors of integers; any graphics chip.
FASTEST = {"wasm": 2e12, "webgpu": 1e15}


def message(body: bytes, kinds: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """A JSON object with exactly these entries, of these kinds. Raises: `Refused`."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused("What came is no JSON, so nothing of it was taken. Load the page again.") from error
    if not isinstance(found, dict) or found.keys() != kinds.keys():
        wanted, got = ", ".join(kinds), shown(sorted(found) if isinstance(found, dict) else found)
        raise Refused(f"What came has other entries ({got}) than were asked for ({wanted}). Load the page again.")
    for name, kind in kinds.items():
        if not isinstance(found[name], kind) or (isinstance(found[name], bool) and kind is not bool):
            raise Refused(f"The entry {name} is {shown(found[name])}, which is of another kind than was asked for.")
    return found


def whole(value: Any, what: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`. Raises: `Refused`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refused(f"{what} is {shown(value)}; it is a whole number from {low} to {high}.")
    return value


def name(value: Any) -> str:
    """What a device is called. Raises: `Refused`."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise Refused(
            f"The name {shown(value)} cannot be used. A name has 1 to 40 letters and digits, with single spaces or "
            "hyphens between them."
        )
    return value


def line(value: Any, what: str, longest: int = BROWSER_LENGTH) -> str:
    """One line of text. Raises: `Refused`."""
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise Refused(f"{what} is no line of at most {longest} characters.")
    return value


def times(value: Any, least: Sequence[float], what: str) -> tuple[float, ...]:
    """Milliseconds, one a variant, none below its least. Raises: `Refused`."""
    if not isinstance(value, list) or len(value) != len(least):
        raise Refused(f"{what} is {shown(value)}; it holds {len(least)} times, one for each network.")
    for ms, floor in zip(value, least, strict=True):
        if isinstance(ms, bool) or not isinstance(ms, (int, float)) or not ms > 0:  # nor NaN
            raise Refused(f"{what} holds {shown(ms)}; a time is a number of milliseconds above 0.")
        if ms > SLOWEST_MS:
            raise Refused(f"{what} holds {shown(ms)} ms; no run takes longer than {SLOWEST_MS / 60_000:g} minutes.")
        if ms < floor:
            raise Refused(f"{what} holds {ms:g} ms; no processor computes that network in less than {floor:.2g} ms.")
    return tuple(float(ms) for ms in value)


def floors(macs: Sequence[float], backend: str, threads: int) -> list[float]:
    """The milliseconds that networks of so many MACs take at least; a clock tells no less than 10 ns."""
    rate = FASTEST[backend] * (threads if backend == "wasm" else 1)
    return [max(1e-5, 1e3 * one / rate) for one in macs]
