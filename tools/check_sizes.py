"""One concept a file: headers (.inc too) of at most 150 lines, sources of at most 400; more needs a reason."""

import pathlib
import sys

LIMITS = {".h": 150, ".inc": 150, ".cpp": 400}
# path from the root: the reviewed reason
EXCEPTIONS = {
    "blip2/io/fields.h": "templates that belong together: reading and writing by one declaration",
    "blip2/io/test_files.h": "builders of small files, templates shared by this room's tests",
    "blip2/language/decoder_pass_internal.h": "one pass over the layers as a template, for one source",
    "blip2/nn/kernels/vec_internal.h": "one vector type: loads, stores and roundings of every element type",
    "blip2/recipe/recipe.h": "one declaration of every recipe key: parsing, help and saving",
}
ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    problems, files = [], 0
    for folder in ("blip2", "apps", "tests", "bench", "fuzz"):
        for file in sorted((ROOT / folder).rglob("*")):
            limit = LIMITS.get(file.suffix)
            if limit is None:
                continue
            files += 1
            lines = file.read_text(encoding="utf-8").count("\n")
            name = str(file.relative_to(ROOT))
            if lines > limit and name not in EXCEPTIONS:
                problems.append(f"{name}: {lines} lines, limit {limit}: split it by concept, or "
                                "give a reason in tools/check_sizes.py")
    print("\n".join(problems) or f"file sizes: {files} files, none over its limit")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
