"""What users of neighbouring libraries complain of does not happen here.

`WISHES` numbers 27 complaints and names the tests that show each of them impossible; those
without a file are in this one.
"""

from __future__ import annotations

import ast
import gc
import io
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import media_files as mf
import numpy as np
import pytest
import torch
from hub_server import Hub
from packaging.requirements import Requirement
from safetensors.torch import load_file, save_file
from test_threads import at_once

import merclip
from conftest import TINY, make_clips
from merclip import Clip, EmotionClassifier, Video, engine, errors
from merclip.cli import main
from merclip.preprocess import PreprocessConfig, VisionConfig, faces, text

Maker = Callable[..., EmotionClassifier]
PACKAGE = Path(merclip.__file__).parent
ROOT = Path(__file__).parents[1]
HAPPY = ROOT / "examples" / "happy.mp4"
LABELS = ["happy", "sad", "angry"]

WISHES: dict[int, tuple[str, list[str]]] = {
    1: (
        "argmax of predict_proba is not what predict says",
        [
            "test_scoring.py::test_predict_is_the_argmax_of_the_columns_for_every_order_of_labels",
            "test_sklearn_contract.py::test_columns_and_predictions_agree_for_every_order_of_labels",
        ],
    ),
    2: (
        "which column is which class, and no top labels in bulk",
        [
            "test_02_the_top_labels_of_many_clips_are_those_of_the_named_columns",
            "test_results.py::test_predict_frame_has_one_column_for_each_class",
        ],
    ),
    3: (
        "a head that is missing is drawn at random",
        [
            "test_03_a_checkpoint_without_its_decoder_is_refused",
            "test_checkpoint.py::test_wrong_keys_and_shapes_are_all_named",
            "test_checkpoint.py::test_a_loaded_checkpoint_gives_the_same_logits",
        ],
    ),
    4: (
        "a new huggingface_hub breaks it",
        [
            "test_04_one_room_knows_huggingface_hub_and_nothing_knows_its_http_library",
            "test_04_an_http_library_of_another_name_is_no_fault",
            "test_also_versions_have_a_floor_and_hardly_a_ceiling",
        ],
    ),
    5: (
        "how do I load it without a network",
        [
            "test_hub.py::test_offline_with_a_cold_cache",
            "test_hub.py::test_environment_variables_are_honoured",
            "test_hub.py::test_the_second_load_needs_no_network",
            "test_cli_download.py::test_a_directory_that_needs_nothing_else",
            "test_mini.py::test_it_needs_no_network",
        ],
    ),
    6: (
        "another preparation of pictures after an offline load",
        [
            "test_06_pictures_are_prepared_as_saved_also_offline",
            "test_hub.py::test_clip_weights_come_from_the_hub_with_their_preprocessing",
        ],
    ),
    7: (
        "the activation depends on how the checkpoint is named",
        [
            "test_07_the_activation_is_in_the_config_whatever_a_folder_is_called",
            "test_clip_layouts.py::test_embeddings_are_those_of_transformers",
            "test_checkpoint.py::test_weights_that_do_not_belong_to_their_config_are_noticed",
        ],
    ),
    8: (
        "are these probabilities?",
        [
            "test_mini.py::test_it_says_what_it_used_and_whether_scores_are_calibrated",
            "test_scoring.py::test_the_fitted_temperature_undoes_a_wrong_scale",
            "test_training.py::test_calibration_alone_changes_no_label",
        ],
    ),
    9: (
        "text over 77 tokens fails, or is cut without a word",
        [
            "test_09_a_long_text_is_used_and_its_end_named",
            "test_09_a_long_label_is_refused_also_after_it_was_taken_with_a_warning",
            "test_labels.py::test_a_label_that_is_too_long_warns_with_the_lost_part",
        ],
    ),
    10: (
        "the model runs anew for each label",
        [
            "test_10_a_thousand_labels_are_encoded_once",
            "test_10_the_labels_used_last_are_kept_and_no_others",
            "test_10_threads_with_more_labels_than_are_kept",
        ],
    ),
    11: (
        "sound of a wrong rate gives wrong scores silently",
        [
            "test_bad_input.py::test_a_bare_sound_array_asks_for_its_rate",
            "test_inputs.py::test_sound_in_hugging_faces_form_is_sound_with_its_rate",
            "test_media.py::test_other_rate",
        ],
    ),
    12: (
        "torchcodec, torchaudio or FFmpeg cannot be installed",
        ["test_12_and_21_no_program_and_no_optional_package_is_needed"],
    ),
    13: (
        "rotated and mirrored video",
        [
            "test_13_a_turned_file_has_the_scores_of_its_upright_frames",
            "test_media.py::test_rotated_frames_are_upright",
            "test_media.py::test_jpeg_orientation",
        ],
    ),
    14: (
        "memory and time explode with long video, and it hangs without a message",
        [
            "test_14_ten_minutes_take_the_memory_of_a_minute",
            "test_bombs.py::test_hostile_files_take_little_memory",
            "test_fuzz.py::test_mutated_files",
            "test_on_error.py::test_a_long_run_without_a_bar_logs_lines",
        ],
    ),
    15: (
        "half of the model is on another device",
        [
            "test_15_every_tensor_is_on_the_one_device",
            "test_classifier.py::test_an_absent_device_names_those_that_there_are",
        ],
    ),
    16: (
        "a webcam, in real time",
        [
            "test_16_each_window_of_a_camera_is_answered_before_the_next",
            "test_inputs.py::test_predict_iter_takes_an_endless_generator",
        ],
    ),
    17: (
        "how good is it?",
        [
            "test_17_the_accuracy_on_each_data_set_is_told",
            "test_hub_upload.py::test_results_of_an_evaluation_stand_in_the_card",
        ],
    ),
    18: (
        "one picture without a face ends the whole batch",
        [
            "test_18_a_clip_without_a_face_and_a_broken_one_end_no_batch",
            "test_on_error.py::test_rows_line_up_or_are_left_out_in_every_call",
        ],
    ),
    19: (
        "batches are loops, and the face is looked for twice",
        ["test_19_a_batch_goes_through_the_encoders_once"],
    ),
    20: (
        "answers of several types, no JSON, and a string for labels",
        [
            "test_inputs.py::test_one_clip_gives_a_prediction_and_a_batch_gives_a_list",
            "test_results.py::test_real_predictions_are_json",
            "test_bad_input.py::test_a_lone_string_for_labels",
            "test_typing.py::test_strict_checking_sees_the_types_that_users_expect",
        ],
    ),
    21: (
        "the import fails as other packages move on",
        [
            "test_12_and_21_no_program_and_no_optional_package_is_needed",
            "test_structure.py::test_importing_loads_no_heavy_package",
        ],
    ),
    22: (
        "pickles of whole objects no longer load",
        [
            "test_checkpoint.py::test_a_directory_holds_config_weights_and_card_alone",
            "test_fuzz.py::test_a_pickle_in_the_place_of_weights_does_not_run",
            "test_clip_layouts.py::test_a_malicious_pickle_does_not_run",
        ],
    ),
    23: (
        "symbolic links fail",
        ["test_23_no_symbolic_link_is_needed", "test_23_links_and_read_only_folders_are_read"],
    ),
    24: (
        "the token does not reach every download",
        [
            "test_hub.py::test_model_and_backbone_both_come_from_the_hub_with_one_token",
            "test_hub.py::test_a_private_repository_needs_its_token",
        ],
    ),
    25: (
        "no prediction from embeddings, and paths are changed",
        [
            "test_classifier.py::test_features_serve_fit_and_predict",
            "test_25_odd_paths_are_opened_as_they_are",
        ],
    ),
    26: (
        "several inputs do not go through a grid search",
        [
            "test_sklearn_contract.py::test_any_container_goes_through_model_selection",
            "test_inputs.py::test_column_major_batches_are_refused_with_the_way_out",
        ],
    ),
    27: (
        "no answer for one's own raw video",
        [
            "test_27_the_first_example_takes_a_raw_file_and_prints_what_it_says",
            "test_docs.py::test_python_in_the_documentation_runs",
        ],
    ),
}

