"""Chat templates that are broken, hostile or missing: one error that names file and line, exit 1."""

import json
import os

import pytest

TEMPLATES = {
    "endless": ("{% for a in range(99999) %}\n{% for b in range(99999) %}{% endfor %}{% endfor %}", "line 2", "steps"),
    "recursion": ("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}", "line 1", "nests deeper"),
    "huge range": ("\n\n{{ range(10 ** 9) }}", "line 3", "100000 items"),
    "huge string": ("{{ 'a' * 10 ** 9 }}", "line 1", "bytes"),
    "huge list": ("{{ [0] * 10 ** 15 }}", "line 1", "bytes"),
    "doubling": ("{% set n = namespace(s='aaaa') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
                 "line 1", "bytes"),
    "long output": ("{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}", "line 1", "bytes"),
    "self": ("{% set n = namespace() %}{% set n.me = [n, n.me] %}{{ n.me.__class__ }}", "line 1", "__class__"),
    "class": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "line 1", "may not have"),
    "globals": ("a\n{{ raise_exception.__globals__ }}", "line 2", "may not have"),
    "attr": ("{{ messages | attr('__len__') }}", "line 1", "there is no filter 'attr'"),
    "change": ("{{ messages.append(1) }}", "line 1", "may not change"),
    "include": ("{% include '/etc/passwd' %}", "line 1", "would read other files"),
    "import": ("{% from 'x' import y %}", "line 1", "would read other files"),
    "filter": ("{{ 1 | nothing }}", "line 1", "there is no filter 'nothing'"),
    "test": ("{{ 1 is nothing }}", "line 1", "there is no test 'nothing'"),
    "syntax": ("a\nb\n{{ c + }}", "line 3", "expected a value"),
    "open block": ("{% if true %}", "line 1", "expected {% endif %}"),
    "open string": ("{{ 'a }}", "line 1", "a string has no end"),
    "brackets": ("{{ " + "(" * 100_000 + ")" * 100_000 + "}}", "line 1", "nested too deeply"),
    "undefined": ("\n{{ messages[7].content.x }}", "line 2", "has no '7'"),
    "refusal": ("{{ raise_exception('roles must alternate') }}", "line 1", "roles must alternate"),
    "refusal in lines": ("{{ raise_exception('one\\ntwo') }}", "line 1", r"dialogue: one\ntwo"),
    "empty": ("", "chat_template.jinja", "the chat template is empty"),
    "large": ("a" * (1 << 18) + "bb", "chat_template.jinja", "expected a template of 262144 bytes"),
}  # fmt: skip


@pytest.fixture(scope="module")
def picture(pictures):
    return sorted(pictures.glob("*.png"))[0]


@pytest.mark.parametrize("name", TEMPLATES)
def test_bad_template(refuse, init, picture, tmp_path, name):
    template, *expected = TEMPLATES[name]
    model = tmp_path / "model"
    model.mkdir()
    for file in init.iterdir():
        os.symlink(file, model / file.name)
    (model / "chat_template.jinja").write_text(template)
    refuse(["chat_template.jinja", *expected], "vqa", "--model", model, "--chat", "--question", "x", picture)


@pytest.fixture
def model_with(init, tmp_path):
    """model_with(chat_template): the model with another value of the key."""
    def call(template):
        model = tmp_path / "model"
        model.mkdir()
        for file in init.iterdir():
            if file.name != "tokenizer_config.json":
                os.symlink(file, model / file.name)
        config = json.loads((init / "tokenizer_config.json").read_text())
        (model / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": template}))
        return model

    return call


@pytest.mark.parametrize("template", [3, True, {"default": "a"}])
def test_a_template_of_another_kind(refuse, model_with, picture, template):
    expected = ["tokenizer_config.json: chat_template: expected a string or a list of named templates, got",
                json.dumps(template, separators=(",", ":"))]
    model = model_with(template)
    refuse(expected, "vqa", "--model", model, "--chat", "--question", "x", picture)
    refuse(expected, "chat", "--model", model, picture)


@pytest.mark.parametrize("template, expected", [
    ("", "chat_template: the chat template is empty"),
    ([{"name": "rag", "template": "a"}], "chat_template: expected a template named default, got rag")])
def test_what_is_wrong_with_a_template(refuse, run, model_with, picture, template, expected):
    """`chat` takes plain text for the dialogue then, as docs/generating.md says."""
    model = model_with(template)
    refuse(expected, "vqa", "--model", model, "--chat", "--question", "x", picture)
    refuse(expected, "chat", "--model", model, "--chat-template", picture)
    assert run("chat", "--model", model, "--max-new-tokens", 2, picture, input="hello\n").stdout


def test_a_template_of_another_encoding(refuse, init, picture, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for file in init.iterdir():
        os.symlink(file, model / file.name)
    (model / "chat_template.jinja").write_bytes("{{ 'ä' }}".encode("latin-1"))
    refuse("chat_template.jinja: the chat template is not valid UTF-8", "vqa", "--model", model, "--chat",
           "--question", "x", picture)


def test_no_template(refuse, init, picture, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for file in init.iterdir():
        if file.name != "tokenizer_config.json":
            os.symlink(file, model / file.name)
    config = json.loads((init / "tokenizer_config.json").read_text())
    del config["chat_template"]
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    expected = ["tokenizer_config.json", "has no chat template"]
    refuse(expected, "vqa", "--model", model, "--chat", "--question", "x", picture)
    refuse(expected, "chat", "--model", model, "--chat-template", picture)
