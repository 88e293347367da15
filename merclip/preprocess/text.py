"""Text to tokens of CLIP's byte-pair encoding."""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

_MOST_PER_TOKEN, _USUAL_LENGTH = 100, 77  # letters, tokens
_MOST_WORDS = 50_000
"""The tokenizer remembers every word that it ever saw, at 300 bytes or so."""
_WORD_END = "</w>"
_LONG_WORD = re.compile(r"\S{400}")


class Tokens(NamedTuple):
    """Token ids with start and end, and the text that did not fit."""

    ids: Tensor
    lost: str


@functools.lru_cache(maxsize=1)
def _tokenizer() -> Any:
    module = _module_alone()
    if module is None:
        return importlib.import_module("open_clip.tokenizer").SimpleTokenizer()
    # Executing the module has made one already, which nobody else knows of.
    made = module.__dict__.pop("_tokenizer", None)
    return made if isinstance(made, module.SimpleTokenizer) else module.SimpleTokenizer()


def _module_alone() -> Any:
    """Return open_clip's module of this name, if it can be had without the package.

    The package imports torchvision and timm, which takes seconds and is not needed here.
    """
    found = importlib.util.find_spec("open_clip")
    path = Path(found.origin).with_name("tokenizer.py") if found and found.origin else None
    if "open_clip" in sys.modules or path is None or not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location("merclip_clip_tokenizer", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tokenize(text: str, context_length: int = 77) -> Tokens:
    """Encode one text.

    Parameters
    ----------
    text : str
    context_length : int
        The most tokens, start and end included.

    Returns
    -------
    Tokens
        `ids` of shape (n,), int64, unpadded; `lost` is the end of the text
        that was cut off, or "".
    """
    tokenizer = _tokenizer()
    if len(tokenizer.cache) > _MOST_WORDS:
        _tokenizer.cache_clear()
    text, beyond = _sane(text, context_length)
    ids = tokenizer.encode(text)
    kept, lost = ids[: context_length - 2], ids[context_length - 2 :]
    framed = [tokenizer.sot_token_id, *kept, tokenizer.eot_token_id]
    rest = tokenizer.decode(lost).strip() if lost else ""
    return Tokens(torch.tensor(framed), rest + beyond)


def known_share(ids: Tensor, known: Tensor) -> float:
    """Return how much of a text is in words that a model has met.

    A word is known if it is a single token that the model has learned from: of another
    language, most words are pieced together from several, as misspelled and invented
    words are. What follows "@", "#" or "_" is a name and does not count.

    Parameters
    ----------
    ids : Tensor of shape (n,), int64
        Of one text, with start and end tokens.
    known : Tensor of shape (vocab_size,), bool
        Which tokens the model has learned from.

    Returns
    -------
    float
        Share of the letters, so that short words that languages have in common count less;
        1.0 for a text without letters, such as "?!" or an emoji.
    """
    tokenizer = _tokenizer()
    words: list[list[int]] = [[]]
    for token in ids[1:-1].tolist():
        words[-1].append(token)
        if tokenizer.decoder[token].endswith(_WORD_END):
            words.append([])
    met = total = 0
    name = False
    for word in words:
        text = tokenizer.decode(word).strip()
        letters = 0 if name else sum(map(str.isalpha, text))
        name = text.endswith(("@", "#", "_"))
        total += letters
        met += letters if len(word) == 1 and known[word[0]] else 0
    return met / total if total else 1.0


def _sane(text: str, context_length: int) -> tuple[str, str]:
    """Return what of a text can matter, and what lies far beyond it.

    Half a surrogate pair is no character. The tokenizer's time grows with the square
    of the length of a word, so that one word of 20,000 letters would take minutes.
    """
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    limit = _MOST_PER_TOKEN * max(context_length, _USUAL_LENGTH)
    words = _LONG_WORD.sub(r"\g<0> ", text[:limit])
    return words, text[limit:]


def pad_tokens(sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack token ids of several lengths, cut to the longest of them.

    Returns
    -------
    ids : Tensor of shape (n, longest), int64
        Padded with 0, which is what CLIP does.
    lengths : Tensor of shape (n,), int64
    """
    ids = torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True)
    return ids, torch.tensor([len(sequence) for sequence in sequences])
