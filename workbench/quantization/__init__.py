"""Numerics of quantization on ONNX graphs: ranges of activations, QDQ graphs, float16; knows no steps."""