NOT_SHOWN = {
    4: "That it works on the oldest and the newest releases needs a job for each of them.",
    15: "Accelerators are tested where there is one: the test is skipped elsewhere.",
    17: "Whether a measure is good enough is for users to say; numbers are not measured anew here.",
}
"""What a run of these tests on one machine cannot show."""


def _tests_of(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def test_every_wish_has_tests_that_exist() -> None:
    assert list(WISHES) == list(range(1, 28))
    for _, tests in WISHES.values():
        assert tests
        for test in tests:
            file, _, name = test.rpartition("::")
            assert name in _tests_of(Path(__file__).with_name(file or Path(__file__).name)), test
    shown = {test for _, tests in WISHES.values() for test in tests}
    here = {name for name in _tests_of(Path(__file__)) if re.match(r"test_\d\d_", name)}
    assert here <= shown


@pytest.fixture(autouse=True)
def _untrained_fusion_is_no_news() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.ModalityWarning)
        yield


def calls_of(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[int]:
    """Record the length of the first argument of each call of a function."""
    function, calls = getattr(owner, name), []

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(len(args[-1]) if len(args) == 1 else len(args[0]))
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, counted)
    return calls


# Answers -------------------------------------------------------------------------------


def test_02_the_top_labels_of_many_clips_are_those_of_the_named_columns(tiny: Maker) -> None:
    pytest.importorskip("pandas")
    clf = tiny(LABELS)
    clips = [{"text": line} for line in ("so good", "oh no", "stop it", "hm")]
    frame = clf.predict_frame(clips)
    for (_, row), answer in zip(frame.iterrows(), clf(clips), strict=True):
        names = row[LABELS].astype(float).sort_values(ascending=False).index[:2].tolist()
        assert [name for name, _ in answer.top(2)] == names
        assert row["label"] == names[0]


