"""How time grows with the number of labels, once they are encoded, and what encoding costs."""

from __future__ import annotations

import time
from functools import partial
from itertools import islice, product

from benchmarks import ours
from benchmarks.cases import Effort
from benchmarks.clips import TEXT, clip
from benchmarks.rounds import Case, Row, Table, say
from merclip import EmotionClassifier

COUNTS = (6, 100, 1000, 10_000)
ENCODING = "encoding the labels, once"
MANNERS = ("slightly", "rather", "very", "deeply", "openly", "secretly", "suddenly", "still",
           "visibly", "strangely", "calmly", "quietly", "loudly", "barely", "almost", "always",
           "hardly", "truly", "oddly", "newly")  # fmt: skip
FEELINGS = ("happy", "sad", "angry", "afraid", "surprised", "disgusted", "bored", "proud",
            "ashamed", "jealous", "hopeful", "tired", "tense", "relaxed", "curious", "lonely",
            "grateful", "guilty", "amused", "confused", "eager", "bitter", "tender", "shy",
            "furious")  # fmt: skip
PLACES = ("work", "home", "school", "sea", "church", "court", "dinner", "night", "war", "peace",
          "play", "rest", "risk", "a party", "a funeral", "a wedding", "a concert", "a match",
          "a station", "an airport")  # fmt: skip


def labels(effort: Effort) -> Table:
    """Measure a whole clip, and scoring of encoded clips alone, for more and more labels."""
    table = Table("labels", "A 5-second 720p clip and the number of labels")
    counts = COUNTS[:3] if effort.quick else COUNTS
    path = clip()
    for model, dtype in ((ours.VIT, ours.fast()), (ours.MINI, None)):
        name = ours.shown(model, dtype)
        base = ours.kept(model, dtype)
        encoded = base.encode({"video": path, "text": TEXT})
        known = {n: base.with_labels(some(n)) for n in counts}
        table.rows += [first_use(known[n], f"{name}, {ENCODING}", n) for n in counts]
        whole = [Case(f"{n:,} labels", partial(known[n], video=path, text=TEXT)) for n in counts]
        table.add(f"{name}, whole clip", whole, effort.times(5, 2))
        scoring = [Case(f"{n:,} labels", partial(known[n], encoded)) for n in counts]
        table.add(f"{name}, scoring and answer alone", scoring, effort.times(9, 3))
    return table


def some(n: int) -> list[str]:
    """Return so many different phrases, such as "slightly happy at work"."""
    words = product(PLACES, MANNERS, FEELINGS)
    return [f"{manner} {feeling} at {place}" for place, manner, feeling in islice(words, n)]


def first_use(classifier: EmotionClassifier, section: str, n: int) -> Row:
    """Return how long it takes until labels are encoded."""
    begin = time.perf_counter()
    classifier(text=TEXT)
    taken = time.perf_counter() - begin
    say(f"  {section}: {n:,} labels: {taken:.4g}")
    return Row(section, f"{n:,} labels", [taken])
