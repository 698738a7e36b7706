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

import updraft_context
import updraft_log
from updraft_values import NotJson, type_name, typed

MESSAGE_CHARS_MAX = 2000
ADDED_CHARS_MAX = 65536


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
            raise RuntimeError("XComs, variables and connections are there only in the process that the task was started in")
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


class AirflowFinder:
    """Makes our stand-ins for Airflow's modules when they are first asked for and no real ones were found."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "airflow":
            return None
        finder = updraft_context.ours("updraft_airflow").Finder()
        sys.meta_path.append(finder)
        return finder.find_spec(name, path, target)


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


def arguments(function, op_args, op_kwargs, context, own=0, strict=False):
    """Keyword arguments by Airflow's rule: the callable gets of op_kwargs and context what it names, or all if it takes any keyword. Of a
    decorated function (`strict`) each must be one that it names."""
    names, positional, wildcard = signature(function)
    if names is None:
        return op_kwargs
    available = dict(context)
    available.update(op_kwargs)
    # What an operator itself hands over wins over a name of the context, as a sensor's logical date does.
    for name in positional[:own]:
        available.pop(name, None)
    for name in positional[own : len(op_args)]:
        if name in available:
            raise ValueError("The key %r in args is a part of kwargs and therefore reserved." % name)
    if wildcard:
        return available
    ignored = [name for name in op_kwargs if name not in names]
    if ignored and strict:
        known = "it takes " + ", ".join("`%s`" % name for name in names) if names else "it takes none"
        raise TypeError(
            "%s() got an unexpected keyword argument %r%s; %s"
            % (getattr(function, "__name__", "the callable"), ignored[0], suggestion(ignored[0], names), known)
        )
    if ignored:
        updraft_log.write("WARNING", "op_kwargs that the callable has no parameter for are left out: %s" % ", ".join(ignored))
    return {name: available[name] for name in names if name in available}


def verdict(error):
    """The status that an exception means; Airflow's classes are known by name, so that installed ones count too."""
    names = {kind.__name__ for kind in type(error).__mro__ if kind.__module__.split(".")[0] == "airflow"}
    if "AirflowSkipException" in names:
        return "skipped"
    if "AirflowRescheduleException" in names:
        return "rescheduled"
    if names & {"AirflowFailException", "AirflowSensorTimeout", "AirflowTaskTerminated", "TaskDeferred"}:
        return "failed_for_good"
    return "failed"


def describe(error):
    """One line for the attempt's record."""
    text = str(error)
    if isinstance(error, (CallableNotFound, NotJson)) or verdict(error) == "skipped" and text:
        line = text
    elif isinstance(error, SystemExit):
        line = "the callable ended the process with sys.exit(%s)" % text
    elif "TaskDeferred" in {kind.__name__ for kind in type(error).__mro__}:
        line = "the callable deferred itself to a trigger, and callables cannot do that here; use a sensor in `reschedule` mode"
    else:
        line = "%s: %s" % (type_name(error), text) if text else type_name(error)
    return line.encode("utf-8", "backslashreplace").decode()[:MESSAGE_CHARS_MAX]


