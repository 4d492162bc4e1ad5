"""Decoder-only families (Llama, Mistral, Qwen2, Qwen3, OPT, GPT-2) against transformers, live."""

import json
import random
import subprocess

import numpy
import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from transformers import (GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MistralConfig,
                          MistralForCausalLM, OPTConfig, OPTForCausalLM, Qwen2Config,
                          Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

IDS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 16}


def gated(seed, **changes):
    heads, groups = [(6, 2), (4, 4), (3, 1), (5, 5)][seed % 4]
    return IDS | dict(
        vocab_size=53 + seed, hidden_size=12 * heads, intermediate_size=41 + 2 * seed,
        num_hidden_layers=2 + seed % 2, num_attention_heads=heads, num_key_value_heads=groups,
        max_position_embeddings=128, tie_word_embeddings=seed % 2 == 0) | changes


def build(family, seed):
    heads = [3, 4, 5, 2][seed % 4]
    if family == "opt":
        return OPTForCausalLM(OPTConfig(
            **IDS, vocab_size=51 + seed, hidden_size=14 * heads, ffn_dim=37 + 3 * seed,
            num_hidden_layers=2, num_attention_heads=heads, max_position_embeddings=96,
            word_embed_proj_dim=14 * heads, enable_bias=seed % 2 == 0, dropout=0.0,
            tie_word_embeddings=seed < 2))
    if family == "gpt2":
        return GPT2LMHeadModel(GPT2Config(
            **IDS, vocab_size=51 + seed, n_embd=11 * heads, n_inner=[None, 29][seed % 2], n_layer=2,
            n_head=heads, n_positions=96, tie_word_embeddings=seed < 2))
    if family == "mistral":
        return MistralForCausalLM(MistralConfig(**gated(seed, head_dim=10, sliding_window=90)))
    if family == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**gated(seed)))
    if family == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**gated(seed, head_dim=8 + 6 * seed, attention_bias=seed == 1)))
    extra = {"attention_bias": True, "mlp_bias": True} if seed == 1 else {}
    if seed == 2:
        extra["rope_parameters"] = LLAMA3
    return LlamaForCausalLM(LlamaConfig(**gated(seed, head_dim=8 + 2 * seed, **extra)))


def tiny(folder, family, seed):
    """A random model with weights large enough to matter, saved as a Hugging Face directory."""
    torch.manual_seed(100 * seed + len(family))
    model = build(family, seed).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            norm = "norm" in name or ".ln_" in name
            value.uniform_(0.5, 1.5) if norm and "weight" in name else value.normal_(0, 0.25)
    model.save_pretrained(folder)
    return model


CASES = [(family, seed) for family in ("llama", "mistral", "qwen2", "qwen3", "opt", "gpt2") for seed in range(4)]
every_model = pytest.mark.parametrize("family,seed", CASES)


def forward(probe, tmp_path, model, width, dtype="f32"):
    lengths = [7, 3, 13]
    embeds = 0.5 * torch.randn(3, 13, width)
    mask = torch.arange(13)[None] < torch.tensor(lengths)[:, None]
    gradient = torch.randn(3, 13, width) * mask[..., None]
    save_file({"embeds": embeds, "lengths": torch.tensor(lengths), "gradient": gradient},
              tmp_path / "in.safetensors")
    probe("language", "forward", model, dtype, tmp_path / "in.safetensors",
          tmp_path / "out.safetensors")
    return embeds, mask, gradient, load_file(tmp_path / "out.safetensors")


