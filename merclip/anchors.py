"""Pictures as labels: what a user passes as `anchors`, and what the image tower makes of it."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, Union

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from merclip import errors
from merclip._shown import shown
from merclip._warn import warn
from merclip.engine import Engine, Reading
from merclip.errors import (
    InputError,
    InputTypeError,
    LabelError,
    MediaNotFoundError,
    MerclipError,
    MerclipWarning,
)
from merclip.inputs import ENCODED, BrokenRow, as_ours, as_source
from merclip.labels import Label, LabelSet, by_name
from merclip.media import frame_to_rgb
from merclip.network import MERCLIP
from merclip.network.anchors import Anchors
from merclip.types import Clip, Listed, Video, is_tensor

if TYPE_CHECKING:
    import av
    import PIL.Image

Source: TypeAlias = Literal["labels", "anchors", "both"]
_NAMED = 10
"""Bad pictures that a message lists."""

PictureLike: TypeAlias = Union[
    str,
    os.PathLike[str],
    bytes,
    BinaryIO,
    np.ndarray[Any, Any],
    torch.Tensor,
    "av.VideoFrame",
    "PIL.Image.Image",
]
"""A picture: a path, the bytes of a file, a binary file, an array of shape (H, W, 3) as for
`Video` or (H, W) where it is grey, an image of PIL, or a frame that PyAV decoded. Of a video
each frame that is read is one exemplar."""

PicturesLike: TypeAlias = PictureLike | Listed[PictureLike]
"""The pictures of one label: one of them, several, or a folder of them."""

AnchorsLike: TypeAlias = (
    str
    | os.PathLike[str]
    | Mapping[str, PicturesLike]
    | Mapping[int, PicturesLike]
    | Mapping[Label, PicturesLike]
)
"""Anchors: a mapping from label to its pictures, or a folder with one folder for each label."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """What the image tower of one loaded model made of the pictures that a user gave.

    Parameters
    ----------
    given : AnchorsLike
    face : str
        How faces were cropped.
    session : object
        The loaded model.
    exemplars : mapping from label to Tensor of shape (n, D), of norm 1
    """

    given: Any
    face: str
    session: Any
    exemplars: Mapping[Label, Tensor]

    def is_of(self, given: Any, face: str, session: Any) -> bool:
        """Tell whether this is what would be made again."""
        return self.given is given and self.face == face and self.session is session


def anchors_of(exemplars: Mapping[Label, Tensor], classes: Sequence[Label]) -> Anchors | None:
    """Return the anchors of some classes, in their order; None if none has any."""
    if exemplars.keys().isdisjoint(classes):
        return None
    width = next(iter(exemplars.values())).shape[1]
    return Anchors([exemplars.get(name, torch.zeros(0, width)) for name in classes])


@dataclass(frozen=True)
class Answers:
    """Where the answer comes from: the words of labels, their pictures, or both.

    Parameters
    ----------
    source : {"labels", "anchors", "both"}
        "both" averages probabilities. A label without pictures keeps what words give it;
        what words give to the others is shared out half by words and half by pictures.
    anchors : Anchors or None
        Of the classes, in their order.
    """

    source: Source = "labels"
    anchors: Anchors | None = None

    def logits(
        self, network: MERCLIP, fused: Tensor, labels: Tensor | None, multi_label: bool
    ) -> Tensor:
        """Compare fused embeddings of shape (B, D) with the classes: shape (B, k)."""
        if self.source == "labels" or self.anchors is None:
            return network.logits(fused, labels, multi_label)
        pictures = network.anchor_logits(fused, self.anchors.selected())
        if self.source == "anchors":
            return pictures
        words = network.logits(fused, labels, multi_label)
        return averaged(words, pictures, self.anchors.present)


BY_LABELS = Answers()


def checked_answers(source: Source, anchors: Anchors | None, labels: LabelSet) -> Answers:
    """Return where answers come from, if there is what they need.

    Raises
    ------
    LabelError
        There are no anchors, or with ``source="anchors"`` a label has none.
    """
    if source == "labels":
        return Answers(source, anchors)
    pairs = zip(labels.classes.tolist(), _has_anchors(anchors, len(labels)), strict=True)
    without = [name for name, has in pairs if not has]
    if anchors is None or (source == "anchors" and without):
        raise LabelError(
            f"predict_from={source!r} needs anchors, and {without} have none: give pictures of "
            "them, leave them out of labels, or set predict_from='both' or 'labels'."
        )
    return Answers(source, anchors)


def _has_anchors(anchors: Anchors | None, n_labels: int) -> list[bool]:
    return [False] * n_labels if anchors is None else anchors.present.tolist()


def averaged(words: Tensor, pictures: Tensor, present: Tensor) -> Tensor:
    """Return the logarithm of the average of two kinds of probabilities.

    Parameters
    ----------
    words : Tensor of shape (B, k)
        Logits of every class.
    pictures : Tensor of shape (B, c)
        Logits of those that have anchors.
    present : Tensor of shape (k,), bool
        Which they are.

    Returns
    -------
    Tensor of shape (B, k), float64
    """
    probability = words.double().softmax(dim=-1)
    seen = present.to(words.device)
    shared = probability[:, seen]
    whole = shared.sum(dim=-1, keepdim=True)
    probability[:, seen] = (shared + whole * pictures.double().softmax(dim=-1)) / 2
    return probability.clamp_min(torch.finfo(torch.float64).tiny).log()


def anchor_labels(anchors: Any) -> LabelSet:
    """Return the labels that anchors name, in the user's order; no picture is read.

    Raises
    ------
    MerclipError
        `anchors` is neither a mapping nor a folder of folders.
    """
    given = isinstance(anchors, Mapping)
    names = by_name(anchors) if given else [path.name for path in _folders_of(anchors)]
    return LabelSet.of({name: str(name) for name in names})


def listed(anchors: Any) -> dict[Label, list[Any]]:
    """Return the pictures of each label, with folders resolved; none of them is read.

    Parameters
    ----------
    anchors : AnchorsLike

    Raises
    ------
    MediaNotFoundError
        A folder does not exist.
    InputError
        A folder holds no pictures, or no folders of them; a label has no picture.
    InputTypeError
        Neither a mapping nor a folder.
    """
    if not isinstance(anchors, Mapping):
        anchors = {path.name: path for path in _folders_of(anchors)}
    found = {name: _pictures(name, given) for name, given in by_name(anchors).items()}
    if not found:
        raise InputError("anchors is empty; give pictures of at least one label.")
    return found


def embedded(
    engine: Engine, pictures: Mapping[Label, Sequence[Any]], reading: Reading
) -> dict[Label, Tensor]:
    """Encode pictures as the frames of a video are encoded: face, size, image tower.

    Parameters
    ----------
    engine : Engine
    pictures : mapping from label to list of PictureLike
        As `listed` gives them.
    reading : Reading
        With ``on_error="raise"`` any bad picture is an error, otherwise a warning.

    Raises
    ------
    MerclipError
        The network has no image tower; a picture cannot be used; or none of a label can.
    """
    if "V" not in engine.network.config.fusion:
        raise InputError("This model takes no video, so it has no image tower for anchors.")
    places = [(name, i) for name, rows in pictures.items() for i in range(len(rows))]
    clips = [_clip(pictures[name][i]) for name, i in places]
    features = list(
        engine.encode(
            clips, replace(reading, on_error="nan", use_video_audio=False, for_training=True)
        )
    )
    problems = {
        place: f"{_named(place, clip)}: {found.error}"
        for place, clip, found in zip(places, clips, features, strict=True)
        if found.error is not None
    }
    _report(problems, len(places), reading.on_error, [found.error for found in features])
    rows: dict[Label, list[Tensor]] = {name: [] for name in pictures}
    for (name, _), found in zip(places, features, strict=True):
        if found.error is None:
            rows[name].append(functional.normalize(found.sequences["V"].float(), dim=-1))
    for name, parts in rows.items():
        if not parts:
            why = " ".join(said for (owner, _), said in problems.items() if owner == name)
            raise InputError(f"No picture of {shown(name)} can be used. {why}")
    return {name: torch.cat(parts) for name, parts in rows.items()}


def check_names(anchors: Iterable[Label], labels: LabelSet) -> None:
    """Refuse anchors of names that are no labels.

    Raises
    ------
    LabelError
    """
    unknown = [name for name in anchors if name not in labels.names]
    if unknown:
        raise LabelError(
            f"anchors names {unknown}, which are not among the labels {list(labels.names)}."
        )


def _folders_of(anchors: Any) -> list[Path]:
    """Return the folders in a folder, one for each label."""
    if not isinstance(anchors, (str, os.PathLike)):
        raise InputTypeError(
            "anchors is a mapping from label to pictures, or a folder with one folder for each "
            f"label, got {type(anchors).__name__}."
        )
    folder = Path(anchors)
    if folder.is_file():
        raise InputError(
            f"{shown(str(folder))} is a file: anchors is a folder with one folder for each label."
        )
    if not folder.is_dir():
        raise MediaNotFoundError(f"There is no folder {shown(str(folder))} of anchors.")
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    found = [path for path in inside if path.is_dir()]
    if not found:
        raise InputError(
            f"{shown(str(folder))} has no folders: put the pictures of each label into one that "
            "bears its name."
        )
    return found


def _pictures(name: Label, given: Any) -> list[Any]:
    if isinstance(given, (str, os.PathLike)) and Path(given).is_dir():
        found: list[Any] = _files(Path(given))
        if not found:
            raise InputError(f"The folder {shown(str(given))} of {shown(name)} holds no pictures.")
        return found
    several = isinstance(given, (list, tuple)) or (
        isinstance(given, np.ndarray) and (given.dtype == object or given.ndim == 4)
    )
    pictures = list(given) if several else [given]
    if not pictures:
        raise InputError(f"The label {shown(name)} has no picture in anchors; leave it out.")
    return pictures


def _files(folder: Path) -> list[str]:
    kinds = {path: mimetypes.guess_type(path.name, strict=False)[0] for path in folder.iterdir()}
    return sorted(
        str(path)
        for path, kind in kinds.items()
        if (kind or "").startswith("image/") and not path.name.startswith(".")
    )


def _clip(picture: Any) -> Clip:
    """Return a picture as a clip; one that is none says so when it is read."""
    try:
        picture = as_source(picture)
        if isinstance(picture, np.ndarray) or is_tensor(picture):
            grey = picture.ndim == 2
            return Clip(video=Video(picture[..., None] if grey else picture, fps=1.0))
        if hasattr(picture, "to_ndarray"):
            return Clip(video=Video(frame_to_rgb(picture), fps=1.0))
        if not (isinstance(picture, (*ENCODED, Video)) or hasattr(picture, "read")):
            raise InputTypeError(
                "A picture is a path, bytes, a binary file, an array of shape (H, W, 3) or "
                f"(H, W), an image of PIL, or a frame of PyAV, got {type(picture).__name__}."
            )
        return Clip(video=picture)
    except Exception as error:
        return BrokenRow(problem=as_ours(error))


def _named(place: tuple[Label, int], clip: Clip) -> str:
    name, index = place
    return f"Picture {index} of {shown(name)}" + (f" ({clip.name})" if clip.name else "")


def _report(
    problems: Mapping[Any, str], total: int, on_error: str, reasons: Iterable[str | None]
) -> None:
    """Raise, or warn of, pictures that cannot be used: each by its label, place and reason."""
    if not problems:
        return
    more = len(problems) - _NAMED
    told = " ".join(list(problems.values())[:_NAMED]) + (f" And {more} more." if more > 0 else "")
    if on_error == "raise":
        raise _kind(reasons)(
            f"{len(problems)} of {total} pictures cannot be used as anchors. {told}"
        )
    warn(MerclipWarning(f"{len(problems)} of {total} pictures of anchors were left out. {told}"))


def _kind(reasons: Iterable[str | None]) -> type[MerclipError]:
    """Return the class that all reasons name, or else `InputError`."""
    names = {reason.partition(":")[0] for reason in reasons if reason is not None}
    kind = getattr(errors, names.pop(), InputError) if len(names) == 1 else InputError
    return kind if issubclass(kind, MerclipError) else InputError
