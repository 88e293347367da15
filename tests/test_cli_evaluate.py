"""``merclip evaluate``, as a user types it."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import sys

import pytest
from media_files import write_video

from conftest import TINY
from merclip.cli import main

TEXTS = {
    "happy": ["so glad to see you", "what a day", "we won", "lovely"],
    "sad": ["oh dear, he is gone", "I miss her", "so lonely", "all is lost"],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the directory of a tiny trained checkpoint with three labels."""
    from merclip import EmotionClassifier

    classifier = EmotionClassifier(
        ["happy", "sad", "angry"],
        model=TINY,
        pretrained="random",
        network={"decoder": {"heads": 2}},
        epochs=1,
        random_state=0,
    )
    classifier.fit([{"text": "so glad"}, {"text": "oh dear"}] * 2, ["happy", "sad"] * 2)
    return str(classifier.save_pretrained(tmp_path_factory.mktemp("model")))


@pytest.fixture
def merclip(capsys, monkeypatch, tmp_path, model):
    """Return a function that evaluates the tiny model in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MERCLIP_DEBUG", raising=False)

    def run(*arguments):
        status = main(["evaluate", *map(str, arguments), "--model", model])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


@pytest.fixture
def data(tmp_path):
    """Return a CSV file with four texts of two labels, by four speakers."""
    return write(tmp_path / "data.csv", "text,label,who", rows())


def rows():
    return [
        [text, label, f"speaker {index}"]
        for label, texts in TEXTS.items()
        for index, text in enumerate(texts)
    ]


def write(path, head, lines):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head.split(","))
        writer.writerows(lines)
    return path


def test_a_table_with_the_labels_of_the_data(merclip, data):
    status, out, err = merclip(data)
    assert (status, err) == (0, "")
    assert "# Evaluation: zero-shot\n\n8 clips, 2 labels." in out
    assert "| accuracy (WAR)" in out and "| balanced accuracy (UAR)" in out
    assert hashlib.sha256(data.read_bytes()).hexdigest() in out


def test_joined_labels_hint_at_the_option(merclip, tmp_path):
    lines = [["so glad", "happy|proud"], ["oh dear", "sad"]]
    data = write(tmp_path / "several.csv", "text,label", lines)
    status, _, err = merclip(data)
    assert status == 0 and err.count("\n") == 1
    assert err.startswith("merclip: hint: several.csv line 2: 'happy|proud' counts as one label")
    assert "--multi-label" in err and merclip(data, "--multi-label")[2] == ""


def test_columns_of_other_names(merclip, tmp_path, data):
    other = write(tmp_path / "meld.csv", "Utterance,Emotion,who", rows())
    status, _, err = merclip(other)
    assert status == 1 and "(--label-column and --text-column name others)" in err
    status, out, _ = merclip(
        other, "--label-column", "Emotion", "--text-column", "Utterance", "--json"
    )
    expected = json.loads(merclip(data, "--json")[1])["conditions"]
    assert status == 0 and json.loads(out)["conditions"] == expected


def test_a_misspelt_label_column_is_told_from_a_misspelt_header(merclip, data):
    status, _, err = merclip(data, "--label-column", "lable")
    assert status == 1 and "has no column 'lable'; did you mean 'label'?" in err


def test_json_is_what_the_library_gives(merclip, data, model):
    from merclip import EmotionClassifier
    from merclip.evaluation import zero_shot

    status, out, _ = merclip(data, "--labels", "happy", "sad", "angry", "--json")
    classifier = EmotionClassifier.from_pretrained(model)
    texts = [{"text": text} for text, _, _ in rows()]
    expected = zero_shot(classifier, texts, [label for _, label, _ in rows()], data=data)
    assert status == 0 and json.loads(out) == expected.to_dict()


def test_descriptions_and_a_prompt(merclip, data, tmp_path):
    texts = {"sad": "weeping", "happy": ["full of joy", "laughing"]}
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    given = ["--descriptions", "texts.json", "--prompt", "someone {}", "--format", "json"]
    _, out, _ = merclip(data, *given)
    assert json.loads(out)["labels"] == [
        {"name": "sad", "descriptions": ["weeping"]},
        {"name": "happy", "descriptions": ["full of joy", "laughing"]},
    ]
    assert json.loads(out)["prompt"] == ["someone {}"]


def test_other_names_of_labels_and_columns(merclip, tmp_path):
    lines = [[text, "joy" if label == "happy" else label] for text, label, _ in rows()]
    data = write(tmp_path / "data.csv", "text,labels", lines)
    given = ["--label-column", "labels", "--labels", "happy", "sad"]
    status, out, _ = merclip(data, *given, "--map", "joy=happy", "--json")
    assert status == 0
    counts = {c["name"]: c["support"] for c in json.loads(out)["conditions"][0]["per_class"]}
    assert counts == {"happy": 4, "sad": 4}
    status, _, err = merclip(data, *given)
    assert status == 1 and "data.csv line 2: the label 'joy'" in err


def test_k_shot(merclip, data):
    given = ["--protocol", "k-shot", "--shots", "1", "2", "--seeds", "0", "7"]
    status, out, _ = merclip(data, *given, "--group-column", "who")
    assert status == 0 and "zero-shot" in out and "2-shot" in out and "±" in out
    assert "4 clips in each test part" in out and "seeds 0, 7" in out
    again = merclip(data, *given, "--group-column", "who")
    assert again[1] == out


def test_files_of_a_report(merclip, data, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "new" / "report"
    status, printed, err = merclip(data, "--out", out)
    assert status == 0 and str(out) in err
    assert {path.name for path in out.iterdir()} == {
        "report.json",
        "report.md",
        "predictions.csv",
        "confusion.png",
        "calibration.png",
    }
    assert (out / "report.md").read_text(encoding="utf-8") == printed
    with open(out / "predictions.csv", newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 8 and found[0]["id"] == "data.csv line 2"
    assert found[0]["truth"] == "happy" and found[0]["predicted"] in TEXTS
    assert float(found[0]["happy"]) + float(found[0]["sad"]) == pytest.approx(1, abs=1e-5)


def test_without_matplotlib_there_are_no_pictures(merclip, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, err = merclip(data, "--out", tmp_path / "report")
    assert status == 0 and "no pictures were drawn" in err and 'pip install -e ".[plot]"' in err
    assert (tmp_path / "report" / "report.json").exists()
    assert not (tmp_path / "report" / "confusion.png").exists()


def test_clips_that_cannot_be_read(merclip, tmp_path):
    (tmp_path / "broken.mp4").write_text("no video")
    lines = [["", text, label] for text, label, _ in rows()]
    lines += [["broken.mp4", "hello", "sad"], ["missing.mp4", "hello", "sad"]]
    data = write(tmp_path / "data.csv", "video,text,label", lines)
    status, out, err = merclip(data)
    assert (status, out) == (1, "") and "data.csv line 11: there is no file" in err
    status, out, err = merclip(data, "--on-error", "skip", "--json")
    assert status == 0 and err.count("is left out") == 2
    found = json.loads(out)
    assert found["n_clips"] == 8
    assert [item["id"] for item in found["skipped"]] == ["data.csv line 10", "data.csv line 11"]
    data = write(tmp_path / "data.csv", "video,text,label", lines[:-1])
    status, out, err = merclip(data)
    assert (status, out) == (1, "") and err.startswith("merclip: error: data.csv line 10: ")


@pytest.mark.parametrize(
    ("content", "arguments", "expected", "said"),
    [
        ("", [], 1, "it needs label"),
        ("text,label\n", [], 1, "has no rows"),
        ("text,emotion\na,b\n", [], 1, "it needs label"),
        ("text,label\na,happy\n", ["--label-column", "emotion"], 1, "it needs emotion"),
        ("text,label\na,happy\nb,happy\n", [], 1, "one label 'happy'"),
        ("text,label\na,happy\nb,rage\n", ["--labels", "happy", "sad"], 1, "line 3"),
        ("text,label\na,happy\nb,sad\n", ["--map", "anger=angry"], 2, "anger"),
        ("text,label\na,happy\nb,sad\n", ["--map", "anger"], 2, "NAME=LABEL"),
        ("text,label\na,happy\nb,sad\n", ["--protocol", "k-shot"], 2, "has 1"),
        ("text,label\na,happy\nb,sad\n", ["--shots", "4"], 2, "--shots is for"),
        ("text,label\na,happy\nb,sad\n", ["--group-column", "x"], 2, "--group-column is for"),
        ("text,label\na,happy\nb,sad\n", ["--shots", "0"], 2, "--shots"),
        ("text,label\na,happy\nb,sad\n", ["--seeds", "-1"], 2, "--seeds"),
        ("text,label\na,happy\nb,sad\n", ["--prompt", "no braces"], 2, "'{}'"),
        ("text,label\na,happy\nb,sad\n", ["--out", "data.csv"], 2, "is a file"),
        (
            "text,label\na,happy\nb,sad\n",
            ["--protocol", "k-shot", "--group-column", "x"],
            1,
            "no 'x'",
        ),
    ],
)
def test_bad_input(merclip, tmp_path, content, arguments, expected, said):
    data = tmp_path / "data.csv"
    data.write_text(content)
    status, out, err = merclip(data, *arguments)
    assert (status, out) == (expected, "")
    assert said in err and err.count("\n") == 1


def test_pictures_as_labels(merclip, data, tmp_path):
    for label in ("happy", "sad", "calm"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        write_video(tmp_path / "faces" / label / "1.gif", "gif", pix_fmt="rgb8")
    status, out, err = merclip(data, "--anchors", "faces", "--json")
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert [item["name"] for item in report["labels"]] == ["calm", "happy", "sad"]
    assert report["model"]["predict_from"] == "anchors"
    assert report["model"]["anchors"] == dict.fromkeys(("calm", "happy", "sad"), 12)  # frames
    # A label without pictures has words alone.
    (tmp_path / "faces" / "sad").rename(tmp_path / "sad")
    status, _, err = merclip(data, "--anchors", "faces")
    assert status == 2 and "--predict-from anchors needs anchors, and ['sad'] have none" in err
    status, out, _ = merclip(data, "--anchors", "faces", "--predict-from", "both")
    assert status == 0
    assert "- compared with: both" in out and "- pictures: calm 12, happy 12" in out
    assert "pictures" not in merclip(data)[1]
    status, _, err = merclip(data, "--anchors", "nowhere")
    assert status == 2 and "--anchors 'nowhere' is no folder" in err
    status, _, err = merclip(data, "--anchors", "faces", "--protocol", "leave-one-out")
    assert status == 2 and "--anchors is for --protocol zero-shot" in err


def test_no_data(merclip):
    assert merclip("--labels", "a", "b")[0] == 2
    assert merclip("missing.csv")[0] == 2


def test_the_data_is_not_overwritten(merclip, tmp_path):
    data = write(tmp_path / "predictions.csv", "text,label,who", rows())
    status, _, err = merclip(data, "--out", tmp_path)
    assert status == 2 and "would overwrite DATA" in err


# Other protocols, kinds of labels, and data sets ---------------------------------------


def divided(tmp_path, name="parts.csv", label=lambda index: ("happy", "sad", "angry")[index % 3]):
    """Return a file of 24 texts with their speaker and part."""
    lines = [
        [f"{'so glad' if index % 3 else 'oh dear'} {index}", label(index), f"speaker {index // 4}",
         "train" if index < 12 else "dev" if index < 16 else "test"]
        for index in range(24)
    ]  # fmt: skip
    return write(tmp_path / name, "text,label,who,part", lines)


def names(out):
    return [condition["name"] for condition in json.loads(out)["conditions"]]


def test_supervised_on_parts_and_on_folds(merclip, tmp_path):
    data = divided(tmp_path)
    given = ["--protocol", "supervised", "--epochs", "1", "--seeds", "0", "1", "--json"]
    status, out, err = merclip(data, *given, "--split-column", "part", "--group-column", "who")
    found = json.loads(out)
    assert (status, err) == (0, "") and names(out) == ["zero-shot", "supervised"]
    runs = found["conditions"][1]["runs"]
    assert [(run["learned"], run["held_out"], run["n_clips"]) for run in runs] == [(12, 4, 8)] * 2
    assert found["data"]["file"] == "parts.csv" and found["data"]["clips"] == 24
    assert found["data"]["sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    status, out, _ = merclip(data, *given, "--group-column", "who", "--folds", "3")
    assert [run["fold"] for run in json.loads(out)["conditions"][1]["runs"]] == [0, 1, 2] * 2
    status, _, err = merclip(data, *given)
    assert status == 2 and "no groups" in err


def test_leave_one_out(merclip, tmp_path):
    data = divided(tmp_path)
    given = ["--protocol", "leave-one-out", "--split-column", "part", "--epochs", "1"]
    status, out, _ = merclip(data, *given, "--seeds", "0", "--leave-out", "sad", "--json")
    assert status == 0 and names(out) == ["zero-shot", "without sad", "leave-one-out"]
    assert "harmonic_mean" in json.loads(out)["conditions"][-1]["metrics"]


def test_another_file_is_learned_from(merclip, tmp_path):
    data = divided(tmp_path)
    train = divided(tmp_path, "train.csv", lambda index: ("joy", "sad", "bored")[index % 3])
    given = ["--train", train, "--epochs", "1", "--seeds", "0", "--json"]
    status, out, err = merclip(data, "--protocol", "cross-corpus", *given, "--map", "joy=happy")
    found = json.loads(out)
    assert (status, err) == (0, "") and names(out) == ["zero-shot", "cross-corpus"]
    assert [item["name"] for item in found["labels"]] == ["happy", "sad"]
    assert found["n_clips"] == 32 and found["data"]["train"]["file"] == "train.csv"
    status, out, _ = merclip(data, "--protocol", "supervised", *given, "--map", "joy=happy")
    assert status == 0 and names(out) == ["zero-shot", "supervised"]


def test_wordings_and_modalities(merclip, tmp_path, data):
    texts = {"word": ["happy", "sad"], "sentence": {"happy": "full of joy", "sad": ["weeping"]}}
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    given = ["--protocol", "wordings", "--wordings", "texts.json", "--json"]
    status, out, _ = merclip(data, *given)
    assert status == 0 and names(out) == ["word", "sentence"]
    data = divided(tmp_path)
    given = ["--protocol", "modalities", "--fit", "each", "--epochs", "1", "--seeds", "0"]
    status, out, _ = merclip(data, *given, "--split-column", "part", "--json")
    assert status == 0 and names(out) == ["text"]


def test_several_labels(merclip, tmp_path):
    labels = ("happy", "happy|angry", "", "sad")
    data = divided(tmp_path, label=lambda index: labels[index % 4])
    out = tmp_path / "report"
    given = ["--multi-label", "--protocol", "supervised", "--split-column", "part", "--epochs", "1"]
    status, printed, _ = merclip(data, *given, "--seeds", "0", "--out", out, "--intervals", "20")
    assert status == 0 and "| accuracy (Jaccard, empty 0)" in printed
    assert re.search(r"95% interval over \d+ clips", printed)
    with open(out / "predictions.csv", newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert {row["condition"] for row in found} == {
        f"{name}{at}" for name in ("zero-shot", "supervised") for at in ("", " at 0.5", " at 0.6")
    }
    assert {row["truth"] for row in found} == {"happy", "angry|happy", "", "sad"}
    assert not (out / "confusion.png").exists()


def test_scores_are_sentiment(merclip, tmp_path):
    data = divided(tmp_path, label=lambda index: (-2, 0, 1.5, 3)[index % 4])
    status, out, _ = merclip(data, "--scores", "--split-column", "part", "--format", "csv")
    found = {row["measure"]: row for row in csv.DictReader(out.splitlines())}
    assert status == 0 and float(found["neutral_truth"]["mean"]) == 0.25
    texts = {"negative": "a sad person", "positive": "a happy person"}
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    status, out, _ = merclip(data, "--scores", "--descriptions", "texts.json", "--json")
    assert status == 0 and json.loads(out)["kind"] == "sentiment"
    assert json.loads(out)["labels"][1]["descriptions"] == ["a happy person"]


def test_scores_on_another_scale(merclip, tmp_path):
    data = divided(tmp_path, label=lambda index: (1, 5, 6, 9)[index % 4])
    status, out, err = merclip(data, "--scores")
    assert (status, out) == (2, "") and "from 1 to 9: " in err and "--score-range 1 9" in err
    given = ["--scores", "--score-range", "1", "9", "--format", "csv"]
    status, out, _ = merclip(data, *given)
    found = {row["measure"]: row for row in csv.DictReader(out.splitlines())}
    assert status == 0 and float(found["neutral_truth"]["mean"]) == 0.25


@pytest.mark.parametrize("names", [("0", "1"), ("True", "False")])
def test_labels_that_are_no_words(merclip, tmp_path, names):
    lines = [["so glad", names[0]], ["oh dear", names[1]]]
    data = write(tmp_path / "data.csv", "text,label", lines)
    status, out, err = merclip(data)
    assert (status, out) == (2, "") and "--map 0=sad 1=happy" in err
    status, out, _ = merclip(data, "--map", f"{names[0]}=happy", f"{names[1]}=sad", "--json")
    found = {label["name"] for label in json.loads(out)["labels"]}
    assert status == 0 and found == {"happy", "sad"}
    (tmp_path / "texts.json").write_text(json.dumps({names[0]: "happy", names[1]: "sad"}))
    status, out, _ = merclip(data, "--labels-file", tmp_path / "texts.json", "--json")
    assert status == 0 and json.loads(out)["labels"][0]["descriptions"] == ["happy"]


def test_k_shot_on_parts(merclip, tmp_path):
    data = divided(tmp_path)
    given = ["--protocol", "k-shot", "--shots", "2", "--seeds", "0", "--epochs", "1", "--json"]
    status, out, _ = merclip(data, *given, "--split-column", "part", "--intervals", "10")
    found = json.loads(out)
    assert status == 0 and found["conditions"][1]["runs"][0]["n_clips"] == 8
    assert found["conditions"][1]["intervals"]["accuracy"]["lower"] is not None


def test_a_data_set_and_a_folder_of_ones_own(merclip, tmp_path):
    head = (
        "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,"
        "StartTime,EndTime"
    )
    for part, count in (("train", 8), ("dev", 2), ("test", 4)):
        lines = [
            f'1,"hello {i}",Ross,{("joy", "anger")[i % 2]},positive,{i},0,1,1,'
            '"00:00:00,000","00:00:02,000"'
            for i in range(count)
        ]
        (tmp_path / f"{part}_sent_emo.csv").write_text("\n".join([head, *lines]) + "\n")
    given = ["--dataset", "meld", "--use", "text", "--json"]
    status, out, err = merclip(tmp_path, *given)
    found = json.loads(out)
    assert status == 0 and found["n_clips"] == 4 and len(found["labels"]) == 7
    assert found["data"]["name"] == "MELD" and "14 rows, 14 clips" in err
    given += ["--protocol", "supervised", "--epochs", "1", "--seeds", "0"]
    status, out, _ = merclip(tmp_path, *given)
    assert json.loads(out)["conditions"][1]["runs"][0]["learned"] == 8
    for label in ("happy", "sad"):
        (tmp_path / "own" / label).mkdir(parents=True)
        (tmp_path / "own" / label / "1.txt").write_text("hello")
    status, out, _ = merclip(tmp_path / "own", "--json")
    assert status == 0 and json.loads(out)["n_clips"] == 2
    status, _, err = merclip(tmp_path / "own", "--dataset", "ravdess")
    assert status == 2 and "zenodo" in err


def test_an_error_names_the_line_also_of_what_is_learned_from(merclip, tmp_path):
    (tmp_path / "broken.mp4").write_text("no video")
    data = write(tmp_path / "data.csv", "video,text,label", [["", t, n] for t, n, _ in rows()])
    lines = [["", "hello", "happy"], ["broken.mp4", "", "sad"], ["", "bye", "sad"]]
    train = write(tmp_path / "train.csv", "video,text,label", lines)
    given = ["--protocol", "cross-corpus", "--train", train, "--seeds", "0"]
    status, out, err = merclip(data, *given)
    assert (status, out) == (1, "") and err.startswith("merclip: error: train.csv line 3: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--protocol", "cross-corpus"], "needs --train"),
        (["--protocol", "wordings"], "needs --wordings"),
        (["--protocol", "wordings", "--wordings", "missing.json"], "cannot be read"),
        (["--protocol", "wordings", "--wordings", "data.csv"], "not JSON"),
        (["--protocol", "wordings", "--wordings", "list.json"], "no mapping"),
        (["--protocol", "wordings", "--wordings", "list.json", "--labels", "a"], "--labels does"),
        (["--train", "data.csv"], "--train is for --protocol supervised or cross-corpus"),
        (["--folds", "2"], "--folds is for"),
        (["--fit", "each"], "--fit is for"),
        (["--epochs", "2"], "--epochs is for"),
        (["--leave-out", "sad"], "--leave-out is for"),
        (["--baselines"], "--baselines is for"),
        (["--protocol", "supervised", "--train-dataset", "meld"], "goes with --train"),
        (["--protocol", "supervised", "--train", "data.csv", "--folds", "2"], "--folds divides"),
        (["--target", "emotion"], "--target is for --dataset"),
        (["--dataset", "meld", "--group-column", "who", "--intervals", "9"], "is for a file"),
        (["--multi-label", "--scores"], "not allowed with"),
        (["--scores"], "label is 'happy' and not a number"),
        (["--score-range", "1", "9"], "--score-range is for --scores"),
        (["--split-column", "nowhere"], "no 'nowhere'"),
        (["--split-column", "who"], "'speaker 0' is not train, valid or test"),
        (["--intervals", "0"], "--intervals"),
    ],
)
def test_wrong_options(merclip, data, tmp_path, arguments, said):
    (tmp_path / "list.json").write_text('["happy"]')
    status, out, err = merclip(data, *arguments)
    assert status in (1, 2) and out == ""
    assert said in err and err.count("\n") == 1
