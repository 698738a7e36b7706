"""Calls one Python callable for Updraft and tells how it went.

Runs in a process of its own, whose standard input is a socket to the worker: one JSON value per line, in both directions. The first line says what to
call. Standard output and standard error are the log. Modules that cost milliseconds (inspect, traceback, logging, difflib) are imported only
when they are needed: this is on the way of every Python task.
"""

import _thread
import json
import os
import sys
import types
from datetime import date, datetime, timedelta

import updraft_values
from updraft_values import NotJson, from_json, to_json, type_name

MESSAGE_CHARS_MAX = 2000


class CallableNotFound(Exception):
    """What should be called is not there; the message says what is."""


# --- The conversation ---------------------------------------------------------------------------


class Channel:
    """The socket to the worker. Threads take turns; a forked child has no part in it."""

    def __init__(self):
        self.pid = os.getpid()
        self.lock = _thread.allocate_lock()
        # Not inherited by programs that the callable starts; those find nothing on their standard input.
        self.fd = os.dup(0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        self.reader = os.fdopen(self.fd, "rb", buffering=65536, closefd=False)

    def receive(self):
        line = self.reader.readline()
        if not line.endswith(b"\n"):
            os._exit(1)  # The worker is gone, and so will this process be in a moment.
        return json.loads(line)

    def send(self, message):
        if os.getpid() != self.pid:
            raise RuntimeError("XComs can be pulled and pushed only in the process that the task was started in")
        data = memoryview(json.dumps(message).encode() + b"\n")
        while data:
            data = data[os.write(self.fd, data):]

    def tell(self, message):
        with self.lock:
            self.send(message)

    def ask(self, message):
        with self.lock:
            self.send(message)
            return self.receive()


# --- Airflow's context --------------------------------------------------------------------------


class DateTime(datetime):
    """A datetime with the methods of Pendulum's that DAG authors use most."""

    def add(self, years=0, months=0, **units):
        month = self.month - 1 + months + 12 * years
        year, month = self.year + month // 12, month % 12 + 1
        after = date(year + month // 12, month % 12 + 1, 1)
        day = min(self.day, (after - timedelta(days=1)).day)
        return self.replace(year=year, month=month, day=day) + timedelta(**units)

    def subtract(self, **units):
        return self.add(**{unit: -count for unit, count in units.items()})

    def to_date_string(self):
        return self.strftime("%Y-%m-%d")

    def to_datetime_string(self):
        return self.strftime("%Y-%m-%d %H:%M:%S")

    def to_iso8601_string(self):
        return self.isoformat().replace("+00:00", "Z")

    def in_timezone(self, zone):
        if isinstance(zone, str):
            from zoneinfo import ZoneInfo

            zone = ZoneInfo(zone)
        return self.astimezone(zone)

    in_tz = in_timezone

    @property
    def int_timestamp(self):
        return int(self.timestamp())


def parse_date(text):
    return None if text is None else DateTime.fromisoformat(text)


class Macros:
    """Airflow's `macros`, as far as the standard library has them."""

    datetime = datetime
    timedelta = timedelta

    @staticmethod
    def ds_add(ds, days):
        return ds if ds is None else (datetime.strptime(str(ds), "%Y-%m-%d") + timedelta(days=days)).strftime("%Y-%m-%d")

    @staticmethod
    def ds_format(ds, input_format, output_format):
        return datetime.strptime(str(ds), input_format).strftime(output_format)

    def __getattr__(self, name):
        if name == "random":
            import random

            return random.random
        if name in ("time", "uuid", "json"):
            return __import__(name)
        raise AttributeError("`macros.%s` is not provided here" % name)


class TaskInstance:
    """What a callable may ask its `ti`."""

    def __init__(self, channel, call):
        self._channel = channel
        self._value_bytes = call["value_bytes"]
        for name in ("dag_id", "task_id", "run_id", "try_number", "max_tries", "map_index"):
            setattr(self, name, call[name])
        self.start_date = parse_date(call["start_date"])

    @property
    def log(self):
        import logging

        return logging.getLogger("airflow.task")

    def xcom_push(self, key, value):
        if not isinstance(key, str) or not key:
            raise ValueError("the key of an XCom must be a text that is not empty, not %r" % (key,))
        self._channel.tell({"op": "push", "key": key, "value": self.checked(value, "the XCom `%s`" % key)})

    def xcom_pull(
        self,
        task_ids=None,
        dag_id=None,
        key="return_value",
        include_prior_dates=False,
        *,
        map_indexes=Ellipsis,
        default=None,
        run_id=None,
    ):
        """Values that tasks of this run pushed: one for one task id, a list for several.

        As in Airflow 3, `default` counts only if `map_indexes` is given.
        """
        if not isinstance(key, str):
            raise ValueError("the key of an XCom must be text, not %r" % (key,))
        if (dag_id or self.dag_id) != self.dag_id or (run_id or self.run_id) != self.run_id or include_prior_dates:
            raise NotImplementedError("XComs can be pulled from this run only: leave out dag_id, run_id and include_prior_dates")
        if map_indexes is Ellipsis:
            default = None
        elif map_indexes != -1:
            raise NotImplementedError("XComs of single mapped instances cannot be pulled: leave out map_indexes")
        single = task_ids is None or isinstance(task_ids, str)
        wanted = [task_ids or self.task_id] if single else list(task_ids)
        answer = self._channel.ask({"op": "pull", "task_ids": wanted, "key": key})
        if "error" in answer:
            raise RuntimeError(answer["error"])
        values = [from_json(found[0]) if found else default for found in answer["values"]]
        return values[0] if single else values

    def checked(self, value, what):
        value = to_json(value, what)
        length = len(json.dumps(value))
        if length > self._value_bytes:
            raise NotJson(
                "%s is %d bytes long as JSON, and %d is the most; write it to a file or a bucket and return where it is"
                % (what, length, self._value_bytes)
            )
        return value


def build_context(call, ti):
    """The names that a callable may ask for; those that derive from the logical date only if there is one."""
    logical_date = parse_date(call["logical_date"])
    start, end = parse_date(call["data_interval_start"]), parse_date(call["data_interval_end"])
    run_id, conf = call["run_id"], call["conf"]
    dag_run = types.SimpleNamespace(
        dag_id=ti.dag_id,
        run_id=run_id,
        run_type=call["run_type"],
        conf=conf,
        logical_date=logical_date,
        data_interval_start=start,
        data_interval_end=end,
        run_after=parse_date(call["run_after"]),
        start_date=parse_date(call["run_start_date"]),
    )
    context = {
        "dag": types.SimpleNamespace(dag_id=ti.dag_id),
        "dag_run": dag_run,
        "macros": Macros(),
        "map_index_template": None,
        "params": call["params"],
        "run_id": run_id,
        "task": types.SimpleNamespace(task_id=ti.task_id, dag_id=ti.dag_id, owner=call["owner"]),
        "task_instance": ti,
        "ti": ti,
    }
    suffix = run_id
    if logical_date is not None:
        day, stamp = logical_date.strftime("%Y-%m-%d"), logical_date.isoformat()
        suffix = day.replace("-", "")
        context.update(
            logical_date=logical_date,
            ds=day,
            ds_nodash=suffix,
            ts=stamp,
            ts_nodash=logical_date.strftime("%Y%m%dT%H%M%S"),
            ts_nodash_with_tz=stamp.replace("-", "").replace(":", ""),
            data_interval_start=start,
            data_interval_end=end,
        )
    context["task_instance_key_str"] = "%s__%s__%s" % (ti.dag_id, ti.task_id, suffix)
    context.update(call["extra"])
    if call["templates_dict"] is not None:
        context["templates_dict"] = call["templates_dict"]
    return context


# --- Airflow's modules, as far as callables need them -------------------------------------------

CONTEXT = None

EXCEPTIONS = {
    "AirflowException": "Exception",
    "AirflowFailException": "AirflowException",
    "AirflowNotFoundException": "AirflowException",
    "AirflowSensorTimeout": "AirflowException",
    "AirflowSkipException": "AirflowException",
    "AirflowTaskTimeout": "AirflowException",
}


def get_current_context():
    """The context of the running task, as Airflow's function of this name returns it."""
    if CONTEXT is None:
        raise RuntimeError("there is no context before the callable is called")
    return CONTEXT


class AirflowShims:
    """Stands in for a few modules of Airflow where Airflow is not installed; an installed one is found first."""

    modules = ("airflow", "airflow.exceptions", "airflow.sdk", "airflow.sdk.exceptions", "airflow.operators", "airflow.operators.python")
    functions = ("airflow.sdk", "airflow.operators.python")
    exceptions = {}

    def find_spec(self, name, path=None, target=None):
        if name not in self.modules:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self, is_package=name in ("airflow", "airflow.sdk", "airflow.operators"))

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        if module.__name__.endswith("exceptions"):
            for name, base in EXCEPTIONS.items():
                if name not in self.exceptions:
                    bases = (self.exceptions.get(base, Exception),)
                    self.exceptions[name] = type(name, bases, {"__module__": "airflow.exceptions"})
            module.__dict__.update(self.exceptions)
        if module.__name__ in self.functions:
            module.get_current_context = get_current_context

        def missing(name):
            if name.startswith("__"):
                raise AttributeError(name)
            if "%s.%s" % (module.__name__, name) in self.modules:
                import importlib

                return importlib.import_module("%s.%s" % (module.__name__, name))
            raise ImportError(
                "Airflow is not installed in %s, and of `%s` Updraft does not provide `%s`"
                % (sys.executable, module.__name__, name)
            )

        module.__getattr__ = missing


class LoggingSetUp:
    """Makes `logging` write to the log from level INFO on, as in Airflow's tasks, when and if it is imported."""

    @staticmethod
    def configure(logging):
        if not logging.getLogger().handlers:
            form = "[%(asctime)s] %(levelname)s - %(message)s"
            logging.basicConfig(stream=sys.stdout, level=logging.INFO, format=form)

    def find_spec(self, name, path=None, target=None):
        if name != "logging":
            return None
        from importlib.machinery import PathFinder

        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        if spec is not None:
            original = spec.loader.exec_module

            def exec_module(module):
                original(module)
                self.configure(module)

            spec.loader.exec_module = exec_module
        return spec


# --- Finding the callable -----------------------------------------------------------------------


def suggestion(name, names):
    import difflib

    close = difflib.get_close_matches(name, names, n=1)
    return "; did you mean `%s`?" % close[0] if close else ""


def listing(names, kind):
    shown = ", ".join("`%s`" % name for name in names[:10])
    more = " and %d more" % (len(names) - 10) if len(names) > 10 else ""
    return "it has the %s %s%s" % (kind, shown, more) if names else "it has no %s" % kind


def attribute(module, path, where):
    """`a.b` of a module, which must be callable."""
    found = module
    for name in path.split("."):
        if not hasattr(found, name):
            names = sorted(
                known
                for known, value in vars(module).items()
                if callable(value) and not known.startswith("_") and getattr(value, "__module__", None) == module.__name__
            )
            raise CallableNotFound(
                "no function `%s` in %s%s; %s" % (path, where, suggestion(path, names), listing(names, "functions"))
            )
        found = getattr(found, name)
    if not callable(found):
        raise CallableNotFound("`%s` in %s is a `%s`, which cannot be called" % (path, where, type_name(found)))
    return found


def from_file(path, name):
    if not os.path.isfile(path):
        directory, file = os.path.split(path)
        if not os.path.isdir(directory):
            raise CallableNotFound("no file `%s`: there is no directory `%s`" % (path, directory))
        names = sorted(entry for entry in os.listdir(directory) if entry.endswith(".py"))
        raise CallableNotFound("no file `%s`%s; %s" % (path, suggestion(file, names), listing(names, "Python files")))
    from importlib.machinery import ModuleSpec, SourceFileLoader

    sys.path.append(os.path.dirname(path))
    module_name = os.path.splitext(os.path.basename(path))[0].replace(".", "_")
    if module_name in sys.modules or module_name in getattr(sys, "stdlib_module_names", ()):
        module_name = "updraft_file_" + module_name  # A file called json.py must not become everybody's json.
    loader = SourceFileLoader(module_name, path)
    module = types.ModuleType(module_name)
    module.__file__, module.__loader__ = path, loader
    module.__spec__ = ModuleSpec(module_name, loader, origin=path)
    sys.modules[module_name] = module
    loader.exec_module(module)
    return attribute(module, name, "`%s`" % path)


def from_import(name, search_path):
    import importlib

    parts = name.replace(":", ".").split(".")
    if len(parts) < 2 or not all(parts):
        raise CallableNotFound("the callable must be written as `module.function`, not `%s`" % name)
    for length in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:length])
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            # A module that is there and itself imports a missing one is another matter.
            if error.name and (module_name + ".").startswith(error.name + "."):
                continue
            raise
        where = "`%s`" % (getattr(module, "__file__", None) or module_name)
        return attribute(module, ".".join(parts[length:]), where)
    names = sorted(
        entry[:-3] for folder in search_path if os.path.isdir(folder) for entry in os.listdir(folder) if entry.endswith(".py")
    )
    folders = ", ".join("`%s`" % folder for folder in search_path) or "the modules of %s" % sys.executable
    raise CallableNotFound("no module `%s` in %s%s" % (".".join(parts[:-1]), folders, suggestion(parts[0], names)))


