"""The C files of a network: kernels, weights, and one function that runs the layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from typing import Any

import numpy as np

from workbench.c99.arena import Layout, lay_out
from workbench.c99.program import Array, At, Call, Constant, Floats, Map, Program, Step, Struct, Tensor, Text
from workbench.c99.text import TYPES, WIDTH, array, comment, filled, name_of, number, struct_of

_MARK = re.compile(r"^//@ (\w+)(?:: ([\w, ]+))?\n", re.MULTILINE)
_TAB = "    "
#: The network's input, where a kernel reads it.
INPUT = Text("input")


@dataclass(frozen=True)
class Writing:
    """A program on its way to text; the constants that it names are collected as they come."""

    program: Program
    title: str
    constants: dict[str, Array] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=dict)  # of the constants
    structs: dict[str, str] = field(default_factory=dict)  # what kernels are told of layers, and its definition
    _named: dict[tuple[str, bytes], str] = field(default_factory=dict)

    @cached_property
    def layout(self) -> Layout:
        """Where everything lies."""
        return lay_out(self.program.steps)

    @property
    def entry(self) -> Tensor | None:
        """The bytes that the input becomes, and that are all that is read of it; None where a layer reads floats."""
        takers = [step for step in self.program.steps for call in step.calls if INPUT in call.arguments]
        first = takers[0].writes
        alone = len(takers) == 1 and takers[0].calls[0].kernel == "quantize"
        return first if alone and isinstance(first, Tensor) else None

    def files(self) -> dict[str, str]:
        """The files by name: what runs the network, and what it is built of."""
        source = self.source()
        return {
            "kernels.h": kernels({call.kernel for step in self.program.steps for call in step.calls}),
            "network.h": self.header(),
            "network.c": source,
            "weights.h": self.declarations(),
            "weights.c": self.definitions(),
        }

    def header(self) -> str:
        """`network.h`: what a program calls."""
        shapes = [", ".join(map(str, shape)) for shape in self.program.shapes]
        entry, answers, bytes_ = self.program.input, self.program.answers, ""
        if self.entry is not None:
            grid = self.entry.grid
            bytes_ = _BYTES_DECLARED.format(map=entry, scale=number(grid.scale), zero=grid.zero)
        return _HEADER.format(
            title=comment(f"network.h: {self.title}"), input=entry.size, answers=answers.size, arena=self.layout.size,
            input_shape=shapes[0], answer_shape=shapes[1], bytes=bytes_,
        )  # fmt: skip

    def source(self) -> str:
        """`network.c`: the arena, and the layers in order."""
        steps = [*self._steps()]
        macs = sum(step.macs for step in self.program.steps)
        said = f"network.c: {self.title}. {len(steps)} steps, {macs:,} multiply-accumulates (MACs)."
        aligned = any(isinstance(step.writes, Floats) for step in self.program.steps)
        body = _WHOLE.format(steps="\n\n".join(steps))
        if self.entry is not None:
            place = self.layout.place(0, self.entry.block)
            body = _IN_TWO.format(place=place, first=steps[0], others="\n\n".join(steps[1:]))
        return _SOURCE.format(title=comment(said), arena=_ARENA_OF_FLOATS if aligned else _ARENA, body=body)

    def declarations(self) -> str:
        """`weights.h`."""
        lines = [f"extern const {TYPES[x.dtype.name]} {name}[{x.size}];" for name, x in self.constants.items()]
        lines += [f"extern {text.split(' =')[0]};" for text in self.structs.values()]
        return _DECLARATIONS.format(lines="\n".join(lines))

    def definitions(self) -> str:
        """`weights.c`."""
        parts, layer = [], ""
        for name, values in self.constants.items():
            if self.layers[name] != layer:
                layer = self.layers[name]
                parts.append(comment(layer))
            parts.append(array(name, values))
        parts += self.structs.values()
        return _DEFINITIONS + "\n".join(parts)

    def _steps(self) -> Iterator[str]:
        for at, step in enumerate(self.program.steps):
            macs = f"; {step.macs:,} MACs" if step.macs else ""
            lines = [comment(f"{at + 1}. {step.layer}: {step.said}{macs}", _TAB)]
            for move in self.layout.moves[at]:
                lines.append(f"{_TAB}memmove(arena + {move.target}, arena + {move.source}, {move.size});")
            yield "\n".join([*lines, *(self._call(at, step, call) for call in step.calls)])

    def _call(self, at: int, step: Step, call: Call) -> str:
        line, lines = f"{_TAB}{call.kernel}(", []
        for index, one in enumerate(call.arguments):
            piece = self._value(at, step, one) + (");" if index == len(call.arguments) - 1 else ", ")
            if len(line) + len(piece) > WIDTH:
                lines.append(line.rstrip())
                line = _TAB * 2
            line += piece
        return "\n".join([*lines, line])

    def _value(self, at: int, step: Step, value: Any) -> str:
        if isinstance(value, At):
            place = self.layout.place(at, value.tensor.block) + value.offset
            text = f"arena + {place}" if place else "arena"
            return f"(float *)(void *)({text})" if isinstance(value.tensor, Floats) else text
        if isinstance(value, Text):
            return value.text
        if isinstance(value, Constant):
            return self._constant(step.layer, value)
        if isinstance(value, Struct):
            return self._struct(at, step, value)
        return f"(struct map){struct_of(value)}" if isinstance(value, Map) else number(value)

    def _struct(self, at: int, step: Step, value: Struct) -> str:
        """The place of what a kernel is told of a layer, which lies beside the weights, not on the stack."""
        pieces = [f".{name} = {self._field(at, step, one)}" for name, one in value.fields.items()]
        name = name_of(step.layer, "layer", self.structs)
        self.structs[name] = f"const struct {value.type} {name} = {{\n{filled(pieces)}}};\n"
        return f"&{name}"

    def _field(self, at: int, step: Step, value: Any) -> str:
        if isinstance(value, Map):
            return struct_of(value)
        return f"{{{value[0]}, {value[1]}}}" if type(value) is tuple else self._value(at, step, value)

    def _constant(self, layer: str, value: Constant) -> str:
        """The name of an array; one that is there with the same numbers is used again."""
        values = np.ascontiguousarray(value.values)
        key = (values.dtype.name, values.tobytes())
        if key not in self._named:
            name = self._named[key] = name_of(layer, value.word, self.constants)
            self.constants[name], self.layers[name] = values, layer
        return self._named[key]


def kernels(used: set[str]) -> str:
    """`kernels.h` with what these kernels need."""
    text = resources.files("workbench.c99").joinpath("kernels.h").read_text(encoding="utf-8")
    begin, *parts = _MARK.split(text)
    sections = {name: (needs, body) for name, needs, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}
    wanted = {"end"}
    todo = [name for name in used if name in sections]
    while todo:
        name = todo.pop()
        wanted.add(name)
        todo += [one.strip() for one in (sections[name][0] or "").split(",") if one]
    return begin + "".join(body for name, (_, body) in sections.items() if name in wanted)


def written(program: Program, title: str) -> tuple[Mapping[str, str], Layout]:
    """The files of a program, and where things lie."""
    writing = Writing(program, title)
    return writing.files(), writing.layout


_HEADER = """\
{title}