def test_13_a_turned_file_has_the_scores_of_its_upright_frames(tiny: Maker, tmp_path: Path) -> None:
    how = {"pix_fmt": "yuv444p", "options": {"crf": "1"}, "n": 3, "rate": 5}
    turned = mf.write_video(tmp_path / "turned.mp4", rotation=90, **how)
    plain = mf.write_video(tmp_path / "plain.mp4", **how)
    clf = tiny(LABELS)
    frames = np.stack([np.rot90(mf.picture(index)) for index in range(3)])
    found = clf.predict_proba(turned)
    np.testing.assert_allclose(found, clf.predict_proba(Video(frames, fps=5)), atol=5e-3)
    assert np.abs(found - clf.predict_proba(plain)).max() > 5e-3


def test_16_each_window_of_a_camera_is_answered_before_the_next(tiny: Maker) -> None:
    clf, taken = tiny(LABELS), itertools.count(1)
    generator = np.random.default_rng(0)
    last = 0

    def windows() -> Iterator[Clip]:
        nonlocal last
        frames: list[np.ndarray] = []
        while True:
            frames = [*frames, generator.integers(0, 255, (48, 64, 3)).astype(np.uint8)][-4:]
            sound = generator.normal(size=3200).astype(np.float32) * 0.1
            last = next(taken)
            yield Clip(Video(np.stack(frames), fps=5), (sound, 16000))

    answers = clf.predict_iter(windows(), batch_size=1)
    for number in range(1, 6):
        assert next(answers).label in LABELS
        assert last == number


def test_18_a_clip_without_a_face_and_a_broken_one_end_no_batch(tiny: Maker) -> None:
    pytest.importorskip("cv2")
    blank = Video(np.full((3, 200, 300, 3), 90, np.uint8), fps=5)
    clf = tiny(LABELS, face="always", on_error="nan")
    found = clf([{"video": HAPPY}, {"video": blank}, {"video": "gone.mp4"}])
    assert [answer.faces for answer in found] == [12, 0, None]
    assert [answer.label is None for answer in found] == [False, False, True]
    assert [answer.error is None for answer in found] == [True, True, False]
    assert tiny(LABELS, face="always").predict([blank, blank]).shape == (2,)


