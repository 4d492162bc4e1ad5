"""The tools' own rules, on small cases."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import check_layers  # noqa: E402
import prepare_demo_data as demo_data  # noqa: E402


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


def test_captions_are_unique():
    emoji = [{"name": "MAN IN TUXEDO", "short_name": "man_in_tuxedo"},
             {"name": "MAN IN TUXEDO", "short_name": "person_in_tuxedo"},
             {"name": "ROLLER  SKATE", "short_name": "roller_skate"}]
    assert demo_data.captions(emoji) == ["man in tuxedo", "person in tuxedo", "roller skate"]


def test_equal_pictures_stay_in_one_split():
    emoji = [{"image": f"{i}.png"} for i in range(100)]
    names = [f"name {i}" for i in range(100)]
    artwork = {"a": {f"{i}.png": bytes([i // 2]) for i in range(100)},
               "b": {f"{i}.png": bytes([i]) for i in range(100)}}
    test, validation = demo_data.split_emoji(emoji, names, artwork)
    assert len(test) == 20 and len(validation) == 10 and not test & validation
    assert all({i ^ 1 for i in part} == part for part in (test, validation))


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
