"""ONNX's operators in torch: what files are simulated and converted with."""
