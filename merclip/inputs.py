"""Anything that a user passes, as clips."""

from __future__ import annotations

import dataclasses
import difflib
import numbers
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from merclip._shown import shown
from merclip.errors import (
    DecodeError,
    InputError,
    InputTypeError,
    LabelError,
    MediaTypeError,
    MerclipError,
    NoModalityError,
)
from merclip.types import (
    Audio,
    Clip,
    Clips,
    Labelled,
    Video,
    as_list,
    as_numpy,
    is_column,
    is_tensor,
)

MODALITY_KEYS = ("video", "audio", "text")
CLIP_KEYS = (*MODALITY_KEYS, "start", "end", "region", "id")
LABEL_KEY = "label"
Array = np.ndarray[Any, Any]
ENCODED = (str, bytes, bytearray, memoryview, os.PathLike)
_TABLES = (("columns", "iloc"), ("columns", "to_dicts"), ("column_names", "to_pylist"))
"""How pandas, polars and pyarrow call the columns of a table, and its rows."""


class Given(NamedTuple):
    """Clips, and whether the user passed one of them or a batch."""

    clips: Clips
    single: bool


@dataclasses.dataclass(frozen=True, eq=False)
class BrokenRow(Clip):
    """A row that is no clip; `problem` is why, and is raised when it is read."""

    problem: MerclipError = dataclasses.field(
        default_factory=lambda: InputError("The row is no clip."), kw_only=True
    )


def as_ours(error: Exception) -> MerclipError:
    """Return what went wrong with one clip as an error of ours.

    Memory that is used up, a package that is missing and a warning that the user has made
    an error say nothing of a clip: they are raised.
    """
    if isinstance(error, (MemoryError, ImportError, Warning)):
        raise error
    if isinstance(error, MerclipError):
        return error
    return DecodeError(f"It cannot be read ({type(error).__name__}: {error}).")


def as_clips(
    X: Any = None,
    audio: Any = None,
    text: Any = None,
    *,
    video: Any = None,
    keep_broken: bool = False,
) -> Given:
    """Turn the arguments of `predict` into clips.

    Parameters
    ----------
    X : video, clip or batch of clips
        With `audio` or `text` given, a video or a list of videos.
    audio, text, video : one item or a list
        Lists must have one length.
    keep_broken : bool
        Take rows with values that no clip can have as `BrokenRow`.

    Raises
    ------
    InputTypeError
        A container that has no rows, such as a mapping of lists.
    InputError
        Lists of different length, no known column, or a misspelt one.
    NoModalityError
        Nothing was given at all.
    """
    if video is not None and X is not None:
        raise InputError("Give the video once: by position or as video=.")
    if X is None and video is None and audio is None and text is None:
        raise NoModalityError("Give at least one of video, audio and text.")
    if audio is not None or text is not None or video is not None:
        return _from_parts(video if X is None else X, audio, text)
    return _from_rows(X, keep_broken)


def iter_clips(clips: Any, *, keep_broken: bool = False) -> Iterator[Clip]:
    """Yield clips one at a time from an iterable, which may be endless.

    `keep_broken` is that of `as_clips`.

    Raises
    ------
    InputTypeError
        One clip, rather than something that gives clips.
    """
    if isinstance(clips, (*ENCODED, Mapping, Clip)) or _is_frame_row(clips):
        raise InputTypeError(
            f"An iterable of clips is needed, got one {type(clips).__name__}: put it in a list."
        )
    if _is_frame(clips) or is_labelled(clips):
        yield from _from_rows(clips, keep_broken).clips
    elif _is_dataset(clips):
        yield from _from_dataset(clips, keep_broken)
    else:
        for index, row in enumerate(clips):
            yield _row(row, index, keep_broken)


def labels_in(X: Any, *, some: bool = False) -> list[Any] | None:
    """Return the labels of a `Dataset`, or the column "label" of a table or list of dicts.

    With `some` a dict without it counts as one whose label is None, unless all are.
    """
    if is_labelled(X):
        return list(X.y)
    if _is_frame(X):
        return as_list(X[LABEL_KEY]) if LABEL_KEY in _names(X) else None
    if _is_dataset(X):
        return _labels_of_dataset(X)
    if isinstance(X, (list, np.ndarray)) and len(X) and all(isinstance(r, Mapping) for r in X):
        with_label = [LABEL_KEY in row for row in X]
        if all(with_label):
            return [row[LABEL_KEY] for row in X]
        if any(with_label) and some:
            return [row.get(LABEL_KEY) for row in X]
        if any(with_label):
            missing = with_label.index(False)
            raise InputError(f"Some rows have a 'label' and row {missing} has none.")
    return None


