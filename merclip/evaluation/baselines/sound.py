"""Sound alone, as statistics of its mel bands."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch.nn import functional

from merclip.errors import MissingStreamError, NoModalityError
from merclip.evaluation.baselines.base import LearnedBaseline
from merclip.inputs import with_media
from merclip.media import read_audio_array, read_media
from merclip.preprocess import AudioConfig
from merclip.preprocess.audio import SILENCE, log_mel
from merclip.types import Audio, Clip, FloatArray, Video

if TYPE_CHECKING:
    from typing_extensions import Self

Array = np.ndarray[Any, Any]

BANDS = AudioConfig(n_fft=1024, n_mels=40)
"""Window of 64 ms, hop of 32 ms, 40 mel bands up to 8 kHz."""

QUANTILES = (0.1, 0.5, 0.9)


class SoundStatistics(LearnedBaseline):
    """Statistics of log-mel bands over time, and a support vector machine, on sound alone.

    Of each of 40 bands: mean, standard deviation, and the quantiles 0.1, 0.5 and
    0.9, in dB. They are standardised and given to scikit-learn's `SVC` with its
    defaults (a radial kernel). Of long sounds the same blocks are heard as by the
    model. A clip that is silent or has no sound gets the prior.

    Parameters
    ----------
    labels, multi_label
        As for `Baseline`.
    use_video_audio : bool
        Whether a video brings its own sound when no `audio` is given.

    Notes
    -----
    Probabilities are Platt's, from decision values of held-out clips of up to
    five folds; with a single clip of a class there are no folds, and a softmax of
    the decision values stands for them.

    Examples
    --------
    >>> import numpy as np
    >>> from merclip.evaluation.baselines import SoundStatistics
    >>> time = np.arange(16000) / 16000
    >>> clips = [{"audio": (np.sin(2 * np.pi * hz * time), 16000)} for hz in (200, 3000) * 3]
    >>> SoundStatistics().fit(clips, ["low", "high"] * 3).predict(clips[:2]).tolist()
    ['low', 'high']
    """

    def __init__(
        self, labels: Any = None, *, multi_label: bool = False, use_video_audio: bool = True
    ) -> None:
        super().__init__(labels, multi_label=multi_label)
        self.use_video_audio = use_video_audio

    def encode(self, X: Any) -> Any:
        """Return statistics of the sound of each clip.

        Parameters
        ----------
        X : as for `EmotionClassifier.predict`

        Returns
        -------
        ndarray of shape (n, 200), dB
            Rows of clips without sound are NaN.

        Raises
        ------
        MerclipError
            A file cannot be read; see `merclip.errors`.
        """
        if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind == "f":
            return X
        rows = [self._row(clip) for clip in super().encode(X)]
        return np.array(rows).reshape(-1, _width())

    def _row(self, clip: Clip) -> Array:
        sound = read_sound(clip, use_video_audio=self.use_video_audio)
        return np.full(_width(), np.nan) if sound is None else statistics(sound)

    def _usable(self, rows: Any) -> Array:
        return np.asarray(np.isfinite(rows).all(axis=1))

    def _values(self, rows: Any, usable: Array) -> Array:
        return np.asarray(rows[usable])

    def _steps(self) -> list[Any]:
        return [StandardScaler(), SupportVectors()]


class SupportVectors(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """scikit-learn's `SVC` with probabilities, for any number of clips of a class."""

    def fit(self, X: Array, y: Array) -> Self:
        """Learn from rows of shape (n, d)."""
        counts = np.unique(y, return_counts=True)[1]
        folds = min(5, int(counts.min()))
        machine = SVC()
        if folds >= 2:
            machine = CalibratedClassifierCV(machine, cv=folds, ensemble=False)
        self.machine_ = machine.fit(X, y)
        self.classes_ = self.machine_.classes_
        return self

    def predict_proba(self, X: Array) -> Array:
        """Return probabilities of shape (n, k)."""
        if hasattr(self.machine_, "predict_proba"):
            return np.asarray(self.machine_.predict_proba(X))
        values = self.machine_.decision_function(X)
        if values.ndim == 1:
            values = np.stack([-values, values], axis=1)
        shifted = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def read_sound(clip: Clip, *, use_video_audio: bool = True) -> FloatArray | None:
    """Return a clip's sound at 16 kHz, shape (n,), or None if it has none or is silent."""
    try:
        clip = with_media(clip)
    except NoModalityError:
        return None
    sound = _sound(clip, use_video_audio)
    if sound is None or not len(sound) or np.abs(sound).max() <= SILENCE:
        return None
    return sound


def _sound(clip: Clip, use_video_audio: bool) -> FloatArray | None:
    span: dict[str, Any] = {"start": clip.start, "end": clip.end, "rate": BANDS.rate}
    if isinstance(clip.audio, Audio):
        return read_audio_array(clip.audio, **span)
    source = clip.audio if clip.audio is not None or not use_video_audio else clip.video
    if source is None or isinstance(source, Video):
        return None
    try:
        return read_media(source, want_video=False, **span).sound
    except MissingStreamError:
        if clip.audio is not None:
            raise
        return None


def statistics(sound: FloatArray) -> Array:
    """Return mean, deviation and quantiles over time of each log-mel band, in dB.

    Parameters
    ----------
    sound : ndarray of shape (n,), float32
        At 16 kHz; shorter than a window, it is padded with zeros.

    Returns
    -------
    ndarray of shape (200,), float64
        All bands' means, then deviations, then each quantile.
    """
    samples = torch.from_numpy(sound)
    samples = functional.pad(samples, (0, max(0, BANDS.n_fft - len(samples))))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one mel filterbank")
        bands = log_mel(samples[None], BANDS)[0].numpy().astype(np.float64)
    quantiles = np.quantile(bands, QUANTILES, axis=0)
    return np.concatenate([bands.mean(axis=0), bands.std(axis=0), *quantiles])


def _width() -> int:
    return (2 + len(QUANTILES)) * BANDS.n_mels
