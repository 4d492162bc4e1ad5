"""Every kind of data: written by Python, read by the program, and trained on."""

import csv
import io
import json
import random
import tarfile

import pytest
from PIL import Image

ROOT = __import__("pathlib").Path(__file__).resolve().parents[2]
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


@pytest.fixture
def records(run_json):
    """records(source) gives the records that the program reads."""
    return lambda source: run_json("inspect", source, "--records")


@pytest.fixture
def summary(run_json):
    return lambda source: run_json("inspect", source)[0]


def jpeg(seed):
    generator = random.Random(seed)
    image = Image.new("RGB", (8, 8), tuple(generator.randrange(256) for _ in range(3)))
    buffer = io.BytesIO()
    image.save(buffer, "jpeg")
    return buffer.getvalue()


def write_tar(path, members, form):
    """A tar of (name, bytes) as Python's tarfile writes it."""
    with tarfile.open(path, "w", format=FORMATS[form]) as archive:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            # As archive.add() has them; a fraction of a second makes pax records necessary.
            info.mtime = 1700000000.25 if form == "pax" else 1700000000
            info.uname = "nobody"
            archive.addfile(info, io.BytesIO(body))


def member_of(record):
    """The bytes that a place "tar:OFFSET+SIZE:ARCHIVE//MEMBER" names, and the member's name."""
    kind, numbers, rest = record["image"].split(":", 2)
    assert kind == "tar"
    offset, size = map(int, numbers.split("+"))
    archive, name = rest.split("//", 1)
    with open(archive, "rb") as file:
        file.seek(offset)
        return name, file.read(size)


@pytest.mark.parametrize("form", FORMATS)
def test_shards_as_tarfile_writes_them(records, summary, tmp_path, form):
    long = "" if form == "ustar" else "a folder with a long name ü/" * 8
    wanted = []
    for shard in range(3):
        members = []
        for i in range(7):
            key, body = f"{long}{shard:02}{i:04}", jpeg(100 * shard + i)
            if i % 2:
                members += [(f"{key}.jpg", body), (f"{key}.txt", f" caption {i} ü\n".encode())]
                wanted.append((f"{key}.jpg", body, {"caption": f"caption {i} ü"}))
            else:
                value = {"caption": ["one", "zwölf"]} if i else {"question": "q?", "answer": "a"}
                members += [(f"{key}.json", json.dumps(value).encode()), (f"{key}.jpg", body),
                            (f"{key}.cls", b"3")]
                if not i:
                    value = {"question": "q?", "answers": ["a"]}
                wanted.append((f"{key}.jpg", body, value))
        write_tar(tmp_path / f"shard-{shard:05}.tar", members, form)
    found = records(tmp_path / "shard-{00000..00002}.tar")
    assert len(found) == len(wanted)
    for record, (name, body, value) in zip(found, wanted):
        assert member_of(record) == (name, body)
        assert {key: record[key] for key in value} == value
    # The same as the archives' own offsets.
    with tarfile.open(tmp_path / "shard-00001.tar") as archive:
        offsets = {info.name: info.offset_data for info in archive}
    for record in found[7:14]:
        name = record["image"].split("//", 1)[1]
        assert record["image"].startswith(f"tar:{offsets[name]}+")
    got = summary(tmp_path / "shard-{00000..00002}.tar")
    assert got["kind"] == "tar" and got["records"] == got["pictures"] == 21
    assert got["captions"] == 9 + 18 and got["questions"] == 3 and got["bad"] == 0
    assert got["damage"] == []


@pytest.mark.parametrize("form", FORMATS)
def test_lost_samples_are_counted(run_json, tmp_path, form):
    """Flipped bits and truncations of shards that tarfile wrote: nothing vanishes uncounted."""
    long = "" if form == "ustar" else "x" * 110
    members = [(f"{long}{i:04}.{extension}", jpeg(i) if extension == "jpg" else b"text")
               for i in range(6) for extension in ("jpg", "txt")]
    path = tmp_path / "s.tar"
    write_tar(path, members, form)
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        starts = [info.offset for info in archive][::2]
    generator = random.Random(form)
    for at in generator.sample(range(starts[-1]), 12):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        got = run_json("inspect", path)[0]
        assert got["records"] + got["bad"] == 6 and got["bad"] <= 1, (at, got)
    for cut in generator.sample(range(starts[1], starts[-1]), 12):
        path.write_bytes(whole[:cut])
        got = run_json("inspect", path)[0]
        assert got["records"] + got["bad"] == sum(start < cut for start in starts), (cut, got)
        assert str(cut) in got["damage"][0]


