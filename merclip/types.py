"""What a sample is: `Clip`, a batch of them: `Clips`, and media in memory."""

from __future__ import annotations

import numbers
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    Protocol,
    TypeAlias,
    TypeGuard,
    TypeVar,
    Union,
    overload,
)

import numpy as np

from merclip._shown import shown
from merclip.errors import InputError, InputTypeError, ShapeError

if TYPE_CHECKING:
    import pandas as pd
    import PIL.Image
    import torch
    from numpy.typing import ArrayLike

T_co = TypeVar("T_co", covariant=True)

FloatArray: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
ByteArray: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
Region: TypeAlias = tuple[float, float, float, float]

MIN_RATE, MAX_RATE = 1_000, 1_000_000
"""Hz; a rate of one would make each sample a second, and four numbers a minute of memory."""
MAX_NUMBER = 1e12
_MOST_CHANNELS = 32
_SOUND_SHAPE = "A sound array has the shape (n,) or (channels, n) or (n, channels)"
_CANCELLED = 0.2
"""Of the power that the mean of channels has which have nothing in common: less than this is
left only where they are each other's negative."""


def is_tensor(value: Any) -> TypeGuard[torch.Tensor]:
    """Tell whether a value is a torch tensor, without importing torch."""
    # Python's binary files have a `detach` too.
    return hasattr(value, "detach") and hasattr(value, "cpu")


def as_numpy(value: Any) -> np.ndarray[Any, Any]:
    """Return an array, a torch tensor (any device) or nested lists as numpy.

    Raises
    ------
    ShapeError
        Nested lists of different lengths.
    InputTypeError
        A tensor without numbers that NumPy could hold: sparse, quantized, or of no device.
    """
    if is_tensor(value):
        return _dense(value)
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"Nested lists must have one length at each level: {error}") from error


_LISTS = ("to_pylist", "to_list", "tolist")
"""How columns of pyarrow, of polars, and of pandas and NumPy become lists."""


def is_column(value: Any) -> bool:
    """Tell whether a value is a column or an array of one dimension, of whatever library."""
    return any(hasattr(value, name) for name in _LISTS) and getattr(value, "ndim", 1) == 1


def as_list(values: Any) -> list[Any]:
    """Return a column of any library, or what can be gone through, as a list."""
    name = next((name for name in _LISTS if hasattr(values, name)), None)
    return list(values if name is None else getattr(values, name)())


def _dense(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    try:
        # NumPy has none of torch's shorter kinds of floating point.
        small = tensor.is_floating_point() and tensor.element_size() <= 2
        array: np.ndarray[Any, Any] = (tensor.float() if small else tensor).numpy(force=True)
    except (TypeError, RuntimeError) as error:
        raise InputTypeError(
            f"A tensor is dense and in memory; this one cannot become an array ({error})."
        ) from error
    return array


class Video:
    """Frames in memory.

    Parameters
    ----------
    array : array or tensor of shape (T, H, W, 3)
        RGB frames, `uint8` in 0..255 or floating point in [0, 1]. One picture
        of shape (H, W, 3) and grey frames of shape (T, H, W) are accepted too.
    fps : float
        Frames per second.

    Attributes
    ----------
    frames : ndarray of shape (T, H, W, 3), uint8
    fps : float

    Raises
    ------
    ShapeError
        The array has another shape; the message says what it looks like.
    InputError
        `fps` is not positive, the array is empty, or values are out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from merclip import Video
    >>> Video(np.zeros((25, 48, 64, 3), np.uint8), fps=25).duration
    1.0
    """

    def __init__(self, array: ArrayLike | torch.Tensor, *, fps: float) -> None:
        self.fps = _positive(fps, "fps must be a positive number")
        self.frames: ByteArray = _as_frames(as_numpy(array))

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.frames) / self.fps

    def __repr__(self) -> str:
        return f"Video(shape={self.frames.shape}, fps={self.fps:g})"


