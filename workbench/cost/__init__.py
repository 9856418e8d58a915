"""Analytic cost: multiply-accumulates, parameters, memory access, peak activations."""
