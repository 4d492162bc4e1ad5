"""A line chart as inline SVG that follows the page's colours (Python standard library only)."""

import html
import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 260, 52, 22, 10, 34


def nice_ticks(low, high, count=5):
    """Round numbers that span [low, high], about `count` of them."""
    span = (high - low) or 1.0
    raw = span / count
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [i * step for i in range(first, last + 1)]


def smooth(points, window):
    """Running means of the values over at most `window` points."""
    means, total = [], 0.0
    for i, (x, y) in enumerate(points):
        total += y - (points[i - window][1] if i >= window else 0)
        means.append((x, total / min(i + 1, window)))
    return means


def thin(points, limit=400):
    stride = max(1, len(points) // limit)
    kept = points[::stride]
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def format_tick(value):
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2g}"


class Axes:
    """Maps data to the drawing's coordinates."""

    def __init__(self, series):
        points = [p for line in series.values() for p in line]
        self.x_ticks = nice_ticks(min(x for x, _ in points), max(x for x, _ in points))
        self.y_ticks = nice_ticks(min(0, min(y for _, y in points)), max(y for _, y in points))

    @staticmethod
    def scale(value, ticks, start, end):
        return start + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (end - start)

    def x(self, value):
        return self.scale(value, self.x_ticks, LEFT, WIDTH - RIGHT)

    def y(self, value):
        return self.scale(value, self.y_ticks, HEIGHT - BOTTOM, TOP)

    def grid(self, x_label):
        parts = []
        for tick in self.y_ticks:
            y = self.y(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" '
                         f'y2="{y:.1f}"/><text class="tick" text-anchor="end" x="{LEFT - 6}" '
                         f'y="{y + 4:.1f}">{format_tick(tick)}</text>')
        for tick in self.x_ticks:
            parts.append(f'<text class="tick" text-anchor="middle" x="{self.x(tick):.1f}" '
                         f'y="{HEIGHT - 16}">{format_tick(tick)}</text>')
        parts.append(f'<text class="tick" text-anchor="middle" x="{(LEFT + WIDTH - RIGHT) / 2}" '
                     f'y="{HEIGHT - 2}">{html.escape(x_label)}</text>')
        return parts

    def path(self, points, css):
        path = " ".join(f"{'L' if i else 'M'}{self.x(x):.1f} {self.y(y):.1f}"
                        for i, (x, y) in enumerate(thin(points)))
        return f'<path class="{css}" d="{path}"/>'


def line_chart(series, x_label, window=1):
    """SVG and legend of {name: [(x, y), …]}; raw values are drawn faintly under running means."""
    series = {name: [p for p in points if math.isfinite(p[1])] for name, points in series.items()}
    series = {name: points for name, points in series.items() if points}
    if not series:
        return "<p>nothing was logged</p>"
    axes = Axes(series)
    parts, legend = axes.grid(x_label), []
    for index, (name, points) in enumerate(series.items()):
        if window > 1:
            parts.append(axes.path(points, f"line faint s{index % 6}"))
        parts.append(axes.path(smooth(points, window), f"line s{index % 6}"))
        legend.append(f'<span class="key"><i class="s{index % 6}"></i>{html.escape(name)} '
                      f'<b>{smooth(points, window)[-1][1]:.3g}</b></span>')
    return (f'<div class="legend">{"".join(legend)}</div><svg role="img" viewBox="0 0 {WIDTH} '
            f'{HEIGHT}" aria-label="{html.escape(", ".join(series))}">{"".join(parts)}</svg>')
