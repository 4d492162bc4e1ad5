"""An index whose writer is killed at any moment or whose disk is full: the old or the new generation is there, whole.

The program index_store writes an index whose content follows from the number of its generation, and checks all of it.
"""

import errno
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
STORE = pathlib.Path(os.environ.get("BLIP2_BUILD", ROOT / "build")) / "probe" / "index_store"


def store(verb, folder, number=0, env=None):
    return subprocess.run([STORE, verb, folder, str(number)], env=env, capture_output=True, text=True, timeout=120)


def checked(folder):
    """The generation of an index that is right."""
    done = store("check", folder)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def goes_on(folder, generation):
    """The next writer needs no repair, and leaves nothing of the last one."""
    done = store("write", folder, 1)
    assert done.returncode == 0, done.stderr
    assert checked(folder) == generation + 1
    left = {path.name for path in folder.iterdir() if path.suffix != ".vectors"}
    assert left <= {"index.db", "index.db-wal", "index.db-shm", "writer.lock"}
    assert len(list(folder.glob("*.vectors"))) <= 16


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """An index whose next generation but one merges its files."""
    folder = tmp_path_factory.mktemp("base") / "index"
    assert store("write", folder, 8).returncode == 0
    return folder


def calls_of(failing_disk, folder, steps, count):
    """How many calls write to the index while it makes these generations."""
    done = store("write", folder, steps, failing_disk(folder, count=count, all=1))
    assert done.returncode == 0, done.stderr
    return int(count.read_text())


def copy_of(base, folder):
    if base.exists():
        shutil.copytree(base, folder)
    return folder


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("begin", ["nothing", "base"])
def test_killed_at_every_write(failing_disk, base, tmp_path, begin, torn):
    start = base if begin == "base" else tmp_path / "nothing"
    first = 8 if begin == "base" else 0
    calls = calls_of(failing_disk, copy_of(start, tmp_path / "whole"), 2, tmp_path / "count")
    assert calls > 50
    for call in range(1, calls + 1):
        folder = copy_of(start, tmp_path / f"killed{call}")
        fault = {"torn": 1} if torn else {}
        done = store("write", folder, 2, failing_disk(folder, at=call, all=1, signal=signal.SIGKILL, **fault))
        assert done.returncode == -signal.SIGKILL, (call, done.stderr)
        said = [int(line) for line in done.stdout.split()]
        generation = checked(folder)
        last = said[-1] if said else first
        assert generation in (last, last + 1), call
        goes_on(folder, generation)
        shutil.rmtree(folder)


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("begin", ["nothing", "base"])
def test_a_full_disk(failing_disk, base, tmp_path, begin, stays):
    """The error names the file; the last generation is there, and the next writer goes on."""
    start = base if begin == "base" else tmp_path / "nothing"
    first = 8 if begin == "base" else 0
    calls = calls_of(failing_disk, copy_of(start, tmp_path / "whole"), 2, tmp_path / "count")
    refused = 0
    for call in range(1, calls + 1):
        folder = copy_of(start, tmp_path / f"full{call}")
        fault = {"stays": 1} if stays else {}
        number = errno.ENOSPC if stays or call % 2 else errno.EIO
        done = store("write", folder, 2, failing_disk(folder, at=call, all=1, errno=number, **fault))
        said = [int(line) for line in done.stdout.split()]
        if done.returncode != 0:
            refused += 1
            assert done.returncode == 1, (call, done.stderr)
            [line] = done.stderr.splitlines()
            assert str(folder) in line
            if number == errno.ENOSPC and ".vectors" in line:
                assert " bytes: No space left on device" in line
        generation = checked(folder)
        last = said[-1] if said else first
        assert generation in (last, last + 1), call
        goes_on(folder, generation)
        shutil.rmtree(folder)
    assert refused > calls / 3


@pytest.mark.parametrize("begin", ["nothing", "last"])
def test_killed_at_random_moments(tmp_path, begin):
    """150 times while it is made, 150 times while it is updated; no generation that was announced is lost."""
    generator, folder, generation, made = random.Random(11), tmp_path / "index", 0, 0
    for _ in range(150):
        if begin == "nothing":
            shutil.rmtree(folder, ignore_errors=True)
            generation = 0
        process = subprocess.Popen([STORE, "write", folder, "1000"], stdout=subprocess.PIPE, text=True)
        first = process.stdout.readline() if generator.random() < 0.5 else ""
        time.sleep(generator.uniform(0, 0.06))
        process.kill()
        said = [generation, *(int(line) for line in (first + process.communicate()[0]).split())]
        assert process.returncode == -signal.SIGKILL
        generation = checked(folder) if folder.exists() else 0
        assert generation in (said[-1], said[-1] + 1)
        made += generation - said[0]
    assert made >= 50
    goes_on(folder, generation)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_reader_who_may_not_write():
    """A reader needs no right to write, with and without a writer beside it."""
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        shutil.copy(STORE, folder / "index_store")
        folder.chmod(0o755)
        index = folder / "index"
        assert store("write", index, 3).returncode == 0
        index.chmod(0o755)

        def read():
            return subprocess.run([folder / "index_store", "check", index], user=65534, group=65534, cwd="/",
                                  extra_groups=[], capture_output=True, text=True, timeout=60)

        done = read()
        assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
        writer = subprocess.Popen([STORE, "write", index, "1000000"], stdout=subprocess.PIPE)
        seen = {read().stdout for _ in range(5)}
        writer.kill()
        writer.communicate()
        assert "" not in seen
        assert len(seen) > 1
    finally:
        shutil.rmtree(folder)


def test_readers_and_a_writer_in_one_process(tmp_path):
    done = store("read", tmp_path / "index", 2)
    assert done.returncode == 0, done.stderr


def test_readers_in_other_processes(tmp_path):
    folder = tmp_path / "index"
    assert store("write", folder, 1).returncode == 0
    writer = subprocess.Popen([STORE, "write", folder, "25"], stdout=subprocess.DEVNULL)
    seen = set()
    while writer.poll() is None:
        seen.add(checked(folder))
    assert writer.returncode == 0
    assert len(seen) > 2
    assert checked(folder) == 26


def test_two_writers(tmp_path):
    folder = tmp_path / "index"
    first = subprocess.Popen([STORE, "write", folder, "1000000"], stdout=subprocess.PIPE)
    first.stdout.readline()
    second = store("write", folder, 1)
    first.kill()
    first.communicate()
    assert second.returncode == 1
    assert f"another process (process {first.pid}) writes this index" in second.stderr
