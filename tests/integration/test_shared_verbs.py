"""Several processes share `eval`, `embed` and the caching of features: what comes out is what one alone
gives, whatever the shares, and none of them hangs."""

import json
import pathlib
import shutil
import signal
import time

import pytest
from ranks import finish, free_port, start
from waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENTRY = 40  # bytes in a feature cache's index, of which 24 name a row


@pytest.fixture(scope="module")
def data(pictures, tmp_path_factory):
    """All 36 pictures, each with a caption of its own; two questions; lists of pictures and texts."""
    folder = tmp_path_factory.mktemp("data")
    names = sorted(path.name for path in pictures.glob("*.png"))
    records = [{"image": str(pictures / name), "caption": name[:-4].replace("_", " ")} for name in names]
    (folder / "captions.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "images.txt").write_text("".join(record["image"] + "\n" for record in records))
    (folder / "texts.txt").write_text("".join(record["caption"] + "\n" for record in records))
    questions = [{**json.loads(line), "image": str(pictures / json.loads(line)["image"])}
                 for line in (pictures / "vqa.jsonl").open()]
    for name, some in (("questions", questions), ("two", questions[:2])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in some))
    return folder


@pytest.fixture
def shared(program):
    """shared(ranks, verb, ...) gives what rank 0 prints; the others print nothing."""

    def call(ranks, *arguments):
        (first, _), *others = finish(start(lambda rank: [program, *arguments, "--threads", 1], ranks, free_port()))
        assert all(printed == "" for printed, _ in others)
        return first

    return call


@pytest.mark.parametrize("task, file, numbers, options", [
    ("retrieval", "captions", (2, 3), ["--rerank", 8]), ("caption", "captions", (2,), ["--batch-size", 8]),
    ("vqa", "questions", (2, 3), ["--batch-size", 5, "--json"]), ("vqa", "two", (3,), ["--batch-size", 1])])
def test_eval(run, shared, data, vit_init, tmp_path, task, file, numbers, options):
    """Uneven shares, and of two questions or two batches of pictures, three processes' shares."""
    command = ["eval", "--model", vit_init, "--task", task, "--data", data / f"{file}.jsonl", "--report",
               tmp_path / "report.html", *options]
    alone, report = run(*command, "--threads", 1).stdout, (tmp_path / "report.html").read_bytes()
    for ranks in numbers:
        (tmp_path / "report.html").unlink()
        assert shared(ranks, *command) == alone
        assert (tmp_path / "report.html").read_bytes() == report


@pytest.mark.parametrize("mode, ranks", [("vectors", 2), ("vectors", 3), ("image", 2), ("text", 3), ("multimodal", 2)])
def test_embed(run, shared, data, vit_init, tmp_path, mode, ranks):
    command = ["embed", "--model", vit_init, "--images-from", data / "images.txt", "--texts", data / "texts.txt",
               "--mode", mode, "--output"]
    run(*command, tmp_path / "one", "--threads", 1)
    assert shared(ranks, *command, tmp_path / "shared") == ""
    assert (tmp_path / "shared").read_bytes() == (tmp_path / "one").read_bytes()


@pytest.fixture(scope="module")
def caching(program, pictures, init):
    """caching(output, cache): a run of one step, which needs features of all pictures."""

    def make(output, cache, *flags):
        settings = [f"init={init}", f"data.train={pictures / 'my.jsonl'}", f"data.validation={pictures / 'val.jsonl'}",
                    f"data.cache={cache}", "data.views=1", "batch_size=6", "steps=1"]
        return [program, "train", ROOT / "recipes" / "tiny_stage1.toml", *flags, "--output", output, "--threads", "1",
                *(word for setting in settings for word in ("--set", setting))]

    return make


def features(cache):
    """The rows of a cache's only folder by their keys."""
    [folder] = cache.iterdir()
    index, rows = (folder / "index.bin").read_bytes(), (folder / "rows.bin").read_bytes()
    count = len(index) // ENTRY
    size = len(rows) // count
    keys = [index[i * ENTRY:i * ENTRY + 24] for i in range(count)]
    assert len(set(keys)) == count and len(rows) == count * size
    return {key: rows[i * size:(i + 1) * size] for i, key in enumerate(keys)}


