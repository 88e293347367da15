"""The command line, as a user types it."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from media_files import write_clip, write_sound, write_video

from conftest import TINY
from merclip import Prediction, __version__
from merclip.cli import main
from merclip.cli._clips import Row, Rows
from merclip.cli._layout import cut, width
from merclip.cli._table import TableWriter

TEXTS = {"happy": "so glad to see you", "sad": "oh dear, he is gone", "angry": "how dare you"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the directory of a tiny trained checkpoint with three labels."""
    from merclip import EmotionClassifier

    classifier = EmotionClassifier(
        list(TEXTS),
        model=TINY,
        pretrained="random",
        network={"decoder": {"heads": 2}},
        epochs=1,
    )
    classifier.fit([{"text": text} for text in TEXTS.values()] * 2, list(TEXTS) * 2)
    return str(classifier.save_pretrained(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """Return a folder with a clip, sounds, a broken file and an empty one."""
    folder = tmp_path_factory.mktemp("media")
    write_clip(str(folder / "clip.mp4"))
    write_clip(str(folder / "other.mp4"))
    write_sound(str(folder / "sound.wav"))
    write_sound(str(folder / "sound.flac"), "flac")
    (folder / "sound.mp4").write_bytes((folder / "sound.wav").read_bytes())
    (folder / "broken.mp4").write_bytes(b"this is no video at all")
    (folder / "empty.mp4").touch()
    return folder


@pytest.fixture
def merclip(capsys, media, monkeypatch):
    """Return a function that runs a command in the folder of media."""
    monkeypatch.chdir(media)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("MERCLIP_DEBUG", raising=False)

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


@pytest.fixture
def rows(merclip, model):
    """Return a function that predicts and parses JSON Lines."""

    def run(*arguments):
        status, out, err = merclip("predict", *arguments, "--model", model, "--format", "jsonl")
        return status, [json.loads(line) for line in out.splitlines()], err

    return run


def write_rows(path, rows, fields=("video", "audio", "text", "label")):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)
    return path


def labelled(n=3):
    return [{"text": text, "label": label} for label, text in TEXTS.items()] * n


# The whole ---------------------------------------------------------------------


def test_version(merclip):
    assert merclip("--version") == (0, f"merclip {__version__}\n", "")


@pytest.mark.parametrize("command", [(), ("predict",), ("fit",), ("evaluate",), ("info",)])
def test_help_has_examples_and_fits_a_terminal(merclip, command):
    status, out, err = merclip(*command, "--help")
    assert status == 0 and err == ""
    assert "examples:\n  merclip" in out
    assert max(map(len, out.splitlines())) <= 88


def test_without_a_command_help_goes_to_stderr(merclip):
    status, out, err = merclip()
    assert (status, out) == (2, "") and "usage: merclip" in err


def test_unknown_command(merclip):
    status, _, err = merclip("classify")
    assert status == 2 and "there are predict, fit, evaluate" in err
    assert "did you mean predict?" in merclip("predcit")[2]


def test_a_file_in_place_of_a_command(merclip):
    status, _, err = merclip("clip.mp4", "--labels", "a", "b")
    assert status == 2 and "merclip predict clip.mp4" in err


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from merclip.cli import main\n"
        "for command in ('predict', 'fit', 'evaluate', 'info'): main([command, '--help'])\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'av', 'tqdm', 'open_clip'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - begin < 2


def test_rates_are_those_of_training():
    from merclip.cli.fit import RATES
    from merclip.training import PRESETS

    assert set(RATES) == set(PRESETS)


# predict: what is classified -----------------------------------------------------


def test_a_clip_with_the_labels_of_the_checkpoint(rows):
    status, (row,), err = rows("clip.mp4")
    assert status == 0 and err == ""
    assert row["id"] == "clip.mp4" and list(row["scores"]) == list(TEXTS)
    assert row["modalities_used"] == ["video", "audio"] and row["error"] is None


def test_scores_are_those_of_the_library(rows, model, media):
    from merclip import EmotionClassifier

    _, (row,), _ = rows("clip.mp4", "--text", "what a day", "--labels", "calm", "over the moon")
    classifier = EmotionClassifier.from_pretrained(model, labels=["calm", "over the moon"])
    expected = classifier(video=str(media / "clip.mp4"), text="what a day")
    assert row["scores"] == pytest.approx(dict(expected), abs=1e-6)
    assert row["modalities_used"] == ["text", "video", "audio"]


@pytest.mark.parametrize("name", ["sound.wav", "sound.flac", "sound.mp4"])
@pytest.mark.parametrize("options", [(), ("--no-video-audio",)])
def test_a_sound_is_told_by_its_content(rows, name, options):
    status, (row,), _ = rows(name, *options)
    assert status == 0 and row["modalities_used"] == ["audio"] and row["id"] == name


def test_no_video_audio(rows):
    _, (row,), _ = rows("clip.mp4", "--no-video-audio")
    assert row["modalities_used"] == ["video"]


def test_other_sound(rows):
    _, (own,), _ = rows("clip.mp4")
    _, (other,), _ = rows("clip.mp4", "--audio", "sound.wav")
    _, (alone,), _ = rows("--audio", "sound.wav")
    assert own["modalities_used"] == other["modalities_used"]
    assert alone["modalities_used"] == ["audio"] and alone["id"] == "sound.wav"


def test_texts_alone(rows):
    status, found, _ = rows("--text", "what a day", "--text", "oh no")
    assert status == 0
    assert [row["id"] for row in found] == ["what a day", "oh no"]
    assert all(row["modalities_used"] == ["text"] for row in found)


def test_texts_pair_with_files_in_order(rows):
    _, together, _ = rows("clip.mp4", "sound.wav", "--text", "what a day", "--text", "oh no")
    _, (second,), _ = rows("sound.wav", "--text", "oh no")
    assert together[1]["scores"] == pytest.approx(second["scores"], abs=1e-6)
    assert together[1]["modalities_used"] == second["modalities_used"] == ["text", "audio"]


def test_texts_that_do_not_pair_up(rows):
    status, found, err = rows("clip.mp4", "--text", "one", "--text", "two")
    assert (status, found) == (2, []) and "1 x FILE, 2 x --text" in err


def test_a_span(rows):
    _, (whole,), _ = rows("clip.mp4")
    _, (part,), _ = rows("clip.mp4", "--start", "0.5", "--end", "1")
    assert whole["scores"] != part["scores"]


def test_a_pattern_that_no_shell_expanded(rows):
    _, found, _ = rows("sound.[fw]*")
    assert [row["id"] for row in found] == ["sound.flac", "sound.wav"]


# predict: labels -------------------------------------------------------------------


def test_labels_are_repeated_and_never_split(rows):
    given = ["--labels", "happy", "sad, or so", "--labels", "over the moon"]
    _, (row,), _ = rows("clip.mp4", *given)
    assert list(row["scores"]) == ["happy", "sad, or so", "over the moon"]


def test_labels_in_a_text_file(rows, tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("\ufeffhappy\n\n  quietly furious \n행복\n", encoding="utf-8")
    _, (row,), _ = rows("clip.mp4", "--labels-file", file)
    assert list(row["scores"]) == ["happy", "quietly furious", "행복"]


def test_labels_in_a_json_file(rows, tmp_path):
    file = tmp_path / "labels.json"
    file.write_text(json.dumps({"joy": ["delight", "inner peace"], "rage": "fury"}))
    _, (row,), _ = rows("clip.mp4", "--labels-file", file)
    assert list(row["scores"]) == ["joy", "rage"]


@pytest.mark.parametrize("content", ['{"joy": 1}', '{"joy": null}', "3", '["a", 1]', "{", '"joy"'])
def test_json_that_is_no_labels(rows, tmp_path, content):
    file = tmp_path / "labels.json"
    file.write_text(content)
    status, found, err = rows("clip.mp4", "--labels-file", file)
    assert (status, found) == (2, []) and err.count("\n") == 1


def test_files_after_labels(rows):
    for arguments in (["clip.mp4"], ["missing.wav"]):
        status, found, err = rows("--labels", "happy", "sad", *arguments)
        assert (status, found) == (2, [])
        assert f"{arguments[0]!r} was taken as a label" in err and "--" in err


def test_files_after_dashes(rows):
    # `rows` appends options, which would be files after the dashes.
    status, found, _ = rows("--labels", "happy", "sad", "--batch-size", "2", "clip.mp4")
    assert status == 0 and found[0]["id"] == "clip.mp4"


def test_files_before_and_after_dashes(merclip, model):
    command = ["predict", "clip.mp4", "--model", model, "--format", "csv"]
    status, out, _ = merclip(*command, "--labels", "happy", "sad", "--", "other.mp4")
    assert status == 0 and [line.split(",")[0] for line in out.splitlines()] == [
        "id",
        "clip.mp4",
        "other.mp4",
    ]


def test_a_label_that_is_the_name_of_a_file_too(rows, tmp_path, monkeypatch):
    (tmp_path / "happy").touch()
    monkeypatch.chdir(tmp_path)
    status, (row,), _ = rows("--text", "what a day", "--labels", "happy", "sad")
    assert status == 0 and list(row["scores"]) == ["happy", "sad"]
    status, _, err = rows("--labels", "sad", "happy")
    assert status == 2 and "was taken as a label" in err


def test_multi_label(rows):
    _, (row,), _ = rows("clip.mp4", "--multi-label", "--threshold", "0")
    assert row["labels"] == list(TEXTS)
    _, (row,), _ = rows("clip.mp4", "--multi-label", "--threshold", "1", "--labels", "calm")
    assert row["labels"] == [] and row["label"] is None


def test_labels_as_a_chat_model_gives_them(rows, tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("1. **Happy** - a wide smile.\n2. **Sad** - tears in the eyes.\n")
    _, (row,), _ = rows("clip.mp4", "--labels-file", file)
    assert list(row["scores"]) == ["Happy", "Sad"]
    file.write_text("Here you are:\n1. **Happy** - a wide smile.\n2. **Sad** - tears.\n")
    status, _, err = rows("clip.mp4", "--labels-file", file)
    assert status == 2 and "'Here you are:', is not understood" in err


# predict: tables and texts from stdin ----------------------------------------------


def test_a_table_as_fit_and_evaluate_take_it(rows, media, tmp_path):
    file = media / "data.csv"
    file.write_text("id;video;Utterance;who\none;clip.mp4;hello;ana\n;;so glad;ben\nlast;;;ben\n")
    status, (one, two, last), err = rows(
        file, "--text-column", "Utterance", "--group-column", "who"
    )
    assert status == 1 and "last: " in err
    assert (one["id"], one["text"], one["group"]) == ("one", "hello", "ana")
    assert one["modalities_used"] == ["text", "video", "audio"]
    assert (two["id"], two["modalities_used"], two["error"]) == ("so glad", ["text"], None)
    assert last["label"] is None and "no video, no audio" in last["error"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x.csv"], "there is no such file"),
        (["data.csv", "clip.mp4"], "goes without other files"),
        (["data.csv", "--text", "hello"], "goes without other files"),
        (["data.csv", "--start", "1"], "goes without other files"),
        (["data.csv", "--text-column", "said"], "--text-column names another"),
        (["data.csv", "--output", "data.csv"], "is one of the inputs"),
        (["clip.mp4", "--delimiter", ";"], "--delimiter is for a table"),
        (["--text", "-", "--text", "hello"], "goes alone"),
    ],
)
def test_tables_that_do_not_fit(rows, media, arguments, said):
    (media / "data.csv").write_text("text\nhello\n")
    status, found, err = rows(*arguments)
    assert (status in (1, 2), found) == (True, []) and said in err


def test_texts_from_stdin(rows, monkeypatch):
    lines = "\ufeffso glad\n\n  oh dear \n".encode() + b"caf\xe9\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    status, found, _ = rows("--text", "-")
    assert status == 0 and [row["text"] for row in found] == ["so glad", "oh dear", "café"]


def test_a_home_directory_in_a_list(rows, media, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(media))
    (tmp_path / "list.txt").write_text("~/clip.mp4\n")
    (tmp_path / "list.csv").write_text("video\n~/clip.mp4\n")
    for arguments in (["--files-from", tmp_path / "list.txt"], [tmp_path / "list.csv"]):
        status, (row,), _ = rows(*arguments)
        assert status == 0 and row["id"] == str(media / "clip.mp4")


# predict: what is written acts nowhere ---------------------------------------------

EVIL = ["=cmd|'/c calc'!A1", "\x1b[31mred", "\u202edrawkcab", "id", "error"]


def test_results_act_nowhere(merclip, model):
    def out(form):
        given = ["predict", "--text", "hi", "--model", model, "--format", form, "--labels", *EVIL]
        return merclip(*given)[1]

    for form in ("table", "json", "jsonl", "csv"):
        assert not {"\x1b", "\u202e"} & set(out(form))
    assert list(json.loads(out("jsonl"))["scores"]) == EVIL
    header = next(csv.reader(io.StringIO(out("csv"))))
    assert header == [
        *("id", "label", "'=cmd|'/c calc'!A1", r"\x1b[31mred", r"\u202edrawkcab"),
        *("score of id", "score of error", "modalities_used", "faces", "warnings", "error"),
    ]


def test_a_closed_stdout(model, tmp_path):
    command = [sys.executable, "-m", "merclip", "predict", "--text", "hi", "--model", model]
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 1 and "stdout is closed: give --output FILE" in done.stderr


# predict: wrong use ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to classify"),
        (["clip.mp4", "--labels", "happy"], "one label"),
        (["clip.mp4", "--predict-from", "both"], "--predict-from both needs anchors"),
        (["clip.mp4", "--pretrained", "openai"], "--pretrained openai goes with"),
        (["clip.mp4", "--labels", "happy", "Happy "], "are the same"),
        (["clip.mp4", "--labels", "happy", ""], "''"),
        (["clip.mp4", "--labels", "a", "b", "--labels-file", "x"], "not allowed with"),
        (["clip.mp4", "--labels-file", "missing.txt"], "missing.txt"),
        (["clip.mp4", "--lables", "a"], "--lables a; did you mean --labels?"),
        (["clip.mp4", "--fromat=csv"], "did you mean --format?"),
        (["clip.mp4", "--xyzzy"], "unrecognized arguments: --xyzzy (see"),
        (["clip.mp4", "--resume"], "--resume goes with --format jsonl and --output"),
        (["--files-from", "missing.txt"], "missing.txt' cannot be read: No such file"),
        (["--files-from", "clip.mp4"], "is no text"),
        (["--files-from", "empty.mp4"], "lists no file"),
        (["--files-from", "-", "--text", "hm"], "--text pairs with FILEs"),
        (["clip.mp4", "--device", "abacus"], "--device abacus is not a device"),
        (["clip.mp4", "--device", "cuda:99"], "cuda:99"),
        (["clip.mp4", "--threshold", "0.5"], "--multi-label"),
        (["clip.mp4", "--threshold", "2"], "0..1"),
        (["clip.mp4", "--batch-size", "0"], "--batch-size"),
        (["clip.mp4", "--start", "-1"], "--start"),
        (["clip.mp4", "--start", "2", "--end", "1"], "--end 1"),
        (["--text", "hello", "--start", "1"], "--start"),
        (["--text", " "], "empty"),
        (["."], "is a directory: give its files"),
        (["clip.mp4", "--output", "clip.mp4"], "one of the inputs"),
        (["clip.mp4", "--output", "other.mp4"], "or another recording"),
        (["clip.mp4", "--output", "nowhere/out.csv"], "nowhere"),
    ],
)
def test_wrong_use(rows, arguments, said):
    status, found, err = rows(*arguments)
    assert (status, found) == (2, [])
    assert said in err and err.startswith("merclip: error: ") and err.count("\n") == 1


