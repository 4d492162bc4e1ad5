"""The demo's clip art: Debian's openclipart packages, public domain, with titles and keywords.

The pictures are those of openclipart-png; titles and keywords stand in openclipart-svg (Dublin
Core). A title that names a collection is of no use; the file's name then says more.
"""

import collections
import hashlib
import html
import io
import re
import struct
import subprocess
import sys
import tarfile

from PIL import Image

from demo_texts import EMPTY_WORDS, plain, unique

ROOT = "./usr/share/openclipart/"
# Folders of patterns, cards and sets of icons whose files are not named by what they show.
LEFT_OUT = ("shapes/", "special/", "computer/icons/", "computer/buttons/", "computer/diagrams/",
            "recreation/games/cards/", "signs_and_symbols/led/", "signs_and_symbols/map_symbols/",
            "signs_and_symbols/flags/semaphore/", "transportation/aiga-symbols/",
            "transportation/roadsigns/", "unsorted/duplicates/", "buttons/", "logos/",
            "people/stickmen/")
MOST_PIXELS = 4_000_000  # a handful are far larger; they would cost more than they teach
COLLECTION = 4           # more pictures than this with one title: the title names a collection
NEAR = 6                 # bits of 256 in which the outlines of near-equal pictures differ
TITLE = re.compile(r"<dc:title[^>]*>(.*?)</dc:title>", re.DOTALL)
WORD = re.compile(r"<rdf:li[^>]*>(.*?)</rdf:li>", re.DOTALL)


def deb_files(packages, name, suffix):
    """Yields (path below the art's folder, bytes) of a Debian package's files with that suffix."""
    found = sorted(packages.glob(f"{name}_*.deb"))
    if not found:
        sys.exit(f"no {name}_*.deb in {packages}: run tools/setup.sh demo")
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", found[-1]], stdout=subprocess.PIPE) as deb:
        with tarfile.open(fileobj=deb.stdout, mode="r|") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(suffix):
                    path = member.name[len(ROOT) + 4:-len(suffix)]
                    yield path, archive.extractfile(member).read()


def read_metadata(svg):
    """(title, creators' words, keywords) of an SVG's Dublin Core."""
    text = svg.decode("utf-8", errors="replace")
    titles = [html.unescape(t).strip() for t in TITLE.findall(text)] or [""]
    words = [plain(html.unescape(w)) for w in WORD.findall(text)]
    title = re.sub(r"^clipart by .* - ", "", titles[0], flags=re.IGNORECASE)
    return title, set(plain(" ".join(titles[1:])).split()), words


def cleaned(text, creators):
    """The words of a title or a file's name that say what is seen: no numbers, no author."""
    words = re.sub(r"\d+", " ", plain(text.replace("_", " "))).replace("-", " ").split()
    kept = [w for w in words if w not in EMPTY_WORDS and w not in creators and len(w) > 1]
    return " ".join(kept) if len(kept) <= 5 else ""


def kinds_of(path):
    """The folders of a picture as words, the innermost first: animals/big_cats is big cat."""
    words = [plain(folder.replace("_", " ")) for folder in reversed(path.split("/")[:-1])]
    return [singular(word) for word in words if not set(word.split()) <= EMPTY_WORDS]


def singular(words):
    return re.sub(r"(?<=[a-z]{2}[^s])s$", "", words)


def title_of(path, title, creators):
    """A picture's title, or its file's name where there is none; flags are named by their place."""
    name = path.rsplit("/", 1)[-1]
    words = cleaned(title, creators) or cleaned(name, creators)
    flag = "/flags/" in path and "flag" not in words
    return f"flag of {words}" if flag and words else words


def described(packages, known):
    """Each picture as {path, title, keywords, kind}. `known`: the words that count as English.

    A title with fewer than half of its words among them (other languages, abbreviations) is left
    out and a keyword stands in its place; a picture of which then nothing is known is left out.
    """
    raw = {path: read_metadata(svg) for path, svg in deb_files(packages, "openclipart-svg", ".svg")
           if not path.startswith(LEFT_OUT)}
    uses = collections.Counter(title for title, _, _ in raw.values())
    result = []
    for path, (title, creators, words) in sorted(raw.items()):
        if not title or uses[title] > COLLECTION:
            title = path.rsplit("/", 1)[-1]
        title = title_of(path, title, creators)
        kinds = kinds_of(path)
        keywords = unique(singular(cleaned(w, creators)) for w in words)
        keywords = unique([w for w in keywords if set(w.split()) <= known] + kinds)
        if 2 * len(set(title.split()) & known) < len(title.split()):
            title = keywords[0] if keywords else ""
        if title:
            result.append({"path": path, "title": title, "keywords": keywords,
                           "kind": kinds[0] if kinds else ""})
    return result


def outline(picture):
    """256 bits of a small grey copy over white: is each point darker than its right neighbour."""
    small = Image.new("RGBA", picture.size, "white")
    small.alpha_composite(picture.convert("RGBA"))
    grey = list(small.convert("L").resize((17, 16), Image.Resampling.BOX).getdata())
    bits = 0
    for row in range(16):
        for column in range(16):
            left, right = grey[row * 17 + column], grey[row * 17 + column + 1]
            bits = bits << 1 | (left + 2 < right)
    return bits


def groups_of_alike(art, outlines):
    """Lists of places in `art`, joined where titles are equal or pictures nearly so."""
    parent = list(range(len(art)))

    def find(place):
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first = {}
    for place, picture in enumerate(art):
        parent[find(place)] = find(first.setdefault(picture["title"], place))
    for place, bits in enumerate(outlines):
        for other in range(place):
            if (bits ^ outlines[other]).bit_count() <= NEAR:
                parent[find(place)] = find(other)
    groups = collections.defaultdict(list)
    for place in range(len(art)):
        groups[find(place)].append(place)
    return list(groups.values())


def split(art, outlines):
    """Places of the test split (an eighth) and of validation (half as many), by hash of title."""
    groups = groups_of_alike(art, outlines)
    groups.sort(key=lambda g: hashlib.sha256(min(art[i]["title"] for i in g).encode()).digest())
    test, validation = set(), set()
    for group in groups:
        if len(group) > len(art) // 50:
            continue  # a chain of look-alikes stays in training as a whole
        if len(test) < len(art) // 8:
            test.update(group)
        elif len(validation) < len(art) // 16:
            validation.update(group)
    return test, validation


def load(packages, known):
    """The pictures that are described, their PNG files, and their outlines."""
    art = {picture["path"]: picture for picture in described(packages, known)}
    files, outlines = {}, {}
    for path, png in deb_files(packages, "openclipart-png", ".png"):
        if path not in art:
            continue
        width, height = struct.unpack(">II", png[16:24])
        if width * height > MOST_PIXELS or min(width, height) < 16:
            continue
        with Image.open(io.BytesIO(png)) as picture:
            files[path], outlines[path] = png, outline(picture)
    kept = [picture for path, picture in art.items() if path in files]
    return kept, files, [outlines[picture["path"]] for picture in kept]
