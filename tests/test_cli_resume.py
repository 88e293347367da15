"""``merclip predict`` over many files: what fails, what is listed, what goes on where it ended."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from media_files import write_sound

from conftest import TINY
from merclip import EmotionClassifier, _progress
from merclip.cli import main
from merclip.cli._clips import Row
from merclip.cli._resume import cut_off, read_done, run_of
from merclip.preprocess import Preprocessor

LABELS = ["happy", "sad"]
FILES = ["0.wav", "1.wav", "2.mp4", "3.wav", "4.mp4", "5.wav"]
BAD = {"2.mp4", "4.mp4"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the directory of a tiny checkpoint with two labels."""
    classifier = EmotionClassifier(
        LABELS,
        model=TINY,
        pretrained="random",
        network={"decoder": {"heads": 2}},
        random_state=0,
    )
    classifier.network_.fusion_trained = True
    return str(classifier.save_pretrained(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with four sounds, a text file and a directory that are called x.mp4."""
    folder = tmp_path_factory.mktemp("clips")
    for name in set(FILES) - BAD:
        write_sound(str(folder / name), samples=None)
    (folder / "2.mp4").write_text("this is no video\n")
    (folder / "4.mp4").mkdir()
    (folder / "list.txt").write_text("\n".join(FILES) + "\n")
    return folder


@pytest.fixture
def merclip(capsys, folder, model, monkeypatch):
    """Return a function that predicts in the folder."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MERCLIP_DEBUG", raising=False)

    def run(*arguments):
        status = main(["predict", *map(str, arguments), "--model", model])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


@pytest.fixture
def batch(merclip, tmp_path):
    """Return a function that writes JSON Lines, and the file that it writes."""
    target = tmp_path / "out.jsonl"

    def run(*arguments):
        status, out, err = merclip(*arguments, "--format", "jsonl", "--output", target)
        assert out == ""
        return status, err

    return run, target


def rows_in(target):
    return [json.loads(line) for line in target.read_text().splitlines()]


def ids_in(target):
    return [row["id"] for row in rows_in(target)]


def stopping(monkeypatch, after, stop):
    """Let something happen when a clip is read, after some others."""
    usual, read = Preprocessor.__call__, []

    def call(self, clip):
        read.append(clip.name)
        if len(read) > after:
            stop()
        return usual(self, clip)

    monkeypatch.setattr(Preprocessor, "__call__", call)
    return read


def when_written(target, n_rows, number):
    """Raise a signal once so many rows are written: clips are read ahead of that."""
    end = time.monotonic() + 20
    while target.read_bytes().count(b"\n") < n_rows and time.monotonic() < end:
        time.sleep(0.01)
    signal.raise_signal(number)


# What a broken file does --------------------------------------------------------------


def test_nan_is_the_default_and_the_row_says_why(batch):
    run, target = batch
    status, err = run(*FILES)
    assert status == 1 and ids_in(target) == FILES
    assert {row["id"] for row in rows_in(target) if row["error"]} == BAD
    assert err.count("merclip: error: ") == 2 and "predict: 2 of 6 clips failed" in err
    assert "is a folder" in rows_in(target)[4]["error"]


def test_skip_leaves_rows_out_and_still_tells(batch):
    run, target = batch
    status, err = run(*FILES, "--on-error", "skip")
    assert status == 1 and ids_in(target) == [name for name in FILES if name not in BAD]
    assert all(name in err for name in BAD)


def test_raise_ends_with_the_first(batch):
    run, target = batch
    status, err = run(*FILES, "--on-error", "raise")
    assert status == 1 and ids_in(target) == ["0.wav", "1.wav"]
    assert err.count("\n") == 1 and "2.mp4" in err and "--on-error nan or skip goes on" in err


def test_a_folder_is_refused_with_what_to_do(merclip, folder):
    status, _, err = merclip(".", "0.wav")
    assert status == 2 and "find . -name '*.mp4' | merclip predict --files-from -" in err


def test_csv_has_faces_and_json_streams(merclip):
    out = merclip("0.wav", "2.mp4", "--format", "csv")[1]
    assert [row["faces"] for row in csv.DictReader(io.StringIO(out))] == ["", ""]
    out = merclip(
        "0.wav", "2.mp4", "--text", "a", "--text", "b", "--start", "0.5", "--format", "json"
    )
    assert [(row["text"], row["start"]) for row in json.loads(out[1])] == [("a", 0.5), ("b", 0.5)]


# Lists ----------------------------------------------------------------------------------


def test_files_from_a_list(merclip, batch, folder):
    run, target = batch
    assert run("--files-from", "list.txt")[0] == 1
    assert ids_in(target) == FILES
    (folder / "other.txt").write_bytes("3.wav\r\n\r\ncaf\xe9.wav\r\n".encode("utf-8-sig"))
    _, out, _ = merclip("0.wav", "--files-from", "other.txt", "--format", "jsonl")
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["0.wav", "3.wav", "café.wav"]


def test_names_that_are_no_utf_8(batch, folder):
    run, target = batch
    (folder / "latin.txt").write_bytes(b"caf\xe9.wav\n0.wav\n")
    run("--files-from", "latin.txt")
    assert os.fsencode(ids_in(target)[0]) == b"caf\xe9.wav"
    assert run("--files-from", "latin.txt", "--resume")[1].count("0 to go") == 1
    assert len(ids_in(target)) == 2


def test_stdin_is_read_bit_by_bit(merclip, monkeypatch):
    asked = []

    class Endless(io.RawIOBase):
        def __iter__(self):
            for name in FILES * 1000:
                asked.append(name)
                yield name.encode() + b"\n"

    monkeypatch.setattr(sys, "stdin", type("In", (), {"buffer": Endless()})())
    status, out, _ = merclip("--files-from", "-", "--on-error", "raise")
    assert status == 1 and out.count("\n") == 3
    assert asked == FILES[:3]


def test_an_output_that_is_listed_or_the_list_itself(merclip, folder):
    for output in ("0.wav", "list.txt"):
        status, _, err = merclip("--files-from", "list.txt", "--output", output)
        assert status == 2 and "one of the inputs" in err
    assert (folder / "list.txt").read_text().split() == FILES


# Going on ---------------------------------------------------------------------------------


@pytest.fixture
def whole(batch):
    """Return the file of an uninterrupted run, and what it holds."""
    run, target = batch
    run("--files-from", "list.txt")
    return target, target.read_bytes()


def test_wherever_a_run_was_killed_its_file_goes_on(whole, tmp_path):
    _, content = whole
    target, run_id = tmp_path / "cut.jsonl", json.loads(content.splitlines()[0])["run"]
    ends = [position for position, byte in enumerate(content) if byte == 10]
    near = {end + step for end in ends for step in (0, 1, 2, 9)}
    for size in sorted({*range(0, len(content), 23), *near} & set(range(len(content) + 1))):
        target.write_bytes(content[:size])
        done = read_done(str(target), LABELS, run_id)
        left = content[:size].rpartition(b"\n")[0]
        lines = left.count(b"\n") + bool(left)
        assert cut_off(str(target), done) == (content[:size] != target.read_bytes())
        assert done.n_rows == lines and target.read_bytes().count(b"\n") == lines
        names = [row.name for row in done.missing(map(Row, FILES))]
        assert names == FILES[lines:]


@pytest.mark.parametrize(
    "tail", [b'{"id": "4.mp4", "label": nu', b"\0" * 50, b'{"id": "4.mp4"}\n', b""]
)
def test_a_resumed_file_equals_an_uninterrupted_one(whole, batch, monkeypatch, tail):
    run, target = batch
    _, content = whole
    target.write_bytes(b"".join(content.splitlines(keepends=True)[:4]) + tail)
    read = stopping(monkeypatch, 99, lambda: None)
    status, err = run("--files-from", "list.txt", "--resume")
    assert target.read_bytes() == content and read == FILES[4:]
    assert status == 1 and "4 clips are there already, 2 to go" in err
    assert ("the last line was cut off" in err) == bool(tail)
    assert f"1 clip of {target} could not be read by an earlier run; its row says why" in err
    status, err = run("--files-from", "list.txt", "--resume")
    assert target.read_bytes() == content and read == FILES[4:] and status == 1
    assert f"2 clips of {target} could not be read by an earlier run; their rows say why" in err


def test_resume_without_a_file_begins(batch):
    run, target = batch
    assert run("0.wav", "--resume")[0] == 0 and ids_in(target) == ["0.wav"]
    assert "could not be read" not in run("0.wav", "--resume")[1]


def test_clips_are_told_by_file_span_and_text(batch):
    run, target = batch
    run("0.wav", "0.wav", "--text", "well", "--text", "oh")
    for arguments, more in (
        (["0.wav", "0.wav", "--text", "oh", "--text", "well"], 0),
        (["0.wav", "0.wav", "--text", "oh", "--text", "oh"], 1),
        (["0.wav", "--start", "0.5"], 1),
        (["--audio", "0.wav"], 1),
        (["--text", "a" * 80 + " b"], 1),
        (["--text", "a" * 80 + " c"], 1),
    ):
        before = target.read_text()
        run(*arguments, "--resume")
        after = target.read_text()
        assert after.startswith(before) and after.count("\n") == before.count("\n") + more


def test_what_was_skipped_is_tried_again(batch, folder):
    run, target = batch
    run(*FILES, "--on-error", "skip")
    shutil.copy(folder / "0.wav", folder / "later.wav")
    status, err = run(*FILES, "later.wav", "--on-error", "skip", "--resume")
    assert status == 1 and "3 to go" in err
    assert ids_in(target) == ["0.wav", "1.wav", "3.wav", "5.wav", "later.wav"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--labels", "happy", "angry"], "has answers for the labels happy, sad, and not for"),
        (["--labels", "sad", "happy"], "has answers for the labels happy, sad, and not for"),
        (["--no-video-audio"], "another model, or with other options"),
        (["--multi-label"], "another model, or with other options"),
        (["--dtype", "bfloat16"], "another model, or with other options"),
    ],
)
def test_a_file_of_another_run_is_refused(whole, batch, options, said):
    run, target = batch
    _, content = whole
    status, err = run("0.wav", "--resume", *options)
    assert status == 2 and said in err and target.read_bytes() == content


