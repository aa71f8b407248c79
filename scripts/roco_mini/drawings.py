"""How pictures of nothing are drawn: each kind from a random generator and a size."""

from __future__ import annotations

import colorsys
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Random = np.random.Generator
WORDS = (
    "invoice total amount due date customer order number please pay within thirty days thank you for your business the "
    "of and to in meeting notes agenda item one two three chapter section figure table result summary dear sir madam "
    "regards street city"
)


def _colour(random: Random, light: tuple[float, float] = (0.2, 1.0)) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(random.random(), random.random(), random.uniform(*light))
    return int(red * 255), int(green * 255), int(blue * 255)


def _canvas(random: Random, width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    pale = random.random() < 0.6
    image = Image.new("RGB", (width, height), _colour(random, (0.85, 1.0)) if pale else _colour(random, (0.0, 0.5)))
    return image, ImageDraw.Draw(image)


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _phrase(random: Random, count: int) -> str:
    return " ".join(str(word) for word in random.choice(WORDS.split(), count))


def colour_bars(random: Random, width: int, height: int) -> Image.Image:
    """Vertical or horizontal bars, coloured or grey, sometimes above a ramp."""
    count = int(random.integers(4, 12))
    grey = random.random() < 0.4
    bars = np.array(
        [[v, v, v] for v in np.linspace(0, 255, count)] if grey else [_colour(random) for _ in range(count)]
    )
    if random.random() < 0.25:
        row = bars[np.arange(height) * count // height][:, None].repeat(width, 1)
    else:
        row = bars[np.arange(width) * count // width][None].repeat(height, 0)
    if random.random() < 0.5:
        row[int(height * 0.75) :] = np.linspace(0, 255, width)[None, :, None]
    return Image.fromarray(row.astype(np.uint8))


def test_pattern(random: Random, width: int, height: int) -> Image.Image:
    """Rings, a cross, line pairs and corner boxes, as a monitor's test pattern has."""
    image, pen = _canvas(random, width, height)
    ink = _colour(random)
    step = int(random.integers(12, 40))
    if random.random() < 0.6:
        for x in range(0, width, step):
            pen.line((x, 0, x, height), fill=ink)
        for y in range(0, height, step):
            pen.line((0, y, width, y), fill=ink)
    for ring in range(int(random.integers(1, 6))):
        radius = min(width, height) * (0.45 - 0.07 * ring)
        box = (width / 2 - radius, height / 2 - radius, width / 2 + radius, height / 2 + radius)
        pen.ellipse(box, outline=_colour(random), width=int(random.integers(1, 5)))
    for x in range(0, width // 4, int(random.integers(3, 7))):
        pen.line((x + width // 3, height * 0.4, x + width // 3, height * 0.6), fill=_colour(random))
    side = int(random.integers(15, 50))
    for x, y in ((0, 0), (width - side, 0), (0, height - side), (width - side, height - side)):
        pen.rectangle((x, y, x + side, y + side), fill=_colour(random))
    return image


def checkerboard(random: Random, width: int, height: int) -> Image.Image:
    """Two alternating colours."""
    side = int(random.integers(6, 50))
    rows, columns = np.arange(height)[:, None] // side, np.arange(width)[None] // side
    pair = np.array([_colour(random, (0.0, 0.5)), _colour(random, (0.6, 1.0))], np.uint8)
    return Image.fromarray(pair[(rows + columns * (random.random() < 0.8)) % 2])


def gradient(random: Random, width: int, height: int) -> Image.Image:
    """A smooth ramp in a random direction, or one that comes and goes."""
    angle, waves = random.uniform(0, 2 * math.pi), random.choice([0.5, 0.5, 1, 3])
    y, x = np.mgrid[:height, :width] / max(width, height)
    rings = random.random() < 0.3
    position = np.hypot(x - 0.5, y - 0.5) if rings else x * math.cos(angle) + y * math.sin(angle)
    share = (0.5 - 0.5 * np.cos(2 * math.pi * waves * position))[..., None]
    return Image.fromarray((share * _colour(random) + (1 - share) * np.array(_colour(random))).astype(np.uint8))


def page(random: Random, width: int, height: int) -> Image.Image:
    """Lines of text, dark on light or the reverse, sometimes with a heading or in two columns."""
    image, pen = _canvas(random, width, height)
    dark = sum(image.getpixel((0, 0))) > 380  # type: ignore[arg-type]
    ink = (15, 15, 15) if dark else (235, 235, 235)
    size, y, margin = random.uniform(7, 20), 12.0, int(random.integers(5, 25))
    if random.random() < 0.6:
        pen.text((margin, y), _phrase(random, 2).upper(), ink, _font(size * 1.8))
        y += size * 2.6
    columns = 2 if random.random() < 0.25 else 1
    while y < height - size:
        for column in range(columns):
            words = _phrase(random, max(2, int(width / columns / size / 3.2 * random.uniform(0.4, 1))))
            if random.random() < 0.9:
                pen.text((margin + column * width / 2, y), words, ink, _font(size))
        y += size * float(random.choice([1.3, 1.3, 1.3, 2.2]))
    return image


def form(random: Random, width: int, height: int) -> Image.Image:
    """A table of boxes with numbers and words: an invoice, a form, a spreadsheet."""
    image = Image.new("RGB", (width, height), _colour(random, (0.9, 1.0)))
    pen = ImageDraw.Draw(image)
    rows, columns = int(random.integers(4, 14)), int(random.integers(2, 6))
    for row in range(rows):
        for column in range(columns):
            x, y = column * width / columns, row * height / rows
            pen.rectangle((x, y, x + width / columns, y + height / rows), outline=(90, 90, 90))
            word = f"{random.uniform(0, 900):.2f}" if column and row else _phrase(random, 1)
            pen.text((x + 3, y + 2), word, (10, 10, 10), _font(min(14, height / rows * 0.7)))
    return image


def blank(random: Random, width: int, height: int) -> Image.Image:
    """One colour, most often black, white or a grey."""
    grey = int(random.choice([0, 255, int(random.integers(0, 256))]))
    colour = (grey,) * 3 if random.random() < 0.75 else _colour(random)
    pixels = np.full((height, width, 3), colour) + random.normal(0, random.choice([0, 0, 1.5]), (height, width, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def noise(random: Random, width: int, height: int) -> Image.Image:
    """Noise: fine or coarse, grey or coloured, Gaussian or black and white."""
    coarse = int(random.choice([1, 1, 2, 4, 12, 30]))
    shape = (height // coarse + 1, width // coarse + 1, int(random.choice([1, 1, 3])))
    pixels: np.ndarray = random.normal(random.uniform(60, 190), random.uniform(10, 90), shape)
    if random.random() < 0.25:
        pixels = (random.random(shape) > random.uniform(0.02, 0.98)) * 255.0
    image = Image.fromarray(np.broadcast_to(pixels.clip(0, 255), (*shape[:2], 3)).astype(np.uint8))
    return image.resize(
        (width, height), Image.Resampling.BICUBIC if random.random() < 0.6 else Image.Resampling.NEAREST
    )


def phantom(random: Random, width: int, height: int) -> Image.Image:
    """A bright disc or box with round inserts and bar groups, as a scanner's phantom shows, on black."""
    image = Image.new("L", (width, height), int(random.integers(0, 20)))
    pen = ImageDraw.Draw(image)
    radius = min(width, height) * random.uniform(0.3, 0.48)
    body, box = (
        int(random.integers(70, 210)),
        (width / 2 - radius, height / 2 - radius, width / 2 + radius, height / 2 + radius),
    )
    (pen.ellipse if random.random() < 0.7 else pen.rectangle)(box, fill=body)
    count = int(random.integers(3, 12))
    for index in range(count):
        angle, small = 2 * math.pi * index / count, radius * random.uniform(0.03, 0.16)
        x, y = width / 2 + 0.65 * radius * math.cos(angle), height / 2 + 0.65 * radius * math.sin(angle)
        pen.ellipse((x - small, y - small, x + small, y + small), fill=int(random.integers(0, 256)))
    if random.random() < 0.5:
        for index in range(8):
            x = width / 2 - radius * 0.3 + index * radius * 0.08
            pen.rectangle((x, height / 2 - radius * 0.2, x + radius * 0.04, height / 2 + radius * 0.2), fill=255 - body)
    pixels = np.asarray(image) + random.normal(0, random.uniform(0, 8), (height, width))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("RGB")


def house(random: Random, width: int, height: int) -> Image.Image:
    """A house with a roof, windows, a sun and perhaps a tree."""
    image, pen = _canvas(random, width, height)
    x, y, w, h = width * random.uniform(0.1, 0.4), height * 0.5, width * random.uniform(0.3, 0.5), height * 0.4
    pen.rectangle((0, y + h * 0.9, width, height), fill=_colour(random))
    pen.rectangle((x, y, x + w, y + h), fill=_colour(random), outline=(0, 0, 0))
    pen.polygon([(x - 10, y), (x + w / 2, y - h * random.uniform(0.4, 0.9)), (x + w + 10, y)], fill=_colour(random))
    for share in (0.15, 0.6):
        pen.rectangle((x + w * share, y + h * 0.2, x + w * (share + 0.22), y + h * 0.45), fill=_colour(random))
    pen.rectangle((x + w * 0.4, y + h * 0.55, x + w * 0.6, y + h), fill=_colour(random))
    sun = random.uniform(15, 35)
    pen.ellipse((width - 2.5 * sun, sun * 0.5, width - 0.5 * sun, sun * 2.5), fill=(250, 220, 40))
    if random.random() < 0.5:
        pen.rectangle((x - 30, y + 10, x - 22, y + h), fill=(110, 70, 30))
        pen.ellipse((x - 50, y - 35, x - 2, y + 25), fill=(40, 140, 50))
    return image


def face(random: Random, width: int, height: int) -> Image.Image:
    """A cartoon face: a smiley, or with ears a cat."""
    image, pen = _canvas(random, width, height)
    r, x, y = min(width, height) * random.uniform(0.25, 0.42), width / 2, height / 2
    skin = _colour(random, (0.6, 1.0))
    if random.random() < 0.5:
        for side in (-1, 1):
            pen.polygon(
                [
                    (x + side * r * 0.9, y - r * 0.4),
                    (x + side * r * 0.85, y - r * 1.3),
                    (x + side * r * 0.3, y - r * 0.9),
                ],
                fill=skin,
            )
            for lift in (0.1, 0.25, 0.4):
                pen.line((x + side * r * 0.3, y + r * 0.25, x + side * r * 1.2, y + r * lift), fill=(0, 0, 0), width=2)
    pen.ellipse((x - r, y - r, x + r, y + r), fill=skin, outline=(0, 0, 0), width=3)
    for side in (-1, 1):
        eye = r * random.uniform(0.08, 0.16)
        pen.ellipse(
            (x + side * r * 0.38 - eye, y - r * 0.3 - eye, x + side * r * 0.38 + eye, y - r * 0.3 + eye), fill=(0, 0, 0)
        )
    pen.arc((x - r * 0.55, y - r * 0.4, x + r * 0.55, y + r * 0.6), 20, 160, fill=(0, 0, 0), width=4)
    return image


def vehicle(random: Random, width: int, height: int) -> Image.Image:
    """A car on a road, or a boat on water."""
    image, pen = _canvas(random, width, height)
    y, ground = height * random.uniform(0.5, 0.65), _colour(random)
    pen.rectangle((0, y + 30, width, height), fill=ground)
    x, w = width * 0.2, width * 0.6
    if random.random() < 0.6:
        pen.rectangle((x, y - 15, x + w, y + 25), fill=_colour(random))
        pen.polygon(
            [(x + w * 0.2, y - 15), (x + w * 0.3, y - 50), (x + w * 0.7, y - 50), (x + w * 0.8, y - 15)],
            fill=_colour(random),
        )
        for share in (0.22, 0.78):
            pen.ellipse((x + w * share - 18, y + 8, x + w * share + 18, y + 44), fill=(20, 20, 20))
    else:
        pen.polygon([(x, y + 5), (x + w, y + 5), (x + w * 0.8, y + 45), (x + w * 0.2, y + 45)], fill=_colour(random))
        pen.polygon([(x + w / 2, y), (x + w / 2, y - height * 0.4), (x + w * 0.9, y)], fill=_colour(random))
    return image


def flower(random: Random, width: int, height: int) -> Image.Image:
    """A flower or a tree."""
    image, pen = _canvas(random, width, height)
    x, y = width / 2, height * 0.4
    pen.line((x, y, x + random.uniform(-20, 20), height), fill=(40, 120, 40), width=int(random.integers(4, 18)))
    petals, radius, colour = int(random.integers(4, 11)), random.uniform(18, 40), _colour(random)
    for petal in range(petals):
        angle = 2 * math.pi * petal / petals
        px, py = x + math.cos(angle) * radius * 1.4, y + math.sin(angle) * radius * 1.4
        pen.ellipse((px - radius, py - radius, px + radius, py + radius), fill=colour, outline=(0, 0, 0))
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(random))
    return image


def chart(random: Random, width: int, height: int) -> Image.Image:
    """A bar chart, a curve, a scatter plot or a pie."""
    image = Image.new("RGB", (width, height), (255, 255, 255) if random.random() < 0.8 else (20, 20, 30))
    pen, kind, ink = ImageDraw.Draw(image), int(random.integers(4)), _colour(random, (0.3, 0.7))
    left, bottom = 30, height - 25
    if kind == 3:
        start, radius = 0.0, min(width, height) * 0.4
        for share in random.dirichlet(np.ones(int(random.integers(3, 8)))):
            pen.pieslice(
                (width / 2 - radius, height / 2 - radius, width / 2 + radius, height / 2 + radius),
                start,
                start + share * 360,
                fill=_colour(random),
            )
            start += share * 360
        return image
    pen.line((left, 10, left, bottom, width - 10, bottom), fill=(120, 120, 120), width=2)
    count = int(random.integers(5, 30))
    x = np.linspace(left + 8, width - 18, count)
    y = bottom - 8 - (bottom - 30) * random.random(count)
    for px, py in zip(x, y, strict=True):
        if kind == 0:
            pen.rectangle((px, py, px + max(3, (width - 60) / count * 0.7), bottom), fill=ink)
        elif kind == 1:
            pen.ellipse((px - 3, py - 3, px + 3, py + 3), fill=ink)
    if kind == 2:
        pen.line([point for pair in zip(x, y, strict=True) for point in pair], fill=ink, width=2)
    pen.text((width / 3, 2), _phrase(random, 2), (120, 120, 120), _font(11))
    return image


def screen(random: Random, width: int, height: int) -> Image.Image:
    """A window of a program: a title bar, buttons, a list."""
    image, pen = _canvas(random, width, height)
    pen.rectangle((8, 8, width - 8, height - 8), fill=_colour(random, (0.8, 1.0)), outline=(60, 60, 60))
    pen.rectangle((8, 8, width - 8, 30), fill=_colour(random))
    pen.text((14, 11), _phrase(random, 2), (255, 255, 255), _font(12))
    for row in range(int(random.integers(2, 8))):
        pen.text((18, 40 + row * 20), _phrase(random, 3), (30, 30, 30), _font(11))
    for button in range(int(random.integers(1, 4))):
        x = 18 + button * 70
        pen.rounded_rectangle((x, height - 45, x + 60, height - 22), 5, fill=_colour(random))
        pen.text((x + 8, height - 41), _phrase(random, 1), (255, 255, 255), _font(10))
    return image


def code(random: Random, width: int, height: int) -> Image.Image:
    """A bar code, or a square code of black and white modules."""
    cells = int(random.integers(15, 40))
    if random.random() < 0.5:
        modules = np.kron(random.random((cells, cells)) > 0.5, np.ones((6, 6), bool))
    else:
        modules = np.broadcast_to(random.random(cells * 2)[None].repeat(3, 1) > 0.5, (cells * 3, cells * 6))
    inner = Image.fromarray((modules * 255).astype(np.uint8)).resize(
        (width - 50, height - 50), Image.Resampling.NEAREST
    )
    image = Image.new("RGB", (width, height), (255, 255, 255))
    image.paste(inner, (25, 25))
    return image


def shapes(random: Random, width: int, height: int) -> Image.Image:
    """Rectangles, discs and lines at random: an abstract picture, a logo."""
    image, pen = _canvas(random, width, height)
    for _ in range(int(random.integers(1, 15))):
        x, y, w, h = random.random(4) * (width, height, width * 0.6, height * 0.6)
        kind = random.integers(4)
        if kind == 0:
            pen.rectangle((x, y, x + w, y + h), fill=_colour(random))
        elif kind == 1:
            pen.ellipse((x, y, x + w, y + h), fill=_colour(random))
        elif kind == 2:
            pen.line((x, y, width - x, height - y), fill=_colour(random), width=int(random.integers(1, 9)))
        else:
            pen.polygon([(x, y), (x + w, y + h / 3), (x + w / 3, y + h)], fill=_colour(random))
    return image
