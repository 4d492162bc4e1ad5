"""`bench`: what it says of a model is positive, fits together, and changes with the work asked for."""

import json
import math
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tokenizers import processors

FAST = ["--pictures", 1, "--prompt-tokens", 12, "--new-tokens", 4, "--repeats", 1]


@pytest.fixture(scope="module")
def figures(run_json, stage2):
    return run_json("bench", "--model", stage2, *FAST)[0]


def test_every_figure_is_positive(figures):
    assert all(value > 0 for key, value in figures.items() if key != "kernels"), figures


def test_shares_are_those_of_the_machine(figures):
    assert figures["prefill_share_of_peak"] == pytest.approx(figures["prefill_flops"] / figures["peak_flops"])
    share = figures["decode_bytes_per_second"] / figures["memory_bytes_per_second"]
    assert figures["decode_share_of_bandwidth"] == pytest.approx(share)


def test_a_step_reads_each_weight_once_whatever_the_rows(run_json, stage2, figures):
    many = run_json("bench", "--model", stage2, *FAST, "--batch-size", 3)[0]
    assert many["step_bytes"] == figures["step_bytes"]
    steps = many["decode_tokens_per_second"] / 3
    assert many["decode_bytes_per_second"] == pytest.approx(steps * many["step_bytes"])


def test_half_precision_halves_what_a_step_reads(run_json, stage2):
    full, half = (run_json("bench", "--model", stage2, *FAST, "--precision", precision)[0]["step_bytes"]
                  for precision in ("f32", "bf16"))
    assert full == 2 * half


def test_plain_output_names_the_parts(run, stage2):
    lines = run("bench", "--model", stage2, *FAST).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["kernels", "load", "memory", "pictures", "prefill", "decode", "beams"]


def test_what_is_no_model_is_refused(run, tmp_path):
    failed = run("bench", "--model", tmp_path, code=1)
    assert f"{tmp_path}/config.json" in failed.stderr and not failed.stdout


def test_texts_beyond_the_models_positions_are_refused(run, stage2):
    failed = run("bench", "--model", stage2, "--prompt-tokens", 1000000, "--repeats", 1, code=1)
    assert "positions of the model" in failed.stderr and not failed.stdout


def expected_perplexity(model, ids, window, begin):
    """By transformers: windows that know nothing of each other; the first token of each is given."""
    nats = predicted = 0
    for at in range(0, len(ids), window - len(begin)):
        part = torch.tensor([begin + ids[at : at + window - len(begin)]])
        if part.shape[1] < 2:
            continue
        with torch.no_grad():
            chances = model(part).logits[0, :-1].double().log_softmax(-1)
        losses = -chances.gather(-1, part[0, 1:, None])
        nats, predicted = nats + losses.sum().item(), predicted + len(losses)
    return math.exp(nats / predicted), predicted


@pytest.mark.parametrize("begins", [False, True])
def test_perplexity_is_transformers(run_json, run, init, tmp_path, begins):
    """Of a small random model, whatever is read side by side; a begin token stands before each window."""
    model_folder = tmp_path / "model"
    shutil.copytree(init, model_folder)
    text = "what color is it? a red circle, a blue square <|endoftext|> in a photo of the sea.\n" * 4
    (tmp_path / "text.txt").write_text(text)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    if begins:
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)])
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (model_folder / name).unlink()
        tokenizer.save_pretrained(model_folder)
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    config = transformers.LlamaConfig(**json.loads((model_folder / "config.json").read_text())["text_config"])
    model = transformers.LlamaForCausalLM(config).eval()
    state = load_file(model_folder / "model-language.safetensors")
    model.load_state_dict({name.removeprefix("language_model."): value.float() for name, value in state.items()})
    expected, predicted = expected_perplexity(model, ids, 24, [0] if begins else [])
    for rows in (1, 5):
        [ours] = run_json("bench", "--model", model_folder, "--text", tmp_path / "text.txt", "--window", 24,
                          "--precision", "f32", "--batch-size", rows)
        assert ours["text_tokens"] == len(ids) and ours["predicted_tokens"] == predicted
        assert ours["perplexity"] == pytest.approx(expected, rel=1e-4)
    lines = run("bench", "--model", model_folder, "--text", tmp_path / "text.txt").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["kernels", "load", "memory", "text", "perplexity"]


def test_texts_without_a_perplexity(run, init, t5_init, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("a red circle")
    assert "encoder-decoder" in run("bench", "--model", t5_init, "--text", text, code=1).stderr
    text.write_text("")
    assert "at least two tokens" in run("bench", "--model", init, "--text", text, code=1).stderr
    assert "--text" in run("bench", "--model", init, "--text", tmp_path / "none", code=2).stderr
    assert "--text" in run("bench", "--model", init, "--window", 20, code=2).stderr
