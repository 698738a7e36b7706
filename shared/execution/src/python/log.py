"""The log of an attempt, from inside Python: lines that keep their level and their logger's name.

The worker reads one stream. A line of it may start with a mark, RS LEVEL US LOGGER US, which the worker takes off and writes out beside the time; a line
without one is INFO. So what is printed, logged and raised stays in its order, and what programs started by the callable print needs no help.
"""

import io
import os
import sys

FD = 1


def mark(level, logger=""):
    return "\x1e%s\x1f%s\x1f" % (level, logger)


def write(level, text, logger=""):
    """Writes each line of a text to the log, also if the callable has closed sys.stdout."""
    head = mark(level, logger)
    lines = text.rstrip("\n").split("\n")
    data = "".join("%s%s\n" % (head, line) for line in lines).encode("utf-8", "backslashreplace")
    try:
        sys.stdout.flush()
    except Exception:  # It may be closed, or something else than a file.
        pass
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(FD, view):]
    except OSError:  # The worker does not read any more.
        pass


class Errors(io.TextIOWrapper):
    """Standard error, each line marked ERROR, as Airflow 3 logs it."""

    at_start = True

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        if not text:
            return 0
        head = mark("ERROR")
        marked = text[:-1].replace("\n", "\n" + head) + text[-1]
        if self.at_start:
            marked = head + marked
            try:
                sys.stdout.flush()
            except Exception:
                pass
        self.at_start = text[-1] == "\n"
        super().write(marked)
        return len(text)


def set_up_streams():
    """Gives the process its log: called once, with the log's pipe at descriptors 1 and 2."""
    global FD
    # Not inherited by programs that the callable starts.
    FD = os.dup(1)
    for kind, descriptor in (("stdout", 1), ("stderr", 2)):
        # New ones: what was made for another file before a fork remembers whether that one had positions.
        raw = io.BufferedWriter(io.FileIO(descriptor, "wb", closefd=False))
        wrapper = Errors if kind == "stderr" else io.TextIOWrapper
        stream = wrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        stream.mode = "w"
        setattr(sys, kind, stream)
        setattr(sys, "__%s__" % kind, stream)


def configure(logging):
    """Makes `logging` write to the log from level INFO on, as in Airflow's tasks."""

    class Handler(logging.Handler):
        def emit(self, record):
            try:
                name = "" if record.name == "root" else record.name
                write(record.levelname, self.format(record), name)
            except RecursionError:
                raise
            except Exception:
                self.handleError(record)

    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(Handler())
        logging.getLogger().setLevel(logging.INFO)
        logging.captureWarnings(True)


class WhenImported:
    """Configures `logging` when and if it is imported: importing it costs milliseconds."""

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
                configure(module)

            spec.loader.exec_module = exec_module
        return spec


def set_up_logging():
    if "logging" in sys.modules:
        configure(sys.modules["logging"])
    else:
        sys.meta_path.insert(0, WhenImported())
