"""Adapters beside frozen language models against PyPI peft, live: losses, gradients, texts and files."""

import json

import gguf
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from decoder_models import gated, tiny
from test_t5 import tiny_model
from transformers import LlamaConfig, LlamaForCausalLM, T5ForConditionalGeneration

pytestmark = pytest.mark.usefixtures("one_thread")
ROWS = [{"prompt": [5, 9, 11], "answer": [7, 3, 2]}, {"prompt": [4], "answer": [12, 2]},
        {"prompt": [8, 8, 30, 31, 6], "answer": [22, 41, 9, 17, 2]}]
QUERIES = 4

# family, seed of the model, peft's configuration
CASES = {
    "llama, queries and values": ("llama", 0, dict(r=4, lora_alpha=16)),
    "llama with biases, all matrices": ("llama", 1, dict(r=3, lora_alpha=5, target_modules="all-linear")),
    "llama, keys and the gate by a pattern": ("llama", 2, dict(r=2, target_modules=r".*\.(k_proj|gate_proj)")),
    "qwen3, rslora": ("qwen3", 2, dict(r=9, lora_alpha=4, use_rslora=True,
                                       target_modules=["q_proj", "k_proj", "up_proj", "o_proj"])),
    "mistral, one layer": ("mistral", 1, dict(r=4, target_modules=["v_proj", "down_proj"], layers_to_transform=[1])),
    "phi3, fused matrices": ("phi3", 0, dict(r=4, target_modules=["qkv_proj", "gate_up_proj", "down_proj"])),
    "gemma3, all matrices": ("gemma3_text", 1, dict(r=3, target_modules="all-linear")),
    "olmo2, all matrices": ("olmo2", 2, dict(r=3, target_modules="all-linear")),
    "smollm3": ("smollm3", 1, dict(r=4, target_modules=["q_proj", "v_proj"])),
    "ministral3": ("ministral3", 2, dict(r=4, target_modules=["q_proj", "v_proj"])),
    "opt": ("opt", 0, dict(r=4)),
    "opt, all matrices": ("opt", 1, dict(r=5, target_modules="all-linear")),
    "gpt2": ("gpt2", 1, dict(r=4)),
    "gpt2, all matrices": ("gpt2", 0, dict(r=6, lora_alpha=3, target_modules="all-linear")),
    "gpt2, one of two of a name": ("gpt2", 3, dict(r=4, target_modules=["mlp.c_proj"])),
    "t5": ("t5", 0, dict(r=4)),
    "t5, all matrices": ("t5", 1, dict(r=3, lora_alpha=7, target_modules="all-linear")),
    "t5, keys and values": ("t5", 3, dict(r=3, target_modules=["k", "v", "wi_1"])),
    "original t5, feed-forward": ("t5", 4, dict(r=3, target_modules=["wi", "wo"])),
}
every_case = pytest.mark.parametrize("family,seed,settings", CASES.values(), ids=CASES)


def base_model(folder, family, seed):
    return tiny_model(folder, seed) if family == "t5" else tiny(folder, family, seed)


def adapted(model, folder, settings):
    """peft's model with adapters that change something, saved beside the frozen one."""
    torch.manual_seed(11)
    task = "SEQ_2_SEQ_LM" if isinstance(model, T5ForConditionalGeneration) else "CAUSAL_LM"
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type=task, lora_dropout=0.0, **settings))
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.2)
    adapted.save_pretrained(folder)
    return adapted.eval()


def soft_prompts(model):
    torch.manual_seed(12)
    width = model.get_input_embeddings().weight.shape[1]
    return 0.5 * torch.randn(len(ROWS), QUERIES, width)


def losses_of(model, soft, encoder_decoder):
    """One row at a time, so that nothing is padded."""
    table, losses = model.get_input_embeddings(), []
    for row, seen in zip(ROWS, soft):
        if encoder_decoder:
            read = torch.cat([seen, table(torch.tensor(row["prompt"] + [1]))])
            logits = model(inputs_embeds=read[None], decoder_input_ids=torch.tensor([[0] + row["answer"][:-1]])).logits[0]
        else:
            read = torch.cat([seen, table(torch.tensor(row["prompt"] + row["answer"][:-1]))])
            logits = model(inputs_embeds=read[None]).logits[0, QUERIES + len(row["prompt"]) - 1:]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(row["answer"]), reduction="none"))
    return torch.cat(losses)


