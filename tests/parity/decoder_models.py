"""Small random models of every decoder-only family, saved by transformers, and their GGUF files."""

import math

import numpy
import torch
from transformers import (Gemma3ForCausalLM, Gemma3TextConfig, GPT2Config, GPT2LMHeadModel, LlamaConfig,
                          LlamaForCausalLM, Ministral3Config, Ministral3ForCausalLM, MistralConfig,
                          MistralForCausalLM, Olmo2Config, Olmo2ForCausalLM, OPTConfig, OPTForCausalLM,
                          Phi3Config, Phi3ForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config,
                          Qwen3ForCausalLM, SmolLM3Config, SmolLM3ForCausalLM)

IDS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
SLIDING, FULL = "sliding_attention", "full_attention"
FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "opt", "gpt2", "smollm3", "gemma3_text", "phi3", "olmo2", "ministral3"]
# Families some of whose seeds have layers that see a few tokens only, or factors that change with the length.
WINDOWS = ["mistral", "qwen2", "qwen3", "smollm3", "gemma3_text", "phi3", "ministral3"]
GGUF_ARCHITECTURES = {"gemma3_text": "gemma3", "ministral3": "mistral3", "mistral": "llama"}


def gated(seed, **changes):
    heads, groups = [(6, 2), (4, 4), (3, 1), (5, 5)][seed % 4]
    return IDS | dict(
        vocab_size=53 + seed, hidden_size=12 * heads, intermediate_size=41 + 2 * seed,
        num_hidden_layers=2 + seed % 2, num_attention_heads=heads, num_key_value_heads=groups,
        max_position_embeddings=128, tie_word_embeddings=seed % 2 == 0) | changes


def longrope(seed, rotated, **changes):
    half = rotated // 2
    return {"rope_type": "longrope", "rope_theta": 300.0, "short_factor": [1.0 + 0.1 * i for i in range(half)],
            "long_factor": [1.5 + 0.7 * (i + seed) for i in range(half)]} | changes


def phi3(seed):
    rope = [{"rope_type": "default", "rope_theta": 700.0},
            longrope(1, 6, partial_rotary_factor=0.5),
            longrope(2, 12, attention_factor=1.1),
            longrope(3, 8, partial_rotary_factor=0.7)][seed]
    return Phi3ForCausalLM(Phi3Config(**gated(
        seed, sliding_window=[7, None, None, 11][seed], rope_parameters=rope, original_max_position_embeddings=16)))


def gemma3(seed):
    rope = {FULL: {"rope_type": "default", "rope_theta": 900.0}, SLIDING: {"rope_type": "default", "rope_theta": 60.0}}
    if seed == 2:
        rope[FULL] |= {"rope_type": "linear", "factor": 8.0}
    layers = [None, [FULL, SLIDING, SLIDING], [SLIDING, FULL], None][seed]
    return Gemma3ForCausalLM(Gemma3TextConfig(**gated(
        seed, head_dim=8 + 2 * seed, sliding_window=5 + seed, layer_types=layers, sliding_window_pattern=2 + seed,
        query_pre_attn_scalar=[16, 10, 24, 14][seed], attention_bias=seed == 1, rope_parameters=rope)))


def smollm3(seed):
    return SmolLM3ForCausalLM(SmolLM3Config(**gated(
        seed, num_hidden_layers=4, no_rope_layers=[None, [1, 0, 1, 1], [0, 1, 1, 0], None][seed],
        use_sliding_window=seed > 0, sliding_window=[None, 5, 6, 9][seed], attention_bias=seed == 1,
        layer_types=[SLIDING, FULL, FULL, SLIDING] if seed == 2 else None, mlp_bias=seed == 3,
        rope_parameters={"rope_type": "default", "rope_theta": 400.0})))


def ministral3(seed):
    rope = {"rope_type": "yarn", "rope_theta": 800.0, "factor": 16.0, "original_max_position_embeddings": 8,
            "llama_4_scaling_beta": 0.4, "beta_fast": 4.0, "beta_slow": 0.5, "truncate": seed != 1}
    if seed != 1:
        rope |= {"mscale": 1.0, "mscale_all_dim": [1.0, 1.0, 0.4, 1.0][seed]}
    return Ministral3ForCausalLM(Ministral3Config(**gated(
        seed, head_dim=10 + 2 * seed, sliding_window=6 if seed == 3 else None, rope_parameters=rope)))


def qwen(seed, **changes):
    layers = [FULL, SLIDING, FULL][: 2 + seed % 2] if seed == 2 else None
    return gated(seed, use_sliding_window=seed > 0, sliding_window=4 + seed, max_window_layers=seed % 2,
                 layer_types=layers, **changes)


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
        return MistralForCausalLM(MistralConfig(**gated(seed, head_dim=10, sliding_window=[90, 5, None, 8][seed])))
    if family == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**qwen(seed)))
    if family == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**qwen(seed, head_dim=8 + 6 * seed, attention_bias=seed == 1)))
    if family == "olmo2":
        return Olmo2ForCausalLM(Olmo2Config(**gated(seed, attention_bias=seed == 1)))
    if family in ("smollm3", "gemma3_text", "phi3", "ministral3"):
        return {"smollm3": smollm3, "gemma3_text": gemma3, "phi3": phi3, "ministral3": ministral3}[family](seed)
    extra = {"attention_bias": True, "mlp_bias": True} if seed == 1 else {}
    if seed == 2:
        extra["rope_parameters"] = LLAMA3
    return LlamaForCausalLM(LlamaConfig(**gated(seed, head_dim=8 + 2 * seed, **extra)))


