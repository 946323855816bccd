"""Loss curves as an SVG: no library that draws is needed where the card is."""

import math
from html import escape

COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00")  # of Okabe and Ito
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 460, 60, 20, 20, 110


def curves(rows: dict[str, list[list[float]]]) -> str:
    """A line for each run, in the colour of its row; losses by step, up to the first that is not finite."""
    lines = {name: [_finite(run) for run in runs] for name, runs in rows.items()}
    values = [loss for runs in lines.values() for run in runs for loss in run]
    low, high = min(values, default=0.0), max(values, default=1.0)
    high = high if high > low else low + 1.0
    steps = max((len(run) for runs in lines.values() for run in runs), default=1)

    def place(step: int, loss: float) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / max(1, steps - 1)
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / (high - low)
        return f"{x:.1f},{y:.1f}"

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<path d="M{LEFT},{TOP} V{HEIGHT - BOTTOM} H{WIDTH - RIGHT}" fill="none" stroke="black"/>',
    ]
    for part in range(5):
        loss = low + (high - low) * part / 4
        y = float(place(0, loss).split(",")[1])
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{loss:.2f}</text>')
    out.append(f'<text x="{LEFT}" y="{HEIGHT - BOTTOM + 18}">step 1</text>')
    out.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - BOTTOM + 18}" text-anchor="end">step {steps}</text>')
    out.append(f'<text x="{LEFT + 8}" y="{TOP + 8}">training loss (cross-entropy, nats)</text>')
    for number, (name, runs) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        for run in runs:
            points = " ".join(place(step, loss) for step, loss in enumerate(run))
            out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-opacity="0.8"/>')
        y = HEIGHT - BOTTOM + 44 + 18 * number
        out.append(f'<rect x="{LEFT}" y="{y - 9}" width="22" height="4" fill="{colour}"/>')
        out.append(f'<text x="{LEFT + 30}" y="{y}">{escape(name)} ({len(runs)} seeds)</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def _finite(run: list[float]) -> list[float]:
    end = next((i for i, loss in enumerate(run) if not math.isfinite(loss)), len(run))
    return run[:end]
