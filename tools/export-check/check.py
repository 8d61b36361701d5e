"""Reads what `storelab export` wrote with the tools that others read it with, and compares what they say with the record.

    python check.py FOLDER [HdrHistogram.jar]

The folder holds one run in every format, as `run.EXTENSION`. Java's HdrHistogram is asked too where its jar is given.
"""

import csv
import json
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import duckdb
import pyarrow.parquet
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from prometheus_client.openmetrics.parser import text_string_to_metric_families

# As Storelab counts: three digits, up to an hour.
HOUR_NS = 3_600_000_000_000
DIGITS = 3
# Readers round to a bucket, or to what they print.
TOLERANCE = 0.002

folder = Path(sys.argv[1])
jar = sys.argv[2] if len(sys.argv) > 2 else None
record = json.loads((folder / "run.json").read_text())
operations = {one["name"]: one for one in record["operations"]}
total = record["total"]


def same(what, found, expected):
    """Ends the check where a foreign reader found something else."""
    if abs(found - expected) > TOLERANCE * max(abs(expected), 1e-9):
        sys.exit(f"{what}: {found} is not {expected}")


def said(tool, text):
    print(f"{tool:<28}{text}")


def rows(name):
    with open(folder / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def check_csv():
    found = [row for row in rows("run.csv") if row["scope"] == "run" and row["operation"] != "total"]
    for row in found:
        expected = operations[row["operation"]]
        same("csv: succeeded", int(row["succeeded"]), expected["succeeded"])
        same("csv: p99", float(row["latency_us_p99"] or 0), expected["latency_us"]["p99"])
    seconds = [row for row in rows("run.seconds.csv") if row["operation"] == "total"]
    same("csv: seconds' sum", sum(int(row["succeeded"]) for row in seconds if row["recorded"] == "true"), total["succeeded"])
    said("csv (python)", f"{len(found)} operations, {len(seconds)} seconds")


def check_parquet():
    file = pyarrow.parquet.ParquetFile(folder / "run.parquet")
    assert file.metadata.metadata[b"storelab.run"].decode() == record["id"]
    said("parquet (pyarrow)", f"{file.metadata.num_rows} rows, {file.metadata.num_columns} columns")
    query = "SELECT operation, sum(succeeded) FROM read_parquet(?) WHERE recorded GROUP BY ALL"
    for operation, succeeded in duckdb.execute(query, [str(folder / "run.parquet")]).fetchall():
        expected = total if operation == "total" else operations[operation]
        same(f"parquet: {operation}", float(succeeded), expected["succeeded"])
    said("parquet (duckdb)", "each operation has as many successes as the record")


def check_openmetrics():
    text = (folder / "run.om").read_text()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for sample in families["storelab_latency_seconds"].samples:
        if sample.labels.get("quantile") == "0.99":
            expected = operations[sample.labels["operation"]]["latency_us"]["p99"]
            same("openmetrics: p99", sample.value * 1e6, expected)
    said("openmetrics (prometheus)", f"{len(families)} families, {sum(len(one.samples) for one in families.values())} samples")


def check_log():
    log, merged, intervals = HistogramLogReader(str(folder / "run.hlog"), HdrHistogram(1, HOUR_NS, DIGITS)), {}, 0
    while (interval := log.get_next_interval_histogram()) is not None:
        merged.setdefault(interval.get_tag(), HdrHistogram(1, HOUR_NS, DIGITS)).add(interval)
        intervals += 1
    for tag, histogram in merged.items():
        expected = total if tag is None else operations[tag]
        same(f"log: count of {tag}", histogram.get_total_count(), expected["succeeded"])
        same(f"log: greatest of {tag}", histogram.get_max_value() / 1e3, expected["latency_us"]["max"])
        # Libraries round the rank of a percentile differently, so that with few values the neighbours are as right.
        rank = 150 / histogram.get_total_count()
        low, high = (histogram.get_value_at_percentile(99 + way) / 1e3 for way in (-rank, rank))
        p99 = expected["latency_us"]["p99"]
        if not low * (1 - TOLERANCE) <= p99 <= high * (1 + TOLERANCE):
            sys.exit(f"log: p99 of {tag}: {p99} is not between {low} and {high}")
    said("hdr-log (python)", f"{intervals} intervals, tags {sorted(tag or '-' for tag in merged)}")


def check_log_in_java():
    def processed(*arguments):
        command = ["java", "-cp", jar, "org.HdrHistogram.HistogramLogProcessor", "-i", str(folder / "run.hlog"), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    for name, expected in [(None, total), *operations.items()]:
        lines = processed("-csv", *(["-tag", name] if name else [])).splitlines()
        points = [line.split(",") for line in lines if line[:1].isdigit()]
        same(f"log in Java: count of {name}", int(points[-1][2]), expected["succeeded"])
        # The values are nanoseconds, which this tool tells as milliseconds without being asked.
        same(f"log in Java: greatest of {name}", float(points[-1][0]) * 1e3, expected["latency_us"]["max"])
    said("hdr-log (java)", f"{len(operations) + 1} series as the record has them")


def check_junit():
    path = folder / "run.xml"
    if path.exists():
        suite = xml.etree.ElementTree.parse(path).getroot()
        said("junit (python)", f"{len(suite.findall('.//testcase'))} tests, {len(suite.findall('.//failure'))} failures")


check_csv()
check_parquet()
check_openmetrics()
check_log()
check_junit()
if jar:
    check_log_in_java()
