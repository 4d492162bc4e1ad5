"""Products with matrices in GGUF's blocks against PyPI gguf's dequantised numbers, for every instruction set."""

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

KINDS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "MXFP4"]
# Where a block has its scales, in halves.
SCALES = {"Q4_0": [0], "Q4_1": [0, 1], "Q5_0": [0], "Q5_1": [0, 1], "Q8_0": [0], "Q4_K": [0, 1],
          "Q5_K": [0, 1], "Q6_K": [104], "IQ4_NL": [0], "MXFP4": []}


def blocks(name, outs, width, rng):
    """Random bytes with scales of either sign: every code and every scale of a scale is met."""
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    data = rng.integers(0, 256, (outs, width // elements, size), dtype=np.uint8)
    for at in SCALES[name]:
        scales = rng.standard_normal((outs, width // elements, 1)).astype(np.float16) / np.float16(64)
        data[..., 2 * at : 2 * at + 2] = scales.view(np.uint8)
    if name == "MXFP4":  # one exponent
        data[..., 0] = rng.integers(110, 126, data.shape[:-1])
    return data.reshape(outs, -1)


def rounded(x):
    """Rows as the products take them: eight bits and a scale for each 32, in f64."""
    parts = x.reshape(len(x), -1, 32)
    most = np.abs(parts).max(-1, keepdims=True)
    inverse = np.divide(np.float32(127), most, out=np.zeros_like(most), where=most > 0)
    whole = np.rint((parts * inverse).astype(np.float32))
    scale = (most / np.float32(127)).astype(np.float32)
    return (whole.astype(np.float64) * scale).reshape(x.shape)


@pytest.fixture(scope="module")
def products(probe, tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("blocks"), np.random.default_rng(1)
    outs, width, rows = 37, 768, 11
    writer, data = gguf.GGUFWriter(str(folder / "m.gguf"), "llama"), {}
    for name in KINDS:
        data[name] = blocks(name, outs, width, rng)
        writer.add_tensor(name, data[name], raw_dtype=gguf.GGMLQuantizationType[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    x = (rng.standard_normal((rows, width)) * np.exp(rng.uniform(-3, 3, width))).astype(np.float32)
    x[3, :64] = 0
    save_file({"x": torch.from_numpy(x)}, folder / "x.safetensors")
    probe("blocks", folder / "m.gguf", folder / "x.safetensors", folder / "out.safetensors")
    return data, x, load_file(folder / "out.safetensors")


def dequantised(name, data):
    return gguf.quants.dequantize(data[name], gguf.GGMLQuantizationType[name])


@pytest.mark.parametrize("name", KINDS)
def test_products_are_gguf_packages(products, name):
    data, x, ours = products
    weight = dequantised(name, data).astype(np.float64)
    inputs = rounded(x)
    expected, size = inputs @ weight.T, np.abs(inputs) @ np.abs(weight).T
    sets = {key.split(" by ")[1]: value.double().numpy() for key, value in ours.items()
            if key.startswith(f"{name} by ")}
    assert "plain" in sets
    for instructions, y in sets.items():
        assert np.linalg.norm(y - expected) < 1e-6 * np.linalg.norm(expected), instructions
        assert (np.abs(y - expected) <= 1e-6 * size).all(), instructions
        assert (np.abs(y - sets["plain"]) <= 1e-6 * size).all(), instructions
    fused = [y for instructions, y in sets.items() if instructions != "plain"]
    assert all(np.array_equal(y, fused[0]) for y in fused), "a product and its sum are rounded together"


@pytest.mark.parametrize("name", KINDS)
def test_widened_matrices_are_gguf_packages(products, name):
    data, _, ours = products
    expected = torch.from_numpy(dequantised(name, data).copy())
    assert torch.allclose(ours[f"{name} as f32"], expected, rtol=1e-6, atol=1e-7)
    assert torch.allclose(ours[f"{name} as bf16"].float(), expected, rtol=2**-8, atol=1e-6)
