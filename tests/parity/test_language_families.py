"""Decoder-only families (decoder_models.py) against transformers, live."""

import json
import random
import subprocess

import pytest
import torch
from decoder_models import (FAMILIES, IDS, WINDOWS, gated, randomise, tiny, write_gguf)
from safetensors.torch import load_file, save_file, save_model
from transformers import (Gemma3ForCausalLM, Gemma3TextConfig, GPT2Config, GPT2LMHeadModel, LlamaConfig,
                          LlamaForCausalLM, Olmo2Config, Olmo2ForCausalLM, Phi3Config, Phi3ForCausalLM, Qwen3Config,
                          Qwen3ForCausalLM)

CASES = [(family, seed) for family in FAMILIES for seed in range(4)]
every_model = pytest.mark.parametrize("family,seed", CASES)


def forward(probe, tmp_path, model, width, dtype="f32", lengths=(7, 3, 13)):
    rows, most = len(lengths), max(lengths)
    embeds = 0.5 * torch.randn(rows, most, width)
    mask = torch.arange(most)[None] < torch.tensor(lengths)[:, None]
    gradient = torch.randn(rows, most, width) * mask[..., None]
    save_file({"embeds": embeds, "lengths": torch.tensor(lengths), "gradient": gradient},
              tmp_path / "in.safetensors")
    probe("language", "forward", model, dtype, tmp_path / "in.safetensors",
          tmp_path / "out.safetensors")
    return embeds, mask, gradient, load_file(tmp_path / "out.safetensors")


def check_forward(probe, tmp_path, family, seed, lengths):
    model = tiny(tmp_path / "model", family, seed)
    embeds, mask, gradient, ours = forward(probe, tmp_path, tmp_path / "model",
                                           model.config.hidden_size, lengths=lengths)
    embeds.requires_grad_()
    out = model(inputs_embeds=embeds, attention_mask=mask.long(), output_hidden_states=True)
    out.hidden_states[-1].backward(gradient)
    assert (ours["logits"] - out.logits)[mask].abs().max() < 1e-4 * out.logits[mask].abs().max()
    assert (ours["dembeds"] - embeds.grad).abs().max() / embeds.grad.abs().max() < 1e-4


@every_model
def test_logits_and_gradient_of_a_ragged_batch(probe, tmp_path, family, seed, instructions):
    check_forward(probe, tmp_path, family, seed, (7, 3, 13))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("family", WINDOWS)
def test_logits_and_gradient_of_a_long_text(probe, tmp_path, family, seed):
    """Many windows, several blocks of the attention's rows, and the long factors."""
    check_forward(probe, tmp_path, family, seed, (117,))


def test_each_text_has_the_factors_of_its_own_length(probe, tmp_path):
    """In transformers the longest text of a batch decides for all; here a batch gives what its texts alone give."""
    model = tiny(tmp_path / "model", "phi3", 1)
    embeds, mask, _, ours = forward(probe, tmp_path, tmp_path / "model", model.config.hidden_size, lengths=(9, 16, 17, 40))
    with torch.no_grad():
        for row, length in enumerate(mask.sum(1).tolist()):
            theirs = model(inputs_embeds=embeds[row : row + 1, :length]).logits[0]
            assert (ours["logits"][row, :length] - theirs).abs().max() < 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("family", FAMILIES)
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
            assert (ours["logits"] - theirs)[mask].abs().max() < 1e-4 * theirs.abs().max()


def answers_of(probe, tmp_path, model, cases):
    (tmp_path / "spec.json").write_text(json.dumps(cases))
    lines = probe("language", "generate", model, "f32", tmp_path / "spec.json").splitlines()
    return [json.loads(line) for line in lines]


@every_model
def test_greedy_and_beam_tokens(probe, tmp_path, family, seed):
    check_tokens(probe, tmp_path, family, seed)


