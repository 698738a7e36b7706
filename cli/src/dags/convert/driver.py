"""Runs AWS's converter on one Python DAG file, and tells what the YAML lacks.

Arguments: the file; a folder for the YAML, one file a DAG; where the report goes; JSON of the operators that run here,
though the converter's own service does not know them: their arguments by class path. Standard output is the converter's; the report is all that is read.
"""

import ast
import json
import re
import sys
import traceback
from datetime import timedelta
from pathlib import Path


class Refused(Exception):
    """The file cannot be converted: why, where, and what would help."""

    def __init__(self, reason, line=None, hint=None):
        super().__init__(reason)
        self.reason, self.line, self.hint = reason, line, hint


def first_call(tree, name):
    """The line of the first use of a class."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == name or isinstance(node, ast.Attribute) and node.attr == name:
            return node.lineno
    return None


def line_in_trace(text, path):
    """The last line of the file that a stack trace goes through."""
    lines = re.findall(r'File "([^"]+)", line (\d+)', text)
    own = [int(number) for name, number in lines if Path(name).name == path.name]
    return own[-1] if own else None


def explain(error, tree, path):
    """An error of the converter in plain words."""
    text = str(error)
    operator = re.search(r"Operator (\w+) is not supported", text)
    if operator and operator[1] == "PythonDecoratedOperator":
        return Refused(
            "tasks made by `@task` are not converted",
            decorated(tree),
            "write each as a PythonOperator that calls a function of a module beside the DAG file, and try again",
        )
    if operator:
        return Refused(
            f"the converter does not know the operator `{operator[1]}`",
            first_call(tree, operator[1]),
            "take the task out of the file, convert the rest, and add the task to the YAML",
        )
    if "Schedule is not valid" in text:
        kind = text.split(":", 1)[1].strip()
        return Refused(
            f"the converter knows no schedule like `{kind}`",
            keyword_line(tree, "schedule"),
            "use a cron expression or a timedelta, and put the schedule you want into the YAML",
        )
    missing = re.search(r"ModuleNotFoundError: No module named '([^']+)'", text)
    if missing:
        return Refused(
            f"the file imports `{missing[1]}`, which is not installed beside the converter",
            line_in_trace(text, path),
            "install it there: `updraft dags convert --with PACKAGE`, with the name of the package on PyPI",
        )
    if "import errors" in text:
        last = [line for line in text.strip().splitlines() if line.strip()][-1]
        return Refused(f"Airflow 3.0.6 cannot import the file: {last.strip()}", line_in_trace(text, path))
    if "Failed to generate dag object" in text:
        return Refused("Airflow 3.0.6 finds no DAG in the file", None, "does it call its `@dag` function?")
    return Refused(f"the converter failed: {type(error).__name__}: {text.splitlines()[0] if text else 'no message'}")


def decorated(tree):
    """The line of the first function that `@task` makes a task."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                name = decorator.func if isinstance(decorator, ast.Call) else decorator
                while isinstance(name, ast.Attribute):
                    name = name.value
                if isinstance(name, ast.Name) and name.id == "task":
                    return decorator.lineno
    return None


def keyword_line(tree, keyword):
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == keyword:
            return node.value.lineno
    return None


#: What every task has without being told; the converter writes it all out.
TOLD_BY_NOBODY = {
    "retries": 0, "retry_delay": timedelta(minutes=5), "priority_weight": 1, "weight_rule": "downstream", "outlets": [],
    "trigger_rule": "all_success", "wait_for_downstream": False, "retry_exponential_backoff": False, "pool": "default_pool",
    "pool_slots": 1, "queue": "default", "depends_on_past": False, "do_xcom_push": True, "allow_nested_operators": True,
    "ignore_first_depends_on_past": False, "wait_for_past_depends_before_skipping": False, "owner": "airflow",
    "multiple_outputs": False, "email_on_retry": True, "email_on_failure": True,
}