@pytest.mark.parametrize("name", ["missing_model", ".", "ViT-B-32"])
def test_a_model_that_cannot_be_had(merclip, name):
    status, out, err = merclip("predict", "clip.mp4", "--labels", "a", "b", "--model", name)
    assert (status, out) == (1, "") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("expected", "command"),
    [
        *((1, (*command, "--model", "missing_model")) for command in (
            ("predict", "clip.mp4", "--labels", "a", "b"),
            ("fit", "rows.csv", "--out", "out"),
            ("evaluate", "rows.csv"),
            ("info",),
        )),
        (1, ("download", "missing_model")),
        (1, ("predict", "missing.mp4", "--labels", "a", "b")),
        (1, ("fit", "columns.csv", "--out", "out")),
        (1, ("evaluate", "columns.csv")),
        (1, ("reproduce", "ablation-fusion", "--csv", "columns.csv")),
        (2, ("predict", "clip.mp4", "--labels-file", "missing.txt")),
        (2, ("fit", "missing.csv", "--out", "out")),
        (2, ("evaluate", "missing.csv")),
        (2, ("evaluate", "missing", "--dataset", "meld")),
        (2, ("reproduce", "ablation-fusion", "--csv", "missing.csv")),
        (2, ("reproduce", "ablation-fusion", "--data", "missing")),
    ],
)  # fmt: skip
def test_one_rule_for_the_exit_status_of_all_commands(merclip, media, expected, command):
    write_rows(media / "rows.csv", labelled(1))
    (media / "columns.csv").write_text("txt\nhello\n")
    status, _, err = merclip(*command)
    assert status == expected and ("missing" in err or "columns" in err)


