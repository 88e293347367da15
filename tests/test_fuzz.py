"""Whatever comes in, only our own errors come out.

The suite runs few cases, always the same. To look for more, set the number of cases
(and a directory, where the last file that was tried is kept in case the process dies)::

    MERCLIP_FUZZ=20000 MERCLIP_FUZZ_DIR=/tmp/fuzz python -m pytest tests/test_fuzz.py
"""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import re
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_files import (
    gif,
    id3,
    png,
    png_chunk,
    png_with,
    seven_bits,
    wav,
    with_flac_comments,
    with_matroska_tags,
    with_mp4_tags,
    with_riff_tags,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from media_files import clip_bytes, tone, write_sound, write_video

from conftest import make_clips
from merclip import Audio, Clip, EmotionClassifier, Video
from merclip.datasets import load_clips
from merclip.errors import CheckpointError, MerclipError
from merclip.labels import LabelSet, prompt_list
from merclip.media import read_media
from merclip.preprocess.text import tokenize

N_CASES = int(os.environ.get("MERCLIP_FUZZ", "0"))
KEEP = os.environ.get("MERCLIP_FUZZ_DIR")


def cases(n: int) -> settings:
    """Return settings: a few fixed cases, or as many as were asked for."""
    return settings(
        max_examples=N_CASES or n,
        derandomize=not N_CASES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    """Let no warning of numpy's pass; ours are part of what is read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("error", ResourceWarning)
        yield


# Media ------------------------------------------------------------------------------


def _files() -> list[bytes]:
    sound = {"samples": tone(0.3, 16000), "rate": 16000}
    pictures = {"n": 8}
    kinds: list[bytes] = [gif(5), png(6, 4), wav(400, bytes(400))]
    for format, codec in (("mp4", "libx264"), ("matroska", "libx264"), ("mov", "mpeg4")):
        kinds.append(clip_bytes(format, video={"codec": codec, **pictures}, sound=sound))
    kinds.append(clip_bytes("avi", video={"codec": "mpeg4", **pictures}, sound={"codec": "mp2"}))
    for format, codec in (("webm", "libvpx-vp9"), ("mpegts", "libx264"), ("flv", "flv")):
        buffer = io.BytesIO()
        kinds.append(write_video(buffer, codec, format=format, **pictures).getvalue())
    for format, codec in (("flac", "flac"), ("mp3", "mp3"), ("ogg", "libopus"), ("ipod", "aac")):
        long = {"samples": tone(0.3, 48000), "rate": 48000}
        kinds.append(write_sound(io.BytesIO(), codec, format=format, **long).getvalue())
    return kinds + _files_with_tags()


def _files_with_tags() -> list[bytes]:
    sound = {"samples": tone(0.3, 16000), "rate": 16000}
    flac = write_sound(io.BytesIO(), "flac", format="flac", **sound).getvalue()
    entry = b"TXXX" + seven_bits(4) + b"\0\0\3a\0b"
    packed = zlib.compress(b"b" * 999)
    texts = [(b"tEXt", b"a\0b"), (b"zTXt", b"a\0\0" + packed), (b"iCCP", b"a\0\0" + packed)]
    return [
        png_with(b"".join(png_chunk(kind, data) for kind, data in texts)),
        id3(entry * 3) + with_flac_comments(flac, 3),
        with_matroska_tags(clip_bytes("matroska", video={"n": 4}), 3),
        with_riff_tags(wav(400, bytes(400)), 3),
        with_mp4_tags(clip_bytes("mp4", video={"n": 4}), 3),
    ]


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    """Return one small file of each kind."""
    return _files()


PLACES = st.one_of(st.integers(0, 400), st.integers(0, 40_000))
NUMBERS = st.sampled_from([0, 1, 255, 50_000, 10**9, 2**31 - 1, 2**31, 2**32 - 1])
CHANGES = st.one_of(
    st.tuples(st.just("flip"), PLACES, st.integers(0, 255)),
    st.tuples(st.just("number"), PLACES, NUMBERS),
    st.tuples(st.just("cut"), PLACES, st.integers(1, 3000)),
    st.tuples(st.just("end"), PLACES, st.just(0)),
    st.tuples(st.just("repeat"), PLACES, st.integers(1, 3000)),
    st.tuples(st.just("swap"), PLACES, PLACES),
    st.tuples(st.just("insert"), PLACES, st.binary(max_size=300)),
    st.tuples(st.just("append"), st.integers(0, 12), st.just(0)),
)


def changed(data: bytes, change: tuple[str, int, Any], files: list[bytes]) -> bytes:
    """Return a file with one change."""
    kind, place, value = change
    if not data:
        return data
    at = place % len(data)
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ value]) + data[at + 1 :]
    if kind == "number":
        return data[:at] + value.to_bytes(4, "big") + data[at + 4 :]
    if kind == "cut":
        return data[:at] + data[at + value :]
    if kind == "end":
        return data[:at]
    if kind == "repeat":
        return data[: at + value] + data[at:]
    if kind == "swap":
        other = value % len(data)
        first, second = data[at : at + 64], data[other : other + 64]
        once = data[:at] + second + data[at + len(second) :]
        return once[:other] + first + once[other + len(first) :]
    if kind == "insert":
        return data[:at] + value + data[at:]
    return data + files[place % len(files)]


@cases(80)
@given(
    kind=st.integers(0, 17),
    changes=st.lists(CHANGES, min_size=1, max_size=4),
    how=st.sampled_from([{}, {"start": 0.2, "end": 0.25}, {"want_video": False}, {"start": 1e9}]),
)
def test_mutated_files(
    files: list[bytes], kind: int, changes: list[tuple[str, int, Any]], how: dict[str, Any]
) -> None:
    data = files[kind % len(files)]
    for change in changes:
        data = changed(data, change, files)
    if KEEP:
        Path(KEEP, "last").write_bytes(data)
    try:
        found = read_media(data, **how)
    except MerclipError:
        return
    assert np.isfinite(found.duration)
    if found.sound is not None:
        assert np.isfinite(found.sound).all()
        assert len(found.sound) <= 12 * 2 * 16000
    if found.frames is not None:
        assert 0 < len(found.frames) == len(found.frame_times) <= 12


@cases(40)
@given(
    magic=st.sampled_from(
        [
            b"RIFF\0\0\0\0WAVEfmt ",
            b"fLaC",
            b"OggS",
            b"\x1aE\xdf\xa3",
            b"\0\0\0\x18ftypisom",
            b"GIF89a",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff\xe0",
            b"ID3\4",
            b"FLV\1",
            b"\x47" * 400,
        ]
    ),  # fmt: skip
    rest=st.binary(max_size=3000),
)
def test_random_bytes_after_the_right_beginning(magic: bytes, rest: bytes) -> None:
    try:
        read_media(magic + rest)
    except MerclipError:
        pass


# Arrays -----------------------------------------------------------------------------

DTYPES = ("u1", "i1", "i2", "i4", "u2", "i8", "f2", "f4", "f8", "c8", "?", "U3", "M8[s]", "O", "S2")
ANY_ARRAY = arrays.arrays(
    st.sampled_from(DTYPES).map(np.dtype),
    arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
)
VIEWS = st.sampled_from([lambda a: a, lambda a: a[::-1] if a.ndim else a, lambda a: a.T])


@cases(80)
@given(
    array=ANY_ARRAY,
    view=VIEWS,
    rate=st.one_of(st.floats(), st.integers(), st.sampled_from([16000, None, "x", 1e-300, True])),
)
def test_any_array_as_video_and_sound(array: Any, view: Callable[[Any], Any], rate: Any) -> None:
    for kind, name in ((Video, "fps"), (Audio, "rate")):
        try:
            made = kind(view(array), **{name: rate})
        except MerclipError:
            continue
        values = made.frames if isinstance(made, Video) else made.samples
        assert values.size
        assert np.isfinite(values).all()
        assert np.isfinite(made.duration)


@cases(60)
@given(
    array=arrays.arrays(
        st.sampled_from(["f2", "f4", "f8"]).map(np.dtype),
        st.tuples(st.integers(1, 3), st.integers(0, 50)),
        elements=st.sampled_from([0.0, -0.0, 1.0, 5.0, np.nan, np.inf, -np.inf, 6e4, 1e-7]),
    )
)
def test_sound_is_finite(array: Any) -> None:
    try:
        assert np.isfinite(Audio(array, rate=8000).samples).all()
    except MerclipError:
        pass


# Labels and texts --------------------------------------------------------------------

ODD_TEXT = st.one_of(
    st.text(max_size=30),
    st.text(st.sampled_from("\0\x1b\x7f\ud800\udfff\u202e\u2066\ufeff\ue000\u0301{}"), max_size=8),
    st.sampled_from(["", " ", "\0", "\ud800", "\u202ejoy", "{}", "{0}", "{a!r:>{b}}", "ﬁ" * 50]),
)
ODD_LABELS = st.recursive(
    st.one_of(ODD_TEXT, st.none(), st.booleans(), st.integers(), st.floats(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(ODD_TEXT, st.integers()), inner, max_size=4),
        st.tuples(inner, inner),
    ),
    max_leaves=8,
)


@cases(80)
@given(labels=ODD_LABELS, prompt=st.one_of(ODD_TEXT, st.just("a {} face"), ODD_LABELS))
def test_any_labels(labels: Any, prompt: Any) -> None:
    try:
        found = LabelSet.of(labels)
        prompts = prompt_list(prompt)
        for texts in found.texts(prompts):
            for text in texts:
                tokenize(text, 20)
        assert len(found.classes) == len(found)
    except MerclipError:
        pass


@cases(60)
@given(text=ODD_TEXT)
def test_any_text(text: str) -> None:
    assert 2 <= len(tokenize(text, 77).ids) <= 77


# Checkpoints ------------------------------------------------------------------------

VALUES = st.sampled_from(
    [None, True, 0, 1, -1, 2, 7, 10**9, 10**18, 1.5, float("nan"), float("inf"), "", "x",
     "../../etc/passwd", "/etc/passwd", "hf-hub:a/b", [], [1], [[1, 2]], {}, {"a": 1}]
)  # fmt: skip
KEYS = ("hf_model_name", "timm_model_name", "tower", "pool_type", "audio_cfg", "filename", "layers")


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs if isinstance(value, (dict, list)) else ():
        yield (*at, key)
        if isinstance(inner, (dict, list)):
            yield from _places(inner, (*at, key))


@pytest.fixture
def saved(tiny: Callable[..., EmotionClassifier], tmp_path: Path) -> Path:
    """Return a checkpoint's directory."""
    return tiny(["happy", "sad"]).save_pretrained(tmp_path / "model")


def load_and_use(directory: Path) -> None:
    try:
        classifier = EmotionClassifier.from_pretrained(directory)
        classifier(make_clips(1)[0][0])
        assert classifier.predict_proba(text="hi").shape[0] == 1
    except MerclipError:
        pass


def test_configs_with_any_value_anywhere(saved: Path) -> None:
    path = saved / "config.json"
    config = json.loads(path.read_text())
    places = list(_places(config))

    @cases(30)
    @given(at=st.sampled_from(places), value=VALUES, key=st.sampled_from((None, None, *KEYS)))
    def run(at: tuple[Any, ...], value: Any, key: str | None) -> None:
        changed = copy.deepcopy(config)
        inner = changed
        for step in at[:-1]:
            inner = inner[step]
        inner[at[-1] if key is None or isinstance(inner, list) else key] = value
        path.write_text(json.dumps(changed))
        load_and_use(saved)

    run()


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"format_version": ' + "9" * 5000 + "}",
        '{"format_version": NaN}',
        "\ufeff{}",
    ],
    ids=["nested", "a long number", "NaN", "byte order mark"],
)
def test_configs_that_are_hard_to_parse(saved: Path, content: str) -> None:
    (saved / "config.json").write_text(content)
    with pytest.raises(MerclipError, match=r"config\.json"):
        EmotionClassifier.from_pretrained(saved)