#: Arguments of every task that the converter drops and that mean something here.
UNDERSTOOD = {
    "doc_md", "pool", "pool_slots", "queue", "depends_on_past", "task_display_name", "max_active_tis_per_dag",
    "max_active_tis_per_dagrun", "map_index_template", "do_xcom_push", "ignore_first_depends_on_past", "owner",
    "wait_for_past_depends_before_skipping", "multiple_outputs", "on_execute_callback", "on_success_callback",
    "on_failure_callback", "on_retry_callback", "on_skipped_callback",
}


def same(value, other):
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def prune(dag, tasks, arguments):
    """Takes away what a person would not have written: values that are the same without being told."""
    defaults = getattr(dag, "default_args", None) or {}
    for task_id, task in tasks.items():
        given = getattr(dag.get_task(task_id), "_BaseOperator__init_kwargs", None)
        for key in [key for key in task if key in arguments and given is not None and key not in given]:
            del task[key]
        task.pop("task_id", None)
        if task.get("task_display_name") == task_id:
            del task["task_display_name"]
        for key in [key for key in task if key in TOLD_BY_NOBODY or key in ("start_date", "end_date")]:
            usual = defaults.get(key, getattr(dag, key, None) if key.endswith("_date") else TOLD_BY_NOBODY.get(key))
            if same(task[key], usual):
                del task[key]
        for key in [key for key in task if key in UNDERSTOOD and task[key] in (None, [], ())]:
            del task[key]
        partial = task.get("partial", {})
        for key in [key for key in partial if key in TOLD_BY_NOBODY and same(partial[key], TOLD_BY_NOBODY[key])]:
            del partial[key]
        for key in [key for key in ("partial", "dependencies") if not task.get(key)]:
            task.pop(key, None)


def widen(operators):
    """Lets the converter pass what is understood here, though its own service refuses or drops it."""
    from dag_converter import conversion_manager
    from dag_converter.conversion import converter
    from dag_converter.schema_parser import ArgumentValidator

    known, check = ArgumentValidator.get_allowed_operators, ArgumentValidator.validate_field
    schedule = converter.convert_schedule
    convert_dag = conversion_manager.get_converted_format
    arguments = {name for names in operators.values() for name in names}

    def validate_field(self, section, key, value, no_value_check=False):
        if section == "dag" and key == "default_args" and isinstance(value, str):
            return True
        if section == "task" and (key in arguments or key in UNDERSTOOD or key == "trigger_rule"):
            return True
        return check(self, section, key, value, no_value_check)

    def convert_schedule(dag):
        return dag.schedule if isinstance(dag.schedule, timedelta) else schedule(dag)

    def get_converted_format(parser, dag, *rest):
        converted = convert_dag(parser, dag, *rest)
        for block in converted.values():
            prune(dag, block["tasks"], arguments)
            for key in [key for key in ("owner_links", "params", "default_args", "tags") if not block.get(key)]:
                block.pop(key, None)
            if block.get("dag_display_name") == dag.dag_id:
                del block["dag_display_name"]
            block.pop("dag_id", None)
        return converted

    ArgumentValidator.get_allowed_operators = lambda self: known(self) + list(operators)
    conversion_manager.get_converted_format = get_converted_format
    ArgumentValidator.validate_field = validate_field
    converter.convert_schedule = convert_schedule


#: What the converter's form says in another way, or what means nothing in YAML.
SAID_OTHERWISE = {
    "dag", "dag_id", "task_id", "task_group", "default_args", "params", "start_date", "end_date", "schedule",
    "python_callable", "outlets", "inlets", "dag_display_name", "auto_register", "kwargs", "op_kwargs_expand_input",
}


