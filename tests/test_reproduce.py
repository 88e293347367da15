"""The paper's tables: what they hold, what is measured, and `merclip reproduce`."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from media_files import tone, write_clip
from safetensors.torch import save_file

from conftest import TINY, make_clips
from merclip import Clip, Clips, EmotionClassifier
from merclip.cli import main
from merclip.datasets import Dataset, LoadReport
from merclip.errors import InputError, LabelError
from merclip.evaluation import Condition, Report, Run
from merclip.evaluation.baselines import baselines_beside
from merclip.evaluation.reproduce import (
    TABLES,
    Comparison,
    Line,
    find_table,
    forget_fusion,
    reproduce,
)
from merclip.evaluation.reproduce.fresh import as_features_of, same_encoders
from merclip.evaluation.reproduce.paper import ACC_2, F1
from merclip.evaluation.reproduce.texts import texts_of
from merclip.network import build_towers

SMALL = {
    "embed_dim": 16,
    "vision_cfg": {**TINY["vision_cfg"], "layers": 1, "width": 16},
    "text_cfg": {**TINY["text_cfg"], "layers": 1, "width": 16},
}
"""Smaller still, as a table is many networks."""

PARTS = ["train", "train", "train", "valid", "test"]
SENTIMENTS = [1.0, -2.0, 2.5, -0.4, 0.0, -3.0, 1.2, -1.0, 3.0, -1.6]
EMOTION_WORDS = ("happy", "sad", "angry", "surprise", "disgust", "fear")
EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")


def own_data(n=20, *, change=None):
    """Return clips of all three modalities with official parts and speakers."""
    clips, y = make_clips(n)
    clips = [clip if change is None else change(index, clip) for index, clip in enumerate(clips)]
    splits = np.array([PARTS[index // 2 % 5] for index in range(n)])
    groups = np.array([f"speaker {index // 4}" for index in range(n)])
    report = LoadReport("own", "-", n, n, ())
    return Dataset("own", Clips(clips), np.array(y), ("angry", "happy"), groups, splits, report)


def with_rows(name, *rows):
    """Return a table with some of its rows, to be quick."""
    table = find_table(name)
    return replace(table, rows=tuple(row for row in table.rows if row.name in rows))


def maker(seen=None, **params):
    """Return what makes tiny classifiers whose towers are always the same."""

    def make(changes, seed):
        if seen is not None:
            seen.append((dict(changes), seed))
        made = EmotionClassifier(
            model=SMALL, pretrained="random", epochs=1, random_state=0, **params
        )
        forget_fusion(made.network_, changes, seed)
        return made

    return make


# What the paper says --------------------------------------------------------------


def numbers(name):
    """Return what the paper has for the rows of a table, in the order of its measures."""
    return {row.name: [*row.paper.values()] for row in TABLES[name].rows}


def test_the_papers_numbers():
    assert numbers("table-mosi-sentiment") == {"MER-CLIP": [84.0, 84.0]}
    assert numbers("table-mosei-sentiment") == {"MER-CLIP": [85.3, 85.1]}
    assert numbers("table-mosei-emotion") == {"MER-CLIP": [49.3, 53.1, 63.4, 57.8]}
    modality = {
        **{"V": [74.7, 73.8], "A": [70.9, 69.1], "L": [83.7, 83.6]},
        **{"VA": [74.6, 74.4], "AV": [75.0, 73.9], "AL": [84.4, 84.4], "LA": [84.5, 84.6]},
        **{"VL": [84.7, 84.5], "LV": [84.4, 84.4], "LVA": [85.3, 85.1]},
    }
    assert numbers("ablation-modality") == modality
    order = {
        **{"V -> A -> L": [84.5, 84.3], "A -> V -> L": [84.8, 84.7], "A -> L -> V": [84.6, 84.5]},
        **{"L -> A -> V": [85.0, 84.7], "V -> L -> A": [85.0, 84.8], "L -> V -> A": [85.3, 85.1]},
    }
    assert numbers("ablation-fusion") == order
    assert numbers("ablation-components") == {
        "w/o CMD, LE": [81.1, 80.5],
        "LE only": [85.1, 84.7],
        "CMD only": [84.4, 84.1],
        "CMD and LE": [85.3, 85.1],
    }
    assert numbers("labels-mosi-sentiment") == {
        "word": [84.0, 84.0],
        "phrase": [84.0, 83.8],
        "sentence": [],
    }
    assert numbers("labels-mosei-sentiment")["phrase"] == [84.7, 84.5]
    assert numbers("labels-mosei-emotion")["sentence"] == [49.1, 54.8, 59.2, 56.9]
    words = ["Emotion", "Sentiment", "Feeling", "Impression", "Mood", "Sensation", "(no word)"]
    mosi = [[85.1, 85.0], [84.0, 84.0], [83.5, 83.4], [84.5, 84.3], [83.9, 83.7], [85.7, 85.5]]
    assert numbers("query-mosi-sentiment") == dict(zip(words, [*mosi, [84.0, 84.0]], strict=True))
    mosei = [[85.2, 85.1], [85.3, 85.1], [85.4, 85.2], [85.5, 85.5], [85.5, 85.3], [85.0, 84.8]]
    assert numbers("query-mosei-sentiment") == dict(zip(words, [*mosei, [85.0, 85.0]], strict=True))
    emotion = numbers("query-mosei-emotion")
    assert [*emotion] == words and emotion["Mood"] == [49.2, 53.3, 61.9, 57.3]
    assert emotion["(no word)"] == [49.1, 52.7, 62.8, 57.3]


def test_the_papers_own_setting_has_the_same_number_in_every_table():
    for data, word in (("mosi-sentiment", "Sentiment"), ("mosei-sentiment", "Sentiment")):
        (whole,) = numbers(f"table-{data}").values()
        assert whole == numbers(f"query-{data}")[word] == numbers(f"labels-{data}")["word"]
    (whole,) = numbers("table-mosei-emotion").values()
    assert whole == numbers("query-mosei-emotion")["Emotion"]
    assert find_table("query-words") is TABLES["query-mosi-sentiment"]


def test_other_systems_that_the_paper_quotes():
    mosi, mosei = TABLES["table-mosi-sentiment"].others, TABLES["table-mosei-sentiment"].others
    assert mosi["MulT"] == {ACC_2: 81.1, F1: 81.0} and mosei["MulT"] == {ACC_2: 81.6, F1: 81.6}
    assert [*mosi] == [*mosei] and len(mosi) == 8 and mosei["DMD"] == {ACC_2: 84.8, F1: 84.7}
    emotion = TABLES["table-mosei-emotion"].others
    assert [*emotion] == ["DFG", "RAVEN", "MulT", "SIMM", "MISA", "HHMPN", "TAILOR"]
    assert [*emotion["TAILOR"].values()] == [46.0, 63.9, 45.2, 52.9]


@pytest.mark.parametrize("name", [n for n in TABLES if TABLES[n].target == "emotion"])
def test_the_papers_f1_follows_from_its_precision_and_recall(name):
    for row in TABLES[name].rows:
        if row.paper:
            precision, recall = row.paper["micro_precision"], row.paper["micro_recall"]
            f1 = 2 * precision * recall / (precision + recall)
            assert f1 == pytest.approx(row.paper["micro_f1"], abs=0.06)


def test_rows_are_networks_that_can_be_made():
    for table in TABLES.values():
        names = [row.name for row in table.rows]
        assert len(set(names)) == len(names) and table.data in ("mosi", "mosei")
        assert set().union(*(row.paper for row in table.rows)) <= set(table.measures)
        assert table.changes_network == any(row.network for row in table.rows)
    orders = [row.network["fusion"] for row in TABLES["ablation-fusion"].rows]
    assert len(set(orders)) == 6 and {"".join(sorted(order)) for order in orders} == {"ALV"}
    with pytest.raises(InputError, match="ablation-modality"):
        find_table("table-9")


def test_texts_of_labels():
    assert texts_of("word", ["happy", "anger"]) == {"happy": "happy", "anger": "angry"}
    assert list(texts_of("phrase", ["negative", "positive"])) == ["negative", "positive"]
    given = {"sentence": {"bored": ["Somebody yawns."], "sad": "Tears."}}
    assert texts_of("sentence", ["bored", "sad"], given) == given["sentence"]
    spelt = {"sentence": {"Angry": "Rage.", "SAD": "Tears."}}
    assert texts_of("sentence", ["anger", "sad"], spelt) == {"anger": "Rage.", "sad": "Tears."}
    with pytest.raises(LabelError, match="no phrase for 'bored'"):
        texts_of("phrase", ["sad", "bored"], given)


# Fusion that starts afresh ----------------------------------------------------------


def trained(tiny, clips_and_labels):
    return tiny(epochs=2).fit(*clips_and_labels)


def test_fusion_is_forgotten_and_encoders_are_not(tiny, clips_and_labels):
    classifier = trained(tiny, clips_and_labels)
    network = classifier.network_
    encoders = {name: value.clone() for name, value in network.encoders.state_dict().items()}
    decoder = network.decoder.layers["L"][0].attention.in_proj_weight.clone()
    forget_fusion(network, {"fusion": "AVL"}, seed=3)
    assert classifier.network_ is network and network.config.fusion == "AVL"
    assert not network.fusion_trained and not network.training
    assert all(torch.equal(encoders[k], v) for k, v in network.encoders.state_dict().items())
    assert not torch.equal(decoder, network.decoder.layers["L"][0].attention.in_proj_weight)
    again = trained(tiny, clips_and_labels).network_
    forget_fusion(again, {"fusion": "AVL"}, seed=3)
    assert all(torch.equal(again.state_dict()[k], v) for k, v in network.state_dict().items())
    forget_fusion(again, {}, seed=4)
    assert not torch.equal(again.query_prompt.vectors, network.query_prompt.vectors)


@pytest.mark.filterwarnings("ignore:.*does not take text")
@pytest.mark.parametrize(
    "changes",
    [
        {"use_decoder": False, "use_label_encoder": False},
        {"use_label_encoder": False},
        {"query": None},
        {"fusion": "VA"},
    ],
)
def test_what_forgot_its_fusion_learns_anew(tiny, clips_and_labels, changes):
    clips, y = clips_and_labels
    classifier = trained(tiny, clips_and_labels)
    forget_fusion(classifier.network_, changes, seed=0)
    classifier.set_params(warm_start=True, epochs=25).fit(classifier.encode(clips), y)
    assert classifier.score(clips, y) > 0.8


def test_a_modality_without_encoder_cannot_be_fused(tiny):
    with pytest.raises(InputError, match="no encoder for A"):
        forget_fusion(tiny(network={"fusion": "LV"}).network_, {"fusion": "LVA"}, seed=0)


@pytest.mark.filterwarnings("ignore:.*does not take text")
def test_features_are_shared_among_networks_with_the_same_encoders(tiny, clips_and_labels):
    clips, _ = clips_and_labels
    whole, part = tiny(["happy", "angry"]), tiny(["happy", "angry"])
    forget_fusion(part.network_, {"fusion": "VA"}, seed=1)
    assert same_encoders(part.network_, whole.network_)
    assert not same_encoders(whole.network_, part.network_)
    shared, own = as_features_of(part, whole.encode(clips[:3])), part.encode(clips[:3])
    assert shared.origin == own.origin
    for ours, theirs in zip(shared, own, strict=True):
        assert set(ours.sequences) == set(theirs.sequences) == {"V", "A"}
        assert all(torch.allclose(ours.sequences[k], theirs.sequences[k], atol=1e-5) for k in "VA")
    next(part.network_.encoders["V"].parameters()).data += 1
    assert not same_encoders(part.network_, whole.network_)


# Measuring a table --------------------------------------------------------------------


def test_each_row_is_trained_for_each_seed():
    seen = []
    table = with_rows("query-mosi-sentiment", "Emotion", "Sentiment", "(no word)")
    found = reproduce(table, own_data(), maker(seen), seeds=(0, 5, 5), published=False)
    queries = ["Emotion", "Sentiment", None]
    assert seen == [({}, 0), *(({"query": q}, seed) for q in queries for seed in (0, 5))]
    assert [line.name for line in found.lines] == [row.name for row in table.rows]
    for line in found.lines:
        assert [run.seed for run in line.condition.runs] == [0, 5]
        assert line.condition.runs[0].ids == found.lines[0].condition.runs[0].ids
        assert line.condition.runs[0].learned == 12 and len(line.condition.runs[0].ids) == 4
        probabilities = [run.probability for run in line.condition.runs]
        assert not np.allclose(*probabilities)
    assert list(found.measures) == ["accuracy", "balanced_accuracy", "macro_f1", "weighted_f1"]
    assert "paper |" not in found.to_markdown() and "—" not in found.to_markdown()


def test_a_row_uses_its_modalities_alone():
    def other_text(index, clip):
        return Clip(clip.video, clip.audio, f"word {index}", id=clip.id)

    table = with_rows("ablation-modality", "L", "VA", "LVA")
    plain = reproduce(table, own_data(), maker(), seeds=(0,), published=False)
    changed = reproduce(table, own_data(change=other_text), maker(), seeds=(0,), published=False)
    for name in ("L", "VA", "LVA"):
        one, two = (found[name].condition.runs[0].probability for found in (plain, changed))
        assert np.allclose(one, two, atol=1e-6) == ("L" not in name)


def test_clips_that_lack_a_modality_are_left_out():
    def silent(index, clip):
        return Clip(clip.video, None if index == 3 else clip.audio, clip.text, id=clip.id)

    def mute(index, clip):
        return Clip(clip.video, None, clip.text, id=clip.id)

    table = with_rows("ablation-modality", "L", "V", "LVA")
    found = reproduce(table, own_data(change=silent), maker(), seeds=(0,), published=False)
    assert "1 clips are left out that lack a modality." in found.notes
    assert found["V"].condition.runs[0].learned == 11
    found = reproduce(table, own_data(change=mute), maker(), seeds=(0,), published=False)
    assert [line.name for line in found.lines] == ["L", "V"]
    assert "Not measured, as no clip has audio: LVA." in found.notes
    with pytest.raises(InputError, match="no clip has audio"):
        reproduce(find_table("ablation-fusion"), own_data(change=mute), maker(), seeds=(0,))


def test_wordings_baselines_and_what_was_not_trained():
    table = find_table("labels-mosei-emotion")
    texts = {
        "phrase": {"happy": "full of joy", "angry": "full of rage"},
        "sentence": {"happy": ["It is fun.", "Joy!"], "angry": "Get out."},
    }
    found = reproduce(
        table,
        own_data(),
        maker(),
        seeds=(0, 1),
        published=False,
        texts=texts,
        with_baselines=True,
    )
    names = [line.name for line in found.lines]
    beside = [*baselines_beside(maker()({}, 0).with_labels(["a", "b"]))]
    assert names[:3] == ["word", "phrase", "sentence"]
    assert set(names[3:]) == {f"{name}, beside sentence" for name in ["zero-shot", *beside]}
    assert len(found["zero-shot, beside sentence"].condition.runs) == 1
    assert len(found["majority, beside sentence"].condition.runs) == 2
    assert found["majority, beside sentence"].condition.mean["accuracy"] == 0.5
    assert found.reports["sentence"].labels == {
        "angry": ["Get out."],
        "happy": ["It is fun.", "Joy!"],
    }
    assert "- sentence, happy: It is fun. / Joy!" in found.to_markdown()
    with pytest.raises(LabelError, match="no phrase for 'angry'"):
        reproduce(table, own_data(), maker(), seeds=(0,))
    with pytest.raises(InputError, match="seeds"):
        reproduce(table, own_data(), maker(), seeds=(), texts=texts)


def test_folds_where_there_are_no_parts():
    table = with_rows("query-mosi-sentiment", "Emotion")
    found = reproduce(table, own_data(), maker(), seeds=(0, 1), folds=2, published=False)
    runs = found["Emotion"].condition.runs
    assert [(run.seed, run.fold) for run in runs] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert "There are no official parts here: mean over 2 folds of whole groups." in found.notes
    assert "8 to 12 clips learned from, 0 to choose on, 8 to 12 tested" in found.to_markdown()


def test_other_systems_stand_beside_the_papers_data_alone():
    table = find_table("table-mosei-emotion")
    for published, names in ((True, [*table.others, "MER-CLIP"]), (False, ["MER-CLIP"])):
        found = reproduce(table, own_data(), maker(), seeds=(0,), published=published)
        lines = [line.name for line in found.lines]
        assert lines[: len(names)] == names and len(lines) == len(names) + 1
    assert "Of other systems" not in found.to_markdown()


def test_the_output_says_whose_texts_stand_beside_the_papers_number():
    table, labels = find_table("labels-mosei-sentiment"), ("negative", "positive")
    data = replace(own_data(), labels=labels, y=np.array(["negative", "positive"] * 10))

    def said(texts=None, published=True):
        found = reproduce(table, data, maker(), seeds=(0,), published=published, texts=texts)
        return [note for note in found.notes if "merclip's own" in note]

    # The paper has no number for sentences here, so that nothing stands beside one.
    (note,) = said()
    assert "'phrase'" in note and "(negative, positive)" in note and "Tables 5 and 6" in note
    assert "(positive)" in said({"phrase": {"negative": "low"}})[0]
    assert not said({"phrase": dict.fromkeys(labels, "x")}) and not said(published=False)


def comparison():
    """Return a comparison made by hand: 3 of 4 and 2 of 4 clips right, in two runs."""
    truth = np.array([0, 0, 1, 1])
    runs = tuple(
        Run(tuple("abcd"), truth, np.eye(2)[said], seed, learned=10, held_out=2)
        for seed, said in enumerate(([0, 0, 1, 0], [0, 1, 1, 0]))
    )
    condition = Condition("supervised", runs)
    report = Report(
        "supervised",
        {"a": ["a"], "b": ["B"]},
        (condition,),
        16,
        model={"name": "mini", "revision": "abc", "pretrained": None},
        data={"name": "CMU-MOSI", "clips": 16},
        versions={"merclip": "1"},
    )
    return Comparison(
        find_table("table-mosi-sentiment"),
        {"accuracy": "Acc", "macro_f1": "F1"},
        True,
        (
            Line("quoted", None, {"accuracy": 74.0, "macro_f1": 73.0}),
            Line("MER-CLIP", condition, {"accuracy": 84.0}),
            Line("other", condition),
        ),
        {"MER-CLIP": report},
        ("A note.",),
        {"seeds": [0, 1], "tune": "head"},
    )


def test_a_comparison_in_markdown():
    text = comparison().to_markdown()
    assert text.startswith("# CMU-MOSI, sentiment (table-mosi-sentiment)\n\n")
    assert "10 clips learned from, 2 to choose on, 4 tested; seeds 0, 1; in percent" in text
    assert "| row      | Acc paper |    Acc ours | F1 paper |     F1 ours |" in text
    assert "| MER-CLIP |      84.0 | 62.5 ± 17.7 |        — | 61.7 ± 16.5 |" in text
    assert "| other    |         — | 62.5 ± 17.7 |" in text
    assert "| quoted   |      74.0 |           — |     73.0 |           — |" in text
    for line in ("A note.", "- model: mini", "- revision: abc", "- tune: head"):
        assert f"\n{line}" in text
    assert "- data, clips: 16" in text and "- MER-CLIP, b: B" in text and "pretrained" not in text


def test_a_comparison_as_json_and_csv():
    found = comparison()
    values = json.loads(found.to_json())
    assert values == found.to_dict()
    assert values["lines"][1]["paper"] == {"accuracy": 84.0, "macro_f1": None}
    assert values["lines"][1]["ours"]["accuracy"]["mean"] == 62.5
    assert values["lines"][0]["paper"] == {"accuracy": 74.0, "macro_f1": 73.0}
    assert values["lines"][0]["ours"]["accuracy"] == {"mean": None, "std": None}
    assert values["reports"]["MER-CLIP"]["conditions"][0]["runs"][1]["metrics"]["accuracy"] == 0.5
    rows = list(csv.DictReader(found.to_csv().splitlines()))
    assert rows[2]["paper"] == "84.0" and rows[2]["mean"] == "62.5" and rows[2]["n_runs"] == "2"
    assert rows[3]["paper"] == "" and len(rows) == 6
    assert rows[0]["paper"] == "74.0" and rows[0]["mean"] == "" and rows[0]["n_runs"] == "0"


# The command --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """Return a short clip of pictures and sound as bytes."""
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    video = {"n": 6, "size": (32, 48), "rate": 10}
    write_clip(str(path), video=video, sound={"samples": tone(0.6, 16000), "rate": 16000})
    return path.read_bytes()


@pytest.fixture(scope="module")
def mosei(tmp_path_factory, media):
    """Return MMSA's folder of ten segments, with CMU's transcripts and answers beside it.

    It serves for CMU-MOSI too, whose layout is the same.
    """
    root = tmp_path_factory.mktemp("MOSEI")
    table = ["video_id,clip_id,text,label,annotation,mode,label_T,label_A,label_V"]
    answers = ["Input.VIDEO_ID,Input.CLIP,Answer.sentiment,"]
    answers[0] += ",".join(f"Answer.{name}" for name in EMOTIONS)
    for index, score in enumerate(SENTIMENTS):
        video, word = f"-v{index // 2}", "bad" if score < 0 else "good"
        mode = ["train", "train", "train", "valid", "test"][index // 2]
        table.append(f"{video},{index},so {word} {index},{score},x,{mode},,,")
        present = [int((index + place) % 3 == 0) for place in range(len(EMOTIONS))]
        answers.append(f"{video},{index},{score},{','.join(map(str, present))}")
        write(root / "Raw" / video / f"{index}.mp4", media)
        line = f"{video}___{index}___0.0___0.6___so {word}\n".encode()
        write(root / "Transcript" / "Segmented" / "Combined" / f"{video}.txt", line, "ab")
    (root / "label.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
    write(root / "Labels" / "5000_batch_raw.csv", "\n".join(answers).encode())
    return root


@pytest.fixture(scope="module")
def mosi(tmp_path_factory, media):
    """Return CMU's own folder of CMU-MOSI, which has no parts."""
    root = tmp_path_factory.mktemp("MOSI") / "Raw"
    lines = []
    for index, score in enumerate(SENTIMENTS):
        video, count = f"video{index // 2}", index % 2 + 1
        lines.append(f"0.0,0.6,{video},{count},{score}")
        write(root / "Video" / "Segmented" / f"{video}_{count}.mp4", media)
        text = f"{count}_DELIM_SO {'BAD' if score < 0 else 'GOOD'}\n".encode()
        write(root / "Transcript" / "Segmented" / f"{video}.annotprocessed", text, "ab")
    write(root / "Labels" / "OpinionLevelSentiment.csv", "\n".join(lines).encode())
    return root.parent


