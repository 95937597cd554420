#!/usr/bin/python3
"""What codecs cost in bytes and in what is lost: rows of a Markdown table on stdout and, where a file is named, a picture in SVG
with the front, the codecs that none beats in both.

    front.py [SVG]               bytes and accuracy, from the result of the scenario codecs (make experiments-all ONLY=codecs)
    front.py --bench ROWS [SVG]  bytes and error, from the rows that make bench ONLY=codecs prints, in a file (-: stdin), a
                                 document, say; where it has rows of the first kind too, with the accuracy that they have
"""
import argparse
import html
import json
import math
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SCENARIO = ROOT / "configs" / "scenarios" / "codecs.yaml"
RESULT = ROOT / "run" / "experiments" / "codecs" / "result.json"

WIDTH, LEFT, RIGHT, TOP, MARGIN = 860, 60, 830, 44, 50
ACCURACY_TICKS = (10, 50, 80, 90, 93, 95, 96, 97, 97.5, 98, 98.3, 98.6, 98.8, 99, 99.2, 99.5)  # %
ERROR_TICKS = (1, 0.8, 0.6, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.005, 0)
BYTES_TICKS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4)
BENCH_ROW = re.compile(r"^\| `([^`]+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.e-]+) \|", re.M)
ACCURACY_ROW = re.compile(r"^\| `([^`]+)` \| [\d.]+ \| ([\d.]+(?: ± [\d.]+)?) \| -?[\d.]+ \| (?:yes)? *\|$", re.M)
CHARACTER, LINE = 6.3, 13  # of a label, in pixels
STYLE = """
svg{font:11px sans-serif} .ground{fill:#fff} text{fill:#1f2328} .grid{stroke:#e3e7eb} .front{stroke:#0072b2;fill:none;stroke-width:1.5}
.on{fill:#0072b2;stroke:#0072b2} .off{fill:none;stroke:#59636e} .to{stroke:#9aa4ae;stroke-width:.7}
@media(prefers-color-scheme:dark){.ground{fill:#0d1117} text{fill:#e6edf3} .grid{stroke:#262c34} .front{stroke:#4da9e0}
.on{fill:#4da9e0;stroke:#4da9e0} .off{stroke:#9198a1}}
"""


class Point:
    """A codec: `value` is its accuracy or its error, `lost` what of it is bad."""

    def __init__(self, codec, bytes_each, value, lost, sd=0.0):
        self.codec, self.bytes, self.value, self.lost, self.sd = codec, bytes_each, value, lost, sd

    def beats(self, other):
        return self.bytes <= other.bytes and self.lost <= other.lost and (self.bytes, self.lost) != (other.bytes, other.lost)


def front_of(points):
    return [p for p in points if not any(q.beats(p) for q in points)]


def read_result(result):
    """The points, dearest first, what each has less than f32, and how many seeds they are of."""
    arms = re.findall(r'^ *- "(\w+): plan\.codec\.up=([^;]+);', SCENARIO.read_text(), re.M)
    result = json.loads(result.read_text())
    found = {measure["name"].removeprefix("codecs-"): measure for measure in result["measures"]}
    points = [Point(codec, found[f"{arm}-bytes"]["value"], found[arm]["value"], -found[arm]["value"], found[arm]["sd"])
              for arm, codec in arms]
    less = {codec: found[f"{arm}-loss"]["value"] if f"{arm}-loss" in found else 0.0 for arm, codec in arms}
    points.sort(key=lambda point: -point.bytes)
    return points, less, len(result["seeds"])


class Accuracy:
    """The axis upwards: the logarithm of what is wrong."""
    height, x_label = 460, "bytes a parameter of an update, with its header"

    def __init__(self, points, seeds):
        self.title = f"Accuracy by codec, the same one up and down, after 100 versions ({seeds} seed{'s' * (seeds > 1)})"
        low, high = min(p.value - p.sd for p in points), max(p.value + p.sd for p in points)
        self.lowest = max((tick for tick in ACCURACY_TICKS if tick < low), default=0)
        self.highest = min((tick for tick in ACCURACY_TICKS if tick > high), default=99.9)
        self.ticks = [(tick, f"{tick:g} %") for tick in ACCURACY_TICKS if self.lowest <= tick <= self.highest]

    @staticmethod
    def place(value):
        return -math.log10(100 - max(value, 0))


