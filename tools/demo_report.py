"""The demo's report: one self-contained HTML page (Python standard library only)."""

import base64
import html
import json
import os
import pathlib
import platform
import subprocess

import svg_chart

CSS = pathlib.Path(__file__).with_name("report.css")
NOT_LOSSES = {"step", "epoch", "lr", "grad_norm", "samples_per_second", "data_share"}


def escape(text):
    return html.escape(str(text))


def same(text, wanted):
    return " ".join(text.lower().split()) == " ".join(wanted.lower().split())


def picture(data, record, css=""):
    content = base64.b64encode((data / record["image"]).read_bytes()).decode()
    label = escape(record.get("caption", record["image"]))
    return f'<img class="{css}" alt="{label}" title="{label}" src="data:image/png;base64,{content}">'


def number(value, name, note):
    return f'<div class="number"><b>{value:.1%}</b>{escape(name)}<br><span>{escape(note)}</span></div>'


def headline(metrics):
    to_text, to_image = (metrics["retrieval"][w] for w in ("image_to_text", "text_to_image"))
    names = "among all held-out names"
    return '<div class="numbers">' + "".join([
        number(metrics["easy_vqa_accuracy"], "questions answered", "easy-VQA, official test split"),
        number(metrics["caption_exact"], "captions exact", "held-out artwork, whole name right"),
        number(to_text["r1"], "picture to name, first", names),
        number(to_image["r1"], "name to picture, first", "among all held-out pictures"),
    ]) + "</div>"


def figure(data, record, line):
    text = line.get("answer", line.get("text", "")).strip()
    wanted = record.get("answer", record.get("caption"))
    asked = f"<small>{escape(record['question'])}</small>" if "question" in record else ""
    right = same(text, wanted)
    truth = "" if right else f"<small>it is: {escape(wanted)}</small>"
    return (f'<figure>{picture(data, record)}<figcaption>{asked}'
            f'<span class="{"ok" if right else "miss"}">{escape(text)}</span>{truth}'
            "</figcaption></figure>")


def gallery(data, examples):
    return f'<div class="gallery">{"".join(figure(data, *e) for e in examples)}</div>'


def name_to_pictures(data, rows):
    cells = []
    for record, hits in rows:
        images = "".join(picture(data, hit, "hit" if hit["image"] == record["image"] else "")
                         for hit in hits)
        cells.append(f"<tr><td>{escape(record['caption'])}</td><td>{images}</td></tr>")
    return f'<div class="wide"><table><tr><th>name<th>best pictures</tr>{"".join(cells)}</table></div>'


def picture_to_names(data, rows):
    cells = []
    for record, names in rows:
        listed = ", ".join(f'<span class="ok">{escape(n)}</span>' if n == record["caption"]
                           else escape(n) for n in names)
        cells.append(f"<tr><td>{picture(data, record)}</td><td>{listed}</td></tr>")
    return f'<div class="wide"><table><tr><th>picture<th>best names</tr>{"".join(cells)}</table></div>'


def recall_table(retrieval):
    rows = []
    for name, result in (("ITC, re-ranked by ITM", retrieval), ("ITC alone", retrieval.get("itc_only"))):
        for way in ("image_to_text", "text_to_image") if result else ():
            values = "".join(f'<td class="n">{result[way][k]:.1%}</td>' for k in ("r1", "r5", "r10"))
            rows.append(f"<tr><td>{escape(name)}</td><td>{escape(way.replace('_', ' '))}</td>{values}</tr>")
    return ('<div class="wide"><table><tr><th>scores<th>direction<th class="n">R@1<th class="n">R@5'
            f'<th class="n">R@10</tr>{"".join(rows)}</table></div>')


def flatten(record, prefix=""):
    """Numbers of a log line, nested ones under dotted names."""
    for key, value in record.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield prefix + key, value


def read_log(path):
    """{series: [(step, value), …]} of a run's log."""
    series = {}
    if not path.exists():
        return series
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        for key, value in flatten(record):
            if key not in NOT_LOSSES and "temperature" not in key and "accuracy" not in key:
                series.setdefault(key, []).append((record["step"], value))
    return series


