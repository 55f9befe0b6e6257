"""Pictures that a formula defines, as PNG."""

import pathlib
import struct
import sys
import zlib


def png(seed: int, size: int = 40) -> bytes:
    """A picture of `size` times `size` pixels."""
    rows = b"".join(
        b"\0" + bytes((seed * 53 + x * y * (channel + 1)) % 256 for x in range(size) for channel in range(3))
        for y in range(size)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).write_bytes(png(1))
