"""Captioning and filtering: scores as `match` gives them, captions as `caption` does, and shards that
do not depend on how often a run was killed or on how many processes made them."""

import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tarfile

import pytest

# Threads that wait for others sleep: several processes at once share the cores here.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
WRITE = ("--captions", 4, "--max-new-tokens", 6, "--seed", 3)
FIVE = ("--shard-size", 5)


@pytest.fixture(scope="session")
def source(pictures, tmp_path_factory):
    """Twelve pictures: two lines of one picture, two captions in a line, none, and an id."""
    names = sorted(path.name for path in pictures.glob("*.png"))[:12]
    lines = [{"image": str(pictures / name), "caption": f"A {name[:-4].replace('_', ' ')}."}
             for name in names[:10]]
    lines.insert(4, {"image": str(pictures / names[0]), "caption": "again"})
    lines.append({"image": str(pictures / names[10]), "image_id": 77})
    lines.append({"image": str(pictures / names[11]), "caption": ["one", "ONE .", "two"]})
    path = tmp_path_factory.mktemp("source") / "web.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="session")
def capfilt(run, stage2):
    """capfilt(source, output, ...) gives the sums that the program prints."""

    def call(data, output, *options, code=0, **more):
        done = run("capfilt", "--model", stage2, "--data", data, "--output", output, "--json",
                   *options, code=code, **more)
        return json.loads(done.stdout) if code == 0 else done.stderr

    return call


