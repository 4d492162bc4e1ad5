"""A model directory whose language model is a small random T5, made of the tiny model's other parts."""

import json
import pathlib
import shutil

import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file
from sentencepiece_files import charsmap
from tokenizers import models, trainers
from tokenizers import pre_tokenizers as PT


def tokenizer_of(texts):
    """T5's kind of tokenizer for a few texts."""
    unigram = tokenizers.Tokenizer(models.Unigram())
    unigram.pre_tokenizer = PT.Sequence([PT.WhitespaceSplit(), PT.Metaspace()])
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    unigram.train_from_iterator(texts, trainer)
    vocab = [tuple(piece) for piece in json.loads(unigram.to_str())["model"]["vocab"]]
    vocab += [(f"<extra_id_{i}>", 0.0) for i in range(99, -1, -1)]
    return transformers.T5Tokenizer(vocab=vocab, _spm_precompiled_charsmap=charsmap({"\t": " "}))


def random_t5(words, width=48):
    torch.manual_seed(5)
    config = transformers.T5Config(
        vocab_size=words, d_model=width, d_kv=12, d_ff=64, num_layers=2, num_decoder_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0, eos_token_id=1,
        pad_token_id=0, dropout_rate=0.0,
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    model.lm_head.weight = torch.nn.Parameter(torch.empty(words, width))
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.uniform_(0.5, 1.5) if "norm" in name else value.normal_(0, 0.2)
    return model.requires_grad_(False)


def write_directory(tiny, folder, texts):
    """Writes `folder`; the T5 and its tokenizer."""
    tiny, folder = pathlib.Path(tiny), pathlib.Path(folder)
    tokenizer = tokenizer_of(texts)
    model = random_t5(len(tokenizer))
    shutil.copytree(tiny / "qformer_tokenizer", folder / "qformer_tokenizer")
    for name in ("model-vision.safetensors", "preprocessor_config.json"):
        shutil.copy(tiny / name, folder / name)
    tokenizer.save_pretrained(folder)
    weights = {f"language_model.{name}": value.clone() for name, value in model.state_dict().items()
               if "embed_tokens" not in name}
    save_file(weights, folder / "model-language.safetensors")
    bridge = load_file(tiny / "model-bridge.safetensors")
    width, hidden = model.config.d_model, bridge["language_projection.weight"].shape[1]
    bridge["language_projection.weight"] = torch.randn(width, hidden) * 0.05
    bridge["language_projection.bias"] = torch.zeros(width)
    save_file(bridge, folder / "model-bridge.safetensors")
    config = json.loads((tiny / "config.json").read_text()) | {"text_config": model.config.to_dict()}
    (folder / "config.json").write_text(json.dumps(config))
    files = ("model-vision", "model-language", "model-bridge")
    index = {name: f"{file}.safetensors" for file in files for name in load_file(folder / f"{file}.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return model, tokenizer