def given_targets(X: Any, y: Any, *, some: bool = False) -> Any:
    """Return `y`, or else the column "label" of `X`, where `some` rows may have none.

    Raises
    ------
    InputError
        There is neither.
    LabelError
        `y` is a single string.
    """
    if y is None:
        y = labels_in(X, some=some)
    if y is None:
        raise InputError("Give y, or clips with a column 'label'.")
    return as_targets(y)


def as_targets(y: Any) -> Any:
    """Return labels as a list, as an array, or as a table whose columns have names.

    Raises
    ------
    LabelError
        `y` is a single string.
    """
    if isinstance(y, str):
        raise LabelError(f"y={shown(y)} is a single string; give one label for each clip.")
    if hasattr(y, "toarray"):  # sparse, of SciPy
        return y.toarray()
    if is_tensor(y):
        return as_numpy(y.to_dense() if y.is_sparse else y)
    if _is_frame(y) and not hasattr(y, "to_numpy"):  # a table of pyarrow
        return y.to_pandas()
    if _is_of_dataset(y):
        return [_named(y.features, label) for label in _undecoded(y.source)[y.column_name]]
    return as_list(y) if is_column(y) and not isinstance(y, np.ndarray) else y


def is_labelled(value: Any) -> TypeGuard[Labelled]:
    """Tell whether a value is merclip's own `Dataset`: clips beside their labels."""
    return all(hasattr(value, name) for name in ("clips", "y", "groups", "splits", "select"))


def rows_without_label(y: Any) -> list[int]:
    """Return where labels are missing: None, NaN, or an indicator row of NaN."""
    if hasattr(y, "columns"):
        y = y.to_numpy()
    if getattr(y, "ndim", 1) == 2:
        kept = [all(map(_is_missing, row)) for row in y]
        return [index for index, missing in enumerate(kept) if missing]
    return [index for index, label in enumerate(y) if _is_missing(label)]


def index_of(given: Iterable[Any], n_clips: int) -> Any:
    """Return the index of the DataFrame or Series that rows come from, or their numbers."""
    for value in given:
        if hasattr(value, "iloc") and not _is_frame_row(value) and len(value) == n_clips:
            return value.index
    return range(n_clips)


def with_media(clip: Clip) -> Clip:
    """Check one clip, and wrap arrays as `Video` and `Audio`.

    Raises
    ------
    NoModalityError
        The clip is empty.
    InputTypeError
        A sound array without its rate, a text that is not a string, a source
        of another kind.
    ShapeError, InputError
        An array that cannot be used; see `Video` and `Audio`.
    """
    if isinstance(clip, BrokenRow):
        raise clip.problem
    given = {key: getattr(clip, key) for key in clip.modalities}
    missing: dict[str, Any] = {key: None for key in given if _is_missing(given[key])}
    if isinstance(clip.text, str) and not clip.text.strip():
        missing["text"] = None
    if len(missing) == len(given):
        raise NoModalityError(
            "The clip has no video, no audio and no text; give at least one of them."
        )
    clip = dataclasses.replace(clip, **missing)
    if clip.text is not None and not isinstance(clip.text, str):
        raise InputTypeError(f"text is a string, got {type(clip.text).__name__}.")
    return dataclasses.replace(clip, video=_as_video(clip), audio=_as_audio(clip.audio))


def _from_parts(video: Any, audio: Any, text: Any) -> Given:
    if isinstance(video, (Clip, Clips)) or _is_frame(video) or _is_row(video):
        raise InputTypeError("With audio= or text= the first argument is a video, not clips.")
    for name, source in (("video", video), ("audio", audio)):
        _check_kind(source, name)
    given = {"video": video, "audio": audio, "text": text}
    columns = {name: _column(value) for name, value in given.items() if value is not None}
    lists = {name: column for name, column in columns.items() if column is not None}
    if not lists:
        return Given(Clips([Clip(**given)]), single=True)
    if len(lists) < len(columns):
        one = sorted(set(columns) - set(lists))
        raise InputError(f"Give one item of each, or a list of each; {one} is not a list.")
    rows = Clips.from_columns(**{name: _clean(column) for name, column in lists.items()})
    return Given(rows, single=False)


