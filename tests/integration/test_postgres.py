"""Copies of indexes in Postgres, live against a real server with pgvector: exact answers, killed writers, bad ends."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import pytest
from postgres_server import PASSWORD, PostgresServer, cut_after

QUERIES, PICTURES, Q, E = 1000, 4000, 8, 64
TRICKS = [b"/p/it's.png", b'/p/"; DROP TABLE pictures; --.png', b"/p/back\\slash\\.png", b"/p/new\nline.png",
          b"/p/no\xff\xfeutf8.png", "/p/gr\u00fc\u00df \U0001f600.png".encode(), b"/p/%s$1{}.png", b"/p/\\N.png"]


@pytest.fixture(scope="module")
def server():
    with tempfile.TemporaryDirectory() as folder:
        server = PostgresServer(pathlib.Path(folder))
        for role in ("writer", "reader", "stranger"):
            server.sql(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
        try:
            yield server
        finally:
            server.stop("immediate")


@pytest.fixture
def database(server, request):
    return server.new_database(f"d{abs(hash(request.node.name))}")


@pytest.fixture(scope="module")
def probe(program):
    def call(*args, code=0):
        done = subprocess.run([program.parent / "probe" / "postgres", *map(str, args)], capture_output=True, text=True,
                              timeout=600, cwd="/")
        assert done.returncode == code, f"{args}: exit {done.returncode}\n{done.stderr}"
        assert PASSWORD not in done.stdout + done.stderr
        return done.stderr if code else done.stdout

    call.path = program.parent / "probe" / "postgres"
    return call


def copy(probe, index, url, schema="blip2"):
    return json.loads(probe("copy", index, url, schema))


def answers(probe, index, url, queries, ways, *more, schema="blip2", seed=5, top=10):
    """{way: [[(score, path)]]} of made-up queries."""
    found = {way: [] for way in ways.split(",")}
    for line in probe("search", index, url, schema, seed, queries, top, ways, *more).splitlines():
        way, _, _, *hits = line.split()
        found[way].append([tuple(hit.split(":")) for hit in hits])
    return found


def counts(server, database, schema="blip2"):
    return server.sql(f"SELECT count(*), count(DISTINCT number) FROM {schema}.pictures", database)[0]


@pytest.fixture(scope="module")
def index(probe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index") / "index"
    probe("make", folder, 1, 0, PICTURES, Q, E)
    return folder


@pytest.fixture(scope="module")
def copied(server, probe, index):
    """A database that holds the index."""
    database = server.new_database("copied")
    report = copy(probe, index, server.url(database))
    assert report == {"added": PICTURES, "removed": 0, "pictures": PICTURES, "files": PICTURES, "unchanged": False}
    return database


def test_exact_answers_are_those_of_the_index(server, probe, index, copied):
    found = answers(probe, index, server.url(copied), QUERIES, "local,exact")
    assert len(found["local"]) == QUERIES and all(len(hits) == 10 for hits in found["local"])
    assert found["exact"] == found["local"]


def test_filters_are_those_of_the_index(server, probe, index, copied):
    found = answers(probe, index, server.url(copied), 50, "local,exact,candidates", "/pictures/07")
    assert found["exact"] == found["local"]
    assert all(len(hits) == 10 for hits in found["candidates"])
    for hits in found["candidates"]:
        assert all(bytes.fromhex(path).startswith(b"/pictures/07/") for _, path in hits)


def test_candidates_find_nearly_all(server, probe, index, copied):
    found = answers(probe, index, server.url(copied), 200, "exact,candidates")
    same = sum(len(set(a) & set(b)) for a, b in zip(found["exact"], found["candidates"]))
    assert same >= 0.95 * 10 * 200, f"recall {same / 2000}"


def test_second_copy_writes_nothing(server, probe, index, copied):
    before = server.sql("SELECT pg_current_wal_insert_lsn()", copied), counts(server, copied)
    assert copy(probe, index, server.url(copied))["unchanged"]
    assert (server.sql("SELECT pg_current_wal_insert_lsn()", copied), counts(server, copied)) == before


def test_changes_alone_are_copied(server, probe, database, tmp_path):
    index, url = tmp_path / "index", server.url(database)
    probe("make", index, 1, 0, 300, Q, E)
    copy(probe, index, url)
    probe("make", index, 1, 300, 20, Q, E)
    probe("remove", index, 10, 15)
    probe("caption", index, 5, "it's \\a\\ \"caption\"")
    report = copy(probe, index, url)
    assert (report["added"], report["removed"], report["pictures"]) == (21, 16, 305)
    assert counts(server, database) == "305|305"
    assert server.sql("SELECT caption FROM blip2.pictures WHERE caption <> ''", database) == ["it's \\a\\ \"caption\""]
    assert server.sql("SELECT value FROM blip2.source_values WHERE key = 'threshold'", database) == ["it's \"0.5\"; \\"]
    found = answers(probe, index, url, 50, "local,exact")
    assert found["exact"] == found["local"]


def test_names_are_bytes_and_never_sql(server, probe, database, tmp_path):
    index, url, schema = tmp_path / "index", server.url(database), 'x"; DROP TABLE "y'
    (tmp_path / "names").write_bytes(b"".join(name + b"\0" for name in TRICKS))
    probe("make", index, 3, 0, len(TRICKS), Q, E, tmp_path / "names")
    copy(probe, index, url, schema)
    found = answers(probe, index, url, 3, "local,exact,candidates", schema=schema, top=20)
    for way in ("local", "exact", "candidates"):
        assert sorted(bytes.fromhex(path) for _, path in found[way][0]) == sorted(TRICKS)
    assert found["exact"] == found["local"]
    for name in TRICKS[:2]:
        found = answers(probe, index, url, 1, "exact", os.fsdecode(name)[:-4], schema=schema)
        assert found["exact"] == [[]]  # below a folder of that name there is nothing


def test_two_indexes_side_by_side(server, probe, database, tmp_path):
    """Written at the same time by two processes; a content that both have is found once, with both files."""
    url = server.url(database)
    for i, first in enumerate((0, 250)):
        probe("make", tmp_path / f"index{i}", 1, first, 300, Q, E)
    both = [subprocess.Popen([probe.path, "copy", tmp_path / f"index{i}", url, "blip2"], stdout=subprocess.PIPE)
            for i in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert server.sql("SELECT count(*) FROM blip2.sources WHERE pending IS NULL", database) == ["2"]
    probe("make", tmp_path / "whole", 1, 0, 550, Q, E)
    found = answers(probe, tmp_path / "whole", url, 100, "local,exact", top=20)
    paths = [[path for _, path in hits] for hits in found["exact"]]
    assert all(len(set(hits)) == len(hits) == 20 for hits in paths)
    same = sum(len({p for _, p in a} & set(b)) for a, b in zip(found["local"], paths))
    assert same >= 0.97 * 20 * 100  # each index has steps of its own for its eight bits


def test_two_writers_of_one_index(server, probe, database, tmp_path):
    probe("make", tmp_path / "index", 1, 0, 1500, Q, E)
    command = [probe.path, "copy", tmp_path / "index", server.url(database), "blip2"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    reports = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert sorted(report["added"] for report in reports) == [0, 1500]
    assert counts(server, database) == "1500|1500"


def whole(server, probe, index, url, before):
    """Whether readers see a whole generation: the index's or the one before."""
    found = answers(probe, index, url, 5, "local,exact")
    return found["exact"] in (before, found["local"])