def test_a_model_without_labels(merclip, tmp_path):
    from merclip import EmotionClassifier

    network = {"decoder": {"heads": 2}}
    EmotionClassifier(model=TINY, pretrained="random", network=network).save_pretrained(tmp_path)
    status, _, err = merclip("predict", "clip.mp4", "--model", tmp_path)
    assert status == 2 and "give --labels" in err
    status, out, err = merclip(
        "predict", "clip.mp4", "--labels", "a", "b", "--model", tmp_path, "--format", "csv"
    )
    assert status == 0 and out.splitlines()[1].startswith("clip.mp4,")
    assert err.startswith("merclip: warning: ") and "sound is left out" in err
    assert ".py" not in err and err.count("\n") == 1


# predict: results -----------------------------------------------------------------


@pytest.mark.parametrize("bad", ["broken.mp4", "empty.mp4", "missing.mp4"])
def test_a_bad_file_does_not_take_the_others_with_it(rows, bad):
    status, found, err = rows("clip.mp4", bad, "other.mp4")
    assert status == 1
    assert [row["id"] for row in found] == ["clip.mp4", bad, "other.mp4"]
    assert [row["error"] is None for row in found] == [True, False, True]
    assert bad in err and err.count("\n") == 1


def test_csv(merclip, model):
    status, out, _ = merclip(
        "predict", "clip.mp4", "broken.mp4", "--model", model, "--format", "csv"
    )
    good, bad = csv.DictReader(io.StringIO(out))
    assert status == 1
    assert list(good) == [*("id", "label", *TEXTS, "modalities_used", "faces", "warnings", "error")]
    assert good["label"] in TEXTS and good["modalities_used"] == "video+audio"
    assert sum(float(good[label]) for label in TEXTS) == pytest.approx(1, abs=1e-5)
    assert bad["label"] == bad["happy"] == "" and "broken.mp4" in bad["error"]


