"""Bytes of strangers: read within limits that hold before memory is taken, and whatever is wrong is said.

Every format has one door here: `parse_json` and `parse_yaml` for text, `read_npz` and `open_npz` for arrays,
`read_tensors` for safetensors. Each raises `BadFile` and nothing else, whatever the bytes are. `check_apart` has a file
read by a process of its own first, with limits of memory and time that the operating system holds.
"""

from workbench.untrusted.apart import check_apart
from workbench.untrusted.arrays import Unread, open_npz, read_npz
from workbench.untrusted.guard import Guard
from workbench.untrusted.tensors import read_metadata, read_tensors
from workbench.untrusted.text import check_nested, parse_json, parse_yaml, read_text
from workbench.untrusted.version import check_version

__all__ = [
    "Guard",
    "Unread",
    "check_apart",
    "check_nested",
    "check_version",
    "open_npz",
    "parse_json",
    "parse_yaml",
    "read_metadata",
    "read_npz",
    "read_tensors",
    "read_text",
]
