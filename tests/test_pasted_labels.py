"""Labels as people paste them: what a chat model gives, and what it must never become."""

from __future__ import annotations

import json

import pytest

from merclip import LabelSet
from merclip.errors import InputTypeError, LabelError

HAPPY, SAD = "A wide smile, and a bright voice.", "Tears in the eyes; slow words."
BOTH = {"Happy": [HAPPY], "Sad": [SAD]}
JSON = json.dumps({"Happy": HAPPY, "Sad": SAD}, indent=2)

DESCRIBED = {
    "numbers, bold, dash": f"1. **Happy** - {HAPPY}\n2. **Sad** - {SAD}",
    "numbers, bold, colon inside": f"1. **Happy:** {HAPPY}\n2. **Sad:** {SAD}",
    "numbers, bold, long dash": f"1. **Happy** — {HAPPY}\n\n2. **Sad** — {SAD}\n",
    "brackets": f"1) Happy: {HAPPY}\n2) Sad: {SAD}",
    "no space": f"1.Happy: {HAPPY}\n2.Sad: {SAD}",
    "number in bold": f"**1. Happy** – {HAPPY}\n**2. Sad** – {SAD}",
    "bullets": f"* Happy: {HAPPY}\n* Sad: {SAD}",
    "typed bullets": f"• Happy – {HAPPY}\n• Sad – {SAD}",
    "bullets, bold": f"- **Happy**: {HAPPY}\n- **Sad**: {SAD}",
    "bare": f"Happy: {HAPPY}\nSad: {SAD}",
    "bare, dash": f"Happy - {HAPPY}\nSad - {SAD}",
    "arrow": f"Happy -> {HAPPY}\nSad → {SAD}",
    "dash without spaces": f"Happy—{HAPPY}\nSad—{SAD}",
    "Chinese colon": f"Happy：{HAPPY}\nSad：{SAD}",
    "quotes": f'"Happy": "{HAPPY}"\n"Sad": "{SAD}"',
    "curly quotes": f"1. “Happy” – “{HAPPY}”\n2. “Sad” – “{SAD}”",
    "italics": f"- *Happy*: *{HAPPY}*\n- *Sad*: *{SAD}*",
    "code": f"- `Happy`: {HAPPY}\n- `Sad`: {SAD}",
    "all in bold": f"**Happy: {HAPPY}**\n**Sad: {SAD}**",
    "emojis": f"1. 😊 **Happy** – {HAPPY}\n2. 😢 **Sad** – {SAD}",
    "emoji numbers": f"1️⃣ Happy: {HAPPY}\n2️⃣ Sad: {SAD}",
    "emojis in bold": f"- **😊 Happy**: {HAPPY}\n- **☹️ Sad**: {SAD}",
    "quoted lines": f"> 1. **Happy** - {HAPPY}\n> 2. **Sad** - {SAD}",
    "checkboxes": f"- [ ] Happy: {HAPPY}\n- [x] Sad: {SAD}",
    "headings": f"### 1. Happy\n{HAPPY}\n\n### 2. Sad\n{SAD}\n",
    "headings and a title": f"# Labels\n\n## Happy\n\n{HAPPY}\n\n---\n\n## **Sad**\n\n{SAD}",
    "a title": f"## Emotions\n\n- Happy: {HAPPY}\n- Sad: {SAD}",
    "names above": f"1. **Happy**\n   {HAPPY}\n\n2. **Sad**\n   {SAD}",
    "names above, no indent": f"1. **Happy**\n{HAPPY}\n\n2. **Sad**\n{SAD}",
    "bold names above": f"**Happy**\n{HAPPY}\n\n**Sad**\n{SAD}",
    "bold names, empty lines": f"**Happy**\n\n{HAPPY}\n\n**Sad**\n\n{SAD}",
    "bare names, indented": f"Happy\n  {HAPPY}\nSad\n  {SAD}",
    "bare names above": f"Happy\n{HAPPY}\n\nSad\n{SAD}",
    "names and a colon": f"Happy:\n{HAPPY}\n\nSad:\n{SAD}",
    "numbers and a dash above": f"1. **Happy** -\n   {HAPPY}\n2. **Sad** -\n   {SAD}",
    "bullets below": f"1. **Happy**\n   - {HAPPY}\n2. **Sad**\n   - {SAD}",
    "a field below": f"- **Happy**\n  - *Description*: {HAPPY}\n"
    f"- **Sad**\n  - **Description:** {SAD}",
    "colon and bullets": f"Happy:\n- {HAPPY}\nSad:\n- {SAD}",
    "wrapped": "- Happy: A wide smile,\n  and a bright voice.\n"
    "- Sad: Tears in\n  the eyes; slow words.",
    "right-aligned numbers": f" 9. Happy: {HAPPY}\n10. Sad: {SAD}",
    "Windows, and a mark": f"\ufeffHappy: {HAPPY}\r\nSad: {SAD}\r\n",
    "comments": f"# by a person\nHappy: {HAPPY}\n# another\nSad: {SAD}",
    "json": JSON,
    "json in a sentence": f"Sure! Here it is:\n\n```json\n{JSON}\n```\n\nLet me know!",
    "json, lists": json.dumps(BOTH),
    "json, wrapped": json.dumps({"labels": {"Happy": HAPPY, "Sad": SAD}}),
    "json, objects": json.dumps(
        {"emotions": [{"emotion": "Happy", "description": HAPPY}, {"emotion": "Sad", "text": SAD}]}
    ),
    "json, pairs": json.dumps([{"Happy": HAPPY}, {"Sad": SAD}]),
    "json without braces": JSON.strip("{}\n") + ",",
    "table": f"| Emotion | Description |\n|---|:---|\n| Happy | {HAPPY} |\n| **Sad** | {SAD} |",
    "table with numbers": "| # | Label | Text |\n|--|--|--|\n"
    f"| 1 | Happy | {HAPPY} |\n| 2 | Sad | {SAD} |",
    "table without ends": f"Emotion | Description\n--- | ---\nHappy | {HAPPY}\nSad | {SAD}",
    "tabs": f"Emotion\tDescription\nHappy\t{HAPPY}\nSad\t{SAD}",
}


