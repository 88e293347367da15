"""The cross-modal decoder: an emotion query that takes in one modality after another."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from merclip.network.attention import Attention
from merclip.network.config import DecoderConfig
from merclip.preprocess.features import FeatureBatch


class CrossAttentionBlock(nn.Module):
    """Pre-norm cross-attention and feed-forward layer, both residual."""

    def __init__(self, width: int, config: DecoderConfig) -> None:
        super().__init__()
        hidden = int(width * config.mlp_ratio)
        self.norm_query = nn.LayerNorm(width)
        self.norm_keys = nn.LayerNorm(width)
        self.attention = Attention(width, config.heads, config.dropout)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, width),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, query: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Update a query from one modality.

        Parameters
        ----------
        query : Tensor of shape (B, n_queries, D)
        keys : Tensor of shape (B, n_keys, D)
        mask : Tensor of shape (B, n_keys), bool
            True where a key is valid; each row needs at least one.
        """
        keys = self.norm_keys(keys)
        attended = self.attention(self.norm_query(query), keys, mask[:, None, None])
        query = query + self.dropout(attended)
        updated: Tensor = query + self.dropout(self.mlp(self.norm_mlp(query)))
        return updated


class CrossModalDecoder(nn.Module):
    """One layer (or `depth` layers) a modality, fused in order.

    A clip without a modality passes that modality's layers unchanged.

    Parameters
    ----------
    width : int
    order : str
        Modality letters in fusion order.
    lengths : mapping from letter to int
        For modalities whose temporal order is learned: how many positions.
        Their embeddings start at zero.
    config : DecoderConfig
    """

    def __init__(
        self, width: int, order: str, lengths: dict[str, int], config: DecoderConfig
    ) -> None:
        super().__init__()
        self.order = order
        self.include_global = config.include_global
        self.layers = nn.ModuleDict(
            {
                letter: nn.ModuleList(
                    CrossAttentionBlock(width, config) for _ in range(config.depth)
                )
                for letter in sorted(order)
            }
        )
        self.positions = nn.ParameterDict(
            {
                letter: nn.Parameter(torch.zeros(length, width))
                for letter, length in sorted(lengths.items())
                if letter in order
            }
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, query: Tensor, batch: FeatureBatch, globals_: dict[str, Tensor]) -> Tensor:
        """Fuse a batch.

        Parameters
        ----------
        query : Tensor of shape (B, n_queries, D)
        batch : FeatureBatch
        globals_ : dict of Tensor of shape (B, D)
            Each modality's global embedding.

        Returns
        -------
        Tensor of shape (B, n_queries, D)
        """
        for letter in self.order:
            if letter not in batch.sequences:
                continue
            keys, mask = self._keys(letter, batch, globals_)
            present = batch.present(letter)
            # A row of masked keys alone would give NaN; its result is not used.
            safe_mask = mask | ~present[:, None]
            updated = query
            for layer in cast(nn.ModuleList, self.layers[letter]):
                updated = layer(updated, keys, safe_mask)
            query = torch.where(present[:, None, None], updated, query)
        fused: Tensor = self.norm(query)
        return fused

    def _keys(
        self, letter: str, batch: FeatureBatch, globals_: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        keys, mask = batch.sequences[letter], batch.masks[letter]
        if letter in self.positions:
            keys = keys + self.positions[letter][: keys.shape[1]]
        if self.include_global:
            keys = torch.cat([keys, globals_[letter][:, None]], dim=1)
            mask = torch.cat([mask, batch.present(letter)[:, None]], dim=1)
        return keys, mask