class Error:
    """The axis upwards: the root of the error, from all to nothing."""
    height, x_label = 640, "bytes a parameter"
    title = "Error by codec: the squared 2-norm of what is lost, by that of the vector"
    lowest, highest, ticks = 1, 0, [(tick, f"{tick:g}") for tick in ERROR_TICKS]

    @staticmethod
    def place(value):
        return -math.sqrt(value)


class Picture:
    """Bytes on a logarithmic axis, and upwards what is good of the other."""

    def __init__(self, points, axis):
        self.points, self.axis, self.out, self.taken, self.labels = points, axis, [], [], []
        self.height, self.bottom = axis.height, axis.height - MARGIN
        self.x_from, self.x_to = math.log10(min(p.bytes for p in points) / 1.5), math.log10(max(p.bytes for p in points) * 1.5)

    def x(self, value):
        return LEFT + (math.log10(value) - self.x_from) / (self.x_to - self.x_from) * (RIGHT - LEFT)

    def y(self, value):
        at, low, high = (self.axis.place(v) for v in (value, self.axis.lowest, self.axis.highest))
        return self.bottom - (at - low) / (high - low) * (self.bottom - TOP)

    def say(self, element, text=None, **attributes):
        words = " ".join(f'{key.strip("_").replace("_", "-")}="{value:.1f}"' if isinstance(value, float) else
                         f'{key.strip("_").replace("_", "-")}="{value}"' for key, value in attributes.items())
        self.out.append(f"<{element} {words}/>" if text is None else f"<{element} {words}>{html.escape(text)}</{element}>")

    def axes(self):
        self.say("text", self.axis.title, x=LEFT, y=22, font_size=14)
        for value, label in self.axis.ticks:
            self.say("line", _class="grid", x1=LEFT, x2=RIGHT, y1=self.y(value), y2=self.y(value))
            self.say("text", label, x=LEFT - 6, y=self.y(value) + 4, text_anchor="end")
        for value in BYTES_TICKS:
            if self.x_from <= math.log10(value) <= self.x_to:
                self.say("line", _class="grid", x1=self.x(value), x2=self.x(value), y1=TOP, y2=self.bottom)
                self.say("text", f"{value:g}", x=self.x(value), y=self.bottom + 16, text_anchor="middle")
        self.say("text", self.axis.x_label, x=(LEFT + RIGHT) / 2, y=self.bottom + 36, text_anchor="middle")

    def keep_clear(self, from_x, from_y, to_x, to_y):
        """No label on this line."""
        steps = max(1, round(math.hypot(to_x - from_x, to_y - from_y) / 4))
        for i in range(steps + 1):
            x, y = from_x + (to_x - from_x) * i / steps, from_y + (to_y - from_y) * i / steps
            self.taken.append((x - 1, y - 1, x + 1, y + 1))

    def label(self, point):
        """Where it hides nothing that is there already; a line leads to one that is not beside its point."""
        x, y, wide = self.x(point.bytes), self.y(point.value), CHARACTER * len(point.codec)
        places = [(x + 8, y + 4), (x - 8 - wide, y + 4)]
        places += [(x + along, y + 4 + away * LINE) for away in (1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6)
                   for along in (-wide / 2, 8, -8 - wide, 30, -30 - wide, 50, -50 - wide)]

        def hides(left, bottom):
            box = (left, bottom - LINE + 2, left + wide, bottom + 2)
            return box[0] < LEFT or box[2] > WIDTH or box[1] < TOP or box[3] > self.bottom or any(
                box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in self.taken)

        def end(left, bottom):
            return min(max(x, left), left + wide), bottom - LINE + 4 if bottom > y + LINE else bottom + 2

        def crosses(left, bottom):
            """Does the line to it run over another point or a label?"""
            to_x, to_y = end(left, bottom)
            way = [(x + (to_x - x) * i / 20, y + (to_y - y) * i / 20) for i in range(3, 21)]
            others = [(self.x(p.bytes), self.y(p.value)) for p in self.points]
            return (any(math.hypot(ox - x, oy - y) > 4 and math.hypot(ox - at_x, oy - at_y) < 6 for ox, oy in others for at_x, at_y in way)
                    or any(b[0] < at_x < b[2] and b[1] < at_y < b[3] for b in self.labels for at_x, at_y in way))

        beside = [place for place in places[:2] if not hides(*place)]
        free = [place for place in places[2:] if not hides(*place)]
        left, bottom = (beside + [place for place in free if not crosses(*place)] + free + places)[0]
        self.labels.append((left, bottom - LINE + 2, left + wide, bottom + 2))
        self.taken.append(self.labels[-1])
        self.say("text", point.codec, x=left, y=bottom)
        if (left, bottom) not in places[:2]:
            end_x, end_y = end(left, bottom)
            far = math.hypot(end_x - x, end_y - y)
            self.say("line", _class="to", x1=x + (end_x - x) * 5 / far, y1=y + (end_y - y) * 5 / far, x2=end_x, y2=end_y)

    def draw(self):
        front = front_of(self.points)
        self.say("rect", _class="ground", width=WIDTH, height=self.height)
        self.axes()
        line = sorted(front, key=lambda p: -p.bytes)
        self.say("polyline", _class="front", points=" ".join(f"{self.x(p.bytes):.1f},{self.y(p.value):.1f}" for p in line))
        for p, q in zip(line, line[1:]):
            self.keep_clear(self.x(p.bytes), self.y(p.value), self.x(q.bytes), self.y(q.value))
        for p in self.points:
            x, y = self.x(p.bytes), self.y(p.value)
            self.taken.append((x - 5, y - 5, x + 5, y + 5))
            if p.sd > 0:
                self.keep_clear(x, self.y(p.value - p.sd), x, self.y(p.value + p.sd))
                self.say("line", _class="on" if p in front else "off", x1=x, x2=x, y1=self.y(p.value - p.sd), y2=self.y(p.value + p.sd))
            self.say("circle", _class="on" if p in front else "off", cx=x, cy=y, r=4)
        for p in sorted(self.points, key=lambda p: p not in front):
            self.label(p)
        body = "\n".join(self.out)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" height="{self.height}">\n'
                f"<style>{STYLE}</style>\n{body}\n</svg>\n")


