"""Checks an OpenAPI description: that it is valid, and that every example is, by its own schema.

    check_openapi.py FILE

Prints what is wrong, one finding a line; exit code 1 if there is any.
"""

import json
import sys

from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

METHODS = ("get", "post", "put", "patch", "delete")


def main(path):
    with open(path, encoding="utf-8") as file:
        description = json.load(file)
    findings = [f"description: {error.message}" for error in
                OpenAPIV31SpecValidator(description).iter_errors()]
    registry = Registry().with_resource(
        "urn:api", Resource(contents=description, specification=DRAFT202012))
    checked = 0
    for where, schema, example in examples(description):
        validator = Draft202012Validator(
            absolute(schema), registry=registry, format_checker=FormatChecker())
        findings += [f"{where}: {error.json_path}: {error.message}"
                     for error in validator.iter_errors(example)]
        checked += 1
    for finding in findings:
        print(finding)
    print(json.dumps({"examples": checked, "findings": len(findings)}))
    return 1 if findings else 0


def absolute(schema):
    """References lead into the whole description."""
    text = json.dumps(schema)
    return json.loads(text.replace('"$ref": "#', '"$ref": "urn:api#'))


def examples(description):
    """Where, schema and example of everything that has one; a body without one is a finding."""
    for path, item in description["paths"].items():
        for method in METHODS:
            operation = item.get(method)
            if operation is None:
                continue
            what = f"{method.upper()} {path}"
            for parameter in operation.get("parameters", []):
                if "example" in parameter:
                    yield f"{what} {parameter['name']}", parameter["schema"], parameter["example"]
            bodies = [("request", operation.get("requestBody", {}))]
            bodies += operation["responses"].items()
            for name, body in bodies:
                for media, content in body.get("content", {}).items():
                    if media == "application/json":
                        yield f"{what} {name}", content["schema"], content["example"]
    for name, schema in description["components"]["schemas"].items():
        for example in [schema["example"]] if "example" in schema else schema.get("examples", []):
            yield f"schema {name}", schema, example


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