class Audio:
    """Sound in memory.

    Parameters
    ----------
    array : array or tensor of shape (n,) or (channels, n) or (n, channels)
        Samples, floating point in [-1, 1] or integers of any type, which are scaled
        by what their type can hold. Channels are averaged; where they cancel, as those
        of a wire with its poles swapped do, the loudest stands for all.
    rate : int
        Samples per second, 1,000 to 1,000,000 Hz.

    Attributes
    ----------
    samples : ndarray of shape (n,), float32
        Mono sound in [-1, 1].
    rate : int

    Raises
    ------
    ShapeError
        The array is not one- or two-dimensional, or has more channels than any sound.
    InputError
        `rate` is out of range, or the array is empty, not finite or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from merclip import Audio
    >>> Audio(np.zeros((2, 8000)), rate=16000).duration
    0.5
    """

    def __init__(self, array: ArrayLike | torch.Tensor, *, rate: int) -> None:
        self.rate = int(_positive(rate, "rate must be a positive number of Hz"))
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise InputError(f"rate must lie in {MIN_RATE} to {MAX_RATE} Hz, got {shown(rate)}.")
        self.samples: FloatArray = _as_samples(as_numpy(array))

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate

    def __repr__(self) -> str:
        return f"Audio(shape={self.samples.shape}, rate={self.rate})"


class Listed(Protocol[T_co]):
    """Several items in order, such as a list; a lone string is none, unlike with `Sequence`.

    Examples
    --------
    >>> from merclip.typing import Listed
    >>> def longest(lines: Listed[str]) -> str:
    ...     return max(lines, key=len)
    >>> longest(["hi", "hello"])        # longest("hello") is a mistake
    'hello'
    """

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[T_co]: ...
    def __contains__(self, item: object, /) -> bool: ...
    def __getitem__(self, index: int, /) -> T_co: ...


Encoded: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
VideoLike: TypeAlias = Union[
    Encoded, np.ndarray[Any, Any], "torch.Tensor", Video, "PIL.Image.Image", Mapping[str, Any]
]
"""A path, bytes of a file, binary file, array or tensor of shape (T, H, W, 3), or `Video`; a
picture of PIL; or, as Hugging Face's data sets have it, a mapping with the keys ``bytes`` and
``path``."""

AudioLike: TypeAlias = (
    Encoded | tuple[Union["ArrayLike", "torch.Tensor"], int] | Mapping[str, Any] | Audio
)
"""A path, bytes of a file, binary file, ``(array, rate)`` or `Audio`; or, as Hugging Face's
data sets have it, a mapping with the keys ``bytes`` and ``path``, or ``array`` and
``sampling_rate``."""


@dataclass(frozen=True, eq=False)
class Clip:
    """One sample: a video, a sound and a transcript, each of them optional.

    Parameters
    ----------
    video : path, bytes, binary file, array of shape (T, H, W, 3) or Video
        `bytes` are an encoded file. A video file brings its own sound unless
        `audio` is given.
    audio : path, bytes, binary file, (array, rate) or Audio
    text : str
        What was said. Never read from a path.
    start, end : float
        The span to use, in seconds from the beginning of the file.
    region : (left, top, right, bottom), optional
        The part of the picture to use, in shares of its width and height from the
        upper left corner of the upright picture.
    id : str
        A name for the clip in results; by default the file's path.

    Examples
    --------
    >>> from merclip import Clip
    >>> Clip(text="I can't believe you did that").modalities
    ('text',)
    """

    video: VideoLike | None = None
    audio: AudioLike | None = None
    text: str | None = None
    start: float = field(default=0.0, kw_only=True)
    end: float | None = field(default=None, kw_only=True)
    region: Region | None = field(default=None, kw_only=True)
    id: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not (_is_number(self.start) and (self.end is None or _is_number(self.end))):
            raise InputTypeError(
                "start and end are numbers of seconds, "
                f"got start={shown(self.start)} and end={shown(self.end)}."
            )
        if not 0 <= self.start < MAX_NUMBER:
            raise InputError(f"start must be at least 0 seconds, got {shown(self.start)}.")
        if self.end is not None and not self.end > self.start:
            raise InputError(
                "end must lie after start, "
                f"got start={shown(self.start)} and end={shown(self.end)}."
            )
        if self.region is not None:
            object.__setattr__(self, "region", _as_region(self.region))

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the parts that were given; a video's own sound not counted."""
        given = {"video": self.video, "audio": self.audio, "text": self.text}
        return tuple(name for name, value in given.items() if value is not None)

    @property
    def name(self) -> str | None:
        """The `id`, or the path of the video or sound, or None."""
        if self.id is not None:
            return str(self.id)
        for source in (self.video, self.audio):
            path = source.get("path") if isinstance(source, Mapping) else source
            if isinstance(path, (str, os.PathLike)):
                return os.fspath(path)
        return None