def accuracy_table(options):
    points, less, seeds = read_result(options.result)
    front = front_of(points)
    for p in points:
        spread = f" ± {p.sd:.2f}" if seeds > 1 else ""
        print(f"| `{p.codec}` | {p.bytes:.4f} | {p.value:.2f}{spread} | {less[p.codec]:.2f} | {'yes' * (p in front)} |")
    return Picture(points, Accuracy(points, seeds))


def bench_table(options):
    text = sys.stdin.read() if str(options.bench) == "-" else options.bench.read_text()
    rows, accuracy = BENCH_ROW.findall(text), dict(ACCURACY_ROW.findall(text))
    if not rows:
        sys.exit(f"{options.bench}: no rows as make bench ONLY=codecs prints them")
    points = [Point(codec, float(size), float(error), float(error)) for codec, size, _, _, error in rows]
    front = front_of(points)
    print("| codec | bytes a parameter | encode, ns | decode and add, ns | error | accuracy, % | on the front |\n" + "| --- " * 7 + "|")
    for row, p in zip(rows, points):
        print(f"| `{row[0]}` | {' | '.join(row[1:])} | {accuracy.get(row[0], '')} | {'yes' * (p in front)} |")
    return Picture(points, Error)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=pathlib.Path, default=RESULT, help="what run.py left (default: run/experiments/codecs)")
    parser.add_argument("--bench", type=pathlib.Path, metavar="ROWS", help="bytes and error instead, from a benchmark's rows")
    parser.add_argument("svg", nargs="?", type=pathlib.Path, help="the picture's file")
    options = parser.parse_args()
    picture = (accuracy_table if options.bench is None else bench_table)(options)
    if options.svg is not None:
        options.svg.write_text(picture.draw())


if __name__ == "__main__":
    main()
