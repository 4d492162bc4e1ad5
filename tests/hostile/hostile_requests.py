"""Hostile requests to the server, as data: what is sent, and which refusals are right.

`CASES` lists them. `raw_bytes(case, host, key)` is what goes over the socket.
"""

import base64
import dataclasses
import json
import struct
import zlib

CHAT, GENERATE, OLLAMA_CHAT = "/v1/chat/completions", "/api/generate", "/api/chat"
EMBEDDINGS, RERANK, SCORE = "/v1/embeddings", "/v1/rerank", "/v1/score"
TOKENIZE, DETOKENIZE, SHOW = "/tokenize", "/detokenize", "/api/show"
JSON = "application/json"


@dataclasses.dataclass
class Case:
    name: str
    path: str
    body: bytes = b""
    status: tuple = (400,)  # any of them is right; None: the connection may be closed unanswered
    method: str = "POST"
    content_type: str = JSON
    headers: tuple = ()  # further lines of the header
    length: object = "true"  # of Content-Length: "true", None (no such header), or a text
    version: str = "HTTP/1.1"
    with_key: bool = True
    says: tuple = ()  # parts of the error's message, in any case of letters
    raw: bytes = None  # sent as it is, in place of all that

    @property
    def parser_decides(self):
        """Whether the request's body and type alone decide, without HTTP, keys and routes."""
        plain = self.method == "POST" and not self.headers and self.length == "true" and self.with_key
        return plain and self.raw is None and self.version == "HTTP/1.1" and self.status != (404,)


def raw_bytes(case, host="127.0.0.1", key=None):
    if case.raw is not None:
        return case.raw
    lines = [f"{case.method} {case.path} {case.version}", f"Host: {host}", "Connection: close"]
    if case.content_type is not None:
        lines.append(f"Content-Type: {case.content_type}")
    if case.length is not None:
        lines.append(f"Content-Length: {len(case.body) if case.length == 'true' else case.length}")
    if key and case.with_key:
        lines.append(f"Authorization: Bearer {key}")
    head = "\r\n".join([*lines, *case.headers])
    return head.encode("latin-1") + b"\r\n\r\n" + case.body


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width, height, data=b"\0" * 16, bits=8, colour=2):
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data))
            + chunk(b"IEND", b""))


GOOD_PNG = png(2, 2, b"\0" + b"\1" * 6 + b"\0" + b"\2" * 6)


def uri(picture, kind="image/png"):
    return f"data:{kind};base64,{base64.b64encode(picture).decode()}"