def test_precision_and_backend_tell_runs_apart(model):
    classifier = EmotionClassifier.from_pretrained(model)
    runs = [run_of(classifier)]
    for name, value in {"dtype": "bfloat16", "backend": "openvino"}.items():
        setattr(classifier, name, value)
        runs.append(run_of(classifier))
    assert len(set(runs)) == 3


def test_a_file_of_another_model_is_refused(whole, batch, tmp_path):
    run, target = batch
    _, content = whole
    other = EmotionClassifier(
        LABELS, model=TINY, pretrained="random", network={"decoder": {"heads": 2}}, random_state=1
    )
    other.save_pretrained(tmp_path / "other")
    command = ["predict", "0.wav", "--resume", "--format", "jsonl", "--output", str(target)]
    assert main([*command, "--model", str(tmp_path / "other")]) == 2
    assert target.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [
        b"my precious notes\n",
        b"my precious notes",
        b'{"some": "json"}\n',
        b"id,label\n",
        b"\x00\x00\x00\x18ftypmp42",
    ],
)
@pytest.mark.parametrize("before", [False, True])
def test_a_file_that_is_something_else_is_left_alone(whole, batch, content, before):
    run, target = batch
    if before:
        lines = whole[1].splitlines(keepends=True)
        content = lines[0] + content + b"\n" + lines[1]
    target.write_bytes(content)
    status, err = run("0.wav", "--resume")
    assert status == 2 and "is not what merclip predict" in err
    assert f"(line {1 + before})" in err and target.read_bytes() == content