def constructor_keywords(tree):
    """The keywords that the file gives to `DAG(...)` or `@dag(...)`, with their lines."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            if name in ("DAG", "dag"):
                found.update({keyword.arg: keyword.value.lineno for keyword in node.keywords if keyword.arg})
    return found


def losses_of_dag(dag, written, tree, path):
    """What the file says of a DAG and the YAML does not, and what to do about the rest."""
    lost, notes = [], []

    def lose(what, line=None):
        lost.append({"what": what, "line": line})

    for key, line in sorted(constructor_keywords(tree).items(), key=lambda pair: pair[1]):
        if key not in written and key not in SAID_OTHERWISE and getattr(dag, key, None) not in (None, False, [], {}):
            lose(f"`{key}` of the DAG", line)
    for name, param in getattr(dag.params, "items", dict)():
        if getattr(param, "schema", None):
            lose(f"the schema of the param `{name}`", keyword_line(tree, "params"))
    for group_id in sorted(filter(None, dag.task_group_dict)):
        lose(f"the task group `{group_id}`: its tasks keep their ids, and edges to it are edges to its tasks")
    for upstream, targets in dag.edge_info.items():
        for downstream, info in targets.items():
            if info.get("label"):
                lose(f"the label `{info['label']}` of the edge from `{upstream}` to `{downstream}`")
    for task in dag.tasks:
        losses_of_task(task, written.get("tasks", {}).get(task.task_id, {}), lose)
        callable_ = written.get("tasks", {}).get(task.task_id, {}).get("python_callable")
        if isinstance(callable_, str) and callable_.startswith(path.stem + "."):
            notes.append(
                f"the task `{task.task_id}` calls `{callable_}`, which lies in the Python DAG file itself; "
                "move it into a module without a DAG"
            )
    return {"lost": lost, "notes": notes}


def losses_of_task(task, written, lose):
    given = dict(getattr(task, "_BaseOperator__init_kwargs", None) or getattr(task, "partial_kwargs", None) or {})
    inner = {**written, **written.get("partial", {}), **written.get("expand", {})}
    for key, value in given.items():
        if key in inner or key in SAID_OTHERWISE or value is None or value is False or value in ([], {}, ()):
            continue
        if key in TOLD_BY_NOBODY and same(value, TOLD_BY_NOBODY[key]):
            continue
        default_args = getattr(task.dag, "default_args", None) or {}
        if key in default_args and default_args[key] == value:
            continue
        lose(f"`{key}` of the task `{task.task_id}`")
    for kind in ("setup", "teardown"):
        if getattr(task, f"is_{kind}", False):
            lose(f"that the task `{task.task_id}` is a {kind}")


def convert(path, folder, operators):
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except SyntaxError as error:
        raise Refused(f"this is no valid Python: {error.msg}", error.lineno) from None
    import yaml
    from dag_converter.conversion_manager import ConversionManager
    from dag_converter.dagbag import get_dag_object

    widen(operators)
    try:
        ConversionManager(s3_bucket=None).start_conversion_process(path, folder, user_validate=False)
        dags = get_dag_object(path)
    except Exception as error:
        raise explain(error, tree, path) from error
    report = []
    for dag in sorted(dags, key=lambda dag: dag.dag_id):
        file = folder / f"{dag.dag_id}.yaml"
        with open(file, encoding="utf-8") as text:
            written = yaml.safe_load(text)[dag.dag_id]
        report.append({"dag_id": dag.dag_id, "file": str(file), **losses_of_dag(dag, written, tree, path)})
    return report


def main():
    source, folder, report, operators = sys.argv[1:]
    answer = {"dags": [], "refused": None, "trace": None}
    try:
        answer["dags"] = convert(Path(source), Path(folder), json.loads(operators))
    except Refused as refused:
        answer["refused"] = {"reason": refused.reason, "line": refused.line, "hint": refused.hint}
    except Exception as error:
        answer["refused"] = {"reason": f"the converter failed: {type(error).__name__}: {error}", "line": None, "hint": None}
        answer["trace"] = traceback.format_exc()
    Path(report).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
