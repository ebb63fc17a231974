"""A PyTorch transformer that generates with a cache of keys and values, for the comparison only.

The layers, sizes and the cache of static shape are those of `gen_jax.nets.Transformer`; the loop
over tokens is Python's, as is usual.
"""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h, cache=None, index=0):
        b, n, d = h.shape
        parts = self.qkv(self.norm_1(h)).view(b, n, 3, self.heads, d // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if cache is None:
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            cache[0][:, :, index : index + 1], cache[1][:, :, index : index + 1] = key, value
            kept = (kept[:, :, : index + 1] for kept in cache)
            mixed = F.scaled_dot_product_attention(query, *kept)
        h = h + self.out(mixed.transpose(1, 2).reshape(b, n, d))
        return h + self.down(F.gelu(self.up(self.norm_2(h)), approximate="tanh"))


class Transformer(nn.Module):
    def __init__(self, vocabulary, context, width, depth, heads):
        super().__init__()
        self.context, self.heads, self.width = context, heads, width
        self.tokens = nn.Embedding(vocabulary + 1, width)
        self.places = nn.Parameter(0.02 * torch.randn(context, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.last = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, tokens, caches=None, index=0):
        h = self.tokens(tokens) + self.places[index : index + tokens.shape[1]]
        for i, block in enumerate(self.blocks):
            h = block(h, None if caches is None else caches[i], index)
        return self.last(self.norm(h))

    @torch.no_grad()
    def generate(self, batch, cached):
        """Ancestral samples [batch, context]."""
        start = self.last.out_features
        tokens = torch.full((batch, self.context + 1), start)
        shape = (batch, self.heads, self.context, self.width // self.heads)
        caches = [(torch.zeros(shape), torch.zeros(shape)) for _ in self.blocks]
        for i in range(self.context):
            if cached:
                logits = self(tokens[:, i : i + 1], caches, i)[:, -1]
            else:
                logits = self(tokens[:, : i + 1])[:, -1]
            tokens[:, i + 1] = torch.multinomial(logits.softmax(-1), 1)[:, 0]
        return tokens[:, 1:]
