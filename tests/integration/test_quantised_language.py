"""`convert --weights q8_0|q4_0|q4_k` of every family of language models: what the GGUF file holds, and that the model
reads it back bit for bit and speaks."""

import errno
import json
import pathlib
import re
import sys

import gguf
import numpy as np
import pytest
import torch
import transformers
from mini_model import write_image_encoder, write_text_encoder
from PIL import Image
from safetensors.numpy import load_file, save_file
from test_language_sources import tokenizer_of

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "parity"))
from published_models import byte_level_tokenizer, llama_tokenizer, t5_tokenizer  # noqa: E402

GATED = dict(hidden_size=256, intermediate_size=288, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=96)
FAMILIES = {
    "llama": (llama_tokenizer, transformers.LlamaForCausalLM, transformers.LlamaConfig, GATED | dict(
        tie_word_embeddings=False, attention_bias=True, bos_token_id=1, eos_token_id=2, rope_parameters=dict(
            rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=32))),
    "mistral": (llama_tokenizer, transformers.MistralForCausalLM, transformers.MistralConfig, GATED | dict(
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, head_dim=64, sliding_window=None)),
    "qwen2": (lambda: tokenizer_of("qwen2"), transformers.Qwen2ForCausalLM, transformers.Qwen2Config, GATED | dict(
        tie_word_embeddings=False, bos_token_id=0, eos_token_id=0)),
    "qwen3": (lambda: tokenizer_of("qwen3"), transformers.Qwen3ForCausalLM, transformers.Qwen3Config, GATED | dict(
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, head_dim=128)),
    "smollm3": (lambda: tokenizer_of("gpt2"), transformers.SmolLM3ForCausalLM, transformers.SmolLM3Config, GATED | dict(
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, pad_token_id=0, num_hidden_layers=3,
        no_rope_layers=[1, 1, 1])),
    "gemma3_text": (llama_tokenizer, transformers.Gemma3ForCausalLM, transformers.Gemma3TextConfig, GATED | dict(
        bos_token_id=1, eos_token_id=2, head_dim=64, query_pre_attn_scalar=64, sliding_window=9)),
    "phi3": (llama_tokenizer, transformers.Phi3ForCausalLM, transformers.Phi3Config, GATED | dict(
        bos_token_id=1, eos_token_id=2, pad_token_id=0, original_max_position_embeddings=16, rope_parameters=dict(
            rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75,
            short_factor=[1.0 + i / 64 for i in range(24)], long_factor=[1.0 + i / 8 for i in range(24)]))),
    "olmo2": (lambda: tokenizer_of("gpt2"), transformers.Olmo2ForCausalLM, transformers.Olmo2Config, GATED | dict(
        bos_token_id=0, eos_token_id=0)),
    "gpt2": (lambda: tokenizer_of("gpt2"), transformers.GPT2LMHeadModel, transformers.GPT2Config, dict(
        n_embd=256, n_inner=288, n_layer=3, n_head=4, n_positions=96, bos_token_id=0, eos_token_id=0)),
    "opt": (byte_level_tokenizer, transformers.OPTForCausalLM, transformers.OPTConfig, dict(
        hidden_size=256, ffn_dim=288, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=96,
        word_embed_proj_dim=256, bos_token_id=2, eos_token_id=2, pad_token_id=1)),
    "t5": (t5_tokenizer, transformers.T5ForConditionalGeneration, transformers.T5Config, dict(
        d_model=256, d_kv=64, d_ff=288, num_layers=3, num_decoder_layers=3, num_heads=4, dropout_rate=0.0,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0, eos_token_id=1,
        pad_token_id=0)),
}
ARCHITECTURES = {"mistral": "llama", "gemma3_text": "gemma3"}
SENTENCEPIECE = ("llama", "mistral", "gemma3_text", "phi3")
# What llama.cpp's Q8_0, Q4_0 and Q4_K_M make of a model of three layers: the last one's values have more bits, rows
# of 288 are no multiple of 256.
TYPES = {
    "q8_0": dict(rest="Q8_0", words="Q8_0", head="Q8_0", last_v="Q8_0", qkv="Q8_0", down="Q8_0", last_down="Q8_0"),
    "q4_0": dict(rest="Q4_0", words="Q4_0", head="Q6_K", last_v="Q4_0", qkv="Q4_0", down="Q4_0", last_down="Q4_0"),
    "q4_k": dict(rest="Q4_K", words="Q4_K", head="Q6_K", last_v="Q6_K", qkv="Q5_K", down="Q5_0", last_down="Q8_0"),
}
FILE_TYPES = {"q8_0": 7, "q4_0": 2, "q4_k": 15}
PADDING = 6  # embeddings that no token has


