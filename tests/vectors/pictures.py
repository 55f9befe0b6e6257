#!/usr/bin/env python3
"""Writes pictures.json and pictures.bin: small files of kinds that are rare or a little broken, and what Pillow makes of them.

Run with Pillow installed: python3 tests/vectors/pictures.py
The Rust test that reads them is tests/it/pictures.rs. A file that Pillow refuses is an error here.
"""

import hashlib
import io
import json
import pathlib
import struct
import warnings
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT = 21, 13
BYTE, SHORT, LONG, SBYTE, SSHORT, SLONG, FLOAT = 1, 3, 4, 6, 8, 9, 11
CODES = {BYTE: "B", SHORT: "H", LONG: "I", SBYTE: "b", SSHORT: "h", SLONG: "i", FLOAT: "f"}


def waves(channels, least, most):
    """Integers between two, of shape (HEIGHT, WIDTH, channels)."""
    y, x, c = np.mgrid[0:HEIGHT, 0:WIDTH, 0:channels]
    return (least + (np.sin(x / 3 + c) + np.cos(y / 2 - c) + 2) / 4 * (most - least)).astype(np.int64)


def picture(mode):
    if mode == "I;16":
        return Image.fromarray(waves(1, 0, 600)[:, :, 0].astype(np.uint16))
    return Image.fromarray(waves(3, 0, 255).astype(np.uint8)).convert(mode)


def saved(mode, kind, **options):
    file = io.BytesIO()
    picture(mode).save(file, kind, **options)
    return file.getvalue()


def directory(order, entries, start):
    """An image file directory at `start`: tag to (kind, values). Values that do not fit follow it."""
    places, after = b"", b""
    for tag, (kind, values) in sorted(entries.items()):
        data = b"".join(struct.pack(order + CODES[kind], value) for value in values)
        if len(data) > 4:
            place = start + 2 + 12 * len(entries) + 4 + len(after)
            after += data + b"\0" * (len(data) % 2)
            data = struct.pack(order + "I", place)
        places += struct.pack(order + "HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    return struct.pack(order + "H", len(entries)) + places + b"\0" * 4 + after


def tiff_head(order, place):
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", place)


def exif(kind, values, order):
    return tiff_head(order, 8) + directory(order, {0x0112: (kind, values)}, 8)


def jpegs():
    plain = saved("RGB", "JPEG", quality=90)
    after_jfif = 4 + struct.unpack(">H", plain[4:6])[0]

    def segment(marker, content):
        return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content

    def inserted(what, at=after_jfif):
        return plain[:at] + what + plain[at:]

    def icc(number, count):
        return segment(0xE2, b"ICC_PROFILE\0" + bytes([number, count]) + b"profile")

    yield "junk before a marker", inserted(b"junk")
    yield "junk with a stuffed byte", inserted(b"\xff\x00abc")
    yield "part 1 of 2 of a colour profile", inserted(icc(1, 2))
    yield "part 2 of 2 of a colour profile", inserted(icc(2, 2))
    yield "part 0 of 0 of a colour profile", inserted(icc(0, 0))
    yield "a colour profile's part twice", inserted(icc(1, 2) + icc(1, 2))
    yield "another major revision of JFIF", plain[:11] + b"\x09" + plain[12:]
    yield "an unknown transform of Adobe's", inserted(segment(0xEE, b"Adobe\0\x64\0\0\0\0\x09"))
    yield "fill bytes before a marker", inserted(b"\xff\xff\xff")
    yield "a progressive one with junk", saved("RGB", "JPEG", progressive=True).replace(b"\xff\xc2", b"??\xff\xc2", 1)
    for kind in (BYTE, SHORT, LONG, SBYTE, SSHORT, SLONG, FLOAT):
        for count in (1, 2):
            for order in "<>":
                block = exif(kind, [6, 3][:count], order)
                name = f"orientation of kind {kind}, {count} values, {order}"
                yield name, inserted(segment(0xE1, b"Exif\0\0" + block), 2)
    block = exif(SHORT, [8], ">")
    parts = (segment(0xE1, b"Exif\0\0" + part) for part in (block[:15], block[15:]))
    yield "EXIF in two segments", inserted(b"".join(parts), 2)
    xmp = (segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0tiff:Orientation=\"%d\"" % value) for value in (3, 6))
    yield "two XMP packets", inserted(b"".join(xmp), 2)
    yield "EXIF after the pixels", plain[:-2] + segment(0xE1, b"Exif\0\0" + block) + plain[-2:]