def dumps(value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def user(content):
    return {"messages": [{"role": "user", "content": content}]}


def chat(**more):
    """A good chat request with members more or other."""
    return {**user("What is it?"), "max_tokens": 4, **more}


def picture_chat(url, **more):
    part = {"type": "image_url", "image_url": {"url": url}}
    return {**user([{"type": "text", "text": "What is it?"}, part]), "max_tokens": 4, **more}


def generate(**more):
    return {"model": "blip2", "prompt": "a", "stream": False, "options": {"num_predict": 4}, **more}


def with_number(key, text):
    """A chat whose member is a number as written, which Python's json may not be able to write."""
    return dumps(chat(**{key: "@"})).replace(b'"@"', text.encode())


def nested(depth, opening=b"[", closing=b"]"):
    return opening * depth + closing * depth


# What is no JSON, or too much of it.
BODIES = {
    "empty_body": b"",
    "only_white_space": b" \r\n\t",
    "a_brace": b"{",
    "cut_short": dumps(chat())[:-3],
    "trailing_comma": b'{"messages": [],}',
    "single_quotes": b"{'messages': []}",
    "comment": b"/* x */ {}",
    "two_documents": b"{} {}",
    "trailing_garbage": dumps(chat()) + b"x",
    "null": b"null",
    "a_list": b"[]",
    "a_string": b'"messages"',
    "a_number": b"3",
    "deep_lists": nested(100_000),
    "deep_open_lists": b"[" * 1_000_000,
    "deep_objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep_in_content": b'{"messages": [{"role": "user", "content": ' + nested(40) + b"}]}",
    "many_values": b'{"messages": [' + b"0," * 400_000 + b"0]}",
    "many_keys": b"{" + b",".join(b'"k%d": 0' % i for i in range(250_000)) + b"}",
    "long_key": b'{"' + b"k" * 5_000_000 + b'": 1}',
    "duplicate_key": b'{"messages": [], "messages": [{"role": "user", "content": "x"}]}',
    "duplicate_key_in_message": b'{"messages": [{"role": "system", "role": "user", "content": "x"}]}',
    "nan": with_number("temperature", "NaN"),
    "infinity": with_number("temperature", "Infinity"),
    "minus_infinity": with_number("temperature", "-Infinity"),
    "number_beyond_double": with_number("temperature", "1e999"),
    "number_of_many_digits": with_number("temperature", "1" * 100_000),
    "octal": with_number("max_tokens", "010"),
    "hexadecimal": with_number("max_tokens", "0x10"),
    "plus_sign": with_number("max_tokens", "+4"),
    "bare_point": with_number("temperature", ".5"),
    "invalid_utf8": b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}',
    "overlong_utf8": b'{"messages": [{"role": "user", "content": "\xc0\xaf"}]}',
    "surrogate_in_utf8": b'{"messages": [{"role": "user", "content": "\xed\xa0\x80"}]}',
    "beyond_unicode": b'{"messages": [{"role": "user", "content": "\xf4\x90\x80\x80"}]}',
    "lone_high_surrogate": b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    "lone_low_surrogate": b'{"messages": [{"role": "user", "content": "\\udc00x"}]}',
    "bad_escape": b'{"messages": [{"role": "user", "content": "\\x41"}]}',
    "raw_control_character": b'{"messages": [{"role": "user", "content": "a\nb"}]}',
    "raw_nul": b'{"messages": [{"role": "user", "content": "a\0b"}]}',
    "utf16": '{"messages": []}'.encode("utf-16"),
    "utf32": '{"messages": []}'.encode("utf-32"),
    "gzip_bytes": zlib.compress(dumps(chat())),
    "xml": b"<messages/>",
    "form": b"messages=x&model=y",
    "pickle": b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01x\x94.",
}

# Members of a chat: (name, members, part of the message).
PARAMETERS = [(f"{key}_{label}", {key: value}, key)
              for key in ("max_tokens", "max_completion_tokens", "n", "num_beams")
              for label, value in (("minus_1", -1), ("zero", 0), ("2_to_31", 2**31), ("2_to_63", 2**63),
                                   ("2_to_64", 2**64), ("half", 0.5), ("string", "4"), ("true", True),
                                   ("list", [4]))]
