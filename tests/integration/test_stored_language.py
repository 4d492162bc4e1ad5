"""A model directory that keeps its language model's GGUF file and computes with its blocks."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest
import torch
import transformers
from mini_model import write_image_encoder, write_text_encoder
from PIL import Image
from test_language_sources import PRE, tokenizer_of

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "parity"))
from decoder_models import write_gguf  # noqa: E402

FAMILY = "qwen2"


def add_words_of():
    tokenizer = tokenizer_of(FAMILY)

    def add_words(writer):
        table = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(PRE[FAMILY])
        writer.add_token_list(sorted(table["vocab"], key=table["vocab"].get))
        writer.add_token_merges([" ".join(pair) for pair in table["merges"]])
        writer.add_token_types([3, *[1] * (len(tokenizer) - 1)])

    return add_words


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """Parts with a language model in Q8_0, assembled as stored and in f32, and pictures."""
    folder = tmp_path_factory.mktemp("stored")
    tokenizer = tokenizer_of(FAMILY)
    torch.manual_seed(4)
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=96, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0))
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0, 0.3)

    model.save_pretrained(folder / "hf")
    add_words = add_words_of()
    write_gguf(folder / "model.gguf", FAMILY, model, add_words, kind="Q8_0")
    write_image_encoder(folder / "clip")
    write_text_encoder(folder / "bert")
    (folder / "parts.toml").write_text(
        'image_encoder = "clip"\ntext_encoder = "bert"\nlanguage_model = "model.gguf"\n'
        "num_query_tokens = 4\nimage_text_hidden_size = 16\n")
    run("convert", folder / "parts.toml", folder / "stored", "--weights", "stored")
    run("convert", folder / "parts.toml", folder / "f32", "--weights", "f32")
    for i, colour in enumerate(("red", "blue", "white")):
        Image.new("RGB", (40, 40), colour).save(folder / f"{i}.png")
    return folder


def captions(run_json, model, folder, *options):
    pictures = sorted(folder.glob("*.png"))
    return run_json("caption", "--model", model, "--beams", 1, "--max-new-tokens", 8, "--min-new-tokens", 8, *options,
                    *pictures)


def test_the_directory_keeps_the_file(run_json, folder):
    kept = folder / "stored" / "model-language.gguf"
    assert kept.read_bytes() == (folder / "model.gguf").read_bytes()
    assert not (folder / "stored" / "model-language.safetensors").exists()
    [model] = run_json("inspect", folder / "stored")
    assert model["types"]["Q8_0"]["bits_per_weight"] == 8.5
    assert {"blk.0.attn_q.weight", "query_tokens"} <= {tensor["name"] for tensor in model["tensors"]}
    [file] = run_json("inspect", kept)
    assert 8.5 <= file["bits_per_weight"] < 12


def test_widened_it_is_the_widened_model(run_json, folder):
    assert captions(run_json, folder / "stored", folder, "--precision", "f32") == captions(
        run_json, folder / "f32", folder)


@pytest.mark.parametrize("kernels", ["", "avx2", "plain"])
def test_blocks_write_nearly_the_same(run_json, folder, kernels, monkeypatch):
    monkeypatch.setenv("BLIP2_KERNELS", kernels)
    one = captions(run_json, folder / "stored", folder)
    other = captions(run_json, folder / "f32", folder)
    for blocks, widened in zip(one, other, strict=True):
        assert blocks["score"] == pytest.approx(widened["score"], rel=0.05)
        assert blocks["score"] != widened["score"]
    pictures = sorted(folder.glob("*.png"))
    for picture, together in zip(pictures, one, strict=True):
        [alone] = run_json("caption", "--model", folder / "stored", "--beams", 1, "--max-new-tokens", 8,
                           "--min-new-tokens", 8, picture)
        assert alone == together


def test_convert_widens_it(run, folder, tmp_path):
    run("convert", folder / "stored", tmp_path / "wide", "--weights", "f32", "--own-layout")
    name = "model-language.safetensors"
    assert (tmp_path / "wide" / name).read_bytes() == (folder / "f32" / name).read_bytes()
    run("convert", folder / "stored", tmp_path / "same", "--own-layout")
    assert (tmp_path / "same" / "model-language.gguf").exists()


def test_bad_files_are_named(run, folder, tmp_path):
    shutil.copytree(folder / "stored", tmp_path / "model")
    path = tmp_path / "model" / "model-language.gguf"
    whole = path.read_bytes()
    path.unlink()  # it may be a hard link
    path.write_bytes(whole[: len(whole) // 2])
    run_caption = ["caption", "--model", tmp_path / "model", folder / "0.png"]
    assert "model-language.gguf" in run(*run_caption, code=1).stderr
    import gguf

    path.write_bytes(whole)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    broken = bytearray(whole)
    start = tensors["blk.1.ffn_up.weight"].data_offset
    broken[start : start + 2] = b"\x00\x7c"  # infinity
    path.write_bytes(broken)
    said = run(*run_caption, code=1).stderr
    assert "blk.1.ffn_up.weight" in said and "not finite" in said
    # Behind a tensor's name stand the number of its dimensions, these, and its type.
    kind = whole.index(b"blk.1.ffn_up.weight") + len("blk.1.ffn_up.weight") + 4 + 2 * 8
    for number, message in ((99, "unknown type 99"), (14, "no multiple of its block")):
        path.write_bytes(whole[:kind] + number.to_bytes(4, "little") + whole[kind + 4 :])
        said = run(*run_caption, code=1).stderr
        assert message in said and "blk.1.ffn_up.weight" in said and len(said.splitlines()) == 1
    path.unlink()
    said = run(*run_caption, code=1).stderr
    assert "model-language.gguf: expected the language model" in said and len(said.splitlines()) == 1
    (tmp_path / "parts.toml").write_text(
        f'image_encoder = "{folder}/clip"\ntext_encoder = "{folder}/bert"\nlanguage_model = "{folder}/clip"\n')
    done = run("convert", tmp_path / "parts.toml", tmp_path / "other", "--weights", "stored", code=1)
    assert isinstance(done, subprocess.CompletedProcess) and done.stderr.count("\n") <= 3


@pytest.mark.parametrize("weights,kind", [("q8_0", "Q8_0"), ("int8", "Q8_0"), ("q4_0", "Q4_0"), ("int4", "Q4_0")])
def test_convert_quantises_the_language_model(run, run_json, folder, tmp_path, weights, kind):
    import gguf
    from safetensors.numpy import load_file

    run("convert", folder / "f32", tmp_path / "small", "--weights", weights)
    assert not (tmp_path / "small" / "model-language.safetensors").exists()
    whole = load_file(folder / "f32" / "model-language.safetensors")
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "small" / "model-language.gguf").tensors}
    for theirs, ours, expected in (("model.layers.1.mlp.down_proj", "blk.1.ffn_down", kind),
                                   ("model.layers.0.self_attn.q_proj", "blk.0.attn_q", kind),
                                   ("model.embed_tokens", "token_embd", kind), ("lm_head", "output", "Q8_0")):
        tensor, values = tensors[f"{ours}.weight"], whole[f"language_model.{theirs}.weight"]
        assert tensor.tensor_type.name == expected
        assert (tensor.data == gguf.quants.quantize(values, tensor.tensor_type)).all()
    assert tensors["blk.0.attn_q.bias"].tensor_type.name == "F32"
    widened = run_json("caption", "--model", tmp_path / "small", "--precision", "f32", folder / "0.png")
    blocks = run_json("caption", "--model", tmp_path / "small", folder / "0.png")
    assert blocks[0]["score"] == pytest.approx(widened[0]["score"], rel=0.05)
    [model] = run_json("inspect", tmp_path / "small")
    assert {"F32", "Q8_0", kind} <= set(model["types"])


def test_training_through_blocks_needs_them(run, folder, tmp_path):
    (folder / "one.jsonl").write_text(json.dumps({"image": "0.png", "caption": "a red square"}) + "\n")
    (tmp_path / "recipe.toml").write_text(
        f'stage = 2\ninit = "{folder}/f32"\nbatch_size = 1\nsteps = 1\nlanguage_weights = "stored"\n'
        f'[data]\ntrain = "{folder}/one.jsonl"\n')
    said = run("train", tmp_path / "recipe.toml", "--output", tmp_path / "out", code=1).stderr
    assert "recipe.toml: language_weights: stored means a GGUF file's blocks" in said and f"{folder}/f32" in said


def test_blocks_of_four_bit_floats(run, run_json, folder, tmp_path):
    """MXFP4, as PyPI gguf quantises it: in blocks nearly as widened."""
    qwen = transformers.Qwen2ForCausalLM.from_pretrained(folder / "hf")
    words = add_words_of()
    write_gguf(tmp_path / "model.gguf", FAMILY, qwen, words, kind="MXFP4")
    (tmp_path / "parts.toml").write_text(
        f'image_encoder = "{folder}/clip"\ntext_encoder = "{folder}/bert"\nlanguage_model = "model.gguf"\n'
        "num_query_tokens = 4\nimage_text_hidden_size = 16\n")
    run("convert", tmp_path / "parts.toml", tmp_path / "stored", "--weights", "stored")
    [model] = run_json("inspect", tmp_path / "stored")
    assert model["types"]["MXFP4"]["bits_per_weight"] == 4.25
    blocks, widened = (captions(run_json, tmp_path / "stored", folder, "--precision", precision)
                       for precision in ("auto", "f32"))
    for one, other in zip(blocks, widened, strict=True):
        assert one["score"] == pytest.approx(other["score"], rel=0.05) and one["score"] != other["score"]


def test_training_goes_through_the_blocks(run, folder, tmp_path):
    """Stage 2 through the file's blocks is stage 2 through the same numbers widened."""
    records = [{"image": f"{i}.png", "caption": f"a {colour} square"}
               for i, colour in enumerate(("red", "blue", "white"))]
    (folder / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "recipe.toml").write_text(
        f'stage = 2\ninit = "{folder}/stored"\nbatch_size = 3\nsteps = 3\nprecision = "f32"\n'
        f'[data]\ntrain = "{folder}/data.jsonl"\n')
    losses = {}
    for weights in ("auto", "stored"):
        out = tmp_path / weights
        run("train", tmp_path / "recipe.toml", "--output", out, "--set", f"language_weights={weights}")
        losses[weights] = [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()
                           if "loss" in json.loads(line)]
        assert (out / "model-language.gguf").exists()
    assert losses["auto"] and losses["stored"] == pytest.approx(losses["auto"], rel=1e-4)
