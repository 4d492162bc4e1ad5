"""Data made to deceive: one clear error or a count of what is bad, quickly, and nothing written."""

import io
import json
import random
import subprocess
import tarfile
import time

import pytest

SECONDS = 20


@pytest.fixture
def inspect(program, tmp_path):
    """inspect(name, code=0) gives what the program says of a file in the working folder."""

    def call(name, code=0):
        before, begin = sorted(tmp_path.rglob("*")), time.monotonic()
        done = subprocess.run([program, "inspect", name, "--json"], cwd=tmp_path, timeout=120,
                              capture_output=True, text=True)
        assert done.returncode == code, done.stderr[-2000:]
        assert time.monotonic() - begin < SECONDS
        assert sorted(tmp_path.rglob("*")) == before
        if code:
            assert [line for line in done.stderr.splitlines() if line.startswith("blip2: ")]
            return done.stderr
        return json.loads(done.stdout)

    return call


def shard(path, members):
    """A shard of (TarInfo or name, body)."""
    with tarfile.open(path, "w") as archive:
        for info, body in members:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return path.name


def special(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


GOOD = [("0.jpg", b"picture"), ("0.txt", b"text")]


def test_names_that_leave_the_folder(inspect, tmp_path):
    names = ["/etc/passwd", "../../up", "a/../../b", "C:\\x", "x" * 300, "\x1b[2Jü", "."]
    members = [(f"{name}.{extension}", b"12") for name in names for extension in ("jpg", "txt")]
    got = inspect(shard(tmp_path / "s.tar", members + GOOD))
    # All but ".": nothing is left of "..jpg" before its first dot, so that it names no sample.
    assert (got["records"], got["bad"]) == (len(names), 0)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE,
                                  tarfile.GNUTYPE_SPARSE, b"Z"])
def test_members_that_are_no_files(inspect, tmp_path, kind):
    members = [(special("1.jpg", kind, "/etc/passwd"), b""), ("1.txt", b"text")]
    got = inspect(shard(tmp_path / "s.tar", members + GOOD))
    assert (got["records"], got["bad"]) == (1, 1)
    assert "1.jpg is" in got["bad_records"][0]


def with_size(size):
    """A member whose header says another size than its body has."""
    info = tarfile.TarInfo("1.jpg")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + b"picture".ljust(512, b"\0")


@pytest.mark.parametrize("size", [10**6, 2**33 - 1, 2**40, 2**62])
def test_sizes_that_lead_nowhere(inspect, tmp_path, size):
    shard(tmp_path / "good.tar", GOOD)
    good = (tmp_path / "good.tar").read_bytes()
    (tmp_path / "s.tar").write_bytes(with_size(size) + good)
    got = inspect("s.tar")
    assert (got["records"], got["bad"]) == (1, 1)
    assert "its size is wrong" in got["bad_records"][0]


def test_garbage(inspect, tmp_path):
    generator = random.Random(5)
    (tmp_path / "s.tar").write_bytes(generator.randbytes(3_000_000))
    assert "found no header" in inspect("s.tar", code=1)
    shard(tmp_path / "good.tar", GOOD)
    good = (tmp_path / "good.tar").read_bytes()
    # Another key: members of one key on both sides of damage are taken for one sample's.
    shard(tmp_path / "other.tar", [("1.jpg", b"picture"), ("1.txt", b"text")])
    other = (tmp_path / "other.tar").read_bytes()
    (tmp_path / "s.tar").write_bytes(good[:2048] + generator.randbytes(512 * 4000) + other)
    got = inspect("s.tar")
    assert got["records"] == 2 and got["bad"] == 1
    (tmp_path / "s.tar").write_bytes(b"")
    assert "empty" in inspect("s.tar", code=1)


def test_many_tiny_members(inspect, tmp_path):
    info = tarfile.TarInfo("a.jpg")
    (tmp_path / "s.tar").write_bytes(info.tobuf() * 40_000 + b"\0" * 1024)
    assert "no good record" in inspect("s.tar", code=1)


@pytest.mark.parametrize("text", [
    '{"images": [' + "[" * 100_000, '{"images": [{"id": 1, "file_name": "' + "x" * 3_000_000,
    '{"images": [{"id": 1e400, "file_name": "a"}], "annotations": [{"caption": "x"}]}',
    '[{"image": "a"}' + ", {}" * 10_000, '{"questions": [{"question": null}], "data_subtype": []}'])
def test_lists(inspect, tmp_path, text):
    (tmp_path / "l.json").write_text(text)
    inspect("l.json", code=1)
    for kind in ("coco", "karpathy", "vg", "vqav2", "lavis", "jsonl"):
        inspect(f"{kind}:l.json", code=1)


def test_names_of_data(inspect):
    for name, expected in [("s-{0..99999999}.tar", "more than"), ("s-{1..}.tar", "{first..last}"),
                           ("coko:x.json", "did you mean 'coco'"), ("tar:x.tar?y=1", "no option"),
                           ("tar:/no/such.tar", "such.tar")]:
        assert expected in inspect(name, code=1)
