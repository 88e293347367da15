"""The speaker's face in frames: found with YuNet in OpenCV, followed and cropped."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from merclip._optional import import_opencv
from merclip.types import ByteArray

SMALLEST_PICTURE = 80
"""Pictures whose shorter side is less are taken to be faces already."""

_YUNET = Path(__file__).parents[1] / "weights" / "yunet" / "face_detection_yunet_2023mar.onnx"
_LEAST_SCORE, _OVERLAP = 0.5, 0.3
_SEARCH_SIDES = (320, 640)  # pixels of the longer side
_SMALLEST_FACE = 20  # pixels
_TIGHT_PICTURE, _TIGHT_SHARE = 200, 0.45
_FILLING_SHARE = 0.75
_MARGIN = 0.95  # between FER2013's pictures (0.98 of YuNet's boxes) and RAF-DB's (0.88)
_ANCHORS = 3
_REACH, _GROWTH = 1.5, 1.6  # how far a face moves, in its sizes, and grows
_ISOLATED_CONFIDENCE = 0.5
_SAME_SHOT = 0.3  # correlation of thumbnails
_MOST_CANDIDATES = 5
_NEAR_SIDE = 56  # pixels: a larger face costs time and is found no better

_spare: deque[Any] = deque()
"""Networks that nobody uses."""


class Box(NamedTuple):
    """A square around a face.

    Parameters
    ----------
    x, y : float
        Its centre, in pixels.
    size : float
        Its side, in pixels: from the forehead to the chin.
    confidence : float
        Between 0 and 1.
    """

    x: float
    y: float
    size: float
    confidence: float = 1.0


Detector = Callable[[ByteArray, int], list[Box]]
"""From a picture in RGB, and the least side of a face in it, to the faces."""


class FaceFinder:
    """Find the speaker's face in the frames of a clip.

    One person is followed through each shot. Safe to share between threads.

    Parameters
    ----------
    detect : Detector, optional
        Default: `find_faces`.

    Raises
    ------
    MissingExtraError
        OpenCV is not installed.
    """

    def __init__(self, detect: Detector | None = None) -> None:
        if detect is None:
            import_opencv()
            detect = find_faces
        self.detect = detect

    def boxes(self, frames: ByteArray) -> tuple[list[Box | None], int]:
        """Return a box for each frame, and in how many frames a face was seen.

        Frames are searched small, and larger where no face was seen in the whole clip.

        Parameters
        ----------
        frames : ndarray of shape (T, H, W, 3), uint8

        Returns
        -------
        boxes : list of Box or None
            In pixels of `frames`. Frames of a shot in which the face was seen
            elsewhere have the box between its neighbours; None stands for
            frames of shots without a face.
        found : int
        """
        longer = max(frames.shape[1:3])
        for side in sorted({min(side, longer) for side in _SEARCH_SIDES}):
            scale = side / longer
            pictures = [_scaled_to(frame, scale) for frame in frames]
            smallest = _smallest_face(min(pictures[0].shape[:2]), scale)
            thorough = side <= _SEARCH_SIDES[0]
            seen = [
                _follow_in_shot(shot, self.detect, smallest, thorough) for shot in _shots(pictures)
            ]
            found = sum(box is not None for boxes in seen for box in boxes)
            if found:
                kept = [box for boxes in seen for box in _steady(_between(boxes))]
                return [_scaled(box, 1 / scale) for box in kept], found
        return [None] * len(frames), 0

    def crops(self, frames: ByteArray) -> tuple[list[ByteArray], int | None]:
        """Return square pictures of the face, and in how many frames it was seen.

        Frames of shots without a face are left out where another shot has one.

        Parameters
        ----------
        frames : ndarray of shape (T, H, W, 3), uint8

        Returns
        -------
        crops : list of ndarray of shape (h, w, 3), uint8
            The whole frames where no face was found.
        found : int or None
            None where the pictures are too small to be searched.
        """
        if min(frames.shape[1:3]) < SMALLEST_PICTURE:
            return list(frames), None
        boxes, found = self.boxes(frames)
        if not found:
            return list(frames), 0
        pairs = zip(frames, boxes, strict=True)
        return [crop(frame, box) for frame, box in pairs if box is not None], found


def crop(frame: ByteArray, box: Box) -> ByteArray:
    """Cut a face out as faces are framed in the training data: from forehead to chin.

    What lies beyond the frame repeats its edge. A face that fills the frame
    leaves it as it is.
    """
    height, width = frame.shape[:2]
    if box.size >= _FILLING_SHARE * max(height, width):
        return frame
    side = max(1, round(_MARGIN * box.size))
    top, left = round(box.y - side / 2), round(box.x - side / 2)
    if top >= 0 and left >= 0 and top + side <= height and left + side <= width:
        return np.ascontiguousarray(frame[top : top + side, left : left + side])
    rows, columns = np.arange(top, top + side), np.arange(left, left + side)
    face: ByteArray = frame[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
    return face


def find_faces(picture: ByteArray, smallest: int) -> list[Box]:
    """Find faces from the front and from the side."""
    height, width = picture.shape[:2]
    if min(height, width) < smallest:
        return []
    with _network() as network:
        network.setInputSize((width, height))
        _, rows = network.detect(np.ascontiguousarray(picture[:, :, ::-1]))
    found = [] if rows is None else [_square(row) for row in rows.tolist()]
    return _best([box for box in found if box.size >= smallest])


def _square(row: list[float]) -> Box:
    """Return a square as high as YuNet's box: its width changes as a head turns."""
    left, top, width, height, *_, score = row
    confidence = (score - _LEAST_SCORE) / (1 - _LEAST_SCORE)
    return Box(left + width / 2, top + height / 2, height, confidence)


