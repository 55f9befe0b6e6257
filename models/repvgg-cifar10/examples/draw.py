"""Draws the example pictures beside this file: a ship, an airplane and a truck.

    python draw.py          # needs Pillow; writes ship.jpg, airplane.jpg and truck.jpg

They are drawings, not photographs, made for this project: simple scenes in which the built-in model recognizes what is shown.
Shapes are drawn at four times the size and reduced, so that their edges are smooth; the random numbers of the textures have a fixed seed.
"""

import pathlib
import random

from PIL import Image, ImageDraw, ImageFilter

SIDE = 256
SCALE = 4
QUALITY = 88


class Scene:
    """A square picture with the coordinates 0..256 in both directions."""

    def __init__(self, above, below):
        side = SIDE * SCALE
        column = Image.new("RGB", (1, side))
        for y in range(side):
            t = y / (side - 1)
            column.putpixel((0, y), tuple(round(a + (b - a) * t) for a, b in zip(above, below)))
        self.image = column.resize((side, side))
        self.random = random.Random(7)

    def _at(self, points):
        return [(x * SCALE, y * SCALE) for x, y in points]

    def polygon(self, *points, fill):
        ImageDraw.Draw(self.image).polygon(self._at(points), fill=fill)

    def box(self, left, top, right, bottom, fill):
        self.polygon((left, top), (right, top), (right, bottom), (left, bottom), fill=fill)

    def ellipse(self, left, top, right, bottom, fill):
        ImageDraw.Draw(self.image).ellipse(sum(self._at([(left, top), (right, bottom)]), ()), fill=fill)

    def line(self, *points, fill, width):
        ImageDraw.Draw(self.image).line(self._at(points), fill=fill, width=round(width * SCALE))

    def soft(self, radius):
        """Blurs what was drawn so far."""
        self.image = self.image.filter(ImageFilter.GaussianBlur(radius * SCALE))

    def save(self, name):
        image = self.image.resize((SIDE, SIDE), Image.LANCZOS)
        image.save(pathlib.Path(__file__).parent / name, quality=QUALITY, optimize=True)


def ship():
    """A freighter from the side, on open water."""
    s = Scene((150, 185, 220), (215, 228, 238))
    for left, top, right, bottom in [(10, 30, 110, 52), (60, 20, 150, 44), (170, 60, 260, 80)]:
        s.ellipse(left, top, right, bottom, (236, 241, 246))
    s.soft(6)
    s.box(0, 150, 256, 256, (44, 92, 130))
    for y in range(152, 256, 3):
        for _ in range(10):
            x = s.random.uniform(-20, 250)
            shade = s.random.choice([(60, 112, 150), (36, 80, 116), (84, 134, 168)])
            s.line((x, y), (x + s.random.uniform(8, 34), y), fill=shade, width=1.2)
    s.soft(0.8)
    s.polygon((14, 132), (244, 124), (226, 176), (36, 176), fill=(34, 40, 54))
    s.polygon((30, 162), (232, 162), (226, 178), (36, 178), fill=(150, 42, 36))
    s.box(36, 86, 84, 130, (238, 238, 234))
    s.box(44, 66, 76, 88, (226, 228, 226))
    for y in (93, 104, 115):
        for x in range(40, 80, 8):
            s.box(x, y, x + 4, y + 5, (50, 66, 84))
    s.box(52, 46, 66, 68, (190, 60, 44))
    s.box(52, 46, 66, 52, (30, 30, 34))
    colours = [(176, 84, 52), (52, 110, 150), (200, 160, 70), (86, 130, 90), (160, 60, 60)]
    for column, x in enumerate(range(92, 206, 19)):
        for row in range(2 if column % 3 == 2 else 3):
            top = 114 - 14 * row
            s.box(x, top, x + 17, top + 13, colours[(column * 2 + row) % len(colours)])
    s.line((222, 126), (222, 76), fill=(90, 90, 96), width=3)
    s.line((222, 80), (204, 100), fill=(90, 90, 96), width=1.5)
    s.polygon((4, 180), (240, 176), (252, 184), (0, 188), fill=(176, 200, 216))
    s.save("ship.jpg")


def airplane():
    """An airliner that climbs, from the side."""
    s = Scene((70, 130, 205), (172, 208, 238))
    for left, top, right, bottom in [(-30, 180, 90, 216), (40, 196, 170, 232), (150, 190, 290, 226)]:
        s.ellipse(left, top, right, bottom, (228, 237, 246))
    s.soft(9)
    s.polygon((120, 118), (176, 62), (192, 60), (160, 122), fill=(176, 186, 200))
    s.polygon((24, 152), (40, 128), (190, 92), (224, 92), (240, 100), (232, 112), (196, 124), (60, 160), fill=(240, 243, 247))
    s.polygon((60, 160), (196, 124), (232, 112), (236, 106), (190, 114), (50, 150), fill=(186, 196, 210))
    s.polygon((28, 146), (8, 92), (28, 90), (66, 126), fill=(36, 74, 150))
    s.polygon((34, 152), (6, 160), (2, 168), (22, 168), (64, 156), fill=(206, 214, 226))
    s.polygon((112, 140), (156, 128), (120, 208), (98, 214), fill=(206, 214, 226))
    s.ellipse(118, 150, 150, 168, (122, 134, 152))
    s.ellipse(142, 152, 152, 166, (60, 70, 86))
    for i in range(13):
        x, y = 76 + i * 10, 131 - i * 2.4
        s.ellipse(x, y, x + 4, y + 5, (54, 72, 102))
    s.polygon((214, 98), (226, 97), (231, 102), (216, 104), fill=(40, 52, 74))
    s.save("airplane.jpg")


def truck():
    """A box truck from the side, on a road."""
    s = Scene((170, 200, 226), (226, 232, 236))
    s.box(0, 120, 256, 180, (112, 136, 92))
    for _ in range(60):
        x, y = s.random.uniform(-10, 256), s.random.uniform(96, 130)
        s.ellipse(x, y, x + 26, y + 30, s.random.choice([(84, 112, 70), (98, 124, 80), (74, 100, 64)]))
    s.soft(3)
    s.box(0, 176, 256, 256, (104, 106, 110))
    s.box(0, 174, 256, 180, (150, 150, 148))
    for x in range(-10, 256, 60):
        s.box(x, 226, x + 34, 231, (224, 220, 200))
    s.polygon((16, 214), (246, 214), (236, 224), (24, 224), fill=(66, 68, 72))
    s.soft(1)
    s.box(14, 58, 170, 184, (236, 236, 232))
    s.box(14, 58, 170, 66, (206, 206, 204))
    s.box(14, 108, 170, 134, (188, 52, 44))
    s.box(14, 182, 244, 196, (52, 54, 60))
    s.polygon((176, 92), (218, 92), (236, 134), (244, 140), (244, 190), (176, 190), fill=(190, 50, 42))
    s.polygon((186, 100), (214, 100), (228, 134), (186, 134), fill=(64, 86, 108))
    s.polygon((190, 104), (202, 104), (196, 130), (190, 130), fill=(120, 146, 168))
    s.box(236, 156, 246, 166, (246, 230, 160))
    s.box(232, 180, 250, 194, (70, 72, 78))
    for x in (46, 84, 206):
        s.ellipse(x - 20, 180, x + 20, 220, (28, 28, 32))
        s.ellipse(x - 9, 191, x + 9, 209, (150, 152, 156))
    s.save("truck.jpg")


if __name__ == "__main__":
    ship()
    airplane()
    truck()
