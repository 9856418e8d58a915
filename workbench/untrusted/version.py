"""The version that a file says it has: what a newer workbench wrote is refused in words, not misread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.errors import BadFile, NewerVersion, shown


def check_version(content: Mapping[Any, Any], newest: int, what: str) -> int:
    """The version of a file's content, under the key `version`; 1 where it has none.

    Raises: `NewerVersion`; `BadFile` where it is no version. `what` begins the sentence: "The recipe".
    """
    version = content.get("version", 1)
    if type(version) is not int or version < 1:
        raise BadFile(f"{what} says that its version is {shown(version)}; it is a whole number, at most {newest}.")
    if version > newest:
        raise NewerVersion(
            f"{what} was written by a newer version of the workbench: its form is of version {shown(version)}, and "
            f"this one reads up to version {newest}. Update it: pip install --upgrade nn-workbench."
        )
    return version
