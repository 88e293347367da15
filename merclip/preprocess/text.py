"""Text to tokens of CLIP's byte-pair encoding."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Tokens(NamedTuple):
    """Token ids with start and end, and the text that did not fit."""

    ids: Tensor
    lost: str


@functools.lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


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
    ids = tokenizer.encode(text)
    kept, lost = ids[: context_length - 2], ids[context_length - 2 :]
    framed = [tokenizer.sot_token_id, *kept, tokenizer.eot_token_id]
    return Tokens(torch.tensor(framed), tokenizer.decode(lost).strip() if lost else "")


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
