import numpy as np


def prepare(pixels):
    return (pixels / 127.5 - 1).astype(np.float32).transpose(0, 3, 1, 2)
