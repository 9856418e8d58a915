"""What comes with the C of a network: an example with its answers, a program that checks itself, CMake, a sketch."""

from __future__ import annotations

import numpy as np

from workbench.c99.program import Array
from workbench.c99.text import array, comment, number

#: Of the largest answer: what one of 255 steps is.
STEP = 1 / 255


def project(title: str, example: Array, answers: Array) -> dict[str, str]:
    """The files by name. `example` is one input, `answers` what the measured artefact answers to it."""
    step = np.float32(max(float(np.abs(answers).max()) * STEP, 1e-6))
    return {
        "example.h": _EXAMPLE.format(
            input=array("example_input", example.astype(np.float32).ravel()),
            answers=array("example_answers", answers.astype(np.float32).ravel()), step=number(step),
        ),
        "check.c": comment(f"check.c: {title}") + _CHECK,
        "CMakeLists.txt": _CMAKE,
        "network.ino": comment(f"network.ino: {title}") + _SKETCH,
    }  # fmt: skip


_EXAMPLE = """\
/* example.h: an input of the test split, and what the measured artefact answers to it. */

#ifndef NETWORK_EXAMPLE_H
#define NETWORK_EXAMPLE_H

/* By how much an answer may differ: one of 255 steps. */
#define EXAMPLE_STEP {step}

static {input}
static {answers}
#endif
"""

_CHECK = """

/* `network_check` runs the example and says whether the answers are those of the measured artefact.
   `network_check INPUTS ANSWERS` reads inputs from a file, floats of this machine one after the other, and writes
   the answers to another one. */

#ifndef ARDUINO /* where network.ino is the program */

#include <stdio.h>

#include "example.h"
#include "network.h"

static float input[NETWORK_INPUT_SIZE], answers[NETWORK_OUTPUT_SIZE];

static int run_files(const char *from, const char *to)
{
    FILE *inputs = fopen(from, "rb"), *found = fopen(to, "wb");
    int whole = inputs && found;
    while (whole && fread(input, sizeof input, 1, inputs) == 1) {
        network_run(input, answers);
        whole = fwrite(answers, sizeof answers, 1, found) == 1;
    }
    if (inputs)
        fclose(inputs);
    if (found)
        whole = fclose(found) == 0 && whole;
    return whole ? 0 : 2;
}

int main(int count, char **words)
{
    float most = 0.0f;
    if (count == 3)
        return run_files(words[1], words[2]);
    network_run(example_input, answers);
    for (int i = 0; i < NETWORK_OUTPUT_SIZE; i++) {
        const float apart = answers[i] > example_answers[i] ? answers[i] - example_answers[i]
                                                            : example_answers[i] - answers[i];
        most = apart > most ? apart : most;
    }
    printf("largest difference %g, allowed %g: %s\\n", (double)most, (double)EXAMPLE_STEP,
           most <= EXAMPLE_STEP ? "the answers agree" : "THE ANSWERS DIFFER");
    return most <= EXAMPLE_STEP ? 0 : 1;
}

#else
typedef int nothing_here; /* a file must hold something */
#endif
"""

_CMAKE = """\
# cmake -B build && cmake --build build && ctest --test-dir build
cmake_minimum_required(VERSION 3.13)
project(network C)

set(CMAKE_C_STANDARD 99)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF) # ISO C: no fused sums where the text has none
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
option(NETWORK_NATIVE "Compile for the instructions of this machine" OFF)

add_library(network STATIC network.c weights.c)
target_include_directories(network PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
if(CMAKE_C_COMPILER_ID MATCHES "GNU|Clang")
  target_compile_options(network PRIVATE -Wall)
  if(NETWORK_NATIVE)
    target_compile_options(network PRIVATE -march=native)
  endif()
endif()
if(UNIX)
  target_link_libraries(network PUBLIC m)
endif()

add_executable(network_check check.c)
target_link_libraries(network_check PRIVATE network)
enable_testing()
add_test(NAME network_check COMMAND network_check)
"""

_SKETCH = """

/* Arduino opens a sketch in a folder of its name: call the folder of these files "network". A board needs the flash
   and memory that manifest.json names, and 32 bits: on 8-bit boards constants lie in memory. */

#include "network.h"

#include "example.h"

static float answers[NETWORK_OUTPUT_SIZE];

void setup()
{
    Serial.begin(115200);
}

void loop()
{
    const unsigned long start = micros();
    network_run(example_input, answers);
    const unsigned long took = micros() - start;

    float most = 0.0f;
    int best = 0;
    for (int i = 0; i < NETWORK_OUTPUT_SIZE; i++) {
        const float apart = answers[i] > example_answers[i] ? answers[i] - example_answers[i]
                                                            : example_answers[i] - answers[i];
        most = apart > most ? apart : most;
        best = answers[i] > answers[best] ? i : best;
    }
    Serial.print("largest answer ");
    Serial.print(best);
    Serial.print(", ");
    Serial.print(took);
    Serial.print(" microseconds, ");
    Serial.println(most <= EXAMPLE_STEP ? "as measured" : "NOT AS MEASURED");
    delay(1000);
}
"""
