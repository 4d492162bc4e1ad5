"""Checks who includes whom: a folder may include only folders above it in the house list.

Also: a room's CMakeLists.txt names (directly or through others) every room that it includes, rooms
for untrusted files see nothing of LibTorch, headers named *_internal.h stay in their room, and
every include of our own is written from the root ("blip2/room/file.h"). No two files define a type
of one name outside an anonymous namespace: the linker would take functions of either for both.
"""

import pathlib
import re
import sys

# Folders on one line do not include each other.
HOUSE = [
    ["base"],
    ["io"],
    ["text", "image"],
    ["chat"],
    ["search"],
    ["postgres"],
    ["nn", "processes"],
    ["vision", "qformer", "language"],
    ["decoding"],
    ["objectives"],
    ["data"],
    ["model"],
    ["evaluation", "report", "retrieval"],
    ["capfilt", "answers", "indexing"],
    ["recipe"],
    ["optimiser", "costs"],
    ["tasks"],
    ["planning"],
    ["training"],
    ["http", "protocols", "serving"],
    ["service"],
]
WITHOUT_TORCH = {"base", "io", "text", "image", "chat", "search", "postgres", "http",
                 "protocols"}
LEVEL = {room: level for level, rooms in enumerate(HOUSE) for room in rooms}
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)
TYPE = re.compile(
    r"^(?:struct|class|union|enum(?: class)?) (\w+)(?: final)?(?:\s*:(?!:)[^;{]*)?\s*\{", re.MULTILINE)
NAMESPACE = re.compile(r"^namespace ([\w:]+) \{$", re.MULTILINE)
HIDDEN = re.compile(r"^namespace \{\n.*?^\}  // namespace$", re.MULTILINE | re.DOTALL)
TORCH = re.compile(r"^(torch|ATen|c10|caffe2)/")
ROOT = pathlib.Path(__file__).resolve().parent.parent


def declared_rooms(room, seen=None):
    """The rooms that a room links, itself and those reached through others included."""
    seen = set() if seen is None else seen
    seen.add(room)
    lists = ROOT / "blip2" / room / "CMakeLists.txt"
    call = re.search(r"blip2_room\(\s*\w+([^)]*)\)", lists.read_text() if lists.exists() else "")
    words = call.group(1).split("LIBS")[0].split() if call else []
    for word in words:
        if word in LEVEL and word not in seen:
            declared_rooms(word, seen)
    return seen


def check_room_include(room, target, path, where):
    other = path.split("/")[1]
    if other not in LEVEL:
        return f"{where}: {path}: no room {other} in the house list"
    if other == room:
        return None
    if LEVEL[other] >= LEVEL[room]:
        return f"{where}: {room}/ may not include {other}/: it is not above it in the house list"
    if other not in target:
        return f"{where}: blip2/{room}/CMakeLists.txt lacks {other} among its DEPS"
    if path.endswith("_internal.h"):
        return f"{where}: {path} is private to {other}/"
    return None


def check_file(file, room, target):
    """Yields one line for each include that breaks a rule."""
    text = file.read_text(encoding="utf-8")
    for match in INCLUDE.finditer(text):
        quote, path = match.groups()
        where = f"{file.relative_to(ROOT)}:{text.count(chr(10), 0, match.start(2)) + 1}"
        if room in WITHOUT_TORCH and TORCH.match(path):
            yield f"{where}: {room}/ may not include LibTorch ({path})"
        if quote == '"' and not (ROOT / path).is_file():
            yield f"{where}: {path} is not a file of this repository, as seen from its root"
        elif path.startswith("apps/") and room:
            yield f"{where}: a room may not include the program"
        elif path.endswith("_internal.h") and where.startswith(("apps/", "examples/")):
            yield f"{where}: {path} is private to its room"
        elif path.startswith("blip2/") and room:
            problem = check_room_include(room, target, path, where)
            if problem:
                yield problem


def types_of(text):
    """The types that a file defines at the top of a namespace that others can name, with its name."""
    seen = HIDDEN.sub("", text)
    within = [(match.start(), match.group(1)) for match in NAMESPACE.finditer(seen)]
    return {"::".join([name for at, name in within if at < match.start()][-1:] + [match.group(1)])
            for match in TYPE.finditer(seen)}


def check_types(definitions):
    """Yields a line for each name in {(name, where it is linked): [files]} that several define.

    Tests of a room are linked with the library, but not with the tests of another room.
    """
    for (name, place), files in sorted(definitions.items()):
        everywhere = definitions.get((name, "library"), []) if place != "library" else []
        if len(files) + len(everywhere) > 1:
            yield f"type {name}: defined by {', '.join(sorted(files + everywhere))}"


def main():
    problems, files, definitions = [], 0, {}
    for folder in ("blip2", "apps", "examples", "tests", "bench", "fuzz"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix not in (".h", ".cpp"):
                continue
            files += 1
            parts = file.relative_to(ROOT).parts
            room = parts[1] if folder == "blip2" and len(parts) > 2 else None  # blip2/blip2.h
            if room and room not in LEVEL:
                problems.append(f"blip2/{room}: not in the house list of tools/check_layers.py")
                continue
            problems += check_file(file, room, declared_rooms(room) if room else set())
            if folder == "blip2":
                place = f"tests of {room}" if "test" in file.name else "library"
                for name in types_of(file.read_text(encoding="utf-8")):
                    definitions.setdefault((name, place), []).append(str(file.relative_to(ROOT)))
    problems += check_types(definitions)
    print("\n".join(problems) or f"include direction: {files} files, none breaks it")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
