"""Everything that can be passed as clips means the same, and nothing is misread."""

from __future__ import annotations

import io
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from media_files import tone, write_clip, write_sound, write_video

from merclip import Audio, Clip, Clips, EmotionClassifier, Video
from merclip.errors import InputError, InputTypeError, NoModalityError
from merclip.inputs import as_clips, iter_clips, labels_in, with_media

pd = pytest.importorskip("pandas")

RATE = 16000
WORDS = "I can't believe you did that"


class MediaSet(NamedTuple):
    video: str
    mute: str
    sound: str
    frames: np.ndarray
    samples: np.ndarray


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> MediaSet:
    """Files of a video with sound, one without, a sound, and arrays."""
    folder = tmp_path_factory.mktemp("media")
    samples = tone(0.5, RATE, frequency=900.0)
    frames = np.random.default_rng(0).integers(0, 255, (4, 32, 40, 3), dtype=np.uint8)
    return MediaSet(
        write_clip(str(folder / "clip.mp4"), video={"n": 10}, sound={"rate": RATE}),
        write_video(str(folder / "mute.mp4"), n=10),
        write_sound(str(folder / "clip.wav"), samples=samples, rate=RATE),
        frames,
        samples[0],
    )


@pytest.fixture
def clf(tiny: Callable[..., EmotionClassifier]) -> EmotionClassifier:
    """Return a classifier whose (random) fusion takes in all modalities."""
    classifier = tiny(["happy", "sad", "angry"])
    classifier.network_.fusion_trained = True
    return classifier


def same(first: np.ndarray, *others: np.ndarray) -> None:
    """Assert that score arrays are equal but for rounding."""
    for other in others:
        assert other.shape == first.shape
        np.testing.assert_allclose(other, first, rtol=1e-4, atol=1e-6)


def differ(first: np.ndarray, second: np.ndarray) -> None:
    assert np.abs(first - second).max() > 1e-4


