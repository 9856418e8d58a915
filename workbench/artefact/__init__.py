"""The ONNX file that a variant is: written, weighed, edited."""
