"""VEGA's own file of weights, such as ``IEMOCAP.pth``, as a dialogue network.

Facts of the format, from VEGA's public code: a pickle of tensors under the names of its
modules; a layer from one modality to another is called ``source_target``; what only
training needs is in it, and the projections to anchors are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from merclip.errors import CheckpointError, InputError
from merclip.network.anchors import FUSED
from merclip.network.dialogue import MODALITY_LETTERS, DialogueConfig, DialogueNetwork
from merclip.network.weights import Backed, copy_strictly, read_weights

LABELS = {
    "iemocap": ("happy", "sad", "neutral", "anger", "excited", "frustration"),
    "meld": ("neutral", "surprise", "fear", "sad", "happy", "disgust", "anger"),
}
"""What the numbers in VEGA's files stand for."""
_LETTERS = {"t": "L", "a": "A", "v": "V"}
_JOINED = {"L": "LAV", "A": "ALV", "V": "VLA"}
"""The order in which VEGA joins what a modality took from each."""
_PART = {
    "self_attn.linear": "attention.out_proj",
    "feed_forward.layer_norm": "norm",
    "feed_forward.w_1": "inner",
    "feed_forward.w_2": "outer",
}
_NAMES = {
    **{f"{name}f_input": f"projections.{letter}" for name, letter in
       (("text", "L"), ("acou", "A"), ("visu", "V"))},
    **{f"{name}_output_layer.{place}": f"classifiers.{letter}.{place}"
       for name, letter in {**_LETTERS, "all": FUSED}.items() for place in (0, 3, 6)},
    **{f"features_reduce_{name}": f"joints.{letter}" for name, letter in _LETTERS.items()},
    "speaker_embeddings": "speakers",
    "last_gate.fc": "fusion",
}  # fmt: skip
_OF_PAIR = re.compile(r"([tav])_([tav])(_gate\.fc|\.transformer_inter\.0\.(.+))")
_UNUSED = re.compile(
    r"[tav]_[tav]\.(pos_emb\.pe|transformer_inter\.0\.layer_norm\.(weight|bias))|prob_gate_logit"
    r"|[tav]_(cls|clip)_temp|(t|a|v|all)_clip_proj\..*"
)
_ASKED = ("linear_q", "linear_k", "linear_v")


def load_vega_network(path: Path) -> tuple[DialogueNetwork, dict[str, Any]]:
    """Read VEGA's weights; nothing in the file is executed.

    Returns
    -------
    network : DialogueNetwork
        Its classes sorted, as everywhere else.
    values : dict
        As those of `load_dialogue_network`.

    Raises
    ------
    CheckpointError
        It is no file of plain tensors, or not of VEGA's.
    """
    given = read_weights(path)
    what = f"The weights in {path} are not VEGA's"
    if "features_reduce_t.weight" not in given:
        raise CheckpointError(f"{what}: there is no features_reduce_t.weight.")
    try:
        tensors = _renamed(given)
        names = _labels(len(tensors[f"classifiers.{FUSED}.6.bias"]))
        rows = torch.tensor([names.index(name) for name in sorted(names)])
        for letter in (*MODALITY_LETTERS, FUSED):
            for kind in ("weight", "bias"):
                name = f"classifiers.{letter}.6.{kind}"
                tensors[name] = tensors[name][rows]
        config = _config(tensors)
        larger = InputError("its parts are of sizes that do not go together")
        with Backed(sum(tensor.numel() for tensor in tensors.values()), larger):
            network = DialogueNetwork(config)
    except (InputError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{what}: {error!r:.300}") from error
    copy_strictly(network.state_dict(), tensors, what)
    values = {
        "labels": [[name, [name]] for name in names],
        "model": None,
        "origin": None,
        "predict_from": "labels",
        "anchored_by_words": False,
        "speakers": "names",
        # IEMOCAP's two are letters in VEGA's features, MELD's nine are rows of indicators.
        "known_speakers": ["M", "F"] if config.n_speakers == 2 else _numbers(config.n_speakers),
    }
    return network.eval(), values


def _renamed(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in given.items():
        if not _UNUSED.fullmatch(name) and not name.rpartition(".")[0].endswith(_ASKED):
            found[_ours(name)] = tensor
    for letter in MODALITY_LETTERS:
        projection = f"projections.{letter}.weight"
        found[projection] = found[projection].squeeze(-1)  # a convolution over one turn
        joint = f"joints.{letter}.weight"
        parts = dict(zip(_JOINED[letter], found[joint].chunk(3, dim=1), strict=True))
        found[joint] = torch.cat([parts[source] for source in MODALITY_LETTERS], dim=1)
        width = found[projection].shape[1]
        found[f"means.{letter}"], found[f"scales.{letter}"] = torch.zeros(width), torch.ones(width)
    for source, one in _LETTERS.items():
        for target, other in _LETTERS.items():
            for kind in ("weight", "bias"):
                inside = f"{source}_{target}.transformer_inter.0.self_attn."
                found[f"transformers.{other}{one}.attention.in_proj_{kind}"] = torch.cat(
                    [given[f"{inside}{asked}.{kind}"] for asked in _ASKED]
                )
    return found


def _ours(name: str) -> str:
    """Return our name of a tensor; one that VEGA does not have is kept, to be named."""
    module, _, kind = name.rpartition(".")
    pair = _OF_PAIR.fullmatch(module)
    if pair is None:
        return f"{_NAMES[module]}.{kind}" if module in _NAMES else name
    letters = _LETTERS[pair[2]] + _LETTERS[pair[1]]
    if pair[4] is None:
        return f"gates.{letters}.{kind}"
    return f"transformers.{letters}.{_PART[pair[4]]}.{kind}" if pair[4] in _PART else name


def _config(tensors: Mapping[str, Tensor]) -> DialogueConfig:
    return DialogueConfig(
        {letter: tensors[f"projections.{letter}.weight"].shape[1] for letter in MODALITY_LETTERS},
        n_classes=len(tensors[f"classifiers.{FUSED}.6.bias"]),
        n_speakers=len(tensors["speakers.weight"]) - 1,
        hidden=len(tensors["fusion.weight"]),
    )


def _labels(n_classes: int) -> tuple[str, ...]:
    for names in LABELS.values():
        if len(names) == n_classes:
            return names
    raise InputError(f"it tells {n_classes} classes apart, IEMOCAP has 6 and MELD 7")


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]
