"""Broken directories of transformers' BLIP-2 classes: one clear error each that names the file and
the tensor, shard or key, at once."""

import json
import pathlib
import pickle
import shutil
import subprocess
import sys
import zipfile

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "parity"))
from measured import peak_of, refusal  # noqa: E402
from published_models import Published, byte_level_tokenizer, word_tokenizer  # noqa: E402


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Published(tmp_path_factory.mktemp("published") / "opt", "opt")


@pytest.fixture(scope="module")
def instructed(tmp_path_factory):
    return Published(tmp_path_factory.mktemp("published") / "llama", "llama", instructs=True)


@pytest.fixture
def folder(source, tmp_path):
    shutil.copytree(source.folder, tmp_path / "model")
    return tmp_path / "model"


def words_of(verb, folder, place):
    if verb == "convert":
        return ["convert", folder, place / "out"]
    return [verb, "--model", folder, place / "a.png"]


@pytest.fixture(scope="module")
def good(program, source, tmp_path_factory):
    """Peak bytes of captioning and converting with the whole model."""
    place = tmp_path_factory.mktemp("good")
    Image.new("RGB", (8, 8)).save(place / "a.png")
    return {verb: peak_of([program, *words_of(verb, source.folder, place)]) for verb in ("caption", "convert")}


@pytest.fixture
def refuse(program, folder, tmp_path, good):
    """refuse(expected, ...): captioning ends with exit 1 and one line that holds all of them, at once and
    without more memory than captioning takes."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")

    def call(*expected, verb="caption"):
        line = refusal([program, *words_of(verb, folder, tmp_path)], good[verb])
        for text in expected:
            assert text in line
        assert not (tmp_path / "out" / "config.json").exists()

    return call


def edit(path, change):
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


CONFIGS = {
    "architecture": (["architectures", "Blip2Model", "Blip2ForImageTextRetrieval"],
                     lambda c: c.update(architectures=["Blip2Model"])),
    "model_type": (["model_type", "llava"], lambda c: (c.pop("architectures"), c.update(model_type="llava"))),
    "language_model": (["text_config: model_type", "bloom", "known are", "t5"],
                       lambda c: c["text_config"].update(model_type="bloom")),
    "image_encoder": (["vision_config", "clip_vision_model"],
                      lambda c: c["vision_config"].update(model_type="clip_vision_model")),
    "kind": (["use_decoder_only_language_model"], lambda c: c.update(use_decoder_only_language_model=False)),
    "queries": (["num_query_tokens"], lambda c: c.update(num_query_tokens=0)),
    "queries_of_processor": (["processor_config.json", "num_query_tokens", "expected 6", "got 4"],
                             lambda c: c.update(num_query_tokens=6)),
    "type": (["num_query_tokens", "whole number"], lambda c: c.update(num_query_tokens="many")),
    "width": (["qformer.", "expected shape"], lambda c: c["qformer_config"].update(intermediate_size=44)),
    "vision": (["vision_model.encoder.layers.1", "not a tensor of this model"],
               lambda c: c["vision_config"].update(num_hidden_layers=1)),
    "language_width": (["language_projection.weight", "expected shape"],
                       lambda c: c["text_config"].update(hidden_size=36, word_embed_proj_dim=36)),
    "layers": (["language_model.model.decoder.layers.2", "missing"],
               lambda c: c["text_config"].update(num_hidden_layers=3)),
    "post_norm": (["do_layer_norm_before", "OPT-350m"],
                  lambda c: c["text_config"].update(do_layer_norm_before=False)),
    "fewer_embeddings": (["the tokenizer has 290 ids", "200 word embeddings"],
                         lambda c: c["text_config"].update(vocab_size=200)),
    "more_embeddings": (["the tokenizer has 290 ids", "9000 word embeddings"],
                        lambda c: c["text_config"].update(vocab_size=9000)),
    "eos": (["eos_token_id 999"], lambda c: c["text_config"].update(eos_token_id=999)),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_config(refuse, folder, name):
    expected, change = CONFIGS[name]
    edit(folder / "config.json", change)
    refuse(*expected)


def change_weights(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


WEIGHTS = {
    "missing_query": (["query_tokens", "missing"], lambda s: s.pop("query_tokens")),
    "missing_norm": (["vision_model.post_layernorm.bias", "missing"],
                     lambda s: s.pop("vision_model.post_layernorm.bias")),
    "shape": (["language_projection.weight", "[32, 32]", "[32, 31]"],
              lambda s: s.update({"language_projection.weight": torch.zeros(32, 31)})),
    "type": (["qformer.layernorm.weight", "floating-point", "I64"],
             lambda s: s.update({"qformer.layernorm.weight": torch.zeros(32, dtype=torch.int64)})),
    "language_type": (["language_model.model.decoder.embed_positions.weight", "floating-point", "I32"],
                      lambda s: s.update({"language_model.model.decoder.embed_positions.weight":
                                          torch.zeros(98, 32, dtype=torch.int32)})),
    "vision_type": (["vision_model.embeddings.class_embedding", "floating-point", "U8"],
                    lambda s: s.update({"vision_model.embeddings.class_embedding":
                                        torch.zeros(1, 1, 32, dtype=torch.uint8)})),
    "qformer_listed_only": (["qformer.layernorm.weight", "floating-point", "U16"],
                            lambda s: s.update({"qformer.layernorm.weight": torch.zeros(32, dtype=torch.uint16)})),
    "language_listed_only": (["language_model.model.decoder.embed_positions.weight", "floating-point", "C64"],
                             lambda s: s.update({"language_model.model.decoder.embed_positions.weight":
                                                 torch.zeros(98, 32, dtype=torch.complex64)})),
    "vision_listed_only": (["vision_model.embeddings.class_embedding", "floating-point", "F8_E8M0"],
                           lambda s: s.update({"vision_model.embeddings.class_embedding":
                                               torch.zeros(1, 1, 32).to(torch.float8_e8m0fnu)})),
    "unknown": (["qformer.surprise", "not a tensor"], lambda s: s.update({"qformer.surprise": torch.zeros(1)})),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(refuse, folder, name):
    expected, change = WEIGHTS[name]
    change_weights(folder, change)
    refuse("model.safetensors", *expected)
    refuse(*expected, verb="convert")


@pytest.mark.parametrize("verb", ["caption", "convert"])
def test_a_tokenizer_of_more_tokens(refuse, folder, verb):
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens([f"<more{i}>" for i in range(40)])
    tokenizer.save_pretrained(folder)
    refuse("the tokenizer has 330 ids", "296 word embeddings", verb=verb)


@pytest.mark.parametrize("verb", ["caption", "convert"])
def test_a_tokenizer_of_fewer_tokens(refuse, folder, verb):
    name = "language_model.model.decoder.embed_tokens.weight"
    change_weights(folder, lambda s: s.update({name: torch.zeros(2000, 32)}))
    edit(folder / "config.json", lambda c: c["text_config"].update(vocab_size=2000))
    refuse("the tokenizer has 290 ids", "2000 word embeddings", verb=verb)


@pytest.mark.parametrize("verb", ["caption", "convert"])
def test_a_qformer_tokenizer_of_another_size(program, good, instructed, tmp_path, verb):
    shutil.copytree(instructed.folder, tmp_path / "model")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    words = word_tokenizer()
    words.add_tokens([f"more{i}" for i in range(20)])
    words.save_pretrained(tmp_path / "model" / "qformer_tokenizer")
    line = refusal([program, *words_of(verb, tmp_path / "model", tmp_path)], good[verb])
    assert "qformer_tokenizer" in line and f"the tokenizer has {len(words)} ids" in line
    assert not (tmp_path / "out" / "config.json").exists()


@pytest.fixture
def sharded(source, folder):
    (folder / "model.safetensors").unlink()
    source.model.save_pretrained(folder, max_shard_size="40KB")
    return sorted(folder.glob("model-*.safetensors"))


def test_an_absent_shard(refuse, sharded):
    sharded[1].unlink()
    refuse("model.safetensors.index.json", sharded[1].name, "not there")


def test_a_truncated_shard(refuse, sharded):
    sharded[1].write_bytes(sharded[1].read_bytes()[:-40])
    refuse(sharded[1].name)


def test_a_tensor_in_two_shards(refuse, sharded):
    state, other = load_file(sharded[0]), load_file(sharded[1])
    save_file(state | dict([other.popitem()]), sharded[0])
    refuse(sharded[0].name, "which the index does not put there")


def test_a_shard_outside(refuse, folder, sharded):
    edit(folder / "model.safetensors.index.json",
         lambda i: i["weight_map"].update({"query_tokens": "../model.safetensors"}))
    refuse("../model.safetensors", "plain file name")


class Hostile:
    def __reduce__(self):
        return (print, ("run",))


def test_a_hostile_pickle(refuse, folder):
    (folder / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"query_tokens": Hostile()}, protocol=2))
    refuse("pytorch_model.bin", "print")


def test_no_weights(refuse, folder):
    (folder / "model.safetensors").unlink()
    refuse("model.safetensors", "pytorch_model.bin")


def test_no_tokenizer(refuse, folder):
    (folder / "tokenizer.json").unlink()
    refuse("tokenizer.json")


def test_no_preprocessing(refuse, folder):
    (folder / "processor_config.json").unlink()
    refuse("preprocessor_config.json")


def test_an_image_size_that_the_patches_do_not_divide(refuse, folder):
    edit(folder / "processor_config.json", lambda c: c["image_processor"].update(size={"height": 30, "width": 30}))
    refuse("image_size", "30")


def test_matching_needs_its_heads(program, folder, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    done = subprocess.run([program, "match", "--model", folder, "--text", "a cat", tmp_path / "a.png"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "no stage-1 heads" in done.stderr


def test_t5_in_f16(program, tmp_path):
    model = Published(tmp_path / "t5", "t5")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for words in (["caption", "--model", model.folder, "--precision", "f16", tmp_path / "a.png"],
                  ["convert", model.folder, tmp_path / "out", "--weights", "f16"]):
        done = subprocess.run([program, *words], capture_output=True, text=True)
        assert done.returncode == 1 and "T5" in done.stderr and "f16" in done.stderr, done.stderr