def test_25_odd_paths_are_opened_as_they_are(tiny: Maker, tmp_path: Path) -> None:
    clf = tiny(LABELS)
    plain = mf.write_video(tmp_path / "a.mp4", n=3)
    expected = clf.predict_proba(plain)
    folder = tmp_path / "é %20 [x]" / "file:0"
    folder.mkdir(parents=True)
    for name in ("b c.mp4", "%03d.mp4", "-x.mp4", "üß.mp4", "no_suffix", "a#b?c=d.mp4"):
        odd = shutil.copy(plain, folder / name)
        np.testing.assert_array_equal(clf.predict_proba(odd), expected)
        assert clf(odd).id == str(odd)
    assert clf.save_pretrained(folder / "model") == folder / "model"
    loaded = EmotionClassifier.from_pretrained(folder / "model")
    np.testing.assert_allclose(loaded.predict_proba(plain), expected, atol=1e-5)


class Bucket:
    """An object of a store, as fsspec opens it: it reads and seeks, and is no real file."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, length: int = -1) -> bytes:
        return self._data.read(length)

    def seek(self, position: int, whence: int = 0) -> int:
        return self._data.seek(position, whence)

    def tell(self) -> int:
        return self._data.tell()


def test_also_objects_of_a_store_are_files(tiny: Maker, tmp_path: Path) -> None:
    path = mf.write_clip(tmp_path / "a.mp4", video={"n": 5})
    clf = tiny(LABELS)
    expected = clf.predict_proba(path)
    found = clf.predict_proba([Bucket(path.read_bytes()), path])
    np.testing.assert_allclose(found, np.repeat(expected, 2, axis=0), atol=1e-5)


# Words ---------------------------------------------------------------------------------


def test_09_a_long_text_is_used_and_its_end_named(tiny: Maker) -> None:
    clf, long = tiny(LABELS), "well, " * 36 + "goodbye " * 20
    with pytest.warns(errors.TextTooLongWarning, match="left out.*goodbye"):
        answer = clf(text=long)
    assert answer.modalities_used == ("text",) and "goodbye" in answer.warnings[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.TextTooLongWarning)
        with pytest.raises(errors.TextTooLongWarning):
            clf(text=long)


def test_09_a_long_label_is_refused_also_after_it_was_taken_with_a_warning(tiny: Maker) -> None:
    clf = tiny(["joy", "a face " * 60])
    with pytest.warns(errors.LabelTooLongWarning):
        clf.predict(text="hi")
    with pytest.raises(errors.LabelError, match="too long"):
        clf.set_params(on_long_label="raise").predict(text="hi")


def test_10_a_thousand_labels_are_encoded_once(
    tiny: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    clf = tiny([f"feeling {number}" for number in range(1000)])
    labels = calls_of(monkeypatch, clf.network_, "encode_labels")
    clips = calls_of(monkeypatch, clf.network_, "encode")
    assert clf.predict_proba(text="so good").shape == (1, 1000)
    clf.predict(text="oh no")
    clf(text=["hm", "ha"])
    # Before any fit, clips and labels are compared with typical ones, encoded once as well.
    assert labels == [1000, 7]
    assert [count for count in clips if count < 3] == [1, 1, 2] and len(clips) <= 5


def test_10_the_labels_used_last_are_kept_and_no_others(
    tiny: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    clf = tiny(LABELS)
    encoded = calls_of(monkeypatch, clf.network_, "encode_labels")
    for number in range(80):
        clf.predict(text="hi")
        clf.predict(text="hi", labels=[f"first {number}", f"second {number}"])
    assert encoded == [3, 7] + [2] * 80
    assert len(clf._ready().engine._labels) == 64
    clf.predict(text="hi", labels=["first 79", "second 79"])
    assert len(encoded) == 82
    clf.predict(text="hi", labels=["first 0", "second 0"])
    assert len(encoded) == 83


def test_10_threads_with_more_labels_than_are_kept(
    tiny: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_MOST_LABEL_SETS", 2)
    clf = tiny(LABELS)
    sets = [[f"word {number}", f"other {number}"] for number in range(5)]
    expected = [clf.with_labels(labels).predict_proba(text="hi") for labels in sets]

    def work(index: int) -> list[Any]:
        order = [(index + step) % 5 for step in range(25)]
        return [(i, clf.with_labels(sets[i]).predict_proba(text="hi")) for i in order]

    for number, found in itertools.chain.from_iterable(at_once(work)):
        np.testing.assert_allclose(found, expected[number], atol=1e-6)
    assert len(clf._ready().engine._labels) == 2


def test_also_memory_does_not_grow_with_the_number_of_calls(
    tiny: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_MOST_LABEL_SETS", 8)
    clf = tiny(LABELS)
    words = itertools.permutations("one two three four five six".split())

    def held_after(calls: int) -> int:
        for said in itertools.islice(words, calls):
            clf.predict(text=" ".join(said), labels=[" ".join(said), "other"])
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    held_after(20)
    tracemalloc.start()
    try:
        before = held_after(150)  # Python keeps small objects for later, up to a limit
        assert held_after(120) - before < 25_000
    finally:
        tracemalloc.stop()


def test_also_the_tokenizer_forgets_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_MOST_WORDS", 150)
    text._tokenizer.cache_clear()
    first = text.tokenize("zq0 hello").ids
    for number in range(400):
        text.tokenize(f"zq{number}x")
        assert len(text._tokenizer().cache) < 160
    assert torch.equal(text.tokenize("zq0 hello").ids, first)


def test_also_an_endless_run_does_not_remember_every_warning(
    tiny: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_MOST_SAID", 3)
    clf, sizes = tiny(LABELS), []
    read = engine.Engine._read

    def watched(*args: Any) -> Any:
        found = read(*args)
        sizes.append(len(args[-1]))
        return found

    monkeypatch.setattr(engine.Engine, "_read", watched)
    lines = [f"number {number // 2} " * 60 for number in range(20)]
    with pytest.warns(errors.TextTooLongWarning) as caught:
        assert len(list(clf.predict_iter({"text": line} for line in lines))) == 20
    assert sum(item.category is errors.TextTooLongWarning for item in caught) == 10
    assert max(sizes) == 3


# Models and files -----------------------------------------------------------------------


def test_03_a_checkpoint_without_its_decoder_is_refused(
    tiny: Maker, clips_and_labels: Any, tmp_path: Path
) -> None:
    clips, y = clips_and_labels
    folder = tiny(epochs=1).fit(clips, y).save_pretrained(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("decoder.")}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors")
    with pytest.raises(errors.CheckpointError, match=r"decoder\."):
        EmotionClassifier.from_pretrained(folder)


def test_04_one_room_knows_huggingface_hub_and_nothing_knows_its_http_library() -> None:
    for path in PACKAGE.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        modules |= {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
        assert not {name.split(".")[0] for name in modules} & {"requests", "httpx", "httpx2"}
        hub = {name for name in modules if name.startswith("huggingface_hub")}
        assert hub <= {"huggingface_hub", "huggingface_hub.errors"}
        assert not hub or path.parent.name == "hub"
        assert "use_auth_token" not in path.read_text(encoding="utf-8")


def test_04_an_http_library_of_another_name_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.errors

    class Renamed(OSError):
        pass

    monkeypatch.setattr(huggingface_hub.errors, "HfHubHTTPError", Renamed)
    assert merclip.hub.access.network_error() is Renamed


def test_06_pictures_are_prepared_as_saved_also_offline(
    tiny: Maker, tmp_path: Path, only_this_machine: None
) -> None:
    vision = VisionConfig(n_frames=3, mean=(0.2, 0.3, 0.4), std=(0.5, 0.6, 0.7))
    clf = tiny(LABELS, preprocess=PreprocessConfig(image_size=32, vision=vision))
    clip = make_clips(1)[0][0]
    (expected,) = clf.encode([Clip(clip.video)])
    folder = clf.save_pretrained(tmp_path / "model")
    loaded = EmotionClassifier.from_pretrained(folder, local_files_only=True)
    (found,) = loaded.encode([Clip(clip.video)])
    torch.testing.assert_close(found.sequences["V"], expected.sequences["V"])
    (other,) = tiny(LABELS).encode([Clip(clip.video)])
    assert not torch.allclose(other.sequences["V"], expected.sequences["V"], atol=1e-3)


def test_07_the_activation_is_in_the_config_whatever_a_folder_is_called(tmp_path: Path) -> None:
    found = {}
    for quick in (True, False):
        clf = EmotionClassifier(
            LABELS,
            model={**TINY, "quick_gelu": quick},
            pretrained="random",
            network={"decoder": {"heads": 2}},
            random_state=0,
        )
        found[quick] = clf.predict_proba(text="so good")
        for name in ("laion2b", "ViT-B-32-quickgelu-openai"):
            folder = clf.save_pretrained(tmp_path / str(quick) / name)
            loaded = EmotionClassifier.from_pretrained(folder)
            assert loaded.backbone_["quick_gelu"] is quick
            np.testing.assert_array_equal(loaded.predict_proba(text="so good"), found[quick])
    assert np.abs(found[True] - found[False]).max() > 1e-4


def test_23_no_symbolic_link_is_needed(
    hub: Hub, tiny: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(os, "symlink", refuse)
    monkeypatch.setattr(os, "link", refuse)
    clf = tiny(LABELS)
    folder = clf.save_pretrained(tmp_path / "model")
    hub.commit("org/tiny", {path.name: path.read_bytes() for path in folder.iterdir()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # huggingface_hub's, of links that it lacks
        first = EmotionClassifier.from_pretrained("org/tiny")
        second = EmotionClassifier.from_pretrained("org/tiny", local_files_only=True)
    expected = clf.predict_proba(text="so good")
    np.testing.assert_allclose(first.predict_proba(text="so good"), expected, atol=1e-6)
    np.testing.assert_allclose(second.predict_proba(text="so good"), expected, atol=1e-6)


def test_23_links_and_read_only_folders_are_read(tiny: Maker, tmp_path: Path) -> None:
    clf = tiny(LABELS)
    folder, links = clf.save_pretrained(tmp_path / "model"), tmp_path / "links"
    links.mkdir()
    for path in folder.iterdir():
        try:
            (links / path.name).symlink_to(path)
        except OSError:
            pytest.skip("links need a privilege here")
    links.chmod(0o555)
    loaded = EmotionClassifier.from_pretrained(links)
    expected = clf.predict_proba(text="so good")
    np.testing.assert_allclose(loaded.predict_proba(text="so good"), expected, atol=1e-6)


_WITHOUT = """
import sys
for name in {absent!r}:
    sys.modules[name] = None
