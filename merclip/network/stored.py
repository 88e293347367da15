"""What the ``config.json`` of a checkpoint may say: it may come from a stranger."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merclip.errors import InputError
from merclip.network.backbone import architecture
from merclip.network.config import DecoderConfig, NetworkConfig
from merclip.network.residual import is_residual
from merclip.preprocess.config import AudioConfig, PreprocessConfig, VisionConfig

if TYPE_CHECKING:
    from typing import TypeGuard

_LARGEST = 2**20
_DEEPEST = 256
_DEPTHS = {"layers", "blocks", "trunks", "depth", "heads", "mlp_ratio"}
_NESTING = 6
_ITEMS = 1000
_MAY_BE_ZERO = {
    *("n_query_contexts", "n_label_contexts", "token_rank", "n_classes", "dropout"),
    "anchor_hidden",
    *("f_min", "min_tail", "overlap", "quiet_db"),
}
_CHOICES = {
    "interpolation": ("bicubic", "bilinear"),
    "mel_scale": ("slaney", "htk"),
    "standardize": ("segment", "clip", "whisper"),
}
_PICTURE_SIDE = 4096
_SEGMENT_SAMPLES = 2**24
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+|[\w.-]+")
_FILE = re.compile(r"\w[\w.-]*")
_REVISION = re.compile(r"\w[\w./-]*")


def check_network(values: Any) -> None:
    """Check the types and sizes of a stored network, before anything is built.

    Raises
    ------
    InputError
        A value of another type, out of range, or that names code or weights
        from elsewhere.
    """
    _check_numbers(values, "network")
    _check_kinds(NetworkConfig, values, "network")
    _check_kinds(DecoderConfig, values.get("decoder", {}), "decoder")
    backbone = values.get("backbone")
    if not isinstance(backbone, Mapping):
        raise InputError("network has no backbone.")
    architecture(backbone)
    name = str(backbone["vision_cfg"].get("timm_model_name") or "")
    if re.search(r"[:/\\]", name):
        raise InputError(f"timm_model_name {name!r} names a model from elsewhere.")


def check_preprocess(values: Any, network: NetworkConfig) -> None:
    """Check stored preprocessing, and that it makes what the network takes.

    Raises
    ------
    InputError
    """
    _check_numbers(values, "preprocess")
    _check_kinds(PreprocessConfig, values, "preprocess")
    _check_kinds(VisionConfig, values.get("vision", {}), "vision")
    _check_kinds(AudioConfig, values.get("audio", {}), "audio")
    config = PreprocessConfig.from_dict(values)
    for part in (config.vision.mean, config.vision.std):
        if len(part) != 3 or not all(isinstance(v, (int, float)) for v in part):
            raise InputError("mean and std are three numbers each.")
    if not all(value > 0 for value in config.vision.std):
        raise InputError("std is positive.")
    if config.image_size != network.image_size:
        raise InputError(f"image_size is {config.image_size}, the network's {network.image_size}.")
    if not 2 < config.context_length <= network.context_length:
        raise InputError(
            f"context_length is {config.context_length}, the network's {network.context_length}."
        )
    _check_audio(config, network)


def check_place(place: Any) -> None:
    """Check where the weights of a backbone lie: a repository's own file, and no path.

    Raises
    ------
    InputError
    """
    wanted = {"repo": _REPOSITORY, "filename": _FILE, "revision": _REVISION}
    for key, pattern in wanted.items():
        value = place.get(key) if isinstance(place, Mapping) else None
        if not isinstance(value, str) or not pattern.fullmatch(value) or ".." in value:
            raise InputError(f"backbone names no file on the Hub: its {key} is {value!r}.")


def check_classifier(values: Any) -> None:
    """Check the labels, prompts, thresholds and calibration that a model was saved with.

    Raises
    ------
    InputError
    """
    if not isinstance(values, Mapping):
        raise InputError("classifier is a JSON object.")
    labels, threshold = values.get("labels"), values.get("threshold")
    # The embedded model's names stand as the keys of an object.
    if labels is not None and not _are_pairs(labels, (str, int)):
        raise InputError("labels are names with their descriptions.")
    prompt = values.get("prompt")
    prompts = prompt if isinstance(prompt, list) else [prompt or "{}"]
    if not all(isinstance(text, str) for text in prompts):
        raise InputError("prompt is a string, or a list of strings.")
    if not (threshold is None or _is_number(threshold) or _are_pairs(threshold, (str, int))):
        raise InputError("threshold is a number, or pairs of a name and a number.")
    if not isinstance(values.get("multi_label", False), bool):
        raise InputError("multi_label is true or false.")
    if values.get("predict_from", "labels") not in ("labels", "anchors", "both"):
        raise InputError("predict_from is 'labels', 'anchors' or 'both'.")
    _check_calibration(values.get("calibration"))


def check_anchors(described: Any, network: NetworkConfig, weights: Path) -> None:
    """Check how many embedded pictures a file of weights is said to hold of each label.

    Raises
    ------
    InputError
    """
    if described is None:
        return
    pairs = _are_pairs(described, (str, int)) and isinstance(described, list) and described
    if not pairs or not all(isinstance(n, int) and n > 0 for _, n in described):
        raise InputError("anchors are pairs of a label and a number of pictures.")
    if len({name for name, _ in described}) < len(described):
        raise InputError("anchors name a label twice.")
    total = sum(count for _, count in described)
    if weights.is_file() and total * network.width > weights.stat().st_size:
        raise InputError(f"there are more anchors than {weights.name} has room for.")


def check_adaptation(described: Any, network: NetworkConfig) -> None:
    """Check which modalities' means a model was adapted by, and the shares of its labels.

    Raises
    ------
    InputError
    """
    if described is None:
        return
    letters = described.get("modalities") if isinstance(described, Mapping) else None
    if not isinstance(letters, str) or len(set(letters)) < len(letters):
        raise InputError("adaptation names modalities by their letters, each once.")
    if set(letters) - set(network.fusion):
        raise InputError(f"adaptation is of {letters!r}, the network takes {network.fusion!r}.")
    kept, count = described.get("kept"), described.get("n_clips")
    if not (isinstance(kept, int) and isinstance(count, int) and 0 < kept <= min(count, _ITEMS)):
        raise InputError("adaptation has numbers of clips.")
    prior = described.get("prior")
    pairs = isinstance(prior, list) and _are_pairs(prior, (str, int))
    if not pairs or not all(_is_number(v) and 0 <= v <= 1 for _, v in prior):
        raise InputError("prior of an adaptation has pairs of a label and its share.")


def least_size(config: NetworkConfig) -> int:
    """Return fewer than the numbers in the towers of a network, to compare with a file's size."""
    text, vision = config.backbone["text_cfg"], config.backbone["vision_cfg"]
    width = int(text.get("width", 512))
    total = int(text.get("layers", 12)) * 4 * width**2 + int(text.get("vocab_size", 49408)) * width
    total += 2 * (1 + len(config.fusion)) * config.width * config.anchor_hidden
    if is_residual(vision):
        widths = [int(width) for width in vision.get("widths", (1,))]
        pairs = zip(widths[:-1], widths[1:], strict=True)
        return total + 9 * sum(before * after for before, after in pairs)
    if isinstance(vision.get("layers", 12), int) and not vision.get("timm_model_name"):
        total += int(vision.get("layers", 12)) * 4 * int(vision.get("width", 768)) ** 2
    return total


