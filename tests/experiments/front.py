#!/usr/bin/python3
"""What codecs cost in bytes and in accuracy, from the result of the scenario codecs (make experiments-all ONLY=codecs): rows of a
Markdown table on stdout and, where a file is named, a picture in SVG with the front, the codecs that none beats in both.
"""
import argparse
import html
import json
import math
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SCENARIO = ROOT / "configs" / "scenarios" / "codecs.yaml"
RESULT = ROOT / "run" / "experiments" / "codecs" / "result.json"

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 460, 60, 830, 44, 410
TICKS = (10, 50, 80, 90, 93, 95, 96, 97, 97.5, 98, 98.3, 98.6, 98.8, 99, 99.2, 99.5)  # %
CHARACTER, LINE = 6.3, 13  # of a label, in pixels
STYLE = """
svg{font:11px sans-serif} .ground{fill:#fff} text{fill:#1f2328} .grid{stroke:#e3e7eb} .front{stroke:#0072b2;fill:none;stroke-width:1.5}
.on{fill:#0072b2;stroke:#0072b2} .off{fill:none;stroke:#59636e}
@media(prefers-color-scheme:dark){.ground{fill:#0d1117} text{fill:#e6edf3} .grid{stroke:#262c34} .front{stroke:#4da9e0}
.on{fill:#4da9e0;stroke:#4da9e0} .off{stroke:#9198a1}}
"""


class Point:
    def __init__(self, codec, bytes_each, accuracy, sd, loss):
        self.codec, self.bytes, self.accuracy, self.sd, self.loss = codec, bytes_each, accuracy, sd, loss

    def beats(self, other):
        return self.bytes <= other.bytes and self.accuracy >= other.accuracy and \
            (self.bytes, self.accuracy) != (other.bytes, other.accuracy)


def read(result):
    """The points, dearest first, and how many seeds they are of."""
    arms = re.findall(r'^ *- "(\w+): plan\.codec\.up=([^;]+);', SCENARIO.read_text(), re.M)
    result = json.loads(result.read_text())
    found = {measure["name"].removeprefix("codecs-"): measure for measure in result["measures"]}
    points = [Point(codec, found[f"{arm}-bytes"]["value"], found[arm]["value"], found[arm]["sd"],
                    found[f"{arm}-loss"]["value"] if f"{arm}-loss" in found else 0.0) for arm, codec in arms]
    points.sort(key=lambda point: -point.bytes)
    return points, len(result["seeds"])


class Picture:
    """Bytes on a logarithmic axis, and accuracy as the logarithm of what is wrong."""

    def __init__(self, points):
        self.points, self.out, self.taken = points, [], []
        self.x_from, self.x_to = math.log10(min(p.bytes for p in points) / 1.5), math.log10(max(p.bytes for p in points) * 1.5)
        low, high = min(p.accuracy - p.sd for p in points), max(p.accuracy + p.sd for p in points)
        self.y_from = max((tick for tick in TICKS if tick < low), default=0)
        self.y_to = min((tick for tick in TICKS if tick > high), default=99.9)

    def x(self, value):
        return LEFT + (math.log10(value) - self.x_from) / (self.x_to - self.x_from) * (RIGHT - LEFT)

    def y(self, value):
        wrong, most, least = (math.log10(100 - max(v, 0)) for v in (value, self.y_from, self.y_to))
        return BOTTOM - (wrong - most) / (least - most) * (BOTTOM - TOP)

    def say(self, element, text=None, **attributes):
        words = " ".join(f'{key.strip("_").replace("_", "-")}="{value:.1f}"' if isinstance(value, float) else
                         f'{key.strip("_").replace("_", "-")}="{value}"' for key, value in attributes.items())
        self.out.append(f"<{element} {words}/>" if text is None else f"<{element} {words}>{html.escape(text)}</{element}>")

    def axes(self, seeds):
        self.say("text", f"Accuracy by codec, the same one up and down, after 100 versions ({seeds} seed{'s' * (seeds > 1)})",
                 x=LEFT, y=22, font_size=14)
        for value in TICKS:
            if self.y_from <= value <= self.y_to:
                self.say("line", _class="grid", x1=LEFT, x2=RIGHT, y1=self.y(value), y2=self.y(value))
                self.say("text", f"{value:g} %", x=LEFT - 6, y=self.y(value) + 4, text_anchor="end")
        for value in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4):
            if self.x_from <= math.log10(value) <= self.x_to:
                self.say("line", _class="grid", x1=self.x(value), x2=self.x(value), y1=TOP, y2=BOTTOM)
                self.say("text", f"{value:g}", x=self.x(value), y=BOTTOM + 16, text_anchor="middle")
        self.say("text", "bytes a parameter of an update, with its header", x=(LEFT + RIGHT) / 2, y=BOTTOM + 36, text_anchor="middle")

    def label(self, point):
        """Where it hides nothing that is there already."""
        x, y, wide = self.x(point.bytes), self.y(point.accuracy), CHARACTER * len(point.codec)
        places = [(x + 8, y + 4), (x - 8 - wide, y + 4)]
        places += [(x + along, y + 4 + away * LINE) for away in (1, -1, 2, -2, 3, -3, 4, -4) for along in (-wide / 2, 8, -8 - wide)]

        def hides(left, bottom):
            box = (left, bottom - LINE + 2, left + wide, bottom + 2)
            return box[0] < LEFT or box[2] > WIDTH or box[1] < TOP or box[3] > BOTTOM or any(
                box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in self.taken)

        left, bottom = next((place for place in places if not hides(*place)), places[0])
        self.taken.append((left, bottom - LINE + 2, left + wide, bottom + 2))
        self.say("text", point.codec, x=left, y=bottom)

    def draw(self, seeds):
        front = [p for p in self.points if not any(q.beats(p) for q in self.points)]
        self.say("rect", _class="ground", width=WIDTH, height=HEIGHT)
        self.axes(seeds)
        self.say("polyline", _class="front", points=" ".join(f"{self.x(p.bytes):.1f},{self.y(p.accuracy):.1f}" for p in front))
        for p in self.points:
            x, y = self.x(p.bytes), self.y(p.accuracy)
            self.taken.append((x - 5, y - 5, x + 5, y + 5))
            if p.sd > 0:
                self.say("line", _class="on" if p in front else "off", x1=x, x2=x, y1=self.y(p.accuracy - p.sd),
                         y2=self.y(p.accuracy + p.sd))
            self.say("circle", _class="on" if p in front else "off", cx=x, cy=y, r=4)
        for p in sorted(self.points, key=lambda p: p not in front):
            self.label(p)
        body = "\n".join(self.out)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">\n'
                f"<style>{STYLE}</style>\n{body}\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=pathlib.Path, default=RESULT, help="what run.py left (default: run/experiments/codecs)")
    parser.add_argument("svg", nargs="?", type=pathlib.Path, help="the picture's file")
    options = parser.parse_args()
    points, seeds = read(options.result)
    for p in points:
        on = "" if any(q.beats(p) for q in points) else "yes"
        spread = f" ± {p.sd:.2f}" if seeds > 1 else ""
        print(f"| `{p.codec}` | {p.bytes:.4f} | {p.accuracy:.2f}{spread} | {p.loss:.2f} | {on} |")
    if options.svg is not None:
        options.svg.write_text(Picture(points).draw(seeds))


if __name__ == "__main__":
    main()
