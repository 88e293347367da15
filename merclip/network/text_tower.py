"""CLIP's text tower alone, in open_clip's names, for networks whose image towers are our own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from merclip.errors import InputError
from merclip.network.attention import Attention

KEYS = {"context_length", "vocab_size", "width", "heads", "layers"}


class TextTower(nn.Module):
    """CLIP's text tower: a causal transformer over tokens (Radford et al. 2021, section 2.4).

    Its weights have the names and the start values of open_clip's
    ``TextTransformer``, so that either reads the other's. Importing open_clip
    takes longer than predicting, which is why small networks do without.

    Parameters
    ----------
    embed_dim : int
        Dimensions of the embedding space.
    context_length : int
        The most tokens, start and end included.
    vocab_size : int
    width, heads, layers : int
    """

    attn_mask: Tensor

    def __init__(
        self,
        embed_dim: int,
        context_length: int = 77,
        vocab_size: int = 49408,
        width: int = 512,
        heads: int = 8,
        layers: int = 12,
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, width))
        self.transformer = Transformer(width, heads, layers)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))
        mask = torch.full((context_length, context_length), float("-inf")).triu_(1)
        self.register_buffer("attn_mask", mask, persistent=False)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=width**-0.5)


class Transformer(nn.Module):
    """Residual attention blocks, one after another."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        blocks = [Block(width, heads, layers) for _ in range(layers)]
        self.resblocks = nn.ModuleList(blocks)

    def forward(self, states: Tensor, attn_mask: Tensor) -> Tensor:
        """Return states of the same shape (n, length, width)."""
        for block in self.resblocks:
            states = block(states, attn_mask)
        return states


class Block(nn.Module):
    """Attention and a two-layer perceptron, each behind a norm and beside an identity."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        nn.init.normal_(self.attn.in_proj_weight, std=width**-0.5)
        widen, narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        names = ("c_fc", "gelu", "c_proj")
        self.mlp = nn.Sequential(OrderedDict(zip(names, (widen, nn.GELU(), narrow), strict=True)))
        # open_clip's start values: what is added to the states shrinks with the depth.
        nn.init.normal_(widen.weight, std=(2 * width) ** -0.5)
        for weight in (self.attn.out_proj.weight, narrow.weight):
            nn.init.normal_(weight, std=(2 * depth * width) ** -0.5)

    def forward(self, states: Tensor, attn_mask: Tensor) -> Tensor:
        """Return states of the same shape."""
        normed = self.ln_1(states)
        states = states + self.attn(normed, normed, attn_mask.to(states.dtype))
        added: Tensor = self.mlp(self.ln_2(states))
        return states + added


def build_text_tower(embed_dim: int, text: Mapping[str, Any]) -> TextTower:
    """Build the tower of a ``text_cfg``.

    Raises
    ------
    InputError
        An unknown key, or a width that its heads do not divide.
    """
    unknown = sorted(set(text) - KEYS)
    if unknown:
        raise InputError(f"text_cfg beside a residual tower has unknown keys {unknown}.")
    if text.get("width", 512) % text.get("heads", 8):
        raise InputError(f"A width of {text.get('width', 512)} does not divide into its heads.")
    return TextTower(embed_dim, **text)