def curves(log, stage):
    series = read_log(log)
    validation = {k: v for k, v in series.items() if "val" in k}
    training = {k: v for k, v in series.items() if k not in validation}
    parts = [f"<div><h3>Stage {stage}: training</h3>{svg_chart.line_chart(training, 'step', 10)}</div>"]
    if validation:
        parts.append(f"<div><h3>Stage {stage}: validation</h3>"
                     f"{svg_chart.line_chart(validation, 'step')}</div>")
    return "".join(parts)


def times(seconds, steps):
    rows = [*seconds.items(), *((f"… {name}", value) for name, value in steps.items())]
    return '<div class="wide"><table><tr><th>part<th class="n">seconds</tr>' + "".join(
        f'<tr><td>{escape(k)}</td><td class="n">{v:,.1f}</td></tr>' for k, v in rows
    ) + "</table></div>"


def processor():
    info = pathlib.Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines()
             if line.startswith("model name")] if info.exists() else []
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} logical cores"


def versions(root, program):
    version = subprocess.run([str(program), "--version"], capture_output=True, text=True,
                             check=False).stdout.strip()
    pins = [line.split(" --hash")[0] for name in ("requirements.txt", "requirements-packages.txt")
            for line in (root / "tools" / name).read_text().splitlines() if "==" in line]
    pins += [line.split()[0] for line in (root / "tools" / "npm-packages.txt").read_text().splitlines()]
    return (f"<p>blip2 {escape(version)} on {escape(processor())}; "
            f"{escape(', '.join(pins))}</p>")


def recipes(root):
    parts = []
    for name in ("demo_model", "demo_stage1", "demo_stage2"):
        path = root / "recipes" / f"{name}.toml"
        if path.exists():
            parts.append(f"<h3>recipes/{name}.toml</h3><pre>{escape(path.read_text())}</pre>")
    return "".join(parts)


def section(title, *parts):
    return f"<h2>{escape(title)}</h2>{''.join(parts)}"


DATA_NOTE = (
    "<p class=soft>The test artwork is a fifth of one artist's pictures (twitter), chosen by a hash "
    "of their names; the other artist's pictures of the same emoji are in training, these are not. "
    "A further tenth of that artist's pictures served for model choice. The examples were chosen by "
    "a hash of their file names.</p>")


def page(root, demo, metrics, shown):
    """The page's HTML. `demo` has data, output, program and seconds; `shown` the examples."""
    by_name, by_picture = shown["retrieval"]
    body = [
        "<h1>From nothing to answers</h1>",
        "<p class=soft>A Querying Transformer, trained in two stages between a frozen image encoder "
        "and a frozen language model, on pictures that it never saw.</p>",
        headline(metrics),
        section("Captions of held-out artwork", DATA_NOTE, gallery(demo.data, shown["captions"])),
        section("Answers on the official test split", gallery(demo.data, shown["answers"])),
        section("Retrieval", recall_table(metrics["retrieval"]),
                "<h3>The best held-out pictures of a name</h3>", name_to_pictures(demo.data, by_name),
                "<h3>The best held-out names of a picture</h3>",
                picture_to_names(demo.data, by_picture)),
        section("Loss", '<div class="charts">',
                *(curves(demo.output / f"stage{n}" / "log.jsonl", n) for n in (1, 2)), "</div>"),
        section("Time", times(metrics["seconds"], demo.seconds)),
        section("Recipe", recipes(root)),
        section("Versions", versions(root, demo.program)),
        section("Pictures", "<p class=soft>Noto Emoji, Apache-2.0, Google; Twemoji, CC BY 4.0, "
                            "Twitter and contributors; easy-VQA, MIT, Victor Zhou.</p>"),
    ]
    return ("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
            'content="width=device-width, initial-scale=1"><title>blip2 demo</title>'
            f"<style>{CSS.read_text()}</style>{''.join(body)}</html>\n")
