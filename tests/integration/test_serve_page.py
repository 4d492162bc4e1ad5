"""The page of a running `blip2 serve` in Chromium: its captions and answers are the command line's."""

import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BROWSER = pathlib.Path(os.environ.get("BLIP2_BROWSER", ROOT / ".venv" / "browser"))
QUESTIONS = ["what color is it?", "what shape is it?"]
TEXTS = ["a red circle", "a cat"]


def shown_percent(probability):
    return f"{probability * 100:.1f} %"


def test_the_page_shows_what_the_command_line_says(server, program, run_json, pictures, tmp_path):
    picture = pictures / "red_circle_14.png"
    (caption,) = run_json("caption", "--model", server.model, "--beams", "1", picture)
    answers = run_json("chat", "--no-chat-template", "--model", server.model, "--beams", "1", picture,
                       input="\n".join(QUESTIONS) + "\n")
    flags = [word for text in TEXTS for word in ("--text", text)]
    scores = run_json("match", "--model", server.model, *flags, picture)
    expected = {"picture": str(picture), "questions": QUESTIONS, "texts": TEXTS,
                "answers": [caption["text"], *(line["answer"] for line in answers)],
                "matches": [shown_percent(line["itm"]) for line in scores]}
    done = subprocess.run(
        [BROWSER / "node", "--test", "--test-reporter=spec", ROOT / "tests" / "web" / "real.test.mjs"],
        capture_output=True, text=True, timeout=600,
        env={**os.environ, "BLIP2_BROWSER": str(BROWSER), "BLIP2_URL": f"{server.url}/", "BLIP2_KEY": server.key or "",
             "BLIP2_EXPECTED": json.dumps(expected)})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
