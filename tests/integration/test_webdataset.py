"""Tar shards: what `webdataset` writes, and what it reads of any shard, against the program, live."""

import io
import itertools
import json
import random
import tarfile

import pytest
from PIL import Image

wds = pytest.importorskip("webdataset")

PICTURES = ("jpg", "jpeg", "png", "webp")


def picture(seed):
    return Image.new("RGB", (6, 5), tuple(random.Random(seed).randbytes(3)))


def encoded(image, suffix):
    buffer = io.BytesIO()
    image.save(buffer, "png" if suffix == "png" else "jpeg")
    return buffer.getvalue()


def read_by_webdataset(path):
    """(key, picture's bytes, text) of the samples with a picture; None without a text."""
    found = []
    for sample in wds.WebDataset(str(path), shardshuffle=False, empty_check=False):
        suffix = next((suffix for suffix in PICTURES if suffix in sample), None)
        if suffix:
            text = sample["txt"].decode() if "txt" in sample else None
            found.append((sample["__key__"], sample[suffix], text))
    return found


def read_by_us(run, path):
    found = []
    for line in run("inspect", path, "--records", "--json").stdout.splitlines():
        record = json.loads(line)
        place, name = record["image"].split("//", 1)
        _, numbers, archive = place.split(":", 2)
        offset, size = map(int, numbers.split("+"))
        with open(archive, "rb") as file:
            file.seek(offset)
            found.append((name, file.read(size), record.get("caption")))
    return found


def assert_same(ours, theirs):
    assert [(body, text) for _, body, text in ours] == [(body, text) for _, body, text in theirs]
    for (name, _, _), (key, _, _) in zip(ours, theirs, strict=True):
        assert name.startswith(key + "."), (name, key)


@pytest.mark.parametrize("suffix", ["jpg", "png", "JPG", "jpeg"])
def test_what_webdataset_writes(run, tmp_path, suffix):
    with wds.ShardWriter(str(tmp_path / "s-%05d.tar"), maxcount=7, verbose=0) as sink:
        for i in range(20):
            key = ("", "a/", "a.b/", "ünder/ordner/")[i % 4] + f"{i:04}"
            body = encoded(picture(i), suffix.lower())
            sample = {"__key__": key, suffix: body, "txt": f"caption {i} ü", "json": {"n": i}, "cls": i}
            sink.write(sample)
    shards = sorted(tmp_path.glob("*.tar"))
    assert len(shards) == 3
    ours = list(itertools.chain.from_iterable(read_by_us(run, shard) for shard in shards))
    theirs = list(itertools.chain.from_iterable(map(read_by_webdataset, shards)))
    assert len(theirs) == 20
    assert_same(ours, theirs)
    assert read_by_us(run, tmp_path / "s-{00000..00002}.tar") == ours


def members(rng):
    """Members of samples and of none, whose names try what parts a key from a suffix."""
    folders = ["", "", "d/", "d.e/", "d/e/", "._d/", "__meta__/", "x/__y__/", ".hidden/"]
    for number in range(rng.randint(3, 12)):
        folder = rng.choice(folders)
        base = rng.choice([f"{number}", f"{number} b", f"{number}_ü", f"-{number}", f"{number}"])
        suffixes = [rng.choice(["jpg", "png", "JPEG", "webp", "Png"]), "txt", "json", "cls", "seg.png", "txt.bak"]
        kept = suffixes[: rng.randint(1, 3)] + rng.sample(suffixes[3:], rng.randint(0, 2))
        rng.shuffle(kept)
        for suffix in kept:
            if rng.random() < 0.2:
                yield rng.choice(["._" + base + "." + suffix, "README", ".DS_Store", "d/README", "__meta__.txt"])
            yield f"{folder}{base}.{suffix}"


@pytest.mark.parametrize("seed", range(40))
def test_what_webdataset_reads(run, tmp_path, seed):
    rng = random.Random(seed)
    names = list(dict.fromkeys(members(rng)))
    names += ["last.jpg", "last.txt"]
    form = rng.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    with tarfile.open(tmp_path / "s.tar", "w", format=form) as archive:
        for i, name in enumerate(names):
            suffix = name.rsplit(".", 1)[-1].lower()
            body = encoded(picture(i), suffix) if suffix in PICTURES else b"{}" if suffix == "json" else b"text %d" % i
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    theirs = read_by_webdataset(tmp_path / "s.tar")
    assert theirs
    assert_same(read_by_us(run, tmp_path / "s.tar"), theirs)
