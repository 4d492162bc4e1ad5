#!/usr/bin/env bash
# pycocoevalcap 1.2 (PyPI; needs a Java runtime): what the Stanford tokenizer makes of one caption
# depends on the caption that comes after it. All captions go through the tokenizer as the lines of
# one text. A single capital with a full stop at a line's end, "vitamin B.", is taken for an
# abbreviation that keeps its stop, unless the next line begins with a capital word: then the stop
# ends a sentence and is dropped as punctuation. BLEU, ROUGE-L and CIDEr of a picture so change with
# the order of the pictures.
#
# Output seen (Java 17): vitamin b. / vitamin b / vitamin b.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --no-deps pycocoevalcap==1.2
cat >"$folder/order.py" <<'PYTHON'
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer


def first(*captions):
    said = {place: [{"caption": text}] for place, text in enumerate(captions)}
    return PTBTokenizer().tokenize(said)[0][0]


seen = [first("vitamin B.", "a cat sits"), first("vitamin B.", "The cat sits"), first("vitamin B.")]
print(" / ".join(seen))
assert seen == ["vitamin b.", "vitamin b", "vitamin b."], seen
PYTHON
"$folder/venv/bin/python" "$folder/order.py" 2>/dev/null
echo "pycocoevalcap 1.2: as described"
