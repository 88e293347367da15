"""The feature cache: nothing is encoded twice, and nothing that is kept can be wrong."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import secrets
import shutil
import signal
import time
import warnings

import numpy as np
import pytest
import torch
from media_files import clip_bytes, write_clip, write_video
from safetensors import safe_open
from sklearn.base import clone

from merclip import Audio, Clip, FeatureCache, Video, errors
from merclip.preprocess import Preprocessor, content
from merclip.preprocess.store import Store

LABELS = ["angry", "happy"]


@pytest.fixture
def reads(monkeypatch) -> list[str | None]:
    """Return a list to which the name of each clip that is read is added."""
    names: list[str | None] = []
    call = Preprocessor.__call__

    def counted(self, clip):
        names.append(clip.name)
        return call(self, clip)

    monkeypatch.setattr(Preprocessor, "__call__", counted)
    return names


@pytest.fixture
def cached(tiny, tmp_path):
    """Make a classifier that takes in all modalities, with a cache in ``cache``."""

    def make(**params):
        clf = tiny(LABELS, feature_cache=tmp_path / "cache", **params)
        clf.network_.fusion_trained = True
        return clf

    return make


def entries(tmp_path) -> list:
    return sorted((tmp_path / "cache").rglob("*.safetensors"))


def write_frames(path, level: int, *, seconds: int = 1) -> str:
    """Write a video without sound; two of them have the same size in bytes."""
    path.write_bytes(b"")
    write_video(str(path), "rawvideo", format="avi", n=seconds * 5, rate=5, size=(32, level))
    return str(path)


# With and without the cache -------------------------------------------------


def test_scores_are_the_same_to_the_bit(cached, reads, clips_and_labels):
    clips, _ = clips_and_labels
    plain = cached().set_params(feature_cache=None)
    expected = plain.predict_proba(clips)
    del reads[:]
    np.testing.assert_array_equal(cached().predict_proba(clips), expected)
    assert len(reads) == len(clips)
    np.testing.assert_array_equal(cached().predict_proba(clips), expected)
    found = [prediction.to_dict() for prediction in cached().predict_iter(clips)]
    assert found == [prediction.to_dict() for prediction in plain.predict_iter(clips)]
    assert len(reads) == 2 * len(clips)  # those of `plain`


def test_fit_encode_and_evaluate_share_what_was_encoded(tiny, tmp_path, reads, clips_and_labels):
    clips, y = clips_and_labels
    plain = tiny(epochs=1).fit(clips, y)
    cache = tmp_path / "cache"
    del reads[:]
    cold = tiny(epochs=1, feature_cache=cache).fit(clips, y)
    assert len(reads) == len(clips)
    warm = tiny(epochs=1, feature_cache=cache).fit(clips, y)
    for clf in (cold, warm):
        for ours, theirs in zip(
            clf.network_.parameters(), plain.network_.parameters(), strict=True
        ):
            assert torch.equal(ours, theirs)
    features = warm.encode(clips)
    report = warm.evaluate(clips, y)
    tiny(LABELS, tune="none", warm_start=True, feature_cache=cache)
    assert warm.set_params(tune="none", warm_start=True).fit(clips, y) is warm
    assert len(reads) == len(clips)
    assert report.to_dict() == plain.evaluate(clips, y).to_dict()
    for ours, theirs in zip(features, plain.encode(clips), strict=True):
        assert list(ours.sequences) == list(theirs.sequences) == ["L", "V", "A"]
        assert all(torch.equal(ours.sequences[i], theirs.sequences[i]) for i in "LVA")
        assert not any(part.is_inference() for part in ours.sequences.values())
        assert (ours.id, ours.warnings, ours.faces) == (theirs.id, theirs.warnings, theirs.faces)


def test_entries_are_tensors_in_float32(cached, tmp_path):
    cached().predict([{"text": "so good"}])
    (entry,) = entries(tmp_path)
    with safe_open(str(entry), "pt") as file:
        assert list(file.keys()) == ["L"]
        assert file.get_tensor("L").dtype == torch.float32


# What a clip is known by ----------------------------------------------------


def test_everything_that_changes_features_is_in_the_key(cached, reads, tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(str(path), video={"n": 25}, sound={"rate": 16000})
    base = {"video": str(path), "text": "so good"}
    changes = [{}, {"text": "so bad"}, {"text": None}, {"start": 0.2}, {"end": 0.5}]
    changes += [{"region": (0, 0, 0.5, 1)}, {"audio": str(path)}, {"video": None}]
    clips = [Clip(**{**base, **change}) for change in changes]
    ways = [{}, {"use_video_audio": False}, {"face": "always"}, {"dtype": "float16"}]
    for params in ways:
        cached(**params).predict(clips)
    assert len(reads) == len(ways) * len(clips)
    for params in ways:
        cached(**params).predict(clips)
    assert len(reads) == len(ways) * len(clips)


def test_the_fusion_and_preprocessing_are_in_the_key(tiny, reads, tmp_path):
    cache = tmp_path / "cache"
    for network in ({}, {"fusion": "LV"}, {"fusion": "VL"}, {"max_frames": 2}):
        clf = tiny(LABELS, feature_cache=cache, network=network)
        clf.network_.fusion_trained = True
        clf.predict([{"video": Video(np.zeros((3, 24, 32, 3), np.uint8), fps=5)}])
    assert len(reads) == 3  # the order of fusion does not change features


@pytest.mark.parametrize("way", ["in place", "data", "other seed"])
def test_one_other_weight_is_another_model(cached, reads, way):
    clf = cached()
    clf.predict([{"text": "so good"}])
    if way == "other seed":
        clf = cached(random_state=1)
    weight = list(clf.network_.encoders["L"].parameters())[-1]
    with torch.no_grad():
        if way == "in place":  # between the few that Features are told apart by
            weight.flatten()[1] += 1e-3
        elif way == "data":
            weight.data += 1e-3
    clf.predict([{"text": "so good"}])
    assert len(reads) == 2
    clf.predict([{"text": "so good"}])
    assert len(reads) == 2


def test_training_the_encoders_leaves_the_cache_behind(tiny, reads, tmp_path, clips_and_labels):
    clips, y = clips_and_labels[0][:4], clips_and_labels[1][:4]
    clf = tiny(LABELS, feature_cache=tmp_path / "cache", tune="full", epochs=1, lr=0.1)
    clf.encode(clips)
    clf.fit(clips, y)
    del reads[:]
    expected = clf.set_params(feature_cache=None).predict_proba(clips)
    found = clf.set_params(feature_cache=tmp_path / "cache").predict_proba(clips)
    np.testing.assert_array_equal(found, expected)
    assert len(reads) == 8


def test_encoders_may_change_between_two_answers(cached, reads):
    clf = cached(batch_size=1)
    answers = clf.predict_iter({"text": "so good"} for _ in range(3))
    first = dict(next(answers))
    with torch.no_grad():
        for weight in clf.network_.encoders["L"].parameters():
            weight += 0.1
    second, third = dict(next(answers)), dict(next(answers))
    assert first != second == third
    assert len(reads) == 2


def test_a_file_is_known_by_its_content(cached, reads, tmp_path):
    clf = cached()
    path, copy = tmp_path / "a.avi", tmp_path / "b.avi"
    write_frames(path, 32)
    clf.predict(str(path))
    shutil.copy(path, copy)
    assert clf(str(copy)).id == str(copy)
    os.utime(path, (1, 1))
    clf.predict(path)
    assert len(reads) == 1
    size, stamp = path.stat().st_size, path.stat().st_mtime_ns
    content = bytearray(path.read_bytes())
    content[-2000:-1000] = bytes(1000)
    path.write_bytes(content)
    os.utime(path, ns=(stamp, stamp))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (size, stamp)
    clf.predict(str(path))
    assert len(reads) == 2


def test_hashes_of_files_are_remembered_but_for_files_just_written(cached, tmp_path, monkeypatch):
    path = write_frames(tmp_path / "a.avi", 32)
    hashed = []
    digest = content._digest_of
    monkeypatch.setattr(content, "_digest_of", lambda file: hashed.append(1) or digest(file))
    cached().predict([path, path])
    assert len(hashed) == 2
    monkeypatch.setattr(content, "_SETTLED_SECONDS", -10.0)
    cached().predict(path)
    cached().predict([path, path])
    assert len(hashed) == 3
    for note in (tmp_path / "cache").rglob("*.sha256"):
        note.write_bytes(b"torn")
    cached().predict(path)
    assert len(hashed) == 4


def test_a_file_that_changes_while_it_is_read_is_not_kept(cached, tmp_path, monkeypatch):
    path = tmp_path / "a.avi"
    write_frames(path, 32)
    call = Preprocessor.__call__

    def late(self, clip):
        with open(path, "ab") as file:
            file.write(b"more")
        return call(self, clip)

    monkeypatch.setattr(Preprocessor, "__call__", late)
    cached().predict(str(path))
    assert not entries(tmp_path)


def test_arrays_and_bytes_are_known_by_their_values(cached, reads):
    clf = cached()
    frames = np.zeros((3, 24, 32, 3), np.uint8)
    sound = np.full(8000, 0.1, np.float32)
    other = frames.copy()
    other[-1, -1, -1, -1] = 1
    louder = sound.copy()
    louder[-1] = 0.2
    data = clip_bytes(video={"n": 5}, sound={"rate": 16000})
    clips = [
        *(Clip(video=Video(array, fps=5)) for array in (frames, other, frames[:, :, ::2])),
        *(Clip(audio=(array, rate)) for array in (sound, louder) for rate in (8000, 16000)),
        Clip(video=data),
    ]
    clf.predict(clips)
    assert len(reads) == len(clips)
    again = [
        Clip(video=torch.tensor(frames)),
        Clip(video=Video(frames / 255, fps=5)),
        Clip(audio=Audio(sound[None], rate=8000)),
        Clip(video=bytearray(data)),
        Clip(video=io.BytesIO(data)),
    ]
    clf.predict(again)
    assert len(reads) == len(clips) + 1  # a bare array has no rate of its own
    assert clf(Clip(video=Video(frames, fps=5), id="named")).id == "named"


class Pipe(io.RawIOBase):
    """A stream that can be read once."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self.file.readinto(buffer)


