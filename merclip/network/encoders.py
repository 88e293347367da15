"""The three encoders of CLIP's architecture, and prompts with learnable contexts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from merclip.preprocess.text import pad_tokens

CHUNK = 24
"""Pictures in one pass of a tower: more is no faster on a CPU and needs more memory."""
TEXT_CHUNK, PASS = 4096, 32
"""Tokens in one pass of a text tower, and how many of them take as long as beginning a pass."""


class ContextPrompt(nn.Module):
    """Learnable context vectors that stand before a text's own tokens.

    As in CoOp: normal with deviation 0.02, one set for all texts, which keeps
    labels open.
    """

    def __init__(self, n_contexts: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(n_contexts, width) * 0.02)

    def __len__(self) -> int:
        return len(self.vectors)


class AdaptedTable(nn.Module):
    """A frozen token table, and a learned change of low rank.

    Starts without any change, and tokens that never occur in training keep none.
    """

    def __init__(self, table: nn.Embedding, rank: int) -> None:
        super().__init__()
        self.table = table
        self.rows = nn.Embedding(table.num_embeddings, rank)
        self.mix = nn.Linear(rank, table.embedding_dim, bias=False)
        nn.init.zeros_(self.rows.weight)

    def forward(self, ids: Tensor) -> Tensor:
        """Return vectors of shape (..., width)."""
        vectors: Tensor = self.table(ids) + self.mix(self.rows(ids))
        return vectors

    @property
    def learned(self) -> Tensor:
        """Which tokens occurred in training: shape (vocab_size,), bool."""
        return self.rows.weight.any(dim=1)


class TextEncoder(nn.Module):
    """CLIP's text tower, read at every token.

    Parameters
    ----------
    tower : nn.Module
        An ``open_clip`` ``TextTransformer``.
    """

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(
        self, sequences: list[Tensor], contexts: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode token sequences of several lengths.

        Parameters
        ----------
        sequences : list of Tensor of shape (n_tokens,), int64
            With start and end tokens, unpadded.
        contexts : Tensor of shape (n_contexts, width), optional
            Vectors to put between the start token and the text.

        Returns
        -------
        embeddings : Tensor of shape (n, longest, D)
            After the final norm and the projection, at every position.
        lengths : Tensor of shape (n,), int64
            Valid positions; the end token is the last of them. Causal
            attention makes them independent of the padding behind.
        """
        tower: Any = self.tower
        ids, lengths = pad_tokens(sequences)
        states = tower.token_embedding(ids.to(tower.positional_embedding.device))
        if contexts is not None and len(contexts):
            shared = contexts.to(states.dtype).expand(len(states), -1, -1)
            states = torch.cat([states[:, :1], shared, states[:, 1:]], dim=1)
            lengths = lengths + len(contexts)
        length = states.shape[1]
        states = states + tower.positional_embedding[:length]
        states = tower.transformer(states, attn_mask=tower.attn_mask[:length, :length])
        return self._project(tower.ln_final(states)), lengths

    @property
    def dtype(self) -> torch.dtype:
        """Precision in which the tower runs."""
        return cast(nn.Parameter, self.tower.positional_embedding).dtype

    def rows(self, sequences: Sequence[Tensor], contexts: Tensor | None = None) -> list[Tensor]:
        """Encode texts to tensors of shape (n_tokens, D), float32, in the order given."""
        found: dict[int, Tensor] = {}
        for indices, embeddings, lengths in self._passes(sequences, contexts):
            for index, row, length in zip(indices, embeddings, lengths.tolist(), strict=True):
                found[index] = row[:length]
        return [found[index] for index in range(len(sequences))]

    def ends(self, sequences: Sequence[Tensor], contexts: Tensor | None = None) -> Tensor:
        """Encode texts to their end tokens' embeddings: shape (n, D), float32."""
        order, ends = [], []
        for indices, embeddings, lengths in self._passes(sequences, contexts):
            order += indices
            ends.append(last_positions(embeddings, lengths))
        return torch.cat(ends)[torch.tensor(order).argsort().to(ends[0].device)]

    def _passes(
        self, sequences: Sequence[Tensor], contexts: Tensor | None
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Run the tower over texts of like length together."""
        lengths = [len(sequence) for sequence in sequences]
        # What trains sees few texts, and gradients do not depend on their order.
        parts = [list(range(len(lengths)))] if torch.is_grad_enabled() else like_lengths(lengths)
        for indices in parts:
            embeddings, valid = self([sequences[index] for index in indices], contexts)
            yield indices, embeddings.float(), valid

    def _project(self, states: Tensor) -> Tensor:
        projection: Any = self.tower.text_projection
        if isinstance(projection, nn.Linear):
            return cast(Tensor, projection(states))
        return cast(Tensor, states @ projection)


class ImageEncoder(nn.Module):
    """CLIP's image tower over frames, or over spectrograms of sound.

    Parameters
    ----------
    tower : nn.Module
        An ``open_clip`` image tower; the audio encoder starts from the same
        weights as the vision encoder.
    """

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    @property
    def dtype(self) -> torch.dtype:
        """Precision in which the tower runs."""
        return next(self.tower.parameters()).dtype

    def forward(
        self, pictures: Tensor, prepare: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Encode pictures of shape (n, 3, S, S) to embeddings of shape (n, D).

        `prepare` makes them of what is given, so that few are there in floats at a time.
        """
        # Batch statistics must see the whole batch, so chunks are for inference.
        whole = torch.is_grad_enabled() or len(pictures) <= CHUNK
        chunks = [pictures] if whole else torch.split(pictures, CHUNK)
        prepared = chunks if prepare is None else map(prepare, chunks)
        return torch.cat([self.tower(chunk) for chunk in prepared])


def like_lengths(lengths: Sequence[int]) -> list[list[int]]:
    """Divide texts into passes in which little is padding.

    Returns
    -------
    list of list of int
        Positions, from the shortest text to the longest.
    """
    parts: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[index]
        padding = (length - longest) * len(parts[-1]) if parts else 0
        if not parts or padding > PASS or length * (len(parts[-1]) + 1) > TEXT_CHUNK:
            parts.append([])
        parts[-1].append(index)
        longest = length
    return parts


def last_positions(embeddings: Tensor, lengths: Tensor) -> Tensor:
    """Return the end token's embedding of each sequence: shape (n, D)."""
    rows = torch.arange(len(embeddings), device=embeddings.device)
    return embeddings[rows, lengths.to(embeddings.device) - 1]
