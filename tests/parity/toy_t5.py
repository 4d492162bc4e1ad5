"""A small random T5 as a Hugging Face directory, and a model directory assembled with it."""

import json
import pathlib
import subprocess

import torch
import transformers
from safetensors.torch import save_file
from sentencepiece_files import charsmap

MODELS = pathlib.Path(__file__).resolve().parents[2] / ".cache" / "models"
PARTS = """
image_encoder = "{models}/efficientnet-lite0.pth"
language_model = "{t5}"
text_encoder = "{models}/all-minilm-l6-v2"
num_query_tokens = 8
seed = 1
"""


def tokenizer_of(texts, size=0):
    """T5's kind of tokenizer, the same in every run: every other word of the texts is one piece, the
    rest are spelt in letters. With `size`, so many ids, the others of words in no text."""
    words = list(dict.fromkeys(word for text in texts for word in text.split()))
    pieces = ["▁", *sorted({letter for word in words for letter in word}), *("▁" + word for word in words[::2])]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocab += [(piece, -2.0 - 0.01 * place) for place, piece in enumerate(pieces)]
    extra = [(f"<extra_id_{i}>", 0.0) for i in range(99, -1, -1)]
    vocab += [(f"▁{i}", -50.0) for i in range(size - len(vocab) - len(extra))] + extra
    return transformers.T5Tokenizer(vocab=vocab, _spm_precompiled_charsmap=charsmap({"\t": " "}))


def random_t5(words, original=False, width=48, **sizes):
    """v1.1's form, as FlanT5 has it (gated GELU, a head of its own), or that of the original T5 (ReLU,
    the head tied to the embeddings and scaled)."""
    torch.manual_seed(5)
    sizes = dict(d_kv=12, d_ff=64, num_layers=2, num_decoder_layers=2, num_heads=4) | sizes
    config = transformers.T5Config(
        vocab_size=words, d_model=width, **sizes,
        feed_forward_proj="relu" if original else "gated-gelu", tie_word_embeddings=original,
        decoder_start_token_id=0, eos_token_id=1, pad_token_id=0, dropout_rate=0.0,
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    assert model.config.scale_decoder_outputs == original
    if not original:
        model.lm_head.weight = torch.nn.Parameter(torch.randn(words, width) * 0.5)
    with torch.no_grad():  # the rest is as transformers starts a T5
        for name, value in model.named_parameters():
            if "norm" in name:
                value.uniform_(0.5, 1.5)
    return model.requires_grad_(False)


def write_t5(folder, model, tokenizer):
    """As published: no copies of the embeddings, and the head's kind told by tie_word_embeddings."""
    tokenizer.save_pretrained(folder)
    tied = model.config.scale_decoder_outputs
    copies = ("embed_tokens", "lm_head") if tied else ("embed_tokens",)
    save_file({name: value.clone() for name, value in model.state_dict().items() if not any(c in name for c in copies)},
              folder / "model.safetensors")
    config = model.config.to_dict() | {"tie_word_embeddings": tied}
    del config["scale_decoder_outputs"], config["dense_act_fn"], config["is_gated_act"]
    (folder / "config.json").write_text(json.dumps(config))


def assemble(program, folder, texts, original=False, words=None, **sizes):
    """Writes `folder` with `blip2 convert`; transformers' model of the T5 in it and its tokenizer."""
    folder = pathlib.Path(folder)
    tokenizer = tokenizer_of(texts, words or 0)
    model = random_t5(words or len(tokenizer), original, **sizes)
    t5 = folder.parent / f"{folder.name}_t5"
    write_t5(t5, model, tokenizer)
    parts = folder.parent / f"{folder.name}.toml"
    parts.write_text(PARTS.format(models=MODELS, t5=t5))
    done = subprocess.run([program, "convert", parts, folder, "--weights", "f32"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return model, tokenizer
