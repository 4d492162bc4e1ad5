"""Steps of both stages whose cross-attention reads picture and language model, from JSONL to gradients,
against eager PyTorch: the Q-Former is transformers' own, with keys and values of both kinds side by side."""

import collections
import json
import pathlib
import subprocess
import sys

import numpy
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]
import blip2_reference as reference  # noqa: E402
import mini_model  # noqa: E402
from random_streams import Random, derive_seed  # noqa: E402
from test_training import (  # noqa: E402
    RECORDS, assert_step, batch_of, features_of, hide_answers, padded, reference_model, write_records)

POSITIONS, QUERIES, WIDTH, STATES = 16, 4, 32, 64  # of mini_model's parts
HIDDEN_WORDS, WAY = 41, 42  # streams of the seed, in caption_reads.cpp
STEP, REGIONS = 12, 9  # stage1_task.cpp, mrm_objective.cpp
CAPTIONS = ["a red circle", "a blue square above it", "a green triangle", "a black circle with a photo of it"]
SHARE = 0.4


class ReadsBoth(torch.nn.Linear):
    """A projection of [B, POSITIONS + T, ·]: pictures' positions by its own weights, the rest by another's."""

    def __init__(self, image, language):
        super().__init__(image.in_features, image.out_features)
        self.language = [language]  # which has its own name

    def forward(self, x):
        image = super().forward(x[:, :POSITIONS, : self.in_features])
        return torch.cat([image, self.language[0](x[:, POSITIONS:, :STATES])], dim=1)

    def image(self, x):
        return super().forward(x)


def add_reads(model):
    for layer in model.qformer.encoder.layer:
        if not layer.has_cross_attention:
            continue
        attention = layer.crossattention.attention
        for kind in ("key", "value"):
            own = torch.nn.Linear(STATES, model.config.hidden_size)
            setattr(attention, f"language_{kind}", own)
            setattr(attention, kind, ReadsBoth(getattr(attention, kind), own))
    model.ln_language = torch.nn.LayerNorm(STATES, eps=1e-5)


class Stage1(reference.Stage1):
    def __init__(self, config):
        super().__init__(config)
        add_reads(self)


class Stage2(reference.Stage2):
    def __init__(self, config, language):
        super().__init__(config, language)
        add_reads(self)

    def prompt(self, read, ids=None, mask=None):
        images, closed = read
        queries = self.query_tokens.expand(images.shape[0], -1, -1)
        hidden = (self.both(images, ids, mask, closed) if ids is not None else self.qformer(
            query_embeds=queries, encoder_hidden_states=images, encoder_attention_mask=closed).last_hidden_state)
        return self.language_projection(hidden[:, :QUERIES])


def side_by_side(model, features, states, there):
    """Pictures [B,P,E] and states [B,T,L], those in `there` [B,T] bool: what cross-attention reads, and its
    additive mask [B,1,Q,P+T]."""
    rows, tokens = there.shape
    both = features.new_zeros(rows, POSITIONS + tokens, max(WIDTH, STATES))
    both[:, :POSITIONS, :WIDTH] = model.see(features)
    both[:, POSITIONS:, :STATES] = model.ln_language(states)
    closed = torch.zeros(rows, POSITIONS + tokens, dtype=features.dtype)
    closed[:, POSITIONS:].masked_fill_(~there, torch.finfo(features.dtype).min)
    return both, closed[:, None, None].expand(-1, -1, QUERIES, -1)


def states_of(gpt2, texts):
    """transformers' last hidden states of texts of ids: [B,T,L] and which of them are there."""
    ids, mask = padded(texts, 0) if any(texts) else (torch.zeros(len(texts), 1).long(), torch.zeros(len(texts), 1))
    with torch.no_grad():
        states = gpt2.transformer(input_ids=ids, attention_mask=mask.clamp(min=0)).last_hidden_state
    there = mask.bool()
    return torch.where(there[..., None], states, torch.zeros(())), there