def test_streams_and_generators_are_used_once(cached, reads, tmp_path):
    data = clip_bytes(video={"n": 5}, sound={"rate": 16000})
    expected = cached(batch_size=1).set_params(feature_cache=None)(data)
    seekable = io.BytesIO(data)
    seekable.seek(7)
    clips = ({"video": stream} for stream in (Pipe(data), seekable, io.BytesIO(data)))
    found = list(cached().predict_iter(clips, batch_size=1))
    assert [dict(prediction) for prediction in found] == [dict(expected)] * 3
    assert seekable.tell() == 7
    assert len(reads) == 3  # without the cache, the pipe, one of the two
    assert len(entries(tmp_path)) == 1


# Warnings, faces and errors -------------------------------------------------


def test_warnings_are_given_again_with_the_right_name(cached, reads, tmp_path):
    write_clip(str(tmp_path / "a.mp4"), container_options={"movflags": "faststart"})
    whole = (tmp_path / "a.mp4").read_bytes()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    long = "word " * 100
    clips = [Clip(video=str(tmp_path / "a.mp4"), text=long), Clip(text=long)]

    def warned(X):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = cached()(X)
        return [item.warnings for item in found], [(w.category, str(w.message)) for w in caught]

    first = warned(clips)
    assert first == warned(clips)
    assert {kind for kind, _ in first[1]} == {errors.DecodeWarning, errors.TextTooLongWarning}
    assert len(reads) == 2
    (moved,) = warned([Clip(video=str(tmp_path / "b.mp4"), text=long)])[0]
    assert any("b.mp4" in message for message in moved)
    assert not any("a.mp4" in message for message in moved)


