"""The smallest part of an ONNX file that still shows a fault, with its input, as a zip for a bug report."""
