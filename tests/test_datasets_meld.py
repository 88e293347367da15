"""MELD's layout and each of its traps."""

from __future__ import annotations

import pytest

from merclip.datasets import load_meld
from merclip.errors import DatasetNotFoundError, InputError, InputTypeError

HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,"
    "StartTime,EndTime"
)
CLIPS = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}


def row(dialogue: int, utterance: int, text="hi", emotion="joy", end="00:00:02,000") -> str:
    return f'1,"{text}",Ross,{emotion},positive,{dialogue},{utterance},1,1,"00:00:00,000","{end}"'


def write_part(root, part: str, rows: list[str], files: list[str], *, below: str = "") -> None:
    folder = root / below / CLIPS[part]
    folder.mkdir(parents=True, exist_ok=True)
    table = "\n".join([HEADER, *rows]) + "\n"
    (root / below / f"{part}_sent_emo.csv").write_text(table, encoding="utf-8")
    for name in files:
        (folder / f"{name}.mp4").write_bytes(b"x")


@pytest.fixture
def meld(tmp_path):
    root = tmp_path / "MELD.Raw"
    write_part(
        root,
        "train",
        [
            row(0, 0, "You\u0092re \u0096 here, it\u2019s me"),
            row(125, 3),
            row(338, 3, end="00:00:00,006"),
            row(309, 0, end="00:00:41,000"),
            row(0, 0, "again"),
        ],
        ["dia0_utt0", "dia125_utt3", "dia338_utt3", "dia309_utt0", "._dia0_utt0"],
        below="train",
    )
    write_part(
        root, "dev", [row(0, 0, emotion="Neutral"), row(110, 7)], ["dia0_utt0", "dia66_utt9"]
    )
    corrected = "final_videos_testdia0_utt0"
    write_part(root, "test", [row(0, 0), row(1, 0)], ["dia0_utt0", corrected, "dia1_utt0"])
    return root


def test_parts_labels_and_groups(meld):
    data = load_meld(meld.parent)
    ids = [clip.id for clip in data.clips]
    assert ids == [
        *("train/dia0_utt0", "train/dia338_utt3", "train/dia309_utt0"),
        *("dev/dia0_utt0", "test/dia0_utt0", "test/dia1_utt0"),
    ]
    assert data.splits.tolist() == ["train"] * 3 + ["valid"] + ["test"] * 2
    assert data.y.tolist() == ["joy"] * 3 + ["neutral"] + ["joy"] * 2
    assert data.labels[0] == "neutral" and len(data.labels) == 7
    assert data.groups[0] == "train/dia0" != data.groups[3]
    assert len(data.split("test")) == 2
    assert set(load_meld(meld, target="sentiment").y) == {"positive"}


def test_traps_are_handled_and_counted(meld):
    data = load_meld(meld)
    report = data.report
    assert report["known not to decode"] == ("train/dia125_utt3",)
    assert report["file missing"] == ("dev/dia110_utt7",)
    assert report["utterance listed twice"] == ("train/dia0_utt0",)
    assert report["at most 0.1 s long by its times"] == ("train/dia338_utt3",)
    assert report["clip without a row"] == ("dev/dia66_utt9.mp4",)
    assert report["corrected clip final_videos_test*"] == ("test/dia0_utt0",)
    assert "final_videos_test" in data.clips[4].video
    assert (data.clips[2].end, data.clips[0].end) == (30.0, None)
    assert (report.n_rows, report.n_clips) == (9, 6)
    assert data.clips[0].text == "You’re – here, it’s me"
    assert report["Windows quotes in the text repaired"] == ("train/dia0_utt0",)


def test_text_alone_needs_no_clips(meld):
    data = load_meld(meld, modalities=["text"])
    assert len(data) == 8
    assert data.clips[0].modalities == ("text",)


def test_a_part_that_is_not_there_is_said(tmp_path):
    write_part(tmp_path, "dev", [row(0, 0)], ["dia0_utt0"])
    assert load_meld(tmp_path).report["part without its csv file"] == ("train", "test")


def test_a_wrong_folder_says_what_was_found_and_how_to_get_it(tmp_path):
    (tmp_path / "train.tar.gz").write_bytes(b"x")
    with pytest.raises(DatasetNotFoundError) as caught:
        load_meld(tmp_path)
    for part in ("train_sent_emo.csv", "train.tar.gz", "affective-meld.github.io", "unpack"):
        assert part in str(caught.value)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_meld(tmp_path / "nowhere")


def test_wrong_parameters(meld):
    with pytest.raises(InputError, match="target is one of"):
        load_meld(meld, target="mood")
    with pytest.raises(InputTypeError, match="not a string"):
        load_meld(meld, modalities="video")
    with pytest.raises(InputError, match="modalities are some of"):
        load_meld(meld, modalities=["sound"])