def _from_rows(X: Any, keep_broken: bool) -> Given:
    if isinstance(X, Clip):
        return Given(Clips([X]), single=True)
    if isinstance(X, Clips):
        return Given(X, single=False)
    if is_labelled(X):
        return Given(X.clips, single=False)
    if _is_frame(X):
        return Given(_from_frame(X, keep_broken), single=False)
    if _is_dataset(X):
        return Given(Clips(_from_dataset(X, keep_broken)), single=False)
    if _is_row(X) or _is_frame_row(X):
        return Given(Clips([_row(X, 0, keep_broken)]), single=True)
    column = _column(X)
    if column is None:
        _check_kind(X, "video")
        return Given(Clips([Clip(video=X)]), single=True)
    return Given(Clips(_row(row, i, keep_broken) for i, row in enumerate(column)), single=False)


def _column(value: Any) -> list[Any] | None:
    """Return a batch as a list, or None for one item."""
    if isinstance(value, (*ENCODED, Video, Audio, Mapping)):
        return None
    if isinstance(value, tuple):
        if _is_sound(value):
            return None
        raise InputTypeError(
            "A tuple has no rows; pass a list of dicts, a DataFrame or Clips.from_columns(...), "
            "and several items of one kind as a list."
        )
    if isinstance(value, np.ndarray):
        _check_columns(value)
        return list(value) if value.dtype.kind in "OUS" and value.ndim else None
    if is_tensor(value) or hasattr(value, "read"):
        return None
    if is_column(value):
        return _checked_list(as_list(value))
    if _is_of_dataset(value):
        value = _undecoded(value.source)[value.column_name]
    return _checked_list(list(value)) if isinstance(value, Sequence) else None


def _check_columns(array: Array) -> None:
    """Refuse a table of strings or clips, whose columns have lost their names."""
    if array.ndim > 1 and array.size and isinstance(array.flat[0], (str, Mapping, Clip)):
        raise InputTypeError(
            f"An array of shape {array.shape} has columns without names; pass the DataFrame itself "
            '(df[["text"]]), or a list of dicts such as [{"text": ...}].'
        )


def _is_sound(value: tuple[Any, ...]) -> bool:
    """Tell whether a tuple is (array, rate), or that the wrong way round."""
    if len(value) != 2:
        return False
    n_arrays = sum(getattr(part, "ndim", 0) > 0 for part in value)
    listed = isinstance(value[0], list) and isinstance(value[1], numbers.Number)
    return n_arrays == 1 or listed


def _checked_list(values: list[Any]) -> list[Any]:
    given = [value for value in values if not _is_missing(value)]
    if given and all(isinstance(value, numbers.Number) for value in given):
        raise InputTypeError(
            "A list of numbers is neither media nor text; give sound as (array, rate) or "
            "Audio(array, rate=...)."
        )
    if any(isinstance(value, list) for value in values):
        raise InputTypeError("A list of lists has no rows; pass a list of dicts or a DataFrame.")
    return values


def _from_dataset(rows: Any, keep_broken: bool) -> Iterator[Clip]:
    """Yield the clips of a data set of Hugging Face, which may have no length."""
    if isinstance(rows, Mapping):
        raise InputTypeError(
            f"X holds several data sets, {sorted(map(str, rows))}: give one of them."
        )
    rows = _undecoded(rows)
    if hasattr(rows, "__len__"):
        yield from (_row_of_dataset(rows, index, keep_broken) for index in range(len(rows)))
    else:
        yield from (_row(row, index, keep_broken) for index, row in enumerate(rows))


def _undecoded(rows: Any) -> Any:
    """Return a data set that gives plain rows, with media as files that are read as all others.

    Its own decoders are a package more, and would give a video without its sound.
    """
    features = getattr(rows, "features", None) or {}
    shape = getattr(rows, "format", None) or {}
    if shape.get("type") == "custom":  # a function of the user's own expects decoded media
        return rows
    if hasattr(rows, "with_format"):
        rows = rows.with_format(None)
    for name in MODALITY_KEYS:
        if getattr(features.get(name), "decode", False):
            rows = rows.cast_column(name, dataclasses.replace(features[name], decode=False))
    return rows


def _labels_of_dataset(rows: Any) -> list[Any] | None:
    features = getattr(rows, "features", None) or {}
    if LABEL_KEY not in (rows.column_names or features or next(iter(rows), {})):
        return None
    rows = _undecoded(rows)
    labels = rows[LABEL_KEY] if hasattr(rows, "__len__") else (row[LABEL_KEY] for row in rows)
    return [_named(features.get(LABEL_KEY), label) for label in labels]


def _named(feature: Any, label: Any) -> Any:
    """Return the name of a label that a data set numbers; -1 is one that is missing."""
    if label is None or isinstance(label, str):
        return label
    if hasattr(feature, "int2str"):
        return None if int(label) < 0 else feature.names[int(label)]
    inner = getattr(feature, "feature", None)
    return [_named(inner, one) for one in label] if hasattr(inner, "int2str") else label


