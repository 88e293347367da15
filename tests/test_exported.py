"""Image towers that OpenVINO runs give what torch gives."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone

from conftest import make_clips
from merclip import EmotionClassifier, precision
from merclip.errors import InputError, MerclipWarning, MissingExtraError
from merclip.exported import ExportedEncoder
from merclip.precision import Runner, Running

LABELS = ["happy", "sad", "angry"]
installed = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
)


@pytest.fixture
def clf(tiny: Callable[..., EmotionClassifier]) -> EmotionClassifier:
    made = tiny(LABELS, backend="openvino", dtype="float32")
    made.network_.fusion_trained = True
    return made


@pytest.fixture
def plain(tiny: Callable[..., EmotionClassifier]) -> EmotionClassifier:
    made = tiny(LABELS, dtype="float32")
    made.network_.fusion_trained = True
    return made


@installed
def test_scores_are_those_of_torch_for_any_number_of_pictures(
    clf: EmotionClassifier, plain: EmotionClassifier
) -> None:
    clips = make_clips(11)[0]  # more pictures than go through a tower at once
    alone = {"video": np.full((1, 24, 32, 3), 90, np.uint8)}
    for given in (clips, alone, clips[:2]):
        np.testing.assert_allclose(clf.predict_proba(given), plain.predict_proba(given), atol=1e-5)
    check = clf.check_precision(clips)
    assert check.backends == {"text": "torch", "video": "openvino", "audio": "openvino"}
    assert check.passed and check.cosine > 0.99999
    assert clf.predict_proba(text="hi").shape == (1, 3)


@installed
def test_bfloat16_is_openvinos(tiny: Callable[..., EmotionClassifier]) -> None:
    clf = tiny(LABELS, backend="openvino", dtype="bfloat16")
    clf.network_.fusion_trained = True
    check = clf.check_precision(make_clips(4)[0])
    assert set(check.dtypes.values()) == {"bfloat16"} and 0.99 < check.cosine
    assert {part.dtype for part in clf.network_.parameters()} == {torch.float32}


@installed
def test_the_export_follows_training(tiny: Callable[..., EmotionClassifier]) -> None:
    clips, y = make_clips(8)
    params = {"epochs": 1, "tune": "full", "validation": 0.0, "lr": 1e-3, "dtype": "float32"}
    fast = tiny(backend="openvino", **params).fit(clips, y)
    torchs = tiny(**params).fit(clips, y)
    for one, other in zip(fast.network_.parameters(), torchs.network_.parameters(), strict=True):
        assert torch.equal(one, other)
    np.testing.assert_allclose(fast.predict_proba(clips), torchs.predict_proba(clips), atol=1e-5)
    before = fast._ready().engine.runner["V"]
    fast.set_params(warm_start=True, lr=1e-2).fit(clips, y)
    torchs.set_params(warm_start=True, lr=1e-2).fit(clips, y)
    np.testing.assert_allclose(fast.predict_proba(clips), torchs.predict_proba(clips), atol=1e-5)
    assert fast._ready().engine.runner["V"] is not before


@installed
def test_copies_pickles_and_files_hold_the_network_alone(
    clf: EmotionClassifier, plain: EmotionClassifier, tmp_path: Any
) -> None:
    clips = make_clips(2)[0]
    expected = clf.predict_proba(clips)
    for again in (copy.deepcopy(clf), pickle.loads(pickle.dumps(clf))):
        again.network_.fusion_trained = True
        np.testing.assert_allclose(again.predict_proba(clips), expected, atol=1e-5)
        assert isinstance(again._ready().engine.runner["V"], ExportedEncoder)
    assert clone(clf).backend == "openvino"
    assert list(clf.network_.state_dict()) == list(plain.network_.state_dict())
    clf.save_pretrained(tmp_path)
    saved = EmotionClassifier.from_pretrained(tmp_path, dtype="float32")
    np.testing.assert_allclose(saved.predict_proba(clips), expected, atol=1e-5)


@installed
def test_threads_take_turns(clf: EmotionClassifier) -> None:
    encoder: Any = clf._ready().engine.runner["V"]
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.randn(n, 3, 32, 32, generator=generator) for n in (1, 3, 2, 5) * 6]
    with torch.inference_mode():
        expected = [clf.network_.encoders["V"](one) for one in pictures]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(pool.map(encoder, pictures), expected, strict=True):
            assert torch.allclose(one, other, atol=1e-5)


@installed
def test_a_cache_keeps_what_each_made_apart(
    clf: EmotionClassifier, plain: EmotionClassifier, tmp_path: Any
) -> None:
    clips = make_clips(3)[0]
    counts = []
    for one in (clf, clf, plain, plain):
        one.set_params(feature_cache=tmp_path).predict(clips)
        counts.append(sum(path.is_file() for path in tmp_path.rglob("*.safetensors")))
    assert counts == [3, 3, 6, 6]


@installed
def test_nothing_is_sent_about_its_use() -> None:
    code = (
        "import sys\nfrom merclip._optional import import_openvino\nimport torch\n"
        "openvino = import_openvino()\n"
        "program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))\n"
        "openvino.convert_model(program)\n"
        "assert 'openvino_telemetry' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_missing_package_is_named_at_first_use(
    tiny: Callable[..., EmotionClassifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r'pip install -e "\.\[openvino\]"'):
        tiny(LABELS, backend="openvino").predict(text="hi")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"compile": True}, "compile=True is for backend='torch'"),
        ({"dtype": "float16"}, "float32 or bfloat16"),
        ({"backend": "onnx"}, r"backend is one of \['torch', 'openvino'\], got 'onnx'"),
    ],
)
def test_parameters_that_do_not_fit(
    tiny: Callable[..., EmotionClassifier], params: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        tiny(LABELS, **{"backend": "openvino", **params}).predict(text="hi")


@pytest.mark.parametrize("shift", [None, 3.0])
def test_an_export_that_fails_or_differs_leaves_torch(
    tiny: Callable[..., EmotionClassifier], monkeypatch: pytest.MonkeyPatch, shift: float | None
) -> None:
    def exported(encoder: Any, *_: Any) -> Any:
        if shift is None:
            raise RuntimeError("no such operation\nand more")
        other = copy.deepcopy(encoder)
        with torch.no_grad():
            next(other.parameters()).add_(torch.linspace(-shift, shift, 32))
        return other

    monkeypatch.setattr(precision, "ExportedEncoder", exported)
    network = tiny(LABELS).network_
    runner = Runner(network, Running(backend="openvino"))
    said = r"RuntimeError: no such operation$" if shift is None else r"a cosine of -?0\.\d+"
    with pytest.warns(MerclipWarning, match="backend='openvino' had no effect: .*" + said):
        assert runner["V"] is network.encoders["V"]
    assert runner["L"] is network.encoders["L"]


def test_other_devices_stay_with_torch(
    tiny: Callable[..., EmotionClassifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny(LABELS).network_
    runner = Runner(network, Running("float32", backend="openvino"))
    monkeypatch.setattr(type(network), "device", property(lambda _: torch.device("cuda")))
    with pytest.warns(MerclipWarning, match="backend='openvino' had no effect: the device is cuda"):
        assert runner["A"] is network.encoders["A"]
