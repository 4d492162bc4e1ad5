"""`blip2 index` keeps an index as its folders are, encodes each content once, and survives what folders and processes
do; `blip2 duplicates` finds what is there more than once."""

import datetime
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import time

import numpy
import pytest
from PIL import Image
from ranks import finish, free_port, start
from waiting import wait_until

FIELDS = ["added", "changed", "removed", "kept", "bad", "pictures", "encoded"]


def write_picture(path, number, size=(32, 24), **options):
    """A picture of its own for each number."""
    noise = numpy.random.default_rng(number).integers(0, 256, (3, 4, 3), dtype=numpy.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    """Six different pictures in a folder and one below it."""
    for number, name in enumerate(["a.png", "b.jpg", "c.webp", "sub/d.png", "sub/e.jpg", "sub/deep/f.png"]):
        write_picture(tmp_path / "pictures" / name, number)
    return tmp_path / "pictures"


@pytest.fixture
def index(run_json, vit_init, tmp_path):
    """index(folder, ...) updates the test's index; the counts."""

    def call(*arguments, model=vit_init):
        chosen = ("--model", model) if model else ()
        [line] = run_json("index", tmp_path / "index", *arguments, *chosen, "--threads", 1)
        assert list(line)[:7] == FIELDS
        return line

    return call


@pytest.fixture
def said(run, vit_init, tmp_path):
    """said(...) updates the index likewise; what it writes to standard error."""

    def call(*arguments, code=0, name="index"):
        done = run("index", tmp_path / name, *arguments, "--model", vit_init, "--threads", 1, code=code)
        return done.stderr

    return call


def counts(added=0, changed=0, removed=0, kept=0, bad=0, pictures=0, encoded=0):
    return dict(added=added, changed=changed, removed=removed, kept=kept, bad=bad, pictures=pictures, encoded=encoded)


@pytest.fixture
def groups(run_json, tmp_path):
    def call(*arguments, name="index"):
        return run_json("duplicates", tmp_path / name, *arguments)

    return call


def test_updates(index, folder):
    assert index(folder) == counts(added=6, pictures=6, encoded=6)
    assert index() == counts(kept=6, pictures=6)
    # Another name, another folder, a copy: nothing is encoded.
    (folder / "a.png").rename(folder / "z.png")
    shutil.move(folder / "sub" / "deep", folder / "moved")
    shutil.copy(folder / "b.jpg", folder / "sub" / "copy.jpg")
    assert index(folder) == counts(added=1, changed=2, kept=4, pictures=6)
    # Another content, a new file, one file less, and one that was only touched.
    write_picture(folder / "b.jpg", 100)
    write_picture(folder / "new", 101, format="PNG")
    (folder / "c.webp").unlink()
    os.utime(folder / "z.png", (1, 1))
    assert index(folder) == counts(added=1, changed=1, removed=1, kept=5, pictures=7, encoded=2)
    shutil.rmtree(folder / "sub")
    assert index(folder) == counts(removed=3, kept=4, pictures=4)


def test_contents_that_change_places(index, folder):
    """Files that take each other's contents: all are known."""
    index(folder)
    (folder / "a.png").rename(folder / "x")
    (folder / "sub" / "d.png").rename(folder / "a.png")
    (folder / "x").rename(folder / "sub" / "d.png")
    assert index() == counts(changed=2, kept=4, pictures=6)


def test_plain_output_and_no_folder(run, said, folder, vit_init, tmp_path):
    done = run("index", tmp_path / "index", folder, "--model", vit_init)
    assert done.stdout == "added 6, changed 0, removed 0, kept 0, bad 0, pictures 6, encoded 6\n"
    assert "expected at least one folder" in said(code=1, name="another")
    run("index", tmp_path / "index", "--threads", "none", code=2)


def test_the_model_that_the_index_knows(index, folder, run, vit_init, init, tmp_path):
    done = run("index", tmp_path / "index", folder, code=1)
    assert "--model" in done.stderr
    index(folder)
    write_picture(folder / "more.png", 50)
    assert index(model=None) == counts(added=1, kept=6, pictures=7, encoded=1)
    # A copy of the model is the same model; another one is not.
    shutil.copytree(vit_init, tmp_path / "copy")
    assert index(model=tmp_path / "copy") == counts(kept=7, pictures=7)
    done = run("index", tmp_path / "index", "--model", init, code=1)
    assert "--rebuild" in done.stderr and len(done.stderr.splitlines()) == 1
    assert index(model=None) == counts(kept=7, pictures=7)
    assert index("--rebuild", model=init) == counts(added=7, pictures=7, encoded=7)
    assert index(model=init) == counts(kept=7, pictures=7)


def test_preprocessing_is_part_of_the_model(index, folder, run, vit_init, tmp_path):
    index(folder)
    done = run("index", tmp_path / "index", "--model", vit_init, "--sixteen-bit", "scale", code=1)
    assert "--rebuild" in done.stderr


def test_bad_pictures(index, said, folder):
    """They are named once, and tried again when they change."""
    (folder / "text.jpg").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:-20])
    (folder / "empty.webp").touch()
    shutil.copy(folder / "cut.png", folder / "cut again.png")
    first = said(folder)
    for name in ("text.jpg", "cut.png", "empty.webp", "cut again.png"):
        assert sum(f"{folder / name}: " in line for line in first.splitlines()) == 1, name
    second = said(folder)
    assert "warning" not in second
    assert index() == counts(kept=6, bad=4, pictures=6)
    write_picture(folder / "text.jpg", 70)
    assert index() == counts(added=1, kept=6, bad=3, pictures=7, encoded=1)
    # A good one becomes bad, and is gone in the end.
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "a.png: " in said()
    (folder / "a.png").unlink()
    assert index() == counts(kept=6, bad=3, pictures=6)


