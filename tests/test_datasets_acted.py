"""RAVDESS and CREMA-D: labels are in the names of files."""

from __future__ import annotations

import pytest

from merclip.datasets import load_cremad, load_ravdess
from merclip.errors import DatasetNotFoundError, InputError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"


def write(folder, *names: str, content: bytes = b"x") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(content)


@pytest.fixture
def ravdess(tmp_path):
    write(
        tmp_path / "Video_Speech_Actor_01" / "Actor_01",
        "01-01-06-02-02-01-01.mp4",
        "02-01-06-02-02-01-01.mp4",
        "01-01-01-01-01-01-01.mp4",
        "01-01-09-01-01-01-01.mp4",
    )
    write(tmp_path / "Actor_18", "03-01-03-01-01-02-18.wav", "03-02-03-01-01-02-18.wav")
    write(tmp_path / "copy" / "Actor_18", "03-01-03-01-01-02-18.wav")
    return tmp_path


def test_ravdess_takes_speech_with_picture_and_sound(ravdess):
    data = load_ravdess(ravdess, modalities=["video", "text"])
    assert [clip.id for clip in data.clips] == ["01-01-01-01-01-01", "01-06-02-02-01-01"]
    assert data.y.tolist() == ["neutral", "fearful"]
    assert data.groups.tolist() == ["Actor_01", "Actor_01"]
    assert data.clips[1].text == "Dogs are sitting by the door."
    assert data.splits is None and len(data.labels) == 8
    assert data.report.n_rows == 1440
    assert len(data.report["file missing"]) == 1438
    assert data.report["name is not of RAVDESS's form"] == ("01-01-09-01-01-01-01.mp4",)


def test_ravdess_sound_and_song(ravdess):
    data = load_ravdess(ravdess, modalities=["audio"])
    assert data.y.tolist() == ["happy"]
    assert data.clips[0].modalities == ("audio",)
    assert len(data.report["second copy of a file"]) == 1
    write(ravdess / "Actor_02", "03-02-03-01-01-02-02.wav")
    song = load_ravdess(ravdess, voice="song", modalities=["audio"])
    assert (song.report.n_rows, len(song)) == (1012, 1)  # actor 18 has no song
    assert len(song.labels) == 6


def test_ravdess_elsewhere(ravdess, tmp_path):
    with pytest.raises(DatasetNotFoundError, match="01-02-.*mp4.*zenodo.org"):
        load_ravdess(ravdess, voice="song")
    with pytest.raises(InputError, match="voice is one of"):
        load_ravdess(ravdess, voice="loud")


@pytest.fixture
def cremad(tmp_path):
    stems = ["1001_DFA_ANG_XX", "1002_IEO_HAP_HI", "1064_IEO_DIS_MD", "1064_TIE_SAD_XX"]
    write(tmp_path / "VideoFlash", *(f"{stem}.flv" for stem in stems))
    write(tmp_path / "AudioWAV", *(f"{stem}.wav" for stem in stems), "1040_ITH_SAD_X.wav")
    write(tmp_path / "AudioWAV", "1076_MTI_SAD_XX.wav", "notes.wav")
    write(tmp_path / "AudioWAV", "1003_TAI_NEU_XX.wav", content=POINTER)
    return tmp_path


def test_cremad_by_voice(cremad):
    data = load_cremad(cremad, modalities=["audio", "text"])
    assert dict(zip((clip.id for clip in data.clips), data.y, strict=True)) == {
        "1001_DFA_ANG_XX": "angry",
        "1002_IEO_HAP_HI": "happy",
        "1040_ITH_SAD_XX": "sad",
        "1064_IEO_DIS_MD": "disgust",
        "1064_TIE_SAD_XX": "sad",
    }
    assert data.clips[2].audio.endswith("1040_ITH_SAD_X.wav")
    assert data.clips[0].text == "Don't forget a jacket."
    assert data.groups[:2].tolist() == ["1001", "1002"]
    assert data.report["Git LFS pointer in place of the file"] == ("1003_TAI_NEU_XX",)
    assert data.report["sound is silent"] == ("1076_MTI_SAD_XX",)
    assert data.report["name is not of CREMA-D's form"] == ("notes",)


def test_cremad_broken_videos_lose_their_picture_only(cremad):
    alone = load_cremad(cremad)
    assert [clip.id for clip in alone.clips] == ["1001_DFA_ANG_XX", "1002_IEO_HAP_HI"]
    assert alone.report.count("undecodable") == 2
    both = load_cremad(cremad, modalities=["video", "audio"])
    kept = {clip.id: clip.modalities for clip in both.clips}
    assert kept["1064_IEO_DIS_MD"] == ("audio",)
    assert kept["1001_DFA_ANG_XX"] == ("video", "audio")


def test_cremad_list_and_votes(cremad):
    stems = ["1001_DFA_ANG_XX", "1002_IEO_HAP_HI", "1064_TIE_SAD_XX", "1091_WSI_SAD_XX"]
    listed = "".join(f"{i},{stem}\n" for i, stem in enumerate(stems))
    (cremad / "SentenceFilenames.csv").write_text(f"Stimulus_Number,Filename\n{listed}")
    votes = "1,1001_DFA_ANG_XX,A,D,N\n2,1002_IEO_HAP_HI,H,H,H:N\n"
    write(cremad / "processedResults")
    (cremad / "processedResults" / "summaryTable.csv").write_text(
        f"Row,FileName,VoiceVote,FaceVote,MultiModalVote\n{votes}"
    )
    data = load_cremad(cremad, target="multimodal", modalities=["audio"])
    assert data.y.tolist() == ["neutral"]
    assert data.report["votes are tied"] == ("1002_IEO_HAP_HI",)
    assert data.report["no votes"] == ("1064_TIE_SAD_XX",)
    assert data.report["file missing"] == ("1091_WSI_SAD_XX",)
    unlisted = data.report["file that is not in SentenceFilenames.csv"]
    assert "1040_ITH_SAD_XX" in unlisted and "1001_DFA_ANG_XX" not in unlisted


def test_cremad_elsewhere(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="VideoFlash.*nothing.*git lfs pull"):
        load_cremad(tmp_path)
    write(tmp_path / "AudioWAV", "1003_TAI_NEU_XX.wav", content=POINTER)
    with pytest.raises(DatasetNotFoundError, match="Git LFS pointer"):
        load_cremad(tmp_path, modalities=["audio"])
