#!/usr/bin/env python3
"""Writes corpora.json: what Pillow makes of every image in a folder of odd and broken ones.

Run: python3 tests/vectors/corpora.py FOLDER
FOLDER holds image-rs's test images, PngSuite and EXIF orientation examples, which are not part of this repository.
The Rust test that reads the results is tests/it/corpora.rs; it runs where the images are.
"""

import hashlib
import json
import pathlib
import sys
import warnings

import numpy as np
import PIL
from PIL import Image, ImageOps

FORMATS = {"JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF"}
# Formats whose decoders may round differently: the means of a 4 by 4 grid are written too.
LOSSY = {"JPEG", "MPO", "TIFF"}
PIXELS_MAX = 50_000_000


def result(path):
    try:
        with Image.open(path) as image:
            if image.format not in FORMATS:
                return {"error": f"format {image.format}"}
            if image.width * image.height > PIXELS_MAX:
                return {"error": "too many pixels"}
            pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception as error:
        return {"error": type(error).__name__}
    height, width, _ = pixels.shape
    found = {"size": [width, height], "sha256": hashlib.sha256(pixels.tobytes()).hexdigest()[:16]}
    if image.format not in LOSSY:
        return found
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    grid = [
        [round(float(pixels[rows == r][:, columns == c, k].mean()), 2) for k in range(3)]
        for r in np.unique(rows)
        for c in np.unique(columns)
    ]
    return found | {"grid": grid}


def main():
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None
    folder = pathlib.Path(sys.argv[1])
    skipped = {".md", ".txt", ".README", ".json", ""}
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix not in skipped and p.name != "LICENSE")
    lines = []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        lines.append(f"    {json.dumps(name)}: {json.dumps(result(path), separators=(',', ':'))}")
    text = f'{{\n  "made_with": "Pillow {PIL.__version__}",\n  "files": {{\n' + ",\n".join(lines) + "\n  }\n}\n"
    (pathlib.Path(__file__).parent / "corpora.json").write_text(text)
    print(len(lines), "files")


if __name__ == "__main__":
    main()