def test_json_is_one_list(merclip, model):
    status, out, _ = merclip("predict", "clip.mp4", "--model", model, "--format", "json")
    assert status == 0 and [row["id"] for row in json.loads(out)] == ["clip.mp4"]


def test_output_goes_to_a_file(merclip, model, tmp_path):
    target = tmp_path / "out.jsonl"
    status, out, _ = merclip(
        "predict", "clip.mp4", "--model", model, "--format", "jsonl", "--output", target
    )
    assert (status, out) == (0, "")
    assert json.loads(target.read_text(encoding="utf-8"))["id"] == "clip.mp4"


def test_bars_of_one_clip(merclip, model):
    sentence = "somebody who is quietly furious about something that was said at table"
    status, out, _ = merclip(
        "predict", "clip.mp4", "--text", "hm", "--model", model, "--labels", sentence, "행복", "sad"
    )
    head, *lines = out.splitlines()
    assert status == 0 and head == "clip.mp4  (video+audio+text)"
    assert [line[0] for line in lines] == ["*", " ", " "]
    assert "█" in lines[0] and "…" in out and max(map(width, out.splitlines())) <= 80


def test_table_of_many_clips(merclip, model):
    status, out, _ = merclip("predict", "clip.mp4", "other.mp4", "empty.mp4", "--model", model)
    head, first, second, bad = out.splitlines()
    assert status == 1 and head.split() == [*("file", "label", "score", "used", "faces", "others")]
    assert first.index("video+audio") == second.index("video+audio") == head.index("used")
    assert bad.startswith("empty.mp4  error: ") and max(map(width, out.splitlines())) <= 80


