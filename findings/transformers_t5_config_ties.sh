#!/usr/bin/env bash
# transformers 5.23.0 (PyPI): T5Config(tie_word_embeddings=False) has tie_word_embeddings True, and
# saves True into config.json, although the model made of it has a language-model head of its own.
# Whether the head is tied in earnest is told by scale_decoder_outputs alone, which is False then. A
# program that goes by the key of its name ties the head of a FlanT5 that transformers 5 has saved,
# and writes other words.
#
# Output seen: asked False, got True, saved True; scale_decoder_outputs False.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q transformers==5.23.0
cat >"$folder/ties.py" <<'PYTHON'
import json
import sys

import transformers

config = transformers.T5Config(tie_word_embeddings=False, feed_forward_proj="gated-gelu")
config.save_pretrained(sys.argv[1])
saved = json.load(open(sys.argv[1] + "/config.json"))
seen = (config.tie_word_embeddings, saved["tie_word_embeddings"], config.scale_decoder_outputs)
print("asked False, got %s, saved %s; scale_decoder_outputs %s" % seen)
assert seen == (True, True, False), seen
PYTHON
"$folder/venv/bin/python" "$folder/ties.py" "$folder" 2>/dev/null
echo "transformers 5.23.0: as described"