def test_weights_with_any_change(saved: Path) -> None:
    path = saved / "model.safetensors"
    whole = path.read_bytes()
    n_header = int.from_bytes(whole[:8], "little")
    places = st.one_of(st.integers(0, 7), st.integers(8, 8 + n_header))

    @cases(20)
    @given(change=st.one_of(st.tuples(st.just("flip"), places, st.integers(1, 255)), CHANGES))
    def run(change: tuple[str, int, Any]) -> None:
        path.write_bytes(changed(whole, change, [whole[:5000]]))
        load_and_use(saved)

    run()


# Tables -----------------------------------------------------------------------------

CELLS = st.one_of(ODD_TEXT, st.sampled_from(["1e400", "nan", "-1", "|", '"', "\r", "a,b", "a.mp4"]))
COLUMNS = st.sampled_from(["text", "label", "video", "audio", "start", "end", "id", "lable", ""])


@cases(60)
@given(
    columns=st.lists(COLUMNS, max_size=5),
    rows=st.lists(st.lists(CELLS, max_size=5), max_size=4),
    as_json=st.booleans(),
    values=st.lists(ODD_LABELS, max_size=5),
    how=st.sampled_from([{}, {"multi_label": True}, {"scores": True}, {"group": "id"}]),
)
def test_any_table(
    tmp_path_factory: pytest.TempPathFactory,
    columns: list[str],
    rows: list[list[str]],
    as_json: bool,
    values: list[Any],
    how: dict[str, Any],
) -> None:
    path = tmp_path_factory.getbasetemp() / ("rows.jsonl" if as_json else "rows.csv")
    if as_json:
        row = dict(zip(columns, values, strict=False))
        text = json.dumps(row, default=repr) + "\n" + json.dumps({"text": "a", "label": "b"})
    else:
        text = "\n".join(",".join(row) for row in [columns, *rows])
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load_clips(path, **how)
    except MerclipError:
        pass


