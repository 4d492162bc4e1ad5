"""The tools' own rules, on small cases."""

import base64
import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import check_layers  # noqa: E402
import demo  # noqa: E402
import demo_clip_art  # noqa: E402
import demo_emoji  # noqa: E402
import demo_report  # noqa: E402
import demo_texts  # noqa: E402
import prepare_demo_data as demo_data  # noqa: E402
import svg_chart  # noqa: E402
import thumbnail  # noqa: E402


def test_a_room_may_include_only_rooms_above_it():
    everything = set(check_layers.LEVEL)
    check = check_layers.check_room_include
    assert check("model", everything, "blip2/io/json.h", "a.cpp:1") is None
    assert check("model", everything, "blip2/model/names.h", "a.cpp:1") is None
    assert "not above" in check("io", everything, "blip2/model/names.h", "a.cpp:1")
    assert "not above" in check("text", everything, "blip2/image/image.h", "a.cpp:1")
    assert "DEPS" in check("model", {"model"}, "blip2/io/json.h", "a.cpp:1")
    assert "private" in check("model", everything, "blip2/io/zip_internal.h", "a.cpp:1")
    assert "no room" in check("model", everything, "blip2/attic/json.h", "a.cpp:1")


def test_two_types_of_one_name_in_a_namespace_are_found():
    types = check_layers.types_of("namespace blip2 {\nnamespace {\nstruct A {\n};\n}  // namespace\n"
                                  "class B final : public C {\n};\nclass D::E {\n};\nclass F;\n}\n"
                                  "namespace blip2::testing {\nenum class G {\n};\n}\n")
    assert types == {"blip2::B", "blip2::testing::G"}
    check = check_layers.check_types
    assert not list(check({("A", "library"): ["a.h"], ("B", "tests of io"): ["b.h"], ("B", "tests of nn"): ["c.h"]}))
    assert "a.h, b.h" in next(check({("A", "library"): ["a.h", "b.h"]}))
    assert "a.h, b.h" in next(check({("A", "library"): ["a.h"], ("A", "tests of io"): ["b.h"]}))


def test_titles_are_read_as_people_would_say_them():
    assert demo_emoji.title_of("flag: Côte d’Ivoire") == "flag of côte d'ivoire"
    assert demo_emoji.title_of("man: red hair") == "man with red hair"
    assert demo_emoji.title_of("keycap: 1") == "keycap 1"
    assert demo_emoji.title_of("A button (blood type)") == "a button"
    assert demo_emoji.code_of("0023-fe0f-20e3") == demo_emoji.code_of("23-20E3") == "23-20E3"


def test_captions_name_the_title_and_what_it_does_not_say():
    assert demo_texts.captions("dog face", ["dog", "pet", "puppy"], "animal") == [
        "dog face", "dog face, animal"]
    assert demo_texts.captions("clock", ["clock"], "") == ["clock"]


def emoji_of(title):
    return {"code": title, "title": title}


