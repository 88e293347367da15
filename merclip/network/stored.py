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
from merclip.preprocess.config import AudioConfig, PreprocessConfig, VisionConfig

if TYPE_CHECKING:
    from typing import TypeGuard

_LARGEST = 2**20
_LAYERS = 1024
"""The most of them where the weights are not there to be counted."""
_CONTEXT_LENGTH = 4096
_LEAST_TOKENS = 3
"""Start, end and one of a text."""
_PIXELS, _PATCHES, _STATES = 2**20, 2**14, 2**27
"""Of a picture; and numbers that a layer may hold for one."""
_FRAMES_BYTES, _FILTERS = 2**30, 2**24
"""Of a clip's frames or segments; and numbers in a table of mel filters."""
_DEEPEST = 256
_DEPTHS = {"layers", "blocks", "trunks", "depth", "heads", "mlp_ratio"}
_NESTING = 6
_ITEMS = 1000
_WHOLE = {"embed_dim", "context_length", "vocab_size", "width", "heads", "hidden", "head_width"}
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


def check_network(values: Any, n_tensors: int = _LAYERS) -> None:
    """Check the types and sizes of a stored network, before anything is built.

    Parameters
    ----------
    values : object
    n_tensors : int
        Of the weights, which bound how many layers there can be.

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
    check_backbone(backbone, n_tensors - 3 * int(values.get("decoder", {}).get("depth", 1)))
    length = int(backbone["text_cfg"].get("context_length", 77))
    for name in ("n_query_contexts", "n_label_contexts"):
        if values.get(name, 0) + _LEAST_TOKENS > length:
            raise InputError(f"{name} leaves no room for a text among {length} tokens.")


def check_backbone(backbone: Mapping[str, Any], n_tensors: int = _LAYERS) -> None:
    """Check CLIP's architecture in a file from elsewhere, before anything is built.

    Parameters and errors are those of `check_network`.
    """
    _check_numbers(dict(backbone), "backbone")
    described = architecture(backbone)
    pictures = [described[key] for key in ("vision_cfg", "audio_cfg") if key in described]
    towers = [*pictures, described["text_cfg"]]
    name = str(described["vision_cfg"].get("timm_model_name") or "")
    if re.search(r"[:/\\]", name):
        raise InputError(f"timm_model_name {name!r} names a model from elsewhere.")
    for values in (described, *towers):
        for key in _WHOLE & set(values):
            if type(values[key]) is not int or values[key] < 1:
                raise InputError(f"{key} is a whole number of at least 1, got {values[key]!r}.")
        size = values.get("image_size", 224)
        if not (type(size) is int and size > 0) and not _is_size(size):
            raise InputError(f"image_size cannot be {size!r}.")
    if described["text_cfg"].get("context_length", 77) > _CONTEXT_LENGTH:
        raise InputError(f"context_length is at most {_CONTEXT_LENGTH:,}.")
    if sum(map(_n_layers, towers)) > n_tensors:
        raise InputError("it has more layers than the weights have tensors.")
    for tower in pictures:
        _check_work(tower)


def _n_layers(tower: Mapping[str, Any]) -> int:
    """Return how many layers a tower claims."""
    stages = tower.get("layers", 0)
    layers = sum(map(int, stages)) if isinstance(stages, (list, tuple)) else int(stages or 0)
    blocks = int(tower.get("blocks", 0)) * int(tower.get("trunks", 1))
    return layers + blocks * max(1, len(tower.get("widths", ())) - 1)


def _check_work(tower: Mapping[str, Any]) -> None:
    """Refuse pictures that a tower would need much memory and time for, whatever its weights."""
    size = tower.get("image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    patch = tower.get("patch_size", 2)
    sides = (patch, patch) if isinstance(patch, int) else patch
    if not (_is_size(sides) and height * width <= _PIXELS):
        raise InputError(f"image_size {size!r} and patch_size {patch!r} cannot be.")
    if "patch_size" in tower and height * width / math.prod(sides) > _PATCHES:
        raise InputError(f"image_size {size!r} has too many patches of {patch!r}.")
    widths = tower.get("widths", (tower.get("width", 64),))
    states = [height * width * int(n) / 4 ** (i + 1) for i, n in enumerate(widths)]
    if max(states, default=0) > _STATES and "patch_size" not in tower:
        raise InputError(f"image_size {size!r} is too much for stages of widths {widths!r}.")


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
        if len(part) != 3 or not all(map(_is_number, part)):
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
    named = labels is None or _are_pairs(labels, (str, int))
    if not named or not all(map(_are_texts, dict(_as_pairs(labels or [])).values())):
        raise InputError("labels are names with their descriptions.")
    prompt = values.get("prompt")
    prompts = ["{}"] if prompt is None else prompt if isinstance(prompt, list) else [prompt]
    if not prompts or not all(isinstance(text, str) and text.count("{}") == 1 for text in prompts):
        raise InputError("prompt is a text with one {}, or a list of them.")
    pairs = [["", threshold]] if _is_number(threshold) else threshold
    if pairs is not None and not (
        _are_pairs(pairs, (str, int))
        and all(_is_number(value) and 0 <= value <= 1 for _, value in _as_pairs(pairs))
    ):
        raise InputError("threshold is a number in [0, 1], or pairs of a name and one.")
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
    windows = audio.segment_samples // audio.hop_length + 1
    segment = max(math.prod(size) * 12, windows * audio.n_mels * 4)
    for name, n_bytes in {"n_frames": config.image_size**2 * 3, "n_segments": segment}.items():
        number = getattr(config.vision if name == "n_frames" else audio, name)
        if number * n_bytes > _FRAMES_BYTES:
            raise InputError(f"{name} is {number!r}, too many for a clip.")
    if audio.n_fft * max(audio.n_mels, windows) > 2 * _FILTERS:
        raise InputError("n_fft, n_mels, segment and hop_length make tables that are too large.")
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
    if not _is_number(temperature) or not 1e-6 <= temperature <= 1e6:
        raise InputError(f"calibration has no temperature {temperature!r}.")
    if not isinstance(values.get("labels"), (list, type(None))):
        raise InputError("calibration has a list of labels.")
    if values.get("predict_from", "labels") not in ("labels", "anchors", "both"):
        raise InputError("calibration is of 'labels', 'anchors' or 'both'.")


def _as_pairs(values: Any) -> Any:
    return [list(pair) for pair in values.items()] if isinstance(values, Mapping) else values


def _are_texts(value: Any) -> bool:
    texts = value if isinstance(value, list) else [value]
    return bool(texts) and all(isinstance(text, str) for text in texts)


def _are_pairs(values: Any, names: tuple[type, ...]) -> bool:
    values = _as_pairs(values)
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
