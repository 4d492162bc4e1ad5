"""Adapters trained beside the frozen language model: the run, its files, what reads them, and bad ones."""

import json
import pathlib
import shutil

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = ("adapter_config.json", "adapter_model.safetensors")
ADAPTERS = ["language.lora_rank=4", "language.lora_alpha=8", 'language.lora_targets="all-linear"', "optimizer.lr=0.01",
            "precision=f32"]


@pytest.fixture(scope="module")
def tuned(train, pictures, stage1, tmp_path_factory):
    """A run of six steps with dropout, from a stage-1 model."""
    folder = tmp_path_factory.mktemp("lora") / "run"
    data = f'data.train=["{pictures}/my.jsonl", "{pictures}/vqa.jsonl"]'
    train(2, folder, f"init={stage1}", data, "steps=6", "checkpoint.every=2", "checkpoint.keep=9",
          "language.lora_dropout=0.2", *ADAPTERS)
    return folder


def losses(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").open()]
    return [line["loss"] for line in lines if "loss" in line]


def captions(run_json, model, pictures, *options):
    images = sorted(pictures.glob("red_*.png"))[:4]
    return run_json("caption", "--model", model, "--max-new-tokens", 12, "--min-new-tokens", 12, "--beams", 1,
                    *options, *images)


def test_the_run_leaves_adapters_beside_the_bridge(tuned, stage1):
    adapters = load_file(tuned / FILES[1])
    assert len(adapters) == 2 * 2 * 7
    assert all(value.abs().max() > 0 for value in adapters.values())
    frozen = "model-language.safetensors"
    assert (tuned / frozen).stat().st_ino == (stage1 / frozen).stat().st_ino
    config = json.loads((tuned / FILES[0]).read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (4, 8, 0.2)
    state = load_file(tuned / "checkpoints" / "step_00000006" / "optimizer.safetensors")
    name = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"
    assert state[f"exp_avg_sq.{name}"].shape == adapters[name].shape
    assert not any((tuned / "stage1" / name).exists() for name in FILES)


def test_resumed_is_as_never_stopped(tuned, train, pictures, stage1, tmp_path):
    cut = tmp_path / "run"
    shutil.copytree(tuned, cut)
    shutil.rmtree(cut / "checkpoints" / "step_00000006")
    for name in (*FILES, "model-bridge.safetensors"):
        (cut / name).unlink()
    data = f'data.train=["{pictures}/my.jsonl", "{pictures}/vqa.jsonl"]'
    train(2, cut, f"init={stage1}", data, "steps=6", "checkpoint.every=2", "checkpoint.keep=9",
          "language.lora_dropout=0.2", *ADAPTERS, resume=True)
    for name in (*FILES, "model-bridge.safetensors"):
        assert (cut / name).read_bytes() == (tuned / name).read_bytes()
    assert losses(cut) == losses(tuned)


def test_dropout_and_adapters_change_the_losses(tuned, train, pictures, stage1, tmp_path):
    """The first step's loss is the frozen model's: an untrained adapter adds nothing, dropout or not."""
    data = f'data.train=["{pictures}/my.jsonl", "{pictures}/vqa.jsonl"]'
    common = [f"init={stage1}", data, "steps=3", "optimizer.lr=0.01", "precision=f32"]
    train(2, tmp_path / "without", *common)
    train(2, tmp_path / "with", *common, *ADAPTERS)
    plain, adapted, dropped = losses(tmp_path / "without"), losses(tmp_path / "with"), losses(tuned)
    assert plain[0] == adapted[0] == dropped[0]
    assert plain[2] != adapted[2] != dropped[2]
    assert not (tmp_path / "without" / FILES[0]).exists()


def language_of(folder):
    config = LlamaConfig(**json.loads((folder / "config.json").read_text())["text_config"])
    model = LlamaForCausalLM(config).float().eval()
    state = {name.removeprefix("language_model."): value.float()
             for name, value in load_file(folder / "model-language.safetensors").items()}
    assert set(model.load_state_dict(state, strict=False).missing_keys) <= {"lm_head.weight"}
    model.tie_weights()
    return model


def test_peft_loads_and_merges_them(run, run_json, tuned, pictures, tmp_path):
    """Its merged weights are those of --merge-lora, which answers as the adapters beside do."""
    run("convert", tuned, tmp_path / "merged", "--merge-lora", "--weights", "f32", "--own-layout")
    assert not any((tmp_path / "merged" / name).exists() for name in FILES)
    theirs = peft.PeftModel.from_pretrained(language_of(tuned), tuned).merge_and_unload().state_dict()
    ours = load_file(tmp_path / "merged" / "model-language.safetensors")
    plain = load_file(tuned / "model-language.safetensors")
    changed = 0
    for name, value in ours.items():
        assert torch.allclose(value, theirs[name.removeprefix("language_model.")], rtol=1e-6, atol=1e-6), name
        changed += not torch.equal(value, plain[name].float())
    assert changed == 2 * 7
    beside = captions(run_json, tuned, pictures, "--precision", "f32")
    merged = captions(run_json, tmp_path / "merged", pictures)
    for one, other in zip(beside, merged, strict=True):
        assert one["tokens"] == other["tokens"] and one["score"] == pytest.approx(other["score"], rel=1e-4)


def test_other_weights_keep_or_merge_them(run, run_json, tuned, pictures, tmp_path):
    for folder, *options in (("bf16", "--weights", "bf16"), ("q8", "--weights", "q8_0"), ("same",)):
        run("convert", tuned, tmp_path / folder, "--own-layout", *options)
        for name in FILES:
            assert (tmp_path / folder / name).read_bytes() == (tuned / name).read_bytes()
        run("convert", tuned, tmp_path / f"{folder}_merged", "--own-layout", "--merge-lora", *options)
        assert not (tmp_path / f"{folder}_merged" / FILES[1]).exists()
        one, other = (captions(run_json, tmp_path / name, pictures) for name in (folder, f"{folder}_merged"))
        for beside, merged in zip(one, other, strict=True):
            assert merged["score"] == pytest.approx(beside["score"], rel=0.05)
    said = run("convert", tmp_path / "q8", tmp_path / "no", "--own-layout", "--merge-lora", code=1).stderr
    assert "model-language.gguf: adapters are not merged into a GGUF file's blocks" in said
    run("convert", tmp_path / "q8", tmp_path / "wide", "--own-layout", "--merge-lora", "--weights", "f32")
    wide = captions(run_json, tmp_path / "wide", pictures)
    assert [c["tokens"] for c in wide] == [c["tokens"] for c in captions(run_json, tmp_path / "q8", pictures,
                                                                        "--precision", "f32")]
    said = run("convert", tmp_path / "wide", tmp_path / "no", "--merge-lora", "--own-layout", code=1).stderr
    assert "the model has no adapters to merge" in said


def test_every_verb_reads_them(run_json, tuned, pictures, tmp_path):
    """Their answers are those of the adapters, not of the frozen model alone."""
    shutil.copytree(tuned, tmp_path / "frozen", ignore=shutil.ignore_patterns("checkpoints", *FILES))
    image = pictures / "red_circle_4.png"
    for verb, *words in (("caption",), ("vqa", "--question", "what color is it?")):
        one, other = (run_json(verb, "--model", model, *words, "--beams", 1, "--max-new-tokens", 9, "--min-new-tokens", 9,
                               image)[0] for model in (tuned, tmp_path / "frozen"))
        assert one["score"] != other["score"]
    one, other = (run_json("eval", "--model", model, "--task", "vqa", "--data", pictures / "vqa.jsonl", "--results",
                           tmp_path / f"{name}.jsonl")[0]
                  for name, model in (("one", tuned), ("other", tmp_path / "frozen")))
    assert one["questions"] == other["questions"]
    assert (tmp_path / "one.jsonl").read_text() != (tmp_path / "other.jsonl").read_text()


def test_training_goes_on_from_them(run, train, tuned, pictures, tmp_path):
    common = [f"init={tuned}", f"data.train={pictures / 'vqa.jsonl'}", "steps=1", "optimizer.lr=0", "schedule.min_lr=0"]
    train(2, tmp_path / "on", *common, *[s for s in ADAPTERS if "lr=" not in s])
    one, other = load_file(tmp_path / "on" / FILES[1]), load_file(tuned / FILES[1])
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    train(2, tmp_path / "kept", *common, "precision=f32")
    assert (tmp_path / "kept" / FILES[1]).stat().st_ino == (tuned / FILES[1]).stat().st_ino
    assert losses(tmp_path / "kept") == losses(tmp_path / "on")
    for change, key in (("language.lora_rank=8", "language.lora_rank: expected 4"),
                        ("language.lora_alpha=9", "language.lora_alpha: expected 8"),
                        ("language.lora_targets=q_proj", "language.lora_targets: expected 14 matrices")):
        said = train(2, tmp_path / "no", *common, *[s for s in ADAPTERS if "lr=" not in s], change, code=1).stderr
        assert f"tiny_stage2.toml: {key}" in said and not (tmp_path / "no").exists()


def test_through_a_quantised_language_model(run, run_json, train, pictures, stage1, tmp_path):
    """Its frozen blocks under trained adapters: the steps are those through the same numbers widened."""
    run("convert", stage1, tmp_path / "small", "--weights", "q8_0")
    common = [f"init={tmp_path / 'small'}", f"data.train={pictures / 'my.jsonl'}", "steps=3", *ADAPTERS]
    train(2, tmp_path / "blocks", *common, "language_weights=stored")
    train(2, tmp_path / "widened", *common)
    assert losses(tmp_path / "blocks") == pytest.approx(losses(tmp_path / "widened"), rel=1e-4)
    blocks, widened = (captions(run_json, tmp_path / "blocks", pictures, "--precision", precision)
                       for precision in ("auto", "f32"))
    for one, other in zip(blocks, widened, strict=True):
        assert one["score"] == pytest.approx(other["score"], rel=0.05)


def test_t5(run_json, train, pictures, t5_init, tmp_path):
    common = [f"init={t5_init}", f"data.train={pictures / 'my.jsonl'}", "steps=3", "optimizer.lr=0.01",
              "objectives.prefix_lm=1", "language.lora_rank=2", "language.lora_targets=[\"q\", \"wo\"]"]
    train(2, tmp_path / "t5", *common)
    adapters = load_file(tmp_path / "t5" / FILES[1])
    assert "base_model.model.decoder.block.1.layer.2.DenseReluDense.wo.lora_B.weight" in adapters
    assert all(value.abs().max() > 0 for value in adapters.values())
    assert json.loads((tmp_path / "t5" / FILES[0]).read_text())["task_type"] == "SEQ_2_SEQ_LM"
    assert len(captions(run_json, tmp_path / "t5", pictures)) == 4


def test_plan_counts_them(run_json, tuned, pictures, stage1):
    def plan(*settings):
        flags = [word for s in (f"init={stage1}", f"data.train={pictures / 'my.jsonl'}", "batch_size=8", "precision=f32",
                                *settings) for word in ("--set", s)]
        return run_json("train", ROOT / "recipes" / "tiny_stage2.toml", "--plan", *flags)[0]

    adapters = {name: value.numel() for name, value in load_file(tuned / FILES[1]).items()}
    whole = plan("language.lora_rank=4", "language.lora_targets=all-linear")
    part = whole["parameters"]["parts"]["language model's adapters"]
    assert part == {"trained": sum(adapters.values()), "frozen": 0}
    # Queries and values are computed of every token that is read.
    few, none = plan("language.lora_rank=4"), plan()
    count = sum(n for name, n in adapters.items() if "q_proj" in name or "v_proj" in name)
    assert few["parameters"]["trained"] - none["parameters"]["trained"] == count
    extra = {way: few["step"]["parts"]["language model"][way] - none["step"]["parts"]["language model"][way]
             for way in ("forward", "backward")}
    assert extra["forward"] == pytest.approx(2 * count * none["step"]["language_tokens"])
    assert extra["backward"] == pytest.approx(2 * extra["forward"])
    assert few["memory"]["parts"]["optimiser state"] - none["memory"]["parts"]["optimiser state"] == 8 * count
    assert few["disk"]["parts"]["model"] - none["disk"]["parts"]["model"] == 4 * count
    assert few["memory"]["peak"] > none["memory"]["peak"] < whole["memory"]["peak"]


@pytest.fixture
def broken(tuned, pictures, run, tmp_path):
    """broken(change): what is said when the files of the model have been changed."""
    shutil.copytree(tuned, tmp_path / "model", ignore=shutil.ignore_patterns("checkpoints"))

    def call(change):
        for name in FILES:
            (tmp_path / "model" / name).unlink(missing_ok=True)
            shutil.copy(tuned / name, tmp_path / "model" / name)
        change(tmp_path / "model")
        said = run("caption", "--model", tmp_path / "model", pictures / "red_circle_4.png", code=1).stderr
        assert "Traceback" not in said and "terminate" not in said
        return said

    return call


def change_tensors(change):
    def apply(folder):
        tensors = load_file(folder / FILES[1])
        change(tensors)
        save_file(tensors, folder / FILES[1])

    return apply


def change_config(**members):
    def apply(folder):
        path = folder / FILES[0]
        path.write_text(json.dumps(json.loads(path.read_text()) | members))

    return apply


def test_bad_adapters_are_named(broken):
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    said = broken(change_tensors(lambda t: t.update({name: torch.ones(4, 47)})))
    assert f"{FILES[1]}" in said and f"{name}: expected shape [4, 48], got [4, 47]" in said
    said = broken(change_tensors(lambda t: t.pop(name)))
    assert f"{name}: missing, expected shape [4, 48]" in said
    said = broken(change_tensors(lambda t: t.update({"base_model.model.lm_head.lora_A.weight": torch.ones(4, 48)})))
    assert "lm_head.lora_A.weight: not a tensor of this model" in said
    said = broken(change_config(target_modules=["c_attn"]))
    assert f"{FILES[0]}: target_modules: 'c_attn' names no matrix" in said and "q_proj" in said
    said = broken(change_config(r=8))
    assert "expected shape [8, 48], got [4, 48]" in said
    for key, value in (("use_dora", True), ("modules_to_save", ["lm_head"]), ("task_type", "SEQ_CLS"),
                       ("peft_type", "LOHA"), ("bias", "lora_only"), ("alpha_pattern", {"q_proj": 3}),
                       ("target_parameters", ["x"])):
        said = broken(change_config(**{key: value}))
        assert f"{FILES[0]}: {key}: expected" in said and f"got {json.dumps(value, separators=(',', ':'))}" in said
    for index in (0, 1):
        said = broken(lambda folder: (folder / FILES[index]).unlink())
        assert f"{FILES[index]}: is missing" in said
    said = broken(change_config(lora_alpha=None))
    assert f"{FILES[0]}: lora_alpha: expected a number, got null" in said
    for number in (float("nan"), float("inf")):
        said = broken(change_tensors(lambda t: t[name].view(-1)[5:6].fill_(number)))
        assert f"{FILES[1]}: {name}: expected finite numbers, got NaN or infinity" in said
    assert FILES[0] in broken(lambda folder: (folder / FILES[0]).write_text("{"))
    assert FILES[1] in broken(lambda folder: (folder / FILES[1]).write_bytes(b"\x08" + bytes(30)))


def test_bad_recipes_are_named(train, tmp_path):
    for settings, expected in (
            (["language.lora_rank=4", "language.lora_targets=c_attn"], "language.lora_targets: 'c_attn' names no matrix"),
            (["language.lora_rank=-1"], "language.lora_rank: expected a number in [0, 4096]"),
            (["language.lora_alpha=4"], "language.lora_rank: expected a number above 0 with other keys of language"),
            (["language.lora_rank=4", "language.lora_dropout=1"], "language.lora_dropout: expected"),
            (["language.lora_ranks=4"], "unknown key 'lora_ranks'")):
        assert expected in train(2, tmp_path / "no", *settings, code=1).stderr
    said = train(1, tmp_path / "no", "language.lora_rank=4", code=1).stderr
    assert "language.lora_rank: expected 0 in stage 1" in said