@pytest.fixture(scope="session")
def whole(capfilt, source, tmp_path_factory):
    """A run in shards of five pictures that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    capfilt(source, folder, *WRITE, *FIVE)
    return folder


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def records(folder):
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.open()]


def plain(text):
    return re.sub(r"[\s.]+$", "", re.sub(r"\s+", " ", text.strip().lower()))


def originals_of(source):
    captions = {}
    for line in map(json.loads, source.open()):
        own = line.get("caption", [])
        captions.setdefault(line["image"], []).extend([own] if isinstance(own, str) else own)
    return captions


@pytest.mark.parametrize("rank", ["itc", "itm", "sum"])
def test_the_best_of_what_caption_writes_by_what_match_says(
        capfilt, run_json, stage2, source, tmp_path, rank):
    sums = capfilt(source, tmp_path / "out", *WRITE, "--rank", rank)
    originals, found = originals_of(source), records(tmp_path / "out")
    assert [record["image"] for record in found] == list(originals)
    assert found[10]["image_id"] == "77" and "image_id" not in found[9]
    for record in found if rank == "itc" else found[::4]:
        drawn = run_json("caption", "--model", stage2, "--sample", "--top-p", 0.9,
                         "--num-return-sequences", 4, "--max-new-tokens", 6, "--seed",
                         record["seed"], record["image"])
        own = originals[record["image"]]
        candidates = {}
        for text in own + [line["text"] for line in drawn]:
            if plain(text):
                candidates.setdefault(plain(text), text)
        texts = list(candidates.values())
        flags = [word for text in texts for word in ("--text", text)]
        lines = run_json("match", "--model", stage2, *flags, record["image"])
        scores = {line["text"]: sum(line[key] for key in ("itc", "itm") if rank in (key, "sum"))
                  for line in lines}
        best = sorted(texts, key=lambda text: -scores[text])[:2]
        assert record["caption"] == best
        assert record["scores"] == pytest.approx([scores[text] for text in best], abs=2e-5)
        assert record["original"] == [text in own for text in best]
    kept = sum(len(record["caption"]) for record in found)
    assert sums == {"shards": 1, "pictures": 12, "bad": 0, "captioned": 12, "generated": 48,
                    "originals": 14, "kept": kept,
                    "originals_kept": sum(sum(record["original"]) for record in found)}


def test_beams_a_threshold_and_originals_alone(capfilt, run_json, stage2, source, tmp_path):
    options = ("--captions", 3, "--beams", 3, "--max-new-tokens", 6, "--keep", 0)
    capfilt(source, tmp_path / "beams", *options)
    everything = records(tmp_path / "beams")
    searched = run_json("caption", "--model", stage2, "--beams", 3, "--num-return-sequences", 3,
                        "--max-new-tokens", 6, *[record["image"] for record in everything])
    originals = originals_of(source)
    for i, record in enumerate(everything):
        wanted = originals[record["image"]] + [line["text"] for line in searched[3 * i:3 * i + 3]]
        assert sorted(map(plain, record["caption"])) == sorted({plain(text) for text in wanted} - {""})
        assert record["scores"] == sorted(record["scores"], reverse=True) and "seed" not in record
    middle = sorted(score for record in everything for score in record["scores"])[-15]
    sums = capfilt(source, tmp_path / "threshold", *options, "--min-score", middle)
    assert sums["kept"] == 15
    above = [(record["image"], text) for record in everything
             for text, score in zip(record["caption"], record["scores"]) if score >= middle]
    assert [(record["image"], text) for record in records(tmp_path / "threshold")
            for text in record["caption"]] == above
    assert sums["captioned"] == len({image for image, _ in above}) < 12
    sums = capfilt(source, tmp_path / "own", "--captions", 0, "--keep", 1)
    assert sums["generated"] == 0 and sums["kept"] == sums["originals_kept"] == 11
    assert all(record["original"] == [True] for record in records(tmp_path / "own"))
    # A threshold above all scores: shards without a record have no file but their sums.
    capfilt(source, tmp_path / "none", "--captions", 0, "--min-score", 1.5)
    assert set(content(tmp_path / "none")) == {"capfilt.json", "shard-00000_stats.json"}


def test_batches_and_threads_change_nothing(capfilt, source, whole, tmp_path):
    capfilt(source, tmp_path / "out", *WRITE, *FIVE, "--batch-size", 1, "--threads", 1)
    assert content(tmp_path / "out") == content(whole)
    assert set(content(whole)) == {"capfilt.json"} | {
        f"shard-0000{i}{end}" for i in range(3) for end in (".jsonl", "_stats.json")}


def test_a_matcher_of_its_own_and_another_encoding(capfilt, run, run_json, stage1, stage2, source,
                                                   init, tmp_path):
    """The same matcher, once as the captioner's own stage 1 and once from another directory."""
    for name, options in (("kept", ()), ("other", ("--matcher", stage1)), ("init", ("--matcher", init))):
        capfilt(source, tmp_path / name, *WRITE, *options)
    assert records(tmp_path / "kept") == records(tmp_path / "other")
    changed = records(tmp_path / "init")
    assert [r["scores"] for r in changed] != [r["scores"] for r in records(tmp_path / "kept")]
    record = changed[0]
    [line] = run_json("match", "--model", init, "--text", record["caption"][0], record["image"])
    assert record["scores"][0] == pytest.approx(line["itc"], abs=2e-5)
    # A matcher that sees pictures otherwise encodes them itself.
    other = tmp_path / "matcher"
    shutil.copytree(stage1, other)
    path = other / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "image_mean": [0.2, 0.3, 0.4]}))
    assert "encoded twice" in run("capfilt", "--model", stage2, "--data", source, "--output",
                                  tmp_path / "twice", *WRITE, "--matcher", other).stderr
    record = records(tmp_path / "twice")[0]
    [line] = run_json("match", "--model", other, "--text", record["caption"][0], record["image"])
    assert record["scores"][0] == pytest.approx(line["itc"], abs=2e-5)
    assert record["seed"] == changed[0]["seed"]


def start(program, stage2, source, output, *options, env=None):
    return subprocess.Popen(
        [program, "capfilt", "--model", stage2, "--data", source, "--output", output,
         *map(str, (*WRITE, *options))],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ, **(env or {})})


def wait(process, code=0):
    _, error = process.communicate(timeout=300)
    assert process.returncode == code, error[-2000:]
    return error