def test_faces_are_kept_and_looked_for_only_where_wanted(cached, reads):
    pytest.importorskip("cv2")
    blank = Clip(video=Video(np.full((3, 100, 120, 3), 90, np.uint8), fps=5))
    for face, faces in (("always", 0), ("never", None), ("always", 0)):
        assert cached(face=face)(blank).faces == faces
    assert len(reads) == 2


def test_errors_are_as_without_and_are_not_kept(cached, reads, tmp_path):
    path = tmp_path / "clip.mp4"
    rows = [{"text": "so good"}, {"video": str(path)}, {"text": "so bad"}, {"text": " "}]
    for _ in range(2):
        clf = cached(on_error="nan")
        path.unlink(missing_ok=True)
        proba = clf.predict_proba(rows)
        assert np.isnan(proba).any(axis=1).tolist() == [False, True, False, True]
        assert "MediaNotFoundError" in clf(rows)[1].error
        path.write_bytes(b"garbage")
        assert "DecodeError" in clf(rows)[1].error
        assert len(cached(on_error="skip").predict(rows)) == 2
        with pytest.raises(errors.DecodeError, match=r"Row 1: .*clip\.mp4"):
            cached().predict(rows)
    assert len(entries(tmp_path)) == 2
    assert sorted({name for name in reads if name}) == [str(path)]
    assert len([name for name in reads if name is None]) == 2  # each text once
    path.write_bytes(clip_bytes(video={"n": 5}))
    assert cached(on_error="nan")(rows)[1].error is None