# What was found ----------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.5, 10**400, 1e-300, 2e6])
def test_impossible_rates(rate: float) -> None:
    with pytest.raises(MerclipError, match="rate"):
        _ = Audio(np.zeros(4, np.int16), rate=rate).duration


class NoRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    "value", [NoRepr(), b"x" * 10**7, 10**5000, np.zeros((999, 9))], ids=lambda v: type(v).__name__
)
@pytest.mark.parametrize(
    "use",
    [
        lambda value: Audio(np.zeros(4, np.float32), rate=value),
        lambda value: Video(np.zeros((1, 4, 4, 3), np.uint8), fps=value),
        lambda value: Clip("a.mp4", start=value),
        lambda value: Clip("a.mp4", region=value),
        lambda value: EmotionClassifier(["a", "b"], batch_size=value).predict(text="a"),
        lambda value: EmotionClassifier(["a", "b"], device=value).predict(text="a"),
        lambda value: EmotionClassifier(["a", "b"], random_state=value).predict(text="a"),
        lambda value: EmotionClassifier(["a", "b"], threshold=value).predict(text="a"),
        lambda value: EmotionClassifier(["a", "b"], model=value).predict(text="a"),
        lambda value: EmotionClassifier(["a", "b"]).fit([{"text": "a"}], [value]),
        lambda value: LabelSet.of(["a", value]),
    ],
)
def test_what_is_said_of_a_value_is_short(use: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(MerclipError) as caught:
        use(value)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["y" * 10**6, "y" * 999_990 + "/x.mp4"])