def test_a_server_that_goes_away(server, probe, database, tmp_path):
    """The connection is cut after any number of bytes: one line, and readers see one whole generation."""
    index, url = tmp_path / "index", server.url(database)
    probe("make", index, 1, 0, 40, Q, E)
    copy(probe, index, url)
    before = answers(probe, index, url, 5, "exact")["exact"]
    probe("make", index, 1, 40, 400, Q, E)
    size, failed = 430_000, 0
    for i in range(25):
        with cut_after(500 + i * i * size // 600, server.port) as port:
            done = subprocess.run([probe.path, "copy", index, server.url(database, port=port), "blip2"],
                                  capture_output=True, text=True, timeout=120)
        assert whole(server, probe, index, url, before)
        if done.returncode == 0:
            break
        failed += 1
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
        assert "127.0.0.1" in done.stderr and PASSWORD not in done.stderr
    assert failed >= 15
    copy(probe, index, url)
    assert counts(server, database) == "440|440"
    found = answers(probe, index, url, 20, "local,exact")
    assert found["exact"] == found["local"]


def test_a_killed_writer_is_taken_up(server, probe, database, tmp_path):
    index, url = tmp_path / "index", server.url(database)
    probe("make", index, 1, 0, 40, 32, 256)
    copy(probe, index, url)
    before = answers(probe, index, url, 5, "exact")["exact"]
    probe("make", index, 1, 40, 2500, 32, 256)  # batches of 8 MiB are committed one by one
    pending = []
    for cut in (200, 400_000, 13_000_000, 4_000_000):
        process = None
        with cut_after(cut, server.port, lambda: process and process.kill()) as port:
            process = subprocess.Popen([probe.path, "copy", index, server.url(database, port=port), "blip2"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            process.communicate(timeout=120)
        assert process.returncode != 0
        pending.append(int(server.sql("SELECT count(*) FROM blip2.pictures", database)[0]))
        assert whole(server, probe, index, url, before)
    assert pending == sorted(pending) and pending[-1] > pending[0], pending  # nothing is sent twice
    report = copy(probe, index, url)
    assert report["added"] == 2540 - pending[-1]
    assert counts(server, database) == "2540|2540"
    found = answers(probe, index, url, 20, "local,exact")
    assert found["exact"] == found["local"]


def test_an_interrupted_writer(server, probe, database, tmp_path):
    index, url = tmp_path / "index", server.url(database)
    probe("make", index, 1, 0, 12_000, Q, E)
    process = subprocess.Popen([probe.path, "copy", index, url, "blip2"], stderr=subprocess.DEVNULL)
    while not server.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'COPY pictures%'", database):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    copy(probe, index, url)
    assert counts(server, database) == "12000|12000"


def test_a_reader_keeps_its_generation(server, probe, database, tmp_path):
    """While a writer goes on, a reader's answers are all of one generation."""
    index, url = tmp_path / "index", server.url(database)
    probe("make", index, 1, 0, 200, Q, E)
    copy(probe, index, url)
    old = answers(probe, index, url, 400, "exact")["exact"]
    reader = subprocess.Popen([probe.path, "search", index, url, "blip2", "5", "400", "10", "exact"],
                              stdout=subprocess.PIPE, text=True)
    first = reader.stdout.readline()
    probe("make", index, 1, 200, 200, Q, E)
    copy(probe, index, url)
    lines = [first, *reader.stdout.read().splitlines()]
    assert reader.wait(120) == 0
    assert [[tuple(hit.split(":")) for hit in line.split()[3:]] for line in lines] == old


def one_line(probe, *args):
    lines = probe(*args, code=1).splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_bad_ends(server, probe, index, copied, tmp_path):
    """One clear line each, without the password."""
    url, lines = server.url(copied), {}
    search = ("1", "1", "10", "exact")
    bare = server.new_database("bare", extension=False)
    lines["password"] = one_line(probe, "copy", index, server.url(copied, password="wrong one"), "blip2")
    assert "password authentication failed" in lines["password"] and "wrong" not in lines["password"]
    lines["extension"] = one_line(probe, "copy", index, server.url(bare), "blip2")
    assert "lacks pgvector" in lines["extension"] and "CREATE EXTENSION vector" in lines["extension"]
    assert "lacks pgvector" in one_line(probe, "search", index, server.url(bare), "blip2", *search)
    assert "no index in schema other" in one_line(probe, "search", index, url, "other", *search)
    stranger = server.url(copied, role="stranger")
    assert "permission denied for schema blip2" in one_line(probe, "search", index, stranger, "blip2", *search)
    assert "permission denied for schema blip2" in one_line(probe, "copy", index, stranger, "blip2")
    assert "permission denied for database" in one_line(probe, "copy", index, stranger, "fresh")
    assert "does not exist" in one_line(probe, "copy", index, server.url("nowhere"), "blip2")
    assert "Connection refused" in one_line(probe, "copy", index, server.url(copied, port=1), "blip2")
    server.sql("CREATE SCHEMA theirs CREATE TABLE t (x int)", copied)
    server.sql("GRANT ALL ON SCHEMA theirs TO writer", copied)
    assert "schema theirs holds other tables" in one_line(probe, "copy", index, url, "theirs")
    assert "64 bytes, expected 1 to 63" in one_line(probe, "copy", index, url, "x" * 64)


def test_a_reader_needs_to_read_alone(server, probe, index, copied):
    server.sql("GRANT USAGE ON SCHEMA blip2 TO reader", copied)
    server.sql("GRANT SELECT ON ALL TABLES IN SCHEMA blip2 TO reader", copied)
    url = server.url(copied, role="reader")
    found = answers(probe, index, url, 5, "local,exact,candidates")
    assert found["exact"] == found["local"]
    assert "permission denied" in one_line(probe, "copy", index, url, "blip2")


def test_other_versions_and_models_are_refused(server, probe, database, tmp_path):
    index, other, url = tmp_path / "index", tmp_path / "other", server.url(database)
    probe("make", index, 1, 0, 20, Q, E)
    probe("make", other, 1, 0, 20, Q, E // 2)
    copy(probe, index, url)
    assert "another model" in one_line(probe, "copy", other, url, "blip2")
    server.sql("UPDATE blip2.about SET value = '99' WHERE key = 'format'", database)
    for line in (one_line(probe, "copy", index, url, "blip2"),
                 one_line(probe, "search", index, url, "blip2", "1", "1", "10", "exact")):
        assert 'format "99", expected "1"' in line


@pytest.mark.parametrize("url", [
    "postgresql://u:se@cret@127.0.0.1/d", "postgresql://u:se/cret@127.0.0.1/d", "postgresql://u:secret/d",
    "postgresql://u:se%zzcret@127.0.0.1/d", "postgresql://u:secret@127.0.0.1/d?nonsense=1", "mysql://u:secret@h/d",
    "postgresql://u:secret@127.0.0.1:port/d"])
def test_urls_in_doubt_show_nothing(probe, index, url):
    line = one_line(probe, "copy", index, url, "blip2")
    assert line.startswith("URL of Postgres: cannot be read;") and "cret" not in line


def test_damaged_rows_are_refused(server, probe, database, tmp_path):
    index, url = tmp_path / "index", server.url(database)
    probe("make", index, 1, 0, 20, Q, E)
    copy(probe, index, url)
    server.sql("UPDATE blip2.pictures SET head = '\\x00' WHERE number = 3", database)
    assert "picture 3 of source 1 has 1 + 0 bytes" in one_line(
        probe, "search", index, url, "blip2", "1", "1", "10", "exact")