def pngs():
    def chunk(name, content, checksum=None):
        sum_ = zlib.crc32(name + content) if checksum is None else checksum
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", sum_)

    def split(file):
        at = file.index(b"IDAT") - 4
        length = struct.unpack(">I", file[at : at + 4])[0]
        return file[:at], file[at + 8 : at + 8 + length], file[at + 12 + length :]

    end = chunk(b"IEND", b"")
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16"):
        head, pixels, _ = split(saved(mode, "PNG"))
        yield f"{mode} without IEND", head + chunk(b"IDAT", pixels)
        yield f"{mode} cut in the checksum of the pixels", (head + chunk(b"IDAT", pixels))[:-3]
        yield f"{mode} with a wrong checksum", head + chunk(b"IDAT", pixels, 7) + end
        yield f"{mode} with an unknown critical chunk", head + chunk(b"ABCD", b"x") + chunk(b"IDAT", pixels) + end
    head, pixels, _ = split(saved("RGB", "PNG"))
    pixels = chunk(b"IDAT", pixels)
    yield "an unknown critical chunk after the pixels", head + pixels + chunk(b"ABCD", b"x") + end
    yield "junk after the pixels", head + pixels + bytes(20)
    rows = zlib.decompress(split(saved("P", "PNG"))[1])
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 3, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    indexed = signature + chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)) + end
    yield "a short palette", indexed[0] + chunk(b"PLTE", bytes(range(30))) + indexed[1]
    block = exif(SHORT, [6], ">")
    profile = b"\nexif\n%8d\n" % len(block) + block.hex().encode() + b"\n"
    key = b"Raw profile type exif\0"
    texts = {
        "tEXt": chunk(b"tEXt", key + profile),
        "zTXt": chunk(b"zTXt", key + b"\0" + zlib.compress(profile)),
        "iTXt": chunk(b"iTXt", key + b"\0\0\0\0" + profile),
        "packed iTXt": chunk(b"iTXt", key + b"\x01\0\0\0" + zlib.compress(profile)),
        "eXIf": chunk(b"eXIf", block),
        "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation=\"6\"/>"),
    }
    for name, text in texts.items():
        yield f"{name} before the pixels", head + text + pixels + end
        yield f"{name} after the pixels, without IEND", head + pixels + text
    turned = chunk(b"eXIf", exif(LONG, [8], "<"))
    yield "eXIf and a raw profile", head + turned + texts["tEXt"] + pixels + end


