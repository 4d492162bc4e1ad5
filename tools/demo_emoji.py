"""The demo's emoji: four artists' drawings, with CLDR's names and keywords."""

import hashlib
import json
import pathlib
import re
import sys
import tarfile

from demo_texts import plain, unique

# Artist → (npm package, folder of the pictures, their suffix).
ARTISTS = {
    "google": ("emoji-datasource-google", "package/img/google/64/", ".png"),
    "twitter": ("emoji-datasource-twitter", "package/img/twitter/64/", ".png"),
    "fluent": ("lobehub-fluent-emoji-3d", "package/assets/", ".webp"),
    "emojione": ("emojione", "package/assets/png/", ".png"),
}
HELD_OUT = "twitter"
# Words that stand in the names of very many emoji, so that saying them shows nothing.
GENERIC = frozenset({"face", "person", "man", "woman", "flag"})
PEOPLE = re.compile(r"\b(person|people|man|men|woman|women|boy|girl|child|baby|adult|older|in)\b")
# CLDR's subgroups as a word that people say of a picture.
KINDS = {
    "animal-mammal": "animal", "animal-bird": "bird", "animal-amphibian": "animal",
    "animal-reptile": "reptile", "animal-marine": "sea animal", "animal-bug": "insect",
    "plant-flower": "flower", "plant-other": "plant", "food-fruit": "fruit",
    "food-vegetable": "vegetable", "food-prepared": "food", "food-asian": "food",
    "food-sweet": "dessert", "drink": "drink", "dishware": "dishes", "place-building": "building",
    "place-religious": "building", "transport-ground": "vehicle", "transport-water": "boat",
    "transport-air": "aircraft", "sport": "sport", "game": "game", "clothing": "clothing",
    "musical-instrument": "musical instrument", "tool": "tool", "household": "household",
    "sky-weather": "weather", "music": "music", "computer": "computer", "office": "office",
    "writing": "writing", "book-paper": "paper", "money": "money", "mail": "mail",
    "science": "science", "medical": "medicine", "heart": "heart", "time": "time",
    "arrow": "arrow", "zodiac": "zodiac", "religion": "religion", "family": "family",
}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def package(packages, name):
    found = sorted(packages.glob(f"{name}-[0-9]*.tgz"))
    if not found:
        sys.exit(f"no {name}-*.tgz in {packages}: run tools/setup.sh demo")
    return found[-1]


def code_of(name):
    """A picture's or a sequence's code points as all artists' names can be compared by."""
    return "-".join(c.lstrip("0") for c in name.upper().split("-") if c not in ("FE0F", "200D"))


def read_artwork(packages, artist):
    """The pictures {code: (file name, bytes)} of one artist."""
    name, folder, suffix = ARTISTS[artist]
    pictures = {}
    with tarfile.open(package(packages, name)) as archive:
        for member in archive:
            if member.isfile() and member.name.startswith(folder) and member.name.endswith(suffix):
                file = member.name[len(folder):]
                pictures[code_of(file[:-len(suffix)])] = (file, archive.extractfile(member).read())
    return pictures


def read_json(packages, name, path):
    with tarfile.open(package(packages, name)) as archive:
        return json.load(archive.extractfile(path))


def title_of(label):
    """CLDR's label as a caption: "flag: Norway" is the flag of norway, "man: beard" has one."""
    head, colon, rest = label.partition(": ")
    if not colon:
        return plain(label)
    if head == "flag":
        return f"flag of {plain(rest)}"
    joint = " with " if head in ("person", "man", "woman") else " "
    return (plain(head) + joint + plain(rest)).strip()


def described(packages):
    """Each emoji as {code, image, title, keywords, kind}, in the order of emoji.json."""
    groups = read_json(packages, "emojibase-data", "package/meta/groups.json")["subgroups"]
    by_code = {code_of(e["hexcode"]): e
               for e in read_json(packages, "emojibase-data", "package/en/data.json")}
    result = []
    for e in read_json(packages, "emoji-datasource-google", "package/emoji.json"):
        named = by_code.get(code_of(e["unified"]))
        if named is None or "subgroup" not in named:
            continue
        keywords = unique(plain(tag) for tag in named.get("tags", []))
        result.append({"code": code_of(e["unified"]), "title": title_of(named["label"]),
                       "keywords": [word for word in keywords if word not in GENERIC],
                       "kind": KINDS.get(groups[str(named["subgroup"])], "")})
    return [e for e in result if e["title"]]


def stem(title):
    """What a title says but for who does it: "woman running" and "man running" have one stem."""
    return " ".join(PEOPLE.sub(" ", title).split()) or title


def groups_of_alike(emoji, artwork):
    """Lists of places in `emoji`, joined where an artist's files are equal or titles' stems are."""
    group_of = list(range(len(emoji)))

    def join(key_of):
        first = {}
        for place, e in enumerate(emoji):
            key = key_of(e)
            if key is None:
                continue
            old, new = group_of[place], group_of[first.setdefault(key, place)]
            group_of[:] = [new if g == old else g for g in group_of]

    for pictures in artwork.values():
        join(lambda e: pictures.get(e["code"], (None, None))[1])
    join(lambda e: stem(e["title"]))
    groups = {}
    for place, group in enumerate(group_of):
        groups.setdefault(group, []).append(place)
    return list(groups.values())


def split(emoji, artwork):
    """Places of the test split (a fifth) and of the validation split (a tenth), by hash of title."""
    groups = groups_of_alike(emoji, artwork)
    groups.sort(key=lambda group: digest(min(emoji[i]["title"] for i in group)))
    test, validation = set(), set()
    for group in groups:
        if len(test) < len(emoji) // 5:
            test.update(group)
        elif len(validation) < len(emoji) // 10:
            validation.update(group)
    return test, validation


def once_titled(emoji):
    """Without later emoji of a title that an earlier one has."""
    seen = set()
    return [e for e in emoji if not (e["title"] in seen or seen.add(e["title"]))]


def load(packages: pathlib.Path):
    """The emoji that google and the held-out artist drew, and each artist's pictures."""
    artwork = {artist: read_artwork(packages, artist) for artist in ARTISTS}
    emoji = [e for e in once_titled(described(packages))
             if e["code"] in artwork["google"] and e["code"] in artwork[HELD_OUT]]
    return emoji, artwork