def test_the_table_holds_its_columns_whatever_comes(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"a long label, number {i}, 행복" for i in range(30)]
    scores = {name: 1 / (i + 2) for i, name in enumerate(names)}
    paths = ["x" * 50 + "/end.mp4", "evil\x1b[2Jname\n.mp4"]
    stream = io.StringIO()
    rows = [Row(path) for path in paths]
    writer = TableWriter(stream, Rows(rows), names, False)
    writer.begin()
    for row in rows:
        prediction = Prediction(names[0], scores, (names[0],), ("text", "video"), id=row.file)
        writer.write(prediction, row)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3 and max(map(width, lines)) <= 80
    assert "/end.mp4" in lines[1] and "\x1b" not in lines[2]


def test_cut_counts_columns():
    assert cut("행복하다", 5) == "행복…" and width("행복…") == 5
    assert cut("a/b/clip.mp4", 9, keep_end=True) == "…clip.mp4"
    assert cut("short", 9) == "short"


# When things go wrong --------------------------------------------------------------


def raising(error):
    def predict_iter(self, *_, **__):
        raise error
        yield

    return predict_iter


@pytest.mark.parametrize(
    ("error", "expected", "said"),
    [
        (RuntimeError("the roof\nis on fire"), 1, "RuntimeError: the roof is on fire"),
        (KeyboardInterrupt(), 130, "stopped: by Ctrl-C after 0 clips"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_no_traceback(merclip, model, monkeypatch, error, expected, said):
    from merclip import EmotionClassifier

    monkeypatch.setattr(EmotionClassifier, "predict_iter", raising(error))
    status, _, err = merclip("predict", "clip.mp4", "--model", model)
    assert status == expected and said in err and err.count("\n") == bool(said)


@pytest.mark.parametrize("how", ["option", "environment"])
def test_tracebacks_on_request(capsys, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("MERCLIP_DEBUG", "1")
    command = ["predict", "x.mp4", "--model", "missing_model"]
    assert main([*command, "--debug"] if how == "option" else command) == 1
    assert "Traceback" in capsys.readouterr().err


def test_warnings_and_logs_are_put_back(merclip, model):
    import logging

    before = (warnings.showwarning, logging.getLogger().handlers[:])
    merclip("predict", "clip.mp4", "--model", model)
    assert (warnings.showwarning, logging.getLogger().handlers) == before


def test_a_long_text_warns_in_one_line(merclip, model):
    status, _, err = merclip("predict", "--text", "very " * 100 + "good", "--model", model)
    assert status == 0 and err.count("\n") == 1
    assert err.startswith("merclip: warning: ") and "left out" in err and ".py" not in err


def test_a_real_run_streams_and_a_closed_pipe_is_quiet(model, media):
    command = [sys.executable, "-m", "merclip", "predict", *["clip.mp4"] * 40]
    process = subprocess.Popen(
        [*command, "--model", model, "--format", "jsonl"],
        cwd=media,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    )
    with process:
        first = process.stdout.readline()
        assert json.loads(first)["id"] == "clip.mp4"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) in (141, 1)


# fit ---------------------------------------------------------------------------------


def test_fit_then_predict(merclip, model, media, tmp_path):
    data = media / "data.csv"
    rows = [
        *labelled(),
        {"video": "clip.mp4", "label": "happy"},
        {"audio": "sound.wav", "label": "sad"},
    ]
    rows += [{"video": "clip.mp4", "text": "no, never", "label": "angry", "start": "0.5", "end": 1}]
    write_rows(data, rows, ("video", "audio", "text", "label", "start", "end"))
    out = tmp_path / "new" / "model"
    status, said, err = merclip(
        "fit", data, "--out", out, "--model", model, "--epochs", "2", "--seed", "3",
        "--class-weight", "balanced", "--batch-size", "4", "--lr", "0.001", "--validation", "0.3",
    )  # fmt: skip
    assert status == 0
    assert err.count("\n") == 2 and "epoch 2 of 2" in err and "val_score" in err
    assert "clips     12" in said and "angry 4, happy 4, sad 4" in said
    assert "accuracy on held-out clips" in said and str(out) in said
    assert not (media / "model").exists()
    status, said, _ = merclip("predict", "clip.mp4", "--model", out, "--format", "csv")
    assert status == 0 and said.startswith("id,label,angry,happy,sad,")


def test_fit_everything_on_json_lines(merclip, model, tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join([*map(json.dumps, labelled(1)), "", ""]), encoding="utf-8")
    arguments = ["--model", model, "--epochs", "1", "--tune", "full", "--labels", *TEXTS]
    status, out, _ = merclip("fit", data, "--out", tmp_path / "out", *arguments)
    assert status == 0 and "happy 1, sad 1, angry 1" in out and "no clips were held out" in out


def test_fit_multi_label(merclip, model, tmp_path):
    rows = [
        {"text": "so glad", "label": "happy|calm"},
        {"text": "oh no", "label": "sad | angry"},
        {"text": "hm", "label": ""},
    ]
    data = write_rows(tmp_path / "data.csv", rows)
    out = tmp_path / "out"
    arguments = ["--multi-label", "--model", model, "--epochs", "1"]
    assert merclip("fit", data, "--out", out, *arguments)[0] == 0
    status, said, _ = merclip("predict", "--text", "hm", "--model", out, "--threshold", "0")
    assert status == 0 and said.count("*") == 4


def test_fit_keeps_groups_whole(merclip, model, tmp_path, monkeypatch):
    from merclip import EmotionClassifier

    seen = {}
    fit = EmotionClassifier.fit

    def spy(self, *arguments, groups=None, **options):
        seen["groups"] = groups
        return fit(self, *arguments, groups=groups, **options)

    monkeypatch.setattr(EmotionClassifier, "fit", spy)
    rows = [{**row, "speaker": f"s{i % 4}"} for i, row in enumerate(labelled())]
    data = write_rows(tmp_path / "data.csv", rows, ("text", "label", "speaker"))
    arguments = ["--group-column", "speaker", "--model", model, "--epochs", "1"]
    assert merclip("fit", data, "--out", tmp_path / "out", *arguments)[0] == 0
    assert seen["groups"] == [row["speaker"] for row in rows]


@pytest.mark.parametrize("share", ["0", "0.5"])
def test_fit_says_when_groups_have_no_effect(merclip, model, tmp_path, share):
    rows = [{**row, "who": f"s{i % 4}"} for i, row in enumerate(labelled())]
    data = write_rows(tmp_path / "data.csv", rows, ("text", "label", "who"))
    options = ["--group-column", "who", "--model", model, "--epochs", "1", "--validation", share]
    status, _, err = merclip("fit", data, "--out", tmp_path / "out", *options)
    assert status == 0
    assert ("--group-column had no effect: no clips were held out" in err) == (share == "0")


def test_fit_takes_columns_of_other_names(merclip, model, tmp_path):
    rows = [{"Utterance": row["text"], "Emotion": row["label"]} for row in labelled()]
    data = write_rows(tmp_path / "meld.csv", rows, ("Utterance", "Emotion"))
    command = ["fit", data, "--out", tmp_path / "out", "--model", model, "--epochs", "1"]
    status, _, err = merclip(*command)
    assert status == 1 and "(--label-column and --text-column name others)" in err
    columns = ["--label-column", "Emotion", "--text-column"]
    status, _, err = merclip(*command, *columns, "Utterence")
    assert status == 1 and "no 'Utterence'" in err
    status, out, _ = merclip(*command, *columns, "Utterance")
    assert status == 0 and f"clips     {len(rows)}" in out


def test_a_sentence_in_the_place_of_a_file_asks_for_the_option(merclip, model):
    status, out, err = merclip("predict", "I am so glad", "--labels", "a", "b", "--model", model)
    assert status == 1 and "df[[" not in out + err
    assert out.rstrip().endswith("did you mean --text?")
    assert err.rstrip().endswith("did you mean --text?")


def test_fit_goes_on_from_its_checkpoint(merclip, model, tmp_path):
    data = write_rows(tmp_path / "data.csv", labelled())
    arguments = ["--checkpoint-dir", tmp_path / "state", "--model", model, "--epochs", "1"]
    assert merclip("fit", data, "--out", tmp_path / "out", *arguments)[0] == 0
    status, _, err = merclip("fit", data, "--out", tmp_path / "out", *arguments)
    assert status == 0 and "Going on after epoch 1" in err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text,label\nhello,happy\nbye,\n", "data.csv line 3 has no label"),
        ("text,label\n,happy\n", "line 2 has no video, audio, text"),
        ("text,label\nhello, you,happy\n", "line 2 has more fields"),
        ("text,label\nhello\n", "line 2 has fewer fields"),
        ('text,label\n"hello"x,happy\n', "line 2 is not valid CSV"),
        ("vido,text,label\na,b,c\n", "did you mean 'video'?"),
        ("text,emotion\na,b\n", "it needs label"),
        ("text,label,start\na,b,soon\n", "line 2: start is 'soon'"),
        ("text,label,start,end\na,b,2,1\n", "line 2: end does not lie after start"),
        ("video,label\nclip.mp4,happy\nmissing.mp4,sad\n", "line 3: there is no file"),
        ("video,label\nclip.mp4,happy\nbroken.mp4,sad\n", "line 3: "),
        ("text,label\n", "has no rows"),
        ("", "it needs label"),
        ("text,label\na,happy\nb,happy\n", "the one label 'happy'"),
    ],
)
def test_bad_data(merclip, model, media, tmp_path, content, said):
    data = media / "data.csv"
    data.write_text(content, encoding="utf-8")
    out = tmp_path / "out"
    status, printed, err = merclip("fit", data, "--out", out, "--model", model, "--epochs", "1")
    assert status in (1, 2) and printed == "" and said in err and err.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("tune", ["head", "full"])
def test_fit_skips_what_cannot_be_read(merclip, model, media, tmp_path, tune):
    rows = [*labelled(1), {"video": "missing.mp4", "label": "sad"}]
    rows += [{"video": "broken.mp4", "label": "happy"}]
    data = write_rows(media / "data.csv", rows)
    arguments = ["--on-error", "skip", "--model", model, "--epochs", "1", "--tune", tune]
    status, out, err = merclip("fit", data, "--out", tmp_path / "out", *arguments)
    assert status == 0 and "1 more without their file" in out
    assert "data.csv line 5: there is no file" in err
    assert "1 of 5 rows is left out: data.csv line 5: there is no file" in err
    assert "1 of 4 clips was not trained on. Row 3 (data.csv line 6): DecodeError" in err


def test_fit_takes_pictures_as_labels(merclip, model, media, tmp_path):
    for label in TEXTS:
        (tmp_path / "faces" / label).mkdir(parents=True)
        write_video(tmp_path / "faces" / label / "1.gif", "gif", pix_fmt="rgb8")
    data = write_rows(media / "data.csv", labelled(1))
    arguments = ("fit", data, "--out", tmp_path / "out", "--model", model, "--epochs", "1")
    status, _, err = merclip(*arguments, "--anchors", tmp_path / "faces")
    assert status == 0, err
    status, out, _ = merclip("predict", "clip.mp4", "--model", tmp_path / "out", "--format", "csv")
    assert status == 0 and out.splitlines()[0].startswith("id,label,angry,happy,sad,")
    status, _, err = merclip(*arguments, "--anchors", "nowhere")
    assert status == 2 and "--anchors 'nowhere' is no folder" in err


def test_fit_trains_in_the_precision_that_is_asked_for(
    merclip, model, media, tmp_path, monkeypatch
):
    from merclip import EmotionClassifier

    seen = []
    fit = EmotionClassifier.fit
    monkeypatch.setattr(
        EmotionClassifier, "fit", lambda self, *a, **b: seen.append(self) or fit(self, *a, **b)
    )
    data = write_rows(media / "data.csv", labelled(1))
    arguments = ["--model", model, "--epochs", "1", "--tune", "full", "--train-dtype", "bfloat16"]
    assert merclip("fit", data, "--out", tmp_path / "out", *arguments)[0] == 0
    assert [classifier.train_dtype for classifier in seen] == ["bfloat16"]


def test_an_unknown_label_names_its_line(merclip, tmp_path):
    data = write_rows(tmp_path / "data.csv", labelled(1))
    status, _, err = merclip("fit", data, "--out", tmp_path / "out", "--labels", "happy", "sad")
    assert status == 1 and "line 4: the label 'angry' is not among happy, sad" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data.csv"], "--out"),
        (["--out", "x", "--labels", "happy", "sad", "data.csv"], "there is no DATA"),
        (["missing.csv", "--out", "x"], "missing.csv"),
        (["data.csv", "--out", "x", "--lr", "fast"], "--lr"),
        (["data.csv", "--out", "x", "--validation", "1"], "--validation"),
        (["data.csv", "--out", "x", "--group-column", "who"], "'who'"),
        (["data.csv", "--out", "clip.mp4"], "is a file"),
        (["data.csv", "--out", "other_project"], "README.md that is not merclip's"),
    ],
)
def test_wrong_use_of_fit(merclip, media, arguments, said):
    write_rows(media / "data.csv", labelled(1))
    (media / "other_project").mkdir(exist_ok=True)
    (media / "other_project" / "README.md").write_text("precious")
    status, out, err = merclip("fit", *arguments)
    assert status in (1, 2) and out == "" and said in err and err.count("\n") == 1


