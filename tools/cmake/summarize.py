"""Prints what passed, failed and was skipped, by label; the last line is the total.

summarize.py BUILD RESULTS, with RESULTS the JUnit file that ctest wrote for BUILD. The labels come from ctest itself,
since its JUnit files do not have them.
"""

import collections
import json
import subprocess
import sys
import xml.etree.ElementTree

build, results = sys.argv[1:]
listing = subprocess.run(["ctest", "--test-dir", build, "--show-only=json-v1"], stdout=subprocess.PIPE, check=True)
labels = {}
for test in json.loads(listing.stdout)["tests"]:
    properties = {p["name"]: p["value"] for p in test.get("properties", [])}
    labels[test["name"]] = properties.get("LABELS", ["unlabelled"])

counts = collections.defaultdict(collections.Counter)
for case in xml.etree.ElementTree.parse(results).getroot().iter("testcase"):
    outcome = {"run": "passed", "fail": "failed"}.get(case.get("status"), "skipped")
    for label in ["", *labels[case.get("name")]]:
        counts[label][outcome] += 1


def line(count):
    return ", ".join(f"{count[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped"))


for label in sorted(counts.keys() - {""}):
    print(f"{label:>12}: {line(counts[label])}")
print(line(counts[""]))
