"""A Python that has imported what callables usually need, and forks a process for each attempt.

Its standard input is a socket to its supervisor: a line of JSON with the attempt's log and channel as descriptors, one attempt at a time. It answers
`started PID`, then `exited code N` or `exited signal N`. It runs nothing of any task itself, so no task sees what another one did.
"""

import array
import gc
import json
import os
import socket
import sys

import updraft_airflow
import updraft_bootstrap

# What DAG authors import, and what that imports; nothing here starts threads or opens files.
COMMON = (
    "base64 collections contextlib copy csv dataclasses decimal enum functools glob hashlib importlib.util inspect io itertools logging math "
    "operator pathlib random re shutil signal string struct subprocess tempfile textwrap threading time traceback typing urllib.parse uuid "
    "warnings weakref"
)


def receive(channel):
    """The next line and the descriptors that came with it; nothing when the supervisor is gone."""
    data, descriptors = b"", array.array("i")
    while not data.endswith(b"\n"):
        part, ancillary, _, _ = channel.recvmsg(65536, socket.CMSG_SPACE(2 * descriptors.itemsize))
        if not part:
            return None, []
        data += part
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return json.loads(data), list(descriptors)


def become(channel, request, log, talk):
    """The forked process turns into the attempt's."""
    os.setpgid(0, 0)
    channel.close()
    os.dup2(talk, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(talk)
    os.close(log)
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    gc.unfreeze()
    updraft_bootstrap.run(updraft_bootstrap.Channel())


def serve(channel):
    while True:
        request, descriptors = receive(channel)
        if request is None:
            return
        if len(descriptors) != 2:
            channel.sendall(b"error Python was given %d descriptors instead of 2\n" % len(descriptors))
            continue
        try:
            pid = os.fork()
        except OSError as error:
            channel.sendall(("error could not fork Python: %s\n" % error).encode())
            pid = None
        if pid == 0:
            try:
                become(channel, request, *descriptors)
            except BaseException:
                import traceback

                os.write(2, traceback.format_exc().encode("utf-8", "replace"))
            finally:
                os._exit(1)
        for descriptor in descriptors:
            os.close(descriptor)
        if pid is None:
            continue
        channel.sendall(b"started %d\n" % pid)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            channel.sendall(b"exited signal %d\n" % os.WTERMSIG(status))
        else:
            channel.sendall(b"exited code %d\n" % os.WEXITSTATUS(status))


def main():
    for name in COMMON.split():
        try:
            __import__(name)
        except ImportError:  # Some builds leave parts out.
            pass
    sys.path.pop(0)
    del sys.argv[1:]
    channel = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    # Forked processes share what is never looked at again.
    gc.collect()
    gc.freeze()
    try:
        serve(channel)
    except OSError:
        pass  # The supervisor is gone.
    os._exit(0)
