"""Saving, and sending to the Hub: what arrives there loads again, and what is refused says why."""

from __future__ import annotations

import ast
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from clip_files import clip_model_files
from hub_server import Fault, Hub
from huggingface_hub import ModelCard, constants

from merclip import EmotionClassifier
from merclip.errors import InputError, MerclipError, UploadError

LABELS = ["happy", "sad", "angry"]
TEXTS = ["so good", "I hate it"]
CLIPS = [{"text": "so good"}, {"text": "I hate it"}, {"text": "how lovely"}]
TRUTH = ["happy", "angry", "happy"]
Maker = Callable[..., EmotionClassifier]


@pytest.fixture
def writer(hub: Hub) -> str:
    """Return the token of a user "me" that may write."""
    hub.users["hf_writer"] = "me"
    return "hf_writer"


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub try again at once."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


def same_scores(first: EmotionClassifier, second: EmotionClassifier) -> None:
    expected = first.decision_function(text=TEXTS)
    np.testing.assert_allclose(second.decision_function(text=TEXTS), expected, atol=1e-5)


def metadata(card: bytes | str) -> dict[str, Any]:
    text = card.decode() if isinstance(card, bytes) else card
    values: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return values


# Sending ----------------------------------------------------------------------------------


def test_what_is_sent_loads_again(hub: Hub, writer: str, tiny: Maker) -> None:
    clf = tiny(LABELS)
    address = clf.push_to_hub("me/tiny", token=writer, commit_message="First")
    repository = hub.repositories["me/tiny"]
    commit = repository.branches["main"]
    assert address == f"{hub.url}/me/tiny/commit/{commit}"
    assert repository.messages[commit] == "First"
    assert set(hub.files("me/tiny")) == {
        ".gitattributes",
        "README.md",
        "config.json",
        "model.safetensors",
    }
    same_scores(clf, EmotionClassifier.from_pretrained("me/tiny"))
    assert '.from_pretrained("me/tiny")' in hub.files("me/tiny")["README.md"].decode()
    agents = [headers["user-agent"] for method, _, headers in hub.requests if method == "POST"]
    assert all("merclip/" in agent for agent in agents)


def test_sending_again_replaces_what_has_changed(hub: Hub, writer: str, tiny: Maker) -> None:
    clf = tiny(LABELS)
    clf.push_to_hub("me/tiny", token=writer)
    hub.repositories["me/tiny"].commits[hub.repositories["me/tiny"].branches["main"]]["notes"] = b""
    uploads = [path for method, path, _ in hub.requests if method == "PUT"]
    clf.push_to_hub("me/tiny", token=writer, card_data={"license": "mit"})
    assert [path for method, path, _ in hub.requests if method == "PUT"] == uploads
    assert metadata(hub.files("me/tiny")["README.md"])["license"] == "mit"
    assert "notes" in hub.files("me/tiny")
    commit = hub.repositories["me/tiny"].branches["main"]
    same = clf.push_to_hub("me/tiny", token=writer, card_data={"license": "mit"})
    assert same.endswith(commit)


def test_a_name_alone_is_the_users_own(hub: Hub, writer: str, tiny: Maker) -> None:
    assert "/me/tiny/commit/" in tiny(LABELS).push_to_hub("tiny", token=writer)


@pytest.mark.parametrize(
    ("private", "visibility"), [(True, "private"), (False, "public"), (None, None)]
)
def test_a_new_repository_is_private_if_asked(
    hub: Hub, writer: str, tiny: Maker, private: bool | None, visibility: str | None
) -> None:
    tiny(LABELS).push_to_hub("me/tiny", token=writer, private=private)
    assert hub.repositories["me/tiny"].visibility == visibility


def test_a_branch_is_made_and_main_left_alone(hub: Hub, writer: str, tiny: Maker) -> None:
    clf = tiny(LABELS)
    for _ in range(2):
        clf.push_to_hub("me/tiny", token=writer, revision="v1")
    assert "config.json" in hub.files("me/tiny", "v1")
    assert set(hub.files("me/tiny")) == {".gitattributes"}
    same_scores(clf, EmotionClassifier.from_pretrained("me/tiny", revision="v1"))