def test_every_list_is_read(records, summary, tmp_path):
    for name in ("train2014/COCO_train2014_000000000009.jpg", "val2014/COCO_val2014_000000000025.jpg",
                 "VG_100K/7.jpg", "pics/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(jpeg(name))
    first, second, genome, own = (str(tmp_path / name) for name in (
        "train2014/COCO_train2014_000000000009.jpg", "val2014/COCO_val2014_000000000025.jpg",
        "VG_100K/7.jpg", "pics/a.jpg"))

    def write(name, value):
        (tmp_path / name).write_text(json.dumps(value))
        return tmp_path / name

    coco = write("captions_train2014.json", {
        "info": {"year": 2014}, "licenses": [],
        "images": [{"id": 9, "file_name": "COCO_train2014_000000000009.jpg", "height": 8}],
        "annotations": [{"id": 1, "image_id": 9, "caption": "first"},
                        {"id": 2, "image_id": 9, "caption": "second\n"}]})
    assert records(coco) == [{"image": first, "caption": ["first", "second"], "image_id": "coco:9"}]

    karpathy = write("dataset_coco.json", {"dataset": "coco", "images": [
        {"filepath": "train2014", "filename": "COCO_train2014_000000000009.jpg", "imgid": 0,
         "split": "train", "cocoid": 9, "sentences": [{"tokens": ["a"], "raw": "A \"quoted\" [one]"}]},
        {"filepath": "val2014", "filename": "COCO_val2014_000000000025.jpg", "imgid": 1,
         "split": "test", "cocoid": 25, "sentences": [{"raw": "x"}, {"raw": "y"}]}]})
    assert records(f"{karpathy}?split=test") == [
        {"image": second, "caption": ["x", "y"], "image_id": "coco:25"}]
    assert len(records(f"karpathy:{karpathy}?split=train,test")) == 2

    vqa = write("v2_OpenEnded_mscoco_val2014_questions.json", {
        "data_type": "mscoco", "data_subtype": "val2014",
        "questions": [{"image_id": 25, "question": "What?", "question_id": 25000}]})
    write("v2_mscoco_val2014_annotations.json", {"annotations": [
        {"question_id": 25000, "image_id": 25, "multiple_choice_answer": "net",
         "answers": [{"answer": a, "answer_id": i} for i, a in enumerate(["net", "net", "goal"])]}]})
    assert records(vqa) == [{"image": second, "question": "What?",
                             "answers": ["net", "net", "goal"], "image_id": "coco:25"}]

    regions = write("region_descriptions.json", [{"id": 7, "regions": [
        {"phrase": "the sky", "x": 1, "region_id": 3}, {"phrase": "a wall"}]}])
    assert records(regions) == [
        {"image": genome, "caption": ["the sky", "a wall"], "image_id": "vg:7"}]
    asked = write("question_answers.json", [{"id": 7, "qas": [
        {"question": "Who?", "answer": "Nobody.", "qa_id": 1, "image_id": 7}]}])
    assert records(asked) == [
        {"image": genome, "question": "Who?", "answers": ["Nobody."], "image_id": "vg:7"}]

    lavis = write("vqa_train.json", [
        {"question_id": 1, "question": "Where?", "answer": ["here", "there"], "image": "a.jpg",
         "dataset": "vqa"}, {"caption": "a cat", "image": "a.jpg", "image_id": "coco_5"}])
    assert records(f"{lavis}?images={tmp_path / 'pics'}") == [
        {"image": own, "question": "Where?", "answers": ["here", "there"]},
        {"image": own, "caption": "a cat", "image_id": "coco_5"}]

    (tmp_path / "pics" / "a.txt").write_text("a caption ü\n")
    assert records(tmp_path / "pics") == [{"image": own, "caption": "a caption ü"}]
    (tmp_path / "pics" / "metadata.jsonl").write_text('{"file_name": "a.jpg", "caption": "m"}\n')
    assert records(tmp_path / "pics") == [{"image": own, "caption": "m"}]
    got = summary(coco)
    assert (got["kind"], got["records"], got["captions"], got["bad"]) == ("coco", 1, 2, 0)


@pytest.fixture(scope="session")
def shards(pictures, tmp_path_factory):
    """The drawn shapes of my.jsonl and val.jsonl as shards, with one sample damaged."""
    folder = tmp_path_factory.mktemp("shards")
    lines = {name: [json.loads(line) for line in (pictures / f"{name}.jsonl").open()]
             for name in ("my", "val")}
    for name, records in lines.items():
        for shard in range(2):
            members = []
            for i, record in enumerate(records[shard::2]):
                members += [(f"{i:04}.png", (pictures / record["image"]).read_bytes()),
                            (f"{i:04}.txt", record["caption"].encode())]
            write_tar(folder / f"{name}-{shard}.tar", members, "pax")
    return folder


def log_of(folder):
    return [{key: value for key, value in json.loads(line).items() if key not in ("samples_per_second", "data_share")}
            for line in (folder / "log.jsonl").open()]


def test_trains_on_shards_as_on_files(train, pictures, shards, run, run_json, tmp_path):
    """Shards give the features of the same pictures in files, and the same steps twice."""
    common = ["steps=4", "checkpoint.every=4", f"data.validation={shards}/val-{{0..1}}.tar"]
    for name in ("a", "b"):
        train(1, tmp_path / name, f"data.train=tar:{shards}/my-{{0..1}}.tar", *common)
    assert log_of(tmp_path / "a") == log_of(tmp_path / "b")
    assert log_of(tmp_path / "a")[-1]["validation_loss"] > 0
    # Pictures are known by their content: files and members share the features' rows.
    rows = sum(path.stat().st_size for path in (pictures / "features").glob("*/rows.bin"))
    train(1, tmp_path / "files", "steps=1", f"data.validation={pictures / 'val.jsonl'}")
    assert rows == sum(path.stat().st_size for path in (pictures / "features").glob("*/rows.bin"))
    scores = run_json("eval", "--model", tmp_path / "a", "--task", "retrieval", "--data",
                      f"{shards}/val-{{0..1}}.tar")[0]
    assert scores["images"] == 12


def test_a_damaged_shard_does_not_stop_a_run(train, shards, tmp_path):
    damaged = bytearray((shards / "my-0.tar").read_bytes())
    with tarfile.open(shards / "my-0.tar") as archive:
        info = archive.getmember("0003.png")
    damaged[info.offset_data - 512] ^= 1  # its header
    (tmp_path / "bad.tar").write_bytes(damaged)
    source = f"data.train={tmp_path / 'bad.tar'}"
    done = train(1, tmp_path / "run", source, "steps=2", "data.bad_share=0.2")
    assert "1 of 12 records are bad: bad.tar: 0003 (byte" in done.stderr
    done = train(1, tmp_path / "strict", source, "steps=2", "data.bad_share=0", code=1)
    assert "bad.tar: 0003" in done.stderr


def test_live_pictures_need_no_cache(train, pictures, shards, tmp_path):
    """Without a cache: the same run twice and after an interruption, bad pictures replaced."""
    body = (shards / "my-0.tar").read_bytes()
    with tarfile.open(shards / "my-0.tar") as archive:
        info = archive.getmember("0005.png")
    (tmp_path / "bad.tar").write_bytes(
        body[:info.offset_data] + b"no picture" + body[info.offset_data + 10:])
    settings = [f'data.train=["{tmp_path}/bad.tar", "{shards}/my-1.tar"]', "data.features=live",
                "data.bad_share=0.1", "checkpoint.every=3", f"data.cache={tmp_path / 'cache'}"]
    done = train(1, tmp_path / "whole", *settings, "steps=6")
    assert "0005.png" in done.stderr and "another record takes its place" in done.stderr
    train(1, tmp_path / "again", *settings, "steps=6")
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "again")
    assert not list((tmp_path / "cache").glob("*/rows.bin")) or not any(
        path.stat().st_size for path in (tmp_path / "cache").glob("*/rows.bin"))
    done = train(1, tmp_path / "strict", *settings, "steps=6", "data.bad_share=0", code=1)
    assert "0005.png" in done.stderr


