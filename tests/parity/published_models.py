"""Tiny random models of transformers' BLIP-2 classes with their processors, saved as directories."""

import contextlib
import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"
import gguf
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, processors, trainers
from tokenizers import pre_tokenizers as PT
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.tokenization_utils_base import generate_merges

transformers.logging.set_verbosity_error()

TEXTS = ["a photo of a cat and a dog", "Question: what is this? Short answer:", "a red circle"] * 4
QUERIES, SIZE, PATCH = 4, 28, 14


@contextlib.contextmanager
def threads(count):
    """PyTorch's threads: for tiny models more than one only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


def byte_level_tokenizer():
    """OPT's and GPT-2's kind; </s> before a text as OPT has it."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = PT.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = PT.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=["<s>", "<pad>", "</s>"], initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    backend.post_processor = processors.TemplateProcessing("</s> $A", special_tokens=[("</s>", 2)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="</s>", eos_token="</s>", pad_token="<pad>")


def llama_tokenizer():
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = PT.Metaspace()
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=specials, show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    vocab = backend.get_vocab()
    return transformers.LlamaTokenizer(
        vocab=vocab, merges=generate_merges(vocab), add_bos_token=True, pad_token="<unk>")


def t5_tokenizer():
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = PT.Sequence([PT.WhitespaceSplit(), PT.Metaspace()])
    trainer = trainers.UnigramTrainer(
        vocab_size=80, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    vocab = json.loads(backend.to_str())["model"]["vocab"]
    pieces = [(piece, gguf.np.float32(score).item()) for piece, score in vocab]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0)


def word_tokenizer():
    """BERT's kind, for the Q-Former."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += sorted({w for text in TEXTS for w in text.lower().replace("?", " ?").replace(":", " :").split()})
    words += [*"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]
    return transformers.BertTokenizer(vocab={word: i for i, word in enumerate(dict.fromkeys(words))})


def vision_config(kind, **changes):
    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                 image_size=SIZE, patch_size=PATCH)
    return kind(**(sizes | changes))


def qformer_sizes(vocabulary):
    return dict(vocab_size=vocabulary, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
                intermediate_size=40, max_position_embeddings=48)


# Windows that the soft prompts and a prompt are longer than.
NEWER = {
    "mistral": ("MistralConfig", dict(sliding_window=6)),
    "smollm3": ("SmolLM3Config", dict(use_sliding_window=True, sliding_window=6)),
    "gemma3_text": ("Gemma3TextConfig", dict(head_dim=12, sliding_window=6, sliding_window_pattern=3)),
    "phi3": ("Phi3Config", dict(sliding_window=9, rope_parameters=dict(
        rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.5, short_factor=[1.0, 1.3],
        long_factor=[1.5, 4.0]), original_max_position_embeddings=64, max_position_embeddings=256)),
    "olmo2": ("Olmo2Config", {}),
    "ministral3": ("Ministral3Config", dict(head_dim=12, rope_parameters=dict(
        rope_type="yarn", rope_theta=10000.0, factor=16.0, original_max_position_embeddings=8,
        llama_4_scaling_beta=0.1, mscale=1.0, mscale_all_dim=1.0))),
}


def text_config(family, vocabulary):
    """eos is a token of its own wherever the family lets it be."""
    shape = dict(vocab_size=vocabulary, bos_token_id=2, eos_token_id=5, pad_token_id=1)
    if family == "opt":
        return transformers.OPTConfig(hidden_size=32, word_embed_proj_dim=32, num_hidden_layers=2, ffn_dim=48,
                                      num_attention_heads=4, max_position_embeddings=96, **shape)
    if family == "gpt2":
        return transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=96, **shape)
    if family == "llama":
        return transformers.LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                                        num_attention_heads=4, num_key_value_heads=2, **(shape | dict(bos_token_id=1)))
    if family == "qwen3":
        return transformers.Qwen3Config(hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                                        num_attention_heads=4, num_key_value_heads=2, head_dim=12, **shape)
    if family in NEWER:
        name, changes = NEWER[family]
        return getattr(transformers, name)(hidden_size=32, intermediate_size=48, num_hidden_layers=4,
                                           num_attention_heads=4, num_key_value_heads=2, **(shape | changes))
    return transformers.T5Config(
        d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu",
        tie_word_embeddings=False, decoder_start_token_id=0, **(shape | dict(bos_token_id=1, pad_token_id=0)))


def randomise(model, seed):
    """Weights that make every part count, and answers of some length."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "norm" in name.lower() or ".ln_" in name:
                value.uniform_(0.6, 1.4)
                if value.dim() == 1 and name.endswith("weight"):  # else a tied head repeats its input
                    value *= torch.randint(0, 2, value.shape) * 2.0 - 1
            elif name.endswith(("embed_tokens.weight", "shared.weight", "wte.weight", "lm_head.weight")):
                value.normal_(0, 0.9)
            elif any(part in name for part in ("relative", "query_tokens", "embedding", "positions", "wpe")):
                value.normal_(0, 0.8)
            else:
                # T5 does not divide by the root of d_kv: its queries do, else rounding decides.
                value.normal_(0, 0.4 * (8**-0.5 if name.endswith("Attention.q.weight") else 1))
        head = getattr(model, "language_model", None)
        if head is not None:
            head.get_output_embeddings().weight[5] *= 1.3
    return model.eval()