def write_model(folder, family):
    make, kind, config, sizes = FAMILIES[family]
    tokenizer = make()
    torch.manual_seed(4)
    model = kind(config(vocab_size=len(tokenizer) + PADDING, **sizes)).eval()
    if family == "t5":
        model.lm_head.weight = torch.nn.Parameter(torch.empty(model.config.vocab_size, 256))
    with torch.no_grad():
        for name, value in model.named_parameters():
            norm = "norm" in name or ".ln_" in name
            value.uniform_(0.5, 1.5) if norm and "weight" in name else value.normal_(0, 0.1)
            value.copy_(value.bfloat16())  # which assembling keeps
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(folder)
    state = {k: v.clone() for k, v in model.state_dict().items() if family != "t5" or "embed_tokens" not in k}
    if model.config.tie_word_embeddings and family != "t5":
        del state["lm_head.weight"]
    from safetensors.torch import save_file as save

    save(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config.to_dict()))
    return model, tokenizer


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    write_image_encoder(folder / "clip")
    write_text_encoder(folder / "bert")
    for i, colour in enumerate(("red", "white")):
        Image.new("RGB", (40, 40), colour).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def made(request, parts, run):
    """(family, model, tokenizer, its assembly file)."""
    family = request.param
    model, tokenizer = write_model(parts / family, family)
    path = parts / f"{family}.toml"
    path.write_text(f'image_encoder = "clip"\ntext_encoder = "bert"\nlanguage_model = "{family}"\n'
                    "num_query_tokens = 4\nimage_text_hidden_size = 16\n")
    return family, model, tokenizer, path


def reference_names(family):
    """transformers' name of each tensor -> llama.cpp's, by PyPI gguf's table; it has no OPT."""
    by_architecture = {"gpt2": "GPT2", "qwen2": "QWEN2", "qwen3": "QWEN3", "t5": "T5", "smollm3": "SMOLLM3",
                       "gemma3_text": "GEMMA3", "phi3": "PHI3", "olmo2": "OLMO2"}
    table = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, by_architecture.get(family, "LLAMA")), 3)
    opt = {"embed_tokens": "token_embd", "embed_positions": "position_embd", "self_attn_layer_norm": "attn_norm",
           "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
           "self_attn.out_proj": "attn_output", "fc1": "ffn_up", "fc2": "ffn_down"}

    def name(theirs):
        stem, _, kind = theirs.rpartition(".")
        if family != "opt":
            return f"{table.get_name(stem)}.{kind}"
        found = re.fullmatch(r"model\.decoder\.(layers\.(\d+)\.)?(.*)", stem)
        if found[3] == "final_layer_norm":
            return f"blk.{found[2]}.ffn_norm.{kind}" if found[2] else f"output_norm.{kind}"
        return (f"blk.{found[2]}." if found[2] else "") + f"{opt[found[3]]}.{kind}"

    return name


def expected_numbers(family, model, name, values):
    """A tensor as llama.cpp's converter lays it: Llama's q and k with a head's rows in pairs, Conv1D turned, Gemma's
    norms with the 1 that is added to them."""
    values = values.float().numpy()
    if family == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return values.T.copy()
    if family == "gemma3_text" and name.endswith("norm.weight"):
        return values + 1
    if family in ("llama", "mistral", "smollm3") and ("q_proj" in name or "k_proj" in name):
        heads = model.config.num_attention_heads if "q_proj" in name else model.config.num_key_value_heads
        halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
        return halves.swapaxes(1, 2).reshape(values.shape).copy()
    return values