@pytest.mark.parametrize("form", FORMATS)
def test_shards_as_macos_writes_them(records, summary, tmp_path, form):
    """Its ._ files lie before each member; webdataset 1.0.2 gives one sample a key from these."""
    members = []
    for i in range(3):
        for name, body in ((f"{i}.jpg", jpeg(i)), (f"{i}.txt", f"text {i}".encode())):
            members += [("._" + name, b"\0\5\26\7" * 40), (name, body)]
    write_tar(tmp_path / "s.tar", members, form)
    assert [record["caption"] for record in records(tmp_path / "s.tar")] == ["text 0", "text 1", "text 2"]
    assert summary(tmp_path / "s.tar")["bad"] == 0


def test_tables_as_python_writes_them(records, tmp_path):
    generator = random.Random(7)
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    words = ["a", "b,", '"', '""', "\n", "\r\n", "ü", " ", "x y", "'", "\\", ";"]
    for dialect in ({}, {"quoting": csv.QUOTE_ALL}, {"lineterminator": "\n"}):
        texts = [("c" + "".join(generator.choices(words, k=generator.randrange(6))) + "d") for _ in range(300)]
        with (tmp_path / "metadata.csv").open("w", encoding="utf-8-sig", newline="") as file:
            table = csv.writer(file, **dialect)
            table.writerow(["id", "file_name", "text"])
            table.writerows([i, "a.jpg", text] for i, text in enumerate(texts))
        assert [record["caption"] for record in records(tmp_path)] == texts