#ifndef NETWORK_H
#define NETWORK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define NETWORK_INPUT_SIZE {input}
#define NETWORK_INPUT_SHAPE {input_shape}
#define NETWORK_OUTPUT_SIZE {answers}
#define NETWORK_OUTPUT_SHAPE {answer_shape}
#define NETWORK_ARENA_BYTES {arena} /* of memory for what lies between the layers */

/* The answers to one input. There is one arena: one call at a time. */
void network_run(const float *input, float *answers);
{bytes}
#ifdef __cplusplus
}}
#endif

#endif
"""

_BYTES_DECLARED = """
/* The same for an input that is bytes already, which saves the memory of floats: write the bytes, each of them the
   nearest whole number to number / scale + zero, to network_input(), row by row, the channels of a pixel side by side
   (channels x rows x columns: {map}), then run. */
#define NETWORK_INPUT_SCALE {scale}
#define NETWORK_INPUT_ZERO {zero}
uint8_t *network_input(void);
void network_run_bytes(float *answers);
"""

_SOURCE = """\
{title}

#include "network.h"

#include "kernels.h"
#include "weights.h"

{arena}

{body}"""

_ARENA = "static uint8_t arena[NETWORK_ARENA_BYTES];"
_ARENA_OF_FLOATS = """\
static union {
    uint8_t bytes[NETWORK_ARENA_BYTES];
    float aligned; /* some maps are floats */
} memory;
#define arena memory.bytes"""

_WHOLE = """\
void network_run(const float *input, float *answers)
{{
{steps}
}}
"""

_IN_TWO = """\
uint8_t *network_input(void)
{{
    return arena + {place};
}}

void network_run(const float *input, float *answers)
{{
{first}
    network_run_bytes(answers);
}}

void network_run_bytes(float *answers)
{{
{others}
}}
"""

_DEFINITIONS = """\
/* weights.c: the numbers of the network, layer by layer. */

#include "weights.h"

"""

_DECLARATIONS = """\
/* weights.h: the numbers of the network, which are in weights.c. */

#ifndef NETWORK_WEIGHTS_H
#define NETWORK_WEIGHTS_H

#include <stdint.h>

#include "kernels.h"

{lines}

#endif
"""
