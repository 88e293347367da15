"""IEMOCAP's layout and its traps."""

from __future__ import annotations

import pytest

from merclip.datasets import load_iemocap
from merclip.datasets.iemocap import speaker_side
from merclip.errors import DatasetNotFoundError, InputError

CODES = ["ang", "hap", "exc", "sad", "neu", "fru", "xxx", "sur"]


def write(path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_session(root, number: int) -> None:
    session, dialogue = root / f"Session{number}", f"Ses0{number}M_script01_1b"
    names = [f"{dialogue}_{'MF'[i % 2]}{i:03}" for i in range(len(CODES))]
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for i, (name, code) in enumerate(zip(names, CODES, strict=True)):
        lines += [f"[{i}.5000 - {i + 2}.2500]\t{name}\t{code}\t[2.5, 2.5, 2.5]"]
        lines += ["C-E2:\tNeutral;\t()", "A-E3:\tval 3; act 2; dom 2;\t()", ""]
        write(session / "sentences" / "wav" / dialogue / f"{name}.wav")
    write(session / "dialog" / "EmoEvaluation" / f"{dialogue}.txt", "\n".join(lines))
    write(session / "dialog" / "EmoEvaluation" / f"._{dialogue}.txt", "[junk")
    spoken = [f"{name} [006.2901-008.2357]: Line {i}." for i, name in enumerate(names[1:])]
    text = "\n".join([*spoken, "M: Hello [over there"])
    write(session / "dialog" / "transcriptions" / f"{dialogue}.txt", text)
    write(session / "dialog" / "avi" / "DivX" / f"{dialogue}.avi")
    write(session / "dialog" / "wav" / f"{dialogue}.wav")


@pytest.fixture
def iemocap(tmp_path):
    write_session(tmp_path, 1)
    write_session(tmp_path, 5)
    return tmp_path


def test_six_emotions_with_session_5_to_test(iemocap):
    data = load_iemocap(iemocap)
    six = ["angry", "happy", "excited", "sad", "neutral", "frustrated"]
    assert data.y.tolist() == six * 2
    assert data.splits.tolist() == ["train"] * 6 + ["test"] * 6
    assert data.groups.tolist() == ["Session1"] * 6 + ["Session5"] * 6
    assert data.clips[1].text == "Line 0."
    assert data.clips[1].audio.endswith("Ses01M_script01_1b_F001.wav")
    report = data.report
    assert report.n_rows == 16
    assert len(report["no majority of annotators"]) == 2
    assert len(report["emotion outside the task"]) == 2
    assert len(report["no transcription"]) == 2
    assert len(report["transcription line of another form"]) == 2


def test_four_emotions_leave_one_session_out(iemocap):
    data = load_iemocap(iemocap, n_classes=4)
    assert data.y[:5].tolist() == ["angry", "happy", "happy", "sad", "neutral"]
    assert data.labels == ("happy", "sad", "neutral", "angry")
    assert data.splits is None
    for train, test in data.folds(2):
        assert not set(data.groups[train]) & set(data.groups[test])


def test_video_is_a_span_of_the_dialogue(iemocap):
    data = load_iemocap(iemocap, modalities=["video", "audio"])
    clip = data.clips[2]
    assert (clip.start, clip.end) == (2.5, 4.25)
    assert clip.video.endswith("Ses01M_script01_1b.avi")
    assert clip.audio.endswith("Ses01M_script01_1b.wav")
    assert speaker_side(data.clips[0].id) == "left"
    assert speaker_side(data.clips[1].id) == "right"
    assert data.clips[0].region == (0, 0, 0.5, 1)
    assert data.clips[1].region == (0.5, 0, 1, 1)
    assert load_iemocap(iemocap).clips[0].region is None


def test_sessions_that_are_not_there_are_said(iemocap):
    absent = load_iemocap(iemocap).report["session without its evaluations"]
    assert absent == ("Session2", "Session3", "Session4")


def test_elsewhere(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="EmoEvaluation.*sail.usc.edu"):
        load_iemocap(tmp_path)
    with pytest.raises(InputError, match="4 or 6"):
        load_iemocap(tmp_path, n_classes=5)