def _row_of_dataset(rows: Any, index: int, keep_broken: bool) -> Clip:
    try:
        row = rows[index]  # a data set may decode its media here
    except Exception as error:
        if not keep_broken:
            raise
        return BrokenRow(problem=as_ours(error))
    return _row(row, index, keep_broken)


def _row(row: Any, index: int, keep_broken: bool = False) -> Clip:
    if isinstance(row, Clip):
        return row
    if _is_frame_row(row):
        row = row.to_dict()
    if not _is_row(row):
        return Clip(video=None if _is_missing(row) else row)
    _check_keys(row, index)
    values = {key: row[key] for key in CLIP_KEYS if key in row and not _is_missing(row[key])}
    return _make_clip(values, index, keep_broken)


def _make_clip(values: dict[str, Any], index: int, keep_broken: bool) -> Clip:
    try:
        return Clip(**values)
    except (InputError, InputTypeError) as error:
        if keep_broken:
            named = {key: values[key] for key in (*MODALITY_KEYS, "id") if key in values}
            return BrokenRow(**named, problem=error)
        raise type(error)(f"Row {index}: {error}") from error


def _check_keys(row: Mapping[str, Any], index: int) -> None:
    known = [*CLIP_KEYS, LABEL_KEY]
    unknown = sorted(map(str, set(row) - set(known)))
    for key in unknown:
        close = _close_key(key, row)
        if close:
            raise InputError(f"Row {index} has the key {shown(key)}; did you mean {close!r}?")
    # A row without any other key is one whose clip is missing, not a misuse.
    if unknown and not set(MODALITY_KEYS) & set(row):
        raise InputError(
            f"Row {index} has the keys {sorted(map(str, row))}; "
            f"a clip has at least one of {list(MODALITY_KEYS)}."
        )
    lists = [key for key in MODALITY_KEYS if isinstance(row.get(key), list)]
    if lists:
        raise InputTypeError(
            f"A dict of lists (here {lists}) has no rows; pass a list of dicts, a DataFrame or "
            "Clips.from_columns(...). Frames of one video are one array: np.stack(frames)."
        )


def _close_key(key: str, given: Iterable[Any]) -> str | None:
    """Return the key that was probably meant, of those that change a score."""
    known = [*MODALITY_KEYS, "start", "end"]
    found = difflib.get_close_matches(key.strip().lower(), known, n=1, cutoff=0.8)
    return found[0] if found and found[0] not in given else None


def _from_frame(frame: Any, keep_broken: bool) -> Clips:
    names = _names(frame)
    columns = [name for name in CLIP_KEYS if name in names]
    for name in map(str, names):
        close = None if name in (*CLIP_KEYS, LABEL_KEY) else _close_key(name, names)
        if close:
            raise InputError(f"The DataFrame has the column {shown(name)}; did you mean {close!r}?")
    if not set(columns) & set(MODALITY_KEYS):
        raise InputError(
            f"The DataFrame has the columns {list(map(str, names))}; "
            f"known are {[*CLIP_KEYS, LABEL_KEY]}."
        )
    rows = zip(*(as_list(frame[name]) for name in columns), strict=True)
    return Clips(
        _row(dict(zip(columns, values, strict=True)), index, keep_broken)
        for index, values in enumerate(rows)
    )


def _names(frame: Any) -> list[Any]:
    """Return the names of a table's columns.

    Raises
    ------
    InputError
        There are two of a name that counts.
    """
    names = list(frame.column_names if hasattr(frame, "column_names") else frame.columns)
    counts = Counter(name for name in names if name in (*CLIP_KEYS, LABEL_KEY))
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise InputError(f"The DataFrame has {counts[twice[0]]} columns called {twice[0]!r}.")
    return names


def as_source(source: Any) -> Any:
    """Return a file in a mapping, a picture of PIL or a torchcodec decoder as what we read."""
    source = getattr(source, "_hf_encoded", source)  # what a data set has decoded already
    if isinstance(source, Mapping) and _is_file(source):
        found = source.get("path") if source.get("bytes") is None else source["bytes"]
        if found is None:
            raise InputError("The mapping has neither bytes nor a path.")
        return found
    if _is_picture(source):
        return Video(_pixels(source), fps=1.0)
    if hasattr(source, "get_all_samples"):
        sound = source.get_all_samples()
        return Audio(sound.data, rate=sound.sample_rate)
    return source