class _Part(NamedTuple):
    """A cut-out of a picture, shrunk where the face in it is large."""

    picture: ByteArray
    left: int
    top: int
    scale: float

    @classmethod
    def around(cls, box: Box, picture: ByteArray, reach: float) -> _Part:
        """Cut out what lies within `reach` sizes of a box's centre."""
        far = reach * box.size
        left, top = max(0, int(box.x - far)), max(0, int(box.y - far))
        part = picture[top : int(box.y + far) + 1, left : int(box.x + far) + 1]
        scale = min(1.0, _NEAR_SIDE / box.size)
        return cls(_scaled_to(part, scale), left, top, scale)

    def outside(self, box: Box) -> Box:
        """Return a box in pixels of the whole picture."""
        x, y, size = (value / self.scale for value in box[:3])
        return Box(x + self.left, y + self.top, size, box.confidence)


@contextmanager
def _network() -> Iterator[Any]:
    """Lend YuNet; it keeps the size of its pictures, so two threads get two."""
    # Those that nobody uses outlive the threads that read one call's clips: reading the
    # file takes time.
    try:
        network = _spare.pop()
    except IndexError:
        opencv = import_opencv()
        # Not by its path: OpenCV cannot open every path on Windows.
        content, settings = np.fromfile(_YUNET, np.uint8), np.empty(0, np.uint8)
        network = opencv.FaceDetectorYN.create(
            "onnx", content, settings, (320, 320), _LEAST_SCORE, _OVERLAP, 50
        )
    try:
        yield network
    finally:
        _spare.append(network)


def _best(boxes: list[Box]) -> list[Box]:
    return sorted(boxes, key=lambda box: (-_weight(box), box))[:_MOST_CANDIDATES]


def _weight(box: Box) -> float:
    return box.size * (0.1 + box.confidence)


def _scaled_to(picture: ByteArray, scale: float) -> ByteArray:
    if scale >= 1:
        return np.ascontiguousarray(picture)
    opencv = import_opencv()
    height, width = (max(1, round(scale * side)) for side in picture.shape[:2])
    smaller: ByteArray = opencv.resize(picture, (width, height), interpolation=opencv.INTER_AREA)
    return smaller


def _smallest_face(shorter: int, scale: float) -> int:
    # In a tight picture of a face, an eye can look like a face.
    tight = shorter / scale < _TIGHT_PICTURE
    return max(_SMALLEST_FACE, round(_TIGHT_SHARE * shorter) if tight else 0)


def _shots(pictures: Sequence[ByteArray]) -> list[list[ByteArray]]:
    """Cut where a picture is unlike the one before it."""
    shots: list[list[ByteArray]] = []
    before = None
    for picture in pictures:
        small = _thumbnail(picture)
        if before is None or float((small * before).mean()) < _SAME_SHOT:
            shots.append([])
        shots[-1].append(picture)
        before = small
    return shots


