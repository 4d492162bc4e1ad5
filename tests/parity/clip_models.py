"""A small CLIP with random weights and a real CLIP vocabulary, as transformers saves it, and its vectors."""

import json
import math
import os

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import transformers as hf
from text_strings import SENTENCES
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

SPECIAL = ["<|startoftext|>", "<|endoftext|>"]
PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def merges():
    """Merges learnt from a few sentences, with the word's end on the last byte as CLIP has it."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERN), "removed", True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trainer = trainers.BpeTrainer(vocab_size=1500, end_of_word_suffix="</w>", show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(SENTENCES + ["a photo depicts a red circle", "a photo depicts a blue square"] * 3,
                                  trainer)
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def vocabulary(pairs, left_out=""):
    """openai/CLIP's order: bytes, bytes that end a word, merges, special tokens."""
    alphabet = [c for c in sorted(pre_tokenizers.ByteLevel.alphabet()) if c not in left_out]
    tokens = alphabet + [c + "</w>" for c in alphabet] + [a + b for a, b in pairs] + SPECIAL
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def write_tokenizer(folder):
    pairs = merges()
    hf.CLIPTokenizer(vocab=vocabulary(pairs), merges=pairs).save_pretrained(folder)
    return len(vocabulary(pairs))


def shake(model):
    """Random values everywhere, so that no term is hidden by a zero or a one."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if value.dim() > 1 and "embedding" not in name:
                value.copy_(noise / math.sqrt(value[0].numel()))
            elif value.dim() > 0:
                value.add_(0.3 * noise)
    return model.eval()


def write_clip(folder, positions=24, eos=None, act="quick_gelu", dtype=None, **more):
    """Saves a CLIP in `folder`; the model in f32 with the saved weights, and its processor."""
    size = write_tokenizer(folder)
    text = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, vocab_size=size,
                max_position_embeddings=positions, hidden_act=act, eos_token_id=size - 1 if eos is None else eos)
    vision = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, image_size=28,
                  patch_size=14, hidden_act=act)
    torch.manual_seed(0)
    model = shake(hf.CLIPModel(hf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16, **more)))
    model.to(dtype or torch.float32).save_pretrained(folder)
    processor = hf.CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor.save_pretrained(folder)
    return model.float(), processor, hf.AutoTokenizer.from_pretrained(folder)


def vectors_of_texts(model, tokenizer, texts):
    """Unit vectors, a text at a time, each cut to the model's positions as CLIP cuts it."""
    most, rows = model.config.text_config.max_position_embeddings, []
    with torch.no_grad():
        for text in texts:
            inputs = tokenizer(text, truncation=True, max_length=most, return_tensors="pt", split_special_tokens=True)
            rows.append(model.get_text_features(**inputs).pooler_output[0])
    return torch.nn.functional.normalize(torch.stack(rows), dim=1)


def vectors_of_images(model, processor, images):
    with torch.no_grad():
        pixels = processor(images=list(images), return_tensors="pt")["pixel_values"]
        return torch.nn.functional.normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=1)


def published_scores(images, candidates, references):
    """CLIPScore and RefCLIPScore of unit vectors as jmhessel/clipscore computes them, negative cosines as the paper
    has them; `references` is a list of vectors for each candidate."""
    per = 2.5 * (images * candidates).sum(1).clamp(min=0)
    text = torch.stack([(rows @ candidate).max().clamp(min=0) for candidate, rows in zip(candidates, references)])
    both = 2 * per * text / (per + text)
    return per, torch.where(per + text > 0, both, torch.zeros_like(per))