def gpt2_of(init):
    config = GPT2Config(**json.loads((init / "config.json").read_text())["text_config"])
    model = GPT2LMHeadModel(config).to(torch.float32).eval()
    weights = load_file(init / "model-language.safetensors")
    missing, unexpected = model.load_state_dict(
        {name.removeprefix("language_model."): value.float() for name, value in weights.items()}, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    model.tie_weights()
    return model


@pytest.fixture(scope="module")
def init(build, tmp_path_factory):
    """A model that has learnt to read a language model in a step, by weights that matter."""
    folder = tmp_path_factory.mktemp("reads")
    subprocess.run([build / "blip2", "convert", mini_model.write_mission_parts(folder), folder / "parts"],
                   check=True, capture_output=True)
    records = [{"image": f"{i % 3}.png", "caption": caption} for i, caption in enumerate(CAPTIONS)]
    write_records(folder, records)
    settings = [f"init={folder / 'parts'}", f"data.train={folder / 'records.jsonl'}", "steps=1", "batch_size=2",
                "checkpoint.every=1", "precision=f32"]
    subprocess.run([build / "blip2", "train", HERE.parents[1] / "recipes" / "masked_stage1.toml", "--output",
                    folder / "run", *(word for value in settings for word in ("--set", value))],
                   check=True, capture_output=True)
    path = folder / "run" / "model-bridge.safetensors"
    weights, torch_random = load_file(path), torch.Generator().manual_seed(3)
    read = {name for name in weights if ".language_" in name or name.startswith("ln_language")}
    assert len(read) == 2 * 2 * 2 + 2  # two cross-attention layers
    for name, value in weights.items():
        if name in read or "crossattention" in name:
            noise = torch.randn(value.shape, generator=torch_random)
            weights[name] = 0.3 * noise if value.ndim > 1 else value + 0.2 * noise
    save_file(weights, path, {"format": "pt"})
    return folder / "run"


RECIPE = """
init = "{init}"
stage = {stage}
steps = 1
batch_size = {rows}
precision = "f32"
dropout = 0.0
seed = 3
[data]
train = "records.jsonl"
cache = "features"
feature_type = "f32"
features = "{features}"
max_text_tokens = 100
[prompt]
caption = "{caption}"
question = "{question}"
to_qformer = {to_qformer}
[objectives]
{objectives}
"""


def step_of(probe, folder, **settings):
    (folder / "recipe.toml").write_text(RECIPE.format(**{
        "caption": "a photo of", "question": "{}", "to_qformer": "false", "features": "cached", **settings}))
    probe("training", folder / "recipe.toml", folder / "out.safetensors")
    return load_file(folder / "out.safetensors")


def masked(ids, special, mask, vocabulary, seed):
    """mask_text of one text: what the Q-Former reads, and the places of the words to predict."""
    random, ids = Random(seed), list(ids)
    places = [t for t, word in enumerate(ids) if word not in special]
    random.shuffle(places)
    places = sorted(places[: max(1, int(SHARE * len(ids) + 0.5))])
    for t in places:
        draw = random.uniform()
        if draw < 0.8:
            ids[t] = mask
        elif draw < 0.9:
            while (word := random.below(vocabulary)) in special:
                pass
            ids[t] = word
    return ids, places


def language_ids(qformer, language, ids, hidden):
    """What the language model reads of the Q-Former's ids: a padding token for each hidden one."""
    tokens, run, first = [], [], True

    def add():
        nonlocal first
        words = qformer.decode(run, skip_special_tokens=True)
        run.clear()
        if not words:
            return
        words = words[2:] if words.startswith("##") else words if first else " " + words
        tokens.extend(language(words, add_special_tokens=False).input_ids)
        first = False

    for t, piece in enumerate(ids):
        if t not in hidden:
            run.append(piece)
            continue
        add()
        tokens.append(language.pad_token_id)
        first = False
    add()
    return tokens


def hidden_regions(seed, rows):
    """hide_regions: [B,H] positions."""
    count, all_rows = int(SHARE * POSITIONS + 0.5), []
    for i in range(rows):
        random = Random(derive_seed(seed, i))
        stretches = [[p for p in range(POSITIONS) if p * QUERIES // POSITIONS == q] for q in range(QUERIES)]
        for stretch in stretches:
            random.shuffle(stretch)
        random.shuffle(stretches)
        turns = [stretch[turn] for turn in range(POSITIONS) for stretch in stretches if turn < len(stretch)]
        all_rows.append(sorted(turns[:count]))
    return torch.tensor(all_rows)


def masked_words(model, read, ids, mask, labels):
    hidden = model.both(read[0], ids, mask, read[1])[:, QUERIES:]
    logits = model.cls(hidden, model.embeddings.word_embeddings.weight)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


def masked_regions(model, features, read, ids, mask, hidden):
    closed = read[1].clone()
    places = torch.zeros(closed.shape[0], closed.shape[3], dtype=torch.bool).scatter(1, hidden, True)
    closed.masked_fill_(places[:, None, None], torch.finfo(closed.dtype).min)
    states = model.both(read[0], ids, mask, closed)[:, :QUERIES]
    last = [layer for layer in model.qformer.encoder.layer if layer.has_cross_attention][-1]
    values = F.normalize(last.crossattention.attention.value.image(model.see(features)), dim=-1)
    losses = []
    for row, regions in enumerate(hidden):
        for place in regions:
            state = F.normalize(states[row, int(place) * QUERIES // POSITIONS], dim=-1)
            losses.append(F.cross_entropy(values[row] @ state / reference.REGION_TEMPERATURE, place))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("features", ["cached", "live"])
def test_stage1_loss_and_gradients(probe, init, tmp_path, features):
    records = [{"image": f"{i % 3}.png", "caption": caption} for i, caption in enumerate(CAPTIONS)]
    write_records(tmp_path, records)
    ours = step_of(probe, tmp_path, init=init, stage=1, rows=len(records), features=features,
                   objectives=f"itc = 0\nitm = 0\nitg = 0\nmlm = 1\nmrm = 0.5\nmlm_share = {SHARE}\n"
                              f"mrm_share = {SHARE}\nmlm_ways = 3")
    qformer = AutoTokenizer.from_pretrained(init / "qformer_tokenizer")
    language = AutoTokenizer.from_pretrained(init)
    special = {qformer.pad_token_id, qformer.unk_token_id, qformer.cls_token_id, qformer.sep_token_id,
               qformer.mask_token_id, qformer.convert_tokens_to_ids("[DEC]")}
    texts = [qformer(caption).input_ids for caption in CAPTIONS]
    given, labels, shown = [], [], []
    for caption, ids in enumerate(texts):
        way = Random(derive_seed(3, WAY, 0, caption)).below(3)
        words, places = masked(ids, special, qformer.mask_token_id, len(qformer),
                               derive_seed(3, HIDDEN_WORDS, way, caption))
        given.append(words)
        labels.append([word if t in places else -100 for t, word in enumerate(ids)])
        shown.append(language_ids(qformer, language, ids, set(places)))
    plain = [language_ids(qformer, language, ids, set()) for ids in texts]
    gpt2 = gpt2_of(init)
    hidden_read, plain_read = states_of(gpt2, shown), states_of(gpt2, plain)
    hidden = hidden_regions(derive_seed(derive_seed(3, STEP, 0), REGIONS), len(records))
    model = reference_model(init, None, Stage1)
    seen = features_of(ours, records)
    (text, mask), labels = padded(texts, 0), padded(labels, -100)[0]

    def loss_of(model, number):
        pictures = seen.to(number)
        read = [side_by_side(model, pictures, states.to(number), there) for states, there in (hidden_read, plain_read)]
        words = masked_words(model, read[0], padded(given, 0)[0], mask, labels)
        return words + 0.5 * masked_regions(model, pictures, read[1], text, mask, hidden)

    assert_step(ours, model, loss_of)
    assert any("language_key" in name for name in ours)


@pytest.mark.parametrize("caption, question, to_qformer, objectives, features",
                         [("a photo of", "{}", True, "lm = 0\ncmlm = 1", "cached"),
                          ("", "Question: {} Short answer:", False, "lm = 1", "cached"),
                          ("a photo of", "{}", True, "lm = 0.5\ncmlm = 2", "live")],
                         ids=["masked answers", "queries alone, captions without a prompt", "both, read in the step"])
def test_stage2_loss_and_gradients(probe, init, tmp_path, caption, question, to_qformer, objectives, features):
    write_records(tmp_path)
    ours = step_of(probe, tmp_path, init=init, stage=2, rows=len(RECORDS), caption=caption, question=question,
                   to_qformer=str(to_qformer).lower(), objectives=objectives, features=features)
    gpt2 = gpt2_of(init)
    model = reference_model(init, gpt2, Stage2)
    weights = {key: float(value) for key, value in (line.split(" = ") for line in objectives.splitlines())}
    ids, mask, labels, read_ids, read_mask = batch_of(init, caption, question)
    hidden = masked_answers(init, ids, labels) if "cmlm" in weights else None
    language = AutoTokenizer.from_pretrained(init)
    prompts = [question.format(r["question"]) if "question" in r else caption for r in RECORDS]
    prompts = [language(prompt, add_special_tokens=False).input_ids if prompt else [] for prompt in prompts]
    distinct = collections.Counter(map(len, {tuple(prompt) for prompt in prompts if prompt}))
    assert features == "live" or kept_states(tmp_path / "features") == distinct
    read = states_of(gpt2, prompts)
    seen = features_of(ours)
    instruction = (read_ids, read_mask) if to_qformer else (None, None)

    def loss_of(model, number):
        what = side_by_side(model, seen.to(number), read[0].to(number), read[1])
        loss = weights["lm"] * model(what, ids, mask, labels, *instruction) if weights["lm"] else 0
        return loss + weights["cmlm"] * model(what, hidden[0], mask, hidden[1], *instruction) if hidden else loss

    assert_step(ours, model, loss_of)
    if features == "cached":
        for prompt in filter(None, prompts):
            [rows] = (tmp_path / "features").glob(f"*/{len(prompt)}_tokens/rows.bin")
            rows = torch.from_numpy(numpy.fromfile(rows, numpy.float32)).view(-1, len(prompt), STATES)
            expected = states_of(gpt2, [prompt])[0]
            assert (rows - expected).abs().amax(dim=(1, 2)).min() <= 1e-4 * expected.abs().max()


def masked_answers(init, ids, labels):
    """test_training's hide_answers with this recipe's seed and GPT-2's padding token."""
    return hide_answers(init, ids, labels, seed=3, mask=AutoTokenizer.from_pretrained(init).pad_token_id)


def kept_states(cache):
    """How many texts of each length have states in the cache."""
    counts = {}
    for path in cache.glob("*/*_tokens/rows.bin"):
        length = int(path.parent.name.split("_")[0])
        counts[length] = path.stat().st_size // (4 * STATES * length)
    return counts