ODD = ["with space.png", "quote\"'`$(x).png", "new\nline.png", "tab\t.png", "%41.png", "-dash.png", "ünï→.png",
       "';DROP TABLE files;--.png"]


def test_odd_names(index, program, groups, folder, tmp_path):
    names = [os.fsencode(name) for name in ODD] + [b"\xff\xfe latin \xe9.png"]
    odd = folder / os.fsdecode(b"odd \xff\n")
    odd.mkdir()
    for name in names:
        shutil.copy(folder / "a.png", odd / os.fsdecode(name))
    assert index(odd) == counts(added=len(names), pictures=1, encoded=1)
    [group] = groups()
    assert len(group["paths"]) == len(names)
    assert str(folder) in group["best"]
    lines = subprocess.run([program, "duplicates", tmp_path / "index"], capture_output=True).stdout.split(b"\n")[:-1]
    assert len(lines) == len(names) and all(line.count(b"\t") == 3 for line in lines)
    assert any(line.endswith(names[-1]) for line in lines)  # any bytes, as they are
    assert index() == counts(kept=len(names), pictures=1)
    for name in names:
        (odd / os.fsdecode(name)).rename(odd / os.fsdecode(b"x" + name))
    assert index() == counts(changed=len(names), pictures=1)


def test_links(index, folder, tmp_path):
    """Folders are read once, files are there once, wherever links lead."""
    outside = tmp_path / "outside"
    write_picture(outside / "g.png", 60)
    (folder / "loop").symlink_to(folder)
    (folder / "sub" / "up").symlink_to("..")
    (folder / "out").symlink_to(outside)
    (folder / "same.png").symlink_to("a.png")
    assert index(folder) == counts(added=7, pictures=7, encoded=7)
    (folder / "out").unlink()
    assert index() == counts(removed=1, kept=6, pictures=6)


def test_hidden_files_and_the_index_itself(run_json, folder, vit_init):
    """An index may lie in its own folder."""
    shutil.copy(folder / "a.png", folder / "._a.png")
    (folder / ".thumbnails").mkdir()
    shutil.copy(folder / "a.png", folder / ".thumbnails" / "a.png")
    for expected in (counts(added=6, pictures=6, encoded=6), counts(kept=6, pictures=6)):
        [line] = run_json("index", folder / "index", folder, "--model", vit_init)
        assert line == expected


