"""The graph of an ONNX file, edited in memory."""
