"""T5 and FlanT5 against transformers, live."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from transformers import T5Config, T5ForConditionalGeneration

pytestmark = pytest.mark.usefixtures("one_thread")


SHAPES = [
    {},
    dict(d_kv=5, num_heads=3, vocab_size=61),
    dict(num_layers=1, num_decoder_layers=4, relative_attention_num_buckets=8, relative_attention_max_distance=20),
    dict(d_model=40, d_kv=16, num_heads=2, d_ff=50),
    dict(feed_forward_proj="relu", tie_word_embeddings=True),
    dict(dense_act_fn="gelu"),  # as BLIP-2's FlanT5
]


def tiny_model(folder, seed, **changes):
    """A random T5 saved as a Hugging Face directory; v1.1 has a head of its own."""
    torch.manual_seed(seed)
    sizes = dict(
        vocab_size=70, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_decoder_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
        eos_token_id=1, pad_token_id=0, dropout_rate=0.0,
    )
    sizes |= SHAPES[seed % len(SHAPES)] | changes
    config = T5Config(**sizes)
    model = T5ForConditionalGeneration(config).eval()
    if not sizes["tie_word_embeddings"]:
        model.lm_head.weight = torch.nn.Parameter(torch.empty(config.vocab_size, config.d_model))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "norm" in name:
                value.uniform_(0.5, 1.5)
            elif "relative" in name:
                value.normal_(0, 1.0)
            elif name in ("shared.weight", "lm_head.weight"):
                value.normal_(0, 0.7)
            else:
                value.normal_(0, 0.25)
    write_model(folder, model)
    return model


def write_model(folder, model):
    folder.mkdir(exist_ok=True)
    state = {k: v.clone() for k, v in model.state_dict().items() if "embed_tokens" not in k}
    if model.lm_head.weight is model.shared.weight:
        del state["lm_head.weight"]
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config.to_dict()))


def relative(ours, theirs):
    return ((ours.float() - theirs).abs().max() / theirs.abs().max()).item()


def offsets_of(lengths):
    return torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()])


def run_forward(probe, tmp_path, model, dtype, lengths, answers):
    """(ours, theirs) of one teacher-forced batch: theirs row by row, so that nothing is padded."""
    config = model.config
    embeds = [torch.randn(n, config.d_model) for n in lengths]
    targets = [torch.randint(config.vocab_size, (m,)) for m in answers]
    start = torch.tensor([config.decoder_start_token_id])
    inputs = [torch.cat([start, t[:-1]]) for t in targets]
    weights = torch.rand(sum(answers))
    save_file(
        {
            "embeds": torch.cat(embeds), "offsets": offsets_of(lengths), "weights": weights,
            "targets": torch.cat(targets), "target_offsets": offsets_of(answers), "inputs": torch.cat(inputs),
        },
        tmp_path / "in.safetensors",
    )
    probe("t5", "forward", tmp_path / "model", dtype, tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    states, logits, losses = [], [], []
    for row, target, given in zip(embeds, targets, inputs):
        row.requires_grad_()
        out = model(inputs_embeds=row[None].to(model.dtype), decoder_input_ids=given[None])
        states.append(out.encoder_last_hidden_state[0])
        logits.append(out.logits[0])
        losses.append(torch.nn.functional.cross_entropy(out.logits[0], target, reduction="none"))
    (torch.cat(losses) * weights).sum().backward()
    theirs = {
        "states": torch.cat(states), "logits": torch.cat(logits), "losses": torch.cat(losses),
        "dembeds": torch.cat([row.grad for row in embeds]),
    }
    return load_file(tmp_path / "out.safetensors"), theirs


@pytest.mark.parametrize("seed", range(len(SHAPES)))
def test_states_logits_losses_and_gradient(probe, tmp_path, seed, instructions):
    model = tiny_model(tmp_path / "model", seed)
    ours, theirs = run_forward(probe, tmp_path, model, "f32", [7, 40, 1], [3, 9, 30])
    for name in theirs:
        assert relative(ours[name], theirs[name]) < 1e-4, name


@pytest.mark.parametrize("seed", [0, 4])
def test_embeddings_under_another_name(probe, tmp_path, seed):
    """safetensors keeps one name of tensors that share memory: the decoder's, of an own head none."""
    model = tiny_model(tmp_path / "model", seed)
    tied = model.config.scale_decoder_outputs  # what tells the two kinds apart in transformers 5
    save_model(model, tmp_path / "model" / "model.safetensors")
    state = load_file(tmp_path / "model" / "model.safetensors")
    assert "shared.weight" not in state and "decoder.embed_tokens.weight" in state
    assert ("lm_head.weight" in state) != tied
    torch.manual_seed(5)
    ours, theirs = run_forward(probe, tmp_path, model, "f32", [7, 40], [3, 9])
    assert relative(ours["logits"], theirs["logits"]) < 1e-4
    if tied:  # by the head's name alone
        state["lm_head.weight"] = state.pop("decoder.embed_tokens.weight")
        save_file(state, tmp_path / "model" / "model.safetensors")
        torch.manual_seed(5)
        again, _ = run_forward(probe, tmp_path, model, "f32", [7, 40], [3, 9])
        assert torch.equal(again["logits"], ours["logits"])