def write(path, content, mode="wb"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, mode) as file:
        file.write(content)


@pytest.fixture(scope="module")
def architecture(tmp_path_factory):
    path = tmp_path_factory.mktemp("architecture") / "tiny.json"
    path.write_text(json.dumps(SMALL))
    return path


@pytest.fixture
def merclip(capsys, monkeypatch, tmp_path):
    """Return a function that runs the command in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MERCLIP_DEBUG", raising=False)

    def run(*arguments):
        status = main(["reproduce", *map(str, arguments)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


@pytest.fixture
def quick(architecture):
    """Return what makes a run short."""
    model = ["--model", architecture, "--pretrained", "random"]
    return [*model, "--epochs", 1, "--seeds", 0, "--batch-size", 4]


def test_tables_are_listed(merclip):
    status, out, _ = merclip("--list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == list(TABLES)


@pytest.mark.parametrize("name", [name for name in TABLES if TABLES[name].data == "mosei"])
def test_a_table_of_mosei_end_to_end(merclip, mosei, quick, name):
    status, out, err = merclip(name, "--data", mosei, *quick, "--tune", "head")
    assert status == 0 and "CMU-MOSEI: 10 rows, 10 clips" in err
    table = TABLES[name]
    assert f"({name})" in out
    for row in table.rows:
        cells = [f" {value:.1f} " for value in row.paper.values()]
        (line,) = [line for line in out.splitlines() if line.startswith(f"| {row.name} ")][:1]
        assert all(cell in line for cell in cells)
        assert line.count("—") == len(table.measures) - len(cells)
    for other in table.others:
        (line,) = [line for line in out.splitlines() if line.startswith(f"| {other} ")]
        assert line.count("—") == len(table.measures)
    assert "clips learned from" in out and "fingerprint of its weights" in out
    assert "- tune: head" in out and "- epochs: 1" in out


def test_emotions_at_several_thresholds_and_beside_baselines(merclip, mosei, quick):
    given = ["table-mosei-emotion", "--data", mosei, *quick, "--tune", "head", "--json"]
    status, out, _ = merclip(*given, "--baselines")
    found = json.loads(out)
    names = [line["name"] for line in found["lines"]]
    assert status == 0
    names = names[names.index("MER-CLIP") :]
    assert names[:3] == ["MER-CLIP", "MER-CLIP at 0.5", "MER-CLIP at 0.6"]
    assert {"zero-shot", "majority", "late fusion", "concat + linear"} <= set(names)
    report = found["reports"]["MER-CLIP"]
    assert report["data"]["name"] == "CMU-MOSEI" and report["kind"] == "multi-label"
    assert {item["name"]: item["descriptions"] for item in report["labels"]}["anger"] == ["angry"]
    (line,) = [line for line in found["lines"] if line["name"] == "MER-CLIP"]
    assert line["ours"]["micro_f1"]["mean"] == (
        100 * report["conditions"][-1]["metrics"]["micro_f1"]["mean"]
    )
    assert line["paper"]["micro_f1"] == 57.8


def test_every_encoder_is_trained_by_default(merclip, mosei, quick):
    status, out, _ = merclip("table-mosei-sentiment", "--data", mosei, *quick, "--baselines")
    assert status == 0 and "- tune: full" in out and "- lr: paper" in out
    assert "| late fusion" in out and "| MER-CLIP " in out


def test_mosi_in_both_layouts(merclip, mosei, mosi, quick, tmp_path):
    folder = tmp_path / "new" / "out"
    given = ["--data", mosi, *quick, "--tune", "head", "--out", folder, "--folds", 2]
    status, out, _ = merclip("query-words", *given, "--queries", "Emotion", "Humour", "Humour")
    assert status == 0 and "mean over 2 folds" in out
    assert (folder / "comparison.md").read_text(encoding="utf-8") == out
    found = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    names = [line["name"] for line in found["lines"]]
    assert found["published"] and names[:2] == ["Emotion", "Sentiment"]
    assert names[-2:] == ["(no word)", "Humour"] and len(names) == 8
    assert (folder / "comparison.csv").read_text().startswith("row,measure,paper,mean,std,n_runs\n")
    status, out, _ = merclip("table-mosi-sentiment", "--data", mosei, *quick)
    assert status == 0 and "- lr: 5e-06" in out and "84.0" in out


@pytest.mark.parametrize(
    ("table", "word"), [("table-mosei-sentiment", "Sentiment"), ("table-mosei-emotion", "Emotion")]
)
def test_clip_from_a_directory_learns_with_the_tables_query(
    merclip, mosei, tmp_path, table, word, monkeypatch
):
    towers = build_towers(SMALL)
    state = {f"visual.{name}": value for name, value in towers.visual.state_dict().items()}
    state |= towers.text.state_dict() | {"logit_scale": torch.tensor(4.0)}
    folder = tmp_path / "clip"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": SMALL}))
    save_file(state, folder / "open_clip_model.safetensors")
    queries = []
    monkeypatch.setattr(
        EmotionClassifier,
        "fit",
        lambda self, *a, _fit=EmotionClassifier.fit, **k: (
            queries.append(self.network_.config.query) or _fit(self, *a, **k)
        ),
    )
    given = ["--data", mosei, "--model", folder, "--tune", "head", "--epochs", 1, "--seeds", 0]
    status, _, _ = merclip(table, *given)
    assert status == 0 and set(queries) == {word}


@pytest.fixture
def data(tmp_path, media):
    """Return a CSV file with twenty clips of all modalities."""
    write(tmp_path / "clip.mp4", media)
    lines = ["video,text,label,who,part"]
    for index in range(20):
        label = "happy" if index % 2 else "sad"
        lines.append(f"clip.mp4,so {label},{label},speaker {index // 4},{PARTS[index // 2 % 5]}")
    (tmp_path / "data.csv").write_text("\n".join(lines))
    return tmp_path / "data.csv"


def test_an_ablation_on_clips_of_ones_own(merclip, data, quick):
    given = ["--csv", data, *quick, "--tune", "head"]
    status, out, err = merclip("ablation-components", *given, "--split-column", "part")
    assert status == 0 and "data.csv: 20 rows, 20 clips" in err
    assert out.startswith("# Without decoder (CMD) or label encoder (LE) (ablation-components, ")
    assert "paper |" not in out and "| CMD and LE " in out
    assert "12 clips learned from, 4 to choose on, 4 tested" in out
    status, out, _ = merclip("query-words", *given, "--group-column", "who", "--folds", 2)
    assert status == 0 and "mean over 2 folds" in out


def test_clips_that_cannot_be_read(merclip, data, quick, tmp_path):
    write(tmp_path / "broken.mp4", b"no video")
    data.write_text(data.read_text() + "\nbroken.mp4,so sad,sad,speaker 9,test")
    given = ["--csv", data, *quick, "--tune", "head", "--split-column", "part"]
    status, out, err = merclip("ablation-components", *given)
    assert (status, out) == (1, "") and "data.csv line 22" in err
    status, out, err = merclip("ablation-components", *given, "--on-error", "skip", "--json")
    assert status == 0 and err.count("data.csv line 22 is left out: DecodeError") == 1
    skipped = [report["skipped"][0]["id"] for report in json.loads(out)["reports"].values()]
    assert skipped == ["data.csv line 22"] * 4


def test_an_ablation_of_a_saved_model(merclip, data, tmp_path):
    classifier = EmotionClassifier(model=SMALL, pretrained="random", epochs=1)
    classifier.fit([{"text": "so glad"}, {"text": "oh dear"}] * 2, ["happy", "sad"] * 2)
    model = classifier.save_pretrained(tmp_path / "model")
    given = ["--csv", data, "--split-column", "part", "--model", model, "--tune", "head"]
    status, out, err = merclip("labels-mosei-emotion", *given, "--epochs", 1, "--seeds", 0)
    assert status == 0 and "| zero-shot, beside sentence" in out
    status, out, err = merclip("query-words", *given, "--epochs", 1, "--seeds", 0, 3)
    assert status == 0 and "seeds 0, 3" in out and "±" in out and "zero-shot" not in out
    assert "reproduce: Emotion, seed 3" in err


def test_texts_of_ones_own(merclip, data, quick, tmp_path):
    texts = {
        "phrase": {"happy": "full of glee", "sad": "blue"},
        "sentence": {"happy": ["What joy!"], "sad": "Woe."},
    }
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    given = ["--csv", data, "--split-column", "part", *quick, "--tune", "head"]
    status, out, _ = merclip("labels-mosi-sentiment", *given, "--texts", "texts.json")
    assert status == 0 and "- phrase, happy: full of glee" in out


def test_the_documented_file_of_texts_is_read(merclip, mosei, quick, tmp_path):
    page = Path(__file__).parents[1] / "docs" / "reproduce.md"
    (example,) = re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "texts.json").write_text(example)
    given = ["--data", mosei, *quick, "--tune", "head", "--texts", "texts.json"]
    status, out, _ = merclip("labels-mosei-emotion", *given)
    assert status == 0 and "- sentence, happy: Everything in this person" in out
    (note,) = [line for line in out.splitlines() if "merclip's own texts" in line]
    assert "'sentence'" in note and "happy" not in note and "anger" in note


def test_texts_are_read_as_they_were_pasted(merclip, mosei, quick, tmp_path):
    pasted = [f"{i}. **{name.title()}**: Text {i}." for i, name in enumerate(EMOTION_WORDS, 1)]
    (tmp_path / "answer.txt").write_text("\n".join(pasted))
    given = ["labels-mosei-emotion", "--data", mosei, *quick, "--tune", "head", "--texts"]
    status, out, _ = merclip(*given, "sentence=answer.txt")
    assert status == 0 and "- sentence, anger: Text 3." in out and "- sentence, sad: Text 2." in out
    # The paper has no number for phrases of emotions.
    assert "merclip's own texts" not in out
    for text, said in (("\n".join(["Sure!", *pasted]), "Sure!"), ("happy\nsad", "no text for")):
        (tmp_path / "answer.txt").write_text(text)
        status, out, err = merclip(*given, "sentence=answer.txt")
        assert (status, out) == (2, "") and said in err and "--texts" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--list"),
        (["table-9", "--data", "."], "ablation-modality"),
        (["table-mosi-sentiment"], "--data MOSI"),
        (["table-mosi-sentiment", "--data", "nowhere"], "nowhere"),
        (["table-mosi-sentiment", "--csv", "data.csv"], "merclip evaluate"),
        (["ablation-fusion", "--csv", "data.csv"], "--split-column"),
        (["ablation-fusion", "--csv", "data.csv", "--modalities", "text"], "--modalities"),
        (["ablation-fusion", "--data", ".", "--csv", "data.csv"], "not allowed"),
        (["ablation-fusion", "--data", ".", "--label-column", "x"], "--label-column goes with"),
        (["ablation-fusion", "--data", ".", "--multi-label"], "--multi-label goes with"),
        (["ablation-fusion", "--data", ".", "--queries", "Mood"], "query-mosi-sentiment"),
        (["ablation-fusion", "--data", ".", "--out", "data.csv"], "is a file"),
        (["ablation-fusion", "--data", ".", "--lr", "0"], "positive"),
        (["ablation-fusion", "--data", ".", "--seeds", "x"], "whole number"),
        (["labels-mosi-sentiment", "--data", ".", "--texts", "none.json"], "cannot be read"),
        (["labels-mosi-sentiment", "--data", ".", "--texts", "data.csv"], "not JSON"),
        (["labels-mosi-sentiment", "--data", ".", "--texts", "bad.json"], "holds no mapping"),
    ],
)
def test_bad_input(merclip, data, tmp_path, arguments, said):
    (tmp_path / "bad.json").write_text('{"words": {"a": "b"}}')
    status, out, err = merclip(*arguments)
    assert (status, out) == (2, "")
    assert said in err and err.count("\n") == 1


def test_a_label_without_a_text(merclip, data, quick):
    data.write_text(data.read_text().replace("sad", "bored"))
    given = ["--csv", data, "--split-column", "part", *quick]
    status, _, err = merclip("labels-mosi-sentiment", *given)
    assert status == 2 and "no phrase for 'bored'" in err