def account(error):
    """Writes the traceback to the log, without our own frames, unless the outcome's message says it all."""
    if isinstance(error, (CallableNotFound, NotJson, SystemExit)) or verdict(error) in ("skipped", "rescheduled"):
        return
    import traceback

    trace = error.__traceback__
    ours = (__file__, "<string>", "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file not in ours and not os.path.basename(file).startswith("updraft_") and not file.endswith("importlib/__init__.py"):
            break
        trace = trace.tb_next
    updraft_log.write("ERROR", "".join(traceback.format_exception(type(error), error, trace)))


def failure(error):
    """What the worker is told of an exception."""
    done = {"op": "done", "status": verdict(error), "message": describe(error)}
    if isinstance(error, SystemExit):
        code = error.code
        done["exit_code"] = code if isinstance(code, int) else 1 if code else 0
    if done["status"] == "rescheduled":
        from datetime import datetime, timezone

        until = getattr(error, "reschedule_date", None)
        if not isinstance(until, datetime):
            return {"op": "done", "status": "failed", "message": "the reschedule_date of AirflowRescheduleException is no datetime: %r" % (until,)}
        done["until"] = (until if until.tzinfo else until.replace(tzinfo=timezone.utc)).astimezone(timezone.utc).isoformat()
    return done


def returns_mapping(function):
    """Whether it is annotated to return a mapping: Airflow takes such a function to have several outputs."""
    annotation = getattr(function, "__annotations__", {}).get("return")
    if annotation is None:
        return False
    import typing
    from collections.abc import Mapping

    if isinstance(annotation, str):
        def annotated():
            pass

        annotated.__annotations__ = {"return": annotation}
        try:
            annotation = typing.get_type_hints(annotated, getattr(function, "__globals__", {})).get("return")
        except NameError:
            updraft_log.write("WARNING", "the annotation `%s` cannot be understood, so it does not say whether there are several outputs" % annotation)
            return False
    kind = getattr(annotation, "__origin__", annotation)
    return isinstance(kind, type) and issubclass(kind, Mapping)


def is_poke(value):
    return any(kind.__name__ == "PokeReturnValue" and kind.__module__.split(".")[0] == "airflow" for kind in type(value).__mro__)


def exhausted(generator, context):
    """Runs a generator to its end and gives what it returns. What it yields of Airflow's Metadata is said about assets; as in Airflow,
    other things that it yields are left out with a warning."""
    while True:
        try:
            one = next(generator)
        except StopIteration as end:
            return end.value
        is_metadata = any(kind.__name__ == "Metadata" and kind.__module__.split(".")[0] == "airflow" for kind in type(one).__mro__)
        if is_metadata and hasattr(context["outlet_events"], "take"):
            context["outlet_events"].take(one)
        else:
            updraft_log.write("WARNING", "what the callable yields is left out: a `%s`" % type_name(one))


def called_back(function, kwargs, context, style):
    """Calls a callback as Airflow does; what it returns is nobody's business."""
    state = context.pop("updraft_ti_state", None)
    context["ti"].state = state
    if isinstance(function, type):
        notifier = function(**kwargs)
        value = notifier.notify(context) if hasattr(notifier, "notify") else notifier(context)
    elif style == "deadline":
        names, _, wildcard = signature(function)
        if wildcard or "context" in (names or ()):
            kwargs = dict(kwargs, context=context)
        value = function(**kwargs)
    else:
        value = function(context, **kwargs)
    if hasattr(value, "notify") and callable(getattr(value, "notify")) and not isinstance(value, type):
        value = value.notify(context)  # A function that makes a notifier, as providers' `send_..._notification` do.
    if hasattr(value, "__await__"):
        import asyncio

        async def waited():
            return await value

        asyncio.run(waited())
    return {"op": "done", "status": "success"}


def call_it(call, ti):
    """Calls what is to be called, and returns what the worker is told."""
    sys.path.extend(folder for folder in call["search_path"] if folder not in sys.path)
    target = call["callable"]
    if "file" in target:
        function = from_file(target["file"], target["name"])
    else:
        function = from_import(target["import"], call["search_path"])
    if call["string_args"] is not None and hasattr(function, "__globals__"):
        function.__globals__["virtualenv_string_args"] = call["string_args"]
    context = updraft_context.CONTEXT = updraft_context.build_context(call, ti)
    if call["wants_context"]:
        updraft_context.AS_BUILT = dict(context)
    args = [updraft_context.native(value) for value in call["native_args"]] + typed(call["op_args"], "op_args")
    op_kwargs = typed(call["op_kwargs"], "op_kwargs")
    if call["style"] != "task":
        return called_back(function, op_kwargs, context, call["style"])
    value = function(*args, **arguments(function, args, op_kwargs, context, len(call["native_args"]), call["strict"]))
    if isinstance(value, types.GeneratorType):
        value = exhausted(value, context)
    done = {"op": "done", "status": "success"}
    if call["as_annotated"] and value is not None and returns_mapping(function):
        done["multiple_outputs"] = True
    outlet_events = context["outlet_events"]
    if hasattr(outlet_events, "told"):
        done["outlet_events"] = updraft_context.to_json(outlet_events.told(), "the extra of an asset event")
    poke = is_poke(value)
    if call["wants_value"]:
        try:
            done["truthy"] = bool(value)
        except Exception:  # Arrays of more than one element, for instance.
            pass
        done["poke"] = poke
    if poke:
        value = value.xcom_value
    if call["keep_value"] or call["wants_value"]:
        try:
            done["value"] = ti.checked(value, "the return value")
        except NotJson as error:
            if call["keep_value"]:
                raise
            done["not_json"] = str(error)
    return done


def is_plain(value):
    """Whether a template sees in the JSON of a value what it would see in the value itself."""
    kind = type(value)
    if kind is int:
        return abs(value) < 1 << 63
    if kind is float:
        return value - value == 0  # Neither infinite nor no number.
    if kind is list:
        return all(is_plain(one) for one in value)
    if kind is dict:
        return all(type(name) is str and is_plain(one) for name, one in value.items())
    return value is None or kind is str or kind is bool


def added_to_context(before):
    """What the callable has put into its context; what is not plain is told as its text."""
    added = {}
    for name, value in list(updraft_context.CONTEXT.items()):
        if not isinstance(name, str) or (name in before and before[name] is value):
            continue
        try:
            told = value if is_plain(value) else str(value)
            size = len(json.dumps(told))
        except Exception:  # It contains itself, or cannot say what it is.
            continue
        if size > ADDED_CHARS_MAX:
            updraft_log.write("WARNING", "`%s` of the context is too long for the name of an instance, and is left out" % name)
        else:
            added[name] = told
    return added


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # The callable may have closed it.
            pass


def main():
    """The life of an interpreter that was started for one callable."""
    sys.path.pop(0)
    del sys.argv[1:]
    run(Channel())


def run(channel):
    """Calls one callable, and ends the process. Descriptors 1 and 2 are the log."""
    updraft_log.set_up_streams()
    updraft_log.set_up_logging()
    sys.meta_path.append(AirflowFinder())
    call = channel.receive()
    updraft_context.CHANNEL = channel
    try:
        done = call_it(call, updraft_context.TaskInstance(channel, call))
    except BaseException as error:
        if os.getpid() == channel.pid:
            account(error)
        done = failure(error)
    if updraft_context.AS_BUILT is not None and os.getpid() == channel.pid:
        done["context"] = added_to_context(updraft_context.AS_BUILT)
    flush()
    if os.getpid() != channel.pid:
        os._exit(0)  # A child that the callable forked came back: the parent tells how it went.
    channel.tell(done)
    import atexit

    # What the callable registered runs, as in Airflow; threads that it left behind do not hold the process.
    atexit._run_exitfuncs()
    flush()
    os._exit(0)
