"""BLIP-2 in plain eager PyTorch: what the C++ training steps are compared with.

The Q-Former is transformers' own ``Blip2QFormerModel``; what transformers lacks (stage-1 losses, the
text-generation head, prompts through the frozen language model with the loss on the answer) is written
here as the paper and LAVIS describe it, one pass after the other, without any sharing of work.

Parameter names are those of ``Blip2ForImageTextRetrieval`` and ``Blip2ForConditionalGeneration``.
Symbols: B batch, Q queries, T text tokens, P picture positions, D Q-Former width, V vocabulary.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Blip2QFormerConfig
from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel, Blip2TextEmbeddings

IGNORED = -100
LABEL_SMOOTHING = 0.1
NEVER = -10000.0
REGION_TEMPERATURE = 0.07


@dataclasses.dataclass
class BridgeConfig:
    """Sizes of a Q-Former and its heads; the defaults are those of the demo."""

    hidden_size: int = 384
    num_hidden_layers: int = 6
    num_attention_heads: int = 12
    intermediate_size: int = 1536
    cross_attention_frequency: int = 2
    encoder_hidden_size: int = 1280
    vocab_size: int = 30523
    max_position_embeddings: int = 512
    layer_norm_eps: float = 1e-12
    dropout: float = 0.0
    num_query_tokens: int = 8
    projection_size: int = 256
    vision_layer_norm: bool = True
    attention: str = "sdpa"

    def qformer(self) -> Blip2QFormerConfig:
        config = Blip2QFormerConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.intermediate_size,
            hidden_act="gelu",
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout,
            max_position_embeddings=self.max_position_embeddings,
            layer_norm_eps=self.layer_norm_eps,
            cross_attention_frequency=self.cross_attention_frequency,
            encoder_hidden_size=self.encoder_hidden_size,
            use_qformer_text_input=True,
        )
        config._attn_implementation = self.attention
        return config


class Bridge(nn.Module):
    """Queries, text embeddings and the Q-Former: what both stages share."""

    def __init__(self, config: BridgeConfig):
        super().__init__()
        self.config = config
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, config.hidden_size))
        self.embeddings = Blip2TextEmbeddings(config.qformer())
        self.qformer = Blip2QFormerModel(config.qformer())
        norm = nn.LayerNorm(config.encoder_hidden_size, eps=1e-6)
        self.post_layernorm = norm if config.vision_layer_norm else nn.Identity()
        nn.init.normal_(self.query_tokens, std=0.02)
        nn.init.normal_(self.embeddings.word_embeddings.weight, std=0.02)
        nn.init.normal_(self.embeddings.position_embeddings.weight, std=0.02)

    def see(self, features: torch.Tensor) -> torch.Tensor:
        """[B,P,E] encoder features -> the same, normalised."""
        return self.post_layernorm(features)

    def queries(self, images: torch.Tensor) -> torch.Tensor:
        """The queries alone read the picture: [B,P,E] -> [B,Q,D]."""
        queries = self.query_tokens.expand(images.shape[0], -1, -1)
        return self.qformer(query_embeds=queries, encoder_hidden_states=images).last_hidden_state

    def text(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Text alone, bidirectional: [B,T] -> [B,T,D]."""
        return self.qformer(
            query_embeds=self.embeddings(input_ids=ids), query_length=0, attention_mask=mask
        ).last_hidden_state

    def both(
        self, images: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, image_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Queries and text see each other: -> [B,Q+T,D]; image_mask [B,1,Q,P] is added to the scores."""
        queries = self.query_tokens.expand(ids.shape[0], -1, -1)
        seen = torch.ones(queries.shape[:2], dtype=mask.dtype)
        return self.qformer(
            query_embeds=self.embeddings(input_ids=ids, query_embeds=queries),
            query_length=queries.shape[1],
            attention_mask=torch.cat([seen, mask], dim=1),
            encoder_hidden_states=images,
            encoder_attention_mask=image_mask,
        ).last_hidden_state

    def causal(self, images: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Queries see queries, text sees queries and earlier text: -> [B,Q+T,D]."""
        queries = self.query_tokens.expand(ids.shape[0], -1, -1)
        return self.qformer(
            query_embeds=self.embeddings(input_ids=ids, query_embeds=queries),
            query_length=queries.shape[1],
            attention_mask=generation_mask(mask, queries.shape[1]),
            encoder_hidden_states=images,
        ).last_hidden_state


def generation_mask(mask: torch.Tensor, queries: int) -> torch.Tensor:
    """[B,T] padding mask -> additive [B,1,Q+T,Q+T] mask of the text-generation pass."""
    rows, tokens = mask.shape
    total = queries + tokens
    allowed = torch.zeros(rows, 1, total, total, dtype=torch.bool)
    allowed[:, :, :, :queries] = True
    earlier = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    allowed[:, 0, queries:, queries:] = earlier & mask.bool()[:, None, :]
    return torch.zeros(rows, 1, total, total).masked_fill(~allowed, torch.finfo(torch.float32).min)


class GenerationHead(nn.Module):
    """BERT's language-model head; its matrix is the word embeddings."""

    def __init__(self, config: BridgeConfig):
        super().__init__()
        self.predictions = nn.Module()
        self.predictions.transform = nn.Module()
        self.predictions.transform.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.predictions.transform.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.predictions.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        transform = self.predictions.transform
        hidden = transform.LayerNorm(F.gelu(transform.dense(hidden)))
        return F.linear(hidden, words, self.predictions.bias)


def positive_pairs(image_ids: torch.Tensor, caption_ids: torch.Tensor) -> torch.Tensor:
    """[B],[B] -> [B,B] bool: pairs of one picture or of one caption are no negatives."""
    return (image_ids[:, None] == image_ids[None]) | (caption_ids[:, None] == caption_ids[None])


def draw_negatives(
    similarity: torch.Tensor, positives: torch.Tensor, generator: torch.Generator | None = None
) -> torch.Tensor:
    """[B,B] similarity -> [B] column of a hard negative for each row; a row must have a negative."""
    weights = similarity.detach().float().masked_fill(positives, NEVER).softmax(dim=1)
    return torch.multinomial(weights, 1, generator=generator).squeeze(1)


@dataclasses.dataclass
class Stage1Losses:
    itc: torch.Tensor
    itm: torch.Tensor
    itg: torch.Tensor
    image_to_text: torch.Tensor  # [B,B] similarity / temperature, rows are pictures
    negative_images: torch.Tensor  # [B] for each text
    negative_texts: torch.Tensor  # [B] for each picture

    @property
    def total(self) -> torch.Tensor:
        return self.itc + self.itm + self.itg


class Stage1(Bridge):
    """Image-text contrast, matching and grounded generation."""

    def __init__(self, config: BridgeConfig):
        super().__init__(config)
        self.vision_projection = nn.Linear(config.hidden_size, config.projection_size)
        self.text_projection = nn.Linear(config.hidden_size, config.projection_size)
        self.itm_head = nn.Linear(config.hidden_size, 2)
        self.temperature = nn.Parameter(torch.tensor(0.07))
        self.cls = GenerationHead(config)

    def forward(
        self,
        features: torch.Tensor,  # [B,P,E]
        ids: torch.Tensor,  # [B,T] starting with [CLS]
        mask: torch.Tensor,  # [B,T] 1 where text
        image_ids: torch.Tensor,  # [B]
        caption_ids: torch.Tensor,  # [B]
        *,
        decoder_token: int,
        negative_images: torch.Tensor | None = None,
        negative_texts: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Stage1Losses:
        images = self.see(features)
        positives = positive_pairs(image_ids, caption_ids)
        similarity = self.similarity(self.image_embeds(images), self.text_embeds(ids, mask))
        similarity = similarity / self.temperature.clamp(0.001, 0.5)
        if negative_texts is None:
            negative_texts = draw_negatives(similarity, positives, generator)
        if negative_images is None:
            negative_images = draw_negatives(similarity.t(), positives.t(), generator)
        return Stage1Losses(
            itc=contrast(similarity, positives),
            itm=self.matching(images, ids, mask, negative_images, negative_texts),
            itg=self.generation(images, ids, mask, decoder_token),
            image_to_text=similarity,
            negative_images=negative_images,
            negative_texts=negative_texts,
        )

    def image_embeds(self, images: torch.Tensor) -> torch.Tensor:
        """[B,P,E] normalised features -> [B,Q,256] of length 1."""
        return F.normalize(self.vision_projection(self.queries(images)).float(), dim=-1)

    def text_embeds(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """[B,T] -> [B,256] of length 1, from the first token."""
        return F.normalize(self.text_projection(self.text(ids, mask)[:, 0]).float(), dim=-1)

    @staticmethod
    def similarity(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """[B,Q,256], [N,256] -> [B,N]: the best query's cosine."""
        return torch.einsum("bqd,nd->bqn", images, texts).amax(dim=1)

    def match(self, images: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pairs -> [B,2] logits, the mean over the queries; index 1 means they belong together."""
        hidden = self.both(images, ids, mask)[:, : self.config.num_query_tokens]
        return self.itm_head(hidden).float().mean(dim=1)

    def masked_words(
        self, images: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Masked language modelling: [B,T] ids with words replaced, [B,T] labels, -100 elsewhere."""
        hidden = self.both(images, ids, mask)[:, self.config.num_query_tokens :]
        logits = self.cls(hidden, self.embeddings.word_embeddings.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED)

    def masked_regions(
        self, images: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, hidden: torch.Tensor
    ) -> torch.Tensor:
        """Masked region modelling: [B,H] hidden positions, which the queries of their stretch of the
        picture must tell among all of its positions, by the cosine with the last cross-attention's
        values."""
        positions, queries = images.shape[1], self.config.num_query_tokens
        # [B,1,Q,P] additive: transformers would make a mask of [B,P] for queries and text together.
        closed = torch.zeros(images.shape[:2]).scatter(1, hidden, torch.finfo(torch.float32).min)
        closed = closed[:, None, None].expand(-1, -1, queries, -1)
        states = self.both(images, ids, mask, closed)[:, :queries]
        layers = [layer for layer in self.qformer.encoder.layer if layer.has_cross_attention]
        values = F.normalize(layers[-1].crossattention.attention.value(images), dim=-1)
        losses = []
        for row, places in enumerate(hidden):
            for place in places:
                state = F.normalize(states[row, int(place) * queries // positions], dim=-1)
                losses.append(F.cross_entropy(values[row] @ state / REGION_TEMPERATURE, place))
        return torch.stack(losses).mean()

    def matching(
        self,
        images: torch.Tensor,
        ids: torch.Tensor,
        mask: torch.Tensor,
        negative_images: torch.Tensor,
        negative_texts: torch.Tensor,
    ) -> torch.Tensor:
        logits = self.match(
            torch.cat([images, images[negative_images], images]),
            torch.cat([ids, ids, ids[negative_texts]]),
            torch.cat([mask, mask, mask[negative_texts]]),
        )
        labels = torch.zeros(logits.shape[0], dtype=torch.long)
        labels[: ids.shape[0]] = 1
        return F.cross_entropy(logits, labels)

    def generation(
        self, images: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, decoder_token: int
    ) -> torch.Tensor:
        inputs = ids.clone()
        inputs[:, 0] = decoder_token
        hidden = self.causal(images, inputs, mask)[:, self.config.num_query_tokens : -1]
        logits = self.cls(hidden, self.embeddings.word_embeddings.weight)
        labels = ids.masked_fill(mask == 0, IGNORED)[:, 1:]
        return F.cross_entropy(
            logits.float().flatten(0, 1),
            labels.flatten(),
            ignore_index=IGNORED,
            label_smoothing=LABEL_SMOOTHING,
        )


def contrast(similarity: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    """Mean of both directions' cross-entropy with smoothed targets, equal over a row's positives."""

    def one_way(logits: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        target = positive.float() / positive.sum(dim=1, keepdim=True)
        target = (1 - LABEL_SMOOTHING) * target + LABEL_SMOOTHING / logits.shape[1]
        return -(target * logits.float().log_softmax(dim=1)).sum(dim=1).mean()

    return (one_way(similarity, positives) + one_way(similarity.t(), positives.t())) / 2


class Stage2(Bridge):
    """The queries become soft prompts of a frozen language model."""

    def __init__(self, config: BridgeConfig, language_model: nn.Module):
        super().__init__(config)
        self.language_projection = nn.Linear(config.hidden_size, language_model.config.hidden_size)
        self.language_model = language_model.eval().requires_grad_(False)

    def prompt(
        self, features: torch.Tensor, ids: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[B,P,E] (and the instruction [B,T] for the Q-Former) -> [B,Q,L] soft prompts."""
        images = self.see(features)
        hidden = self.queries(images) if ids is None else self.both(images, ids, mask)
        return self.language_projection(hidden[:, : self.config.num_query_tokens])

    def forward(
        self,
        features: torch.Tensor,  # [B,P,E]
        ids: torch.Tensor,  # [B,T] of the language model, padded on the right
        mask: torch.Tensor,  # [B,T]
        labels: torch.Tensor,  # [B,T] the ids where the loss counts, -100 elsewhere
        qformer_ids: torch.Tensor | None = None,  # [B,S] instruction
        qformer_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        prompt = self.prompt(features, qformer_ids, qformer_mask)
        words = self.language_model.get_input_embeddings()(ids)
        seen = torch.ones(prompt.shape[:2], dtype=mask.dtype)
        unseen = torch.full(prompt.shape[:2], IGNORED, dtype=labels.dtype)
        return self.language_model(
            inputs_embeds=torch.cat([prompt.to(words.dtype), words], dim=1),
            attention_mask=torch.cat([seen, mask], dim=1),
            labels=torch.cat([unseen, labels], dim=1),
            use_cache=False,
        ).loss


def spoken_losses(model: nn.Module, soft: torch.Tensor, rows: list[dict]) -> torch.Tensor:
    """What a frozen language model says of soft prompts [B,Q,L]: the losses of the rows' targets that
    count, row after row. A row has the ids `prompt`, and of one length `read` and `targets`, -100
    where nothing is asked. Everything is padded on the right."""
    encoder = model.config.is_encoder_decoder
    start = [model.config.decoder_start_token_id] if encoder else []
    prompts = [row["prompt"] + ([model.config.eos_token_id] if encoder else []) for row in rows]
    answers = [start + row["read"][:-1] for row in rows]
    targets = pad([row["targets"] for row in rows], IGNORED)[0]
    texts, mask = pad(prompts if encoder else [p + a for p, a in zip(prompts, answers)], 0)
    seen = torch.ones(soft.shape[:2], dtype=mask.dtype)
    inputs = dict(
        inputs_embeds=torch.cat([soft, model.get_input_embeddings()(texts)], dim=1),
        attention_mask=torch.cat([seen, mask], dim=1),
        use_cache=False,
    )
    if encoder:
        logits = model(**inputs, decoder_input_ids=pad(answers, 0)[0]).logits
    else:
        whole = model(**inputs).logits
        first = [soft.shape[1] + len(prompt) - 1 for prompt in prompts]
        length = targets.shape[1]
        whole = F.pad(whole, (0, 0, 0, length))
        logits = torch.stack([row[at : at + length] for row, at in zip(whole, first)])
    losses = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORED, reduction="none")
    return losses[targets != IGNORED]


def pad(rows: list[list[int]], filler: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Lists of ids as [B,T], padded on the right, and their mask."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [filler] * (width - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])


def start_from_bert(bridge: Bridge, bert: dict[str, torch.Tensor]) -> None:
    """Copies a BERT checkpoint: text path as it is, the queries' feed-forward a copy of the text's.

    Token type 0 is added to every position, as BERT does with it. Rows of the word embeddings beyond
    BERT's vocabulary ([DEC]), the queries and the cross-attention keep their random start.
    """
    bert = {name.removeprefix("bert."): tensor for name, tensor in bert.items()}
    start: dict[str, torch.Tensor] = {}
    for name in bridge.qformer.state_dict():
        if "crossattention" not in name:
            source = name.replace("_query.", ".").replace("attention.attention.", "attention.self.")
            source = source.replace("layernorm.", "embeddings.LayerNorm.") if source.startswith("layernorm") else source
            start[name] = bert[source]
    bridge.qformer.load_state_dict(start, strict=False)
    words = bert["embeddings.word_embeddings.weight"]
    positions = bert["embeddings.position_embeddings.weight"] + bert["embeddings.token_type_embeddings.weight"][:1]
    with torch.no_grad():
        bridge.embeddings.word_embeddings.weight[: words.shape[0]] = words
        bridge.embeddings.position_embeddings.weight.copy_(positions)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """AdamW's groups: vectors and scalars are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