from merclip import EmotionClassifier
import merclip.cli, merclip.datasets, merclip.evaluation
from merclip.errors import MissingExtraError
clf = EmotionClassifier(["happy", "sad", "angry"], face="never")
print(clf({clip!r}).modalities_used)
for call in (lambda: clf.predict_frame(text="hi"), lambda: clf.set_params(face="always")({clip!r})):
    try:
        call()
    except MissingExtraError as error:
        print(error)
"""


def test_12_and_21_no_program_and_no_optional_package_is_needed(tmp_path: Path) -> None:
    absent = ["pandas", "matplotlib", "cv2", "h5py", "transformers", "timm", "torchvision"]
    absent += ["torchcodec", "requests", "PIL", "soundfile", "librosa", "jinja2", "ffmpeg"]
    clip = str(mf.write_clip(tmp_path / "a.mp4"))
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT.format(absent=absent, clip=clip)],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    used, frame, face = done.stdout.splitlines()
    assert used == "('video', 'audio')"
    clone = 'pip install -e ".[{}]" in a clone of merclip'
    assert clone.format("pandas") in frame and clone.format("face") in face


def test_also_versions_have_a_floor_and_hardly_a_ceiling() -> None:
    named = [Requirement(line) for line in requires("merclip") or []]
    capped = {item.name for item in named if "<" in str(item.specifier)}
    assert capped == {"torch", "mkdocs"}
    core = [item for item in named if item.marker is None]
    assert core and all(">=" in str(item.specifier) for item in core)


# Time, memory, devices ----------------------------------------------------------------


_PEAK = """
import resource, sys
from merclip.media import read_media
read_media(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
media = read_media(sys.argv[2])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, len(media.frames))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_14_ten_minutes_take_the_memory_of_a_minute(tmp_path: Path) -> None:
    paths = []
    for seconds in (60, 600):
        # All frames would take 35 MB, and all sound at 16 kHz as much again.
        how = {"codec": "mpeg4", "n": seconds, "rate": 1, "size": (120, 160), "gop": 100}
        sound = {"samples": mf.tone(seconds, 4000), "rate": 4000, "codec": "pcm_s16le"}
        path = mf.write_clip(tmp_path / f"{seconds}.mkv", video=how, sound=sound)
        paths.append(str(path))
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, *paths], capture_output=True, text=True, check=True
    )
    more, n_frames = map(int, done.stdout.split())
    assert n_frames == 12
    assert more < 30


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_15_every_tensor_is_on_the_one_device(
    tiny: Maker, clips_and_labels: Any, device: str
) -> None:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device, True):
        pytest.skip(f"this machine has no {device}")
    clips, y = clips_and_labels
    clf = tiny(LABELS[::2], device=device, epochs=1).fit(clips, y)
    assert set(clf.predict(clips)) <= set(y)
    network = clf.network_
    tensors = [*network.parameters(), *network.buffers(), *clf._ready().engine._labels.values()]
    assert {tensor.device.type for tensor in tensors} == {device} == {clf.device_.type}


