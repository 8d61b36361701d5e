"""Apache Otava's change points, for comparison with ours.

    peer.py time FILE      the series of a file, each timed; results as JSON to stdout
    peer.py fixture FILE   writes the series that crates/stats is tested on, with Otava's answers

Needs the package `apache-otava` in the version that bench/history/src/main.rs names.
"""

import json
import math
import random
import sys
import time
from importlib.metadata import version

from otava.analysis import TTestSignificanceTester, compute_change_points

# How often each series is worked out, of which the fastest counts, as in main.rs.
REPEATS = 3


def compute(series):
    values = [float(value) for value in series["values"]]
    found, _ = compute_change_points(
        values,
        window_len=series.get("window", 50),
        max_pvalue=series.get("p_value_max", 0.001),
        min_magnitude=series.get("change_min", 0.0),
    )
    return values, found


def points(series):
    """Otava's change points, with what its own t-test says of the pieces that are left: what it returns is in part of pieces
    that were merged since."""
    values, found = compute(series)
    tester = TTestSignificanceTester(0.001)
    intervals = tester.get_intervals(found)
    found = [tester.change_point(point.to_candidate(), values, intervals) for point in found]
    return [
        {
            "index": int(point.index),
            "before": float(point.stats.mean_1),
            "after": float(point.stats.mean_2),
            "p_value": float(point.stats.pvalue),
        }
        for point in found
    ]


def measure(path):
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    # What SciPy sets up at its first use is not counted.
    compute({"values": document[0]["values"][:200]})
    answers = []
    for series in document:
        seconds = math.inf
        for _ in range(REPEATS):
            start = time.perf_counter()
            _, found = compute(series)
            seconds = min(seconds, time.perf_counter() - start)
        answers.append({"name": series["name"], "seconds": seconds, "places": [int(point.index) for point in found]})
    json.dump({"version": version("apache-otava"), "answers": answers}, sys.stdout)


def fixture(path):
    chance = random.Random(20230417)

    def noisy(levels, deviation=1.0, digits=3):
        return [round(level + deviation * chance.gauss(0, 1), digits) for level in levels]

    def pieces(*pairs):
        return [level for length, level in pairs for _ in range(length)]

    heavy = [round(100 + 3 * math.tan(math.pi * (chance.random() - 0.5)), 3) for _ in range(150)]
    outlier = noisy(pieces((120, 100)))
    outlier[60] = 160.0
    steps = pieces((45, 20), (38, 22.5), (61, 21.7), (30, 27), (50, 24.4))
    # A point goes whose left neighbour then parts nothing any more, which Otava does not notice.
    leftover = [99, 103, 100, 99, 99, 101, 95, 99, 100, 101, 100, 94, 99, 100, 98, 103, 99, 98, 100, 98]
    leftover += [97, 95, 96, 97, 97, 96, 97, 96, 96, 98, 93, 92, 94, 96, 101, 102, 99, 102, 97, 97]
    series = [
        {"name": "no change", "values": noisy(pieces((300, 100)))},
        {"name": "one step", "values": noisy(pieces((60, 100), (60, 104)))},
        {"name": "one step without noise", "values": pieces((50, 100), (50, 120))},
        {"name": "steps without noise, in tenths", "values": pieces((33, 0.1), (47, 0.3), (61, 0.7), (29, 0.2), (90, 0.3))},
        {"name": "many steps", "values": noisy(steps, 0.5)},
        {"name": "many steps, a narrow window", "values": noisy(steps, 0.5), "window": 21},
        {"name": "many steps, a wide window", "values": noisy(steps, 0.5), "window": 100},
        {"name": "many steps, great ones", "values": noisy(steps, 0.5), "change_min": 0.1},
        {"name": "many steps, lax", "values": noisy(steps, 1.5), "p_value_max": 0.05},
        {"name": "drift", "values": noisy([100 + place * 0.08 for place in range(200)])},
        {"name": "an outlier", "values": outlier},
        {"name": "heavy tails", "values": heavy},
        {"name": "season", "values": noisy([100 + 4 * math.sin(place / 9) for place in range(200)])},
        {"name": "whole numbers with ties", "values": noisy(pieces((70, 5), (70, 7), (40, 6)), 1.2, 0)},
        {"name": "zeros, then not", "values": pieces((40, 0.0)) + noisy(pieces((40, 3)), 0.3)},
        {"name": "constant", "values": pieces((120, 0.1))},
        {"name": "a leftover", "values": leftover},
        {"name": "short", "values": [10.1, 10.0, 10.2, 9.9, 12.0, 12.1, 11.9, 12.2]},
        {"name": "two", "values": [1.0, 2.0]},
        {"name": "one", "values": [1.0]},
    ]
    for one in series:
        one["change_points"] = points(one)
    lines = ",\n".join(json.dumps(one) for one in series)
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"otava": %s, "series": [\n%s\n]}\n' % (json.dumps(version("apache-otava")), lines))


if __name__ == "__main__":
    {"time": measure, "fixture": fixture}[sys.argv[1]](sys.argv[2])