# Damage ---------------------------------------------------------------------


def damage(kind: str, content: bytes, other: bytes) -> bytes:
    if kind == "torn":
        return content[: len(content) // 2]
    if kind in ("header", "numbers", "last"):
        position = {"header": 30, "numbers": len(content) - 400, "last": len(content) - 1}[kind]
        return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
    return {"empty": b"", "garbage": b"x" * 99, "of another clip": other}[kind]


@pytest.mark.parametrize(
    "kind", ["torn", "empty", "garbage", "header", "numbers", "last", "of another clip"]
)
def test_a_damaged_entry_is_no_entry(cached, reads, tmp_path, kind):
    clf = cached()
    expected = clf.predict_proba([{"text": "so good"}])
    (entry,) = entries(tmp_path)
    clf.predict([{"text": "quite another text"}])
    (other,) = set(entries(tmp_path)) - {entry}
    entry.write_bytes(damage(kind, entry.read_bytes(), other.read_bytes()))
    np.testing.assert_array_equal(clf.predict_proba([{"text": "so good"}]), expected)
    assert len(reads) == 3
    clf.predict([{"text": "so good"}])
    assert len(reads) == 3


def test_every_flipped_byte_is_noticed(cached, tmp_path):
    from merclip.preprocess.cache import _unpack

    cached().predict([{"text": "so good"}])
    (entry,) = entries(tmp_path)
    content = entry.read_bytes()
    assert _unpack(content, entry.stem, [None, None]) is not None
    generator = np.random.default_rng(0)
    for position in generator.integers(0, len(content), 300):
        changed = bytearray(content)
        changed[position] ^= 1 << generator.integers(8)
        assert _unpack(bytes(changed), entry.stem, [None, None]) is None, position


def test_a_run_that_is_stopped_goes_on_where_it_was(cached, reads, clips_and_labels):
    clips, _ = clips_and_labels
    expected = cached(batch_size=4).set_params(feature_cache=None).predict_proba(clips)
    del reads[:]
    run = cached(batch_size=4).predict_iter(clips)
    for _ in range(5):
        next(run)
    run.close()
    kept = [f"clip{number}" for number in range(8)]  # two batches, both whole
    assert set(kept) <= set(reads)  # threads may have read a few clips ahead of them
    del reads[:]
    np.testing.assert_array_equal(cached(batch_size=4).predict_proba(clips), expected)
    assert sorted(reads + kept) == sorted(f"clip{number}" for number in range(len(clips)))


def test_a_write_that_is_interrupted_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    store, name = Store(tmp_path, 1000), f"{'0' * 64}.safetensors"
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.write(name, b"abc")
    assert store.read(name) is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def _write_for_ever(folder: str) -> None:
    store = Store(folder, 200_000)
    while True:
        for number in range(40):
            store.write(f"{number:064x}.x", bytes([number]) * 10_000)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_processes_that_write_at_once_and_are_killed(tmp_path):
    context = multiprocessing.get_context("fork")  # the children use no torch
    writers = [context.Process(target=_write_for_ever, args=(tmp_path,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    reader, found, stop = Store(tmp_path, 200_000), 0, time.monotonic() + 10
    while found < 300 and time.monotonic() < stop:
        for number in range(40):
            content = reader.read(f"{number:064x}.x")
            assert content in (None, bytes([number]) * 10_000)
            found += content is not None
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    assert found >= 300
    whole = list(tmp_path.rglob("*.x"))
    assert all(path.stat().st_size == 10_000 for path in whole)
    # Each process may be over by a sixteenth, and by the entry that makes it look.
    assert 10_000 * len(whole) <= 200_000 * (1 + 3 / 16) + 3 * 10_000
    reader.write(f"{99:064x}.x", b"x" * 10_000)
    assert 10_000 * len(list(tmp_path.rglob("*.x"))) <= 200_000


# The limit ------------------------------------------------------------------


def names(count: int) -> list[str]:
    return [f"{secrets.token_hex(32)}.safetensors" for _ in range(count)]


def test_the_least_recently_used_leave_first(tmp_path):
    store = Store(tmp_path, 100)
    first, second, *others = names(12)
    store.write(first, b"x" * 10)
    store.write(second, b"x" * 10)
    for name in others[:8]:
        store.write(name, b"x" * 10)
    assert store.read(first) is not None
    store.write(others[8], b"x" * 10)
    assert store.read(second) is None
    assert store.read(first) is not None and store.read(others[8]) is not None
    store.write(others[9], b"x" * 101)
    assert store.read(others[9]) is None


def test_a_folder_never_grows_over_its_limit(cached, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "model.safetensors").write_bytes(b"x" * 100_000)
    clf = cached().set_params(feature_cache=FeatureCache(tmp_path / "cache", max_bytes=20_000))
    most = 0
    for number in range(30):
        clf.predict([{"text": f"text {number}"}])
        kept = [path for path in entries(tmp_path) if path.name != "model.safetensors"]
        most = max(most, sum(path.stat().st_size for path in kept))
    assert 10_000 < most <= 20_000
    assert (tmp_path / "cache" / "model.safetensors").exists()


def test_what_killed_processes_left_is_removed(tmp_path):
    (name,) = names(1)
    old, young = (tmp_path / name[:2] / f"{name}.{c * 16}.part" for c in "ab")
    old.parent.mkdir()
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    Store(tmp_path, 100).write(names(1)[0], b"x")
    assert young.exists() and not old.exists()


# The parameter --------------------------------------------------------------


def test_the_parameter_is_checked_at_first_use(tiny, tmp_path):
    for value, error in ((5, errors.InputTypeError), ("", errors.InputError)):
        clf = tiny(LABELS, feature_cache=value)
        with pytest.raises(error, match="feature cache is the path"):
            clf.predict(text="hi")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(errors.InputError, match="cannot be made.*another directory"):
        tiny(LABELS, feature_cache=tmp_path / "file").predict(text="hi")


@pytest.mark.parametrize("limit", [0, -1, "1 GB", True, float("nan"), float("inf")])
def test_a_limit_is_a_number_of_bytes(limit):
    with pytest.raises(errors.InputError, match="max_bytes"):
        FeatureCache("x", max_bytes=limit)


def test_cloning_and_pickling_keep_it(tiny, tmp_path, reads):
    cache = FeatureCache(tmp_path, max_bytes=5e6)
    clf = tiny(LABELS, feature_cache=cache)
    clf.predict([{"text": "hi"}])
    typical = len(reads) - 1  # clips that an untrained fusion compares with, for each classifier
    for other in (clone(clf), pickle.loads(pickle.dumps(clf))):
        assert other.get_params()["feature_cache"] == cache
        other.predict([{"text": "hi"}])
    assert len(reads) == 1 + 3 * typical


def test_a_cache_that_cannot_be_written_to_warns_once(cached, tmp_path, monkeypatch):
    def full(self, name, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "_write", full)
    clf = cached()
    with pytest.warns(errors.CacheWarning, match="No space left") as caught:
        clf.predict([{"text": "hi"}, {"text": "ho"}])
    assert len(caught) == 1


def test_the_commands_take_it(tmp_path, capsys, reads):
    from merclip.cli import main

    table = tmp_path / "data.csv"
    table.write_text("text,label\nso good,happy\nso bad,sad\n")
    option = ["--feature-cache", str(tmp_path / "cache")]
    assert main(["evaluate", str(table), *option]) == 0
    assert len(reads) == 2
    assert main(["predict", "--text", "so good", "--labels", "a", "b", *option]) == 0
    assert main(["fit", str(table), "--out", str(tmp_path / "m"), "--epochs", "1", *option]) == 0
    assert len(reads) == 2
    assert main(["info", *option]) == 2
