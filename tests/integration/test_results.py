"""What is printed and written of answers: one line a result, the data's ids, the files that servers take."""

import json

import pytest


@pytest.fixture(scope="module")
def pngs(pictures):
    return sorted(pictures.glob("*.png"))[:3]


@pytest.fixture(scope="module")
def coco(pictures, pngs, tmp_path_factory):
    """A COCO list of pictures without captions, with ids 101 and on."""
    images = [{"id": 101 + i, "file_name": path.name} for i, path in enumerate(pngs)]
    file = tmp_path_factory.mktemp("coco") / "annotations" / "image_info_test.json"
    file.parent.mkdir()
    for path in pngs:
        (file.parent / path.name).symlink_to(path)
    file.write_text(json.dumps({"images": images}))
    return file


@pytest.fixture(scope="module")
def questions(pngs, tmp_path_factory):
    file = tmp_path_factory.mktemp("questions") / "q.jsonl"
    rows = [{"image": str(path), "question": "what color is it?", "image_id": 7 + i, "question_id": 70 + i}
            for i, path in enumerate(pngs)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_one_line_a_result(run, stage2, pngs, tmp_path):
    """Line breaks and tabs of a question or a name do not break the rows."""
    odd = tmp_path / "a\nb\tc.png"
    odd.write_bytes(pngs[0].read_bytes())
    done = run("vqa", "--model", stage2, "--question", "what\r\ncolor\u2028is\tit?", odd, pngs[1])
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(rows) == 2 and all(len(row) == 3 for row in rows)
    assert rows[0][0].endswith(r"a\nb\tc.png") and rows[0][1] == r"what\r\ncolor\u2028is\tit?"
    assert len(run("caption", "--model", stage2, odd, pngs[1]).stdout.splitlines()) == 2
    assert len(run("match", "--model", stage2, "--text", "a\nb", odd).stdout.splitlines()) == 1


def test_captions_keep_the_ids(run_json, stage2, coco, pngs, tmp_path):
    results = tmp_path / "captions.json"
    rows = run_json("caption", "--model", stage2, "--images-from", coco, "--coco-results", results)
    assert [row["image_id"] for row in rows] == [101, 102, 103]
    assert json.loads(results.read_text()) == [
        {"image_id": row["image_id"], "caption": row["text"]} for row in rows]
    plain = run_json("caption", "--model", stage2, *pngs)
    assert [row["text"] for row in plain] == [row["text"] for row in rows]
    assert not any("image_id" in row for row in plain)


def test_answers_keep_the_ids(run_json, stage2, questions, pngs, tmp_path):
    results = tmp_path / "answers.json"
    rows = run_json("vqa", "--model", stage2, "--questions-from", questions, "--vqa-results", results)
    assert [(row["image_id"], row["question_id"]) for row in rows] == [(7, 70), (8, 71), (9, 72)]
    assert json.loads(results.read_text()) == [
        {"question_id": row["question_id"], "answer": row["answer"]} for row in rows]


def test_vqav2_files_have_ids(run_json, stage2, pngs, tmp_path):
    name = "COCO_val2014_000000000042.jpg"
    (tmp_path / name).write_bytes(pngs[0].read_bytes())
    (tmp_path / "v2_OpenEnded_mscoco_val2014_questions.json").write_text(json.dumps({
        "data_subtype": "val2014", "questions": [
            {"image_id": 42, "question": "what color is it?", "question_id": 420 + i} for i in range(2)]}))
    rows = run_json("vqa", "--model", stage2, "--questions-from", tmp_path / "v2_OpenEnded_mscoco_val2014_questions.json",
                    "--vqa-results", tmp_path / "out.json")
    assert [row["question_id"] for row in json.loads((tmp_path / "out.json").read_text())] == [420, 421]
    assert [row["image_id"] for row in rows] == [42, 42]


def test_a_result_file_needs_ids(run, stage2, pngs, tmp_path):
    listed, results = tmp_path / "list.txt", tmp_path / "out.json"
    listed.write_text("".join(f"{path}\n" for path in pngs))
    done = run("caption", "--model", stage2, "--images-from", listed, "--coco-results", results, code=1)
    assert "image_id" in done.stderr and str(pngs[0]) in done.stderr and not done.stdout
    twice = tmp_path / "twice.jsonl"
    twice.write_text(2 * (json.dumps({"image": str(pngs[0]), "question": "q?", "question_id": 5}) + "\n"))
    done = run("vqa", "--model", stage2, "--questions-from", twice, "--vqa-results", results, code=1)
    assert "question_id 5 is there twice" in done.stderr and not results.exists()
    run("caption", "--model", stage2, "--coco-results", results, pngs[0], code=2)


def test_a_result_file_is_whole_or_not_there(run, stage2, questions, tmp_path):
    (tmp_path / "file").write_text("")
    done = run("vqa", "--model", stage2, "--questions-from", questions, "--vqa-results", tmp_path / "file" / "out.json",
               code=1)
    assert "out.json" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
