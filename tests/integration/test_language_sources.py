"""A language model assembled from a GGUF file is the one assembled from its Hugging Face directory."""

import json
import pathlib
import sys

import pytest
import torch
import transformers
from mini_model import TEXTS, write_image_encoder, write_text_encoder
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "parity"))
from decoder_models import write_gguf  # noqa: E402

CONFIGS = {
    "gpt2": lambda words: transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=words, n_embd=32, n_layer=2, n_head=4, n_positions=96, bos_token_id=0, eos_token_id=0)),
    "qwen2": lambda words: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(
        vocab_size=words, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=96, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0)),
    "qwen3": lambda words: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(
        vocab_size=words, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=96, tie_word_embeddings=False, bos_token_id=0,
        eos_token_id=0)),
}
PRE = {"gpt2": "gpt-2", "qwen2": "qwen2", "qwen3": "qwen2"}


def tokenizer_of(family):
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = (transformers.Qwen2Tokenizer().backend_tokenizer.pre_tokenizer if family.startswith("qwen")
                             else pre_tokenizers.ByteLevel(add_prefix_space=False))
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(TEXTS, trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


@pytest.mark.parametrize("family", CONFIGS)
def test_gguf(run, run_json, tmp_path, family):
    tokenizer = tokenizer_of(family)
    torch.manual_seed(4)
    model = CONFIGS[family](len(tokenizer))
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0, 0.3)
    model.save_pretrained(tmp_path / "folder")
    tokenizer.save_pretrained(tmp_path / "folder")

    def add_words(writer):
        table = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(PRE[family])
        writer.add_token_list(sorted(table["vocab"], key=table["vocab"].get))
        writer.add_token_merges([" ".join(pair) for pair in table["merges"]])
        writer.add_token_types([3, *[1] * (len(tokenizer) - 1)])

    write_gguf(tmp_path / "model.gguf", family, model, add_words)
    write_image_encoder(tmp_path / "clip")
    write_text_encoder(tmp_path / "bert")
    for source in ("folder", "model.gguf"):
        (tmp_path / "parts.toml").write_text(
            f'image_encoder = "clip"\ntext_encoder = "bert"\nlanguage_model = "{source}"\n'
            "num_query_tokens = 4\nimage_text_hidden_size = 16\n")
        run("convert", tmp_path / "parts.toml", tmp_path / f"from_{source}", "--weights", "f32")
    one, other = tmp_path / "from_folder", tmp_path / "from_model.gguf"
    name = "model-language.safetensors"
    assert (one / name).read_bytes() == (other / name).read_bytes()
    texts = ["a red circle", "What color's it? 2024\n\n  x", "it'S Größe 東京", "<|endoftext|>a"]
    words = [word for text in texts for word in ("--text", text)]
    ids = [[line["ids"] for line in run_json("tokenize", "--model", folder, *words)] for folder in (one, other)]
    assert ids[0] == ids[1] == [tokenizer(text).input_ids for text in texts]
