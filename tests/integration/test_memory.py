"""Peak memory of the program with a language model in GGUF's blocks: what its weights take, each held once."""

import pathlib
import sys

import pytest
import torch
import transformers
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "parity"))
import measured  # noqa: E402
from published_models import BlipImageProcessorPil, byte_level_tokenizer  # noqa: E402


@pytest.fixture(scope="module")
def torch_program(program):
    """What becomes of `blip2` for verbs that need LibTorch, and its peak without any work."""
    path = program.parent / "blip2-torch"
    return path, measured.peak_of([path, "--version"])


@pytest.fixture(scope="module")
def smollm2(run, tmp_path_factory):
    """SmolLM2 in its file's blocks behind an untrained Q-Former, and a picture."""
    folder = tmp_path_factory.mktemp("memory")
    run("convert", ROOT / "recipes" / "tiny_model.toml", folder / "model", "--weights", "stored")
    Image.new("RGB", (224, 224), "red").save(folder / "picture.png")
    return folder / "model", folder / "picture.png"


def test_each_weight_is_held_once(torch_program, smollm2):
    """Of the Q-Former's file the heads of stage 1 and nearly all of the table of words stay on disk."""
    program, start = torch_program
    model, picture = smollm2
    size = {part: (model / f"model-{part}").stat().st_size
            for part in ("vision.safetensors", "language.gguf", "bridge.safetensors")}
    peak = measured.peak_of([program, "caption", "--model", model, "--max-new-tokens", 8, picture])
    assert peak < start + sum(size.values()), (peak, start, size)


@pytest.fixture(scope="module")
def wide_table(tmp_path_factory):
    """A BLIP-2 whose table of words is most of it, and the table's bytes in f32."""
    folder = tmp_path_factory.mktemp("wide")
    tokenizer = byte_level_tokenizer()
    text = transformers.OPTConfig(
        vocab_size=80_000, hidden_size=512, word_embed_proj_dim=512, ffn_dim=512, num_hidden_layers=1,
        num_attention_heads=8, bos_token_id=2, eos_token_id=5, pad_token_id=1, max_position_embeddings=64)
    tokenizer.add_tokens([f"<word{i}>" for i in range(text.vocab_size - len(tokenizer) - 4)])
    images = BlipImageProcessorPil(size={"height": 28, "width": 28})
    transformers.Blip2Processor(images, tokenizer, num_query_tokens=4).save_pretrained(folder)
    config = transformers.Blip2Config(
        vision_config=transformers.Blip2VisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=28),
        qformer_config=transformers.Blip2QFormerConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, encoder_hidden_size=32),
        text_config=text, num_query_tokens=4, image_token_index=tokenizer.convert_tokens_to_ids("<image>"))
    transformers.Blip2ForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(folder)
    return folder, 4 * text.vocab_size * text.hidden_size


@pytest.mark.parametrize("weights", ["q8_0", "q4_k"])
def test_quantising_holds_one_tensor_once(torch_program, wide_table, tmp_path, weights):
    """In f32, beside the numbers of the file and pieces of both on their way."""
    program, _ = torch_program
    source, table = wide_table
    texts = measured.peak_of([program, "tokenize", "--model", source, "--text", "a"])
    peak = measured.peak_of([program, "convert", source, tmp_path / "model", "--weights", weights])
    assert peak - texts < 1.7 * table, (peak, texts, table)