class Clips(Sequence[Clip]):
    """A batch of clips that indexes like an array.

    Integers give a `Clip`; slices, index arrays and boolean masks give `Clips`,
    so scikit-learn's splitters can cut it.

    Parameters
    ----------
    clips : iterable of Clip or of mappings with Clip's parameters as keys

    Examples
    --------
    >>> from merclip import Clip, Clips
    >>> clips = Clips([Clip(text="hurray"), Clip(text="oh no")])
    >>> clips[[1]][0].text
    'oh no'
    """

    def __init__(self, clips: Iterable[Clip | Mapping[str, Any]]) -> None:
        self._clips = [_as_clip(clip) for clip in clips]

    @classmethod
    def from_columns(
        cls,
        *,
        video: Listed[VideoLike | None] | None = None,
        audio: Listed[AudioLike | None] | None = None,
        text: Listed[str | None] | None = None,
        start: Listed[float] | None = None,
        end: Listed[float | None] | None = None,
        region: Listed[Region | None] | None = None,
        id: Listed[str | None] | None = None,
    ) -> Clips:
        """Build clips from one list for each part; all lists of one length.

        Parameters
        ----------
        video, audio, text : list, optional
            What `Clip` takes for that part, and None where a clip lacks it.
        start, end : list of float, optional
            Seconds.
        region : list of (left, top, right, bottom), optional
        id : list of str, optional

        Returns
        -------
        Clips

        Raises
        ------
        InputError
            Lists of different length.

        Examples
        --------
        >>> from merclip import Clips
        >>> Clips.from_columns(video=["a.mp4", "b.mp4"], text=["hurray", None])[1]
        Clip(video='b.mp4', audio=None, text=None, start=0.0, end=None, region=None, id=None)
        """
        columns = {
            "video": video,
            "audio": audio,
            "text": text,
            "start": start,
            "end": end,
            "region": region,
            "id": id,
        }
        given = {name: list(column) for name, column in columns.items() if column is not None}
        lengths = {name: len(column) for name, column in given.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name}: {n}" for name, n in lengths.items())
            raise InputError(f"All lists must have one length, got {listed}.")
        return cls(dict(zip(given, row, strict=True)) for row in zip(*given.values(), strict=True))

    def __len__(self) -> int:
        return len(self._clips)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int]) -> Clips: ...
    def __getitem__(self, index: Any) -> Clip | Clips:
        if isinstance(index, (int, np.integer)):
            return self._clips[int(index)]
        if isinstance(index, slice):
            return Clips(self._clips[index])
        positions = np.asarray(index)
        if positions.size and positions.dtype.kind not in "iub":
            raise TypeError(f"Clips are indexed by integers, slices or masks, got {shown(index)}.")
        if positions.dtype == bool:
            if len(positions) != len(self):
                raise IndexError(f"A mask of length {len(positions)} for {len(self)} clips.")
            positions = np.flatnonzero(positions)
        return Clips(self._clips[int(position)] for position in positions)

    def __iter__(self) -> Iterator[Clip]:
        return iter(self._clips)

    def __repr__(self) -> str:
        return f"Clips(n={len(self)})"

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame with Clip's parameters as columns (extra `pandas`).

        Returns
        -------
        DataFrame of n rows

        Raises
        ------
        MissingExtraError
            pandas is not installed.

        Examples
        --------
        >>> from merclip import Clip, Clips
        >>> Clips([Clip(text="hurray"), Clip(text="oh no")]).to_frame()["text"].tolist()
        ['hurray', 'oh no']
        """
        from merclip._optional import import_pandas

        names = [item.name for item in fields(Clip)]
        rows = [[getattr(clip, name) for name in names] for clip in self]
        frame: pd.DataFrame = import_pandas().DataFrame(rows, columns=names)
        return frame


ClipLike: TypeAlias = VideoLike | Clip | Mapping[str, Any]
"""One clip: a video, a `Clip`, or a mapping with Clip's parameters as keys."""