# Signals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_valid_file_and_says_so(batch, whole, monkeypatch, number, expected):
    run, target = batch
    # A shell in which nobody types starts what runs in its background with Ctrl-C ignored.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            stopping(patch, 3, lambda: when_written(target, 3, number))
            status, err = run("--files-from", "list.txt")
    finally:
        signal.signal(signal.SIGINT, usual)
    assert status == expected and ids_in(target) == FILES[:3]
    last = err.splitlines()[-1]
    name = "SIGTERM" if number == signal.SIGTERM else "Ctrl-C"
    assert last == f"merclip: stopped: by {name} after 3 clips; the same with --resume goes on"
    run("--files-from", "list.txt", "--resume")
    assert target.read_bytes() == whole[1]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("form", ["jsonl", "json", "csv"])
def test_a_signal_waits_until_a_row_is_whole(merclip, monkeypatch, form, tmp_path):
    from merclip.results import Prediction

    name = "to_row" if form == "csv" else "to_dict"
    usual = getattr(Prediction, name)

    def interrupted(self):
        signal.raise_signal(signal.SIGTERM)
        return usual(self)

    monkeypatch.setattr(Prediction, name, interrupted)
    target = tmp_path / "out"
    status, _, _ = merclip("0.wav", "1.wav", "--format", form, "--output", target)
    text = target.read_text()
    found = {
        "jsonl": lambda: [json.loads(line) for line in text.splitlines()],
        "json": lambda: json.loads(text),
        "csv": lambda: list(csv.DictReader(io.StringIO(text))),
    }[form]()
    assert status == 143 and [row["id"] for row in found] == ["0.wav"]


