"""JSON and YAML: plain values alone, of a bounded size, depth and number."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import BadFile
from workbench.untrusted.guard import Guard

#: Bytes of a text that people write, such as a recipe, and how deep its lists stand in each other.
TEXT_BYTES, DEPTH = 10**5, 32
#: Values in a text, each counted as often as it is referred to.
NODES = 10**4
#: Digits of a whole number: more is no setting, and Python itself takes long for some thousands.
DIGITS = 20
_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map")


def read_text(path: Path, what: str, size: int = TEXT_BYTES) -> str:
    """A file of text of at most `size` bytes (UTF-8). Raises `BadFile`."""
    if not path.is_file():
        raise BadFile(f"{what} {path} cannot be read: there is no such file.")
    with Guard(f"{what} {path} cannot be read"):
        with path.open("rb") as stream:
            content = stream.read(size + 1)
        if len(content) > size:
            raise BadFile(f"{what} {path} has more than {size:,} bytes, which are not read.")
        return content.decode("utf-8")


def parse_json(text: str | bytes, what: str, *, size: int = TEXT_BYTES, nodes: int = NODES, depth: int = DEPTH) -> Any:
    """The values of a JSON text of at most `size` characters and `nodes` values, at most `depth` deep.

    Raises: `BadFile`.
    """
    _check_size(text, what, size)
    with Guard(f"{what} is not JSON"):
        found = json.loads(text, parse_int=_whole)
    check_nested(found, what, nodes=nodes, depth=depth)
    return found


def parse_yaml(text: str, what: str) -> Any:
    """The values of a YAML text, of the types that JSON has. Raises: `BadFile`."""
    _check_size(text, what, TEXT_BYTES)
    with Guard(f"{what} is not YAML"):
        return yaml.load(text, _Loader)


def check_nested(value: Any, what: str, *, nodes: int = NODES, depth: int = DEPTH) -> None:
    """Raise `BadFile` where there are more values than `nodes`, or lists more than `depth` deep."""
    level, count = [value], 0
    for _ in range(depth + 1):
        count += len(level)
        if count > nodes:
            raise BadFile(f"{what} holds more than {nodes:,} values.")
        level = [child for one in level for child in _children(one)]
        if not level:
            return
    raise BadFile(f"{what} is nested too deeply: lists stand more than {depth} deep in each other.")


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _check_size(text: str | bytes, what: str, size: int) -> None:
    if len(text) > size:
        raise BadFile(f"{what} has {len(text):,} characters; at most {size:,} are read.")


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


class _Loader(yaml.SafeLoader):
    """Plain values; a reference counts as all that it stands for, so that a few cannot stand for billions."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.deep = 0
        self.sizes: dict[int, int] = {}  # of the nodes that are whole

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node. Raises `yaml.YAMLError` beyond the limits."""
        self.deep += 1
        if self.deep > DEPTH:
            raise yaml.YAMLError(f"lists stand more than {DEPTH} deep in each other")
        known = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        self.deep -= 1
        if known and id(node) not in self.sizes:
            raise yaml.YAMLError("a list refers to itself")
        if not known:
            self.sizes[id(node)] = 1 + sum(self.sizes[id(one)] for one in _parts(node))
        if self.sizes[id(node)] > NODES:
            raise yaml.YAMLError(f"there are more than {NODES:,} values, each counted as often as it is referred to")
        return node

    def construct_yaml_int(self, node: Any) -> int:
        """A whole number of bounded length."""
        return _whole_of(super().construct_yaml_int(node))


def _parts(node: Any) -> Iterable[Any]:
    if isinstance(node, yaml.MappingNode):
        return [one for pair in node.value for one in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else ()


def _whole_of(value: int) -> int:
    if value.bit_length() > 3.4 * DIGITS:
        raise ValueError(f"a whole number of {value.bit_length()} bits")
    return value


_Loader.yaml_constructors = {
    f"tag:yaml.org,2002:{tag}": getattr(_Loader, f"construct_yaml_{tag}") for tag in _PLAIN
} | {None: _Loader.construct_undefined}
#: A date or a merge of mappings is text here, as in JSON.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag.rpartition(":")[2] in _PLAIN]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