def _check_numbers(value: Any, where: str, nesting: int = 0) -> None:
    if nesting > _NESTING or (isinstance(value, (list, dict)) and len(value) > _ITEMS):
        raise InputError(f"{where} is nested too deeply, or too long.")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_numbers(item, key, nesting + 1)
    elif isinstance(value, list):
        for item in value:
            _check_numbers(item, where, nesting + 1)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        most = _DEEPEST if where in _DEPTHS else _LARGEST
        least = 0 if isinstance(value, int) else -most
        if not (math.isfinite(value) and least <= value <= most):
            raise InputError(f"{where} is {value!r}, which is out of range.")
    elif isinstance(value, str) and len(value) > _ITEMS:
        raise InputError(f"{where} is too long.")


def _check_kinds(kind: type[Any], values: Any, where: str) -> None:
    """Compare values with the defaults of a config's fields, which tell their types."""
    if not isinstance(values, Mapping):
        raise InputError(f"{where} is a JSON object, got {type(values).__name__}.")
    for item in fields(kind):
        if item.name not in values or item.default in (MISSING, None):
            continue
        value = values[item.name]
        if item.name == "query" and value is None:
            continue
        if not _is_like(value, item.default):
            raise InputError(f"{item.name} cannot be {value!r}.")
        if value not in _CHOICES.get(item.name, (value,)):
            raise InputError(f"{item.name} is one of {_CHOICES[item.name]}, got {value!r}.")
        if _is_number(value) and not (value > 0 or (value == 0 and item.name in _MAY_BE_ZERO)):
            raise InputError(f"{item.name} is positive, got {value!r}.")


