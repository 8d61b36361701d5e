"""The expressions of dashboards as a file of rules, so that promtool can say what it thinks of them.

    expressions.py DASHBOARD.json…    writes YAML (of which JSON is a part) to stdout
"""

import json
import re
import sys

# What Grafana puts in for its own variables.
VARIABLES = {"$__rate_interval": "1m", "$__interval": "1m", "$__range": "1h"}


def expressions(panels):
    for panel in panels:
        yield from expressions(panel.get("panels", []))
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def filled_in(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return re.sub(r"\$\{?\w+\}?", ".*", expression)


rules = []
for path in sys.argv[1:]:
    with open(path) as file:
        dashboard = json.load(file)
    found = list(expressions(dashboard["panels"]))
    if not found:
        sys.exit(f"{path} has no expressions")
    for number, (title, expression) in enumerate(found):
        rules.append({"record": f"dashboard:expression:{number}", "expr": filled_in(expression), "labels": {"panel": title}})
json.dump({"groups": [{"name": "dashboards", "rules": rules}]}, sys.stdout, indent=1)
