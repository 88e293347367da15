"""Confusions and calibration as pictures."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from merclip._optional import import_matplotlib
from merclip._shown import visible
from merclip.evaluation.metrics import Bin

if TYPE_CHECKING:
    from merclip.evaluation.condition import Condition

_DOTS_PER_INCH = 150
_FEW = 12
_INCHES_PER_LETTER = 0.085
_COLOUR, _GAP, _GREY = "#5e4b9c", "#e8a33d", "#6b6b6b"


def draw_confusion(
    labels: Sequence[Any], condition: Condition, path_or_ax: str | os.PathLike[str] | Any = None
) -> Any:
    """Draw a confusion matrix; see `Report.plot_confusion`."""
    counts = condition.confusion
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    names = _shown_labels(labels)
    axes, finish = _canvas(path_or_ax, _confusion_size(names))
    axes.imshow(shares, cmap="Purples", vmin=0, vmax=1)
    few = len(labels) <= _FEW
    for (row, column), share in np.ndenumerate(shares):
        # Among many labels zeros would hide what was taken for what.
        if total[row, 0] and (few or share):
            text = f"{share:.2f}\n{counts[row, column]}" if few else f"{share:.2f}".lstrip("0")
            colour = "white" if share > 0.45 else "#222222" if share else "#b5b5b5"
            size = 9 if few else 7
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)
    _name_axes(axes, names, few)
    said = axes.set_title("\n".join(_title(condition, len(labels))), fontsize=11, pad=12)
    said.set_parse_math(False)
    return finish(axes)


def _confusion_size(names: Sequence[str]) -> tuple[float, float]:
    """Return inches of the picture: room for the cells, and for the names beside and below."""
    lines = [line for name in names for line in name.split("\n")]
    longest = _INCHES_PER_LETTER * max(map(len, lines), default=0)
    tallest = max(name.count("\n") + 1 for name in names)
    cell = max(0.75 if len(names) <= _FEW else 0.36, 0.17 * tallest + 0.05)
    side = cell * len(names)
    return max(4.2, side + longest + 0.9), max(3.6, side + longest + 1.1)


def _shown_labels(labels: Sequence[Any]) -> list[str]:
    """Return labels in a few lines; many labels in fewer and shorter ones."""
    most, line = (72, 24) if len(labels) <= _FEW else (36, 36)
    names = [visible(" ".join(str(label).split())) for label in labels]
    short = [_cut(name, most) for name in names]
    if len(set(short)) < len(names):
        # Sentences that begin alike differ in what follows.
        alike = os.path.commonprefix(names).rpartition(" ")[0]
        short = [_cut(f"…{name[len(alike) :]}", most) for name in names]
    return [textwrap.fill(name, line) for name in short]


def _cut(name: str, most: int) -> str:
    short = textwrap.shorten(name, most, placeholder=" …")
    # A word that is longer than all is cut.
    return short if short.strip(" …") else f"{name[: most - 1]}…"


def _title(condition: Condition, n_labels: int) -> list[str]:
    """Return the lines above a picture, which is narrow where labels are few."""
    name, said = visible(condition.name), _headline(condition)
    return [f"{name}: {said}"] if n_labels > 4 and len(name) < 20 else [name, said]


def draw_calibration(condition: Condition, path_or_ax: str | os.PathLike[str] | Any = None) -> Any:
    """Draw a reliability diagram; see `Report.plot_calibration`."""
    bins = condition.calibration
    filled = [item for item in bins if item.n_clips]
    axes, finish = _canvas(path_or_ax, (5.2, 5.6))
    axes.plot([0, 1], [0, 1], linestyle="--", color=_GREY, zorder=3, label="calibrated")
    _draw_bins(axes, filled)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy", aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=3, frameon=False, fontsize=9)
    error = condition.mean["expected_calibration_error"]
    above = _draw_counts(axes, bins)
    above.set_title(f"{condition.name}: calibration error {error:.3f}", fontsize=11, pad=10)
    return finish(axes)


def _draw_bins(axes: Any, filled: Sequence[Bin]) -> None:
    left = [item.lower for item in filled]
    width = [item.upper - item.lower for item in filled]
    accuracy = np.array([item.accuracy for item in filled])
    confidence = np.array([item.confidence for item in filled])
    options = {"width": width, "align": "edge"}
    axes.bar(left, accuracy, color=_COLOUR, edgecolor="white", label="accuracy", **options)
    axes.bar(
        left,
        confidence - accuracy,
        bottom=accuracy,
        facecolor="none",
        edgecolor=_GAP,
        hatch="///",
        label="gap to confidence",
        **options,
    )


def _draw_counts(axes: Any, bins: Sequence[Bin]) -> Any:
    """Draw above the diagram how many predictions each bin has."""
    above = axes.inset_axes([0, 1.04, 1, 0.16], sharex=axes)
    widths = [item.upper - item.lower for item in bins]
    counts = [item.n_clips for item in bins]
    lower = [item.lower for item in bins]
    above.bar(lower, counts, width=widths, align="edge", color="#b9b3d6", edgecolor="white")
    above.set_ylabel("clips", fontsize=9)
    above.tick_params(labelbottom=False, labelsize=8, length=2)
    above.spines[["top", "right"]].set_visible(False)
    return above


def _name_axes(axes: Any, names: Sequence[str], few: bool) -> None:
    positions = range(len(names))
    size = 10 if few else 8
    turn = {"rotation": 45 if few else 90, "ha": "right", "rotation_mode": "anchor"}
    turn |= {} if few else {"va": "center"}
    below = axes.set_xticks(positions, names, fontsize=size, **turn)
    beside = axes.set_yticks(positions, names, fontsize=size)
    for tick in (*below, *beside):
        for text in (tick.label1, tick.label2):
            text.set_parse_math(False)  # a label may hold a dollar
    axes.set(xlabel="predicted", ylabel="truth")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    # White lines between cells.
    axes.set_xticks(np.arange(1, len(names)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(names)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2 if few else 1)
    axes.tick_params(which="minor", length=0)


def _headline(condition: Condition) -> str:
    names, mean = condition.kind.measures, condition.mean
    return ", ".join(
        f"{names[name].split(' (')[0]} {mean[name]:.2f}" for name in condition.kind.headline
    )


def _canvas(path_or_ax: Any, size: tuple[float, float]) -> tuple[Any, Any]:
    """Return axes to draw on, and what to do with them in the end."""
    import_matplotlib()
    if path_or_ax is None:
        from matplotlib import pyplot

        return pyplot.subplots(figsize=size, layout="constrained")[1], lambda axes: axes
    if hasattr(path_or_ax, "imshow"):
        return path_or_ax, lambda axes: axes
    from matplotlib.figure import Figure  # unlike pyplot it keeps nothing alive

    figure = Figure(figsize=size, layout="constrained")

    def save(axes: Any) -> Any:
        figure.savefig(path_or_ax, dpi=_DOTS_PER_INCH)
        return axes

    return figure.subplots(), save