def expected_type(name, values, weights, has_head):
    types = TYPES[weights]
    if values.ndim < 2 or "position_embd" in name or "attn_rel_b" in name:
        return "F32"
    if name == "output.weight" or (name == "token_embd.weight" and not has_head):
        return types["head"]
    if name == "token_embd.weight":
        return types["words"]
    last = "blk.2." in name
    if "attn_v." in name:
        return types["last_v"] if last else types["rest"]
    if "attn_qkv" in name:
        return types["qkv"]
    if "ffn_down" in name:
        return types["last_down"] if last else types["down"]
    return types["rest"]


def reference_state(family, model):
    name = reference_names(family)
    state = {}
    for theirs, values in model.state_dict().items():
        if "coder.embed_tokens" in theirs and family == "t5":
            continue
        if theirs == "lm_head.weight" and model.config.tie_word_embeddings and family != "t5":
            continue  # transformers 5 says so of every T5
        state[name(theirs)] = expected_numbers(family, model, theirs, values)
    return state


@pytest.mark.parametrize("weights", TYPES)
def test_the_file_holds_what_llama_cpp_would_make(run, run_json, parts, made, tmp_path, weights):
    family, model, tokenizer, path = made
    run("convert", path, tmp_path / "small", "--weights", weights)
    assert not (tmp_path / "small" / "model-language.safetensors").exists()
    reader = gguf.GGUFReader(tmp_path / "small" / "model-language.gguf")
    expected = reference_state(family, model)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    factors = tensors.pop("rope_freqs.weight", None)
    by_length = {name: tensors.pop(f"rope_factors_{name}.weight") for name in ("short", "long") if family == "phi3"}
    for name, tensor in by_length.items():
        assert np.allclose(tensor.data, model.config.rope_parameters[f"{name}_factor"])
    assert tensors.keys() == expected.keys()
    for name, values in expected.items():
        tensor = tensors[name]
        kind = tensor.tensor_type
        assert kind.name == expected_type(name, values, weights, "output.weight" in expected), name
        if kind.name in ("Q4_K", "Q5_K", "Q6_K"):  # bit for bit in tests/parity/test_io.py
            off = np.linalg.norm(gguf.quants.dequantize(tensor.data, kind) - values)
            assert off < {"4": 0.08, "5": 0.04, "6": 0.02}[kind.name[1]] * np.linalg.norm(values), name
        else:
            assert np.array_equal(np.asarray(tensor.data).reshape(-1).view(np.uint8),
                                  gguf.quants.quantize(values, kind).reshape(-1).view(np.uint8)), name
    if family == "llama":
        inverse = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](model.config, "cpu")[0]
        plain = 1 / 10000.0 ** (torch.arange(0, 64, 2) / 64)
        assert torch.allclose(torch.from_numpy(factors.data.copy()), plain / inverse, rtol=1e-5)
    else:
        assert factors is None
    for precision in ("auto", "f32"):  # in blocks and widened; the numbers are compared in unit and parity tests
        lines = run_json("caption", "--model", tmp_path / "small", "--precision", precision, "--beams", 1,
                         "--max-new-tokens", 6, "--min-new-tokens", 6, parts / "0.png", parts / "1.png")
        assert [len(line["tokens"]) for line in lines] == [6, 6]
        assert all(np.isfinite(line["score"]) for line in lines)


