#!/usr/bin/env python3
"""Writes preprocess.json and preprocess.bin: what torchvision makes of images that a formula defines.

Run with torchvision and Pillow installed: python3 tests/vectors/preprocess.py
The Rust test that reads them is tests/it/preprocess.rs; it makes the same images by the same formula.
"""

import json
import pathlib

import numpy as np
import PIL
import torchvision
from PIL import Image
from torchvision.transforms import v2 as T
from torchvision.transforms import InterpolationMode

HERE = pathlib.Path(__file__).parent
MODES = {
    "nearest": InterpolationMode.NEAREST,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "lanczos": InterpolationMode.LANCZOS,
}
# width, height, resize or None, [height, width] of the result, kind
SHAPES = [
    (50, 37, 32, [28, 28], "noise"),  # down, landscape, odd
    (37, 50, 32, [28, 28], "smooth"),  # down, portrait
    (500, 375, 32, [32, 32], "noise"),  # far down
    (641, 479, 36, [33, 31], "smooth"),  # odd everything
    (13, 17, 30, [24, 24], "noise"),  # up
    (31, 33, 32, [32, 32], "noise"),  # nearly equal
    (32, 32, 32, [32, 32], "noise"),  # equal
    (32, 45, 32, [32, 32], "noise"),  # one axis untouched, odd crop
    (20, 300, 16, [20, 20], "noise"),  # padded across, cropped down
    (60, 60, 10, [15, 14], "smooth"),  # padded on both sides, one odd
    (53, 29, None, [24, 40], "noise"),  # squashed, down and up
    (1, 1, 8, [8, 8], "noise"),
    (3, 200, 5, [7, 9], "noise"),
    (1000, 700, 31, [30, 30], "steps"),  # overshoot at hard edges
    (9, 7, 40, [36, 36], "steps"),
]


def image(width, height, kind):
    """The formula, in integers: pixel (x, y), channel c."""
    y, x, c = np.mgrid[0:height, 0:width, 0:3].astype(np.int64)
    if kind == "noise":
        value = (x * x * 31 + y * y * 17 + x * y * 7 + c * 101 + (x ^ y) * 53) * 37 // 8
    elif kind == "smooth":
        value = (x * (3 + c) + y * (5 - c)) // 4
    else:
        value = ((x // 5 + y // 3 + c) % 2) * 255
    return Image.fromarray((value & 255).astype(np.uint8))


def main():
    cases, blob = [], bytearray()
    for interpolation, mode in MODES.items():
        for width, height, resize, size, kind in SHAPES:
            steps = [T.Resize(resize or size, interpolation=mode, antialias=True), T.CenterCrop(size)]
            pixels = np.asarray(T.Compose(steps)(image(width, height, kind)))
            cases.append(
                dict(width=width, height=height, kind=kind, resize=resize, size=size, interpolation=interpolation)
            )
            blob += pixels.tobytes()
    made_with = f"Pillow {PIL.__version__}, torchvision {torchvision.__version__.split('+')[0]}"
    lines = ",\n    ".join(json.dumps(case) for case in cases)
    (HERE / "preprocess.json").write_text(f'{{\n  "made_with": "{made_with}",\n  "cases": [\n    {lines}\n  ]\n}}\n')
    (HERE / "preprocess.bin").write_bytes(blob)
    print(f"{len(cases)} cases, {len(blob)} bytes, {made_with}")


if __name__ == "__main__":
    main()
