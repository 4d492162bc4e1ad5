"""Completion scripts and the manual's page, made of the options that the program has."""

import re
import shutil
import subprocess

import pytest


@pytest.fixture(scope="module")
def complete(run, tmp_path_factory):
    """complete("caption", "--be") is what bash offers for the last word."""
    script = tmp_path_factory.mktemp("completion") / "blip2.bash"
    script.write_text(run("completion", "bash").stdout)

    def call(*words):
        line = " ".join(f"'{word}'" for word in ("blip2", *words))
        code = (f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _blip2; "
                'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-uc", code], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.split()

    return call


def options_of(run, verb):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", run(verb, "--help").stdout))


def test_bash_offers_verbs_options_and_choices(complete, run):
    verbs = complete("")
    assert {"caption", "train", "serve", "completion"} <= set(verbs)
    assert complete("cap") == ["capfilt", "caption"] or set(complete("cap")) == {"capfilt", "caption"}
    for verb in verbs:
        if not verb.startswith("-"):
            offered = set(complete(verb, "--"))
            assert "--help" in offered and offered <= options_of(run, verb) | {"--help"}, verb
    assert complete("caption", "--early-stopping", "n") == ["never"]
    assert complete("caption", "--model", "d") == [], "names of files are bash's"
    assert complete("caption", "--beams", "--max-new") == ["--max-new-tokens"]


@pytest.mark.parametrize("shell, check", [("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"])])
def test_other_shells(run, tmp_path, shell, check):
    script = run("completion", shell).stdout
    assert all(f"{verb}" in script for verb in ("caption", "early", "never", "train"))
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([*check, tmp_path / "script"], check=True, capture_output=True)


def test_an_unknown_shell_is_wrong_usage(run):
    assert "bash" in run("completion", "csh", code=2).stderr


def test_the_manual_has_every_option(run, complete):
    page = run("manual").stdout
    assert page.startswith(".TH BLIP2 1")
    plain = page.replace("\\-", "-")
    for verb in complete(""):
        if not verb.startswith("-"):
            assert f'.SS "blip2 {verb}"' in page
            section = plain.split(f'.SS "blip2 {verb}"')[1].split(".SS")[0]
            assert all(f"\\fB{option}\\fR" in section for option in complete(verb, "--"))
    requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
    assert requests <= {".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".RI", ".I", ".nf", ".fi"}
