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
        if query.shape[1] == 1 and mask.dtype == torch.bool and mask.ndim == 4:
            return self._of_one(query, keys, mask)
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

    def _of_one(self, query: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Return what one query takes, with products of the query in place of those of all keys.

        ``q . (W k)`` is ``(q W) . k``, and a sum of ``W k`` is W times the sum: the keys are
        never projected, which is several times faster. A bias of keys would add the same to
        each logit, and changes nothing.
        """
        width = query.shape[-1]
        weights = [part.view(self.heads, -1, width) for part in self.in_proj_weight.chunk(3)]
        biases = self.in_proj_bias.view(3, self.heads, -1)
        scale = weights[0].shape[1] ** -0.5
        asked = torch.einsum("bw,hdw->bhd", query[:, 0], weights[0]) + biases[0]
        asked = torch.einsum("bhd,hdw->bhw", asked * scale, weights[1])
        logits = asked @ keys.transpose(1, 2)
        shares = logits.masked_fill(~mask[:, :, 0], float("-inf")).softmax(dim=-1)
        shares = functional.dropout(shares, self.dropout, self.training)
        taken = torch.einsum("bhw,hdw->bhd", shares @ keys, weights[2])
        # What dropout takes from the shares, it takes from the bias too.
        taken = taken + shares.sum(dim=-1, keepdim=True) * biases[2]
        out: Tensor = self.out_proj(taken.flatten(1)[:, None])
        return out

    def _by_head(self, states: Tensor) -> Tensor:
        return states.reshape(*states.shape[:2], self.heads, -1).transpose(1, 2)


class BlockAttention(nn.Module):
    """Attention of a block of open_clip's, with the weights and names of torch's own module.

    Given sequences in batches, ``nn.MultiheadAttention`` turns them around first, and some
    matrix libraries then copy the weights once for each position: bfloat16 text took 26
    times as long.

    Parameters
    ----------
    module : nn.MultiheadAttention
        Of queries that are keys and values too; its weights are taken over.
    """

    def __init__(self, module: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = module.num_heads
        self.in_proj_weight, self.in_proj_bias = module.in_proj_weight, module.in_proj_bias
        self.out_proj = module.out_proj

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Return states of the same shape (B, length, D); keys and values are not looked at."""
        joined = functional.linear(query, self.in_proj_weight, self.in_proj_bias)
        by_head = joined.view(*query.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        asked, known, given = by_head
        taken = functional.scaled_dot_product_attention(asked, known, given, attn_mask=attn_mask)
        return self.out_proj(taken.transpose(1, 2).flatten(2)), None


def replace_attention(tower: nn.Module, kind: type[nn.Module]) -> None:
    """Put `BlockAttention` in the place of torch's module in a tower's blocks of a kind."""
    for block in tower.modules():
        module = getattr(block, "attn", None)
        if not isinstance(block, kind) or not isinstance(module, nn.MultiheadAttention):
            continue
        if module.batch_first and module.dropout == 0 and not hasattr(block, "ln_1_kv"):
            block.attn = BlockAttention(module)