# --- Calling it ---------------------------------------------------------------------------------


def signature(function):
    """The names of all parameters, of those that positional arguments can fill, and whether it takes any keyword."""
    if type(function) is types.FunctionType and not hasattr(function, "__wrapped__") and not hasattr(function, "__signature__"):
        code = function.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        return list(names), list(names[: code.co_argcount]), bool(code.co_flags & 0x08)
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # Some builtins have none; they get what they were given.
        return None, [], False
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    positional = [one.name for one in named if one.kind != one.KEYWORD_ONLY]
    return [one.name for one in named], positional, any(one.kind == one.VAR_KEYWORD for one in parameters)


def arguments(function, op_args, op_kwargs, context):
    """Keyword arguments by Airflow's rule: the callable gets of op_kwargs and context what it names, or all if it takes any keyword."""
    names, positional, wildcard = signature(function)
    if names is None:
        return op_kwargs
    available = dict(context)
    available.update(op_kwargs)
    for name in positional[: len(op_args)]:
        if name in available:
            raise ValueError("The key %r in args is a part of kwargs and therefore reserved." % name)
    if wildcard:
        return available
    ignored = [name for name in op_kwargs if name not in names]
    if ignored:
        print("op_kwargs that the callable has no parameter for are left out: %s" % ", ".join(ignored), file=sys.stderr)
    return {name: available[name] for name in names if name in available}


