"""Writes inputs for the fuzzer `requests` to begin with (good requests and the tests' hostile ones)
into a folder, and their words into FOLDER.dict, its dictionary.

    python3 fuzz/requests_seeds.py FOLDER
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests" / "hostile"))
from hostile_requests import (CASES, CHAT, DETOKENIZE, EMBEDDINGS, GENERATE, GOOD_PNG, OLLAMA_CHAT,  # noqa: E402
                              RERANK, SCORE, SHOW, TOKENIZE, chat, dumps, generate, picture_chat, uri)

LONGEST = 1000  # bytes; short inputs are read fast
# The first byte of an input chooses the parser: requests_fuzz.cpp.
PARSERS = {CHAT: 0, GENERATE: 1, OLLAMA_CHAT: 2, EMBEDDINGS: 3, RERANK: 4, SCORE: 5, TOKENIZE: 6, DETOKENIZE: 7,
           "type": 8, SHOW: 9, "picture": 10}
PICTURE = {"content": [{"type": "image_url", "image_url": {"url": uri(GOOD_PNG)}}]}
TURN = {"role": "user", "content": "y", "images": [uri(GOOD_PNG)]}
GOOD = [
    (CHAT, chat(temperature=0.5, top_p=0.9, top_k=5, seed=1, n=2, stop=["a", "b"], logprobs=True, top_logprobs=2,
                presence_penalty=1, frequency_penalty=-1, stream=True, stream_options={"include_usage": True})),
    (CHAT, chat(num_beams=3, length_penalty=-1, repetition_penalty=1.5, no_repeat_ngram_size=3, min_tokens=2)),
    (CHAT, picture_chat(uri(GOOD_PNG))),
    (CHAT, picture_chat("https://example.org/a.png")),
    (CHAT, picture_chat("file:///media/a.png")),
    (CHAT, {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "y"},
                         {"role": "assistant", "content": "z"}, {"role": "user", "content": [{"type": "text", "text": "w"}]}]}),
    (GENERATE, generate(images=[uri(GOOD_PNG)], system="x", raw=True)),
    (GENERATE, generate(options={"temperature": 0.5, "top_k": 3, "top_p": 0.5, "seed": 1, "stop": ["x"], "num_ctx": 9,
                                 "repeat_penalty": 1.1, "presence_penalty": 1, "frequency_penalty": 1})),
    (GENERATE, {"model": "blip2"}),
    (OLLAMA_CHAT, {"model": "blip2", "messages": [TURN], "options": {"num_predict": -1}, "keep_alive": "5m"}),
    (EMBEDDINGS, {"input": ["x", uri(GOOD_PNG)], "encoding_format": "base64", "dimensions": 256}),
    (EMBEDDINGS, {"input": [PICTURE, {"content": [{"type": "text", "text": "x"}]}]}),
    (EMBEDDINGS, {"messages": [{"role": "user", **PICTURE}]}),
    (RERANK, {"query": PICTURE, "documents": ["x", {"text": "y"}], "top_n": 1, "return_documents": False}),
    (RERANK, {"query": "x", "documents": [{"image": uri(GOOD_PNG)}], "score_by": "itc"}),
    (SCORE, {"text_1": PICTURE, "text_2": ["x", "y"]}),
    (SCORE, {"queries": ["x", "y"], "documents": [uri(GOOD_PNG), PICTURE]}),
    (TOKENIZE, {"prompt": "x</s>", "add_special_tokens": False, "return_token_strs": True}),
    (TOKENIZE, {"content": "x", "add_special": True, "parse_special": False, "with_pieces": True}),
    (DETOKENIZE, {"tokens": [0, 1, 999]}),
    (SHOW, {"model": "blip2:latest"}),
    ("type", b'application/json; charset="utf-8"; x=y'),
    ("type", b"application/vnd.api+json"),
    ("picture", GOOD_PNG),
    ("picture", b"\xff\xd8\xff\xe0\0\4ab\xff\xc0\0\x11\x08\0\x02\0\x02\3\1\x22\0\2\x11\1\3\x11\1"),
    ("picture", b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0\x10\x02\0\x9d\x01\x2a\x07\0\x05\0"),
    ("picture", b"RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0\x2f\1\x40\0\0aaaaa"),
    ("picture", b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\1\0\0\1\0\0"),
]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    hostile = [(case.path, case.body) for case in CASES if case.parser_decides]
    inputs = [bytes([PARSERS[path]]) + dumps(body) for path, body in GOOD + hostile]
    inputs += [bytes([PARSERS["type"]]) + case.content_type.encode() for case in CASES if case.content_type]
    short = sorted({data for data in inputs if len(data) <= LONGEST})
    for number, data in enumerate(short):
        (folder / f"{number:03}").write_bytes(data)
    words = sorted({word.decode() for data in short for word in re.findall(rb'"[A-Za-z0-9_/:;.+-]{2,30}"', data)})
    pathlib.Path(f"{folder}.dict").write_text("".join(f'"\\"{word[1:-1]}\\""\n' for word in words))
    print(f"{len(short)} inputs in {folder}, {len(words)} words in {folder}.dict")


if __name__ == "__main__":
    main()
