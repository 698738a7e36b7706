#!/usr/bin/env python3
"""Writes the facts of `amazon.txt` anew: `generate.py FOLDER < amazon.txt > new.txt`.

FOLDER holds the unpacked wheels of apache-airflow-providers-amazon 9.39.0, -common-sql 2.4.0 and -cncf-kubernetes 10.25.0
(`pip download --no-deps`, `unzip`). Which operators are listed, their service and whether one is an abstract base comes from
the `@` lines of standard input: the operators of Amazon MWAA Serverless and those of common.sql. To add one, add its `@`
line. Names, types, defaults and template fields are read from the constructors' signatures, without running any of it.
"""

import ast
import json
import pathlib
import sys

# Annotations by what they allow in a DAG file. What is not listed makes the argument `any`.
KINDS = {
    "str": "text", "bool": "boolean", "int": "integer", "float": "number", "timedelta": "duration", "datetime": "moment",
    "Callable": "callable",
    **dict.fromkeys(("list", "List", "Sequence", "Iterable", "Collection", "tuple", "set", "Container"), "list"),
    **dict.fromkeys(("dict", "Dict", "Mapping", "MutableMapping"), "mapping"),
}
PAIRS = {
    ("integer", "number"): "number", ("list", "text"): "text-or-list", ("integer", "list"): "integer-or-list",
    ("mapping", "text"): "mapping-or-text", ("moment", "text"): "moment", ("duration", "integer"): "duration",
    ("duration", "number"): "duration",
}
# What every sensor takes. One that stands here again has a default of its own.
SENSOR_ARGUMENTS = {
    "poke_interval": "duration", "timeout": "duration", "max_wait": "duration", "mode": None, "soft_fail": None,
    "exponential_backoff": None, "silent_fail": None, "never_fail": None,
}


def load(folder):
    """Every class below the folder by its path, and the paths by class name."""
    classes, named = {}, {}
    for file in sorted(folder.rglob("*.py")):
        module = ".".join(file.with_suffix("").parts)
        module = module[module.index("airflow."):] if "airflow." in module else module
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef):
                classes[f"{module}.{node.name}"] = node
                named.setdefault(node.name, f"{module}.{node.name}")
    return classes, named


def name_of(node):
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def lineage(path, classes, named):
    """The class and its bases, nearest first, without repetition."""
    order, waiting = [], [path]
    while waiting:
        here = waiting.pop(0)
        if here in classes and here not in order:
            order.append(here)
            module = here.rsplit(".", 1)[0]
            bases = [name_of(base) for base in classes[here].bases]
            waiting[:0] = [f"{module}.{b}" if f"{module}.{b}" in classes else named.get(b, b) for b in bases]
    return order


def kind(annotation):
    if annotation is None:
        return "any"
    found, waiting = set(), [annotation]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.BinOp):
            waiting += [node.left, node.right]
        elif isinstance(node, ast.Subscript) and name_of(node) in ("Optional", "Union"):
            waiting += node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        elif isinstance(node, ast.Constant) and node.value is None:
            pass
        elif name_of(node) not in ("ArgNotSet", "NOTSET"):
            found.add(KINDS.get(name_of(node), "any"))
    found = tuple(sorted(found))
    return found[0] if len(found) == 1 else PAIRS.get(found, "any")


def default(node):
    """The default as JSON, where it is a literal."""
    try:
        return json.dumps(ast.literal_eval(node))
    except (ValueError, TypeError):
        return None


def arguments(lines_of, classes):
    found = {}
    for path in lines_of:
        init = next((n for n in classes[path].body if getattr(n, "name", "") == "__init__"), None)
        if init is None:
            continue
        positional = [a for a in init.args.args if a.arg != "self"]
        defaults = [None] * (len(positional) - len(init.args.defaults)) + list(init.args.defaults)
        named = list(zip(positional, defaults)) + list(zip(init.args.kwonlyargs, init.args.kw_defaults))
        for argument, value in named:
            if argument.arg not in ("task_id", "params", "do_xcom_push") and not argument.arg.startswith("_"):
                found.setdefault(argument.arg, (kind(argument.annotation), value is None, value and default(value)))
        # What a class hands to its base by itself is no argument of its own.
        found.update({name: None for name in handed_on(init) if name not in found})
        if init.args.kwarg is None:
            break
    return {name: facts for name, facts in found.items() if facts}


def handed_on(init):
    """The keywords with which a constructor calls that of its base."""
    for call in ast.walk(init):
        function = getattr(call, "func", None)
        if isinstance(call, ast.Call) and name_of(function) == "__init__" and name_of(getattr(function.value, "func", None)) == "super":
            yield from (keyword.arg for keyword in call.keywords if keyword.arg)


def texts(node, classes_body):
    """The strings of a `template_fields` or `template_ext` expression."""
    fields = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    if any(isinstance(n, ast.Call) and name_of(n.func) == "aws_template_fields" for n in ast.walk(node)):
        fields += ["aws_conn_id", "region_name", "verify"]
    return fields


def attribute(name, lines_of, classes, named):
    for path in lines_of:
        for node in classes[path].body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and getattr(target, "id", "") == name and node.value:
                fields = texts(node.value, classes)
                for part in ast.walk(node.value):  # e.g. (*BaseClass.template_fields, "more")
                    if isinstance(part, ast.Attribute) and part.attr == name:
                        base = named.get(name_of(part.value))
                        fields += attribute(name, lineage(base, classes, named), classes, named) if base else []
                return fields
    return []


def main():
    classes, named = load(pathlib.Path(sys.argv[1]))
    for line in sys.stdin:
        if line.startswith("#"):
            print(line, end="")
        if not line.startswith("@ "):
            continue
        path, service, *marks = line[2:].split()
        marks = [mark for mark in marks if not mark.startswith(".")]
        lines_of = lineage(path, classes, named)
        if not lines_of:
            sys.exit(f"{path} is not in the wheels")
        is_sensor = "sensor" in marks
        extensions = sorted(set(attribute("template_ext", lines_of, classes, named)))
        print("@", path, service, *marks, *extensions)
        templates = set(attribute("template_fields", lines_of, classes, named))
        for name, (type_, required, value) in sorted(arguments(lines_of, classes).items()):
            if is_sensor and name in SENSOR_ARGUMENTS:
                type_ = SENSOR_ARGUMENTS[name]
                if type_ is None or (name, value) == ("poke_interval", "60"):
                    continue
            mark = ("*" if required else "") + ("%" if name in templates else "")
            print(f"{mark}{name}:{type_}" + ("" if value is None else f"={value}"))


main()