@every_model
def test_logits_and_gradient_of_a_ragged_batch(probe, tmp_path, family, seed, instructions):
    model = tiny(tmp_path / "model", family, seed)
    embeds, mask, gradient, ours = forward(probe, tmp_path, tmp_path / "model",
                                           model.config.hidden_size)
    embeds.requires_grad_()
    out = model(inputs_embeds=embeds, attention_mask=mask.long(), output_hidden_states=True)
    out.hidden_states[-1].backward(gradient)
    assert (ours["logits"] - out.logits)[mask].abs().max() < 1e-4
    assert (ours["dembeds"] - embeds.grad).abs().max() / embeds.grad.abs().max() < 1e-4


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "opt", "gpt2"])
def test_tied_embeddings_under_the_heads_name(probe, tmp_path, family):
    """safetensors keeps one of two names of the same memory: the head's."""
    model = tiny(tmp_path / "model", family, 0)
    usual = set(load_file(tmp_path / "model" / "model.safetensors"))
    save_model(model, tmp_path / "model" / "model.safetensors")
    stored = set(load_file(tmp_path / "model" / "model.safetensors"))
    assert stored - usual == {"lm_head.weight"} and len(usual - stored) == 1
    embeds, mask, _, ours = forward(probe, tmp_path, tmp_path / "model", model.config.hidden_size)
    again = type(model).from_pretrained(tmp_path / "model").eval()
    with torch.no_grad():
        for reference in (model, again):
            theirs = reference(inputs_embeds=embeds, attention_mask=mask.long()).logits
            assert (ours["logits"] - theirs)[mask].abs().max() < 1e-4


def answers_of(probe, tmp_path, model, cases):
    (tmp_path / "spec.json").write_text(json.dumps(cases))
    lines = probe("language", "generate", model, "f32", tmp_path / "spec.json").splitlines()
    return [json.loads(line) for line in lines]


@every_model
def test_greedy_and_beam_tokens(probe, tmp_path, family, seed):
    check_tokens(probe, tmp_path, family, seed)


@pytest.mark.parametrize("family,seed", [("llama", 2), ("opt", 1), ("gpt2", 3)])
def test_tokens_on_every_instruction_set(probe, tmp_path, family, seed, instructions):
    check_tokens(probe, tmp_path, family, seed)


def check_tokens(probe, tmp_path, family, seed):
    torch.set_num_threads(1)
    model = tiny(tmp_path / "model", family, seed)
    draw = random.Random(seed)
    prompts = [[draw.randrange(3, 50) for _ in range(n)] for n in (6, 1, 9)]
    settings = [{"max_new_tokens": 32, "min_new_tokens": 32},
                {"max_new_tokens": 32, "beams": 5, "return_sequences": 5}]
    cases = [{"prompts": p, "options": s, "eos": [2]} for s in settings for p in (prompts, prompts[2:])]
    greedy, greedy_alone, beams, beams_alone = answers_of(probe, tmp_path, tmp_path / "model", cases)
    assert greedy[2] == greedy_alone[0] and beams[2] == beams_alone[0]
    table = model.get_input_embeddings()
    for prompt, one, many in zip(prompts, greedy, beams, strict=True):
        common = dict(inputs_embeds=table(torch.tensor([prompt])), do_sample=False,
                      attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                      max_new_tokens=32, eos_token_id=2, pad_token_id=0)
        with torch.no_grad():
            theirs = model.generate(**common, min_new_tokens=32)
            search = model.generate(**common, num_beams=5, num_return_sequences=5,
                                    return_dict_in_generate=True, output_scores=True)
        assert one[0]["tokens"] == theirs[0].tolist()
        for answer, row, score in zip(many, search.sequences.tolist(), search.sequences_scores,
                                      strict=True):
            end = row.index(2) + 1 if 2 in row else len(row)
            assert answer["tokens"] == row[:end]
            assert answer["score"] == pytest.approx(score.item(), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "opt", "gpt2"])
