"""Clips are read ahead in threads and encoded in batches; answers do not depend on either."""

from __future__ import annotations

import copy
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conftest import make_clips
from merclip import Clip, EmotionClassifier, precision
from merclip._ahead import map_ahead, working
from merclip.engine import Engine, Reading, reading_threads
from merclip.errors import MerclipWarning, SkippedClipsWarning
from merclip.network.attention import BlockAttention
from merclip.network.encoders import PASS, TEXT_CHUNK, like_lengths
from merclip.precision import (
    LEAST_COSINE,
    Processor,
    Running,
    fast_dtype,
    in_dtype,
    least_cosine,
    matmul_library,
    multiplying_by,
)
from merclip.preprocess.sample import Preprocessor
from merclip.preprocess.text import tokenize

EXAMPLE = Path(__file__).parents[1] / "examples" / "happy.mp4"
LABELS = ["happy", "sad", "angry"]
MATMUL: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


@pytest.fixture
def clf(tiny: Callable[..., EmotionClassifier]) -> EmotionClassifier:
    made = tiny(LABELS, dtype="float32")
    made.network_.fusion_trained = True
    return made


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("merclip.engine.reading_threads", lambda: 2)


def threads_of_ours() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("merclip")]


class Watch:
    """Stand in for `Preprocessor.__call__`: count clips that are read at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.0) -> None:
        self.begun: list[Any] = []
        self.names: set[str] = set()
        read, watch = Preprocessor.__call__, self

        def watched(self: Preprocessor, clip: Any) -> Any:
            watch.begun.append(clip.id)
            watch.names.add(threading.current_thread().name)
            time.sleep(seconds)
            return read(self, clip)

        monkeypatch.setattr(Preprocessor, "__call__", watched)


# Work ahead ----------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [0, 1, 3])
@pytest.mark.parametrize("ahead", [0, 2])
def test_outcomes_come_in_order_with_their_errors(n_threads: int, ahead: int) -> None:
    def work(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        if item == 4:
            raise ValueError("four")
        return item * item

    found = []
    with working(n_threads) as pool:
        for item, outcome in list(map_ahead(pool, work, range(9), ahead=ahead)):
            try:
                found.append((item, outcome()))
            except ValueError as error:
                found.append((item, str(error)))
    assert found == [(item, "four" if item == 4 else item * item) for item in range(9)]
    assert not threads_of_ours()


def test_no_more_items_are_taken_than_may_be_held() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    with working(2) as pool:
        outcomes = map_ahead(pool, lambda item: item, items(), ahead=4)
        for index in range(10):
            assert next(outcomes)[1]() == index
            assert len(taken) == index + 5
    assert len(taken) == 14 and not threads_of_ours()


def test_what_items_raise_comes_after_the_outcomes_before() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("no more")

    with working(1) as pool:
        outcomes = map_ahead(pool, lambda item: item, items(), ahead=8)
        assert [next(outcomes)[1]() for _ in range(3)] == [0, 1, 2]
        with pytest.raises(OSError, match="no more"):
            next(outcomes)


def test_work_that_has_not_begun_is_dropped_at_the_end() -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.05)

    with working(2) as pool:
        next(map_ahead(pool, work, range(50), ahead=20))[1]()
    assert len(begun) <= 6 and not threads_of_ours()


def test_one_core_reads_in_the_callers_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("merclip.engine.os.sched_getaffinity", lambda _: range(64), raising=False)
    for n_threads, expected in ((1, 0), (2, 1), (6, 5), (64, 8)):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=n_threads: n)
        assert reading_threads() == expected


# The engine ----------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_scores_do_not_depend_on_threads_or_batches(
    clf: EmotionClassifier, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    clips, _ = make_clips(7)
    expected = clf.predict_proba(clips)
    monkeypatch.setattr("merclip.engine.reading_threads", lambda: 3)
    found = list(clf.predict_iter(clips, batch_size=batch_size))
    assert [one.id for one in found] == [clip.id for clip in clips]
    scores = [[one[name] for name in clf.classes_] for one in found]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert not threads_of_ours()


def test_clips_are_read_ahead_but_not_far(
    clf: EmotionClassifier, monkeypatch: pytest.MonkeyPatch, two_threads: None
) -> None:
    watch = Watch(monkeypatch)
    clips, _ = make_clips(40)
    answers = clf.predict_iter(clips, batch_size=2)
    next(answers)
    assert 2 <= len(watch.begun) <= 2 + 2 * 2
    assert all(name.startswith("merclip") for name in watch.names)
    answers.close()
    assert not threads_of_ours()


def test_a_stream_is_asked_for_a_batch_and_no_more(
    clf: EmotionClassifier, monkeypatch: pytest.MonkeyPatch, two_threads: None
) -> None:
    taken: list[str | None] = []

    def stream() -> Iterator[Any]:
        for clip in make_clips(9)[0]:
            taken.append(clip.id)
            yield clip

    answers = clf.predict_iter(stream(), batch_size=3)
    assert [next(answers).id for _ in range(3)] == taken
    assert next(answers).id == "clip3" and len(taken) == 6
    answers.close()


def test_one_clip_needs_no_thread(
    clf: EmotionClassifier, monkeypatch: pytest.MonkeyPatch, two_threads: None
) -> None:
    watch = Watch(monkeypatch)
    clf(make_clips(1)[0][0])
    clf.predict([{"text": "hi"}, {"text": "oh"}])  # text alone takes no time to read
    assert watch.names == {threading.current_thread().name}


def test_parts_of_one_open_file_are_read_one_after_another(
    clf: EmotionClassifier, monkeypatch: pytest.MonkeyPatch, two_threads: None
) -> None:
    content = EXAMPLE.read_bytes()
    spans = [(index / 2, index / 2 + 1.0) for index in range(6)]
    expected = clf.predict_proba([Clip(content, start=a, end=b) for a, b in spans])
    watch = Watch(monkeypatch)
    with EXAMPLE.open("rb") as file:
        found = clf.predict_proba([Clip(file, start=a, end=b) for a, b in spans])
    assert watch.names == {threading.current_thread().name}
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("on_error", ["nan", "skip"])
def test_an_error_stays_with_its_clip(
    clf: EmotionClassifier, two_threads: None, on_error: str
) -> None:
    clips: list[Any] = list(make_clips(6)[0])
    expected = clf.predict_proba(clips)
    clips[2] = {"video": "none.mp4", "id": "clip2"}
    clf.set_params(on_error=on_error)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkippedClipsWarning)
        found = list(clf.predict_iter(clips, batch_size=2))
    kept = [0, 1, 3, 4, 5]
    assert [one.id for one in found if one.error is None] == [f"clip{i}" for i in kept]
    assert len(found) == (6 if on_error == "nan" else 5)
    scores = [[one[name] for name in clf.classes_] for one in found if one.error is None]
    np.testing.assert_allclose(scores, expected[kept], atol=1e-5)


def test_the_first_error_ends_the_run_and_its_threads(
    clf: EmotionClassifier, monkeypatch: pytest.MonkeyPatch, two_threads: None
) -> None:
    watch = Watch(monkeypatch)
    clips: list[Any] = list(make_clips(30)[0])
    clips[3] = {"video": "none.mp4"}
    with pytest.raises(FileNotFoundError, match=r"Row 3.*none\.mp4"):
        clf.set_params(batch_size=2).predict(clips)
    assert len(watch.begun) < 12 and not threads_of_ours()


def test_a_keyboard_interrupt_ends_the_threads(
    clf: EmotionClassifier, monkeypatch: pytest.MonkeyPatch, two_threads: None
) -> None:
    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(clf.network_), "encode", stopped)
    with pytest.raises(KeyboardInterrupt):
        clf.predict(make_clips(12)[0])
    assert not threads_of_ours()


def test_each_warning_comes_once_and_points_at_the_caller(
    clf: EmotionClassifier, two_threads: None
) -> None:
    clips = [clip.__class__(video=clip.video, text="word " * 200) for clip in make_clips(8)[0]]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        clf.predict(clips)
    assert len(said) == 1 and said[0].filename == __file__


def test_what_was_cached_by_other_weights_is_read_again(
    clf: EmotionClassifier, tmp_path: Any, two_threads: None
) -> None:
    clips = make_clips(6)[0]
    engine, reading = clf._ready().engine, clf.set_params(feature_cache=tmp_path)._reading()
    old = list(engine.encode(clips, reading))
    encoding = engine.encode(clips, replace(reading, batch_size=1))
    next(encoding)
    with torch.no_grad():
        for parameter in engine.network.encoders.parameters():
            parameter.mul_(1.5)
    found = list(encoding)
    expected = list(engine.encode(clips, Reading()))[1:]
    for one, other, before in zip(found, expected, old[1:], strict=True):
        assert torch.allclose(one.sequences["V"], other.sequences["V"], atol=1e-5)
        assert not torch.allclose(one.sequences["V"], before.sequences["V"], atol=1e-3)


# Texts of several lengths ----------------------------------------------------------------


def test_texts_of_like_length_go_together() -> None:
    lengths = [5, 77, 6, 5, 70, 5]
    assert like_lengths(lengths) == [[0, 3, 5, 2], [4, 1]]
    generator = np.random.default_rng(0)
    many = generator.integers(3, 78, 500).tolist()
    parts = like_lengths(many)
    assert sorted(index for part in parts for index in part) == list(range(500))
    for part in parts:
        sizes = [many[index] for index in part]
        assert sizes == sorted(sizes) and max(sizes) * len(sizes) <= TEXT_CHUNK
    padded = sum(max(many[i] for i in part) * len(part) for part in parts)
    assert padded - sum(many) <= PASS * len(set(many))
    assert like_lengths([]) == []


def test_a_long_text_in_a_batch_changes_no_other(clf: EmotionClassifier) -> None:
    texts = ["hi", "what a day " * 12, "so good", "oh", "they never told us about it " * 4]
    tokens = [tokenize(text).ids for text in texts]
    encoder: Any = clf.network_.encoders["L"]
    with torch.inference_mode():
        rows = encoder.rows(tokens)
        for ids, row in zip(tokens, rows, strict=True):
            assert torch.allclose(row, encoder([ids])[0][0], atol=1e-5)
        ends = encoder.ends(tokens)
        assert torch.allclose(ends, torch.stack([row[-1] for row in rows]), atol=1e-6)


def test_attention_of_blocks_is_that_of_torch() -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(32, 4, batch_first=True)
    nn.init.normal_(theirs.in_proj_bias)
    ours = BlockAttention(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    states = torch.randn(3, 7, 32)
    mask = torch.full((7, 7), float("-inf")).triu(1)
    for given in (None, mask):
        expected = theirs(states, states, states, need_weights=False, attn_mask=given)[0]
        assert torch.allclose(ours(states, states, states, attn_mask=given)[0], expected, atol=1e-6)


def test_towers_of_open_clip_get_this_attention(clf: EmotionClassifier) -> None:
    kinds = {type(one) for one in clf.network_.modules()}
    assert BlockAttention in kinds and nn.MultiheadAttention not in kinds


# Precision -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_lower_precision_keeps_the_network_and_the_labels(
    tiny: Callable[..., EmotionClassifier], dtype: str, tmp_path: Any
) -> None:
    fast = tiny(LABELS, dtype=dtype)
    fast.network_.fusion_trained = True
    before = {name: part.clone() for name, part in fast.network_.state_dict().items()}
    check = fast.check_precision(make_clips(4)[0])
    assert check.dtypes == dict.fromkeys(("text", "video", "audio"), dtype)
    assert check.n_clips == 4 and 0.99 < check.cosine < 1
    assert {part.dtype for part in fast.network_.parameters()} == {torch.float32}
    fast.save_pretrained(tmp_path)
    for again in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert again._ready().dtypes() == check.dtypes
        for name, part in again.network_.state_dict().items():
            assert torch.equal(part, before[name])


def test_auto_stays_with_float32_where_embeddings_would_change(
    tiny: Callable[..., EmotionClassifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "fast_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(precision, "_LEAST_WIDTH", 32)
    clf = tiny(LABELS)
    monkeypatch.setattr(precision, "LEAST_COSINE", 0.5)
    assert set(clf._ready().dtypes().values()) == {"bfloat16"}
    assert "cosine with float32 is at least 0.5: text 0.99" in clf._ready().engine.runner.reason()
    monkeypatch.setattr(precision, "LEAST_COSINE", 1.0)
    other = tiny(LABELS)
    assert set(other._ready().dtypes().values()) == {"float32"}
    assert other.check_precision().cosine > 0.999999


@pytest.mark.parametrize(
    "machine",
    [
        Processor("AuthenticAMD", True, True, False),
        Processor("GenuineIntel", True, True, True),
        Processor("GenuineIntel", False, False, False),
    ],
)
def test_auto_is_the_default_and_leaves_mini_as_it_is(
    monkeypatch: pytest.MonkeyPatch, machine: Processor
) -> None:
    monkeypatch.setattr(precision, "processor", lambda: machine)
    monkeypatch.setattr(precision, "in_dtype", lambda *_: pytest.fail("a lower precision"))
    clips = [{"video": EXAMPLE, "text": "What a day!"}, {"text": "No."}, {"audio": EXAMPLE}]
    auto = EmotionClassifier(LABELS)
    plain = EmotionClassifier(LABELS, dtype="float32", matmul="default")
    assert (auto.dtype, auto.matmul) == ("auto", "auto")
    np.testing.assert_array_equal(auto.predict_proba(clips), plain.predict_proba(clips))
    runner = auto._ready().engine.runner
    for letter, encoder in auto.network_.encoders.items():
        assert runner[letter] is encoder
    expected = "does not pay for 256 dimensions" if machine.bfloat16 else "neither AVX-512 BF16"
    assert expected in runner.reason()
    assert plain._ready().engine.runner.reason() == "as asked for"


def test_a_precision_is_tried_once_for_the_same_weights(
    tiny: Callable[..., EmotionClassifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "fast_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(precision, "_LEAST_WIDTH", 32)
    tried: list[str] = []
    examples = precision._tried

    def counted(encoder: Any, network: Any, letter: str) -> Any:
        tried.append(letter)
        return examples(encoder, network, letter)

    monkeypatch.setattr(precision, "_tried", counted)
    monkeypatch.setattr(precision, "_COSINES", {})
    clf = tiny(LABELS)
    clf.predict(text="hi")
    # Nothing is spent on sound, which is not used; a fusion without training looks at typical
    # texts and pictures.
    assert tried == ["L", "L", "V", "V"]
    for clips in (make_clips(2)[0], make_clips(3)[0]):
        clf.network_.fusion_trained = True
        clf.predict(clips)
    assert sorted(tried) == list("AALLVV")
    again = tiny(LABELS)
    again.network_.fusion_trained = True
    again.predict(make_clips(2)[0])
    assert set(again._ready().dtypes().values()) == set(clf._ready().dtypes().values())
    assert len(tried) == 6  # the same weights in another classifier


def test_what_runs_passes_its_check(tiny: Callable[..., EmotionClassifier]) -> None:
    check = tiny(LABELS).check_precision(make_clips(6)[0])
    assert check.passed and check.cosine > 0.999999 and check.largest_difference < 1e-5
    assert set(check.dtypes.values()) == {"float32"} and set(check.backends.values()) == {"torch"}
    check = tiny(LABELS, dtype="bfloat16").check_precision(make_clips(6)[0])
    assert 0.999 < check.cosine < 1 and 0 < check.largest_difference < 0.02
    assert check.passed == (check.cosine >= LEAST_COSINE and check.same_labels == 6)
    assert not replace(check, same_labels=5).passed
    assert not replace(check, same_labels=0, n_clips=0).passed


def test_training_is_in_float32_and_what_runs_follows_it(
    tiny: Callable[..., EmotionClassifier],
) -> None:
    clips, y = make_clips(8)
    params = {"epochs": 1, "tune": "full", "validation": 0.0, "lr": 1e-3}
    fast, plain = (tiny(dtype=dtype, **params).fit(clips, y) for dtype in ("bfloat16", "float32"))
    trained = dict(plain.network_.named_parameters())
    for name, one in fast.network_.named_parameters():
        # What clips look like is learned from encoders as they run in prediction.
        assert torch.equal(one, trained[name]) or name.startswith("evidence.")
    np.testing.assert_allclose(fast.predict_proba(clips), plain.predict_proba(clips), atol=0.05)
    runner: Any = fast._ready().engine.runner
    made = runner["V"]
    assert runner["V"] is made
    with torch.no_grad():
        next(fast.network_.encoders["V"].parameters()).add_(1)
    assert runner["V"] is not made


def test_batch_norms_are_folded() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    layers[1].running_mean.normal_()  # type: ignore[union-attr, operator]
    layers[1].running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    layers.eval()
    pictures = torch.randn(2, 3, 8, 8)
    folded = in_dtype(layers, torch.float64)
    assert not any(isinstance(one, nn.BatchNorm2d) for one in folded.modules())
    assert torch.allclose(folded(pictures.double()).float(), layers(pictures), atol=1e-5)
    assert isinstance(layers[1], nn.BatchNorm2d)


def test_the_fastest_precision_of_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    machines = {
        Processor("AuthenticAMD", True, True, False): (torch.bfloat16, "onednn"),
        Processor("AuthenticAMD", False, False, False): (torch.float32, "default"),
        Processor("GenuineIntel", True, False, False): (torch.float32, "default"),
        Processor("GenuineIntel", True, True, True): (torch.bfloat16, "default"),
    }
    for machine, expected in machines.items():
        monkeypatch.setattr(precision, "processor", lambda found=machine: found)
        assert (fast_dtype(cpu), matmul_library("auto", cpu)) == expected
        assert matmul_library("default", cpu) == "default"
    assert fast_dtype(torch.device("mps")) == torch.float32


def test_torchs_choice_of_library_is_restored() -> None:
    before = MATMUL.fp32_precision
    with multiplying_by("default"):
        assert MATMUL.fp32_precision == before
    with pytest.raises(ValueError, match="stop"), multiplying_by("onednn"):
        with multiplying_by("onednn"):
            assert MATMUL.fp32_precision == "bf16"
        assert MATMUL.fp32_precision == "bf16"  # someone still computes
        raise ValueError("stop")
    assert MATMUL.fp32_precision == before


def test_threads_that_choose_a_library_restore_it_together() -> None:
    before, wrong = MATMUL.fp32_precision, []

    def work() -> None:
        for _ in range(200):
            with multiplying_by("onednn"):
                if MATMUL.fp32_precision != "bf16":
                    wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and MATMUL.fp32_precision == before


@pytest.mark.skipif(precision.processor().amx, reason="there oneDNN rounds to bfloat16")
def test_onednn_multiplies_as_float32_does() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.randn(96, 200, generator=generator) for _ in range(2))
    exact = (one.double() @ two.double().T).float()
    with torch.inference_mode(), multiplying_by("onednn"):
        found = nn.functional.linear(one, two)
    assert (found - exact).abs().max() < 1e-4


@pytest.mark.parametrize("matmul", ["default", "onednn"])
def test_the_setting_holds_for_our_own_calls_alone(
    tiny: Callable[..., EmotionClassifier], monkeypatch: pytest.MonkeyPatch, matmul: str
) -> None:
    clf = tiny(LABELS, dtype="float32", matmul=matmul)
    before, seen = MATMUL.fp32_precision, []
    encode = type(clf.network_).encode

    def watched(*args: Any) -> Any:
        seen.append(MATMUL.fp32_precision)
        return encode(*args)

    monkeypatch.setattr(type(clf.network_), "encode", watched)
    clf.predict(text="hi")
    assert set(seen) == {"bf16" if matmul == "onednn" else before}
    assert MATMUL.fp32_precision == before


def test_a_compiler_that_is_missing_is_a_warning(
    tiny: Callable[..., EmotionClassifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("No working C++ compiler found")

    clips = make_clips(2)[0]
    expected = tiny(LABELS, dtype="float32").predict_proba(clips)
    monkeypatch.setattr(torch, "compile", lambda tower, **_: Failing())
    clf = tiny(LABELS, dtype="float32", compile=True)
    with pytest.warns(MerclipWarning, match=r"compile=True had no effect.*C\+\+ compiler"):
        found = clf.predict_proba(clips)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_is_compiled_runs_for_any_number_of_pictures(
    tiny: Callable[..., EmotionClassifier], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    sizes: list[int] = []

    class Compiled(nn.Module):  # compiling takes a minute
        def __init__(self, tower: nn.Module) -> None:
            super().__init__()
            self.tower = tower

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            sizes.append(len(pictures))
            return self.tower(pictures)

    monkeypatch.setattr(torch, "compile", lambda tower, **_: Compiled(tower))
    clips = make_clips(3)[0]
    plain, clf = tiny(LABELS, dtype="float32"), tiny(LABELS, dtype="float32", compile=True)
    one = {"video": np.zeros((1, 24, 32, 3), np.uint8)}
    for given in (clips, one):
        np.testing.assert_allclose(clf.predict_proba(given), plain.predict_proba(given), atol=1e-6)
    assert 1 not in sizes and len(sizes) > 2
    assert pickle.loads(pickle.dumps(clf)).compile and copy.deepcopy(clf).compile
    names = set(clf.network_.state_dict())
    assert names == set(plain.network_.state_dict()) and not any("compiled" in n for n in names)


def test_cosines_of_nothing_and_of_opposites() -> None:
    assert least_cosine(torch.zeros(0, 4), torch.zeros(0, 4)) == 1.0
    row = torch.tensor([[1.0, 2.0]])
    assert least_cosine(torch.cat([row, row]), torch.cat([row, -row])) == pytest.approx(-1)


def test_a_bad_clip_in_a_check_is_no_part_of_it(clf: EmotionClassifier) -> None:
    clips = [*make_clips(2)[0], {"video": "none.mp4"}]
    with pytest.raises(FileNotFoundError):
        clf.check_precision(clips)
    assert clf.set_params(on_error="nan").check_precision(clips).n_clips == 2


def test_an_engine_runs_in_float32_if_asked(clf: EmotionClassifier) -> None:
    engine = Engine(clf._ready().checkpoint, Running("float32", "default"))
    assert engine.runner["V"] is clf.network_.encoders["V"]
