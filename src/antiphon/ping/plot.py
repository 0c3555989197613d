"""The histogram as a picture: SVG, or PNG with Pillow (extra antiphon[plot])."""

import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from antiphon.errors import FileUnusable, Problem
from antiphon.files import write_atomically
from antiphon.language import N_
from antiphon.ping.histogram import Histogram
from antiphon.ping.report import banded
from antiphon.ping.units import shown_percentile, shown_time

if TYPE_CHECKING:
    from PIL import ImageDraw

WIDTH, HEIGHT = 800, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 40, 50
BANDS = 60
LABELS = 6
"""Number of times written below the bars."""
_INK, _BAR, _MARK = "#222222", "#4878a8", "#c03030"
_SIZE = 12
"""Font size."""

_NO_FORM = Problem(N_("its name must end in .svg or .png"))
_NO_PILLOW = Problem(N_("a .png needs Pillow, which pip install 'antiphon[plot]' brings; an .svg needs nothing"))


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    width: float
    height: float
    color: str


@dataclass(frozen=True)
class _Text:
    x: float
    y: float
    text: str
    color: str
    anchor: str
    """`start`, `middle` or `end`: the part of the text at `x`; `y` is the baseline."""


_Shape = _Box | _Text


def check_drawable(path: Path) -> None:
    """Check, before the measurement, that a picture of this name can be drawn.

    Raises:
        FileUnusable: the name ends in neither .svg nor .png, or a .png is wanted without Pillow.
    """
    form = path.suffix.lower()
    if form not in (".svg", ".png"):
        raise FileUnusable(path=str(path), problem=_NO_FORM)
    if form == ".png" and importlib.util.find_spec("PIL") is None:
        raise FileUnusable(path=str(path), problem=_NO_PILLOW)


def draw(path: Path, times: Histogram, percentiles: Iterable[float], title: str) -> None:
    """Write a picture of the histogram with a mark at each percentile to the file `path`.

    Raises:
        FileUnusable: the file cannot be written.
    """
    shapes = list(_shapes(times, percentiles, title))
    data = _png(shapes) if path.suffix.lower() == ".png" else _svg(shapes).encode()
    write_atomically(path, data, FileUnusable)


def _shapes(times: Histogram, percentiles: Iterable[float], title: str) -> Iterator[_Shape]:
    right, low = WIDTH - RIGHT, HEIGHT - BOTTOM
    yield _Text(LEFT, TOP - 20, f"{title}: {times.count}", _INK, "start")
    yield _Box(LEFT, low, right - LEFT, 1, _INK)
    if not times.count:
        return
    bands = banded(times, BANDS)
    most = max(count for _, count in bands)
    step = (right - LEFT) / len(bands)
    for place, (_, count) in enumerate(bands):
        height = (low - TOP) * count / most
        yield _Box(LEFT + place * step, low - height, max(1.0, step - 1), height, _BAR)
    for place in range(0, len(bands), max(1, len(bands) // LABELS)):
        yield _Text(LEFT + (place + 0.5) * step, low + 18, shown_time(bands[place][0]), _INK, "middle")
    yield _Text(LEFT - 6, TOP + _SIZE, str(most), _INK, "end")
    for row, percent in enumerate(percentiles):
        time = times.percentile(percent)
        place = next((index for index, (upper, _) in enumerate(bands) if time <= upper), len(bands) - 1)
        x = LEFT + (place + 0.5) * step
        yield _Box(x, TOP, 1, low - TOP, _MARK)
        side = "start" if place < len(bands) / 2 else "end"
        text = f"{shown_percentile(percent)} {shown_time(time)}"
        yield _Text(x + (4 if side == "start" else -4), TOP + _SIZE * (1.2 + 1.3 * (row % 8)), text, _MARK, side)


def _svg(shapes: Iterable[_Shape]) -> str:
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="{_SIZE}">']
    lines.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    for shape in shapes:
        place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" fill="{shape.color}"'
        if isinstance(shape, _Box):
            lines.append(f'<rect {place} width="{shape.width:.1f}" height="{shape.height:.1f}"/>')
        else:
            lines.append(f'<text {place} text-anchor="{shape.anchor}">{escape(shape.text)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _png(shapes: Iterable[_Shape]) -> bytes:
    from PIL import Image, ImageDraw  # noqa: PLC0415 - only with the extra antiphon[plot]

    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    for shape in shapes:
        if isinstance(shape, _Box):
            corner = shape.x + max(0.0, shape.width - 1), shape.y + max(0.0, shape.height - 1)
            pen.rectangle((shape.x, shape.y, *corner), fill=shape.color)
        else:
            _write(pen, shape)
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _write(pen: "ImageDraw.ImageDraw", text: _Text) -> None:
    from PIL import ImageFont  # noqa: PLC0415

    anchor = {"start": "ls", "middle": "ms", "end": "rs"}[text.anchor]
    pen.text((text.x, text.y), text.text, fill=text.color, font=ImageFont.load_default(_SIZE), anchor=anchor)