def test_long_names_give_short_messages(text: str) -> None:
    uses: list[Callable[[], Any]] = [
        lambda: EmotionClassifier(["a", "b"]).predict(text),
        lambda: EmotionClassifier(["a", "b"]).predict({text: 1}),
        lambda: EmotionClassifier([text, text]).predict(text="a"),
        lambda: EmotionClassifier.from_pretrained(text),
    ]
    for use in uses:
        with pytest.raises(MerclipError) as caught:
            use()
        assert len(str(caught.value)) < 4200
        assert len(str(pickle.loads(pickle.dumps(caught.value)))) < 4200


def test_a_lost_text_is_quoted_in_part() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answer = EmotionClassifier(["a " * 500_000, "b"])(text="hey " * 300_000)
    said = [str(warning.message) for warning in caught]
    assert len(said) == 2
    assert all(re.search(r"' and \d+ more letters\.$", text) for text in said)
    assert all(len(text) < 300 for text in (*said, *answer.warnings))


def test_half_a_surrogate_pair_is_text() -> None:
    assert tokenize("so \ud800good").ids.tolist() == tokenize("so ?good").ids.tolist()


def test_a_word_of_a_million_letters_takes_no_time() -> None:
    letters = "".join(map(chr, np.random.default_rng(0).integers(97, 123, 10**6)))
    started = time.process_time()
    long = tokenize(letters)
    assert time.process_time() - started < 5
    assert len(long.ids) == 77
    assert long.ids.tolist()[:70] == tokenize(letters[:400]).ids.tolist()[:70]
    assert long.lost.endswith(letters[-1000:])