@pytest.mark.parametrize("family,seed", [("llama", 2), ("opt", 1), ("gpt2", 3), ("gemma3_text", 1), ("phi3", 3)])
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
        ids = torch.tensor([prompt])
        # Phi-3's class counts ids to see when its rotary factors change.
        given = {"input_ids": ids} if family == "phi3" else {"inputs_embeds": table(ids)}
        before = len(prompt) if family == "phi3" else 0
        common = dict(**given, do_sample=False, attention_mask=torch.ones_like(ids),
                      max_new_tokens=32, eos_token_id=2, pad_token_id=0)
        with torch.no_grad():
            theirs = model.generate(**common, min_new_tokens=32)
            search = model.generate(**common, num_beams=5, num_return_sequences=5,
                                    return_dict_in_generate=True, output_scores=True)
        assert one[0]["tokens"] == theirs[0, before:].tolist()
        for answer, row, score in zip(many, search.sequences[:, before:].tolist(), search.sequences_scores,
                                      strict=True):
            end = row.index(2) + 1 if 2 in row else len(row)
            assert answer["tokens"] == row[:end]
            assert answer["score"] == pytest.approx(score.item(), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
@pytest.mark.parametrize("family", FAMILIES)
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


# Seeds whose layers are those that llama.cpp knows of the architecture.
@pytest.mark.parametrize("family,seed", [
    ("llama", 0), ("llama", 1), ("llama", 2), ("qwen2", 0), ("qwen3", 0), ("gpt2", 0), ("gpt2", 1), ("smollm3", 0),
    ("phi3", 0), ("phi3", 1), ("phi3", 3), ("olmo2", 0), ("olmo2", 1), ("ministral3", 0), ("ministral3", 2)])
def test_gguf(probe, tmp_path, family, seed):
    check_gguf(probe, tmp_path, family, tiny(tmp_path / "model", family, seed))


@pytest.mark.parametrize("linear", [False, True])
def test_gguf_of_gemma3(probe, tmp_path, linear):
    """Every sixth layer is full, and the scale is a head's, as llama.cpp takes it."""
    torch.manual_seed(3)
    rope = {"full_attention": {"rope_type": "default", "rope_theta": 900.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 60.0}}
    if linear:
        rope["full_attention"] |= {"rope_type": "linear", "factor": 8.0}
    model = Gemma3ForCausalLM(Gemma3TextConfig(**gated(
        0, num_hidden_layers=7, head_dim=10, query_pre_attn_scalar=10, sliding_window=6, rope_parameters=rope)))
    check_gguf(probe, tmp_path, "gemma3_text", randomise(model.eval()))


def check_gguf(probe, tmp_path, family, model):
    write_gguf(tmp_path / "model.gguf", family, model)
    embeds, mask, _, ours = forward(probe, tmp_path, tmp_path / "model.gguf",
                                    model.config.hidden_size, lengths=(21,))
    with torch.no_grad():
        theirs = model(inputs_embeds=embeds, attention_mask=mask.long()).logits
    assert (ours["logits"] - theirs)[mask].abs().max() < 1e-4 * theirs.abs().max()


WIDE = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**gated(0, hidden_size=64, intermediate_size=96,
                                                          num_attention_heads=4, attention_bias=True))),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**gated(1, hidden_size=64, intermediate_size=96, head_dim=16))),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**IDS, vocab_size=51, n_embd=64, n_inner=96, n_layer=2, n_head=4,
                                               n_positions=96)),
    "gemma3_text": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**gated(
        0, hidden_size=64, intermediate_size=96, head_dim=32, num_attention_heads=4, num_hidden_layers=7,
        query_pre_attn_scalar=32, sliding_window=6))),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**gated(
        0, hidden_size=64, intermediate_size=96, num_attention_heads=4, sliding_window=9))),
    "olmo2": lambda: Olmo2ForCausalLM(Olmo2Config(**gated(0, hidden_size=64, intermediate_size=96, num_attention_heads=4))),
}


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1", "Q5_0"])
@pytest.mark.parametrize("family", WIDE)
def test_gguf_in_blocks(probe, tmp_path, family, kind, instructions):
    """Blocks that stay as they are are the file's numbers: training passes and greedy texts."""
    torch.manual_seed(7)
    model = randomise(WIDE[family]().eval())
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
    ("opt", {"model_type": "mamba"}, "known: llama, mistral, qwen2, opt, gpt2, qwen3, smollm3, gemma3_text, phi3, olmo2, ministral3"),
    ("opt", {"do_layer_norm_before": False}, "OPT-350m"),
    ("opt", {"hidden_size": 43, "word_embed_proj_dim": 43}, "multiple of num_attention_heads"),
    ("opt", {"vocab_size": 60}, "expected shape [60, 42], got [51, 42]"),
    ("opt", {"num_hidden_layers": 3}, "model.decoder.layers.2"),
    ("gpt2", {"activation_function": "gelu"}, "gelu_new"),
    ("gpt2", {"eos_token_id": 900}, "eos_token_id 900"),
    ("qwen2", {"num_key_value_heads": 5}, "num_key_value_heads"),
    ("qwen3", {"head_dim": 9}, "expected an even head_dim, got 9"),
    ("qwen3", {"head_dim": 10}, "self_attn.q_norm.weight: expected shape [10], got [8]"),
    ("qwen3", {"use_sliding_window": True, "sliding_window": 0}, "config.json: sliding_window: expected a positive"),
    ("qwen3", {"layer_types": ["full_attention"]}, "config.json: layer_types: expected 2 entries, one a layer, got 1"),
    ("qwen3", {"layer_types": ["full_attention", "chunked_attention"]}, "layer_types[1]"),
    ("qwen3", {"layer_types": ["full_attention", "sliding_attention"]}, "sliding_window is not given"),
    ("gemma3_text", {"sliding_window": 0}, "config.json: sliding_window: expected a positive number, got 0"),
    ("gemma3_text", {"final_logit_softcapping": 30.0}, "final_logit_softcapping: expected null, got 30.0"),
    ("gemma3_text", {"hidden_activation": "silu"}, "hidden_activation: expected \"gelu_pytorch_tanh\""),
    ("gemma3_text", {"rope_parameters": {"full_attention": {"rope_type": "ntk"}}}, "rope_type 'ntk' is not known here"),
    ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "config.json: rope_scaling: rope_type 'dynamic'"),
    ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor: expected 1, got 0.5"),
    ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers: expected 4 entries, one a layer, got 2"),
    ("phi3", {"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}},
     "short_factor: expected 6 factors"),
    ("phi3", {"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0] * 6, "long_factor": [0.0] * 6}},
     "long_factor: expected positive numbers, got 0"),
    ("ministral3", {"rope_parameters": {"rope_type": "yarn", "factor": -1.0}}, "factor: expected a positive number"),
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


def test_sequences_beyond_the_positions_are_refused(build, tmp_path):
    tiny(tmp_path / "opt", "opt", 0)
    (tmp_path / "spec.json").write_text(json.dumps([[3] * 97]))
    done = subprocess.run([build / "probe" / "language", "greedy", tmp_path / "opt", "f32", tmp_path / "spec.json"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "96 learned positions" in done.stderr