class Frame(Protocol):
    """A DataFrame, of pandas or polars or with their face."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: Any, /) -> Any: ...


class Labelled(Protocol):
    """A `Dataset` of `merclip.datasets`, or with its face."""

    @property
    def clips(self) -> Clips:
        """The clips, n of them."""

    @property
    def y(self) -> Any:
        """One label for each clip, or several."""

    @property
    def groups(self) -> Any:
        """Who or what must not be on both sides of a split, for each clip; or None."""

    @property
    def splits(self) -> Any:
        """The part of each clip, such as "train"; or None."""

    def select(self, rows: Any) -> Any:
        """Return some of the clips."""


class Sparse(Protocol):
    """A sparse matrix of SciPy."""

    def toarray(self) -> Any:
        """Return it with all its zeros."""


class Rows(Protocol):
    """A data set of Hugging Face, a table of pyarrow, or with their face."""

    @property
    def column_names(self) -> Any:
        """Names of the columns."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: Any, /) -> Any: ...


Objects: TypeAlias = np.ndarray[Any, np.dtype[np.object_]]
Strings: TypeAlias = np.ndarray[Any, np.dtype[np.str_]]
ClipsLike: TypeAlias = Clips | Listed[ClipLike | None] | Frame | Rows | Labelled | Objects | Strings
"""A batch: `Clips`, a list of clips, an array of them, a table or a data set."""


def _as_clip(value: Clip | Mapping[str, Any]) -> Clip:
    if isinstance(value, Clip):
        return value
    if isinstance(value, Mapping):
        known = [item.name for item in fields(Clip)]
        if not set(value) <= set(known):
            raise InputTypeError(f"A clip has the keys {known}, got {sorted(map(str, value))}.")
        return Clip(**value)
    raise InputTypeError(f"Clips holds Clip objects or mappings, got {type(value).__name__}.")


def _as_region(value: Any) -> Region:
    """Return a part of a picture as four floats."""
    shares = value.tolist() if hasattr(value, "tolist") else value
    listed = isinstance(shares, (list, tuple)) and len(shares) == 4
    if not listed or not all(map(_is_number, shares)):
        raise InputTypeError(
            f"region is four numbers, (left, top, right, bottom), got {shown(value)}."
        )
    left, top, right, bottom = map(float, shares)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise InputError(
            "region is (left, top, right, bottom) in shares of width and height, with "
            f"0 <= left < right <= 1 and 0 <= top < bottom <= 1, got {shown(value)}."
        )
    return left, top, right, bottom


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _positive(value: Any, message: str) -> float:
    value = value.item() if np.ndim(value) == 0 and hasattr(value, "item") else value
    # Comparisons only: a whole number of 400 digits is no float.
    if not _is_number(value) or not 0 < value < MAX_NUMBER:
        raise InputError(f"{message}, got {shown(value)}.")
    return float(value)


def _as_frames(array: np.ndarray[Any, Any]) -> ByteArray:
    if array.ndim == 3 and (array.shape[0] == 3 or array.shape[-1] == 4):
        # Three grey frames, or grey frames four pixels wide, are far less likely.
        raise ShapeError(_frames_shape_message(array.shape))
    if array.ndim == 3 and array.shape[-1] in (1, 3):
        array = array[None]
    elif array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3):
        raise ShapeError(_frames_shape_message(array.shape))
    if array.size == 0:
        raise InputError(f"The video array is empty, its shape is {array.shape}.")
    frames = _as_bytes(array)
    if frames.shape[-1] == 1:
        frames = np.repeat(frames, 3, axis=-1)
    return np.ascontiguousarray(frames)