def test_a_pull_request_needs_no_write_access(hub: Hub, writer: str, tiny: Maker) -> None:
    hub.commit("you/tiny", {"README.md": b"theirs"})
    hub.readers.add(writer)
    clf = tiny(LABELS)
    assert (
        clf.push_to_hub("you/tiny", token=writer, create_pr=True)
        == f"{hub.url}/you/tiny/discussions/1"
    )
    assert hub.files("you/tiny") == {"README.md": b"theirs"}
    same_scores(clf, EmotionClassifier.from_pretrained("you/tiny", revision="refs/pr/1"))
    with pytest.raises(InputError, match="leave revision out"):
        clf.push_to_hub("you/tiny", token=writer, create_pr=True, revision="v1")


def test_a_backbone_is_named_or_bundled(hub: Hub, writer: str) -> None:
    commit = hub.commit("org/clip", clip_model_files())
    clf = EmotionClassifier(
        LABELS, model="org/clip", network={"decoder": {"heads": 2}}, random_state=0
    )
    clf.push_to_hub("me/small", token=writer)
    clf.push_to_hub("me/whole", token=writer, bundle_backbone=True)
    small, whole = hub.files("me/small"), hub.files("me/whole")
    assert json.loads(small["config.json"])["backbone"]["revision"] == commit
    assert json.loads(whole["config.json"])["backbone"] is None
    assert len(small["model.safetensors"]) < len(whole["model.safetensors"])
    card = metadata(small["README.md"])
    assert card["base_model"] == "org/clip"
    assert (card["license"], card["license_name"]) == ("other", "tiny-licence")
    hub.repositories.pop("org/clip")
    same_scores(clf, EmotionClassifier.from_pretrained("me/whole"))


def test_faults_that_pass_are_waited_out(
    hub: Hub, writer: str, tiny: Maker, no_pauses: None
) -> None:
    hub.faults += [Fault("/preupload/main", 2, 503), Fault("/objects/batch", 1, 500)]
    tiny(LABELS).push_to_hub("me/tiny", token=writer)
    assert "model.safetensors" in hub.files("me/tiny")


# What is refused --------------------------------------------------------------------------


def refused(message: str, clf: EmotionClassifier, repo: str = "me/tiny", **options: Any) -> None:
    with pytest.raises(UploadError, match=message) as caught:
        clf.push_to_hub(repo, **options)
    assert isinstance(caught.value, MerclipError) and isinstance(caught.value, RuntimeError)
    assert caught.value.__cause__ is not None


def test_no_token_and_a_wrong_token(hub: Hub, tiny: Maker) -> None:
    clf = tiny(LABELS)
    refused("does not know who you are.*hf auth login", clf)
    refused("does not know who you are", clf, token="hf_wrong")
    refused("keeps no token", clf, token=True)
    assert hub.repositories == {}


def test_no_write_access(hub: Hub, writer: str, tiny: Maker) -> None:
    hub.commit("you/tiny", {"README.md": b"theirs"})
    hub.readers.add(writer)
    refused("no write access.*create_pr=True", tiny(LABELS), "you/tiny", token=writer)
    refused("no write access", tiny(LABELS), "you/new", token=writer)


