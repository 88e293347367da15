"""The files that VEGA, SDT and MMGCN give out are read as their code reads them."""

from __future__ import annotations

import argparse
import math
import pickle
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from merclip import ConversationClassifier, Dialogue
from merclip.datasets import load_vega_anchors, load_vega_features
from merclip.errors import CheckpointError, DatasetNotFoundError, InputError
from merclip.network.vega_file import LABELS

WIDTHS = {"text": 6, "acou": 5, "visu": 4}
HIDDEN = 8
SOURCES = {"t": "tav", "a": "atv", "v": "vta"}


def vega_weights(n_classes: int = 6, n_speakers: int = 2) -> dict[str, Tensor]:
    """Return random weights under the names of VEGA's modules, with all that it saves."""
    shapes: dict[str, tuple[int, ...]] = {
        "speaker_embeddings.weight": (n_speakers + 1, HIDDEN),
        "last_gate.fc.weight": (HIDDEN, HIDDEN),
        **{f"{name}f_input.weight": (HIDDEN, width, 1) for name, width in WIDTHS.items()},
        **{f"{name}_cls_temp": () for name in "tav"},
    }
    linear = [f"features_reduce_{name}" for name in "tav"]
    shapes |= {f"{name}.weight": (HIDDEN, 3 * HIDDEN) for name in linear}
    shapes |= {f"{name}.bias": (HIDDEN,) for name in linear}
    for one in "tav":
        for other in "tav":
            inside = f"{one}_{other}.transformer_inter.0."
            shapes[f"{one}_{other}_gate.fc.weight"] = (HIDDEN, HIDDEN)
            shapes[f"{one}_{other}.pos_emb.pe"] = (1, 512, HIDDEN)
            for part in ("self_attn.linear", *(f"self_attn.linear_{c}" for c in "qkv"),
                         "feed_forward.w_1", "feed_forward.w_2"):  # fmt: skip
                shapes[f"{inside}{part}.weight"] = (HIDDEN, HIDDEN)
                shapes[f"{inside}{part}.bias"] = (HIDDEN,)
            for part in ("layer_norm", "feed_forward.layer_norm"):
                shapes |= {f"{inside}{part}.{kind}": (HIDDEN,) for kind in ("weight", "bias")}
    for name in ("t", "a", "v", "all"):
        for place, rows in ((0, HIDDEN), (3, HIDDEN), (6, n_classes)):
            shapes[f"{name}_output_layer.{place}.weight"] = (rows, HIDDEN)
            shapes[f"{name}_output_layer.{place}.bias"] = (rows,)
    generator = torch.Generator().manual_seed(0)
    return {name: 0.5 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def vega_probabilities(w: dict[str, Tensor], given: dict[str, Tensor], speakers: Tensor) -> Tensor:
    """Return what VEGA's classifier says of one dialogue, step by step as its facts have it."""
    n_turns = len(speakers)
    places = torch.arange(n_turns)[:, None]
    rates = torch.exp(torch.arange(0, HIDDEN, 2) * (-math.log(10000.0) / HIDDEN))
    shared = torch.zeros(n_turns, HIDDEN)
    shared[:, 0::2], shared[:, 1::2] = torch.sin(places * rates), torch.cos(places * rates)
    shared = shared + w["speaker_embeddings.weight"][speakers]
    streams = {
        name: given[part] @ w[f"{part}f_input.weight"][..., 0].T + shared
        for name, part in zip("tav", WIDTHS, strict=True)
    }

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def by_head(x: Tensor) -> Tensor:
        return x.view(n_turns, 4, -1).transpose(0, 1)

    found = {}
    for target, sources in SOURCES.items():
        parts = []
        for source in sources:
            inside = f"{source}_{target}.transformer_inter.0."
            query = by_head(linear(streams[target], f"{inside}self_attn.linear_q"))
            key = by_head(linear(streams[source], f"{inside}self_attn.linear_k"))
            value = by_head(linear(streams[source], f"{inside}self_attn.linear_v"))
            shares = (query @ key.transpose(1, 2) / math.sqrt(HIDDEN // 4)).softmax(-1)
            taken = (shares @ value).transpose(0, 1).reshape(n_turns, HIDDEN)
            state = streams[target] + linear(taken, f"{inside}self_attn.linear")
            normed = functional.layer_norm(
                state,
                (HIDDEN,),
                w[f"{inside}feed_forward.layer_norm.weight"],
                w[f"{inside}feed_forward.layer_norm.bias"],
                eps=1e-6,
            )
            inner = functional.gelu(linear(normed, f"{inside}feed_forward.w_1"), approximate="tanh")
            state = state + linear(inner, f"{inside}feed_forward.w_2")
            parts.append(state * torch.sigmoid(state @ w[f"{source}_{target}_gate.fc.weight"].T))
        found[target] = linear(torch.cat(parts, dim=-1), f"features_reduce_{target}")
    stacked = torch.stack([found[name] for name in "tav"])
    fused = ((stacked @ w["last_gate.fc.weight"].T).softmax(0) * stacked).sum(0)
    for place in (0, 3, 6):
        fused = linear(fused, f"all_output_layer.{place}")
        fused = functional.gelu(fused) if place < 6 else fused
    return fused.softmax(-1)


@pytest.mark.parametrize(("name", "speakers"), [("iemocap", ["M", "F"]), ("meld", ["0", "8"])])
def test_vegas_own_weights_answer_as_in_vega(
    tmp_path: Path, name: str, speakers: list[str]
) -> None:
    n_speakers = 2 if name == "iemocap" else 9
    weights = vega_weights(len(LABELS[name]), n_speakers)
    torch.save(weights, tmp_path / "VEGA.pth")
    clf = ConversationClassifier.from_pretrained(tmp_path / "VEGA.pth")
    assert clf.labels_.names == LABELS[name]
    generator = torch.Generator().manual_seed(1)
    given = {part: torch.randn(5, width, generator=generator) for part, width in WIDTHS.items()}
    order = [0, 1, 1, 0, 1]
    talk = Dialogue(
        {"text": given["text"], "audio": given["acou"], "video": given["visu"]},
        [speakers[number] for number in order],
    )
    numbers = torch.tensor([0, n_speakers - 1])[order]
    expected = vega_probabilities(weights, given, numbers)
    columns = [LABELS[name].index(label) for label in clf.classes_]
    np.testing.assert_allclose(clf.predict_proba(talk), expected[:, columns], atol=1e-5)
    again = ConversationClassifier.from_pretrained(clf.save_pretrained(tmp_path / "own"))
    np.testing.assert_array_equal(again.predict_proba(talk), clf.predict_proba(talk))


@pytest.mark.parametrize("kind", ["code", "other names", "classes", "missing", "shape", "nan"])
def test_other_files_are_not_taken_for_vegas(tmp_path: Path, kind: str) -> None:
    weights: dict[str, Any] = vega_weights(5 if kind == "classes" else 6)
    if kind == "code":
        weights["args"] = argparse.Namespace(a=1)
    elif kind == "other names":
        weights["graph_agg.norm.weight"] = torch.ones(3)
    elif kind == "missing":
        del weights["a_v.transformer_inter.0.self_attn.linear_k.bias"]
    elif kind == "shape":
        weights["t_a_gate.fc.weight"] = torch.ones(2, 2)
    elif kind == "nan":
        weights["last_gate.fc.weight"][0, 0] = float("nan")
    torch.save(weights, tmp_path / "VEGA.pth")
    with pytest.raises(CheckpointError, match=r"VEGA\.pth"):
        ConversationClassifier.from_pretrained(tmp_path / "VEGA.pth")


def test_vegas_anchors_are_those_of_a_conversation(tmp_path: Path) -> None:
    pictures = {name: {"feature": torch.randn(3, 16)} for name in LABELS["iemocap"]}
    center = torch.stack([part["feature"].mean(0) for part in pictures.values()])
    torch.save({"anchor_center": center, "anchor_img_dict": pictures}, tmp_path / "35_anchor.pt")
    anchors = load_vega_anchors(tmp_path / "35_anchor.pt")
    assert list(anchors) == list(LABELS["iemocap"])
    np.testing.assert_array_equal(anchors["sad"], pictures["sad"]["feature"])
    with pytest.raises(DatasetNotFoundError):
        load_vega_anchors(tmp_path / "none.pt")


@pytest.mark.parametrize(
    "content",
    [
        {"anchor_center": torch.ones(2, 2)},
        {"anchor_img_dict": {}},
        {"anchor_img_dict": {"sad": 3}},
        {"anchor_img_dict": {"sad": {"feature": [1.0]}}},
        {"anchor_img_dict": {"sad": {"feature": torch.ones(3)}}},
        {"anchor_img_dict": {"sad": {"feature": torch.full((2, 2), math.nan)}}},
        {"anchor_img_dict": {"sad": {"feature": torch.ones(2, 2, device="meta")}}},
        {"anchor_img_dict": {"sad": {"feature": torch.ones(1).expand(10**6, 10**6)}}},
        {"anchor_img_dict": {"sad": {"feature": argparse.Namespace()}}},
        [1],
    ],
)
def test_other_files_are_not_taken_for_anchors(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "anchors.pt")
    with pytest.raises(InputError, match=r"anchors\.pt"):
        load_vega_anchors(tmp_path / "anchors.pt")


# Features ------------------------------------------------------------------------------------


def parts(layout: str) -> tuple[Any, ...]:
    """Return the parts of a file of features, of two dialogues with numbers for names."""
    generator = np.random.default_rng(0)
    rows = {
        name: {key: [generator.normal(size=width) for _ in range(3)] for key in (7, 8)}
        for name, width in {"text": 4, "two": 4, "three": 4, "four": 4, "a": 3, "v": 2}.items()
    }
    names = {key: [f"{key}_{turn}" for turn in range(3)] for key in (7, 8)}
    speakers = {key: [[1, 0, 0], [0, 0, 1], [1, 0, 0]] for key in (7, 8)}
    labels = {key: [0, 6, 2] for key in (7, 8)}
    more = [rows["two"], rows["three"], rows["four"]] if layout == "SDT" else []
    found = [speakers, labels, rows["text"], *more, rows["a"], rows["v"]]
    return (names, *found, names, [7], {8})


@pytest.mark.parametrize("last", [(), ({7: [0, 1, 2]},)])
@pytest.mark.parametrize(("layout", "count"), [("MMGCN", 9), ("SDT", 12)])
def test_the_pickles_of_mmgcn_and_sdt(
    tmp_path: Path, layout: str, count: int, last: tuple[Any, ...]
) -> None:
    given = parts(layout) + last
    assert len(given) == count + len(last)
    (tmp_path / "features.pkl").write_bytes(pickle.dumps(given, protocol=2))
    found = load_vega_features(tmp_path / "features.pkl", labels="meld")
    (train,), (test,) = found.train, found.test
    assert (train.name, test.name) == ("7", "8")
    assert train.labels == ("neutral", "anger", "fear") and train.speakers == ("0", "2", "0")
    text, audio, video = given[3], given[-4 - len(last) - 1], given[-4 - len(last)]
    for letter, part in (("L", text), ("A", audio), ("V", video)):
        np.testing.assert_allclose(train.utterances[letter], part[7], atol=1e-6)


def test_vegas_texts_are_a_batch_of_one_dialogue(tmp_path: Path) -> None:
    row = np.ones((2, 4), np.float32)
    given = ({"d": ["M", "F"]}, {"d": [0, 1]}, {"d": row[None]}, {"d": row}, {"d": row}, ["d"], [])
    (tmp_path / "features.pkl").write_bytes(pickle.dumps(given))
    (talk,) = load_vega_features(tmp_path / "features.pkl").train
    assert talk.utterances["L"].shape == (2, 4)


def long_integer(number: int) -> bytes:
    """Return the instruction that makes a whole number of any size."""
    raw = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(raw)) + raw


def test_a_pickle_costs_what_it_weighs(tmp_path: Path) -> None:
    path = tmp_path / "features.pkl"
    prime = 2**61 - 1
    # Numbers that Python keeps in one place of a dictionary: as keys, in a set, and as places
    # of its memory.
    colliding = [number * prime for number in range(30_000)]
    near = [number << 30 for number in range(30_000)]
    one = b"".join(map(long_integer, colliding))
    again = b"q\x00K\x00" + b"h\x00K\x00" * 100_000 + b"u."
    hostile = [
        pickle.dumps(dict.fromkeys(colliding, 0)),
        pickle.dumps(dict.fromkeys(near, 0)),
        b"\x80\x04\x8f(" + one + b"\x90.",
        b"\x80\x02(" + b"".join(b"K\x00p%d\n" % number for number in colliding) + b"l.",
        # A long number, or a long text, that is looked at again and again.
        b"\x80\x02}(" + long_integer(1 << 8_000_000) + again,
        b"\x80\x02}(X" + struct.pack("<I", 10**6) + b"a" * 10**6 + again,
    ]  # fmt: skip
    for data in hostile:
        path.write_bytes(data)
        start = time.process_time()
        with pytest.raises(InputError):
            load_vega_features(path)
        assert time.process_time() - start < 5


def test_repeated_lists_of_speakers_are_counted(tmp_path: Path) -> None:
    speaker = [0.0] * 20_000
    rows = np.ones((20_000, 1), np.float16)
    given = ({"d": [speaker] * 20_000}, {"d": [0] * 20_000}, *[{"d": rows}] * 3, ["d"], [])
    (tmp_path / "features.pkl").write_bytes(pickle.dumps(given))
    with pytest.raises(InputError, match="more numbers than it has bytes"):
        load_vega_features(tmp_path / "features.pkl")
