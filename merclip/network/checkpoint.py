"""A checkpoint directory: ``config.json``, ``model.safetensors``, ``README.md``."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from merclip._files import replacing_together, settled
from merclip._version import __version__
from merclip.errors import CheckpointError, CheckpointWarning, InputError, MerclipError
from merclip.network.adaptation import Adaptation
from merclip.network.anchors import Anchors
from merclip.network.backbone import Towers, build_towers
from merclip.network.config import NetworkConfig
from merclip.network.model import MERCLIP
from merclip.network.stored import (
    check_adaptation,
    check_anchors,
    check_classifier,
    check_network,
    check_place,
    check_preprocess,
)
from merclip.network.weights import (
    Backed,
    Undrawn,
    copy_strictly,
    read_weights,
    save_weights,
    stored_shapes,
)
from merclip.preprocess.config import PreprocessConfig
from merclip.preprocess.features import ClipFeatures, pad_features
from merclip.preprocess.sample import Sample
from merclip.preprocess.text import tokenize

FORMAT_VERSION = 4
"""2 added tables of 8 bits with a scale for each row, 3 visual anchors, 4 Whisper's encoder as
audio tower and tests of evidence; each file is written as the oldest that can hold it."""
ANCHORS = "anchors."
"""Prefix of the tensors of visual anchors."""
TOKEN_TABLES = ("*.token_embedding.weight", "*.token_embedding.table.weight")
"""Names of the token tables, which are most of a small model."""
ADAPTATION = "adaptation."
"""Prefix of the tensors of an adapted classifier."""
ROW_SCALES = ".row_scales"
CONFIG_FILE, WEIGHTS_FILE, CARD_FILE = "config.json", "model.safetensors", "README.md"
REFERENCE_TOLERANCE = 1e-2


@dataclass
class Checkpoint:
    """A network with all that is needed to use it.

    Parameters
    ----------
    network : MERCLIP
    preprocess : PreprocessConfig
    classifier : dict
        Built-in types: labels, prompts, thresholds, calibration.
    backbone : dict or None
        Where CLIP's weights lie on the Hub (repo, revision, file), so that the
        frozen towers need not be stored again; None to store them.
    encoders_trained : bool
        Whether the three encoders differ from the backbone's towers.
    lineage : dict
        Which model it was trained from, and the licence of that one's weights.
    anchors : mapping from label to Tensor of shape (n, D)
        Visual anchors: embedded pictures, as the image tower saw them before it trained.
    adaptation : Adaptation or None
        What fits it to the people and the room of some clips.
    """

    network: MERCLIP
    preprocess: PreprocessConfig
    classifier: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, str] | None = None
    encoders_trained: bool = False
    lineage: dict[str, str] = field(default_factory=dict)
    anchors: Mapping[Any, Tensor] = field(default_factory=dict)
    adaptation: Adaptation | None = None


FetchBackbone = Callable[[dict[str, str]], Path]


def save_checkpoint(
    checkpoint: Checkpoint,
    directory: Path,
    card: str,
    *,
    bundle_backbone: bool = False,
    dtype: torch.dtype | None = None,
    eight_bits: Sequence[str] = (),
) -> None:
    """Write a checkpoint, whole or not at all.

    Parameters
    ----------
    checkpoint : Checkpoint
    directory : Path
        Made if it does not exist.
    card : str
        Text of the model card.
    bundle_backbone : bool
        Store the frozen towers too, for use without a network.
    dtype : torch.dtype, optional
        Round floating-point weights to this type, in the network as well.
    eight_bits : sequence of str
        Patterns of names, such as `TOKEN_TABLES`. Matrices and kernels that one
        of them fits are rounded to 8 bits with a scale for each row, in the
        network as well.

    Raises
    ------
    InputError
        It cannot be written.
    """
    if dtype is not None:
        _round(checkpoint.network, dtype)
    tensors: dict[str, Tensor] = _anchor_tensors(checkpoint.anchors) | _adaptation_tensors(
        checkpoint.adaptation
    )
    for name, tensor in _stored_tensors(checkpoint, bundle_backbone).items():
        if tensor.ndim > 1 and any(fnmatch(name, pattern) for pattern in eight_bits):
            tensors |= _as_eight_bits(name, tensor)
        else:
            kept = tensor.detach().cpu().to(dtype if tensor.is_floating_point() else None)
            tensors[name] = kept.contiguous()
    config = _config_of(checkpoint, None if bundle_backbone else checkpoint.backbone)
    write_model_files(directory, config, tensors, {CARD_FILE: card})


def write_model_files(
    directory: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write a model's configuration, weights and other texts: all of them, or none.

    Raises
    ------
    InputError
        They cannot be written, as on a full disk.
    """
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    try:
        with replacing_together(directory) as folder:
            for name, content in {**(texts or {}), CONFIG_FILE: text}.items():
                (folder / name).write_text(content, encoding="utf-8")
            save_weights(tensors, folder / WEIGHTS_FILE)
            # safetensors makes its file private; who may read the config may read the model.
            (folder / WEIGHTS_FILE).chmod((folder / CONFIG_FILE).stat().st_mode & 0o777)
    except OSError as error:
        raise InputError(f"{str(directory)!r} cannot be written: {error}") from error