@pytest.mark.parametrize("text", DESCRIBED.values(), ids=DESCRIBED.keys())
def test_names_with_descriptions(text):
    assert LabelSet.from_text(text).to_dict() == BOTH


NAMES = {
    "bare": "Happy\nSad\nOver the moon",
    "indented": "Happy\n\n  Sad \nOver the moon",
    "numbers": "1. Happy\n2. Sad\n3. Over the moon",
    "letters": "a) Happy\nb) Sad\nc) Over the moon",
    "bullets": "- Happy\n- Sad\n- Over the moon",
    "bold": "1. **Happy**\n2. **Sad**\n3. **Over the moon**",
    "quotes": '"Happy",\n"Sad",\n"Over the moon"',
    "json": '["Happy", "Sad", "Over the moon"]',
    "fenced": "```\nHappy\nSad\nOver the moon\n```",
    "table": "| Emotion |\n| --- |\n| Happy |\n| Sad |\n| Over the moon |",
    "comments": "# mine\nHappy\n\n#Angry\nSad\nOver the moon",
}


@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES.keys())
def test_names_alone(text):
    assert LabelSet.from_text(text).to_dict() == {
        name: [name] for name in ("Happy", "Sad", "Over the moon")
    }


def test_several_descriptions_of_a_label():
    expected = {"Happy": ["Smiles.", "Laughs a lot."], "Sad": ["Cries.", "Is slow."]}
    for text in (
        "1. **Happy**\n   - Smiles.\n   - Laughs a lot.\n2. **Sad**\n   - Cries.\n   - Is slow.",
        "Happy:\n  - Smiles.\n  - Laughs a lot.\nSad:\n  - Cries.\n  - Is slow.",
        "- Happy: Smiles.\n  - Laughs a lot.\n- Sad: Cries.\n  - Is slow.",
        "| Emotion | Face | Voice |\n|-|-|-|\n| Happy | Smiles. | Laughs a lot. |\n"
        "| Sad | Cries. | Is slow. |".replace("|-|-|-|", "|--|--|--|"),
        json.dumps(expected),
    ):
        assert LabelSet.from_text(text).to_dict() == expected