def _is_like(value: Any, default: Any) -> bool:
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, int):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(default, float):
        return _is_number(value)
    return isinstance(value, list if isinstance(default, tuple) else type(default))


def _check_audio(config: PreprocessConfig, network: NetworkConfig) -> None:
    audio = config.audio
    for name in ("size", "quiet_db", "trim_db"):
        value = getattr(audio, name)
        if value is not None and not (_is_size(value) if name == "size" else _is_number(value)):
            raise InputError(f"{name} cannot be {value!r}.")
    size = audio.size or (config.image_size, config.image_size)
    if "A" in network.fusion and audio.stretch == network.hears_windows:
        raise InputError(f"stretch is {audio.stretch!r}, which does not suit the audio tower.")
    if network.hears_windows:
        _check_windows(audio, network)
    elif "A" in network.fusion and tuple(size) != network.audio_size:
        raise InputError(f"The pictures of sound are {size}, the network's {network.audio_size}.")
    if max(config.image_size, *size) > _PICTURE_SIDE or audio.n_mels > _PICTURE_SIDE:
        raise InputError(f"Pictures of more than {_PICTURE_SIDE} pixels a side are not made.")
    if not (1000 <= audio.rate and audio.n_fft // 2 < audio.segment_samples <= _SEGMENT_SAMPLES):
        raise InputError("rate, segment and n_fft do not go together.")
    if audio.win_length > audio.n_fft or not audio.f_min < audio.f_max <= audio.rate / 2:
        raise InputError("n_fft, win_length, f_min, f_max and rate do not go together.")
    if audio.overlap >= 1:
        raise InputError(f"overlap lies in [0, 1), got {audio.overlap!r}.")


def _check_windows(audio: AudioConfig, network: NetworkConfig) -> None:
    """Check that windows of sound are what a Whisper tower takes."""
    tower = network.backbone["audio_cfg"]
    if audio.pitch or audio.n_mels != tower.get("n_mels", 80):
        raise InputError(f"A Whisper tower takes {tower.get('n_mels', 80)} mel bands, no pitch.")
    if audio.segment_samples // audio.hop_length > 2 * tower.get("n_positions", 1500):
        raise InputError("segment is longer than the Whisper tower has positions for.")
    if audio.min_tail * audio.rate <= audio.n_fft:
        raise InputError("min_tail is shorter than n_fft.")


def _check_calibration(values: Any) -> None:
    if values is None:
        return
    temperature = values.get("temperature") if isinstance(values, Mapping) else None
    if not _is_number(temperature) or not 0 < temperature < math.inf:
        raise InputError("calibration has a positive temperature.")
    if not isinstance(values.get("labels"), (list, type(None))):
        raise InputError("calibration has a list of labels.")


def _are_pairs(values: Any, names: tuple[type, ...]) -> bool:
    if isinstance(values, Mapping):
        values = [list(pair) for pair in values.items()]
    return isinstance(values, list) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], names) for pair in values
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(side, int) and side > 0 for side in value)
    )