def load_checkpoint(
    directory: Path,
    *,
    fetch_backbone: FetchBackbone | None = None,
    overrides: dict[str, Any] | None = None,
) -> Checkpoint:
    """Read a checkpoint, strictly.

    Parameters
    ----------
    directory : Path
    fetch_backbone : callable, optional
        Turns the stored place of CLIP's weights into a local file.
    overrides : dict, optional
        Values of `NetworkConfig` to replace. They may not change a tensor.

    Raises
    ------
    CheckpointError
        A file is missing or broken, the format is newer than this merclip, or
        tensors are missing, unexpected or of another shape.

    Warns
    -----
    CheckpointWarning
        The network does not reproduce the reference logits stored with it.
    """
    with settled(directory):
        return _load(directory, fetch_backbone, overrides)


def _load(
    directory: Path, fetch_backbone: FetchBackbone | None, overrides: dict[str, Any] | None
) -> Checkpoint:
    config = _read_config(directory)
    shapes = stored_shapes(directory / WEIGHTS_FILE)
    try:
        network_config, preprocess = _stored_configs(config, directory, len(shapes))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise CheckpointError(f"{directory / CONFIG_FILE} is not valid: {error}") from error
    network_config = network_config.with_overrides(overrides or {})
    backbone = config.get("backbone")
    # Without a backbone stored elsewhere, this file replaces every weight.
    with nullcontext() if backbone is not None else Undrawn():
        n_numbers = sum(map(math.prod, shapes.values()))
        try:
            network = _network(network_config, config, fetch_backbone, directory, n_numbers)
        except InputError as error:
            if overrides:
                raise
            raise CheckpointError(f"{directory / CONFIG_FILE} is not valid: {error}") from error
    checkpoint = Checkpoint(
        network,
        preprocess,
        dict(config.get("classifier") or {}),
        backbone,
        bool(config.get("encoders_trained", False)),
        dict(config.get("lineage") or {}),
        adaptation=_empty_adaptation(config.get("adaptation"), network_config.width),
    )
    _load_tensors(checkpoint, directory / WEIGHTS_FILE, config.get("anchors") or [])
    network.eval()
    if not overrides:
        _check_reference(checkpoint, config.get("reference"), directory)
    return checkpoint


def reference_logits(network: MERCLIP, preprocess: PreprocessConfig) -> list[float]:
    """Return the network's logits for a fixed input that needs no file."""
    size = network.config.image_size
    ramp = torch.arange(2 * 3 * size * size) * 7 % 256
    height, width = network.config.audio_size
    wave = torch.sin(torch.arange(height * width) * 0.05).view(1, height, width)
    sample = Sample(
        tokens=tokenize("I can't believe you did that!", network.config.context_length).ids,
        frames=ramp.to(torch.uint8).view(2, 3, size, size),
        segments=wave,
    )
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        (sequences,) = network.encode([sample], preprocess.vision)
        fused = network.fuse(pad_features([ClipFeatures(sequences)], network.device))
        labels = None
        if network.config.use_label_encoder:
            labels = network.encode_labels([tokenize(word).ids for word in ("happy", "angry")])
        logits: list[float] = network.logits(fused, labels, multi_label=False)[0].tolist()
    network.train(was_training)
    return logits


def unique_tensors(network: MERCLIP) -> dict[str, Tensor]:
    """Return the network's tensors, each shared one once."""
    seen: set[int] = set()
    unique = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            unique[name] = tensor
        seen.add(id(tensor))
    return unique