def test_19_a_batch_goes_through_the_encoders_once(
    tiny: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cv2")
    clips = [{"video": Video(np.full((2, 96, 96, 3), n, np.uint8), fps=5)} for n in range(6)]
    clf = tiny(LABELS, face="always")
    encoded = calls_of(monkeypatch, clf.network_, "encode")
    towers = calls_of(monkeypatch, clf.network_.encoders["V"], "forward")
    searched: list[int] = []
    crops = faces.FaceFinder.crops
    monkeypatch.setattr(faces.FaceFinder, "crops", lambda *a: searched.append(1) or crops(*a))
    assert len(clf(clips)) == 6
    assert encoded[0] == 6 and towers[0] == 12 and len(searched) == 6
    typical = encoded[1:]  # of clips that an untrained fusion is compared with
    assert len(list(clf.predict_iter(clips))) == 6
    assert encoded == [6, *typical, 6]


# What the documentation says --------------------------------------------------------------


def test_17_the_accuracy_on_each_data_set_is_told() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    accuracy = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    card = (PACKAGE / "weights" / "mini" / "README.md").read_text(encoding="utf-8")
    header = "| part        | clips | majority | accuracy | balanced |"
    for name in ("FER2013", "photographs", "RAVDESS", "GoEmotions", "MELD"):
        (row,) = re.findall(rf"^\| {name.lower()} +\|.*$", accuracy.split("###")[0], re.MULTILINE)
        assert row in card
        measures = [cell.strip() for cell in row.split("|")[3:6]]
        (told,) = re.findall(rf"^\| \w+: .*{name}.*$", readme, re.MULTILINE)
        assert [cell.strip() for cell in told.split("|")[3:6]] == measures
        assert f"mini_{name.lower()}_confusion.png" in accuracy
    assert header in accuracy and header in card
    for picture in re.findall(r"\((pictures/\S+)\)", accuracy):
        assert (ROOT / "docs" / picture).is_file()


def test_27_the_first_example_takes_a_raw_file_and_prints_what_it_says(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mini_loaded_once: None,
) -> None:
    pytest.importorskip("cv2")
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (_, command), (_, printed) = blocks[:2]
    words = shlex.split(command[command.index("merclip predict") :])
    assert main(words[1:]) == 0
    assert capsys.readouterr().out.split() == printed.split()