def _frames_shape_message(shape: tuple[int, ...]) -> str:
    message = (
        f"A video array has the shape (T, H, W, 3), (H, W, 3) for one picture or "
        f"(T, H, W) for grey frames; got {shape}."
    )
    if len(shape) == 3 and shape[0] == 3:
        message += (
            " It looks like one picture, channels-first: use array.transpose(1, 2, 0). "
            "Three grey frames need array[..., None]."
        )
    elif len(shape) == 3 and shape[-1] == 4:
        message += " It looks like one picture with an alpha channel: use array[..., :3]."
    elif len(shape) == 4 and shape[1] == 3:
        message += " It looks channels-first: use array.transpose(0, 2, 3, 1)."
    elif len(shape) == 4 and shape[0] == 3:
        message += " It looks channels-first: use array.transpose(1, 2, 3, 0)."
    elif len(shape) == 4 and shape[-1] == 4:
        message += " It has an alpha channel: use array[..., :3]."
    return message


def _as_bytes(array: np.ndarray[Any, Any]) -> ByteArray:
    if array.dtype == np.uint8:
        return np.asarray(array, dtype=np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"Frames are uint8 or floating point in [0, 1], got {array.dtype}.")
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("The video array holds NaN or infinite values.")
    if low < -1e-3 or high > 1 + 1e-3:
        raise InputError(
            f"Floating-point frames lie in [0, 1], got values from {low:g} to {high:g}; "
            "divide values of 0..255 by 255, or cast them to uint8."
        )
    return np.asarray(np.clip(array, 0, 1) * 255 + 0.5, dtype=np.uint8)


def mixed(channels: FloatArray) -> FloatArray:
    """Return sound of shape (channels, n) as one channel of shape (n,).

    It is their mean, unless they cancel in it: then the loudest of them.
    """
    mono = np.asarray(channels.mean(axis=0), np.float32)
    if len(channels) > 1:
        powers = np.einsum("cn,cn->c", channels, channels)
        if np.dot(mono, mono) < _CANCELLED * powers.mean() / len(channels):
            return np.ascontiguousarray(channels[powers.argmax()])
    return mono


def _as_samples(array: np.ndarray[Any, Any]) -> FloatArray:
    if array.ndim not in (1, 2):
        raise ShapeError(f"{_SOUND_SHAPE}, got {array.shape}.")
    if array.size == 0:
        raise InputError(f"The sound array is empty, its shape is {array.shape}.")
    channels = np.atleast_2d(_as_unit_range(array))
    if len(channels) > _MOST_CHANNELS:
        channels = channels.T
    if len(channels) > _MOST_CHANNELS:
        raise ShapeError(
            f"{_SOUND_SHAPE}, and at most {_MOST_CHANNELS} channels, got {array.shape}."
        )
    return mixed(channels)


def _as_unit_range(array: np.ndarray[Any, Any]) -> FloatArray:
    if array.dtype.kind in "iu":
        return _scaled(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"Sound is floating point in [-1, 1] or integers, got {array.dtype}.")
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        position = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"The sound array holds {array[position]} at position {position}.")
    peak = max(-low, high)
    if peak > 4:
        raise InputError(
            f"Floating-point sound lies in [-1, 1], got a peak of {peak:g}; "
            "divide by the full scale of its source, or cast it to int16."
        )
    return array.astype(np.float32)


def _scaled(array: np.ndarray[Any, Any]) -> FloatArray:
    """Return integers in [-1, 1] by the range of their type, as WAV files mean them."""
    n_bits = 8 * array.dtype.itemsize
    middle = 2 ** (n_bits - 1)
    # WAV's bytes have no sign, and silence is their middle.
    samples = array.astype(np.float64) - (middle if array.dtype.kind == "u" else 0)
    peak = float(np.abs(samples).max())
    if n_bits > 16 and 0 < peak <= 2 ** (n_bits // 2 - 1):
        raise InputError(
            f"Integers of {n_bits} bits reach {middle}, and the sound array only {peak:.0f}: if "
            f"its samples have {n_bits // 2} bits or fewer, cast it to their type, such as int16."
        )
    return np.asarray(samples / middle, dtype=np.float32)