def verdict(error):
    """The status that an exception means; Airflow's classes are known by name, so that installed ones count too."""
    names = {kind.__name__ for kind in type(error).__mro__ if kind.__module__.split(".")[0] == "airflow"}
    if "AirflowSkipException" in names:
        return "skipped"
    if names & {"AirflowFailException", "AirflowSensorTimeout", "AirflowTaskTerminated"}:
        return "failed_for_good"
    return "failed"


def describe(error):
    """One line for the attempt's record."""
    text = str(error)
    if isinstance(error, (CallableNotFound, NotJson)) or verdict(error) == "skipped" and text:
        line = text
    elif isinstance(error, SystemExit):
        line = "the callable ended the process with sys.exit(%s)" % text
    else:
        line = "%s: %s" % (type_name(error), text) if text else type_name(error)
    return line.encode("utf-8", "backslashreplace").decode()[:MESSAGE_CHARS_MAX]


def account(error):
    """Writes what happened to the log: a traceback without our own frames, unless a line says it all."""
    if isinstance(error, (CallableNotFound, NotJson, SystemExit)) or verdict(error) == "skipped":
        print(describe(error), file=sys.stderr)
        return
    import traceback

    trace = error.__traceback__
    ours = (__file__, updraft_values.__file__, "<string>", "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file not in ours and not file.endswith("importlib/__init__.py"):
            break
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def call_it(call, ti):
    global CONTEXT
    sys.path.extend(folder for folder in call["search_path"] if folder not in sys.path)
    target = call["callable"]
    if "file" in target:
        function = from_file(target["file"], target["name"])
    else:
        function = from_import(target["import"], call["search_path"])
    CONTEXT = build_context(call, ti)
    kwargs = arguments(function, call["op_args"], call["op_kwargs"], CONTEXT)
    value = function(*call["op_args"], **kwargs)
    return ti.checked(value, "the return value") if call["keep_value"] else None


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # The callable may have closed it.
            pass


def main():
    sys.path.pop(0)
    del sys.argv[1:]
    channel = Channel()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.meta_path.append(AirflowShims())
    if "logging" in sys.modules:
        LoggingSetUp.configure(sys.modules["logging"])
    else:
        sys.meta_path.insert(0, LoggingSetUp())
    call = channel.receive()
    try:
        done = {"op": "done", "status": "success", "value": call_it(call, TaskInstance(channel, call))}
    except BaseException as error:
        if os.getpid() == channel.pid:
            account(error)
        done = {"op": "done", "status": verdict(error), "message": describe(error)}
    flush()
    if os.getpid() != channel.pid:
        os._exit(0)  # A child that the callable forked came back: the parent tells how it went.
    channel.tell(done)
    import atexit

    # What the callable registered runs, as in Airflow; threads that it left behind do not hold the process.
    atexit._run_exitfuncs()
    flush()
    os._exit(0)