def test_half_precision_is_close(probe, tmp_path, family, dtype, instructions):
    type_ = {"bf16": torch.bfloat16, "f16": torch.float16}[dtype]
    model = tiny(tmp_path / "f32", family, 0).to(type_)
    model.save_pretrained(tmp_path / "model")
    embeds, mask, _, ours = forward(probe, tmp_path, tmp_path / "model", model.config.hidden_size,
                                    dtype)
    # Against f32 on the same weights, no further off than transformers' own half precision.
    with torch.no_grad():
        theirs = model(inputs_embeds=embeds.to(type_), attention_mask=mask.long()).logits.float()
        exact = model.float()(inputs_embeds=embeds, attention_mask=mask.long()).logits
    off = [1 - torch.nn.functional.cosine_similarity(logits[mask], exact[mask], dim=-1).mean()
           for logits in (ours["logits"], theirs)]
    assert off[0] < 1e-3 and off[0] <= 1.2 * off[1] + 1e-5


@every_model
def test_save_gives_back_what_was_loaded(probe, tmp_path, family, seed):
    model = tiny(tmp_path / "model", family, seed)
    line = probe("language", "save", tmp_path / "model", "f32", tmp_path / "out.safetensors")
    ours, theirs = load_file(tmp_path / "out.safetensors"), load_file(tmp_path / "model/model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    config = type(model.config)(**json.loads(line))
    again = type(model)(config)
    missing, unexpected = again.load_state_dict(ours, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    again.tie_weights()
    ids = torch.arange(3, 20)[None]
    assert torch.equal(again.eval()(ids).logits, model(ids).logits)


GGUF_PARTS = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "transformer.wte": "token_embd", "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm", "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}


def gguf_name(name):
    stem, _, kind = name.rpartition(".")
    for start in ("model.layers.", "transformer.h."):
        if stem.startswith(start):
            number, _, part = stem.removeprefix(start).partition(".")
            return f"blk.{number}.{GGUF_PARTS[part]}.{kind}"
    return f"{GGUF_PARTS[stem]}.{kind}"


def write_gguf(path, family, model, add_words=None, kind=None):
    """As llama.cpp's converter writes it: Llama's q and k permuted, Conv1D weights transposed.
    add_words(writer) adds a tokenizer. Of a `kind` ("Q8_0"), matrices are quantised."""
    import gguf

    c = model.config
    writer = gguf.GGUFWriter(path, family)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_head_count(c.num_attention_heads)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if family == "gpt2":
        writer.add_feed_forward_length(c.n_inner or 4 * c.hidden_size)
        writer.add_layer_norm_eps(c.layer_norm_epsilon)
    else:
        writer.add_feed_forward_length(c.intermediate_size)
        writer.add_head_count_kv(c.num_key_value_heads)
        writer.add_layer_norm_rms_eps(c.rms_norm_eps)
        writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    if family == "llama":
        writer.add_rope_dimension_count(c.head_dim)
    if family == "qwen3":
        writer.add_key_length(c.head_dim)
        writer.add_value_length(c.head_dim)
    if add_words:
        add_words(writer)
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and c.tie_word_embeddings:
            continue
        values = value.float().numpy()
        if family == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            values = values.T
        for part, heads in (("q_proj", c.num_attention_heads),
                            ("k_proj", getattr(c, "num_key_value_heads", 1))):
            if family == "llama" and part in name:
                halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
                values = halves.swapaxes(1, 2).reshape(values.shape)
        values = numpy.ascontiguousarray(values)
        if kind is None or values.ndim < 2:
            writer.add_tensor(gguf_name(name), values)
            continue
        raw = gguf.GGMLQuantizationType[kind]
        data = gguf.quants.quantize(values, raw)
        writer.add_tensor(gguf_name(name), data, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gpt2"])
def test_gguf(probe, tmp_path, family, seed):
    model = tiny(tmp_path / "model", family, seed)
    write_gguf(tmp_path / "model.gguf", family, model)
    embeds, mask, _, ours = forward(probe, tmp_path, tmp_path / "model.gguf",
                                    model.config.hidden_size)
    with torch.no_grad():
        theirs = model(inputs_embeds=embeds, attention_mask=mask.long()).logits
    assert (ours["logits"] - theirs)[mask].abs().max() < 1e-4


WIDE = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**gated(0, hidden_size=64, intermediate_size=96,
                                                          num_attention_heads=4, attention_bias=True))),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**gated(1, hidden_size=64, intermediate_size=96, head_dim=16))),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**IDS, vocab_size=51, n_embd=64, n_inner=96, n_layer=2, n_head=4,
                                               n_positions=96)),
}


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1", "Q5_0"])
@pytest.mark.parametrize("family", WIDE)
def test_gguf_in_blocks(probe, tmp_path, family, kind, instructions):
    """Blocks that stay as they are are the file's numbers: training passes and greedy texts."""
    torch.manual_seed(7)
    model = WIDE[family]().eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            norm = "norm" in name or ".ln_" in name
            value.uniform_(0.5, 1.5) if norm and "weight" in name else value.normal_(0, 0.25)
    write_gguf(tmp_path / "model.gguf", family, model, kind=kind)
    answers, ids = [], [[3 + (7 * i) % 40 for i in range(30)]]
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    for dtype in ("f32", "blocks"):
        torch.manual_seed(1)
        *_, ours = forward(probe, tmp_path, tmp_path / "model.gguf", 64, dtype)
        line = probe("language", "forced", tmp_path / "model.gguf", dtype, tmp_path / "ids.json")
        answers.append((ours, json.loads(line)))
    (widened, text), (blocks, in_blocks) = answers
    for name in ("hidden", "logits", "dembeds"):  # these go through widened matrices
        assert torch.allclose(widened[name], blocks[name], atol=1e-4 * widened[name].abs().max().item()), name
    # Activations in eight bits: within a percent of the spread.
    one, other = (torch.tensor(answer["log_probabilities"]) for answer in (text, in_blocks))
    assert (one - other).norm() < 0.02 * one.norm()
    assert not torch.equal(one, other)