@pytest.fixture(scope="module")
def cached(run, caching, tmp_path_factory):
    """The cache that one process fills."""
    folder = tmp_path_factory.mktemp("cached")
    run(*caching(folder / "run", folder / "cache")[1:])
    return folder / "cache"


@pytest.mark.parametrize("ranks", [2, 3])
def test_features(caching, cached, tmp_path, ranks):
    finish(start(lambda rank: caching(tmp_path / "run", tmp_path / "cache"), ranks, free_port()))
    assert features(tmp_path / "cache") == features(cached)


def test_features_of_hosts_with_caches_of_their_own(caching, cached, tmp_path):
    """One has all that it needs, the other nothing."""
    shutil.copytree(cached, tmp_path / "0")
    finish(start(lambda rank: caching(tmp_path / "run", tmp_path / str(rank)), 2, free_port()))
    assert features(tmp_path / "0") == features(tmp_path / "1") == features(cached)


def test_a_process_killed_while_it_computes_features(run, caching, cached, failing_disk, tmp_path):
    """The other computes what it had begun, then names it; the cache is as if nothing had happened."""
    killed = failing_disk("/lock", at=2, signal=signal.SIGKILL)
    processes = start(lambda rank: caching(tmp_path / "run", tmp_path / "cache", "--timeout", "3"), 2, free_port(),
                      env=lambda rank: killed if rank == 1 else {})
    (_, error), _ = finish(processes, codes=[1, -signal.SIGKILL])
    assert "rank 1 does not answer" in error, error
    assert features(tmp_path / "cache") == features(cached)
    run(*caching(tmp_path / "again", tmp_path / "cache")[1:])
    assert features(tmp_path / "cache") == features(cached)


@pytest.fixture
def evaluation(program, data, vit_init):
    """A long evaluation: single questions, answers of many tokens."""

    def make(file="questions.jsonl", timeout=3):
        return [program, "eval", "--model", vit_init, "--task", "vqa", "--data", data / file, "--threads", 1,
                "--batch-size", 1, "--min-new-tokens", 60, "--max-new-tokens", 60, "--timeout", timeout]

    return make


def wait_for_model(process, folder):
    """Until the process has opened the model, so has met the others."""
    maps = pathlib.Path(f"/proc/{process.pid}/maps")
    wait_until(lambda: str(folder) in maps.read_text(), [process], every=0.002)


@pytest.mark.parametrize("victim, message", [
    (1, "rank 1 does not answer"), (0, "rank 0, where all meet, does not answer")])
def test_a_process_that_hangs_is_named(evaluation, vit_init, victim, message):
    processes = start(lambda rank: evaluation(), 2, free_port())
    other = processes[1 - victim]
    for process in processes:
        wait_for_model(process, vit_init)
    processes[victim].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    printed, error = other.communicate(timeout=60)
    assert other.returncode == 1 and printed == "" and message in error, error
    assert time.monotonic() - began < 20
    processes[victim].kill()
    processes[victim].communicate(timeout=60)


def test_one_that_ends_early_ends_the_others(evaluation, vit_init):
    """At once, long before the timeout."""
    processes = start(lambda rank: evaluation(timeout=300), 2, free_port())
    for process in processes:
        wait_for_model(process, vit_init)
    processes[1].send_signal(signal.SIGINT)
    (_, first), _ = finish(processes, codes=[1, 130])
    assert "rank 1 has ended early" in first


def test_a_bad_picture_of_another_process_is_named(evaluation, data, tmp_path):
    questions = (data / "questions.jsonl").read_text().splitlines()
    (tmp_path / "broken.png").write_text("no picture")
    broken = json.dumps({**json.loads(questions[-1]), "image": str(tmp_path / "broken.png")})
    (tmp_path / "data.jsonl").write_text("\n".join([*questions[:-1], broken]) + "\n")
    processes = start(lambda rank: evaluation(tmp_path / "data.jsonl"), 2, free_port())
    (printed, first), _ = finish(processes, codes=[1, 0])
    assert json.loads(printed)["questions"] == len(questions) - 1 and "broken.png" in first


def test_other_data_is_named(evaluation):
    processes = start(lambda rank: evaluation("two.jsonl" if rank else "questions.jsonl"), 2, free_port())
    for _, error in finish(processes, codes=[1, 1]):
        assert "records: rank 1 has 2, rank 0 24" in error
