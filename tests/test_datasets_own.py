"""Data of one's own, and what all data sets share."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from merclip import EmotionClassifier
from merclip.datasets import load_clips
from merclip.errors import DatasetNotFoundError, InputError, LabelError, MerclipWarning
from merclip.evaluation import evaluate


def write_table(tmp_path, text: str, name: str = "data.csv"):
    for media in ("a.mp4", "b.mp4", "c.wav"):
        (tmp_path / media).write_bytes(b"x")
    (tmp_path / "empty.mp4").write_bytes(b"")
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_file_with_groups_and_parts(tmp_path):
    path = write_table(
        tmp_path,
        "video,audio,text,start,end,label,who,part\n"
        'a.mp4,,"oh, no",1.5,3,sad,ann,train\n'
        "b.mp4,c.wav,,,,happy,bob,dev\n"
        "lost.mp4,,hi,,,happy,bob,test\n"
        "empty.mp4,,hi,,,happy,bob,test\n"
        "a.mp4,,hi,,,,ann,train\n"
        ",,,,,sad,ann,train\n",
    )
    data = load_clips(path, group="who", split="part")
    assert data.y.tolist() == ["sad", "happy"]
    assert data.labels == ("happy", "sad")
    assert data.groups.tolist() == ["ann", "bob"]
    assert data.splits.tolist() == ["train", "valid"]
    first = data.clips[0]
    assert (first.video, first.text) == (str(tmp_path / "a.mp4"), "oh, no")
    assert (first.start, first.end, first.id) == (1.5, 3.0, "data.csv line 2")
    assert data.report.n_rows == 6
    assert data.report["file missing"] == ("data.csv line 4",)
    assert data.report["file empty"] == ("data.csv line 5",)
    assert data.report["no label"] == ("data.csv line 6",)
    assert "6 rows, 2 clips: 1 missing, 1 undecodable, 2 excluded" in str(data.report)


def test_json_lines_with_several_labels(tmp_path):
    rows = [{"text": "a", "label": ["x", "y"]}, {"text": "b", "label": []}]
    rows.append({"text": "c", "label": ["y"]})
    path = write_table(tmp_path, "\n".join(map(json.dumps, rows)), "data.jsonl")
    data = load_clips(path, multi_label=True)
    assert data.y.tolist() == [("x", "y"), (), ("y",)]
    assert data.labels == ("x", "y")
    assert data.select([2]).y.tolist() == [("y",)]


def test_one_label_each_still_makes_one_column(tmp_path):
    path = write_table(tmp_path, "text,label\na,x\nb,y\n")
    assert load_clips(path, multi_label=True).y.tolist() == [("x",), ("y",)]


@pytest.mark.parametrize("above", ["", "train"])
def test_a_folder_for_each_class(tmp_path, above):
    for label in ("happy", "sad"):
        folder = tmp_path / above / label
        folder.mkdir(parents=True)
        (folder / "1.mp4").write_bytes(b"x")
        (folder / "2.txt").write_text("oh", encoding="utf-8")
        (folder / "notes.pdf").write_bytes(b"x")
        (folder / "._1.mp4").write_bytes(b"x")
    data = load_clips(tmp_path)
    assert data.y.tolist() == ["happy", "happy", "sad", "sad"]
    assert data.clips[1].text == "oh"
    assert len(data.report["neither media nor text"]) == 2
    assert (data.splits is None) == (above == "")
    with pytest.raises(InputError, match="no groups"):
        data.folds()


def test_windows_bytes_are_read(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes("text,label\nit’s fine,calm\n".encode("cp1252"))
    assert load_clips(path).clips[0].text == "it’s fine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text,lable\na,x\n", "did you mean 'label'"),
        ("text,emotion\na,x\n", "it needs label"),
        ("txt,text,label,vidio\n,a,x,b\n", "did you mean 'video'"),
        ("sound,label\na,x\n", "a clip has at least one of"),
        ("text,label\na,b,x\n", "line 2 has more fields"),
        ("text,label\na\n", "line 2 has fewer fields"),
        ("text,start,label\na,soon,x\n", "line 2: start is 'soon'"),
        ("text,start,end,label\na,3,2,x\n", "line 2: end does not lie after start"),
        ('text,label\n"a,x\n', "line 2 is not valid CSV"),
    ],
)
def test_a_wrong_table_is_said_with_its_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_clips(write_table(tmp_path, text))


def test_wrong_json_parts_and_groups(tmp_path):
    with pytest.raises(InputError, match="line 2 is not JSON"):
        load_clips(write_table(tmp_path, '{"text": "a", "label": "x"}\n{', "a.jsonl"))
    path = write_table(tmp_path, "text,label,part,who\na,x,later,\n")
    with pytest.raises(InputError, match="'later' is not train, valid or test"):
        load_clips(path, split="part")
    with pytest.raises(InputError, match="nothing in the column 'who'"):
        load_clips(path, group="who")


def test_nothing_there(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="check the path"):
        load_clips(tmp_path / "nowhere.csv")
    with pytest.raises(FileNotFoundError, match="No clip is left"):
        load_clips(write_table(tmp_path, "video,label\nlost.mp4,x\n"))


def test_parts_and_folds_never_share_a_group(tmp_path):
    lines = "".join(f"word,{'xy'[i % 2]},speaker{i % 5}\n" for i in range(20))
    data = load_clips(write_table(tmp_path, f"text,label,who\n{lines}"), group="who")
    folds = data.folds(5)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(20))
    for train, test in folds:
        assert not set(data.groups[train]) & set(data.groups[test])
    with pytest.raises(InputError, match="5 groups give 2 to 5 folds"):
        data.folds(6)
    with pytest.raises(InputError, match="no official split"):
        data.split("train")
    assert len(data.select(data.y == "x")) == 10
    assert "20 clips" in repr(data)


def test_a_data_set_goes_into_a_classifier(tmp_path, tiny):
    lines = "".join(f"{'good' if i % 2 else 'bad'} day {i},{'xy'[i % 2]}\n" for i in range(8))
    data = load_clips(write_table(tmp_path, f"text,label\n{lines}"))
    clf = tiny(data.labels, epochs=1).fit(data.clips, data.y)
    assert clf.evaluate(data.clips, data.y).n_clips == 8


# A data set in place of clips, labels and groups --------------------------------------


@pytest.fixture
def whole(tmp_path):
    """Return a data set of 15 clips with speakers and parts."""
    lines = [
        f"{word} {number},{label},{speaker},{part}"
        for number, (speaker, part) in enumerate(
            [("ann", "train"), ("bob", "train"), ("cid", "train"), ("dan", "dev"), ("eve", "test")]
        )
        for word, label in [("so good", "happy"), ("so bad", "sad"), ("well", "flat")]
    ]
    path = write_table(tmp_path, "\n".join(["text,label,who,part", *lines]))
    return load_clips(path, group="who", split="part")


def test_fit_takes_a_data_set_with_its_parts_and_groups(tiny, whole):
    settings = {"epochs": 3, "lr": 3e-3}
    found = tiny(**settings).fit(whole)
    taught = whole.select(whole.splits != "test")
    by_hand = tiny(**settings, validation=taught.splits == "valid")
    by_hand.fit(taught.clips, taught.y)
    assert found.history_ == by_hand.history_
    assert found.history_[0]["val_score"] is not None
    expected = by_hand.predict_proba(whole.clips)
    np.testing.assert_array_equal(found.predict_proba(whole), expected)
    # Without a part for validation groups stay whole, as fit(groups=) keeps them.
    train = whole.split("train")
    share = {**settings, "validation": 0.34}
    by_groups = tiny(**share).fit(train.clips, train.y, groups=train.groups)
    assert tiny(**share).fit(train).history_ == by_groups.history_
    # What the user says about validation goes first; a mask may be of all clips.
    nothing = tiny(**settings, validation=0.0).fit(whole)
    assert nothing.history_[0]["val_score"] is None
    masked = tiny(**settings, validation=whole.splits == "valid").fit(whole)
    assert masked.history_ == found.history_
    # What stands beside all of its clips is cut as they are.
    weights = np.linspace(1, 2, 15)
    beside = {"y": whole.y.tolist(), "sample_weight": weights, "groups": list(whole.groups)}
    by_hand.fit(taught.clips, taught.y, sample_weight=weights[whole.splits != "test"])
    assert tiny(**settings).fit(whole, **beside).history_ == by_hand.history_
    with pytest.raises(InputError, match="sample_weight needs one entry for each of 12"):
        tiny(**settings).fit(whole, sample_weight=weights[:5])


def test_every_method_takes_a_data_set(tiny, whole):
    classifier = tiny(whole.labels)
    expected = classifier.predict_proba(whole.clips)
    features = classifier.encode(whole)
    for proba in (classifier.predict_proba(whole), classifier.predict_proba(features)):
        np.testing.assert_array_equal(proba, expected)
    assert classifier.predict(whole).tolist() == classifier.predict(whole.clips).tolist()
    assert len(classifier(whole)) == len(list(classifier.predict_iter(whole))) == 15
    assert len(classifier.predict_frame(whole)) == 15
    np.testing.assert_array_equal(
        classifier.decision_function(whole), classifier.decision_function(whole.clips)
    )
    assert classifier.score(whole) == classifier.score(whole.clips, whole.y)
    assert classifier.check_precision(whole).n_clips == 15
    report = classifier.evaluate(whole)
    by_hand = evaluate(classifier, whole.clips, whole.y, groups=whole.groups, data=whole)
    assert report.to_dict() == by_hand.to_dict()
    assert report.with_intervals().to_dict() == by_hand.with_intervals().to_dict()
    train = whole.split("train")
    one, other = tiny(whole.labels).partial_fit(whole), tiny(whole.labels)
    other.partial_fit(train.clips, train.y)
    np.testing.assert_array_equal(one.predict_proba(whole), other.predict_proba(whole))
    calibrated = tiny(whole.labels, tune="none").fit(whole)
    assert calibrated.calibration_["labels"] == sorted(whole.labels)


def test_a_data_set_with_several_labels_is_learned_from(tiny, tmp_path):
    path = write_table(tmp_path, "text,label\ngood,happy\nbad,sad|angry\nwell,\ngreat,happy\n")
    data = load_clips(path, multi_label=True)
    classifier = tiny(multi_label=True, epochs=1).fit(data)
    assert classifier.classes_.tolist() == ["angry", "happy", "sad"]
    assert classifier.predict(data).shape == (len(data), 3)
    assert 0 <= classifier.score(data) <= 1


ROWS = "text,label\nI love it,happy\nI hate it,sad\n"


@pytest.mark.parametrize(
    "data",
    [
        ROWS.replace(",", ";").encode(),
        ROWS.replace(",", "\t").encode(),
        ROWS.replace(",", "|").encode(),
        b"sep=;\r\n" + ROWS.replace(",", ";").encode(),
        ROWS.encode("utf-8-sig"),
        ROWS.replace(",", "\t").encode("utf-16"),
        ROWS.encode("utf-16-be"),
        ROWS.encode("utf-16-le"),
        ROWS.encode("utf-32"),
    ],
)
def test_delimiter_and_encoding_are_found(tmp_path, data):
    path = tmp_path / "data.csv"
    path.write_bytes(data)
    found = load_clips(path)
    assert [clip.text for clip in found.clips] == ["I love it", "I hate it"]
    assert found.y.tolist() == ["happy", "sad"]


def test_delimiter_and_encoding_are_named(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes("text#label\nлюблю#happy\nнет#sad\n".encode("cp1251"))
    assert load_clips(path, encoding="cp1251", delimiter="#").clips[0].text == "люблю"
    with pytest.raises(InputError, match="is not text in utf-8"):
        load_clips(path, encoding="utf-8", delimiter="#")
    with pytest.warns(MerclipWarning, match="was read as Windows-1252"):
        load_clips(path, delimiter="#")


def test_a_cell_may_be_long(tmp_path):
    long = "so good " * 40_000
    path = write_table(tmp_path, f"text,label\n{long},happy\nno,sad\n")
    assert load_clips(path).clips[0].text == long.strip()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data.csv", "text,text,label\na,b,happy\n", "has 2 columns 'text'"),
        ("data.csv", "text,label,label\na,b,happy\n", "has 2 columns 'label'"),
        ("data.jsonl", '{"text": "a", "text": "b", "label": "x"}', "has 2 columns 'text'"),
        ("data.csv", "PK\x03\x04 workbook", "save it as CSV"),
        ("data.csv", "text;label\na; b;happy\n", "with a semicolon in quotes"),
        ("data.csv", "text,label\na,1.5\nb,2\n", "scores=True"),
    ],
)
def test_tables_that_are_refused(tmp_path, name, content, said):
    with pytest.raises(InputError, match=said):
        load_clips(write_table(tmp_path, content, name))


@pytest.mark.parametrize(
    ("written", "y"),
    [
        (("1", "0", "1"), [1, 0, 1]),
        (("1.0", "0.0", "1"), [1, 0, 1]),
        (("True", "false", "TRUE"), [True, False, True]),
        (("1", "0", "no"), ["1", "0", "no"]),
    ],
)
def test_labels_of_digits_or_booleans_are_those_of_python(tmp_path, written, y):
    rows = "".join(f"so,{label}\n" for label in written)
    data = load_clips(write_table(tmp_path, f"text,label\n{rows}"))
    assert data.y.tolist() == y and list(data.labels) == sorted(set(y))
    assert {type(value) for value in data.y.tolist()} == {type(value) for value in y}


def test_labels_of_digits_or_booleans_have_no_words(tmp_path):
    rows = "so good,1\nso bad,0\n" * 4
    data = load_clips(write_table(tmp_path, "text,label\n" + rows))
    with pytest.raises(LabelError, match="The label 0 has no words to encode"):
        EmotionClassifier(data.labels).evaluate(data)
    with pytest.raises(LabelError, match="no words to encode"):
        evaluate(EmotionClassifier(), data.clips, data.y, labels=data.labels)
    with pytest.warns(MerclipWarning, match="such labels have no words"):
        classifier = EmotionClassifier(epochs=10).fit(data)
    assert classifier.classes_.tolist() == [0, 1]
    assert classifier.score(data) == 1
    words = EmotionClassifier({1: "good", 0: "bad"})
    assert words.evaluate(data).metrics["accuracy"] == 1
    rows = rows.replace("1", "True").replace("0", "False")
    data = load_clips(write_table(tmp_path, "text,label\n" + rows))
    for ask in (EmotionClassifier().fit, EmotionClassifier(["good", "bad"]).evaluate):
        with pytest.raises(LabelError, match="[Gg]ive names"):
            ask(data)


def test_scores_on_another_scale(tmp_path):
    def scores(values, **options):
        rows = "".join(f"so,{value}\n" for value in values)
        path = write_table(tmp_path, f"text,label\n{rows}")
        return load_clips(path, scores=True, **options).y.tolist()

    assert scores([-3, 0, 1.5]) == [-3, 0, 1.5]
    assert scores([1, 5, 9], score_range=(1, 9)) == [-3, 0, 3]
    assert scores([0, 0.5, 1], score_range=(0, 1)) == [-3, 0, 3]
    assert scores([1, 2], score_range=(-3, 3)) == [1, 2]
    for values in ([1, 5, 9], [0, 0.5, 1], [-4, 2]):
        with pytest.raises(InputError, match=r"-3 \(negative\) to 3 \(positive\).*score_range"):
            scores(values)
    with pytest.raises(InputError, match="from 1 .* to 9"):
        scores([0, 5], score_range=(1, 9))


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_a_file_name_that_is_not_utf8(tmp_path):
    path = write_table(tmp_path, "")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")).write_bytes(b"x")
    path.write_bytes(b"audio,label\ncaf\xe9.wav,happy\n")
    with pytest.warns(MerclipWarning, match="Windows-1252"):
        (clip,) = load_clips(path).clips
    assert os.path.exists(clip.audio)