def test_emoji_alike_stay_in_one_split():
    emoji = [emoji_of(f"name {i}") for i in range(100)]
    artwork = {"a": {f"name {i}": (f"{i}.png", bytes([i // 2])) for i in range(100)},
               "b": {f"name {i}": (f"{i}.png", bytes([i])) for i in range(90)}}
    test, validation = demo_emoji.split(emoji, artwork)
    assert len(test) == 20 and len(validation) == 10 and not test & validation
    place = {e["title"]: i for i, e in enumerate(emoji)}
    for part in (test, validation):
        assert {place[f"name {i ^ 1}"] for i in part} == part
    people = [emoji_of("man running"), emoji_of("dog"), emoji_of("woman running")]
    assert sorted(demo_emoji.groups_of_alike(people, {})) == [[0, 2], [1]]


def test_clip_art_is_named_by_what_it_shows():
    assert demo_clip_art.cleaned("blacksmith_anvil_ganson_01", {"ganson"}) == "blacksmith anvil"
    assert demo_clip_art.title_of("a/flags/europe/ireland", " ireland", set()) == "flag of ireland"
    assert demo_clip_art.title_of("tools/saw_02", "", set()) == "saw"
    assert demo_clip_art.kinds_of("animals/big_cats/lion") == ["big cat", "animal"]
    assert demo_clip_art.kinds_of("signs_and_symbols/clock") == []


def test_clip_art_alike_stays_in_one_split():
    art = [{"title": title} for title in ("pear", "apple", "pear", "plum")]
    outlines = [0, (1 << 200) - 1, 1 << 255, (1 << 200) - 2]
    assert sorted(demo_clip_art.groups_of_alike(art, outlines)) == [[0, 2], [1, 3]]


def test_shape_captions_follow_the_answers():
    def record(image, question, answer):
        return {"image": image, "question": question, "answer": answer}

    records = [record("0", "what is the blue shape?", "circle"),
               record("0", "does the image not contain a triangle?", "yes"),
               record("1", "is there a red shape?", "yes"),
               record("1", "is no circle present?", "yes"),
               record("1", "what shape is present?", "rectangle"),
               record("2", "is there a red shape?", "no")]
    assert demo_data.shape_captions(records) == [{"image": "0", "caption": "a blue circle"},
                                                 {"image": "1", "caption": "a red rectangle"}]


def test_lines_are_json(tmp_path):
    records = [{"image": "a.png", "caption": "åland islands flag"}]
    assert demo_data.write_lines(tmp_path / "deep" / "a.jsonl", records) == 1
    assert json.loads((tmp_path / "deep" / "a.jsonl").read_text(encoding="utf-8")) == records[0]


def test_terminal_pictures_have_the_files_colours(tmp_path):
    png = base64.b64decode(  # 2 x 2: red, green, half-transparent blue, transparent
        "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAYAAABytg0kAAAAFUlEQVR4nGP4z8DwHwyBdAMnJycDAD2o"
        "BZdoFpWVAAAAAElFTkSuQmCC")
    (tmp_path / "a.png").write_bytes(png)
    assert thumbnail.read_png(tmp_path / "a.png") == [[(255, 0, 0), (0, 255, 0)],
                                                      [(127, 127, 255), (255, 255, 255)]]


def test_chart_scales_and_names_its_lines():
    chart = svg_chart.line_chart({"loss <1>": [(0, 2.0), (10, 1.0), (20, float("nan"))]}, "step")
    assert "loss &lt;1&gt;" in chart and chart.count("<path") == 1 and "nan" not in chart
    assert svg_chart.nice_ticks(0, 9.5) == [0, 2, 4, 6, 8, 10]
    assert "nothing" in svg_chart.line_chart({}, "step")


def test_log_lines_become_series(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1, "lr": 0.1, "loss": 2.5, "itc": 1, "samples_per_second": 9, "data_share": 0}\n'
                   '{"step": 1, "validation_loss": 3}\n')
    assert demo_report.read_log(log) == {"loss": [(1, 2.5)], "itc": [(1, 1)],
                                         "validation_loss": [(1, 3)]}


def test_an_interrupted_stage_goes_on(tmp_path):
    program = tmp_path / "program"
    (tmp_path / "data").mkdir()
    runs = demo.Demo(program, tmp_path)

    calls = tmp_path / "calls"
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nmkdir -p {tmp_path}/stage2\nexit $(cat {tmp_path}/code)\n')
    program.chmod(0o755)
    (tmp_path / "blip2-torch").write_text("what the program becomes")
    (tmp_path / "code").write_text("130")
    with pytest.raises(KeyboardInterrupt):
        runs.train(2, "stage1")
    assert runs.interrupted(2) and not runs.interrupted(1)
    (tmp_path / "code").write_text("0")
    runs.train(2, "stage1")
    assert not runs.interrupted(2)
    runs.train(2, "stage1")
    first, second, third = calls.read_text().splitlines()
    assert second == first + " --resume" and third == first
    with pytest.raises(SystemExit):
        (tmp_path / "code").write_text("1")
        runs.train(2, "stage1")


def test_best_matches_come_first():
    lines = [{"image": "a", "text": t, "itc": c, "itm": m}
             for t, c, m in (("x", 0.5, 0.1), ("y", 0.4, 0.9), ("z", 0.1, 0.2))]
    assert [line["text"] for line in demo.best(lines, "image", "a", 2)] == ["y", "x"]
    assert demo.best(lines, "image", "b") == []