def untie(t5):
    """A head of its own, as v1.1 and FlanT5 have it, which transformers 5 gives a T5 only when loading it."""
    t5.lm_head.weight = torch.nn.Parameter(torch.empty_like(t5.shared.weight))
    return t5


def round_up(count, step=8):
    return (count + step - 1) // step * step


class Speaker:
    """A model that answers, and its processor."""

    def __init__(self, model, processor, queries=QUERIES):
        self.model, self.processor, self.queries = model, processor, queries
        self.family = model.config.text_config.model_type
        self.instructs = isinstance(model, transformers.InstructBlipForConditionalGeneration)
        self.end = model.config.text_config.eos_token_id

    def inputs(self, picture, prompt):
        """What transformers' own example code passes to generate; no text key for no prompt."""
        if not prompt and not self.instructs:
            return self.processor(images=picture, return_tensors="pt")
        return self.processor(images=picture, text=prompt, return_tensors="pt")

    def generate(self, picture, prompt, model=None, **options):
        """(first logits, [(tokens, score)]) of transformers, new tokens only, the end included.

        `model`: the same weights in another precision.
        """
        inputs = self.inputs(picture, prompt)
        out = (model or self.model).generate(
            **inputs, return_dict_in_generate=True, output_logits=True, output_scores=True, do_sample=False, **options)
        beams = options.get("num_beams", 1)
        answers = []
        for i, row in enumerate(out.sequences.tolist()):
            if self.family == "t5":
                row = row[1:]
            elif "input_ids" in inputs:
                row = row[inputs["input_ids"].shape[1]:]
            else:
                row = row[self.queries + 1:]
            row = row[: row.index(self.end) + 1] if self.end in row else row
            answers.append((row, out.sequences_scores[i].item() if beams > 1 else None))
        return out.logits[0][0], answers


def load_strictly(kind, folder, **options):
    """transformers' model of a directory that has every tensor of its class and no other."""
    model, info = kind.from_pretrained(folder, output_loading_info=True, **options)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
    return model.eval()


def load_speaker(folder, queries=QUERIES, **options):
    """What transformers makes of a directory alone, by the class that it names."""
    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    processor = transformers.InstructBlipProcessor if name.startswith("Instruct") else transformers.Blip2Processor
    return Speaker(load_strictly(getattr(transformers, name), folder, **options), processor.from_pretrained(folder),
                   queries)


class Published(Speaker):
    """A model and its processor, and the folder that both were saved in."""

    def __init__(self, folder, family, instructs=False, seed=0, dense=None, dtype=None, shard=None):
        folder.mkdir(parents=True)
        tokenizer = {"t5": t5_tokenizer, "llama": llama_tokenizer}.get(family, byte_level_tokenizer)()
        words = word_tokenizer()
        images = BlipImageProcessorPil(size={"height": SIZE, "width": SIZE})
        t = transformers
        if instructs:
            processor = t.InstructBlipProcessor(images, tokenizer, words, num_query_tokens=QUERIES)
        else:
            processor = t.Blip2Processor(images, tokenizer, num_query_tokens=QUERIES)
        image_token = tokenizer.convert_tokens_to_ids("<image>")
        text = text_config(family, round_up(len(tokenizer)))
        if dense:
            text.dense_act_fn = dense
        kinds = (t.InstructBlipConfig, t.InstructBlipVisionConfig, t.InstructBlipQFormerConfig,
                 t.InstructBlipForConditionalGeneration) if instructs else (
                     t.Blip2Config, t.Blip2VisionConfig, t.Blip2QFormerConfig, t.Blip2ForConditionalGeneration)
        config = kinds[0](
            vision_config=vision_config(kinds[1]), qformer_config=kinds[2](**qformer_sizes(round_up(len(words)))),
            text_config=text, num_query_tokens=QUERIES, image_token_index=image_token)
        model = kinds[3](config)
        if family == "t5":
            untie(model.language_model)
        randomise(model, seed)
        super().__init__(model.to(dtype) if dtype else model, processor)
        self.folder = folder
        self.model.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
        self.processor.save_pretrained(folder)
