#!/usr/bin/env python3
"""Draws the bundled subset of Fashion-MNIST from the official files.

usage: draw.py [--check] FOLDER-WITH-THE-OFFICIAL-FILES

Every image of an official file gets the key sha256("litesnn fashion-mnist <file> <index>"), where <file> is `train` or `t10k`
and <index> counts from 0. Within its class an image's rank is the rank of its key. Of the training file, ranks 0 to 199 of each
class are for training and ranks 200 to 249 for validation; of the test file, ranks 0 to 99 are for testing. A file holds rank
after rank, and within a rank the classes 0 to 9, so that the first 10 n images are balanced for every n.

Only the standard library is used, and no random number generator: the draw is the same everywhere.
With --check nothing is written: the subset's files are compared with what would be drawn.
"""

import gzip
import hashlib
import struct
import sys
from pathlib import Path

CLASSES = 10
PIXELS = 28 * 28
OFFICIAL = {  # sha256 of the files as published
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
SPLITS = [  # name, official file, first and last rank of each class
    ("train", "train", range(0, 200)),
    ("validation", "train", range(200, 250)),
    ("t10k", "t10k", range(0, 100)),
]


def official(folder, name):
    """The decoded bytes of an official file, after its checksum."""
    packed = (folder / name).read_bytes()
    found = hashlib.sha256(packed).hexdigest()
    if found != OFFICIAL[name]:
        sys.exit(f"{folder / name}: sha256 is {found}, the official file has {OFFICIAL[name]}")
    return gzip.decompress(packed)


def load(folder, file):
    """Images (as bytes) and labels of an official file."""
    images = official(folder, f"{file}-images-idx3-ubyte.gz")[16:]
    labels = official(folder, f"{file}-labels-idx1-ubyte.gz")[8:]
    return [images[at : at + PIXELS] for at in range(0, len(images), PIXELS)], labels


def by_rank(file, labels):
    """For each class the indices of its images, in the order of their keys."""
    classes = [[] for _ in range(CLASSES)]
    for index, label in enumerate(labels):
        classes[label].append((hashlib.sha256(f"litesnn fashion-mnist {file} {index}".encode()).digest(), index))
    return [[index for _, index in sorted(members)] for members in classes]


def main():
    arguments = sys.argv[1:]
    check = "--check" in arguments
    folders = [Path(argument) for argument in arguments if argument != "--check"]
    if len(folders) != 1:
        sys.exit(__doc__)
    here = Path(__file__).parent
    for name, file, ranks in SPLITS:
        images, labels = load(folders[0], file)
        ranked = by_rank(file, labels)
        chosen = [ranked[label][rank] for rank in ranks for label in range(CLASSES)]
        contents = {
            f"{name}-images-idx3-ubyte.gz": struct.pack(">IIII", 0x803, len(chosen), 28, 28)
            + b"".join(images[index] for index in chosen),
            f"{name}-labels-idx1-ubyte.gz": struct.pack(">II", 0x801, len(chosen)) + bytes(labels[index] for index in chosen),
        }
        for target, content in contents.items():
            path = here / target
            if not check:
                path.write_bytes(gzip.compress(content, compresslevel=9, mtime=0))
            elif gzip.decompress(path.read_bytes()) != content:
                sys.exit(f"{path} is not what is drawn")
            print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {target}  decoded {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