def randomise(model):
    """Weights large enough to matter; norms multiply by about 1."""
    middle = 0.0 if model.config.model_type == "gemma3_text" else 1.0
    with torch.no_grad():
        for name, value in model.named_parameters():
            norm = "norm" in name or ".ln_" in name
            value.uniform_(middle - 0.5, middle + 0.5) if norm and "weight" in name else value.normal_(0, 0.25)
    return model


def tiny(folder, family, seed):
    """A random model saved as a Hugging Face directory."""
    torch.manual_seed(100 * seed + len(family))
    model = randomise(build(family, seed).eval())
    model.save_pretrained(folder)
    return model


GGUF_PARTS = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "transformer.wte": "token_embd", "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm", "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm", "self_attn.qkv_proj": "attn_qkv",
    "mlp.gate_up_proj": "ffn_up", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}


def gguf_name(family, name):
    stem, _, kind = name.rpartition(".")
    for start in ("model.layers.", "transformer.h."):
        if stem.startswith(start):
            number, _, part = stem.removeprefix(start).partition(".")
            behind = part == "post_attention_layernorm" and family in ("gemma3_text", "olmo2")
            return f"blk.{number}.{'post_attention_norm' if behind else GGUF_PARTS[part]}.{kind}"
    return f"{GGUF_PARTS[stem]}.{kind}"


def gguf_values(family, config, name, value):
    """A tensor as llama.cpp's converter lays it: q and k of the Llamas with a head's rows in pairs, Conv1D turned,
    Gemma's norms with the 1 that is added to them."""
    values = value.float().numpy()
    if family == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        values = values.T
    if family == "gemma3_text" and name.endswith("norm.weight"):
        values = values + 1
    for part, heads in (("q_proj", config.num_attention_heads), ("k_proj", getattr(config, "num_key_value_heads", 1))):
        if family in ("llama", "mistral", "smollm3", "ministral3") and part in name:
            halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
            values = halves.swapaxes(1, 2).reshape(values.shape)
    return numpy.ascontiguousarray(values)


def add_gguf_rope(writer, config):
    """As llama.cpp's converter says how a model rotates."""
    rope = config.rope_parameters
    kind = rope.get(FULL, rope)["rope_type"]
    writer.add_rope_freq_base(rope.get(FULL, rope)["rope_theta"])
    if kind == "linear" or FULL in rope and rope[FULL]["rope_type"] == "linear":
        writer.add_string(f"{writer.arch}.rope.scaling.type", "linear")
        writer.add_rope_scaling_factor(rope.get(FULL, rope)["factor"])
    if SLIDING in rope:
        writer.add_float32(f"{writer.arch}.rope.freq_base_swa", rope[SLIDING]["rope_theta"])
    if kind == "yarn":
        writer.add_string(f"{writer.arch}.rope.scaling.type", "yarn")
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_float32(f"{writer.arch}.rope.scaling.yarn_beta_fast", rope["beta_fast"])
        writer.add_float32(f"{writer.arch}.rope.scaling.yarn_beta_slow", rope["beta_slow"])
        if "mscale_all_dim" in rope:
            writer.add_float32(f"{writer.arch}.rope.scaling.yarn_log_multiplier", rope["mscale_all_dim"])
        writer.add_float32(f"{writer.arch}.attention.temperature_scale", rope["llama_4_scaling_beta"])
    if kind == "longrope":
        original = config.original_max_position_embeddings
        writer.add_rope_scaling_orig_ctx_len(original)
        factor = math.sqrt(1 + math.log(config.max_position_embeddings / original) / math.log(original))
        writer.add_rope_scaling_attn_factors(rope.get("attention_factor", factor))
        for name in ("long", "short"):
            writer.add_tensor(f"rope_factors_{name}.weight", numpy.array(rope[f"{name}_factor"], numpy.float32))
    if kind == "llama3":
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        inverse = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")[0]
        plain = 1 / rope["rope_theta"] ** (torch.arange(0, config.head_dim, 2) / config.head_dim)
        writer.add_tensor("rope_freqs.weight", (plain / inverse).float().numpy())


def write_gguf(path, family, model, add_words=None, kind=None):
    """As llama.cpp's converter writes it. add_words(writer) adds a tokenizer. Of a `kind` ("Q8_0"), matrices are
    quantised."""
    import gguf

    c = model.config
    writer = gguf.GGUFWriter(path, GGUF_ARCHITECTURES.get(family, family))
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
        add_gguf_rope(writer, c)
    if family == "llama":
        writer.add_rope_dimension_count(c.head_dim)
    if family == "phi3":
        share = c.rope_parameters.get("partial_rotary_factor", 1.0)
        writer.add_rope_dimension_count(int(share * c.hidden_size // c.num_attention_heads))
    if family in ("qwen3", "gemma3_text", "ministral3"):
        writer.add_key_length(c.head_dim)
        writer.add_value_length(c.head_dim)
    if family in ("gemma3_text", "phi3"):
        writer.add_sliding_window(c.sliding_window or 0)
    if add_words:
        add_words(writer)
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and c.tie_word_embeddings:
            continue
        values = gguf_values(family, c, name, value)
        if kind is None or values.ndim < 2:
            writer.add_tensor(gguf_name(family, name), values)
            continue
        raw = gguf.GGMLQuantizationType[kind]
        data = gguf.quants.quantize(values, raw)
        writer.add_tensor(gguf_name(family, name), data, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