def test_missing_folders(index, said, folder, tmp_path):
    """The pictures of a disk that is not there stay, until somebody says otherwise."""
    other = tmp_path / "disk" / "photos"
    write_picture(other / "g.png", 60)
    index(folder, other)
    (tmp_path / "disk").rename(tmp_path / "away")
    error = said(folder, other)
    assert f"{other}: is not there; its 1 pictures stay" in error and "--remove-missing" in error
    assert index() == counts(kept=7, pictures=7)
    # What a disk leaves behind: an empty folder.
    other.mkdir(parents=True)
    assert f"{other}: is empty; its 1 pictures stay" in said()
    other.rmdir()
    (tmp_path / "disk").rmdir()
    (tmp_path / "away").rename(tmp_path / "disk")
    assert index() == counts(kept=7, pictures=7)
    shutil.rmtree(tmp_path / "disk")
    assert index("--remove-missing") == counts(removed=1, kept=6, pictures=6)
    assert "warning" not in said()  # and it is forgotten


def test_folders_that_never_were(said, folder):
    assert "there is no such folder" in said(folder / "nowhere", code=1)
    assert "expected a folder, got a file" in said(folder / "a.png", code=1)


def test_forgotten_folders(index, said, folder, tmp_path):
    write_picture(tmp_path / "other" / "g.png", 60)
    index(folder, tmp_path / "other")
    assert index("--forget", tmp_path / "other") == counts(removed=1, kept=6, pictures=6)
    assert "does not follow" in said("--forget", tmp_path / "other", code=1)