PARAMETERS += [
    ("seed_minus_1", {"seed": -1}, "seed"),
    ("seed_2_to_64", {"seed": 2**64}, "seed"),
    ("seed_string", {"seed": "1"}, "seed"),
    ("temperature_minus_1", {"temperature": -1}, "temperature"),
    ("temperature_1e30", {"temperature": 1e30}, "temperature"),
    ("temperature_string", {"temperature": "hot"}, "temperature"),
    ("top_p_minus_1", {"top_p": -1}, "top_p"),
    ("top_p_2", {"top_p": 2}, "top_p"),
    ("top_k_minus_2", {"top_k": -2}, "top_k"),
    ("top_k_2_to_31", {"top_k": 2**31}, "top_k"),
    ("presence_penalty_3", {"presence_penalty": 3}, "presence_penalty"),
    ("frequency_penalty_minus_3", {"frequency_penalty": -3}, "frequency_penalty"),
    ("repetition_penalty_0", {"repetition_penalty": 0}, "repetition_penalty"),
    ("repetition_penalty_minus_1", {"repetition_penalty": -1}, "repetition_penalty"),
    ("no_repeat_ngram_size_minus_1", {"no_repeat_ngram_size": -1}, "no_repeat_ngram_size"),
    ("length_penalty_1e9", {"length_penalty": 1e9}, "length_penalty"),
    ("min_tokens_above_max_tokens", {"min_tokens": 5, "max_tokens": 4}, "min_tokens"),
    ("stop_number", {"stop": 3}, "stop"),
    ("stop_empty", {"stop": ""}, "stop"),
    ("stop_five", {"stop": list("abcde")}, "stop"),
    ("stop_long", {"stop": "x" * 10_000}, "stop"),
    ("stop_list_of_lists", {"stop": [["a"]]}, "stop"),
    ("logprobs_number", {"logprobs": 5}, "logprobs"),
    ("top_logprobs_alone", {"top_logprobs": 5}, "top_logprobs"),
    ("top_logprobs_many", {"logprobs": True, "top_logprobs": 100_000}, "top_logprobs"),
    ("stream_string", {"stream": "yes"}, "stream"),
    ("stream_options_list", {"stream": True, "stream_options": []}, "stream_options"),
    ("stream_options_unknown", {"stream": True, "stream_options": {"x": 1}}, "stream_options"),
    ("n_greedy", {"n": 2, "temperature": 0}, "n"),
    ("beams_two_names", {"beams": 2, "num_beams": 3}, "beams"),
    ("model_number", {"model": 3}, "model"),
    ("model_empty", {"model": ""}, "model"),
    ("model_long", {"model": "m" * 100_000}, "model"),
    ("tools", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    ("tool_choice", {"tool_choice": "required"}, "tool_choice"),
    ("functions", {"functions": [{"name": "f"}]}, "functions"),
    ("json_schema", {"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
    ("audio", {"modalities": ["text", "audio"], "audio": {"voice": "x"}}, "audio"),
    ("logit_bias", {"logit_bias": {"5": 100}}, "logit_bias"),
    ("web_search", {"web_search_options": {}}, "web_search_options"),
    ("unknown_parameter", {"max_token": 4}, "max_tokens"),
    ("prototype", {"__proto__": {"x": 1}}, "__proto__"),
]

MESSAGES = {
    "no_messages": {"model": "blip2"},
    "messages_null": {"messages": None},
    "messages_empty": {"messages": []},
    "messages_string": {"messages": "hello"},
    "messages_object": {"messages": {"role": "user"}},
    "messages_of_numbers": {"messages": [1, 2]},
    "messages_of_null": {"messages": [None]},
    "messages_1000": {"messages": [{"role": "user", "content": "x"}] * 1000},
    "role_missing": {"messages": [{"content": "x"}]},
    "role_unknown": {"messages": [{"role": "root", "content": "x"}]},
    "role_number": {"messages": [{"role": 1, "content": "x"}]},
    "role_tool": {"messages": [{"role": "tool", "content": "x", "tool_call_id": "y"}]},
    "content_missing": {"messages": [{"role": "user"}]},
    "content_number": user(3),
    "content_object": user({"type": "text", "text": "x"}),
    "content_empty_list": user([]),
    "content_blank": user(" \n\t "),
    "content_too_long": user("x" * 2_000_000),
    "content_list_of_strings": user(["x"]),
    "part_without_type": user([{"text": "x"}]),
    "part_unknown": user([{"type": "input_audio", "input_audio": {"data": "aaaa", "format": "wav"}}]),
    "part_video": user([{"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}]),
    "part_file": user([{"type": "file", "file": {"file_id": "x"}}]),
    "part_text_number": user([{"type": "text", "text": 1}]),
    "part_with_both": user([{"type": "text", "text": "x", "image_url": uri(GOOD_PNG)}]),
    "image_url_missing": user([{"type": "image_url"}]),
    "image_url_number": user([{"type": "image_url", "image_url": 5}]),
    "image_url_without_url": user([{"type": "image_url", "image_url": {"detail": "low"}}]),
    "image_url_list": user([{"type": "image_url", "image_url": {"url": [uri(GOOD_PNG)]}}]),
    "images_in_openai_message": {"messages": [{"role": "user", "content": "x",
                                               "images": [base64.b64encode(GOOD_PNG).decode()]}]},
    "picture_of_the_system": {"messages": [
        {"role": "system", "content": [{"type": "image_url", "image_url": uri(GOOD_PNG)}]},
        {"role": "user", "content": "x"}]},
    "last_message_of_the_assistant": {"messages": [{"role": "user", "content": "x"},
                                                   {"role": "assistant", "content": "y"}]},
    "a_hundred_pictures": user([{"type": "image_url", "image_url": uri(GOOD_PNG)}] * 100),
}

# URLs of pictures: (url, part of the message).
URLS = {
    "url_empty": ("", "empty"),
    "url_http": ("http://example.org/a.png", "http"),
    "url_https": ("https://example.org/a.png", "host"),
    "url_metadata": ("http://169.254.169.254/latest/meta-data/", "http"),
    "url_metadata_https": ("https://169.254.169.254/latest/meta-data/", "host"),
    "url_localhost": ("https://localhost:8000/metrics", "host"),
    "url_loopback_number": ("https://2130706433/", "host"),
    "url_ipv6_mapped": ("https://[::ffff:127.0.0.1]/", "host"),
    "url_file": ("file:///etc/passwd", "file"),
    "url_file_upper": ("FILE:///etc/passwd", "file"),
    "url_ftp": ("ftp://example.org/a.png", "ftp"),
    "url_gopher": ("gopher://127.0.0.1:6379/_FLUSHALL", "gopher"),
    "url_dict": ("dict://127.0.0.1:11211/stats", "dict"),
    "url_javascript": ("javascript:alert(1)", "javascript"),
    "url_blob": ("blob:https://example.org/1", "blob"),
    "url_protocol_relative": ("//example.org/a.png", "base64"),
    "url_path": ("/etc/passwd.png", "base64"),
    "url_file_name": ("cat.png", "base64"),
    "url_long": ("https://example.org/" + "a" * 1_000_000, "host"),
    "url_line_break": ("https://example.org/\r\nX-Evil: 1", "host"),
    "data_without_comma": ("data:image/png;base64", "comma"),
    "data_without_base64": ("data:image/png,abc", "base64"),
    "data_percent": ("data:image/png,%89PNG%0D%0A", "base64"),
    "data_svg": ("data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg'/>", "base64"),
    "data_odd_character": ("data:image/png;base64,iVBO*w0K", "character 5"),
    "data_percent_in_base64": ("data:image/png;base64,iVBORw0KGgo%3D", "%"),
    "data_padding_within": ("data:image/png;base64,iVBO=Rw0", "padding"),
    "data_too_much_padding": ("data:image/png;base64,iVBO====", "padding"),
    "data_one_letter_left": ("data:image/png;base64,iVBOR", "cut short"),
    "data_unicode": ("data:image/png;base64,iVBO\u00e9w0K", "character 5"),
    "data_nul": ("data:image/png;base64,iVBO\0w0K", "character 5"),
    "data_empty": ("data:image/png;base64,", "empty"),
    "data_twice": ("data:image/png;base64,data:image/png;base64,iVBO", "character 5"),
    "data_endless_head": ("data:" + "x" * 100_000 + ";base64,iVBO", "comma"),
}

# Files that are no good picture: (bytes, part of the message).
PICTURES = {
    "text": (b"this is not a picture", "no known format"),
    "gif": (b"GIF89a" + b"\0" * 32, "GIF"),
    "gif_bomb": (b"GIF89a" + b"\xff" * 4 + b"\0" * 32, "pixels"),
    "bmp": (b"BM" + b"\0" * 60, "BMP"),
    "bmp_bomb": (b"BM" + b"\0" * 12 + b"\x28\0\0\0" + b"\xff\xff\0\0" * 2 + b"\0" * 32, "pixels"),
    "tiff": (b"II*\0" + b"\0" * 60, "TIFF"),
    "avif": (b"\0\0\0\x20ftypavif" + b"\0" * 40, "AVIF"),
    "heic": (b"\0\0\0\x18ftypheic" + b"\0" * 40, "HEIC"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "svg_with_entities": (b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><svg/>', "SVG"),
    "html": (b"<!DOCTYPE html><html></html>", "HTML"),
    "pdf": (b"%PDF-1.7\n", "PDF"),
    "zip": (b"PK\3\4" + b"\0" * 40, "ZIP"),
    "mp4": (b"\0\0\0\x18ftypisom" + b"\0" * 40, "video"),
    "ico": (b"\0\0\1\0\1\0" + b"\0" * 40, "ICO"),
    "jpeg_xl": (b"\xff\x0a" + b"\0" * 40, "JPEG XL"),
    "png_signature_only": (b"\x89PNG\r\n\x1a\n", "PNG"),
    "png_cut_in_header": (GOOD_PNG[:30], "PNG"),
    "png_zero": (png(0, 0), "PNG"),
    "png_bomb": (png(60_000, 60_000), "pixels"),
    "png_largest": (png(2**31 - 1, 2**31 - 1), "pixels"),
    "png_beyond": (png(2**32 - 1, 2**32 - 1), "PNG"),
    "png_one_row": (png(2**31 - 1, 1), "pixels"),
    "png_without_ihdr": (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"x" * 40), "PNG"),
    "jpeg_start_only": (b"\xff\xd8\xff", "JPEG"),
    "jpeg_garbage": (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + b"\x55" * 64, "JPEG"),
    "jpeg_no_frame": (b"\xff\xd8\xff\xd9", "JPEG"),
    "jpeg_fill_bytes": (b"\xff\xd8\xff" + b"\xff" * 100_000, "JPEG"),
    "jpeg_bomb": (b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03" + b"\0" * 20, "pixels"),
    "webp_start_only": (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "WebP"),
    "webp_unknown_chunk": (b"RIFF\x20\x00\x00\x00WEBPXXXX" + b"\0" * 20, "WebP"),
    "webp_bomb": (b"RIFF\x16\x00\x00\x00WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 6, "pixels"),
    "too_many_bytes": (GOOD_PNG + b"\0" * (21 << 20), "bytes"),
}

# Pictures whose header is good and whose pixels are not; the decoder finds out, after the parser.
BROKEN_PIXELS = {
    "png_truncated": GOOD_PNG[: len(GOOD_PNG) - 20],
    "png_bad_checksum": GOOD_PNG[:45] + b"\xff" + GOOD_PNG[46:],
    "png_no_data": png(64, 64, b""),
    "png_lying_size": png(13_000, 13_000),
    "png_bad_depth": png(2, 2, bits=7),
    "jpeg_frame_only": b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x08\x00\x08\x03" + b"\0" * 20,
    "webp_frame_only": b"RIFF\x16\x00\x00\x00WEBPVP8 \x0a\0\0\0\x10\x02\0\x9d\x01\x2a\x07\0\x05\0",
}

OTHER_ROUTES = [
    ("generate_no_model", GENERATE, {"prompt": "x"}, "model"),
    ("generate_prompt_number", GENERATE, generate(prompt=3), "prompt"),
    ("generate_images_string", GENERATE, generate(images="x"), "images"),
    ("generate_images_number", GENERATE, generate(images=[1]), "images[0]"),
    ("generate_images_path", GENERATE, generate(images=["/etc/passwd.png"]), "images[0]"),
    ("generate_images_url", GENERATE, generate(images=["https://example.org/a.png"]), "images[0]"),
    ("generate_images_gif", GENERATE, generate(images=[base64.b64encode(b"GIF89a\0\0\0\0").decode()]), "GIF"),
    ("generate_images_many", GENERATE, generate(images=[uri(GOOD_PNG)] * 50), "at most"),
    ("generate_format_json", GENERATE, generate(format="json"), "format"),
    ("generate_context", GENERATE, generate(context=[1, 2]), "context"),
    ("generate_template", GENERATE, generate(template="{{ .Prompt }}"), "template"),
    ("generate_options_list", GENERATE, generate(options=[]), "options"),
    ("generate_options_unknown", GENERATE, generate(options={"temprature": 1}), "temperature"),
    ("generate_num_predict_2_to_31", GENERATE, generate(options={"num_predict": 2**31}), "num_predict"),
    ("generate_num_predict_minus_3", GENERATE, generate(options={"num_predict": -3}), "num_predict"),
    ("generate_mirostat", GENERATE, generate(options={"mirostat": 2}), "mirostat"),
    ("generate_stream_number", GENERATE, generate(stream=1), "stream"),
    ("ollama_chat_role", OLLAMA_CHAT, {"model": "blip2", "messages": [{"role": "x", "content": "y"}]}, "role"),
    ("ollama_chat_content", OLLAMA_CHAT, {"model": "blip2", "messages": [{"role": "user", "content": ["y"]}]},
     "content"),
    ("ollama_chat_tools", OLLAMA_CHAT, {"model": "blip2", "messages": [{"role": "user", "content": "y"}],
                                        "tools": [{"type": "function"}]}, "tools"),
    ("ollama_show_no_name", SHOW, {}, "name"),
    ("ollama_show_number", SHOW, {"model": 1}, "model"),
    ("embeddings_no_input", EMBEDDINGS, {"model": "blip2"}, "input"),
    ("embeddings_empty_list", EMBEDDINGS, {"input": []}, "input"),
    ("embeddings_empty_text", EMBEDDINGS, {"input": ""}, "input"),
    ("embeddings_token_ids", EMBEDDINGS, {"input": [1, 2, 3]}, "token ids"),
    ("embeddings_lists_of_ids", EMBEDDINGS, {"input": [[1, 2], [3]]}, "input[0]"),
    ("embeddings_10000_inputs", EMBEDDINGS, {"input": ["x"] * 10_000}, "2048"),
    ("embeddings_format", EMBEDDINGS, {"input": "x", "encoding_format": "int8"}, "encoding_format"),
    ("embeddings_dimensions_minus_1", EMBEDDINGS, {"input": "x", "dimensions": -1}, "dimensions"),
    ("embeddings_two_pictures", EMBEDDINGS, {"input": [{"content": [
        {"type": "image_url", "image_url": uri(GOOD_PNG)}] * 2}]}, "several pictures"),
    ("embeddings_many_pictures", EMBEDDINGS, {"input": [uri(GOOD_PNG)] * 100}, "pictures"),
    ("embeddings_url", EMBEDDINGS, {"input": [{"content": [
        {"type": "image_url", "image_url": "http://169.254.169.254/"}]}]}, "http"),
    ("embeddings_both_shapes", EMBEDDINGS, {"input": "x", **user("y")}, "messages"),
    ("rerank_no_query", RERANK, {"documents": ["x"]}, "query"),
    ("rerank_no_documents", RERANK, {"query": {"image": uri(GOOD_PNG)}}, "documents"),
    ("rerank_empty_documents", RERANK, {"query": {"image": uri(GOOD_PNG)}, "documents": []}, "documents"),
    ("rerank_two_texts", RERANK, {"query": "x", "documents": ["y"]}, "documents[0]"),
    ("rerank_top_n_minus_1", RERANK, {"query": {"image": uri(GOOD_PNG)}, "documents": ["x"], "top_n": -1}, "top_n"),
    ("rerank_10000_documents", RERANK, {"query": {"image": uri(GOOD_PNG)}, "documents": ["x"] * 10_000}, "2048"),
    ("rerank_number", RERANK, {"query": 3, "documents": ["x"]}, "query"),
    ("score_one_list", SCORE, {"text_1": "x"}, "text_2"),
    ("score_two_texts", SCORE, {"text_1": "x", "text_2": "y"}, "two texts"),
    ("score_lengths", SCORE, {"text_1": ["x", "y"], "text_2": [uri(GOOD_PNG)] * 3}, "text_2"),
    ("tokenize_nothing", TOKENIZE, {}, "prompt"),
    ("tokenize_number", TOKENIZE, {"prompt": 3}, "prompt"),
    ("tokenize_long", TOKENIZE, {"content": "x" * 3_000_000}, "bytes"),
    ("detokenize_minus_1", DETOKENIZE, {"tokens": [-1]}, "tokens[0]"),
    ("detokenize_2_to_31", DETOKENIZE, {"tokens": [2**31]}, "tokens[0]"),
    ("detokenize_strings", DETOKENIZE, {"tokens": ["a"]}, "tokens[0]"),
    ("detokenize_string", DETOKENIZE, {"tokens": "abc"}, "tokens"),
]

MULTIPART = (b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
             b"Content-Type: image/png\r\n\r\n" + GOOD_PNG + b"\r\n--x--\r\n")
GOOD = dumps(chat())


def http_cases():
    """Requests that HTTP itself, keys and routes refuse."""
    closed = (400, 408, 413, 431, None)
    yield Case("no_key", CHAT, GOOD, (401,), with_key=False)
    yield Case("wrong_key", CHAT, GOOD, (401,), with_key=False, headers=("Authorization: Bearer wrong",))
    yield Case("key_of_another_scheme", CHAT, GOOD, (401,), with_key=False, headers=("Authorization: Basic eDp5",))
    yield Case("no_key_for_metrics", "/metrics", b"", (401,), "GET", None, with_key=False, length=None)
    yield Case("no_key_for_tokenize", TOKENIZE, b"{}", (401,), with_key=False)
    yield Case("unknown_route", "/v1/chat/completion", GOOD, (404,))
    yield Case("path_upwards", "/../../etc/passwd", b"", (400, 404), "GET", None, length=None, headers=("X-A: b",))
    yield Case("path_upwards_encoded", "/%2e%2e/%2e%2e/etc/passwd", b"", (400, 404), "GET", None, length=None)
    yield Case("path_double_slash", "//v1/models", b"", (404,), "GET", None, length=None)
    yield Case("path_with_nul", "/v1/models%00", b"", (400, 404), "GET", None, length=None)
    yield Case("path_long", "/" + "a" * 100_000, b"", (400, 414, 431), "GET", None, length=None)
    yield Case("get_of_a_post_route", CHAT, b"", (404, 405), "GET", None, length=None)
    yield Case("delete", CHAT, b"", (404, 405), "DELETE", None, length=None)
    yield Case("put", CHAT, GOOD, (404, 405), "PUT")
    yield Case("trace", "/v1/models", b"", (400, 404, 405), "TRACE", None, length=None)
    yield Case("connect", "example.org:443", b"", (400, 404, 405), "CONNECT", None, length=None)
    yield Case("unknown_method", "/v1/models", b"", (400, 404, 405, 501), "FROB", None, length=None)
    yield Case("post_of_a_get_route", "/v1/models", b"{}", (404, 405), headers=("X-A: b",))
    yield Case("length_minus_1", CHAT, GOOD, closed, length="-1")
    yield Case("length_text", CHAT, GOOD, closed, length="many")
    yield Case("length_beyond_64_bits", CHAT, GOOD, closed, length="9" * 40)
    yield Case("length_of_terabytes", CHAT, b"", (413,), length=str(1 << 42))
    yield Case("length_twice", CHAT, GOOD, closed, headers=("Content-Length: 3",))
    yield Case("length_and_chunked", CHAT, GOOD, closed, headers=("Transfer-Encoding: chunked",))
    yield Case("unknown_transfer_coding", CHAT, GOOD, (400, 501), length=None, headers=("Transfer-Encoding: gzip",))
    yield Case("chunk_size_is_no_number", CHAT, b"zz\r\n{}\r\n0\r\n\r\n", closed, length=None,
               headers=("Transfer-Encoding: chunked",))
    yield Case("chunk_of_terabytes", CHAT, b"fffffffffff\r\n{}", closed, length=None,
               headers=("Transfer-Encoding: chunked",))
    yield Case("chunk_extension_long", CHAT, b"2;" + b"x" * 100_000 + b"\r\n{}\r\n0\r\n\r\n", closed, length=None,
               headers=("Transfer-Encoding: chunked",))
    yield Case("post_without_length", CHAT, b"", (400, 411), length=None)
    yield Case("expects_magic", CHAT, GOOD, (417,), headers=("Expect: magic",))
    yield Case("header_large", CHAT, GOOD, (431,), headers=("X-Large: " + "x" * 100_000,))
    yield Case("headers_many", CHAT, GOOD, (431,), headers=tuple(f"X-{i}: y" for i in range(20_000)))
    yield Case("header_without_colon", CHAT, GOOD, (400,), headers=("Nonsense",))
    yield Case("header_with_nul", CHAT, GOOD, (400,), headers=("X-Nul: a\0b",))
    yield Case("header_name_with_space", CHAT, GOOD, (400,), headers=("X A: b",))
    yield Case("header_folded", CHAT, GOOD, (400,), headers=("X-A: b\r\n\tc",))
    yield Case("host_twice", CHAT, GOOD, (400,), headers=("Host: evil.org",))
    yield Case("version_unknown", CHAT, GOOD, (400, 505, None), version="HTTP/7.3")
    yield Case("body_in_gzip", CHAT, zlib.compress(GOOD), (400, 415), headers=("Content-Encoding: gzip",))
    for name, raw in {
        "no_host": b"GET /v1/models HTTP/1.1\r\n\r\n",
        "no_http": b"hello\r\n\r\n",
        "tls_hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60 + b"\r\n\r\n",
        "http2_preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "random_bytes": bytes(range(256)) * 16 + b"\r\n\r\n",
        "line_without_end": b"GET /" + b"a" * 200_000,
        "bare_line_feeds": b"GET\n/\nHTTP/1.1\n\n",
        "fragment_in_target": b"GET /health#x HTTP/1.1\r\nHost: a\r\n\r\n",
    }.items():
        yield Case(f"raw_{name}", "", raw=raw, status=(400, 401, 414, 431, 505, None))


def type_cases():
    for name, kind in {
        "multipart": "multipart/form-data; boundary=x",
        "form": "application/x-www-form-urlencoded",
        "plain_text": "text/plain",
        "picture": "image/png",
        "octets": "application/octet-stream",
        "json_utf16": "application/json; charset=utf-16",
        "json_latin1": "application/json; charset=iso-8859-1",
        "nonsense": "x",
    }.items():
        body = MULTIPART if name == "multipart" else GOOD
        yield Case(f"type_{name}", CHAT, body, (400, 415), content_type=kind)
    yield Case("type_multipart_for_ollama", GENERATE, MULTIPART, (400, 415),
               content_type="multipart/form-data; boundary=x")
    yield Case("type_multipart_for_embeddings", EMBEDDINGS, MULTIPART, (400, 415),
               content_type="multipart/form-data; boundary=x")


def all_cases():
    for name, body in BODIES.items():
        yield Case(f"json_{name}", CHAT, body)
    for name in ("empty_body", "deep_lists", "invalid_utf8", "nan", "a_list", "duplicate_key"):
        for path in (GENERATE, EMBEDDINGS, RERANK, SCORE, TOKENIZE, DETOKENIZE, SHOW):
            yield Case(f"json_{name}_for_{path.rsplit('/', 1)[1]}", path, BODIES[name])
    for name, more, says in PARAMETERS:
        yield Case(f"parameter_{name}", CHAT, dumps(chat(**more)), says=(says,))
    for name, body in MESSAGES.items():
        yield Case(f"message_{name}", CHAT, dumps(body))
    for name, (url, says) in URLS.items():
        yield Case(name, CHAT, dumps(picture_chat(url)), says=(says,))
    for name, (picture, says) in PICTURES.items():
        yield Case(f"picture_{name}", CHAT, dumps(picture_chat(uri(picture))), says=(says,))
    for name, path, body, says in OTHER_ROUTES:
        yield Case(name, path, dumps(body), says=(says,))
    yield Case("body_of_80_megabytes", CHAT, b'{"messages": "' + b"x" * (80 << 20) + b'"}', (413, None), headers=("X-A: b",))
    for name, picture in BROKEN_PIXELS.items():
        yield Case(f"pixels_{name}", CHAT, dumps(picture_chat(uri(picture))), headers=("X-A: b",))
    yield from type_cases()
    yield from http_cases()


CASES = list(all_cases())
