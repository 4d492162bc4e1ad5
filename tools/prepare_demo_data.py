"""Writes the demo's pictures and JSONL files (Python standard library only).

Emoji artwork: every emoji that both artists drew, its name as the caption. Of the held-out artist
a fifth is the test split and a tenth the validation split (for choosing models, never the test);
everything else, with all of the other artist's pictures, is for training. The split is a function
of the names; emoji that an artist drew with the very same picture stay together, so no picture of
the test split is in training under another name.

easy-VQA: its official test split as it is; of its training pictures a tenth is held back for
validation, with all their questions.

  emoji_{train,validation,test}.jsonl      {"image", "caption"}
  vqa_{train,validation,test}.jsonl        {"image", "question", "answer"}
  vqa_captions_train.jsonl                 {"image", "caption": "a blue rectangle"}, from the
                                           training questions' answers
  tiny/{my,val}.jsonl                      a few emoji, as an example of one's own data
"""

import argparse
import hashlib
import json
import pathlib
import shutil
import sys
import tarfile

ARTISTS = ("google", "twitter")
PICTURES = "package/img/{artist}/64/"


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def read_artwork(packages, artist):
    """Returns emoji.json and the 64-pixel pictures {file name: bytes} of one artist."""
    found = sorted(packages.glob(f"emoji-datasource-{artist}-*.tgz"))
    if not found:
        sys.exit(f"no emoji-datasource-{artist}-*.tgz in {packages}: run tools/setup.sh demo")
    folder, pictures, emoji = PICTURES.format(artist=artist), {}, []
    with tarfile.open(found[-1]) as archive:
        for member in archive:
            if member.name == "package/emoji.json":
                emoji = json.load(archive.extractfile(member))
            elif member.isfile() and member.name.startswith(folder):
                pictures[member.name[len(folder):]] = archive.extractfile(member).read()
    return emoji, pictures


def captions(emoji):
    """One caption an emoji: its name in lower case; the short name where two share a name."""
    names = [" ".join(e["name"].lower().split()) for e in emoji]
    return [e["short_name"].replace("_", " ").replace("-", " ") if names.count(name) > 1 else name
            for e, name in zip(emoji, names)]


def groups_of_same_picture(emoji, artwork):
    """Sets of indices joined wherever one artist's picture files are equal."""
    group_of = list(range(len(emoji)))
    for pictures in artwork.values():
        first = {}
        for index, e in enumerate(emoji):
            other = first.setdefault(pictures[e["image"]], index)
            old, new = group_of[index], group_of[other]
            group_of = [new if g == old else g for g in group_of]
    groups = {}
    for index, group in enumerate(group_of):
        groups.setdefault(group, []).append(index)
    return list(groups.values())


def split_emoji(emoji, names, artwork):
    """Indices of the test split (a fifth) and the validation split (a tenth), by hash of name."""
    groups = groups_of_same_picture(emoji, artwork)
    groups.sort(key=lambda group: digest(min(names[i] for i in group)))
    test, validation = set(), set()
    for group in groups:
        if len(test) < len(emoji) // 5:
            test.update(group)
        elif len(validation) < len(emoji) // 10:
            validation.update(group)
    return test, validation


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


def prepare_emoji(packages, output, held_out):
    artwork = {}
    for artist in ARTISTS:
        emoji, artwork[artist] = read_artwork(packages, artist)
    emoji = [e for e in emoji if all(e["image"] in pictures for pictures in artwork.values())]
    names = captions(emoji)
    if len(set(names)) != len(names):
        sys.exit("two emoji share a caption: " + str({n for n in names if names.count(n) > 1}))
    test, validation = split_emoji(emoji, names, artwork)

    def records(artist, keep, prefix=""):
        return [{"image": f"{prefix}emoji/{artist}/{e['image']}", "caption": name}
                for i, (e, name) in enumerate(zip(emoji, names)) if keep(i)]

    for artist, pictures in artwork.items():
        write_pictures(output / "emoji" / artist, {e["image"]: pictures[e["image"]] for e in emoji})
    train = [r for artist in ARTISTS for r in
             records(artist, lambda i: artist != held_out or i not in test | validation)]
    small = {i for i, name in enumerate(names) if int(digest(name), 16) % 4 == 0}
    mine = records(held_out, lambda i: i in small - test - validation, "../")
    return {
        "emoji_train": write_lines(output / "emoji_train.jsonl", train),
        "emoji_validation": write_lines(output / "emoji_validation.jsonl",
                                        records(held_out, lambda i: i in validation)),
        "emoji_test": write_lines(output / "emoji_test.jsonl",
                                  records(held_out, lambda i: i in test)),
        "tiny/my": write_lines(output / "tiny" / "my.jsonl", mine[:-48]),
        "tiny/val": write_lines(output / "tiny" / "val.jsonl", mine[-48:]),
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
    held_back = {r["image"] for r in records if int(digest(r["image"]), 16) % 10 == 0}
    train = [r for r in records if r["image"] not in held_back]
    return {
        "vqa_train": write_lines(output / "vqa_train.jsonl", train),
        "vqa_validation": write_lines(output / "vqa_validation.jsonl",
                                      [r for r in records if r["image"] in held_back]),
        "vqa_test": write_lines(output / "vqa_test.jsonl", vqa_records(package, "test")),
        "vqa_captions_train": write_lines(output / "vqa_captions_train.jsonl",
                                          shape_captions(train)),
    }


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packages", type=pathlib.Path, default=root / ".cache" / "packages",
                        help="folder with the npm packages' .tgz files")
    parser.add_argument("--site-packages", type=pathlib.Path, help="folder with easy_vqa")
    parser.add_argument("--output", type=pathlib.Path, default=root / "build" / "demo" / "data")
    parser.add_argument("--held-out", choices=ARTISTS, default="twitter",
                        help="the artist of whom a fifth is held out")
    arguments = parser.parse_args()
    site = arguments.site_packages or next(root.glob(".venv/lib/python3*/site-packages"), root)
    counts = prepare_emoji(arguments.packages, arguments.output, arguments.held_out)
    counts |= prepare_vqa(site, arguments.output)
    for name, count in counts.items():
        print(f"{count:6d}  {name}.jsonl")


if __name__ == "__main__":
    main()
