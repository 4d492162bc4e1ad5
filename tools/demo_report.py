"""The demo's report: one self-contained HTML page."""

import base64
import html
import io
import json
import os
import pathlib
import platform
import subprocess

from PIL import Image

import svg_chart

SIZE = 96  # pixels of a picture's longer side
CSS = pathlib.Path(__file__).with_name("report.css")
NOT_LOSSES = {"step", "epoch", "lr", "grad_norm", "samples_per_second", "data_share"}


def escape(text):
    return html.escape(str(text))


def picture(path, label, css=""):
    """A small copy of a picture file over white, inside the page."""
    with Image.open(path) as image:
        seen = image.convert("RGBA")
    seen.thumbnail((SIZE, SIZE))
    over = Image.new("RGBA", seen.size, "white")
    over.alpha_composite(seen)
    png = io.BytesIO()
    over.convert("RGB").save(png, "PNG", optimize=True)
    content = base64.b64encode(png.getvalue()).decode()
    return (f'<img class="{css}" alt="{escape(label)}" title="{escape(label)}" '
            f'src="data:image/png;base64,{content}">')


def number(value, name, note):
    return f'<div class="number"><b>{value:.1%}</b>{escape(name)}<br><span>{escape(note)}</span></div>'


def interval(part):
    low, high = part["hits_interval"]
    return f"hits; {low:.0%} to {high:.0%} in 95 of 100 draws"


def headline(metrics):
    captions = metrics["captions"]
    return '<div class="numbers">' + "".join([
        number(metrics["easy_vqa_accuracy"], "questions answered", "easy-VQA, official test split"),
        number(metrics["shapes_exact"], "shapes captioned exactly", "colour and shape, held out"),
        number(captions["emoji_names"]["hits"], "drawings named out of all names",
               interval(captions["emoji_names"])),
        number(captions["emoji"]["hits"], "drawings captioned", interval(captions["emoji"])),
        number(captions["clip_art"]["hits"], "clip art captioned", interval(captions["clip_art"])),
    ]) + "</div>"


def figure(line):
    """A result of `eval`: the picture, what was asked, what was said, and whether it is right."""
    right = bool(line.get("accuracy") or line.get("hit") or line.get("exact"))
    wanted = line["references"][0]
    asked = f"<small>{escape(line['question'])}</small>" if "question" in line else ""
    chance = f" <small>{line['probability']:.0%} sure</small>" if "probability" in line else ""
    truth = "" if right else f"<small>it is: {escape(wanted)}</small>"
    return (f'<figure>{picture(line["image"], wanted)}<figcaption>{asked}'
            f'<span class="{"ok" if right else "miss"}">{escape(line["text"].strip())}</span>'
            f"{chance}{truth}</figcaption></figure>")


def gallery(lines):
    return f'<div class="gallery">{"".join(map(figure, lines))}</div>'


def title(record):
    return record["captions"][0]


def name_to_pictures(data, rows):
    cells = []
    for record, hits in rows:
        images = "".join(picture(data / hit["image"], title(hit),
                                 "hit" if hit["image"] == record["image"] else "")
                         for hit in hits)
        cells.append(f"<tr><td>{escape(title(record))}</td><td>{images}</td></tr>")
    return f'<div class="wide"><table><tr><th>name<th>best pictures</tr>{"".join(cells)}</table></div>'


def picture_to_names(data, rows):
    cells = []
    for record, names in rows:
        listed = ", ".join(f'<span class="ok">{escape(n)}</span>' if n == title(record)
                           else escape(n) for n in names)
        shown = picture(data / record["image"], title(record))
        cells.append(f"<tr><td>{shown}</td><td>{listed}</td></tr>")
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
    pins += [line.rsplit(" ", 1)[0] for name in ("npm-packages.txt", "debian-packages.txt")
             for line in (root / "tools" / name).read_text().splitlines()]
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


WHAT_IT_CAN = (
    "A language model of 135M parameters, taught in minutes, says in a word or two what a drawing "
    "shows, and often picks a neighbour of the right word; it does not describe scenes. Ranking a "
    "list of names (label, caption --choose match) is the surer way to a name.")
DATA_NOTE = (
    "<p class=soft>The held-out emoji are a fifth of one artist's drawings (twitter), chosen by a "
    "hash of their titles; other artists' drawings of the same emoji are in training, these are "
    "not. The held-out clip art is an eighth of the pictures; titles and look-alikes stay on one "
    "side. Every example was chosen by a hash of its file name before its answer was known. A "
    "caption is a hit if it has the head noun of the title or one of the picture's keywords, but "
    "for face, person, man, woman and flag.</p>")


def page(root, demo, metrics, shown):
    """The page's HTML. `demo` has data, output, program and seconds; `shown` the examples."""
    by_name, by_picture = shown["retrieval"]
    body = [
        "<h1>From nothing to answers</h1>",
        "<p class=soft>A Querying Transformer, trained in two stages between a frozen image encoder "
        "and a frozen language model, on pictures that it never saw.</p>",
        headline(metrics),
        section("Questions and answers, official test split", gallery(shown["vqa_test"])),
        section("Held-out drawings named out of all names", DATA_NOTE,
                gallery(shown["emoji_names"])),
        section("Captions of held-out drawings", f"<p>{escape(WHAT_IT_CAN)}</p>",
                gallery(shown["emoji_test"]), "<h3>Clip art</h3>",
                gallery(shown["clip_art_test"])),
        section("Retrieval", "<h3>Emoji</h3>", recall_table(metrics["retrieval"]),
                "<h3>Clip art</h3>", recall_table(metrics["retrieval_clip_art"]),
                "<h3>The best held-out pictures of a title</h3>",
                name_to_pictures(demo.data, by_name),
                "<h3>The best held-out titles of a picture</h3>",
                picture_to_names(demo.data, by_picture)),
        section("Loss", '<div class="charts">',
                *(curves(demo.output / f"stage{n}" / "log.jsonl", n) for n in (1, 2)), "</div>"),
        section("Time", times(metrics["seconds"], demo.seconds)),
        section("Recipe", recipes(root)),
        section("Versions", versions(root, demo.program)),
        section("Pictures", "<p class=soft>Noto Emoji, Apache-2.0, Google; Twemoji, CC BY 4.0, "
                            "Twitter and contributors; Fluent Emoji, MIT, Microsoft; EmojiOne, "
                            "CC BY 4.0, Ranks.com; Open Clip Art Library, public domain; easy-VQA, "
                            "MIT, Victor Zhou.</p>"),
    ]
    return ("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
            'content="width=device-width, initial-scale=1"><title>blip2 demo</title>'
            f"<style>{CSS.read_text()}</style>{''.join(body)}</html>\n")