def test_an_interrupted_fit_saves_what_it_has(merclip, model, tmp_path, monkeypatch):
    from merclip.cli._progress import EpochLines

    def interrupt(self, trainer, record):
        if record["epoch"] == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(EpochLines, "on_epoch_end", interrupt)
    data = write_rows(tmp_path / "data.csv", labelled())
    out = tmp_path / "out"
    status, said, err = merclip("fit", data, "--out", out, "--model", model, "--epochs", "9")
    assert status == 130 and "2, then interrupted" in said and "interrupted" in err
    assert (out / "model.safetensors").exists()


def test_a_fit_interrupted_at_once_saves_nothing(merclip, model, tmp_path, monkeypatch):
    from merclip.cli._progress import EpochLines

    def interrupt(self, trainer, epoch):
        raise KeyboardInterrupt

    monkeypatch.setattr(EpochLines, "on_epoch_begin", interrupt)
    data = write_rows(tmp_path / "data.csv", labelled())
    out = tmp_path / "out"
    status, said, err = merclip("fit", data, "--out", out, "--model", model)
    assert (status, said) == (130, "") and "nothing was saved" in err and not out.exists()


# info ----------------------------------------------------------------------------------


def test_info(merclip, model):
    status, out, err = merclip("info", "--model", model)
    assert status == 0 and err == ""
    for word in (
        "merclip",
        "torch",
        "open_clip",
        "av",
        "python",
        "cpu",
        "happy, sad, angry",
        model,
    ):
        assert word in out


def test_info_as_json_with_the_licence_of_the_card(merclip, model, tmp_path):
    import shutil

    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    (copy / "README.md").write_text("---\nlicense: cc-by-nc-sa-4.0\ntags:\n- x\n---\n# Card\n")
    status, out, _ = merclip("info", "--model", copy, "--format", "json")
    found = json.loads(out)
    assert status == 0 and set(found) == {"versions", "devices", "model"}
    assert found["model"]["licence"] == "cc-by-nc-sa-4.0"
    assert found["model"]["labels"] == list(TEXTS)
    assert found["model"]["parameters"] > 1e6 and found["model"]["bytes"] > 1e6
    assert found["model"]["modalities"] == ["video", "audio", "text"]
    assert found["model"]["faces"] is False


def test_info_shows_versions_even_without_a_model(merclip):
    status, out, err = merclip("info", "--model", "missing_model", "--format", "json")
    assert status == 1 and "missing_model" in err
    assert json.loads(out)["versions"]["merclip"] == __version__
