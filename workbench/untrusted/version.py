"""The version that a file says it has: what a newer workbench wrote is refused in words, not misread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.errors import BadFile, shown


def check_version(content: Mapping[Any, Any], newest: int, what: str) -> int:
    """The version of a file's content, under the key `version`; 1 where it has none. Raises: `BadFile` for a newer one.

    `what` begins the sentence: "The recipe".
    """
    version = content.get("version", 1)
    if type(version) is not int or version < 1:
        raise BadFile(f"{what} says that its version is {shown(version)}; it is a whole number, at most {newest}.")
    if version > newest:
        raise BadFile(f"{what} {newer(version, newest)}")
    return version


def newer(version: object, newest: int) -> str:
    """The rest of a sentence about something that a newer workbench wrote."""
    return (
        f"was written by a newer version of the workbench: it is of version {shown(version)}, and this one reads up to "
        f"version {newest}. Update it: pip install --upgrade nn-workbench."
    )
