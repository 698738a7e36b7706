#!/usr/bin/env python3
"""Writes `airflow.json`: the interface of Airflow's REST API without its prose.

    pip download --no-deps apache-airflow-core==3.3.2 && unzip apache_airflow_core-3.3.2-py3-none-any.whl
    python3 generate.py airflow/api_fastapi/core_api/openapi/v2-rest-api-generated.yaml > airflow.json

Needs PyYAML. What is left are the facts that clients depend on: paths, methods, parameters, statuses, and the forms of bodies and answers.
One line per operation and per schema, so that the next release's changes can be read.
"""

import http
import json
import sys

import yaml

PROSE = {"description", "summary", "title", "example", "examples"}


def bare(node, names=False):
    """The node without prose. `names`: the keys of this node are names of fields, not keywords."""
    if isinstance(node, list):
        return [bare(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {k: v for k, v in node.items() if names or k not in PROSE}
    return {k: bare(v, not names and k == "properties") for k, v in kept.items()}


def operation(method, path, full):
    made = bare(full)
    # Airflow declares this header parameter with the name of the form that FastAPI gives it; the same for every operation.
    made.pop("security", None)
    for status, answer in made["responses"].items():
        answer["description"] = http.HTTPStatus(int(status)).phrase
    return made


def main():
    with open(sys.argv[1]) as file:
        spec = yaml.load(file, Loader=yaml.CSafeLoader)
    operations = {
        f"{method.upper()} {path.removeprefix('/api/v2')}": operation(method, path, full)
        for path, methods in spec["paths"].items()
        for method, full in methods.items()
    }
    print("{\"operations\":{")
    print(",\n".join(f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in operations.items()))
    print("},\"schemas\":{")
    schemas = {name: bare(schema) for name, schema in spec["components"]["schemas"].items()}
    print(",\n".join(f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in sorted(schemas.items())))
    print("}}")


main()