@pytest.mark.parametrize("seed", [0, 1])
def test_bf16_is_as_close_as_transformers_is(probe, tmp_path, seed):
    """Distances from transformers in f32: of ours in bf16, and of transformers' own in bf16."""
    model = tiny_model(tmp_path / "model", seed)
    lengths, answers = [7, 20], [3, 9]
    torch.manual_seed(99)
    ours, exact = run_forward(probe, tmp_path, model, "bf16", lengths, answers)
    torch.manual_seed(99)
    _, theirs = run_forward(probe, tmp_path, model.bfloat16(), "bf16", lengths, answers)
    for name in ("states", "logits", "losses", "dembeds"):
        error, reference = ((x[name].float() - exact[name]).norm() for x in (ours, theirs))
        assert error < 1.2 * reference, name


def cases_for(config, seed):
    rng = torch.Generator().manual_seed(seed)
    lengths = [5, 33, 2, 12]
    return [torch.randint(2, config.vocab_size, (n,), generator=rng).tolist() for n in lengths]


def theirs_of(model, prompt, **options):
    # transformers' cache has as many layers as the encoder.
    cached = model.config.num_layers == model.config.num_decoder_layers
    with torch.no_grad():
        return model.generate(
            inputs_embeds=model.shared(torch.tensor([prompt])), return_dict_in_generate=True,
            output_scores=True, do_sample=False, use_cache=cached, **options,
        )


def answer(sequence, eos):
    tokens = sequence.tolist()[1:]
    return tokens[: tokens.index(eos) + 1] if eos in tokens else tokens


@pytest.mark.parametrize("seed", range(5))
def test_greedy_and_beams(probe, tmp_path, seed):
    """Four prompts at once, against transformers one by one."""
    model = tiny_model(tmp_path / "model", seed)
    prompts = cases_for(model.config, seed)
    options = [
        ({"max_new_tokens": 32}, {"max_new_tokens": 32}),
        (
            {"max_new_tokens": 32, "beams": 5, "return_sequences": 2, "length_penalty": 0.7},
            {"max_new_tokens": 32, "num_beams": 5, "num_return_sequences": 2, "length_penalty": 0.7},
        ),
    ]
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps([{"prompts": prompts, "options": o, "eos": [1]} for o, _ in options]))
    lines = probe("t5", "generate", tmp_path / "model", "f32", spec).splitlines()
    for line, (_, reference) in zip(lines, options):
        for prompt, ours in zip(prompts, json.loads(line)):
            theirs = theirs_of(model, prompt, **reference)
            assert [o["tokens"] for o in ours] == [answer(s, 1) for s in theirs.sequences]
            if "num_beams" in reference:
                scores = torch.tensor([o["score"] for o in ours])
                assert (scores - theirs.sequences_scores).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_a_row_does_not_depend_on_the_others(probe, tmp_path, monkeypatch, dtype):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    model = tiny_model(tmp_path / "model", 1)
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(cases_for(model.config, 3)))
    assert probe("t5", "rows", tmp_path / "model", dtype, spec) == "same\n"


def test_full_width_cut_of_flan_t5_xl(probe, tmp_path):
    """One encoder and one decoder layer of flan-t5-xl's shape; memory while loading."""
    folder = tmp_path / "model"
    model = tiny_model(
        folder, 0, vocab_size=32128, d_model=2048, d_kv=64, d_ff=5120, num_heads=32, num_layers=1,
        num_decoder_layers=1,
    )
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() == 2 and "relative" not in name and "shared" not in name:
                value.mul_(0.08)
    write_model(folder, model)
    prompts = cases_for(model.config, 0)[:2]
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps([{"prompts": prompts, "options": {"max_new_tokens": 8}, "eos": [1]}]))
    ours = json.loads(probe("t5", "generate", folder, "f32", spec))
    for prompt, got in zip(prompts, ours):
        theirs = theirs_of(model, prompt, max_new_tokens=8)
        assert got[0]["tokens"] == answer(theirs.sequences[0], 1)
    tiny_model(tmp_path / "tiny", 0)
    base = int(probe("t5", "load", tmp_path / "tiny", "f32"))
    size = (folder / "model.safetensors").stat().st_size
    assert int(probe("t5", "load", folder, "f32")) - base < 1.15 * size


def test_f16_is_refused(build, tmp_path):
    import subprocess

    tiny_model(tmp_path / "model", 0)
    done = subprocess.run(
        [str(build / "probe" / "t5"), "load", str(tmp_path / "model"), "f16"], capture_output=True, text=True
    )
    assert done.returncode == 1 and "overflow" in done.stderr and "bf16" in done.stderr
