"""Every exception and warning that merclip raises.

Each error derives from `MerclipError` and from the built-in class that a
Python or scikit-learn user would catch anyway.
"""

from __future__ import annotations

from sklearn.exceptions import NotFittedError as _SklearnNotFittedError


class MerclipError(Exception):
    """Base of all errors raised by merclip."""


class InputError(MerclipError, ValueError):
    """An argument has the right type but a value that cannot be used."""


class InputTypeError(MerclipError, TypeError):
    """An argument is of a type that merclip does not take."""


class MediaNotFoundError(MerclipError, FileNotFoundError):
    """A path to a video or a sound file does not exist."""


class MediaTypeError(InputTypeError):
    """A media source is a folder, a text-mode file or another wrong kind."""


class DecodeError(InputError):
    """A file is empty, is not media, or nothing in it can be decoded."""


class MissingStreamError(InputError):
    """A file has no stream of the kind that was asked for."""


class ShapeError(InputError):
    """An array of frames or sound does not have an accepted shape."""


class NoModalityError(InputError):
    """A clip has neither video nor sound nor text."""


class LabelError(InputError):
    """A label set, or a label in `y`, cannot be used."""


class NotFittedError(MerclipError, _SklearnNotFittedError):  # type: ignore[misc]
    """No labels are known yet, so there is nothing to predict."""


class CheckpointError(MerclipError, RuntimeError):
    """A checkpoint cannot be read, or its weights do not fit its config."""


class ModelNotFoundError(MerclipError, FileNotFoundError):
    """A model cannot be had from the name or directory that was given."""


class DatasetNotFoundError(MerclipError, FileNotFoundError):
    """A folder does not hold the data set that it was taken for."""


class DeviceError(MerclipError, RuntimeError):
    """The requested device does not exist on this machine."""


class MissingExtraError(MerclipError, ImportError):
    """An optional package is needed and not installed."""


class MerclipWarning(UserWarning):
    """Base of all warnings issued by merclip."""


class DecodeWarning(MerclipWarning):
    """Only a part of a file could be decoded, and that part is used."""


class ModalityWarning(MerclipWarning):
    """A modality was given but could not be used."""


class LabelTooLongWarning(MerclipWarning):
    """A label is longer than the text encoder's context; its end is lost."""


class TextTooLongWarning(MerclipWarning):
    """A transcript is longer than the text encoder's context; its end is lost."""


class FaceWarning(MerclipWarning):
    """Faces cannot be looked for, so whole frames are used."""


class CacheWarning(MerclipWarning):
    """The feature cache cannot be written to, so clips are encoded each time."""


class CheckpointWarning(MerclipWarning):
    """A loaded checkpoint does not reproduce its own reference logits."""