def tiffs():
    def tiff(data, entries, order="<"):
        """A file of one strip; entries of None are left out."""
        entries = {256: (SHORT, [WIDTH]), 257: (SHORT, [HEIGHT]), 273: (LONG, [8]), 279: (LONG, [len(data)])} | entries
        entries = {tag: entry for tag, entry in entries.items() if entry is not None}
        data += b"\0" * (len(data) % 2)
        place = 8 + len(data)
        return tiff_head(order, place) + data + directory(order, entries, place)

    def packed(values, bits):
        rows = []
        for row in values[:, :, 0]:
            number = int("".join(f"{value:0{bits}b}" for value in row), 2)
            padding = -len(row) * bits % 8
            rows.append((number << padding).to_bytes((len(row) * bits + padding) // 8, "big"))
        return b"".join(rows)

    def reversed_bits(data):
        return bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)

    for compression in ("group3", "group4", "tiff_ccitt"):
        for options in ({}, {266: 2}, {278: 5}) + (({292: 1}, {292: 5}, {292: 4, 266: 2}) if compression == "group3" else ()):
            yield f"{compression} {options}", saved("1", "TIFF", compression=compression, tiffinfo=options)
    file = saved("1", "TIFF", compression="group4")
    yield "group 4 without the lengths of its strips", file.replace(struct.pack("<H", 279), struct.pack("<H", 40000))
    twelve = {258: (SHORT, [12]), 262: (SHORT, [1])}
    yield "12 bits", tiff(packed(waves(1, 0, 700), 12), twelve)
    yield "12 bits, deflate", tiff(zlib.compress(packed(waves(1, 0, 700), 12)), twelve | {259: (SHORT, [8])})
    for order in "<>":
        for bits in (8, 16, 32):
            values = waves(1, -100 if bits > 8 else 0, 400 if bits > 8 else 120)
            data = values.astype(f"{order}i{bits // 8}").tobytes()
            signed = {258: (SHORT, [bits]), 262: (SHORT, [1]), 339: (SHORT, [2])}
            yield f"signed, {bits} bits, {order}", tiff(data, signed, order)
            lengths = {279: None}
            yield f"signed, {bits} bits, {order}, without lengths", tiff(data, signed | lengths, order)
            if order == ">":
                # Pillow exchanges the bytes of these once too often.
                continue
            lengths |= {259: (SHORT, [8])}
            yield f"signed, {bits} bits, {order}, packed, without lengths", tiff(zlib.compress(data), signed | lengths, order)
    for bits in (1, 2, 4, 8):
        data = packed(waves(1, 0, (1 << bits) - 1), bits)
        # Pillow has no eight bits from the lowest with zero for white.
        for photometric in (0, 1) if bits < 8 else (1,):
            entries = {258: (SHORT, [bits]), 262: (SHORT, [photometric]), 266: (SHORT, [2])}
            yield f"{bits} bits from the lowest, {photometric}", tiff(reversed_bits(data), entries)
    five = waves(5, 0, 255).astype(np.uint8).tobytes()
    samples = {258: (SHORT, [8] * 5), 277: (SHORT, [5])}
    for extra in (0, 1, 2):
        entries = samples | {262: (SHORT, [2]), 338: (SHORT, [extra, 0])}
        yield f"RGB with two samples more, {extra}", tiff(five, entries)
    yield "CMYK with a sample more", tiff(five, samples | {262: (SHORT, [5]), 338: (SHORT, [0])})
    rgb = waves(3, 0, 255).astype(np.uint8).tobytes()
    entries = {258: (SHORT, [8] * 3), 262: (SHORT, [2]), 277: (SHORT, [3])}
    yield "without the lengths of its strips", tiff(rgb, entries | {279: None})
    yield "a wrong length of its strip", tiff(rgb, entries | {279: (LONG, [5])})
    yield "a header with its bytes exchanged", b"II\0*" + tiff(rgb, entries)[4:]
    for mode in ("L", "RGB", "YCbCr", "CMYK"):
        yield f"JPEG of {mode}", saved(mode, "TIFF", compression="jpeg")
    orientation = {274: (LONG, [6])}
    yield "orientation as a number of four bytes", tiff(rgb, entries | orientation)


def read(file):
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def main():
    warnings.simplefilter("ignore")
    cases, blob = [], bytearray()
    for kind, files in (("jpeg", jpegs()), ("png", pngs()), ("tiff", tiffs())):
        for name, file in files:
            try:
                pixels = read(file)
            except Exception as error:
                raise SystemExit(f"{kind}: {name}: {error}") from error
            height, width, _ = pixels.shape
            sha256 = hashlib.sha256(pixels.tobytes()).hexdigest()[:16]
            cases.append({"name": f"{kind}: {name}", "bytes": len(file), "size": [width, height], "sha256": sha256})
            blob += file
    lines = ",\n".join("    " + json.dumps(case) for case in cases)
    text = f'{{\n  "made_with": "Pillow {PIL.__version__}",\n  "cases": [\n{lines}\n  ]\n}}\n'
    (HERE / "pictures.json").write_text(text)
    (HERE / "pictures.bin").write_bytes(blob)
    print(len(cases), "files,", len(blob), "bytes")


if __name__ == "__main__":
    main()