def reference_step(model, soft, encoder_decoder):
    soft = soft.clone().requires_grad_()
    losses = losses_of(model, soft, encoder_decoder)
    losses.mean().backward()
    gradients = {f"grad.{name.replace('.default', '')}": value.grad for name, value in model.named_parameters()
                 if value.requires_grad}
    return {"losses": losses.detach(), "dsoft": soft.grad, **gradients}


def our_step(probe, tmp_path, soft, dtype="f32", weights=None):
    (tmp_path / "spec.json").write_text(json.dumps({"rows": ROWS}))
    save_file({"soft": soft}, tmp_path / "in.safetensors")
    probe("lora", "step", tmp_path / "model", weights or tmp_path / "model", dtype, tmp_path / "spec.json",
          tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    return load_file(tmp_path / "out.safetensors")


def assert_step(ours, model, soft, encoder_decoder):
    """Ours are within 1e-4 of the reference in f64, or within five times what its own f32 rounds by."""
    rounded = reference_step(model, soft, encoder_decoder)
    model.zero_grad()
    theirs = reference_step(model.double(), soft.double(), encoder_decoder)
    assert ours.keys() == theirs.keys()
    assert any(name.startswith("grad.") for name in theirs)
    largest = max(value.abs().max() for name, value in theirs.items() if name.startswith("grad."))
    for name, value in theirs.items():
        # A key's shift moves all logits of a row alike: such a gradient may be rounding alone.
        scale = max(value.abs().max(), 1e-3 * largest) if name.startswith("grad.") else value.abs().max()
        off, rounding = (((found[name] - value).abs().max() / scale).item() for found in (ours, rounded))
        assert off <= max(1e-4, 5 * rounding), f"{name}: {off:.2e}, the reference's f32: {rounding:.2e}"


@every_case
def test_losses_and_gradients(probe, tmp_path, family, seed, settings):
    model = adapted(base_model(tmp_path / "model", family, seed), tmp_path / "model", settings)
    soft = soft_prompts(model)
    assert_step(our_step(probe, tmp_path, soft), model, soft, family == "t5")


def off(one, other, names):
    """The relative error of all these tensors together."""
    difference, whole = (torch.cat([(f(name)).flatten().double() for name in names])
                         for f in (lambda name: one[name] - other[name], lambda name: other[name]))
    return (difference.norm() / whole.norm()).item()


@pytest.mark.parametrize("name", ["llama with biases, all matrices", "gpt2, all matrices", "t5, all matrices"])
def test_in_half_precision(probe, tmp_path, name):
    """bf16 moves losses and gradients away from those in f32 about as far as it moves peft's."""
    family, seed, settings = CASES[name]
    model = adapted(base_model(tmp_path / "model", family, seed), tmp_path / "model", settings)
    soft = soft_prompts(model)
    ours, exact = our_step(probe, tmp_path, soft, "bf16"), reference_step(model, soft, family == "t5")
    model.zero_grad()
    theirs = reference_step(model.bfloat16(), soft.bfloat16(), family == "t5")
    assert ours.keys() == exact.keys()
    for names in (["losses"], ["dsoft"], [key for key in exact if key.startswith("grad.")]):
        assert off(ours, exact, names) < 2 * off(theirs, exact, names), names


def wide_llama(folder):
    """Rows of a multiple of 32 numbers, which Q8_0 needs."""
    torch.manual_seed(3)
    model = LlamaForCausalLM(LlamaConfig(**gated(0, hidden_size=64, intermediate_size=96, num_attention_heads=4,
                                                 num_key_value_heads=2, head_dim=16)))
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.uniform_(0.5, 1.5) if "norm" in name else value.normal_(0, 0.2)
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("settings", [dict(r=4, target_modules="all-linear"), dict(r=4)],
                         ids=["all matrices", "queries and values"])
def test_through_quantised_weights(probe, tmp_path, settings):
    """Frozen matrices in Q8_0: the reference has the same numbers, widened."""
    model = wide_llama(tmp_path / "model")
    probe("lora", "quantise", tmp_path / "model", tmp_path / "model.gguf")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    assert kinds["blk.0.attn_q.weight"] == kinds["blk.1.ffn_down.weight"] == "Q8_0"
    probe("language", "save", tmp_path / "model.gguf", "f32", tmp_path / "wide.safetensors")
    wide, before = load_file(tmp_path / "wide.safetensors"), model.state_dict()["model.layers.0.mlp.up_proj.weight"].clone()
    missing, unexpected = model.load_state_dict(wide, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    model.tie_weights()
    changed = (model.state_dict()["model.layers.0.mlp.up_proj.weight"] - before).abs().max()
    assert 0 < changed < 0.01
    model = adapted(model, tmp_path / "model", settings)
    soft = soft_prompts(model)
    ours = our_step(probe, tmp_path, soft, weights=tmp_path / "model.gguf")
    assert_step(ours, model, soft, False)


def write(probe, tmp_path, soft, encoder_decoder, weights=None):
    rows = [row | {"prompt": row["prompt"] + ([1] if encoder_decoder else [])} for row in ROWS]
    (tmp_path / "spec.json").write_text(json.dumps({"rows": rows, "count": 24, "end": 1 if encoder_decoder else 2}))
    save_file({"soft": soft}, tmp_path / "in.safetensors")
    lines = probe("lora", "write", tmp_path / "model", weights or tmp_path / "model", "f32", tmp_path / "spec.json",
                  tmp_path / "in.safetensors").splitlines()
    return [json.loads(line) for line in lines]


@every_case
def test_texts(probe, tmp_path, family, seed, settings):
    """Greedy tokens with the adapters beside the weights are peft's, and not the frozen model's."""
    base = base_model(tmp_path / "model", family, seed)
    model = adapted(base, tmp_path / "model", settings)
    soft, table = soft_prompts(model), model.get_input_embeddings()
    ours = write(probe, tmp_path, soft, family == "t5")
    theirs, plain = [], []
    for row, seen in zip(ROWS, soft):
        read = torch.cat([seen, table(torch.tensor(row["prompt"] + ([1] if family == "t5" else [])))])
        common = dict(inputs_embeds=read[None], attention_mask=torch.ones(1, len(read), dtype=torch.long),
                      do_sample=False, max_new_tokens=24, min_new_tokens=24, pad_token_id=0,
                      eos_token_id=1 if family == "t5" else 2)
        with torch.no_grad():
            theirs.append(model.generate(**common)[0].tolist()[-24:])
            with model.disable_adapter():
                plain.append(model.generate(**common)[0].tolist()[-24:])
    assert ours == theirs
    assert ours != plain


@pytest.mark.parametrize("family,seed,targets", [("llama", 0, "q_proj,down_proj"), ("opt", 1, "all-linear"),
                                                 ("gpt2", 0, "c_proj"), ("t5", 1, "all-linear")])
def test_peft_loads_what_is_saved(probe, tmp_path, family, seed, targets):
    model = base_model(tmp_path / "model", family, seed)
    (tmp_path / "adapters").mkdir()
    probe("lora", "start", tmp_path / "model", 3, 6, targets, tmp_path / "adapters")
    saved = load_file(tmp_path / "adapters" / "adapter_model.safetensors")
    loaded = peft.PeftModel.from_pretrained(model, tmp_path / "adapters")
    ours = {name.replace(".default", ""): value for name, value in loaded.named_parameters() if "lora_" in name}
    assert saved.keys() == ours.keys() and len(saved) >= 4
    for name, value in saved.items():
        assert torch.equal(ours[name], value)
        assert (value.abs().max() == 0) == ("lora_B" in name)
    scales = {scale for module in loaded.modules() if isinstance(module, peft.tuners.lora.LoraLayer)
              for scale in module.scaling.values()}
    assert scales == {2.0}
    config = peft.LoraConfig.from_pretrained(tmp_path / "adapters")
    assert config.fan_in_fan_out == (family == "gpt2") and config.bias == "none"


def test_adapters_of_a_whole_blip2(probe, tmp_path):
    """As peft names them that adapt transformers' whole model."""
    model = adapted(tiny(tmp_path / "model", "opt", 0), tmp_path / "model", dict(r=4))
    soft = soft_prompts(model)
    expected = our_step(probe, tmp_path, soft)
    path = tmp_path / "model" / "adapter_model.safetensors"
    save_file({name.replace("base_model.model.", "base_model.model.language_model."): value
               for name, value in load_file(path).items()}, path)
    ours = our_step(probe, tmp_path, soft)
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(ours[name], value)