@torch.no_grad()
def round_to_eight_bits(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Round a table, a matrix or kernels in place to 8 bits times a scale for each row.

    Parameters
    ----------
    rows : Tensor of shape (n, ...)
        Of two or more dimensions.

    Returns
    -------
    rounded : Tensor of shape (n, ...), int8
    scales : Tensor of shape (n, 1, ...), float16
    """
    largest = rows.abs().amax(tuple(range(1, rows.ndim)), keepdim=True)
    scales = (largest / 127).clamp_min(1e-7).half()
    rounded = (rows / scales.float()).round().clamp(-127, 127).to(torch.int8)
    rows.copy_(rounded * scales.float())
    return rounded, scales


def _as_eight_bits(name: str, tensor: Tensor) -> dict[str, Tensor]:
    rows, scales = round_to_eight_bits(tensor.detach())
    return {name: rows.cpu(), name + ROW_SCALES: scales.cpu()}


def _restore_tables(found: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    for name in _scaled(found):
        rows, scales = found[name], found.pop(name + ROW_SCALES)
        # One for each row: what is as wide as the rows are many would multiply without end.
        fits = rows.ndim > 1 and scales.shape == (len(rows), *[1] * (rows.ndim - 1))
        if not fits or rows.dtype != torch.int8 or not scales.is_floating_point():
            raise CheckpointError(f"{path}: the scales of {name} are not one for each of its rows.")
        found[name] = rows * scales.float()
    return found


def _scaled(names: Iterable[str]) -> list[str]:
    """Return the names of tables that have scales beside them."""
    known = set(names)
    return [name for name in known if name + ROW_SCALES in known]


def _stored_tensors(checkpoint: Checkpoint, bundle_backbone: bool) -> dict[str, Tensor]:
    tensors = unique_tensors(checkpoint.network)
    if bundle_backbone or checkpoint.backbone is None:
        return tensors
    frozen = ("label_encoder.",) if checkpoint.encoders_trained else ("label_encoder.", "encoders.")
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(frozen)}


def _anchor_tensors(anchors: Mapping[Any, Tensor]) -> dict[str, Tensor]:
    """Return all exemplars, one label after another, and the centre of each label's."""
    if not anchors:
        return {}
    made = Anchors(list(anchors.values()))
    return {ANCHORS + "features": made.features.cpu(), ANCHORS + "centres": made.centres.cpu()}


def _empty_anchors(described: list[tuple[Any, int]], width: int) -> dict[str, Tensor]:
    """Return room for the tensors of anchors that a config tells the numbers of."""
    if not described:
        return {}
    total = sum(count for _, count in described)
    sizes = {"features": total, "centres": len(described)}
    return {ANCHORS + name: torch.zeros(size, width) for name, size in sizes.items()}


def _adaptation_tensors(learned: Adaptation | None) -> dict[str, Tensor]:
    """Return what an adaptation takes off embeddings, and the clips that it keeps, by name."""
    if learned is None:
        return {}
    parts = {**learned.offsets, "fused": learned.fused}
    return {ADAPTATION + key: part.cpu().contiguous() for key, part in parts.items()}


def _empty_adaptation(described: Any, width: int) -> Adaptation | None:
    if described is None:
        return None
    offsets = {letter: torch.zeros(width) for letter in described["modalities"]}
    fused = torch.zeros(described["kept"], width)
    return Adaptation(offsets, fused, described["n_clips"], dict(described["prior"]))


def _describe_adaptation(learned: Adaptation | None) -> dict[str, Any]:
    if learned is None:
        return {}
    described = {
        "modalities": "".join(learned.offsets),
        "kept": len(learned.fused),
        "n_clips": learned.n_clips,
        "prior": [list(pair) for pair in learned.prior.items()],
    }
    return {"adaptation": described}


def _format_of(checkpoint: Checkpoint) -> int:
    """Return the oldest format that can hold a checkpoint."""
    network = checkpoint.network
    if checkpoint.adaptation or network.evidence is not None or network.config.hears_windows:
        return FORMAT_VERSION
    return 3 if checkpoint.anchors or network.anchor_branch is not None else 2


def _config_of(checkpoint: Checkpoint, backbone: dict[str, str] | None) -> dict[str, Any]:
    anchors = checkpoint.anchors
    added = {"anchors": [[name, len(rows)] for name, rows in anchors.items()]} if anchors else {}
    return {
        "format_version": _format_of(checkpoint),
        "merclip_version": __version__,
        "network": checkpoint.network.config.to_dict(),
        "preprocess": checkpoint.preprocess.to_dict(),
        "fusion_trained": checkpoint.network.fusion_trained,
        "encoders_trained": checkpoint.encoders_trained,
        "backbone": backbone,
        "lineage": checkpoint.lineage,
        "classifier": checkpoint.classifier,
        **added,
        **_describe_adaptation(checkpoint.adaptation),
        "reference": reference_logits(checkpoint.network, checkpoint.preprocess),
    }


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{directory} holds no {CONFIG_FILE}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("format_version"), int):
        raise CheckpointError(f"{path} is not a merclip configuration.")
    if "conversation" in config:
        raise CheckpointError(
            f"{directory} holds a conversation model: ConversationClassifier.from_pretrained "
            "loads it."
        )
    version = config["format_version"]
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format {version}, which needs merclip >= "
            f"{config.get('merclip_version')}; this is {__version__}."
        )
    return config


