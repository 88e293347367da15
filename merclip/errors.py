"""Every exception and warning that merclip raises.

Each error derives from `MerclipError` and from the built-in class that a
Python or scikit-learn user would catch anyway.
"""

from __future__ import annotations

from sklearn.exceptions import NotFittedError as _SklearnNotFittedError

_MOST_LETTERS = 4000


def _bounded(arguments: tuple[object, ...]) -> tuple[object, ...]:
    """Cut a message in its middle where a value in it would flood the terminal."""
    half = _MOST_LETTERS // 2
    return tuple(
        f"{part[:half]} ... ({len(part) - 2 * half} letters left out) ... {part[-half:]}"
        if isinstance(part, str) and len(part) > _MOST_LETTERS + 100
        else part
        for part in arguments
    )


class MerclipError(Exception):
    """Base of all errors raised by merclip.

    A message of more than 4,000 letters is cut in its middle.

    Examples
    --------
    >>> from merclip import Clip, errors
    >>> try:
    ...     Clip("talk.mp4", start=-1)
    ... except errors.MerclipError as error:
    ...     print(type(error).__name__)
    InputError
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*_bounded(arguments))


class InputError(MerclipError, ValueError):
    """An argument has the right type but a value that cannot be used.

    Examples
    --------
    >>> from merclip import Clip
    >>> Clip("talk.mp4", start=-1)
    Traceback (most recent call last):
        ...
    merclip.errors.InputError: start must be at least 0 seconds, got -1.
    """


class InputTypeError(MerclipError, TypeError):
    """An argument is of a type that merclip does not take.

    Examples
    --------
    >>> from merclip import Clips
    >>> Clips([3])
    Traceback (most recent call last):
        ...
    merclip.errors.InputTypeError: Clips holds Clip objects or mappings, got int.
    """


class MediaNotFoundError(MerclipError, FileNotFoundError):
    """A path to a video or a sound file does not exist.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> clf = EmotionClassifier(["calm", "tense"])
    >>> try:
    ...     clf.predict("no-such-clip.mp4")
    ... except FileNotFoundError as error:
    ...     print(type(error).__name__)
    MediaNotFoundError
    """


class MediaTypeError(InputTypeError):
    """A media source is a folder, a text-mode file or another wrong kind.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> clf = EmotionClassifier(["calm", "tense"])
    >>> try:
    ...     clf.predict(".")
    ... except TypeError as error:
    ...     print(type(error).__name__)
    MediaTypeError
    """


class DecodeError(InputError):
    """A file is empty, is not media, or nothing in it can be decoded.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> clf = EmotionClassifier(["calm", "tense"])
    >>> try:
    ...     clf.predict(b"not a video")
    ... except ValueError as error:
    ...     print(type(error).__name__)
    DecodeError
    """


class MissingStreamError(InputError):
    """A file has no stream of the kind that was asked for.

    Examples
    --------
    >>> from merclip import errors
    >>> issubclass(errors.MissingStreamError, ValueError)
    True
    """


class ShapeError(InputError):
    """An array of frames or sound does not have an accepted shape.

    Examples
    --------
    >>> import numpy as np
    >>> from merclip import Audio
    >>> Audio(np.zeros((1, 2, 16000)), rate=16000)                    # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    merclip.errors.ShapeError: A sound array has the shape (n,) ... got (1, 2, 16000).
    """


class NoModalityError(InputError):
    """A clip has neither video nor sound nor text.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> EmotionClassifier(["calm", "tense"]).predict()
    Traceback (most recent call last):
        ...
    merclip.errors.NoModalityError: Give at least one of video, audio and text.
    """


class LabelError(InputError):
    """A label set, or a label in `y`, cannot be used.

    Examples
    --------
    >>> from merclip import LabelSet
    >>> LabelSet.of(["joy", "Joy "])
    Traceback (most recent call last):
        ...
    merclip.errors.LabelError: The labels 'joy' and 'Joy ' are the same.
    """


class NotFittedError(MerclipError, _SklearnNotFittedError):  # type: ignore[misc]
    """No labels are known yet, so there is nothing to predict.

    Examples
    --------
    >>> from merclip import EmotionClassifier, errors
    >>> try:
    ...     EmotionClassifier().fit()
    ... except errors.NotFittedError as error:
    ...     print(error)
    fit() without clips needs labels=.
    """


class CheckpointError(MerclipError, RuntimeError):
    """A checkpoint cannot be read, or its weights do not fit its config.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from merclip import EmotionClassifier
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     _ = pathlib.Path(directory, "config.json").write_text("{")
    ...     try:
    ...         EmotionClassifier.from_pretrained(directory)
    ...     except RuntimeError as error:
    ...         print(type(error).__name__)
    CheckpointError
    """


class DivergenceError(MerclipError, FloatingPointError):
    """Training diverged: its loss, gradient or answers are no finite numbers any more.

    The classifier is as it was before the call.

    Examples
    --------
    >>> from merclip import EmotionClassifier, errors
    >>> clips = [{"text": "so good"}, {"text": "so bad"}] * 4
    >>> try:
    ...     EmotionClassifier(lr=1e6).fit(clips, ["happy", "sad"] * 4)
    ... except errors.DivergenceError as error:
    ...     print(str(error)[:17])
    Training diverged
    """


class ModelNotFoundError(MerclipError, FileNotFoundError):
    """A model cannot be had from the name or directory that was given.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> try:
    ...     EmotionClassifier.from_pretrained("./no-such-directory")
    ... except FileNotFoundError as error:
    ...     print(type(error).__name__)
    ModelNotFoundError
    """


class UploadError(MerclipError, RuntimeError):
    """A model could not be sent to the Hub.

    Examples
    --------
    >>> from merclip import errors
    >>> issubclass(errors.UploadError, RuntimeError)
    True
    """


class DatasetNotFoundError(MerclipError, FileNotFoundError):
    """A folder does not hold the data set that it was taken for.

    Examples
    --------
    >>> from merclip.datasets import load_clips
    >>> load_clips("none.csv")
    Traceback (most recent call last):
        ...
    merclip.errors.DatasetNotFoundError: There is no file or folder 'none.csv': check the path.
    """


class FeaturesNotFoundError(MerclipError, FileNotFoundError):
    """There is no file of saved features at a path.

    Examples
    --------
    >>> from merclip import Features
    >>> Features.load("/no-such.features")
    Traceback (most recent call last):
        ...
    merclip.errors.FeaturesNotFoundError: There is no file of features '/no-such.features': check \