class DataSet:
    """What merclip needs of a Hugging Face data set: column names, rows by integer."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.column_names = list(rows[0])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            return [row[key] for row in self.rows]
        assert type(key) is int
        return self.rows[key]


# One clip ------------------------------------------------------------------------


def test_one_clip_by_position_keyword_dict_clip_and_row(
    clf: EmotionClassifier, media: MediaSet
) -> None:
    parts = {"video": media.mute, "audio": media.sound, "text": WORDS}
    expected = clf.predict_proba(media.mute, media.sound, WORDS)
    assert expected.shape == (1, 3)
    same(
        expected,
        clf.predict_proba(**parts),
        clf.predict_proba(media.mute, audio=media.sound, text=WORDS),
        clf.predict_proba(parts),
        clf.predict_proba(Clip(**parts)),
        clf.predict_proba(Clip(media.mute, media.sound, WORDS)),
        clf.predict_proba(pd.DataFrame([parts]).iloc[0]),
        clf.predict_proba(Path(media.mute), Path(media.sound), WORDS),
        clf.predict_proba({**parts, "speaker": "Rachel", "label": "sad", "idx": 3}),
    )


def test_each_modality_changes_the_scores(clf: EmotionClassifier, media: MediaSet) -> None:
    everything = clf.predict_proba(media.mute, media.sound, WORDS)
    differ(everything, clf.predict_proba(None, media.sound, WORDS))
    differ(everything, clf.predict_proba(media.mute, None, WORDS))
    differ(everything, clf.predict_proba(media.mute, media.sound))


def test_one_file_as_path_bytes_or_open_file(clf: EmotionClassifier, media: MediaSet) -> None:
    data = Path(media.video).read_bytes()
    expected = clf.predict_proba(media.video)
    with open(media.video, "rb") as opened:
        same(
            expected,
            clf.predict_proba(Path(media.video)),
            clf.predict_proba(data),
            clf.predict_proba(bytearray(data)),
            clf.predict_proba(memoryview(data)),
            clf.predict_proba(io.BytesIO(data)),
            clf.predict_proba(opened),
            clf.predict_proba(opened),
            clf.predict_proba(video=opened),
        )
        assert not opened.closed


def test_sound_as_file_tuple_audio_or_tensor(clf: EmotionClassifier, media: MediaSet) -> None:
    samples, whole = media.samples, np.round(media.samples * 32768).astype(np.int16)
    expected = clf.predict_proba(audio=(samples, RATE))
    same(
        expected,
        clf.predict_proba(audio=Audio(samples, rate=RATE)),
        clf.predict_proba(audio=(torch.tensor(samples), RATE)),
        clf.predict_proba(audio=(samples.tolist(), RATE)),
        clf.predict_proba(audio=(np.stack([samples, samples]), RATE)),
        clf.predict_proba(audio=[(samples, RATE)]),
    )
    for nearly in (whole, torch.tensor(whole)):
        np.testing.assert_allclose(clf.predict_proba(audio=(nearly, RATE)), expected, atol=0.02)
    file = clf.predict_proba(audio=media.sound)
    np.testing.assert_allclose(file, expected, atol=0.02)
    with open(media.sound, "rb") as opened:
        same(file, clf.predict_proba(audio=opened))


def test_frames_as_array_tensor_or_video(clf: EmotionClassifier, media: MediaSet) -> None:
    expected = clf.predict_proba(media.frames)
    same(
        expected,
        clf.predict_proba(video=media.frames),
        clf.predict_proba(torch.tensor(media.frames)),
        clf.predict_proba(media.frames / 255),
        clf.predict_proba(Video(media.frames, fps=10)),
        clf.predict_proba([media.frames]),
    )


def test_an_array_of_frames_is_one_video_with_or_without_text(
    clf: EmotionClassifier, media: MediaSet
) -> None:
    assert clf.predict_proba(media.frames, text=WORDS).shape == (1, 3)
    assert clf.predict_proba(media.frames, (media.samples, RATE), WORDS).shape == (1, 3)


# Batches -------------------------------------------------------------------------


@pytest.fixture
def rows(media: MediaSet) -> list[dict[str, Any]]:
    """Return clips with every kind of gap."""
    return [
        {"video": media.mute, "audio": media.sound, "text": WORDS},
        {"video": media.video, "audio": None, "text": "so sad"},
        {"video": None, "audio": media.sound, "text": None},
        {"video": None, "audio": None, "text": "hurray"},
    ]


def test_every_kind_of_batch_gives_the_same_scores(
    clf: EmotionClassifier, rows: list[dict[str, Any]]
) -> None:
    columns = {key: [row[key] for row in rows] for key in ("video", "audio", "text")}
    expected = clf.predict_proba(rows)
    assert expected.shape == (4, 3)
    frame = pd.DataFrame(rows)
    clips = [Clip(**row) for row in rows]
    same(
        expected,
        clf.predict_proba(**columns),
        clf.predict_proba(*columns.values()),
        clf.predict_proba(clips),
        clf.predict_proba(Clips(clips)),
        clf.predict_proba(Clips.from_columns(**columns)),
        clf.predict_proba(Clips(clips).to_frame()),
        clf.predict_proba(frame),
        clf.predict_proba(frame.set_axis([7, 7, 9, 1])),
        clf.predict_proba(np.array(rows, dtype=object)),
        clf.predict_proba(np.array(clips, dtype=object)),
        clf.predict_proba(DataSet(rows)),
        clf.predict_proba([row for _, row in frame.iterrows()]),
        clf.predict_proba(clf.encode(rows)),
    )


def test_a_batch_is_the_same_as_its_clips_one_by_one(
    clf: EmotionClassifier, rows: list[dict[str, Any]]
) -> None:
    one_by_one = np.concatenate([clf.predict_proba(row) for row in rows])
    same(clf.predict_proba(rows), one_by_one)


@pytest.mark.parametrize("gap", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT])
def test_missing_values_are_missing_modalities(clf: EmotionClassifier, gap: Any) -> None:
    expected = clf.predict_proba(text=["so sad", "hurray"])
    same(
        expected,
        clf.predict_proba([{"video": gap, "text": "so sad"}, {"audio": gap, "text": "hurray"}]),
        clf.predict_proba(video=[gap, gap], text=["so sad", "hurray"]),
        clf.predict_proba([Clip(video=gap, text="so sad"), Clip(audio=gap, text="hurray")]),
        clf.predict_proba(
            pd.DataFrame({"video": [gap, gap], "text": ["so sad", "hurray"], "start": [gap, gap]})
        ),
    )
    found = clf(video=gap, text="so sad")
    assert found.modalities_used == ("text",)


def test_text_as_list_series_and_array(clf: EmotionClassifier) -> None:
    words = ["so sad", "hurray"]
    expected = clf.predict_proba(text=words)
    same(
        expected,
        clf.predict_proba(text=pd.Series(words)),
        clf.predict_proba(text=pd.Series(words, index=[5, 2], dtype="category")),
        clf.predict_proba(text=np.array(words)),
        clf.predict_proba(text=np.array(words, dtype=object)),
        clf.predict_proba([{"text": word} for word in words]),
    )


def test_a_list_of_paths_is_a_batch_of_videos(clf: EmotionClassifier, media: MediaSet) -> None:
    paths = [media.video, media.mute]
    expected = clf.predict_proba([{"video": path} for path in paths])
    same(
        expected,
        clf.predict_proba(paths),
        clf.predict_proba(video=paths),
        clf.predict_proba([Path(path) for path in paths]),
        clf.predict_proba(np.array(paths)),
        clf.predict_proba(pd.Series(paths)),
        clf.predict_proba([Path(path).read_bytes() for path in paths]),
    )


def test_start_and_end_choose_a_span(clf: EmotionClassifier, media: MediaSet) -> None:
    whole = clf.predict_proba(media.video)
    row = {"video": media.video, "start": 0.2, "end": 0.4}
    part = clf.predict_proba(row)
    differ(whole, part)
    same(
        part,
        clf.predict_proba(Clip(media.video, start=0.2, end=0.4)),
        clf.predict_proba(pd.DataFrame([row])),
    )
    same(whole, clf.predict_proba(pd.DataFrame([{**row, "start": np.nan, "end": np.nan}])))


def test_a_video_brings_its_own_sound_unless_told_otherwise(
    clf: EmotionClassifier, media: MediaSet
) -> None:
    assert clf(media.video).modalities_used == ("video", "audio")
    assert clf(media.mute).modalities_used == ("video",)
    differ(clf.predict_proba(media.video), clf.predict_proba(media.video, media.sound))
    clf.set_params(use_video_audio=False)
    assert clf(media.video).modalities_used == ("video",)


def test_an_empty_batch_gives_no_rows(clf: EmotionClassifier) -> None:
    for empty in ([], Clips([]), np.array([], dtype=object), pd.DataFrame({"text": []})):
        assert clf.predict_proba(empty).shape == (0, 3)
        assert clf.predict(empty).shape == (0,)
        assert clf(empty) == []
    assert clf.predict(text=[]).shape == (0,)


# One in, one out; many in, many out --------------------------------------------------


def test_one_clip_gives_a_prediction_and_a_batch_gives_a_list(
    clf: EmotionClassifier, media: MediaSet
) -> None:
    single = [
        clf(media.video),
        clf(video=media.video),
        clf(Clip(text="hi")),
        clf({"text": "hi"}),
        clf(text="hi"),
        clf(media.frames),
        clf(audio=(media.samples, RATE)),
    ]
    assert all(prediction.label in ("happy", "sad", "angry") for prediction in single)
    batches = [
        clf([media.video]),
        clf(video=[media.video]),
        clf([Clip(text="hi")]),
        clf(Clips([Clip(text="hi")])),
        clf([{"text": "hi"}]),
        clf(text=["hi"]),
        clf(pd.DataFrame({"text": ["hi"]})),
        clf(clf.encode([{"text": "hi"}])),
    ]
    assert all(isinstance(batch, list) and len(batch) == 1 for batch in batches)
    assert clf.predict(text="hi").shape == (1,)


def test_predictions_carry_the_clips_name(clf: EmotionClassifier, media: MediaSet) -> None:
    frame = pd.DataFrame({"id": [10, 11], "text": ["a", "b"]})
    assert [found.id for found in clf(frame)] == ["10", "11"]
    assert clf(media.video).id == media.video
    assert clf(text="a").id is None


# Streams of clips --------------------------------------------------------------------


def test_predict_iter_takes_an_endless_generator(clf: EmotionClassifier) -> None:
    def endless() -> Iterator[dict[str, str]]:
        while True:
            yield {"text": "so sad"}

    found = clf.predict_iter(endless(), batch_size=2)
    expected = clf(text="so sad")
    for _ in range(5):
        assert dict(next(found)) == pytest.approx(dict(expected), rel=1e-4)


def test_iter_clips_takes_whatever_gives_clips(media: MediaSet) -> None:
    rows = [{"text": "a"}, {"text": "b"}]
    for source in (rows, iter(rows), pd.DataFrame(rows), DataSet(rows), Clips(map(dict, rows))):
        assert [clip.text for clip in iter_clips(source)] == ["a", "b"]
    mixed = iter_clips([Clip(text="a"), media.video, Path(media.video), media.frames])
    assert [clip.video is None for clip in mixed] == [True, False, False, False]


@pytest.mark.parametrize("one", ["clip.mp4", b"data", {"text": "a"}, Clip(text="a"), Path("x")])
def test_iter_clips_refuses_one_clip(one: Any) -> None:
    with pytest.raises(InputTypeError, match="put it in a list"):
        list(iter_clips(one))


def test_a_generator_is_no_batch_and_the_error_says_what_to_do(clf: EmotionClassifier) -> None:
    with pytest.raises(InputTypeError, match="generator.*given as a list"):
        clf.predict(row for row in [{"text": "a"}])


# Labels beside the clips --------------------------------------------------------------


def test_labels_are_found_beside_the_clips() -> None:
    rows = [{"text": "a", "label": "sad"}, {"text": "b", "label": "happy"}]
    for batch in (rows, np.array(rows, dtype=object), pd.DataFrame(rows), DataSet(rows)):
        assert labels_in(batch) == ["sad", "happy"]
    for without in (["a.mp4"], [{"text": "a"}], pd.DataFrame({"text": ["a"]}), Clips([]), []):
        assert labels_in(without) is None
    with pytest.raises(InputError, match="row 1 has none"):
        labels_in([{"text": "a", "label": "sad"}, {"text": "b"}])


def test_fit_and_score_take_the_labels_of_a_frame(
    tiny: Callable[..., EmotionClassifier],
) -> None:
    frame = pd.DataFrame({"text": ["so good", "so bad"] * 4, "label": ["happy", "sad"] * 4})
    clf = tiny(epochs=1).fit(frame)
    assert clf.classes_.tolist() == ["happy", "sad"]
    assert clf.score(frame) == clf.score(frame[["text"]], frame["label"])
    same(
        clf.predict_proba(frame),
        tiny(epochs=1).fit(frame.to_dict("records")).predict_proba(frame),
        tiny(epochs=1)
        .fit(frame["text"].map(lambda t: {"text": t}), frame["label"])
        .predict_proba(frame),
    )


# What is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "meant"),
    [("vidoe", "video"), ("Text", "text"), ("audios", "audio"), ("strat", "start")],
)
def test_a_misspelt_key_or_column_is_an_error(key: str, meant: str) -> None:
    row = {"video": "a.mp4", "audio": "a.wav", "text": "hi", "start": 0.0}
    row[key] = row.pop(meant)
    for batch in ([row], row, pd.DataFrame([row]), DataSet([row])):
        with pytest.raises(InputError, match=f"'{key}'; did you mean '{meant}'"):
            as_clips(batch)


def test_unknown_keys_are_ignored_beside_known_ones() -> None:
    row = {"text": "hi", "idx": 1, "ID": 2, "emotion": "joy", "context": "x", "texts": ["y"]}
    for batch in ([row], pd.DataFrame([row])):
        (clip,) = as_clips(batch).clips
        assert (clip.text, clip.video) == ("hi", None)


def test_a_row_without_any_modality_is_left_to_on_error() -> None:
    clips = as_clips([{"text": "a"}, {"id": "gone", "label": "sad"}, {}]).clips
    for clip in (clips[1], clips[2]):
        with pytest.raises(NoModalityError):
            with_media(clip)


@pytest.mark.parametrize("blank", ["", "   ", "\n"])
def test_blank_text_is_no_text(blank: str) -> None:
    with pytest.raises(NoModalityError):
        with_media(Clip(text=blank))
    assert with_media(Clip(video="a.mp4", text=blank)).text is None


Row = namedtuple("Row", ["video", "text"])


@pytest.mark.parametrize(
    "X",
    [
        {"text": ["a", "b"]},
        {"video": ["a.mp4"], "text": ["a"]},
        (["a.mp4"], ["a.wav"]),
        (["a.mp4"], ["a.wav"], ["a"]),
        ([np.zeros(3), np.zeros(4)], ["a"]),
        ("a.mp4", "a.wav", "a"),
        Row("a.mp4", "a"),
        [["a.mp4", "b.mp4"], ["a", "b"]],
    ],
)
def test_column_major_batches_are_refused_with_the_way_out(X: Any) -> None:
    with pytest.raises(InputTypeError, match="list of dicts"):
        as_clips(X)


def test_clips_and_parts_beside_them_are_refused() -> None:
    for X in (Clip(text="a"), Clips([]), {"text": "a"}, pd.DataFrame({"text": ["a"]})):
        with pytest.raises(InputTypeError, match="the first argument is a video"):
            as_clips(X, text="b")
    with pytest.raises(InputError, match="once"):
        as_clips("a.mp4", video="b.mp4")


def test_one_item_beside_a_list_is_refused() -> None:
    with pytest.raises(InputError, match=r"\['video'\] is not a list"):
        as_clips("a.mp4", text=["a", "b"])


def test_a_span_of_an_array_needs_its_frame_rate(media: MediaSet) -> None:
    with pytest.raises(InputError, match="fps"):
        with_media(Clip(media.frames, start=1.0))
    assert with_media(Clip(Video(media.frames, fps=2), start=1.0)).start == 1.0


def test_sound_in_hugging_faces_form_is_sound_with_its_rate(clf):
    array = np.sin(np.arange(8000) / 9).astype(np.float32)
    row = {"audio": {"array": array, "sampling_rate": 16000, "path": "a.wav"}}
    np.testing.assert_array_equal(clf.predict_proba([row]), clf.predict_proba(audio=(array, 16000)))


# Tables and data sets of other libraries -------------------------------------------------


def _tables(rows: list[dict[str, Any]]) -> Iterator[Any]:
    """Yield rows as polars and pyarrow have them."""
    polars, pyarrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    yield polars.DataFrame(rows)
    yield pyarrow.Table.from_pylist(rows)
    yield pyarrow.RecordBatch.from_pylist(rows)


def test_tables_of_polars_and_pyarrow_have_rows_as_pandas_has(
    clf: EmotionClassifier, rows: list[dict[str, Any]]
) -> None:
    expected = clf.predict_proba(rows)
    spans = [{"video": rows[1]["video"], "start": 0.2, "end": 0.4, "region": [0.0, 0.0, 1.0, 0.5]}]
    for table, span in zip(_tables(rows), _tables(spans), strict=True):
        same(expected, clf.predict_proba(table))
        assert len(clf(table)) == 4
        same(clf.predict_proba(spans), clf.predict_proba(span))
        with pytest.raises(InputTypeError, match="the first argument is a video"):
            clf.predict(table, text="hi")
    for on_error in ("nan", "skip"):
        clf.set_params(on_error=on_error)
        for table in _tables(rows):
            same(expected, clf.predict_proba(table))


def test_labels_beside_and_columns_of_polars_and_pyarrow(
    tiny: Callable[..., EmotionClassifier],
) -> None:
    polars, pyarrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"text": ["so good", "so bad"] * 4, "label": ["happy", "sad"] * 4})
    expected = tiny(epochs=1).fit(frame).predict_proba(frame)
    text, label = frame["text"].tolist(), frame["label"].tolist()
    for table in _tables(frame.to_dict("records")):
        clf = tiny(epochs=1).fit(table)
        assert clf.classes_.dtype.kind == "U"
        same(expected, clf.predict_proba(table))
    columns = [
        (polars.Series(text), polars.Series(label, dtype=polars.Categorical)),
        (pyarrow.array(text), pyarrow.array(label).dictionary_encode()),
        (pyarrow.chunked_array([text]), pyarrow.chunked_array([label])),
    ]
    for texts, labels in columns:
        clf = tiny(epochs=1).fit(frame[["text"]], labels)
        same(expected, clf.predict_proba(frame), clf.predict_proba(text=texts))
        assert clf.score(frame[["text"]], labels) == clf.score(frame)
        assert tiny(labels.unique()).classes_.tolist() == ["happy", "sad"]
    matrix = {"happy": [1, 0] * 4, "sad": [0, 1] * 4}
    several = {"multi_label": True, "epochs": 1}
    expected = tiny(**several).fit(frame[["text"]], pd.DataFrame(matrix)).predict_proba(frame)
    for y in (polars.DataFrame(matrix), pyarrow.table(matrix)):
        same(expected, tiny(**several).fit(frame[["text"]], y).predict_proba(frame))


@pytest.mark.parametrize("on_error", ["raise", "nan", "skip"])
def test_what_has_no_rows_is_refused_whatever_on_error_says(
    tiny: Callable[..., EmotionClassifier], on_error: str
) -> None:
    clf = tiny(["happy", "sad"], on_error=on_error)
    for X in (object(), 5, (row for row in [{"text": "a"}])):
        with pytest.raises(InputTypeError, match="video is a path"):
            clf.predict(X)
    with pytest.raises(InputTypeError, match="audio is a path"):
        clf.predict(audio=pd.DataFrame({"audio": ["a.wav"]}))
    polars = pytest.importorskip("polars")
    with pytest.raises(InputTypeError, match=r"LazyFrame has no rows yet: call collect\(\)"):
        clf.predict(polars.LazyFrame({"text": ["a"]}))


def test_columns_of_one_name_are_refused() -> None:
    twice = pd.DataFrame([["a", "b"]], columns=["text", "text"])
    for X in (twice, twice.rename(columns={"text": "label"}).assign(text="a")):
        with pytest.raises(InputError, match="2 columns called '(text|label)'"):
            as_clips(X)
    with pytest.raises(InputError, match="2 columns called 'label'"):
        labels_in(pd.DataFrame([["a", "b"]], columns=["label", "label"]))
    others = pd.DataFrame([["a", 1, 2]], columns=["text", "x", "x"])
    assert as_clips(others).clips[0].text == "a"
    levels = pd.DataFrame([["a", "b"]], columns=pd.MultiIndex.from_product([["text"], ["x", "y"]]))
    with pytest.raises(InputError, match="known are"):
        as_clips(levels)


# Hugging Face's data sets ------------------------------------------------------------------


@pytest.fixture
def media_data_sets(media: MediaSet, tmp_path: Path) -> Iterator[Any]:
    """Yield a column, the path of a file, and the feature that holds it, in each decode mode."""
    datasets = pytest.importorskip("datasets")
    picture = tmp_path / "face.png"
    pytest.importorskip("PIL.Image").fromarray(media.frames[0]).save(picture)
    kinds = [
        ("audio", media.sound, datasets.Audio),
        ("video", media.video, datasets.Video),
        ("video", str(picture), datasets.Image),
    ]
    return ((name, path, kind(decode=on)) for name, path, kind in kinds for on in (True, False))


def test_data_sets_of_media_are_read_in_every_decode_mode(
    clf: EmotionClassifier, media_data_sets: Any
) -> None:
    datasets = pytest.importorskip("datasets")
    for name, path, feature in media_data_sets:
        expected = clf.predict_proba([{name: path}])
        for value in (path, {"bytes": Path(path).read_bytes(), "path": None}):
            data = datasets.Dataset.from_dict({name: [value]}).cast_column(name, feature)
            stream = data.to_iterable_dataset()
            same(
                expected,
                clf.predict_proba(data),
                clf.predict_proba(data.with_format("numpy")),
                clf.predict_proba(**{name: data[name]}),
                clf.predict_proba(stream),
            )
            (answer,) = clf.predict_iter(stream)
            same(expected[0], np.array([answer[label] for label in clf.classes_]))
            assert answer.id == (path if value == path else None)


def test_rows_and_tables_of_a_data_set_are_read(
    clf: EmotionClassifier, media_data_sets: Any
) -> None:
    datasets = pytest.importorskip("datasets")
    for name, path, feature in media_data_sets:
        if feature.decode and not isinstance(feature, datasets.Image):
            continue  # its own decoders are a package that tests do not need
        expected = clf.predict_proba([{name: path}])
        data = datasets.Dataset.from_dict({name: [path]}).cast_column(name, feature)
        same(
            expected,
            clf.predict_proba(data[0]),
            clf.predict_proba([data[0]]),
            clf.predict_proba(**{name: data[0][name]}),
            clf.predict_proba(data.to_pandas()),
            clf.predict_proba(data.with_format("arrow")[:]),
        )


class Decoder:
    """What a data set makes of a file with torchcodec, and torchcodec by itself."""

    def __init__(self, samples: np.ndarray, path: str | None = None) -> None:
        self.samples = samples
        if path is not None:
            self._hf_encoded = {"bytes": None, "path": path}

    def get_all_samples(self) -> Any:
        assert not hasattr(self, "_hf_encoded")
        kind = namedtuple("AudioSamples", ["data", "sample_rate"])
        return kind(torch.tensor(self.samples)[None], RATE)


def test_sound_that_torchcodec_has_opened_is_read(clf: EmotionClassifier, media: MediaSet) -> None:
    same(
        clf.predict_proba(audio=media.sound),
        clf.predict_proba(audio=Decoder(media.samples, media.sound)),
        clf.predict_proba([{"audio": Decoder(media.samples, media.sound)}]),
    )
    expected = clf.predict_proba(audio=(media.samples, RATE))
    same(expected, clf.predict_proba(audio=Decoder(media.samples)))


def test_labels_that_a_data_set_numbers_have_their_names(
    tiny: Callable[..., EmotionClassifier],
) -> None:
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["sad", "happy"])
    columns = {"text": ["so good", "so bad"] * 4, "label": [1, 0] * 4}
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    data = datasets.Dataset.from_dict(columns, features=features)
    for form in (None, "numpy", "torch", "pandas", "polars", "arrow"):
        assert labels_in(data.with_format(form)) == ["happy", "sad"] * 4
        texts = [clip.text for clip in as_clips(data.with_format(form)).clips]
        assert texts == columns["text"]
    shouting = data.with_transform(lambda rows: {"text": [text.upper() for text in rows["text"]]})
    assert as_clips(shouting).clips[1].text == "SO BAD"
    assert labels_in(data.to_iterable_dataset()) == ["happy", "sad"] * 4
    assert labels_in(data.remove_columns("label")) is None
    expected = tiny(epochs=1).fit([{"text": t} for t in columns["text"]], ["happy", "sad"] * 4)
    for clf in (
        tiny(epochs=1).fit(data),
        tiny(epochs=1).fit(data.to_iterable_dataset()),
        tiny(epochs=1).fit(data, data["label"]),
    ):
        same(expected.predict_proba(data), clf.predict_proba(data))
        assert clf.score(data) == expected.score(data, ["happy", "sad"] * 4)
    assert tiny(names).labels_.names == ("sad", "happy")
    missing = datasets.Dataset.from_dict({**columns, "label": [1, -1] * 4}, features=features)
    assert labels_in(missing)[:2] == ["happy", None]
    with pytest.raises(InputTypeError, match=r"several data sets, \['train'\]: give one"):
        tiny(["happy", "sad"]).predict(datasets.DatasetDict({"train": data}))


def test_several_labels_that_a_data_set_numbers_have_their_names() -> None:
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["sad", "happy"])
    kind = getattr(datasets, "List", datasets.Sequence)
    features = datasets.Features({"text": datasets.Value("string"), "label": kind(names)})
    columns = {"text": ["a", "b"], "label": [[1, 0], []]}
    data = datasets.Dataset.from_dict(columns, features=features)
    assert labels_in(data) == [["happy", "sad"], []]


# Pictures of PIL -----------------------------------------------------------------------------


def test_pictures_of_pil_are_what_a_viewer_shows(clf: EmotionClassifier, media: MediaSet) -> None:
    image = pytest.importorskip("PIL.Image")
    array = media.frames[0]
    picture = image.fromarray(array)
    expected = clf.predict_proba(array)
    same(
        expected,
        clf.predict_proba(picture),
        clf.predict_proba([picture]),
        clf.predict_proba(video=picture),
        clf.predict_proba([{"video": picture}]),
        clf.predict_proba(picture.convert("RGBA")),
    )
    assert len(clf([picture, picture])) == 2
    turned = image.fromarray(np.rot90(array).copy())
    turned.getexif()[0x0112] = 6  # it is shown turned to the right
    same(expected, clf.predict_proba(turned))
    deep = array[..., 0].astype(np.uint16) * 257
    same(clf.predict_proba(array[..., :1]), clf.predict_proba(image.fromarray(deep)))
    for vague in (image.fromarray(deep.astype(np.int32)), image.fromarray(deep / np.float32(9))):
        with pytest.raises(InputError, match="which value is white"):
            clf.predict(vague)