def test_the_file_has_the_tokenizer(run, made, tmp_path):
    family, model, tokenizer, path = made
    run("convert", path, tmp_path / "small", "--weights", "q4_k")
    fields = gguf.GGUFReader(tmp_path / "small" / "model-language.gguf").fields
    get = {key: field.contents() for key, field in fields.items()}
    assert get["general.architecture"] == ARCHITECTURES.get(family, family)
    assert get["general.file_type"] == FILE_TYPES["q4_k"] and get["general.quantization_version"] == 2
    assert get["blip2.quantisation"].startswith("Q4_K_M ") and "the best of 22 scales" in get["blip2.quantisation"]
    count = len(tokenizer)
    tokens = get["tokenizer.ggml.tokens"]
    assert tokens[:count] == tokenizer.convert_ids_to_tokens(range(count))
    assert tokens[count:] == [f"[PAD{i}]" for i in range(count, count + PADDING)]
    types = get["tokenizer.ggml.token_type"]
    assert types[count:] == [gguf.TokenType.UNUSED] * PADDING
    unknown = tokenizer.unk_token_id
    for i in range(count):
        by_bytes = family in SENTENCEPIECE and re.fullmatch("<0x[0-9A-F]{2}>", tokens[i])
        special = i in tokenizer.added_tokens_decoder and tokenizer.added_tokens_decoder[i].special
        assert types[i] == (gguf.TokenType.BYTE if by_bytes
                            else gguf.TokenType.UNKNOWN if i == unknown and family in (*SENTENCEPIECE, "t5")
                            else gguf.TokenType.CONTROL if special else gguf.TokenType.NORMAL), tokens[i]
    backend = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if family == "t5":
        assert get["tokenizer.ggml.model"] == "t5"
        assert get["tokenizer.ggml.scores"][:count] == pytest.approx([score for _, score in backend["vocab"]])
    else:
        assert get["tokenizer.ggml.model"] == ("llama" if family in SENTENCEPIECE else "gpt2")
        assert get["tokenizer.ggml.merges"] == [" ".join(pair) for pair in backend["merges"]]
    pre = {"qwen2": "qwen2", "qwen3": "qwen2", "gpt2": "gpt-2", "opt": "gpt-2", "smollm3": "gpt-2", "olmo2": "gpt-2"}
    assert get["tokenizer.ggml.pre"] == pre.get(family, "default")
    assert get["tokenizer.ggml.eos_token_id"] == model.config.eos_token_id
    assert get["tokenizer.ggml.add_bos_token"] == (family in (*SENTENCEPIECE, "opt"))
    assert get["tokenizer.ggml.add_eos_token"] == (family == "t5")
    assert get["tokenizer.chat_template"] == tokenizer.chat_template


def test_read_back_bit_for_bit(run, made, tmp_path):
    """Widened, the model is what PyPI gguf reads in the file; quantised again, it is the same file."""
    family, model, _, path = made
    run("convert", path, tmp_path / "small", "--weights", "q4_k")
    run("convert", tmp_path / "small", tmp_path / "wide", "--weights", "f32", "--own-layout")
    ours = load_file(tmp_path / "wide" / "model-language.safetensors")
    name = reference_names(family)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "small" / "model-language.gguf").tensors}
    seen = 0
    for theirs, values in model.state_dict().items():
        key = f"language_model.{theirs}"
        if key not in ours or name(theirs) not in tensors:
            continue
        tensor = tensors[name(theirs)]
        numbers = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        back = expected_numbers(family, model, theirs, torch.from_numpy(ours[key]))
        assert np.array_equal(back.reshape(-1), numbers.reshape(-1).numpy()), theirs
        seen += 1
    assert seen == len([name for name in tensors if not name.startswith("rope_f")])
    run("convert", path, tmp_path / "again", "--weights", "q4_k")
    one, other = (tmp_path / folder / "model-language.gguf" for folder in ("small", "again"))
    assert one.read_bytes() == other.read_bytes()


def test_from_a_directory(run, made, tmp_path):
    """From a directory of the program's own, by either name, the file is that of the parts; the source stays."""
    family, _, _, path = made
    run("convert", path, tmp_path / "whole")
    before = (tmp_path / "whole" / "model-language.safetensors").read_bytes()
    for weights, same in (("q4_0", "int4"), ("q8_0", "int8")):
        files = []
        for source, choice in ((path, weights), (tmp_path / "whole", weights), (tmp_path / "whole", same)):
            out = tmp_path / f"{len(files)}{choice}"
            run("convert", source, out, "--weights", choice)
            files.append((out / "model-language.gguf").read_bytes())
        assert files[0] == files[1] == files[2]
    assert (tmp_path / "whole" / "model-language.safetensors").read_bytes() == before