the path.
    """


class DeviceError(MerclipError, RuntimeError):
    """The requested device does not exist on this machine.

    Examples
    --------
    >>> from merclip import EmotionClassifier
    >>> try:
    ...     EmotionClassifier(["calm", "tense"], device="cuda:99").predict(text="hi")
    ... except RuntimeError as error:
    ...     print(type(error).__name__)
    DeviceError
    """


class MissingExtraError(MerclipError, ImportError):
    """An optional package is needed and not installed.

    Examples
    --------
    >>> from merclip import errors
    >>> issubclass(errors.MissingExtraError, ImportError)
    True
    """


class MerclipWarning(UserWarning):
    """Base of all warnings issued by merclip.

    Examples
    --------
    >>> import warnings
    >>> from merclip import EmotionClassifier, errors
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", errors.MerclipWarning)
    ...     answer = EmotionClassifier(["calm", "tense"])(text="well, " * 100)
    >>> answer.warnings[0][:22]
    'The text is too long; '
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*_bounded(arguments))


class DecodeWarning(MerclipWarning):
    """Only a part of a file could be decoded, and that part is used.

    Examples
    --------
    >>> from merclip import errors
    >>> issubclass(errors.DecodeWarning, errors.MerclipWarning)
    True
    """


class ModalityWarning(MerclipWarning):
    """A modality was given but could not be used.

    Examples
    --------
    >>> import numpy as np
    >>> import warnings
    >>> from merclip import EmotionClassifier, errors
    >>> clf = EmotionClassifier(["calm", "tense"])
    >>> silence = np.zeros(16000, np.float32)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", errors.ModalityWarning)
    ...     answer = clf(audio=(silence, 16000), text="hi")
    >>> answer.modalities_used, answer.warnings
    (('text',), ('The sound is silent and was left out.',))
    """


class LabelTooLongWarning(MerclipWarning):
    """A label is longer than the text encoder's context; its end is lost.

    Examples
    --------
    >>> import warnings
    >>> from merclip import EmotionClassifier, errors
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", errors.LabelTooLongWarning)
    ...     try:
    ...         EmotionClassifier(["calm", "very " * 100])(text="hi")
    ...     except errors.LabelTooLongWarning as warning:
    ...         print(type(warning).__name__)
    LabelTooLongWarning
    """


class TextTooLongWarning(MerclipWarning):
    """A transcript is longer than the text encoder's context; its end is lost.

    Examples
    --------
    >>> import warnings
    >>> from merclip import EmotionClassifier, errors
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", errors.TextTooLongWarning)
    ...     try:
    ...         EmotionClassifier(["calm", "tense"])(text="well, " * 100)
    ...     except errors.TextTooLongWarning as warning:
    ...         print(type(warning).__name__)
    TextTooLongWarning
    """


class FaceWarning(MerclipWarning):
    """Faces cannot be looked for, so whole frames are used.

    Examples
    --------
    >>> from merclip import errors
    >>> issubclass(errors.FaceWarning, errors.MerclipWarning)
    True
    """


class CacheWarning(MerclipWarning):
    """The feature cache cannot be written to, so clips are encoded each time.

    Examples
    --------
    >>> from merclip import errors
    >>> issubclass(errors.CacheWarning, errors.MerclipWarning)
    True
    """


class SkippedClipsWarning(MerclipWarning):
    """Clips could not be used, and were left out.

    Attributes
    ----------
    rows : tuple of int
        Where they stood among the clips that were given; `predict_iter`, which may be
        endless, keeps the first ten.

    Examples
    --------
    >>> import warnings
    >>> from merclip import EmotionClassifier, errors
    >>> clf = EmotionClassifier(["calm", "tense"], on_error="skip")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", errors.SkippedClipsWarning)
    ...     clf.predict(["no-such-clip.mp4", {"text": "hi"}]).shape
    (1,)
    >>> [warning.message.rows for warning in caught]
    [(0,)]
    """

    def __init__(self, message: str, rows: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.rows = rows


class CheckpointWarning(MerclipWarning):
    """A loaded checkpoint does not reproduce its own reference logits.

    Examples
    --------
    >>> from merclip import errors
    >>> issubclass(errors.CheckpointWarning, errors.MerclipWarning)
    True
    """
