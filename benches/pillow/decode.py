"""Times decoding and preprocessing of JPEGs beside Pillow, one thread each, in turn: medians in milliseconds.

    pip install pillow numpy
    cargo build --release -p repserve-preprocess --features jpeg-turbo-simd --example time_pictures
    python benches/pillow/decode.py [PICTURE ...]

Without pictures it draws one of 4000x3000 and saves it in four ways. Pillow uses `draft`, which decodes at the smallest scale that is
large enough, as the program does. Each picture is prepared for short sides that need 1/8, 1/4 and 1/2 of its pixels and all of them.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
from PIL import Image

TIMER = Path(__file__).parents[2] / "target/release/examples/time_pictures"
ROUNDS = 11
MEAN = numpy.float32([0.485, 0.456, 0.406])
STD = numpy.float32([0.229, 0.224, 0.225])
WAYS = {
    "one scan, 4:2:0": {"subsampling": "4:2:0"},
    "one scan, 4:4:4": {"subsampling": "4:4:4"},
    "progressive, 4:2:0": {"subsampling": "4:2:0", "progressive": True},
    "progressive, 4:4:4": {"subsampling": "4:4:4", "progressive": True},
}


def drawn(width: int, height: int) -> Image.Image:
    """Something between a photograph and noise: soft shapes with a grain."""
    generator = numpy.random.default_rng(1)
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.float32)
    waves = [numpy.sin((x * k + y * (4 - k)) / 229) * 90 + 128 for k in (1, 2, 3)]
    grain = generator.normal(0, 4, (height, width, 1)).astype(numpy.float32)
    return Image.fromarray(numpy.clip(numpy.stack(waves, -1) + grain, 0, 255).astype(numpy.uint8))


def with_pillow(path: Path, short_side: int) -> float:
    started = time.perf_counter()
    with Image.open(path) as image:
        factor = short_side / min(image.size)
        size = tuple(max(short_side, int(side * factor)) for side in image.size)
        image.draft("RGB", tuple(int(side * 1.25) for side in size))
        resized = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    side = short_side * 7 // 8
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    pixels = numpy.asarray(resized.crop((left, top, left + side, top + side)), numpy.float32)
    ((pixels / 255 - MEAN) / STD).transpose(2, 0, 1).copy()
    return (time.perf_counter() - started) * 1e3


def compare(name: str, path: Path, timer: subprocess.Popen) -> None:
    with Image.open(path) as image:
        shorter = min(image.size)
    for scale, part in (("1/8", 11), ("1/4", 6), ("1/2", 3), ("1", 1.5)):
        short_side = int(shorter / part)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            timer.stdin.write(f"{short_side} {path}\n")
            timer.stdin.flush()
            ours.append(float(timer.stdout.readline()))
            theirs.append(with_pillow(path, short_side))
        print(f"| {name} | {scale} | {statistics.median(ours):.1f} | {statistics.median(theirs):.1f} |", flush=True)


def main() -> None:
    timer = subprocess.Popen([TIMER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print("| picture | scale | repserve, ms | Pillow, ms |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        pictures = {Path(path).name: Path(path) for path in sys.argv[1:]}
        if not pictures:
            picture = drawn(4000, 3000)
            for name, options in WAYS.items():
                pictures[name] = Path(folder) / f"{len(pictures)}.jpg"
                picture.save(pictures[name], quality=88, **options)
        for name, path in pictures.items():
            compare(name, path, timer)
    timer.stdin.close()
    timer.wait()


if __name__ == "__main__":
    main()
