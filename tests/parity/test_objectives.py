"""Stage 2's objectives through frozen language models, losses and gradients against transformers.

test_qformer.py has stage 1's; test_training.py whole steps.
"""

import json
import pathlib
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import blip2_reference as reference  # noqa: E402
from test_t5 import tiny_model as tiny_t5  # noqa: E402

QUERIES, MASK, END = 3, 7, 1
# Prompts and answers (their end token included) of different lengths; a prompt may be empty.
ROWS = [([11, 12, 13], [21, 22, 23, 24, END]), ([], [31, END]), ([14], [21, 22, 33, 34, 35, 36, END]),
        ([15, 16], [END]), ([11, 12, 13], [21, 22, 23, 24, END])]


pytestmark = pytest.mark.usefixtures("one_thread")


def tiny_decoder(folder, kind):
    torch.manual_seed(3)
    if kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(
            vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True, bos_token_id=2,
            eos_token_id=END))
    else:
        model = GPT2LMHeadModel(GPT2Config(
            vocab_size=60, n_embd=32, n_inner=48, n_layer=2, n_head=4, n_positions=64, bos_token_id=2,
            eos_token_id=END))
    with torch.no_grad():
        for value in model.parameters():
            if value.dim() > 1:
                value.normal_(0, 0.2)
    model.eval().save_pretrained(folder)
    return model


MODELS = {"llama": lambda folder: tiny_decoder(folder, "llama"), "gpt2": lambda folder: tiny_decoder(folder, "gpt2"),
          "t5": lambda folder: tiny_t5(folder, 0)}


@pytest.fixture(params=[(m, o) for m in MODELS for o in ("lm", "prefix_lm", "cmlm") if m == "t5" or o != "prefix_lm"],
                ids="-".join)
def drawn(request, probe, tmp_path):
    """The model, soft prompts, the rows that the program drew, and what it computed."""
    name, objective = request.param
    folder = tmp_path / "model"
    model = MODELS[name](folder).requires_grad_(False)
    soft = torch.randn(len(ROWS), QUERIES, 32)
    save_file({"soft": soft}, tmp_path / "in.safetensors")
    spec = {"objective": objective, "seed": 5, "mask_token": MASK,
            "rows": [{"prompt": prompt, "answer": answer} for prompt, answer in ROWS]}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    rows = json.loads(probe("objectives", folder, tmp_path / "spec.json", tmp_path / "in.safetensors",
                            tmp_path / "out.safetensors"))
    return objective, model, soft.requires_grad_(), rows, load_file(tmp_path / "out.safetensors")


def off(ours, theirs):
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_losses_and_gradient(drawn):
    _, model, soft, rows, ours = drawn
    losses = reference.spoken_losses(model, soft, rows)
    losses.mean().backward()
    assert off(ours["losses"], losses.detach()) <= 1e-4
    assert off(ours["dsoft"], soft.grad) <= 1e-4


def test_rows_are_the_objectives(drawn):
    objective, _, _, rows, _ = drawn
    for row, (prompt, answer) in zip(rows, ROWS):
        if objective == "lm":
            assert row == {"prompt": prompt, "read": answer, "targets": answer}
        elif objective == "prefix_lm":
            prefix = row["prompt"][len(prompt):]
            assert row["prompt"][: len(prompt)] == prompt and prefix + row["read"] == answer
            assert row["read"] == row["targets"] and len(row["read"]) >= min(2, len(answer))
        else:
            hidden = [target != -100 for target in row["targets"]]
            assert any(hidden) and row["prompt"] == prompt
            assert row["read"] == [MASK if h else token for h, token in zip(hidden, answer)]
            assert row["targets"] == [token if h else -100 for h, token in zip(hidden, answer)]


@pytest.mark.parametrize("objective", ["prefix_lm", "cmlm"])
def test_draws_are_uniform(probe, tmp_path, objective):
    """Prefixes of 0 to n - 1 tokens, 1 to n hidden ones, each equally often."""
    tiny_t5(tmp_path / "model", 0)
    count, answer = 800, [21, 22, 23, 24, END]
    save_file({"soft": torch.randn(count, 1, 32)}, tmp_path / "in.safetensors")
    (tmp_path / "spec.json").write_text(json.dumps(
        {"objective": objective, "seed": 1, "mask_token": MASK, "rows": [{"prompt": [], "answer": answer}] * count}))
    rows = json.loads(probe("objectives", tmp_path / "model", tmp_path / "spec.json", tmp_path / "in.safetensors",
                            tmp_path / "out.safetensors"))
    if objective == "prefix_lm":
        sizes, most = [len(row["prompt"]) for row in rows], 4
    else:
        sizes, most = [sum(t != -100 for t in row["targets"]) - 1 for row in rows], 5
        places = torch.tensor([[t != -100 for t in row["targets"]] for row in rows]).float().mean(0)
        assert (places - 0.6).abs().max() < 0.06
    shares = torch.bincount(torch.tensor(sizes), minlength=most) / count
    assert len(shares) == most and (shares - 1 / most).abs().max() < 0.05
