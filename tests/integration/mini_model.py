"""Parts of a model as small as can be, with random weights: what tests train in a second."""

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


def write_language_model(folder):
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=["<|endoftext|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator(TEXTS, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(2)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, bos_token_id=0, eos_token_id=0, initializer_range=0.15)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


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