def test_infinite_samples_of_a_file_are_silence_without_a_warning() -> None:
    samples = np.array([[0.5, np.inf, np.nan, -np.inf, 3e38, 0.5]], np.float32).repeat(100, 1)
    buffer = io.BytesIO()
    write_sound(buffer, "pcm_f32le", format="wav", samples=samples, rate=16000)
    found = read_media(buffer.getvalue())
    assert found.sound is not None
    assert np.isfinite(found.sound).all()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("backbone", {"repo": "a/b", "filename": "../../secret", "revision": "main"}),
        ("backbone", {"repo": "a/b", "filename": "/etc/passwd", "revision": "main"}),
        ("backbone", {"repo": "../..", "filename": "x", "revision": "main"}),
        ("backbone", {"repo": "a/b", "filename": "x", "revision": "../x"}),
        ("backbone", "a/b"),
        ("lineage", 3),
        ("classifier", {"labels": ["happy", "sad"]}),
        ("classifier", {"calibration": {"temperature": 0}}),
    ],
)
def test_what_a_config_may_not_say(saved: Path, part: str, value: Any) -> None:
    path = saved / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), part: value}))
    with pytest.raises(CheckpointError, match=r"config\.json is not valid"):
        EmotionClassifier.from_pretrained(saved)


@pytest.mark.parametrize(
    ("tower", "changes"),
    [
        ("text_cfg", {"hf_model_name": "org/model"}),
        ("text_cfg", {"width": 10**9}),
        ("text_cfg", {"width": 2**20, "heads": 2}),
        ("vision_cfg", {"timm_model_name": "hf-hub:org/model"}),
        ("vision_cfg", {"timm_model_name": "local-dir:/tmp/x"}),
        ("vision_cfg", {"width": 2**15, "layers": 200}),
        ("vision_cfg", {"layers": -1}),
    ],
)
def test_towers_from_elsewhere_and_of_absurd_size(
    saved: Path, tower: str, changes: dict[str, Any]
) -> None:
    path = saved / "config.json"
    config = json.loads(path.read_text())
    config["network"]["backbone"][tower].update(changes)
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config\.json is not valid"):
        EmotionClassifier.from_pretrained(saved)


def test_a_pickle_in_the_place_of_weights_does_not_run(saved: Path, tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    (saved / "model.safetensors").write_bytes(pickle.dumps(Malicious()) + bytes(2**23))
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        EmotionClassifier.from_pretrained(saved)
    assert not (tmp_path / "ran").exists()