def _stored_configs(
    config: dict[str, Any], directory: Path, n_tensors: int
) -> tuple[NetworkConfig, PreprocessConfig]:
    """Return both configs of a checkpoint, once nothing in them is out of range."""
    elsewhere = config.get("backbone") is not None
    check_network(config["network"], **({} if elsewhere else {"n_tensors": n_tensors}))
    network = NetworkConfig.from_dict(config["network"])
    check_preprocess(config["preprocess"], network)
    check_classifier(config.get("classifier") or {})
    check_anchors(config.get("anchors"), network, directory / WEIGHTS_FILE)
    check_adaptation(config.get("adaptation"), network)
    lineage = config.get("lineage") or {}
    if not isinstance(lineage, dict) or not all(isinstance(v, str) for v in lineage.values()):
        raise InputError("lineage is a JSON object of texts.")
    if elsewhere:
        check_place(config["backbone"])
    return network, PreprocessConfig.from_dict(config["preprocess"])


def _misfit(directory: Path) -> str:
    return f"The weights in {directory / WEIGHTS_FILE} do not fit their config"


def _network(
    network: NetworkConfig,
    config: dict[str, Any],
    fetch_backbone: FetchBackbone | None,
    directory: Path,
    n_numbers: int,
) -> MERCLIP:
    try:
        backbone = config.get("backbone")
        elsewhere = None if backbone is None else _towers(network, backbone, fetch_backbone)
        with Backed(n_numbers, InputError(f"the network is larger than all of {WEIGHTS_FILE}.")):
            return MERCLIP(
                network,
                elsewhere or build_towers(network.backbone),
                fusion_trained=bool(config.get("fusion_trained", True)),
            )
    except (MerclipError, OSError):
        raise
    # Layers raise whatever does not suit them, such as a width that heads do not divide.
    except Exception as error:
        raise CheckpointError(
            f"{directory / CONFIG_FILE} describes a network that cannot be built: {error}"
        ) from error


def _towers(config: NetworkConfig, backbone: dict[str, str], fetch: FetchBackbone | None) -> Towers:
    if fetch is None:
        raise CheckpointError("This checkpoint needs CLIP weights that are stored elsewhere.")
    return build_towers(config.backbone, fetch(backbone))


def _load_tensors(checkpoint: Checkpoint, path: Path, described: list[tuple[Any, int]]) -> None:
    anchors = _empty_anchors(described, checkpoint.network.config.width)
    expected = _stored_tensors(checkpoint, bundle_backbone=False)
    expected |= anchors | _adaptation_tensors(checkpoint.adaptation)
    copy_strictly(expected, _restore_tables(read_weights(path), path), _misfit(path.parent))
    if anchors:
        parts = torch.split(anchors[ANCHORS + "features"], [count for _, count in described])
        checkpoint.anchors = {name: part for (name, _), part in zip(described, parts, strict=True)}


def _check_reference(checkpoint: Checkpoint, stored: Any, directory: Path) -> None:
    if not stored:
        return
    now = torch.tensor(reference_logits(checkpoint.network, checkpoint.preprocess))
    try:
        difference = float((now - torch.tensor(stored)).abs().max())
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{directory / CONFIG_FILE} is not valid: {error}") from error
    if not difference <= REFERENCE_TOLERANCE * max(1.0, float(now.abs().max())):
        warnings.warn(
            f"{directory} gives reference logits that differ by {difference:.3g} from those stored "
            "with it; its config and weights may not belong together.",
            CheckpointWarning,
            stacklevel=2,
        )


def _round(network: MERCLIP, dtype: torch.dtype) -> None:
    with torch.no_grad():
        for tensor in unique_tensors(network).values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.to(dtype))
