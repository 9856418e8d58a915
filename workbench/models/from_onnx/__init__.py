"""Networks in ONNX files of others as torch modules, compared with ONNX Runtime before they count.

Why not onnx2pytorch (0.6.0): it computes right on most files, but keeps sizes and axes as tensors and gives its parts
names that torch takes for paths, so that torch.export could follow none of 18 real networks that it had converted. It
also needs a torchvision that fits the torch. Here sizes are numbers while the network is followed, and ONNX's
operators in torch are those that the simulation of integers has already.
"""
