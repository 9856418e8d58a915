"""A network of 8-bit integers as C99 for microcontrollers: read from an int8 artefact, written, compiled, run."""