@pytest.fixture(scope="module")
def whole(run, parts):
    """A directory of the program's own with f32 weights of a Qwen2."""
    write_model(parts / "whole", "qwen2")
    (parts / "whole.toml").write_text('image_encoder = "clip"\ntext_encoder = "bert"\nlanguage_model = "whole"\n'
                                      "num_query_tokens = 4\nimage_text_hidden_size = 16\n")
    run("convert", parts / "whole.toml", parts / "model", "--weights", "f32")
    return parts / "model"


def test_a_left_over_file_is_not_the_source(run, whole, tmp_path):
    """Of a conversion that was killed: another type's file, or garbage."""
    run("convert", whole, tmp_path / "right", "--weights", "q4_k")
    run("convert", whole, tmp_path / "other", "--weights", "q4_0")
    right, other = ((tmp_path / name / "model-language.gguf").read_bytes() for name in ("right", "other"))
    for name, left in (("a", other), ("b", b"garbage")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model-language.gguf").write_bytes(left)
        run("convert", whole, tmp_path / name, "--weights", "q4_k")
        assert (tmp_path / name / "model-language.gguf").read_bytes() == right


def test_a_failing_disk(run, whole, program, failing_disk, tmp_path):
    """Whatever write fails, there is no half of a file, and no directory that looks whole."""
    import subprocess

    command = [program, "convert", whole, tmp_path / "small", "--weights", "q4_k"]
    environment = failing_disk("model-language.gguf", count=tmp_path / "count")
    subprocess.run(command, env=environment, check=True, capture_output=True)
    calls = int((tmp_path / "count").read_text())
    assert calls > 20
    expected = (tmp_path / "small" / "model-language.gguf").read_bytes()
    for call in (1, 2, calls // 2, calls - 4):
        out = tmp_path / f"at{call}"
        environment = failing_disk(f"at{call}/model-language.gguf", at=call, errno=errno.ENOSPC)
        done = subprocess.run([*command[:3], out, *command[4:]], env=environment, capture_output=True, text=True)
        assert done.returncode == 1, (call, done.stderr)
        assert "model-language.gguf" in done.stderr and "No space left" in done.stderr, done.stderr
        assert not (out / "config.json").exists() and not list(out.glob("*.gguf*")), call
        run("convert", whole, out, "--weights", "q4_k")
        assert (out / "model-language.gguf").read_bytes() == expected


@pytest.mark.parametrize("number,weights,message", [
    (float("nan"), "q4_k", "not finite"), (float("inf"), "q8_0", "not finite"), (1e30, "q8_0", "too large")])
def test_numbers_that_no_block_holds(run, whole, tmp_path, number, weights, message):
    import shutil

    shutil.copytree(whole, tmp_path / "model")
    path = tmp_path / "model" / "model-language.safetensors"
    tensors = load_file(path)
    tensors["language_model.model.layers.1.mlp.up_proj.weight"][5, 7] = number
    path.unlink()
    save_file(tensors, path)
    done = run("convert", tmp_path / "model", tmp_path / "small", "--weights", weights, code=1)
    assert message in done.stderr and "blk.1.ffn_up.weight" in done.stderr
    assert not (tmp_path / "small" / "config.json").exists()


def test_a_model_that_does_not_speak(run, parts, tmp_path):
    (parts / "mute.toml").write_text('image_encoder = "clip"\ntext_encoder = "bert"\nnum_query_tokens = 4\n'
                                     "image_text_hidden_size = 16\n")
    done = run("convert", parts / "mute.toml", tmp_path / "mute", "--weights", "q8_0")
    assert "no language model" in done.stderr
    assert "q4_k" in run("convert", parts / "mute.toml", tmp_path / "other", "--weights", "q3_k", code=2).stderr