def test_a_real_run_that_is_killed_goes_on(model, folder, tmp_path, whole, batch):
    run, target = batch
    target.unlink()
    names = FILES * 5
    (tmp_path / "long.txt").write_text("\n".join(names))
    command = [sys.executable, "-m", "merclip", "predict", "--files-from", tmp_path / "long.txt"]
    with subprocess.Popen(
        [*map(str, command), "--model", model, "--format", "jsonl", "--output", str(target)],
        cwd=folder,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    ) as process:
        while not (target.exists() and target.stat().st_size > 500):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    before = ids_in(target) if target.read_bytes().endswith(b"\n") else None
    assert before is None or 0 < len(before) < len(names)
    run("--files-from", tmp_path / "long.txt", "--resume")
    assert ids_in(target) == names
    wanted = [json.loads(line) for line in whole[1].splitlines()]
    for row, expected in zip(rows_in(target)[:6], wanted, strict=True):
        # The killed process had one thread, and adds up in another order.
        scores, likely = row.pop("scores"), expected.pop("scores")
        assert scores == {name: score and pytest.approx(score) for name, score in likely.items()}
        assert row == expected


# Progress --------------------------------------------------------------------------------------


def test_without_a_terminal_a_long_run_says_lines(batch, monkeypatch):
    run, _ = batch
    monkeypatch.setattr(_progress, "SECONDS", 0)
    _, err = run("--files-from", "list.txt")
    assert "merclip: info: predict: 4 of 6 clips, 1 failed, " in err and " left\n" in err


def test_on_a_terminal_a_bar_counts_failures(batch, monkeypatch):
    run, _ = batch
    monkeypatch.setattr("merclip.cli.predict.on_terminal", lambda: True)
    _, err = run("--files-from", "list.txt")
    assert "failed=2" in err and "merclip: info" not in err


def test_evaluate_says_lines_too(folder, model, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(_progress, "SECONDS", 0)
    data = tmp_path / "data.csv"
    data.write_text("text,label\n" + "so glad,happy\noh dear,sad\n" * 3)
    assert main(["evaluate", str(data), "--model", model]) == 0
    assert "merclip: info: encode: 2 of 6 clips, " in capsys.readouterr().err


def test_a_fit_that_is_terminated_leaves_no_folder(model, monkeypatch, capsys, tmp_path):
    data, out = tmp_path / "data.csv", tmp_path / "new" / "model"
    data.write_text("text,label\n" + "so glad,happy\noh dear,sad\n" * 3)
    seen = []

    def stop():
        seen.append(out.parent.exists())
        signal.raise_signal(signal.SIGTERM)

    stopping(monkeypatch, 2, stop)
    assert main(["fit", str(data), "--out", str(out), "--model", model]) == 143
    assert seen == [False] and not out.parent.exists()
    assert capsys.readouterr().err.endswith("merclip: stopped: by SIGTERM\n")
