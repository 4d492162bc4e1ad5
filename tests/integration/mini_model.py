"""Parts of a model as small as can be, with random weights: what tests train in a second."""

import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

transformers.logging.set_verbosity_error()
TEXTS = ["a red circle", "a blue square", "a green triangle", "a black circle", "what color is it?", "a photo of"] * 3


def write_text_encoder(folder):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?"]
    words += sorted({word for text in TEXTS for word in text.replace("?", "").split()})
    words += [letter for c in "abcdefghijklmnopqrstuvwxyz" for letter in (c, f"##{c}") if letter not in words]
    transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)}).save_pretrained(folder)
    torch.manual_seed(1)
    shape = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64,
                 max_position_embeddings=64)
    transformers.BertModel(transformers.BertConfig(vocab_size=len(words), **shape)).save_pretrained(folder)


def write_tokenizer(folder):
    """Byte-level BPE with one special token; the number of its ids."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=["<|endoftext|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator(TEXTS, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def write_language_model(folder):
    words = write_tokenizer(folder)
    torch.manual_seed(2)
    config = transformers.LlamaConfig(
        vocab_size=words, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, bos_token_id=0, eos_token_id=0, initializer_range=0.15)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


def write_gpt2(folder):
    words = write_tokenizer(folder)
    torch.manual_seed(4)
    config = transformers.GPT2Config(vocab_size=words, n_embd=64, n_layer=2, n_head=4, n_positions=128,
                                     bos_token_id=0, eos_token_id=0, initializer_range=0.15)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)


def write_resnet(folder):
    """A ResNet of three stages for pictures of 64 pixels: 16 positions."""
    torch.manual_seed(5)
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[16, 24, 32], depths=[1, 1, 1])
    model = transformers.ResNetModel(config)
    with torch.no_grad():
        for value in model.parameters():
            if value.dim() > 1:
                value.normal_(0, 2 / value[0].numel() ** 0.5)
    model.save_pretrained(folder)
    processor = {"size": {"height": 64, "width": 64}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def write_mission_parts(folder):
    """A small ResNet and a small GPT-2 as the parts of recipes/masked_stage1.toml; the assembly file."""
    write_text_encoder(folder / "bert")
    write_gpt2(folder / "gpt2")
    write_resnet(folder / "resnet")
    assembly = folder / "model.toml"
    assembly.write_text('image_encoder = "resnet"\nlanguage_model = "gpt2"\ntext_encoder = "bert"\n'
                        "num_query_tokens = 4\ncross_attention_frequency = 2\nimage_text_hidden_size = 16\nseed = 1\n")
    return assembly


def write_image_encoder(folder):
    """A CLIP vision transformer of two blocks for pictures of 28 pixels."""
    torch.manual_seed(3)
    config = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14,
        initializer_range=0.1, initializer_factor=5.0)
    transformers.CLIPVisionModel(config).save_pretrained(folder)


def write_parts(folder, image_encoder):
    """Writes the parts and the assembly file that `blip2 convert` takes; its path."""
    write_text_encoder(folder / "bert")
    write_language_model(folder / "llama")
    assembly = folder / "model.toml"
    assembly.write_text(f'image_encoder = "{image_encoder}"\nlanguage_model = "llama"\ntext_encoder = "bert"\n'
                        "num_query_tokens = 4\ncross_attention_frequency = 2\nimage_text_hidden_size = 16\nseed = 1\n")
    return assembly