@pytest.mark.parametrize("form", ["jsonl", "tar"])
def test_killed_and_resumed_is_as_undisturbed(program, failing_disk, stage2, source, tmp_path, form):
    options = ("--format", form, "--shard-size", 2, "--batch-size", 1)
    count, killed = tmp_path / "count", tmp_path / "killed"
    wait(start(program, stage2, source, tmp_path / "whole", *options,
               env=failing_disk(tmp_path / "whole", count=count)))
    calls = int(count.read_text())
    generator, unfinished, finished = random.Random(form), 0, set()
    for shard in range(4):  # within the first shard, then one shard further each time
        at = generator.randint(1, calls // 6) if shard == 0 else generator.randint(calls // 5, calls // 4)
        process = start(program, stage2, source, killed, *options, "--resume",
                        env=failing_disk(killed, at=at, signal=signal.SIGKILL))
        wait(process, -signal.SIGKILL)
        unfinished += any(".tmp" in path.name for path in killed.iterdir())
        finished.add(len(list(killed.glob("*_stats.json"))))
    assert unfinished and 0 < max(finished) < 6
    wait(start(program, stage2, source, killed, *options, "--resume"))
    assert content(killed) == content(tmp_path / "whole")
    # Everything is there: nothing is loaded or written again.
    before = {path: path.stat().st_mtime_ns for path in killed.iterdir()}
    wait(start(program, stage2, source, killed, *options, "--resume"))
    assert before == {path: path.stat().st_mtime_ns for path in killed.iterdir()}


def test_an_interrupt_keeps_what_is_finished(program, failing_disk, stage2, source, whole, tmp_path):
    first = failing_disk(tmp_path / "out" / "shard-00000_stats.json", at=1, signal=signal.SIGINT)
    error = wait(start(program, stage2, source, tmp_path / "out", *FIVE, "--batch-size", 1, env=first), 130)
    assert "interrupted" in error
    names = set(content(tmp_path / "out"))
    assert "shard-00000.jsonl" in names and not any(".tmp" in name for name in names)
    assert "shard-00002.jsonl" not in names
    wait(start(program, stage2, source, tmp_path / "out", *FIVE, "--resume"))
    assert content(tmp_path / "out") == content(whole)


def test_processes_share_the_shards(program, capfilt, stage2, source, whole, tmp_path):
    both = [start(program, stage2, source, tmp_path / "out", *FIVE, *options, env=env) for options, env in (
        (("--process", "0/2"), None), ((), {"RANK": "1", "WORLD_SIZE": "2"}))]
    for process in both:
        wait(process)
    assert content(tmp_path / "out") == content(whole)
    # Another number of processes goes on where these stopped, with sums over its own shards.
    (tmp_path / "out" / "shard-00001_stats.json").unlink()
    options = (*WRITE, *FIVE, "--resume")
    assert capfilt(source, tmp_path / "out", *options, "--process", "0/3")["shards"] == 1
    assert capfilt(source, tmp_path / "out", *options)["pictures"] == 12
    assert content(tmp_path / "out") == content(whole)


@pytest.fixture
def shard(pictures, source, tmp_path):
    """The source's pictures as a tar shard, the third one damaged; as bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for i, (image, captions) in enumerate(originals_of(source).items()):
            body = open(image, "rb").read()
            for extension, data in (("png", body if i != 2 else body[:100]),
                                    ("json", json.dumps({"caption": captions or ["x"]}).encode())):
                info = tarfile.TarInfo(f"{i:04}.{extension}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_damaged_pictures_and_shards(capfilt, shard, tmp_path):
    with tarfile.open(fileobj=io.BytesIO(shard)) as archive:
        cut = archive.getmember("0010.png").offset_data + 100  # ten samples before it are whole
    out, web = tmp_path / "out", tmp_path / "web.tar"
    web.write_bytes(shard[:cut])
    error = capfilt(web, out, *WRITE, "--bad-share", 0.01, code=1)
    assert "more than 1 % of the records are bad" in error and "web.tar: 0010" in error
    sums = capfilt(web, out, *WRITE, "--bad-share", 0.3, "--format", "jsonl", "--resume")
    assert (sums["pictures"], sums["bad"], sums["captioned"]) == (10, 1, 9)
    assert len(records(out)) == 9
    stats = json.loads((out / "shard-00000_stats.json").read_text())
    assert len(stats["bad"]) == 1 and "0002.png" in stats["bad"][0]
    assert all("0002.png" not in record["image"] for record in records(out))


def test_a_bad_picture_ends_a_strict_run(capfilt, shard, tmp_path):
    (tmp_path / "web.tar").write_bytes(shard)
    error = capfilt(tmp_path / "web.tar", tmp_path / "out", *WRITE, "--bad-share", 0, code=1)
    assert "0002.png" in error and "--bad-share" in error
    assert set(content(tmp_path / "out")) == {"capfilt.json"}


@pytest.mark.parametrize("form", ["jsonl", "tar"])
def test_what_was_written_is_read_and_trained_on(
        capfilt, run_json, run, train, shard, source, whole, tmp_path, form):
    """From a tar shard, so that JSONL names places in it; read as a folder and as a pattern."""
    (tmp_path / "web.tar").write_bytes(shard)
    out = tmp_path / "out"
    sums = capfilt(tmp_path / "web.tar", out, *WRITE, *FIVE, "--format", form,
                   "--bad-share", 0.1)
    read = run_json("inspect", out, "--records")
    assert read == run_json("inspect", f"{out}/shard-{{00000..00002}}.{form}", "--records")
    assert len(read) == sums["captioned"] == 11
    assert sum(len(record["caption"]) for record in read) == sums["kept"] == 22
    # Pictures are known by their content: the same samples as from the files, but for one's caption.
    by_files = {tuple(record["caption"]) for record in records(whole)}
    assert sum(tuple(record["caption"]) in by_files for record in read) >= 10
    if form == "tar":
        with tarfile.open(out / "shard-00000.tar") as archive:
            members = {info.name: archive.extractfile(info).read() for info in archive}
        image = next(iter(originals_of(source)))
        assert members["000000000.png"] == open(image, "rb").read()
        assert set(members) == {f"00000000{i}.{e}" for i in (0, 1, 3, 4) for e in ("png", "json")}
        written = json.loads(members["000000000.json"])
        assert written["source"].endswith("web.tar//0000.png") and len(written["scores"]) == 2
    for stage in (1, 2):
        train(stage, tmp_path / f"run{stage}", f"data.train={out}", "steps=3", "batch_size=4")
        assert (tmp_path / f"run{stage}" / "config.json").exists()


@pytest.mark.parametrize("options, code, message", [
    (("--process", "2/2"), 2, "I from 0 to N - 1"), (("--process", "-1/2"), 2, "I from 0"),
    (("--process", "a"), 2, "I/N"), (("--process", "0/0"), 2, "I/N"),
    (("--process", "0/99999999999999999999999"), 2, "I/N"),
    (("--captions", "-1"), 2, "captions"), (("--captions", "1001"), 2, "captions"),
    (("--captions", 4, "--beams", 2), 2, "--beams"), (("--captions", 2, "--sample=false"), 2, "--beams"),
    (("--shard-size", "0"), 2, "shard-size"), (("--rank", "clip"), 2, "rank"),
    (("--format", "zip"), 2, "format"), (("--bad-share", "2"), 2, "bad-share"),
    (("--top-p", "0"), 2, "top_p"), (("--temperature", "0"), 2, "temperature"),
    (("--matcher", "/no/such"), 1, "/no/such"), (("--model", "/no/such"), 1, "/no/such"),
    (("--data", "/no/such.jsonl"), 1, "/no/such.jsonl"), (("--return-sequences", "3"), 2, "return")])
def test_hostile_arguments(run, stage2, source, tmp_path, options, code, message):
    base = {"--model": stage2, "--data": source, "--output": tmp_path / "out"}
    words = [word for flag, value in base.items() if flag not in options for word in (flag, value)]
    error = run("capfilt", *words, *options, code=code).stderr
    assert message in error and "terminate" not in error
    assert not list(tmp_path.glob("out/shard*"))


def test_folders_that_are_not_this_runs(run, capfilt, stage2, source, whole, tmp_path):
    assert "--resume" in capfilt(source, whole, *WRITE, *FIVE, code=1)
    error = capfilt(source, whole, *WRITE, "--shard-size", 4, "--keep", 3, "--resume", code=1)
    assert "keep was 2, is 3" in error and "shard_size was 5, is 4" in error
    changed = tmp_path / "changed.jsonl"
    changed.write_text(source.read_text().replace("again", "changed"))
    options = (*WRITE, *FIVE, "--resume")
    assert "pictures_hash was" in capfilt(changed, whole, *options, code=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    assert "empty folder" in capfilt(source, tmp_path / "full", *WRITE, code=1)
    assert "cannot make" in capfilt(source, tmp_path / "full" / "notes.txt", *WRITE, code=1)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "capfilt.json").write_text("{")
    assert "capfilt.json" in capfilt(source, tmp_path / "broken", *WRITE, code=1)
    done = run("capfilt", "--model", stage2, "--data", source, "--output", tmp_path / "rank",
               env={"RANK": "1"}, code=1)
    assert "WORLD_SIZE: not set, though RANK is" in done.stderr and not (tmp_path / "rank").exists()
