"""CMU-MOSI and CMU-MOSEI, in CMU's folders and in MMSA's."""

from __future__ import annotations

import numpy as np
import pytest

from merclip.datasets import load_mosei, load_mosi
from merclip.datasets.mosei import parse_line
from merclip.errors import DatasetNotFoundError, InputError

HARD = "mjQfQx2K__8"
HEADER = "Input.VIDEO_ID,Input.CLIP," + ",".join(
    f"Answer.{name}"
    for name in ("sentiment", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
)


def touch(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def write_mmsa(root, rows, *, media: bool = True) -> None:
    """Write label.csv with MOSEI's order of columns, and the clips."""
    table = ["video_id,clip_id,text,label,annotation,mode,label_T,label_A,label_V"]
    for video, clip, score, mode in rows:
        table.append(f"{video},{clip},words {clip},{score},Neutral,{mode},,,")
        if media:
            touch(root / "Raw" / video / f"{clip}.mp4")
    root.mkdir(exist_ok=True)
    (root / "label.csv").write_text("\n".join(table) + "\n", encoding="utf-8")


MMSA = [
    ("0123456", 1, 2.4, "train"),
    ("0123456", 2, 0.0, "train"),
    ("-abc", 10, -0.8, "valid"),
    ("_x", 3, -3.0, "test"),
]


def test_mosi_in_mmsas_folder(tmp_path):
    write_mmsa(tmp_path, MMSA)
    data = load_mosi(tmp_path)
    assert [clip.id for clip in data.clips] == ["0123456_1", "-abc_10", "_x_3"]
    assert data.y.tolist() == ["positive", "negative", "negative"]
    assert data.splits.tolist() == ["train", "valid", "test"]
    assert data.groups.tolist() == ["0123456", "-abc", "_x"]
    assert data.clips[0].text == "words 1"
    assert data.report["sentiment exactly 0, neither negative nor positive"] == ("0123456_2",)
    scores = load_mosi(tmp_path, target="score", modalities=["text"])
    assert scores.y.tolist() == [2.4, 0.0, -0.8, -3.0] and scores.labels == ()
    with pytest.raises(DatasetNotFoundError, match="for audio"):
        load_mosi(tmp_path, modalities=["audio"])


@pytest.fixture
def mosi(tmp_path):
    raw = tmp_path / "Raw"
    touch(raw / "Labels" / "OpinionLevelSentiment.csv")
    (raw / "Labels" / "OpinionLevelSentiment.csv").write_text(
        "0.5,2.5,vid,1,2.0\n2.5,4.0,vid,2,-1.2\n1,2,vid,1,2.0\n1,2,_other,1,1.0\n"
    )
    touch(raw / "Transcript" / "Segmented" / "vid.annotprocessed")
    (raw / "Transcript" / "Segmented" / "vid.annotprocessed").write_text("1_DELIM_SO GOOD\n")
    return tmp_path


def test_mosi_in_cmus_folder(mosi):
    for number in (1, 2):
        touch(mosi / "Raw" / "Video" / "Segmented" / f"vid_{number}.mp4")
    data = load_mosi(mosi, splits={"vid": "test"})
    assert data.y.tolist() == ["positive", "negative"]
    assert [clip.text for clip in data.clips] == ["SO GOOD", None]
    assert data.splits.tolist() == ["test", "test"]
    assert data.report["segment listed twice"] == ("vid_1",)
    assert data.report["no transcript"] == ("vid_2",)
    assert data.report["file missing"] == ("_other_1",)
    assert load_mosi(mosi).splits is None


def test_mosi_whole_videos_are_cut_by_time(mosi):
    touch(mosi / "Raw" / "Video" / "Full" / "vid.mp4")
    clip = load_mosi(mosi, modalities=["video"]).clips[1]
    assert (clip.start, clip.end) == (2.5, 4.0)
    assert clip.video.endswith("vid.mp4")


def test_mosi_table_and_text_of_mmsa_beside_cmus_cut_clips(tmp_path):
    write_mmsa(tmp_path, [("vid", 1, 2.0, "train"), ("vid", 2, -1.0, "test")], media=False)
    for number in (1, 2):
        touch(tmp_path / "Raw" / "Video" / "Segmented" / f"vid_{number}.mp4")
    data = load_mosi(tmp_path)
    assert data.splits.tolist() == ["train", "test"]
    assert data.clips[1].video.endswith("vid_2.mp4")
    touch(tmp_path / "Raw" / "Labels" / "OpinionLevelSentiment.csv")
    labels = tmp_path / "Raw" / "Labels" / "OpinionLevelSentiment.csv"
    labels.write_text("0.5,2.5,vid,1,2.0\n2.5,4.0,vid,2,-1.2\n")
    touch(tmp_path / "Raw" / "Transcript" / "Segmented" / "vid.annotprocessed")
    texts = tmp_path / "Raw" / "Transcript" / "Segmented" / "vid.annotprocessed"
    texts.write_text("1_DELIM_OWN WORDS\n")
    assert [clip.text for clip in load_mosi(tmp_path).clips] == ["OWN WORDS", "words 2"]


def test_mosi_csd_goes_with_whole_videos(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "CMU_MOSI_Opinion_Labels.csd", "w") as file:
        group = file.create_group("Opinion Segment Labels/data/vid")
        group["intervals"] = np.array([[2.5, 4.0], [0.5, 2.5]])
        group["features"] = np.array([[-1.2], [2.0]])
    touch(tmp_path / "Raw" / "Video" / "Segmented" / "vid_1.mp4")
    with pytest.raises(DatasetNotFoundError, match="Video/Full"):
        load_mosi(tmp_path)
    touch(tmp_path / "Raw" / "Video" / "Full" / "vid.mp4")
    data = load_mosi(tmp_path, splits={"vid": "test"})
    assert data.y.tolist() == ["positive", "negative"]
    assert [(clip.start, clip.end) for clip in data.clips] == [(0.5, 2.5), (2.5, 4.0)]
    assert [clip.text for clip in data.clips] == [None, None]
    assert data.splits.tolist() == ["test", "test"]


@pytest.mark.parametrize("video", [HARD, "_x", "-abc", "0123456"])
def test_mosei_lines_with_hard_ids(video):
    segment = parse_line(f"{video}___7___-0.4___3.5___so___what __ now", video)
    assert (segment.video, segment.number, segment.text) == (video, "7", "so___what __ now")
    assert (segment.start, segment.end) == (-0.4, 3.5)
    assert parse_line("other___1___0___1___x", video) is None
    assert parse_line(f"{video}___1___soon___1___x", video) is None


def write_lines(root, video: str, *lines: str) -> None:
    path = root / "Transcript" / "Segmented" / "Combined" / f"{video}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(f"{video}___{line}" for line in lines) + "\n\nbroken\n"
    path.write_bytes(text.encode() + b"\xff\n")


@pytest.fixture
def mosei(tmp_path):
    write_lines(tmp_path, HARD, "0___-0.4___2.0___first", "3___2.0___5.0___second")
    write_lines(tmp_path, "_x", "1___0.0___1.0___other", "2___3.0___3.0___nothing")
    for video in (HARD, "_x"):
        touch(tmp_path / "Videos" / "Full" / "Combined" / f"{video}.mp4")
    touch(tmp_path / "Labels" / "5000_batch_raw.csv")
    (tmp_path / "Labels" / "5000_batch_raw.csv").write_text(
        f"{HEADER}\n"
        f"{HARD},0,1,0,0,0,1,0,0\n{HARD},0,2,0,0,1,2,0,0\n{HARD},0,3,0,0,0,0,0,\n"
        f"{HARD},3,-1,0,0,0,0,0,0\n_x,2,1,1,1,1,1,1,1\n"
    )
    touch(tmp_path / "Labels" / "another.csv")
    return tmp_path


def test_mosei_answers_of_annotators(mosei):
    data = load_mosei(mosei)
    assert [clip.id for clip in data.clips] == [f"{HARD}_0", f"{HARD}_3"]
    assert data.y.tolist() == [("happy", "fear"), ()]
    assert data.labels == ("happy", "sad", "anger", "surprise", "disgust", "fear")
    assert data.splits is None
    assert (data.clips[0].start, data.clips[0].end) == (0.0, 2.0)
    report = data.report
    assert report["starts before 0 s, taken from 0 s on"] == (f"{HARD}_0",)
    assert report["no emotion labels for the segment"] == ("_x_1",)
    assert report["ends before it starts"] == ("_x_2",)
    assert report["no emotion above the threshold"] == (f"{HARD}_3",)
    assert report["annotator left an answer out"] == (f"{HARD}_0",)
    assert report["csv file without the columns of answers"] == ("another.csv",)
    assert len(report["transcript line of another form"]) == 4
    assert load_mosei(mosei, threshold=0.5).y.tolist() == [("happy",), ()]
    assert load_mosei(mosei, target="score").y.tolist() == [1.5, -1.0]


def test_mosei_labels_are_joined_by_time_and_not_by_row(mosei):
    h5py = pytest.importorskip("h5py")
    with h5py.File(mosei / "CMU_MOSEI_Labels.csd", "w") as file:
        group = file.create_group(f"All Labels/data/{HARD}")
        group["intervals"] = np.array([[2.0, 5.0004], [-0.4, 2.0]])
        group["features"] = np.array([[-1, 0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 1 / 3]])
    data = load_mosei(mosei)
    assert data.y.tolist() == [("fear",), ("sad",)]
    assert data.report["no emotion labels for the segment"] == ("_x_1", "_x_2")
    assert load_mosei(mosei, target="sentiment").y.tolist() == ["positive", "negative"]


@pytest.mark.parametrize(("late", "joined"), [(0.001, True), (0.01, False)])
def test_mosei_times_may_differ_by_a_millisecond(tmp_path, late, joined):
    h5py = pytest.importorskip("h5py")
    write_lines(tmp_path / "Raw", "_x", "1___301.7___305.1___late", "2___0.0___1.0___first")
    touch(tmp_path / "Raw" / "Videos" / "Full" / "Combined" / "_x.mp4")
    with h5py.File(tmp_path / "Raw" / "CMU_MOSEI_Labels.csd", "w") as file:
        group = file.create_group("All Labels/data/_x")
        group["intervals"] = np.array([[301.7 + late, 305.1 + late], [0, 1]], np.float32)
        group["features"] = np.array([[1, 1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0, 0]], float)
    assert load_mosei(tmp_path).y.tolist() == [("happy",), ("sad",)][not joined :]


def test_mosei_table_of_mmsa_beside_cmus_cut_clips(tmp_path):
    write_mmsa(tmp_path, [("_x", 1, -1.0, "test")], media=False)
    touch(tmp_path / "Raw" / "Videos" / "Segmented" / "Combined" / "_x_1.mp4")
    data = load_mosei(tmp_path, target="sentiment")
    assert data.clips[0].video.endswith("_x_1.mp4")


def test_mosei_csd_that_is_none(mosei):
    pytest.importorskip("h5py")
    touch(mosei / "CMU_MOSEI_Labels.csd")
    with pytest.raises(InputError, match="not a .csd file"):
        load_mosei(mosei)


def test_mosei_ids_and_splits_come_from_mmsas_table(mosei):
    rows = [(HARD, 0, 1.0, "train"), (HARD, 9, 1.0, "train"), ("_x", 1, -1.0, "test")]
    write_mmsa(mosei, rows, media=False)
    data = load_mosei(mosei, target="sentiment")
    assert data.splits.tolist() == ["train", "test"]
    assert data.y.tolist() == ["positive", "negative"]
    unknown = data.report["no transcript line, so start and end are unknown"]
    assert unknown == (f"{HARD}_9",)


def test_mosei_in_mmsas_folder(tmp_path):
    write_mmsa(tmp_path, MMSA)
    assert load_mosei(tmp_path, target="sentiment").splits.tolist() == ["train", "valid", "test"]
    with pytest.raises(DatasetNotFoundError, match="CMU_MOSEI_Labels.csd"):
        load_mosei(tmp_path)


@pytest.mark.parametrize("load", [load_mosi, load_mosei])
def test_elsewhere(tmp_path, load):
    with pytest.raises(DatasetNotFoundError, match="label.csv.*research use"):
        load(tmp_path)
