"""Charts of curves and points, as plain text or as a picture file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chargen.display.output import visible
from chargen.errors import ChargenError, ConfigError
from chargen.storage.files import check_output, writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
MARKERS = "●○■□▲△◆◇"  # one for each series
BLOCKS = "▁▂▃▄▅▆▇█"
MARGIN = 10  # columns for the numbers on the vertical axis
# Distinguishable with colour blindness (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")


Numbers = NDArray[np.float64]
Limits = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A curve, or separate points."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    points: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart, independent of the output format.

    Attributes:
        title: one line above the chart.
        x_label: name and unit of the horizontal axis.
        y_label: name and unit of the vertical axis.
        series: up to eight series.
        log_x: whether the horizontal axis is logarithmic; values up to 0 are left out.
        log_y: the same for the vertical axis.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = False
    log_y: bool = False


# -- text ---------------------------------------------------------------------------------


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Return one line of block characters; the highest value is the highest block."""
    numbers = np.asarray(values, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return ""
    picked = numbers[np.linspace(0, len(numbers) - 1, min(width, len(numbers))).round().astype(int)]
    span = float(np.ptp(picked)) or 1.0
    heights = (picked - picked.min()) / span * (len(BLOCKS) - 1)
    return "".join(BLOCKS[round(height)] for height in heights.tolist())


def as_text(chart: Chart, width: int = 78, height: int = 16) -> str:
    """Return a chart as lines of plain text, at most ``width`` columns wide."""
    points = [_axes(chart, series) for series in chart.series]
    shown = [pair for pair in points if len(pair[0])]
    if not shown:
        return f"{chart.title}\n(no data)"
    ends = _limits([x for x, _ in shown]), _limits([y for _, y in shown])
    rows = [[" "] * (width - MARGIN - 2) for _ in range(height)]
    for (x, y), marker, series in zip(points, MARKERS, chart.series, strict=False):
        across = _scaled(x, ends[0], len(rows[0]))
        for column, row in _cells(across, _scaled(y, ends[1], height), joined=not series.points):
            rows[-1 - row][column] = marker
    return "\n".join([chart.title, chart.y_label, *_framed(chart, rows, *ends)])


def _framed(chart: Chart, rows: list[list[str]], x: Limits, y: Limits) -> list[str]:
    """Add the axes, their numbers and the legend to the rows of a chart."""
    height, columns = len(rows), len(rows[0])
    beside = {row: y[1] - (y[1] - y[0]) * row / (height - 1) for row in (0, height // 2)}
    beside[height - 1] = y[0]
    lines = []
    for number, row in enumerate(rows):
        label = _number(beside[number], chart.log_y) if number in beside else ""
        lines.append(f"{label:>{MARGIN}} │{''.join(row)}".rstrip())
    left, right = (_number(value, chart.log_x) for value in x)
    pairs = zip(MARKERS, chart.series, strict=False)
    names = [f"{marker} {visible(series.name)}" for marker, series in pairs]
    below = left + chart.x_label.center(columns - len(left) - len(right)) + right
    blank = " " * MARGIN
    return [
        *lines,
        f"{blank} └{'─' * columns}",
        f"{blank}  {below}",
        *(f"{blank}  {line}" for line in _legend(names, columns)),
    ]


def _legend(names: list[str], columns: int) -> list[str]:
    """Arrange names in lines; a name longer than a line is cut."""
    lines: list[str] = []
    for name in (name[:columns] for name in names):
        if lines and len(lines[-1]) + 2 + len(name) <= columns:
            lines[-1] += f"  {name}"
        else:
            lines.append(name)
    return lines


def _axes(chart: Chart, series: Series) -> tuple[Numbers, Numbers]:
    """Return the points of a series on linear or logarithmic axes, only the finite ones."""
    x, y = np.asarray(series.x, np.float64), np.asarray(series.y, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.log10(x) if chart.log_x else x
        y = np.log10(y) if chart.log_y else y
    there = np.isfinite(x) & np.isfinite(y)
    return x[there], y[there]


def _limits(values: list[Numbers]) -> Limits:
    low = min(float(part.min()) for part in values)
    high = max(float(part.max()) for part in values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _scaled(values: Numbers, limits: Limits, cells: int) -> Numbers:
    """Return the position of each value on an axis of this many cells, from 0."""
    places: Numbers = (values - limits[0]) / (limits[1] - limits[0]) * (cells - 1)
    return places


def _cells(across: Numbers, up: Numbers, *, joined: bool) -> list[tuple[int, int]]:
    """Return the column and row of each marker; a curve has one in every column it crosses."""
    if joined and len(across) > 1:
        columns = np.arange(math.ceil(across.min() - 1e-9), math.floor(across.max() + 1e-9) + 1)
        up, across = np.interp(columns, across, up), columns.astype(np.float64)
    pairs = zip(across.round().astype(int).tolist(), up.round().astype(int).tolist(), strict=True)
    return list(pairs)


def _number(value: float, log: bool) -> str:
    return f"{10**value if log else value:.3g}"


# -- pictures -----------------------------------------------------------------------------


def check_picture(path: Path) -> None:
    """Check that a picture can be written, before anything is computed.

    Raises:
        ConfigError: the file name does not end in .png, .svg or .pdf.
        StorageError: there is no such folder.
        ChargenError: matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        names = ".png, .svg or .pdf"
        raise ConfigError(f"picture is {str(path)!r}; allowed: a name that ends in {names}")
    check_output(path, force=True)
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise ChargenError(
            "pictures need matplotlib, which is not installed: pip install 'chargen[plot]'"
        ) from None


def save(chart: Chart, path: Path) -> None:
    """Write a chart as PNG, SVG or PDF, by the extension of the file.

    Raises:
        ConfigError: it has another extension.
        ChargenError: matplotlib is not installed.
        StorageError: the file cannot be written.
    """
    check_picture(path)
    save_figure(_figure(chart), path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, SVG or PDF, by the extension of the file.

    Raises:
        StorageError: the file cannot be written.
    """
    import matplotlib

    # Reproducible files: no date and no random ids.
    kind = path.suffix.lower().removeprefix(".")
    dates = {"svg": "Date", "pdf": "CreationDate"}
    metadata: dict[str, Any] = {dates[kind]: None} if kind in dates else {}
    settings = matplotlib.rc_context({"svg.hashsalt": "chargen", "svg.fonttype": "none"})
    with settings, warnings.catch_warnings(), writing(path) as file:
        warnings.filterwarnings("ignore", "Glyph")  # the font may lack characters of a name
        figure.savefig(file, format=kind, dpi=150, metadata=metadata)


def _figure(chart: Chart) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for series, colour in zip(chart.series, COLOURS, strict=False):
        line = "o" if series.points else "-"
        axes.plot(series.x, series.y, line, color=colour, label=label(series.name), markersize=3)
    words = {"title": chart.title, "xlabel": chart.x_label, "ylabel": chart.y_label}
    axes.set(**{name: label(text) for name, text in words.items()})
    axes.set_xscale("log" if chart.log_x else "linear")
    axes.set_yscale("log" if chart.log_y else "linear")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def label(text: str) -> str:
    """Return a text that matplotlib shows unchanged: not as a formula, and in the legend."""
    shown = visible(text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown
