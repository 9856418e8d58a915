"""Pack Fashion-MNIST into the file that ships in the package.

    python benchmarks/bundle_data.py /usr/share/datasets/fashion-mnist

The folder holds the four idx.gz files as published (Debian: package dataset-fashion-mnist;
elsewhere: github.com/zalandoresearch/fashion-mnist). The whole test split is kept, and of the
training split a stratified slice of 10,000 images: 8,000 `train` (its first 1,000 serve as
`calibration`) and 2,000 `validation`, which the bundled networks never saw in training.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np

SEED = 2017
CLASSES = 10
PER_CLASS = 1000
TARGET = Path(__file__).parent.parent / "workbench" / "data" / "fashion-mnist.npz"


def read_idx(path: Path) -> np.ndarray:
    """An idx.gz file as an array of uint8: labels (N,) or images (N, 28, 28)."""
    raw = gzip.decompress(path.read_bytes())
    dims = raw[3]
    shape = np.frombuffer(raw, ">i4", dims, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dims).reshape(shape).copy()


def stratified_slice(labels: np.ndarray) -> np.ndarray:
    """Indices (CLASSES * PER_CLASS,) with the classes in turn, so that every prefix is balanced."""
    rng = np.random.default_rng(SEED)
    by_class = [rng.permutation(np.flatnonzero(labels == c))[:PER_CLASS] for c in range(CLASSES)]
    return np.stack(by_class, axis=1).reshape(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    labels = read_idx(folder / "train-labels-idx1-ubyte.gz")
    index = stratified_slice(labels)
    np.savez_compressed(
        TARGET,
        train_images=read_idx(folder / "train-images-idx3-ubyte.gz")[index],
        train_labels=labels[index],
        train_index=index.astype(np.int32),
        test_images=read_idx(folder / "t10k-images-idx3-ubyte.gz"),
        test_labels=read_idx(folder / "t10k-labels-idx1-ubyte.gz"),
    )
    print(f"{TARGET.name}: {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