def test_marks_in_files_that_people_write(run, run_json, init, pictures, tmp_path):
    """UTF-8's mark in recipes, settings and lists; UTF-16 is refused by name."""
    texts = {"settings.toml": "[tokenize]\nwhich = \"qformer\"\n", "texts.txt": "a red circle\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / f"marked-{name}").write_text(text, encoding="utf-8-sig")
        (tmp_path / f"wide-{name}").write_text(text, encoding="utf-16")

    def tokenize(settings, lines, **options):
        return run_json("--config", tmp_path / settings, "tokenize", "--model", init, "--file", tmp_path / lines,
                        **options)

    wanted = tokenize("settings.toml", "texts.txt")
    assert tokenize("marked-settings.toml", "marked-texts.txt") == wanted
    for settings, lines in (("wide-settings.toml", "texts.txt"), ("settings.toml", "wide-texts.txt")):
        done = run("--config", tmp_path / settings, "tokenize", "--model", init, "--file", tmp_path / lines, code=1)
        assert "expected UTF-8 text, got UTF-16" in done.stderr
    recipe = (ROOT / "recipes" / "tiny_stage1.toml").read_text()
    (tmp_path / "marked.toml").write_text(recipe, encoding="utf-8-sig")
    chosen = [f"init={init}", f"data.train={pictures / 'my.jsonl'}", f"data.cache={tmp_path / 'features'}"]
    flags = [word for setting in chosen for word in ("--set", setting)]
    run("train", tmp_path / "marked.toml", *flags, "--dry-run", "--output", tmp_path / "run")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.csv", "a.tsv", "a.parquet", "results.token"])
def test_files_that_are_no_data(run, tmp_path, name):
    (tmp_path / name).write_bytes(b"file_name\ttext\n1.jpg#0\tx\n")
    for call in (("inspect", tmp_path / name), ("eval", "--model", "/none", "--task", "caption", "--data",
                                                tmp_path / name)):
        message = run(*call, code=1).stderr
        assert "known kinds: jsonl, lavis, coco, karpathy, vg, vqav2, folder, tar" in message
