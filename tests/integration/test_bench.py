"""`bench`: what it says of a model is positive, fits together, and changes with the work asked for."""

import pytest

FAST = ["--pictures", 1, "--prompt-tokens", 12, "--new-tokens", 4, "--repeats", 1]


@pytest.fixture(scope="module")
def figures(run_json, stage2):
    return run_json("bench", "--model", stage2, *FAST)[0]


def test_every_figure_is_positive(figures):
    assert all(value > 0 for key, value in figures.items() if key != "kernels"), figures


def test_shares_are_those_of_the_machine(figures):
    assert figures["prefill_share_of_peak"] == pytest.approx(figures["prefill_flops"] / figures["peak_flops"])
    share = figures["decode_bytes_per_second"] / figures["memory_bytes_per_second"]
    assert figures["decode_share_of_bandwidth"] == pytest.approx(share)


def test_a_step_reads_each_weight_once_whatever_the_rows(run_json, stage2, figures):
    many = run_json("bench", "--model", stage2, *FAST, "--batch-size", 3)[0]
    assert many["step_bytes"] == figures["step_bytes"]
    steps = many["decode_tokens_per_second"] / 3
    assert many["decode_bytes_per_second"] == pytest.approx(steps * many["step_bytes"])


def test_half_precision_halves_what_a_step_reads(run_json, stage2):
    full, half = (run_json("bench", "--model", stage2, *FAST, "--precision", precision)[0]["step_bytes"]
                  for precision in ("f32", "bf16"))
    assert full == 2 * half


def test_plain_output_names_the_parts(run, stage2):
    lines = run("bench", "--model", stage2, *FAST).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["kernels", "load", "memory", "pictures", "prefill", "decode", "beams"]


def test_what_is_no_model_is_refused(run, tmp_path):
    failed = run("bench", "--model", tmp_path, code=1)
    assert f"{tmp_path}/config.json" in failed.stderr and not failed.stdout


def test_texts_beyond_the_models_positions_are_refused(run, stage2):
    failed = run("bench", "--model", stage2, "--prompt-tokens", 1000000, "--repeats", 1, code=1)
    assert "positions of the model" in failed.stderr and not failed.stdout