@pytest.mark.parametrize(
    "text",
    [
        "A person who is quietly furious\nA person in tears\nA person who smiles, eyes bright",
        "He is so angry!\nShe is sad.\nThey are at ease.",
        "self-conscious\nat 10:30 still awake\nover-joyed",
        "😀\n😢\n😡",
        "행복\nC++\nÄrger",
    ],
)
def test_phrases_and_sentences_stay_whole(text):
    assert list(LabelSet.from_text(text).names) == text.split("\n")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"Sure! Here are the labels:\n\n1. **Happy** - {HAPPY}\n2. **Sad** - {SAD}", "Sure!"),
        (f"Here they are:\n- Happy: {HAPPY}\n- Sad: {SAD}", "Here they are"),
        (f"Here they are:\nHappy: {HAPPY}\nSad: {SAD}", "Here they are"),
        ("Here they are:\n- Happy\n- Sad", "Here they are"),
        ("Here they are:\nHappy\nSad\nAngry", "Here they are"),
        (f"- Happy: {HAPPY}\n- Sad: {SAD}\n\nLet me know if you need more!", "Let me know"),
        (f"Happy: {HAPPY}\nSad: {SAD}\n\nLet me know if you need more!", "Let me know"),
        ("1. Happy\n2. Sad\n\nLet me know if you need more!", "Let me know"),
        ("Happy\nSad\nAngry\n\nLet me know if you need more!", "Let me know"),
        (f"## Happy\n{HAPPY}\n\n## Sad\n{SAD}\n\nLet me know!", "Let me know"),
        (f"**Happy**\n{HAPPY}\n\n**Sad**\n{SAD}\n\nLet me know!", "Let me know"),
        (f"Hi.\n\n## Happy\n{HAPPY}\n\n## Sad\n{SAD}", "Hi."),
        (f"- Happy: {HAPPY}\n- Angry\n- Sad: {SAD}", "- Angry"),
        (f"- Happy: {HAPPY}\n- Sad: {SAD}\n- - -", None),
        ("1. **Happy** -\n2. **Sad** -", "**Happy**"),
        ("1. **Happy** people smile\n2. **Sad** people cry", "**Happy** people"),
        (f"- Happy: {HAPPY}\nwrapped here\n- Sad: {SAD}", "wrapped here"),
        (f"| Emotion | Text |\n|---|---|\n| Happy | {HAPPY} |\nBye!", "Bye!"),
        (f"Hi!\n| Emotion | Text |\n|---|---|\n| Happy | {HAPPY} |", "Hi!"),
        (f"| Emotion | Text |\n|---|---|\n| Happy | {HAPPY} |\n| Sad | |", "Sad"),
        (f"A person who smiles a lot and laughs: {HAPPY}\nSad: {SAD}", "A person who"),
        ("Happy: smiles\n-: cries", "-: cries"),
        (f"Happy: {HAPPY}\nSad: {SAD}\nNote: these are short.", "Note:"),
    ],
)
def test_a_line_that_is_not_understood_is_an_error_that_names_it(text, line):
    if line is None:
        assert LabelSet.from_text(text).to_dict() == BOTH  # a rule
        return
    with pytest.raises(LabelError, match="is not understood as a label") as caught:
        LabelSet.from_text(text)
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "labels is empty"),
        ("# Happy\n# Sad", "labels is empty"),
        ('{"Happy": 1, "Sad": 2}', "has 1 for a description"),
        ('{"Happy": "a", "Happy": "b"}', "are the same"),
        ("Happy: a\nhappy : b", "are the same"),
        ('{"Happy": "a", ', "look like JSON"),
        ("{'Happy': 'a'}", "look like JSON"),
        ('["Happy", 3]', "JSON with labels holds"),
        ('[{"Happy": "a", "Sad": "b"}]', "keys"),
        ("```\nHappy\n```\n```\nSad\n```", "several fenced blocks"),
    ],
)
def test_what_holds_no_labels(text, said):
    with pytest.raises(LabelError, match=said):
        LabelSet.from_text(text)


def test_a_path_is_no_text(tmp_path):
    with pytest.raises(InputTypeError, match="read the file first"):
        LabelSet.from_text(tmp_path)