def _thumbnail(picture: ByteArray) -> np.ndarray[Any, Any]:
    opencv = import_opencv()
    grey = opencv.cvtColor(picture, opencv.COLOR_RGB2GRAY)
    small = opencv.resize(grey, (16, 16), interpolation=opencv.INTER_AREA).astype(float)
    return np.asarray((small - small.mean()) / max(small.std(), 1.0))


def _follow_in_shot(
    pictures: Sequence[ByteArray], detect: Detector, smallest: int, thorough: bool
) -> list[Box | None]:
    """Search a few pictures whole, and the others near the face in those.

    Unless `thorough`, pictures are given up where those few show no face: most
    clips that come so far have none, and each search takes time.
    """
    count = len(pictures)
    anchors = {(2 * i + 1) * count // (2 * _ANCHORS) for i in range(_ANCHORS)}
    candidates = [
        detect(picture, smallest) if i in anchors else [] for i, picture in enumerate(pictures)
    ]
    if not (thorough or any(candidates)):
        return [None] * count
    guides = _between(_follow(candidates))
    for i in set(range(count)) - anchors:
        guide = guides[i]
        found = [] if guide is None else _near(pictures[i], detect, guide, smallest)
        candidates[i] = found or detect(pictures[i], smallest)
    return _follow(candidates)


def _near(picture: ByteArray, detect: Detector, guide: Box, smallest: int) -> list[Box]:
    """Search around a box alone, which takes a fraction of the time."""
    # Room for a move by nearly its size; where that is too little, all is searched.
    part = _Part.around(guide, picture, reach=1.4)
    least_side = max(1, round(smallest * part.scale))
    return [part.outside(box) for box in detect(part.picture, least_side)]


def _follow(candidates: Sequence[Sequence[Box]]) -> list[Box | None]:
    """Return the boxes of the one person who is largest and surest over all pictures."""
    tracks = [_track(candidates, start, box) for start, row in enumerate(candidates) for box in row]
    kept = [track for track in tracks if not _is_chance(track)]
    if not kept:
        return [None] * len(candidates)
    return max(kept, key=lambda track: sum(_weight(box) for box in track if box is not None))


def _track(candidates: Sequence[Sequence[Box]], start: int, box: Box) -> list[Box | None]:
    track: list[Box | None] = [None] * len(candidates)
    for order in (range(start, len(track)), range(start - 1, -1, -1)):
        last = box
        for i in order:
            near = [other for other in candidates[i] if _is_same(last, other)]
            if near:
                last = min(near, key=functools.partial(_distance, last))
                track[i] = last
    return track


def _is_same(one: Box, other: Box) -> bool:
    ratio = one.size / other.size
    return 1 / _GROWTH <= ratio <= _GROWTH and _distance(one, other) <= _REACH * one.size


def _distance(one: Box, other: Box) -> float:
    return float(np.hypot(one.x - other.x, one.y - other.y))


def _is_chance(track: Sequence[Box | None]) -> bool:
    found = [box for box in track if box is not None]
    few = len(track) > _ANCHORS and len(found) == 1
    return few and found[0].confidence < _ISOLATED_CONFIDENCE


def _between(boxes: Sequence[Box | None]) -> list[Box | None]:
    """Give pictures without a box what lies between those of their neighbours."""
    found = [i for i, box in enumerate(boxes) if box is not None]
    if not found:
        return list(boxes)
    known = np.array([box for box in boxes if box is not None])
    columns = [np.interp(range(len(boxes)), found, column).tolist() for column in known.T]
    return [Box(*row) for row in zip(*columns, strict=True)]


def _steady(boxes: Sequence[Box | None]) -> list[Box | None]:
    """Set each size to the median of those around it."""
    # Places are left as found: frames may lie seconds apart, and heads move.
    sizes = [np.nan if box is None else box.size for box in boxes]
    return [
        box and box._replace(size=float(np.median(sizes[max(0, i - 2) : i + 3])))
        for i, box in enumerate(boxes)
    ]


def _scaled(box: Box | None, factor: float) -> Box | None:
    return box and Box(box.x * factor, box.y * factor, box.size * factor, box.confidence)
