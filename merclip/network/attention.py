"""Multi-head attention, with the names of ``nn.MultiheadAttention``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Scaled dot-product attention of several heads.

    Weights have the names, shapes and start values of ``nn.MultiheadAttention``,
    whose check of a mask imports a second's worth of packages when it is first used.

    Parameters
    ----------
    width : int
    heads : int
        Divides `width`.
    dropout : float
        Of attention weights, in training.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Return what each query takes from the keys.

        Parameters
        ----------
        query : Tensor of shape (B, n_queries, D)
        keys : Tensor of shape (B, n_keys, D)
        mask : Tensor that broadcasts to (B, heads, n_queries, n_keys)
            bool, True where a key counts; or floats to add to the logits.

        Returns
        -------
        Tensor of shape (B, n_queries, D)
        """
        width = query.shape[-1]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        asked = self._by_head(functional.linear(query, weight[:width], bias[:width]))
        known = functional.linear(keys, weight[width:], bias[width:])
        taken = functional.scaled_dot_product_attention(
            asked,
            self._by_head(known[..., :width]),
            self._by_head(known[..., width:]),
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
        )
        out: Tensor = self.out_proj(taken.transpose(1, 2).flatten(2))
        return out

    def _by_head(self, states: Tensor) -> Tensor:
        return states.reshape(*states.shape[:2], self.heads, -1).transpose(1, 2)