def test_a_hub_out_of_reach(
    hub: Hub, tiny: Maker, no_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clf = tiny(LABELS)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", nowhere)
        refused("cannot be reached", clf, token="hf_any")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused("HF_HUB_OFFLINE", clf, token="hf_any")


def test_faults_that_stay(hub: Hub, writer: str, tiny: Maker, no_pauses: None) -> None:
    hub.faults.append(Fault("/preupload/main", 99, 503))
    refused("fault of its own", tiny(LABELS), token=writer)
    hub.faults[:] = [Fault("", 99, 502, methods=("PUT",))]
    refused("fault of its own", tiny(LABELS), token=writer)


def test_metadata_that_the_hub_refuses(hub: Hub, writer: str, tiny: Maker) -> None:
    refused(
        "Invalid metadata.*license is not valid",
        tiny(LABELS),
        token=writer,
        card_data={"license": "my own"},
    )


@pytest.mark.parametrize("name", ["", "a/b/c", "org/na me", "-x"])
def test_a_name_that_no_repository_can_have(hub: Hub, tiny: Maker, name: str) -> None:
    with pytest.raises(InputError, match="no name of a repository"):
        tiny(LABELS).push_to_hub(name, token="hf_any")
    assert hub.requests == []


# Cards ------------------------------------------------------------------------------------


def test_metadata_of_a_card(tiny: Maker, tmp_path: Path) -> None:
    folder = tiny(LABELS).save_pretrained(tmp_path / "model")
    text = (folder / "README.md").read_text()
    assert metadata(text) == {
        "library_name": "merclip",
        "pipeline_tag": "video-classification",
        "language": "en",
        "tags": ["merclip", "emotion-recognition", "multimodal", "zero-shot"],
    }
    assert "- Labels: happy, sad, angry" in text and "has not been measured" in text
    assert ModelCard(text).data.library_name == "merclip"


def test_labels_act_nowhere_in_a_card(tiny: Maker, tmp_path: Path) -> None:
    labels = ["<script>alert(1)</script>", "[x](javascript:y)", "a\n# b\n```\u202e"]
    folder = tiny(labels).save_pretrained(tmp_path / "model")
    body = (folder / "README.md").read_text().split("---\n", 2)[2]
    assert r"\<script\>alert(1)\</script\>, \[x\](javascript:y), a # b" in body
    assert body.count("```") == 2 and "\u202e" not in body and "\n# b" not in body
    code = body.split("```python\n")[1].split("```")[0]
    assert ast.literal_eval(code[code.index("labels=[") + 7 : code.rindex(")")]) == labels


def test_results_of_an_evaluation_stand_in_the_card(tiny: Maker, tmp_path: Path) -> None:
    clf = tiny(LABELS)
    report = clf.evaluate(CLIPS, TRUTH)
    folder = clf.save_pretrained(tmp_path / "a-model", report=report)
    text = (folder / "README.md").read_text()
    card = ModelCard(text)
    assert card.data.metrics == ["accuracy", "balanced_accuracy"]
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found == {name: round(report.metrics[name], 4) for name in card.data.metrics}
    assert "## Evaluation" in text and "### Confusions" in text
    assert "has not been measured" not in text


def test_a_report_of_other_weights_is_refused(
    tiny: Maker, tmp_path: Path, clips_and_labels: tuple[Any, list[str]]
) -> None:
    clf = tiny(["happy", "angry"], epochs=1)
    report = clf.evaluate(CLIPS, TRUTH)
    clf.fit(*clips_and_labels)
    with pytest.raises(InputError, match="measured other weights"):
        clf.save_pretrained(tmp_path / "model", report=report)
    assert not (tmp_path / "model").exists()
    later = clf.evaluate(CLIPS, TRUTH)
    folder = clf.save_pretrained(tmp_path / "model", report=later)
    again = EmotionClassifier.from_pretrained(folder)
    again.save_pretrained(tmp_path / "again", report=later)


def test_what_a_user_says_wins(tiny: Maker, tmp_path: Path) -> None:
    given = {"datasets": ["org/clips"], "license": "mit", "language": ["en", "de"], "tags": ["x"]}
    folder = tiny(LABELS).save_pretrained(tmp_path / "model", card_data=given)
    found = metadata((folder / "README.md").read_text())
    assert {key: found[key] for key in given} == given
    again = EmotionClassifier.from_pretrained(folder).save_pretrained(tmp_path / "again")
    assert metadata((again / "README.md").read_text())["license"] == "mit"


def test_the_licence_of_mini_is_inherited(tmp_path: Path) -> None:
    folder = EmotionClassifier(LABELS).save_pretrained(tmp_path / "model")
    found = metadata((folder / "README.md").read_text())
    assert found["license"] == "cc-by-nc-sa-4.0"
    assert "base_model" not in found  # "merclip mini" is no repository
    assert "Trained from: merclip mini" in (folder / "README.md").read_text()


# Directories ------------------------------------------------------------------------------


def test_a_checkpoint_is_replaced_and_other_files_stay(tiny: Maker, tmp_path: Path) -> None:
    folder = tiny(LABELS).save_pretrained(tmp_path / "model")
    (folder / "notes.txt").write_text("mine")
    tiny(["joy", "rage"]).save_pretrained(folder)
    assert EmotionClassifier.from_pretrained(folder).labels_.names == ("joy", "rage")
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["README.md", "config.json", "model.safetensors"])
def test_a_file_that_is_not_merclips_is_not_overwritten(
    tiny: Maker, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"has a {name} that is not merclip's"):
        tiny(LABELS).save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_directory_that_cannot_be_made(tiny: Maker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        tiny(LABELS).save_pretrained(tmp_path / "file")
    with pytest.raises(InputError, match="cannot be written"):
        tiny(LABELS).save_pretrained(tmp_path / "file" / "below")