def _pixels(picture: Any) -> Array:
    """Return a picture of PIL upright, as RGB.

    Raises
    ------
    InputError
        Its values have no range that says what is white.
    """
    from PIL import ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):
        return np.repeat((np.asarray(picture) >> 8).astype(np.uint8)[..., None], 3, axis=-1)
    if picture.mode in ("I", "F"):
        raise InputError(
            f"A picture of PIL's mode {picture.mode!r} does not say which value is white: bring "
            "it to 0..255, and give an array of uint8."
        )
    return np.asarray(picture.convert("RGB"))


def _is_picture(value: Any) -> bool:
    """Tell whether a value is an image of PIL, without importing it."""
    return hasattr(value, "getexif") and hasattr(value, "convert")


def _is_row(value: Any) -> bool:
    """Tell whether a value is a mapping with a clip's parts, rather than a file in one."""
    return isinstance(value, Mapping) and not _is_file(value)


def _is_file(value: Mapping[str, Any]) -> bool:
    """Tell whether a mapping is a file, as Hugging Face's data sets and parquet files have it."""
    return set(value) == {"bytes", "path"}


def _check_kind(source: Any, name: str) -> None:
    """Refuse what can be no video or sound at all, whatever is done with clips that fail.

    Raises
    ------
    InputTypeError
    """
    kinds = (*ENCODED, np.ndarray, Video, Audio, Mapping, Sequence)
    known = isinstance(source, kinds) or _is_missing(source) or _is_picture(source)
    if known or is_tensor(source) or is_column(source):
        return
    if any(hasattr(source, name) for name in ("read", "_hf_encoded", "get_all_samples")):
        return
    if hasattr(source, "collect"):
        raise InputTypeError(
            f"{type(source).__name__} has no rows yet: call collect() first, and give those."
        )
    _checked_source(source, name, "a path, bytes, a binary file, an array, Video or Audio")


def _as_video(clip: Clip) -> Any:
    source = as_source(clip.video)
    if source is None or isinstance(source, Video):
        return source
    if isinstance(source, np.ndarray) or is_tensor(source):
        if clip.start or clip.end is not None:
            raise InputError("start and end need the frame rate: give Video(array, fps=...).")
        return Video(source, fps=1.0)
    return _checked_source(source, "video", "a path, bytes, a binary file, an array or Video")


def _as_audio(source: Any) -> Any:
    source = as_source(source)
    if source is None or isinstance(source, Audio):
        return source
    if isinstance(source, tuple) and len(source) == 2:
        array, rate = source
        if np.ndim(rate) > 0 and isinstance(array, numbers.Number):
            raise InputTypeError("Sound is (array, rate), got (rate, array): swap the two.")
        return Audio(array, rate=rate)
    if isinstance(source, Mapping) and {"array", "sampling_rate"} <= set(source):
        return Audio(source["array"], rate=source["sampling_rate"])  # Hugging Face's form
    if isinstance(source, np.ndarray) or is_tensor(source):
        raise InputTypeError(
            "A sound array needs its rate: give (array, rate) or Audio(array, rate=...)."
        )
    return _checked_source(source, "audio", "a path, bytes, a binary file, (array, rate) or Audio")


def _checked_source(source: Any, name: str, kinds: str) -> Any:
    if isinstance(source, ENCODED) or hasattr(source, "read"):
        return source
    hint = " Several of them are given as a list." if hasattr(source, "__iter__") else ""
    raise MediaTypeError(f"{name} is {kinds}, got {type(source).__name__}.{hint}")


def _clean(column: Iterable[Any]) -> list[Any]:
    return [None if _is_missing(value) else value for value in column]


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    return type(value).__name__ in ("NAType", "NaTType")


def _is_frame(value: Any) -> bool:
    """Tell whether a value is a table, of pandas, polars or pyarrow."""
    # Rows first: a LazyFrame warns when it is asked for its columns.
    return any(hasattr(value, rows) and hasattr(value, names) for names, rows in _TABLES)


def _is_frame_row(value: Any) -> bool:
    """Tell whether a pandas Series is a row with clip's keys rather than a column."""
    if not (hasattr(value, "to_dict") and hasattr(value, "iloc")) or _is_frame(value):
        return False
    return any(isinstance(key, str) and key in MODALITY_KEYS for key in value.index)


def _is_of_dataset(value: Any) -> bool:
    """Tell whether a value is a column of a data set of Hugging Face."""
    return hasattr(value, "column_name") and hasattr(getattr(value, "source", None), "column_names")


def _is_dataset(value: Any) -> bool:
    """Tell whether a value is a data set of Hugging Face, also one that is streamed."""
    rows = hasattr(value, "__getitem__") or hasattr(value, "__iter__")
    return rows and hasattr(value, "column_names")