@pytest.fixture
def bound(program, vit_init, tmp_path):
    """bound(...) updates the index as somebody who may not read everything; what it writes to standard error."""
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if subprocess.run([*prefix, "true"]).returncode != 0:
        pytest.skip("root's rights cannot be given up here")

    def call():
        words = (program, "index", tmp_path / "index", "--model", vit_init, "--threads", 1)
        done = subprocess.run([*prefix, *map(str, words)], capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return done.stderr

    return call


def test_unreadable_folders_and_files(index, bound, folder):
    index(folder)
    (folder / "sub").chmod(0)
    error = bound()
    (folder / "sub").chmod(0o755)
    assert f"{folder / 'sub'}: cannot be read: Permission denied; its 3 pictures stay" in error
    (folder / "a.png").chmod(0)
    os.utime(folder / "a.png")
    assert "a.png: cannot be read: Permission denied" in bound()
    assert "warning" not in bound()  # named once
    (folder / "a.png").chmod(0o644)
    assert index() == counts(added=1, kept=5, pictures=6, encoded=1)


def tables(folder):
    """What the index's database says of pictures and files."""
    database = sqlite3.connect(f"file:{folder / 'index.db'}?mode=ro", uri=True)
    pictures = "SELECT number, hash, width, height, taken, camera, caption, look FROM pictures ORDER BY number"
    files = "SELECT path, bytes, picture, problem FROM files ORDER BY path"
    rows = [database.execute(query).fetchall() for query in (pictures, files)]
    database.close()
    return rows


def test_what_is_kept_of_a_picture(index, tmp_path):
    """Upright size, camera and date, as they are in EXIF; the same facts for a file of another name."""
    block = Image.Exif()
    block[0x0112], block[0x010F], block[0x0110] = 6, "Maker Inc.", "Maker X1"
    block.get_ifd(0x8769)[0x9003] = "2024:02:29 12:34:56"
    write_picture(tmp_path / "photos" / "a.jpg", 1, size=(40, 30), exif=block)
    write_picture(tmp_path / "photos" / "b.png", 2, size=(20, 10))
    index(tmp_path / "photos")
    pictures, files = tables(tmp_path / "index")
    taken = int(datetime.datetime(2024, 2, 29, 12, 34, 56, tzinfo=datetime.timezone.utc).timestamp())
    assert [row[2:7] for row in pictures] == [(30, 40, taken, "Maker X1", ""), (20, 10, None, "", "")]
    assert [len(row[7]) for row in pictures] == [192, 192]
    assert [os.fsdecode(row[0]) for row in files] == [str(tmp_path / "photos" / name) for name in ("a.jpg", "b.png")]


@pytest.mark.parametrize("ranks", [2, 3])
def test_several_processes(index, program, run_json, groups, folder, vit_init, tmp_path, ranks):
    """They make what one makes: the same pictures, scores and groups."""
    for number in range(80):
        write_picture(folder / f"more/{number:03}.png", 200 + number % 70)
    (folder / "bad.jpg").write_text("no picture")
    expected = index(folder)
    assert expected == counts(added=86, bad=1, pictures=76, encoded=76)
    command = [program, "index", tmp_path / "shared", folder, "--model", vit_init, "--threads", 1, "--json"]
    (first, _), *others = finish(start(lambda rank: command, ranks, free_port()))
    assert json.loads(first) == expected and all(printed == "" for printed, _ in others)
    assert tables(tmp_path / "shared") == tables(tmp_path / "index")
    for kinds in ((), ("--kind", "alike", "--threshold", 0.5)):
        assert groups(*kinds) == groups(*kinds, name="shared")
    shutil.copy(folder / "a.png", folder / "a copy.png")
    finish(start(lambda rank: command, ranks, free_port()))
    [line] = run_json("index", tmp_path / "shared", "--model", vit_init)
    assert line == counts(kept=87, bad=1, pictures=76)


@pytest.fixture
def many(tmp_path):
    """3,000 different pictures."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(3000):
        write_picture(folder / f"{number:04}.png", number, size=(8, 6))
    return folder


def has_pictures(program, index):
    """Whether the index has a generation; the first one that a long run commits has hundreds of pictures."""
    return subprocess.run([program, "duplicates", index, "--kind", "exact"], capture_output=True).returncode == 0


@pytest.mark.parametrize("how, code", [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_process_that_is_stopped(program, index, many, vit_init, tmp_path, how, code):
    """What it has committed is not encoded again; a signal loses nothing that was encoded."""
    where = tmp_path / "index"
    process = subprocess.Popen(
        [str(word) for word in (program, "index", where, many, "--model", vit_init, "--threads", 1)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: has_pictures(program, where), [process], every=0.05)
    process.send_signal(how)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    second = index()
    assert second["kept"] >= 512 and second["kept"] + second["added"] == second["pictures"] == 3000
    assert second["encoded"] == second["added"] > 0
    assert index() == counts(kept=3000, pictures=3000)


class Watch:
    """A running `blip2 index --watch`: the lines that it has printed."""

    def __init__(self, program, index, folder, model, log):
        self.log = log
        words = (program, "index", index, folder, "--model", model, "--watch", "--json", "--threads", 1)
        self.file = log.open("w")
        self.errors = log.with_suffix(".err").open("w")
        self.process = subprocess.Popen([str(word) for word in words], stdout=self.file, stderr=self.errors)
        self.seen = 0

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def wait_for(self, **expected):
        """Until the lines that have come since the last call add up to these counts."""

        def there():
            new = self.lines()[self.seen:]
            if not new:
                return False
            sums = {key: sum(line[key] for line in new) for key in ("added", "changed", "removed", "encoded")}
            last = {key: new[-1][key] for key in ("bad", "pictures")}
            return {**counts(), **sums, **last, "kept": 0} == {**counts(**expected), "kept": 0}

        wait_until(there, [self.process], seconds=60, every=0.05)
        self.seen = len(self.lines())

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=60)
        self.file.close()
        self.errors.close()
        return code


@pytest.fixture
def watch(program, folder, vit_init, tmp_path):
    running = Watch(program, tmp_path / "index", folder, vit_init, tmp_path / "watch.jsonl")
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()


def test_watch(watch, index, folder, tmp_path):
    watch.wait_for(added=6, pictures=6, encoded=6)
    write_picture(folder / "new.png", 80)
    watch.wait_for(added=1, pictures=7, encoded=1)
    # A folder with folders in it, made all at once.
    for number in range(5):
        write_picture(tmp_path / "elsewhere" / "x" / str(number) / "p.png", 90 + number)
    (tmp_path / "elsewhere").rename(folder / "from elsewhere")
    watch.wait_for(added=5, pictures=12, encoded=5)
    write_picture(folder / "from elsewhere" / "x" / "3" / "q.png", 99)
    watch.wait_for(added=1, pictures=13, encoded=1)
    (folder / "a.png").rename(folder / "sub" / "a.png")
    watch.wait_for(changed=1, pictures=13)
    shutil.rmtree(folder / "from elsewhere")
    watch.wait_for(removed=6, pictures=7)
    assert watch.stop() == 130
    assert index() == counts(kept=7, pictures=7)


def test_two_writers(watch, said, folder):
    """The second one is told that there is a first."""
    watch.wait_for(added=6, pictures=6, encoded=6)
    assert len(said(folder, code=1).splitlines()) == 1
    assert watch.stop() == 130
    assert said(folder) == ""


def test_watch_and_a_file_that_is_being_written(watch, folder, tmp_path):
    """It is read when it is whole, and is never called bad."""
    watch.wait_for(added=6, pictures=6, encoded=6)
    write_picture(tmp_path / "large.png", 81, size=(300, 200))
    content = (tmp_path / "large.png").read_bytes()
    with (folder / "slow.png").open("wb") as file:
        for begin in range(0, len(content), 1 + len(content) // 30):
            file.write(content[begin:begin + 1 + len(content) // 30])
            file.flush()
            time.sleep(0.1)
    watch.wait_for(added=1, pictures=7, encoded=1)
    assert watch.stop() == 130
    assert "slow.png" not in (tmp_path / "watch.err").read_text()


def test_captions(run_json, index, folder, stage2, tmp_path):
    """They are written once for each content, as `caption` writes them, and stay when the index is built anew."""
    first = index(folder, "--captions", model=stage2)
    assert first.pop("captioned") == 6 and first == counts(added=6, pictures=6, encoded=6)
    write_picture(folder / "more.png", 70)
    second = index("--captions", model=stage2)
    assert second.pop("captioned") == 1 and second == counts(added=1, kept=6, pictures=7, encoded=1)
    assert index("--rebuild", model=stage2) == counts(added=7, pictures=7, encoded=7)
    third = index("--captions", model=stage2)
    assert third.pop("captioned") == 0 and third == counts(kept=7, pictures=7)
    pictures, files = tables(tmp_path / "index")
    kept = {row[0]: row[6] for row in pictures}
    paths = [os.fsdecode(row[0]) for row in files]
    written = run_json("caption", "--model", stage2, "--threads", 1, *paths)
    assert [line["text"] for line in written] == [kept[row[2]] for row in files]


def test_exact_duplicates(index, groups, folder):
    shutil.copy(folder / "a.png", folder / "older.png")
    os.utime(folder / "older.png", (1_000_000, 1_000_000))
    shutil.copy(folder / "b.jpg", folder / "sub" / "z.jpg")
    index(folder)
    found = groups("--kind", "exact")
    assert [group["group"] for group in found] == [1, 2]
    assert {group["kind"] for group in found} == {"exact"}
    by_best = {pathlib.Path(group["best"]).name: group["paths"] for group in found}
    assert by_best["older.png"] == [str(folder / "older.png"), str(folder / "a.png")]
    assert sorted(by_best) == ["b.jpg", "older.png"]


def test_near_duplicates(index, groups, folder):
    """The same picture in another format and size is in one group with it; the larger one is the best."""
    write_picture(folder / "big.png", 77, size=(320, 240))
    Image.open(folder / "big.png").resize((160, 120), Image.Resampling.LANCZOS).save(folder / "small.jpg", quality=92)
    index(folder)
    [group] = [group for group in groups("--kind", "near", "--threshold", 0.9)
               if str(folder / "small.jpg") in group["paths"]]
    assert str(folder / "big.png") == group["best"] == group["paths"][0] and group["kind"] == "near"


def test_wrong_usage(run, index, folder, tmp_path):
    index(folder)
    for wrong in (["--kind", "other"], ["--threshold", 0.9], ["--kind", "exact", "--threshold", 0.9],
                  ["--kind", "near", "--threshold", 2]):
        run("duplicates", tmp_path / "index", *wrong, code=2)
    assert len(run("duplicates", folder, code=1).stderr.splitlines()) == 1
    assert len(run("duplicates", tmp_path / "nowhere", code=1).stderr.splitlines()) == 1
