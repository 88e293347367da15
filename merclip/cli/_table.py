"""Predictions for people's eyes: rows for many clips, bars for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from merclip.cli._console import beside_bar, in_shell, one_line
from merclip.cli._layout import can_show, cut, pad, plain, terminal_width, width

if TYPE_CHECKING:
    from merclip.cli._clips import Row, Rows
    from merclip.labels import Label
    from merclip.results import Prediction

_ORDER = ("video", "audio", "text")
_GAP = "  "
_MARK = "!"
_WIDEST_NAME, _WIDEST_LABEL, _WIDEST_OTHER = 24, 18, 18
_WIDEST_BAR_LABEL, _LONGEST_BAR, _MOST_BARS = 44, 30, 20


def modalities(prediction: Prediction) -> str:
    """Return what an answer rests on, such as ``video+audio``."""
    return "+".join(name for name in _ORDER if name in prediction.modalities_used)


class TableWriter:
    """One line for each clip: its label and score, then the other labels, best first."""

    def __init__(
        self, stream: TextIO, rows: Rows, labels: Sequence[str], multi_label: bool
    ) -> None:
        self.stream = stream
        self.ellipsis = _ellipsis(stream)
        self.total = terminal_width()
        widest = sum(width(label) + 2 for label in labels) - 2 if multi_label else 0
        names = [_WIDEST_NAME] if rows.listing else [width(row.name) for row in rows.given]
        self.name_width = min(_WIDEST_NAME, max(4, *names))
        self.label_width = min(_WIDEST_LABEL, max(5, widest, *(width(x) for x in labels)))
        text = any(row.text for row in rows.given)
        possible = ["video+audio"] * rows.has_media + ["text"] * text
        self.used_width = len("+".join(possible)) + len(_MARK)
        self.faces_width = len("faces") * rows.has_media
        self.marked = False

    def begin(self) -> None:
        """Write the head of the columns."""
        head = [pad("file", self.name_width), pad("label", self.label_width), "score"]
        faces = ["faces"] * bool(self.faces_width)
        line = _GAP.join([*head, pad("used", self.used_width), *faces, "others"])
        self._line(line[: self.total])

    def write(self, prediction: Prediction, row: Row) -> None:
        """Write one line."""
        clip = prediction.id or ""
        # The end of a path tells more than its beginning.
        is_path = bool(row.file or row.audio)
        name = self._cell(clip, self.name_width, keep_end=is_path)
        if prediction.error is not None:
            room = self.total - width(name) - len(_GAP)
            self._line(name + _GAP + self._cut(f"error: {reason(prediction)}", room))
            return
        held = [str(label) for label, _ in _ranked(prediction) if label in prediction.labels]
        label = self._cell(", ".join(held) or "-", self.label_width)
        score = "" if prediction.label is None else f"{prediction.scores[prediction.label]:.2f}"
        mark = _MARK if prediction.warnings else ""
        self.marked = self.marked or bool(mark)
        used = pad((modalities(prediction) or "nothing") + mark, self.used_width)
        cells = [name, label, score.rjust(5), used]
        if self.faces_width:
            cells.append(("" if prediction.faces is None else str(prediction.faces)).rjust(5))
        start = _GAP.join(cells)
        self._line(start + self._others(prediction, self.total - width(start)))

    def end(self) -> None:
        """Explain the mark of rows that have it."""
        if self.marked:
            self._line(f"{_MARK} something of the clip could not be used; json says what")

    def _others(self, prediction: Prediction, room: int) -> str:
        """Return the labels after the best one, as many as there is room for."""
        text = ""
        for label, score in _ranked(prediction):
            if label == prediction.label:
                continue
            item = f"{_GAP}{self._cut(str(label), _WIDEST_OTHER)} {score:.2f}"
            if width(text + item) > room:
                return text + f" {self.ellipsis}" if width(text) + 2 <= room else text
            text += item
        return text

    def _cell(self, text: str, columns: int, keep_end: bool = False) -> str:
        return pad(self._cut(text, columns, keep_end), columns)

    def _cut(self, text: str, columns: int, keep_end: bool = False) -> str:
        return cut(text, columns, keep_end=keep_end, ellipsis=self.ellipsis)

    def _line(self, text: str) -> None:
        _put(self.stream, text.rstrip())


class BarsWriter:
    """One clip: a line and a bar for each label, best first."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.ellipsis = _ellipsis(stream)
        self.block = "█" if can_show("█", stream.encoding) else "#"

    def begin(self) -> None:
        """Do nothing."""

    def write(self, prediction: Prediction, row: Row) -> None:
        """Write the clip's name and its labels."""
        if prediction.error is not None:
            _put(self.stream, f"{plain(prediction.id or '')}  error: {reason(prediction)}")
            return
        _put(self.stream, f"{plain(prediction.id or '')}  ({_rests_on(prediction)})")
        ranked = prediction.top(_MOST_BARS)
        names = [cut(str(label), self._label_room(), ellipsis=self.ellipsis) for label, _ in ranked]
        columns = max(width(name) for name in names)
        for name, (label, score) in zip(names, ranked, strict=True):
            mark = "*" if label in prediction.labels else " "
            start = f"{mark} {pad(name, columns)}  {score:.2f}  "
            longest = min(_LONGEST_BAR, terminal_width() - width(start))
            _put(self.stream, (start + self.block * round(score * longest)).rstrip())
        if len(prediction) > len(ranked):
            _put(self.stream, f"  and {len(prediction) - len(ranked)} more with lower scores")
        for warning in prediction.warnings:
            _put(self.stream, f"! {one_line(in_shell(warning))}")

    def end(self) -> None:
        """Do nothing."""

    def _label_room(self) -> int:
        return min(_WIDEST_BAR_LABEL, terminal_width() - 18)


def _rests_on(prediction: Prediction) -> str:
    """Return what an answer rests on, with the frames in which a face was found."""
    used, faces = modalities(prediction) or "nothing", prediction.faces
    if faces is None:
        return used
    return f"{used}, face in {faces} {'frame' if faces == 1 else 'frames'}"


def _ranked(prediction: Prediction) -> list[tuple[Label, float]]:
    return prediction.top(len(prediction))


def reason(prediction: Prediction) -> str:
    """Return why a clip could not be read, without the name of the error's class."""
    kind, _, text = (prediction.error or "").partition(": ")
    return one_line(in_shell(text if kind.endswith("Error") and text else prediction.error or ""))


def _ellipsis(stream: TextIO) -> str:
    return "…" if can_show("…", stream.encoding) else "..."


def _put(stream: TextIO, line: str) -> None:
    with beside_bar():
        stream.write(line + "\n")
        stream.flush()
