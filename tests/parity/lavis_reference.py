"""BLIP-2 with LAVIS's parameter names, in plain PyTorch: what its checkpoints hold and compute.

Written from the module definitions of LAVIS (eva_vit.py, clip_vit.py, Qformer.py, blip2_qformer.py,
blip2_opt.py and its likes): attributes have its names, so that state_dict() has its keys. Only what
inference needs is here, without dropout.

Symbols: B batch, Q queries, T text tokens, P picture positions, D Q-Former width.
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn


def resized(table, positions, align_corners):
    """interpolate_pos_embed of eva_vit.py and clip_vit.py: the table [P, D] for another number of positions."""
    old, new = math.isqrt(len(table) - 1), math.isqrt(positions - 1)
    if old == new:
        return table
    grid = table[1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=align_corners)
    return torch.cat([table[:1], grid.permute(0, 2, 3, 1).flatten(0, 2)])


class EvaAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        rows, positions, width = x.shape
        bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        q, k, v = F.linear(x, self.qkv.weight, bias).reshape(
            rows, positions, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        seen = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(seen.transpose(1, 2).reshape(rows, positions, width))


class EvaMlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class EvaBlock(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, eps=1e-6), EvaAttention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width, eps=1e-6), EvaMlp(width, inner)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class EvaVisionTransformer(nn.Module):
    def __init__(self, size, patch, width, heads, inner, blocks):
        super().__init__()
        self.num_features = width
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, width, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, width))
        self.blocks = nn.ModuleList(EvaBlock(width, heads, inner) for _ in range(blocks))

    def forward(self, pixels):
        x = self.patch_embed.proj(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x

    def resize(self, positions):
        self.pos_embed = nn.Parameter(resized(self.pos_embed[0], positions, align_corners=False)[None])


class ClipBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Module()
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        y = self.mlp.c_fc(self.ln_2(x))
        return x + self.mlp.c_proj(y * torch.sigmoid(1.702 * y))


class ClipVisionTransformer(nn.Module):
    def __init__(self, size, patch, width, heads, blocks):
        super().__init__()
        self.num_features = width
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros((size // patch) ** 2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(ClipBlock(width, heads) for _ in range(blocks))

    def forward(self, pixels):
        x = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1)
        x = self.ln_pre(x + self.positional_embedding).transpose(0, 1)
        for block in self.transformer.resblocks:
            x = block(x)
        return x.transpose(0, 1)

    def resize(self, positions):
        self.positional_embedding = nn.Parameter(resized(self.positional_embedding, positions, align_corners=True))


class BertSelf(nn.Module):
    def __init__(self, width, source):
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key, self.value = nn.Linear(source, width), nn.Linear(source, width)


class BertOutput(nn.Module):
    def __init__(self, inner, width):
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(inner, width), nn.LayerNorm(width, eps=1e-12)

    def forward(self, x, residual):
        return self.LayerNorm(self.dense(x) + residual)


class BertAttention(nn.Module):
    def __init__(self, width, source):
        super().__init__()
        self.self, self.output = BertSelf(width, source), BertOutput(width, width)

    def forward(self, x, seen, mask=None):
        """x [B,N,D] looks at seen [B,M,S]; mask [B,1,1 or N,M] bool, true where it may."""
        split = lambda y: y.unflatten(-1, (-1, 64)).transpose(1, 2)
        inner = self.self
        out = F.scaled_dot_product_attention(
            split(inner.query(x)), split(inner.key(seen)), split(inner.value(seen)), mask)
        return self.output(out.transpose(1, 2).flatten(2), x)


class BertIntermediate(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.dense = nn.Linear(width, inner)


class BertLayer(nn.Module):
    def __init__(self, sizes, crosses, text):
        super().__init__()
        width, inner = sizes.width, sizes.inner
        self.attention = BertAttention(width, width)
        if crosses:
            self.crossattention = BertAttention(width, sizes.image_width)
        if text:
            self.intermediate, self.output = BertIntermediate(width, inner), BertOutput(inner, width)
        self.intermediate_query = BertIntermediate(width, inner)
        self.output_query = BertOutput(inner, width)

    def forward(self, x, queries, mask, image):
        """The first `queries` positions are queries; they alone look at the picture."""
        x = self.attention(x, x, mask)
        q, t = x[:, :queries], x[:, queries:]
        if queries:
            if hasattr(self, "crossattention"):
                q = self.crossattention(q, image)
            q = self.output_query(F.gelu(self.intermediate_query.dense(q)), q)
        if t.shape[1]:
            t = self.output(F.gelu(self.intermediate.dense(t)), t)
        return torch.cat([q, t], dim=1)


@dataclasses.dataclass
class Sizes:
    width: int = 128
    inner: int = 160
    layers: int = 3
    cross_every: int = 2
    queries: int = 6
    words: int = 60
    positions: int = 48
    contrast: int = 20
    image_width: int = 176


class Bert(nn.Module):
    def __init__(self, sizes, text):
        super().__init__()
        self.embeddings = nn.Module()
        if text:
            self.embeddings.word_embeddings = nn.Embedding(sizes.words, sizes.width)
            self.embeddings.position_embeddings = nn.Embedding(sizes.positions, sizes.width)
        self.embeddings.LayerNorm = nn.LayerNorm(sizes.width, eps=1e-12)
        self.embeddings.register_buffer("position_ids", torch.arange(sizes.positions)[None])
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(
            BertLayer(sizes, i % sizes.cross_every == 0, text) for i in range(sizes.layers))

    def forward(self, queries=None, ids=None, mask=None, image=None):
        """queries [B,Q,D], ids and mask [B,T], image [B,P,E] -> [B,Q+T,D]."""
        parts, e = [], self.embeddings
        if queries is not None:
            parts.append(queries)
        if ids is not None:
            places = torch.arange(ids.shape[1])
            parts.append(e.word_embeddings(ids) + e.position_embeddings(places))
        x = e.LayerNorm(torch.cat(parts, dim=1))
        count = 0 if queries is None else queries.shape[1]
        seen = None
        if ids is not None:
            seen = torch.cat([torch.ones(len(ids), count), mask], dim=1).bool()[:, None, None]
        for layer in self.encoder.layer:
            x = layer(x, count, seen, image)
        return x


class BertHead(nn.Module):
    def __init__(self, sizes, words):
        super().__init__()
        self.predictions = nn.Module()
        self.predictions.bias = nn.Parameter(torch.zeros(sizes.words))
        self.predictions.transform = BertOutput(sizes.width, sizes.width)
        self.predictions.decoder = nn.Linear(sizes.width, sizes.words)
        self.predictions.decoder.weight = words.weight
        self.predictions.decoder.bias = self.predictions.bias


class Blip2Base(nn.Module):
    def __init__(self, sizes, visual_encoder, text):
        super().__init__()
        self.visual_encoder = visual_encoder
        self.ln_vision = nn.LayerNorm(visual_encoder.num_features)
        self.Qformer = nn.Module()
        self.Qformer.bert = Bert(sizes, text)
        self.query_tokens = nn.Parameter(torch.zeros(1, sizes.queries, sizes.width))

    def see(self, pixels):
        return self.ln_vision(self.visual_encoder(pixels))

    def resize(self, size):
        """Takes pictures of `size` pixels from now on, as LAVIS's loaders resize the positions."""
        self.visual_encoder.resize((size // 14) ** 2 + 1)

    def look(self, image, ids=None, mask=None):
        """The queries' hidden states after the picture (and the text): [B,Q,D]."""
        queries = self.query_tokens.expand(len(image), -1, -1)
        return self.Qformer.bert(queries, ids, mask, image)[:, : queries.shape[1]]


class Blip2Qformer(Blip2Base):
    """Stage 1 (blip2_qformer.py)."""

    def __init__(self, sizes, visual_encoder):
        super().__init__(sizes, visual_encoder, text=True)
        self.Qformer.cls = BertHead(sizes, self.Qformer.bert.embeddings.word_embeddings)
        self.vision_proj = nn.Linear(sizes.width, sizes.contrast)
        self.text_proj = nn.Linear(sizes.width, sizes.contrast)
        self.itm_head = nn.Linear(sizes.width, 2)
        self.temp = nn.Parameter(torch.tensor(0.07))

    def image_features(self, image):
        return F.normalize(self.vision_proj(self.look(image)), dim=-1)

    def text_features(self, ids, mask):
        hidden = self.Qformer.bert(ids=ids, mask=mask)
        return F.normalize(self.text_proj(hidden[:, 0]), dim=-1)

    def match(self, image, ids, mask):
        return self.itm_head(self.look(image, ids, mask)).mean(dim=1).softmax(-1)[:, 1]


class Blip2Language(Blip2Base):
    """Stage 2: `kind` is opt, t5 or llm; text for the instructed models (blip2_*_instruct.py)."""

    def __init__(self, sizes, visual_encoder, kind, language_model, text=False):
        super().__init__(sizes, visual_encoder, text)
        self.kind = kind
        width = language_model.config.hidden_size
        setattr(self, f"{kind}_proj", nn.Linear(sizes.width, width))
        setattr(self, f"{kind}_model", language_model)

    def prompts(self, image, ids=None, mask=None):
        return getattr(self, f"{self.kind}_proj")(self.look(image, ids, mask))


def randomise(model, seed, deviation=0.3):
    """Weights wide enough apart that a mistake shows."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name == "temp" or name.startswith(("opt_model.", "t5_model.", "llm_model.")):
                continue
            fan = value.shape[-1] if value.ndim > 1 else 1
            noise = torch.randn(value.shape, generator=draw) * deviation / fan**0.5 * 3
            value.copy_(noise + 1 if value.ndim == 1 and "weight" in name else noise)


def save(model, path, frozen=()):
    """As LAVIS's runner saves: without the parameters under the prefixes in `frozen`."""
    state = {key: value for key, value in model.state_dict().items() if not key.startswith(tuple(frozen))}
    trained = [p for name, p in model.named_parameters() if not name.startswith(tuple(frozen))]
    optimizer = torch.optim.AdamW(trained[:2], lr=1e-4)
    torch.save({"model": state, "optimizer": optimizer.state_dict(), "config": {"run": {"seed": 42}},
                "scaler": None, "epoch": 3}, path)
