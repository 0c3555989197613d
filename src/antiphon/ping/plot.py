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
from antiphon.ping.report import banded
from antiphon.ping.result import Result
from antiphon.ping.units import shown_percentile, shown_time

if TYPE_CHECKING:
    from PIL import ImageDraw

WIDTH, HEIGHT = 800, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 100, 56
BANDS = 60
LABELS = 6
"""Number of times written below the bars."""
COUNTS = 5
"""Most counts written beside the bars, without 0."""
_INK, _BAR, _MARK, _GRID = "#222222", "#4878a8", "#c03030", "#dddddd"
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


def draw(path: Path, result: Result, percentiles: Iterable[float]) -> None:
    """Write a picture of a run to the file `path`: its parameters, its histogram, a mark at each percentile.

    The text is English, as the figures of --json are: a picture is passed on, and Pillow's font is Latin only.

    Raises:
        FileUnusable: the file cannot be written.
    """
    shapes = [*_heading(result), *_shapes(result, percentiles)]
    data = _png(shapes) if path.suffix.lower() == ".png" else _svg(shapes).encode()
    write_atomically(path, data, FileUnusable)


def _heading(result: Result) -> Iterator[_Shape]:
    """Yield what was measured, how, and with what outcome."""
    rate = "" if result.rate_per_s is None else f", {result.rate_per_s:g} messages/s wanted"
    interval = f", interval {result.interval_s:g} s" if result.interval_s else ""
    load = f"connections: {result.connections}; depth: {result.depth}; {result.size_bytes} bytes a message"
    counts = f"sent {result.sent}, answered {result.answered}, wrong {result.wrong}, lost {result.lost}"
    lines = (
        f"antiphon ping {result.target.address}",
        f"{result.began_at}, antiphon {result.antiphon_version}",
        f"{result.loop} loop{rate}{interval}; {load}",
        f"{counts} in {result.elapsed_s:.2f} s; {result.messages_per_s:.1f} messages/s",
    )
    for row, line in enumerate(lines):
        yield _Text(LEFT, 20 + 16 * row, line, _INK, "start")


def _shapes(result: Result, percentiles: Iterable[float]) -> Iterator[_Shape]:
    """Yield the bars with their axes, and the marks."""
    right, low = WIDTH - RIGHT, HEIGHT - BOTTOM
    yield _Text(LEFT, TOP - 8, "messages in each band", _INK, "start")
    since = "sent" if result.uncorrected is None else "due"
    axis = f"time from when a message was {since} to its answer (logarithmic scale)"
    yield _Text((LEFT + right) / 2, low + 40, axis, _INK, "middle")
    yield _Box(LEFT, low, right - LEFT, 1, _INK)
    yield _Box(LEFT, TOP, 1, low - TOP, _INK)
    times = result.histogram
    if not times.count:
        return
    bands = banded(times, BANDS)
    most = max(count for _, count in bands)
    for count in _ticks(most):
        y = low - (low - TOP) * count / most
        yield _Box(LEFT, y, right - LEFT, 1, _GRID)
        yield _Text(LEFT - 6, y + 4, str(count), _INK, "end")
    step = (right - LEFT) / len(bands)
    for place, (_, count) in enumerate(bands):
        height = (low - TOP) * count / most
        yield _Box(LEFT + place * step, low - height, max(1.0, step - 1), height, _BAR)
    for place in range(0, len(bands), max(1, len(bands) // LABELS)):
        x = LEFT + (place + 1) * step  # the upper edge of the band
        yield _Box(x, low, 1, 5, _INK)
        yield _Text(x, low + 18, shown_time(bands[place][0]), _INK, "middle")
    for row, percent in enumerate(percentiles):
        time = times.percentile(percent)
        place = next((index for index, (upper, _) in enumerate(bands) if time <= upper), len(bands) - 1)
        x = LEFT + (place + 0.5) * step
        yield _Box(x, TOP, 1, low - TOP, _MARK)
        side = "start" if place < len(bands) / 2 else "end"
        text = f"{shown_percentile(percent)} {shown_time(time)}"
        yield _Text(x + (4 if side == "start" else -4), TOP + _SIZE * (1.2 + 1.3 * (row % 8)), text, _MARK, side)


def _ticks(most: int) -> list[int]:
    """Return the counts to write beside the bars: multiples of 1, 2 or 5 times a power of ten, up to `most`."""
    steps = (digit * 10**power for power in range(18) for digit in (1, 2, 5))
    step = next(step for step in steps if most // step <= COUNTS)
    return list(range(0, most + 1, step))


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
    latin = text.text.replace("µ", "u")  # the font has no µ
    pen.text((text.x, text.y), latin, fill=text.color, font=ImageFont.load_default(_SIZE), anchor=anchor)