@pytest.mark.parametrize("family,change,message", [
    ("opt", {"model_type": "mamba"}, "known: llama, mistral, qwen2, opt, gpt2"),
    ("opt", {"do_layer_norm_before": False}, "OPT-350m"),
    ("opt", {"hidden_size": 43, "word_embed_proj_dim": 43}, "multiple of num_attention_heads"),
    ("opt", {"vocab_size": 60}, "expected shape [60, 42], got [51, 42]"),
    ("opt", {"num_hidden_layers": 3}, "model.decoder.layers.2"),
    ("gpt2", {"activation_function": "gelu"}, "gelu_new"),
    ("gpt2", {"eos_token_id": 900}, "eos_token_id 900"),
    ("qwen2", {"num_key_value_heads": 5}, "num_key_value_heads"),
    ("qwen3", {"head_dim": 9}, "expected an even head_dim, got 9"),
    ("qwen3", {"head_dim": 10}, "self_attn.k_norm.weight: expected shape [10], got [8]"),
])
def test_bad_input_is_named(build, tmp_path, family, change, message):
    tiny(tmp_path / "model", family, 0)
    for name in ("config.json", "generation_config.json"):
        path = tmp_path / "model" / name
        values = json.loads(path.read_text())
        path.write_text(json.dumps(values | (change if name == "config.json" else {})))
    (tmp_path / "spec.json").write_text("[]")
    done = subprocess.run([build / "probe" / "language", "generate", tmp_path / "model", "f32",
                           tmp_path / "spec.json"], capture_output=True, text=True)
    assert done.returncode == 1 and message in done.stderr


def test_sequences_beyond_the_window_or_positions_are_refused(build, tmp_path):
    for family, message in (("mistral", "sliding window of 90"), ("opt", "96 learned positions")):
        tiny(tmp_path / family, family, 0)
        (tmp_path / "spec.json").write_text(json.dumps([[3] * 97]))
        done = subprocess.run([build / "probe" / "language", "greedy", tmp_path / family, "f32",
                               tmp_path / "spec.json"], capture_output=True, text=True)
        assert done.returncode == 1 and message in done.stderr
