"""Airflow's context as a callable sees it: `ti`, dates, `macros`, variables and connections."""

import json
import os
import sys
import types
from datetime import date, datetime, timedelta

from updraft_values import NotJson, from_json, to_json

CONTEXT = None
AS_BUILT = None
CHANNEL = None


def ours(name):
    """One of our modules, imported when it is needed: our directory is not among those that the callable sees."""
    if name not in sys.modules:
        folder = os.path.dirname(__file__)
        sys.path.insert(0, folder)
        try:
            __import__(name)
        finally:
            sys.path.remove(folder)
    return sys.modules[name]


def ask(message):
    """What the worker has under a name, or nothing."""
    if CHANNEL is None:
        raise RuntimeError("there is no worker to ask before the callable is called")
    answer = CHANNEL.ask(message)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer.get("value")


def get_current_context():
    """The context of the running task, as Airflow's function of this name returns it."""
    if CONTEXT is None:
        raise RuntimeError("there is no context before the callable is called")
    return CONTEXT


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
        self.id = call["id"]
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
        single = task_ids is None or isinstance(task_ids, str)
        wanted = [task_ids or self.task_id] if single else list(task_ids)
        question = {"op": "pull", "task_ids": wanted, "key": key}
        if map_indexes is Ellipsis:
            default = None
        else:
            # None is an unmapped task, as -1 is.
            one = map_indexes is None or isinstance(map_indexes, int)
            indexes = [-1 if map_indexes is None else map_indexes] if one else list(map_indexes)
            answer = self._channel.ask(dict(question, map_indexes=indexes))
            if "error" in answer:
                raise RuntimeError(answer["error"])
            values = []
            for rows in answer["rows"]:
                found = dict((index, value) for index, value in rows)
                of_task = [from_json(found[index]) if index in found else default for index in indexes]
                values.append(of_task[0] if one else of_task)
            return values[0] if single else values
        answer = self._channel.ask(question)
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


class Variables:
    """`var.value` and `var.json`."""

    def __init__(self, as_json):
        self._as_json = as_json

    def get(self, key, *default):
        return ours("updraft_airflow").Variable.get(key, *default, deserialize_json=self._as_json)

    def __getattr__(self, key):
        if key.startswith("__"):
            raise AttributeError(key)
        return self.get(key)


class Connections:
    """`conn`."""

    @staticmethod
    def get(conn_id, default=None):
        airflow = ours("updraft_airflow")
        try:
            return airflow.Connection.get(conn_id)
        except airflow.RAISED["AirflowNotFoundException"]:
            return default

    def __getattr__(self, conn_id):
        if conn_id.startswith("__"):
            raise AttributeError(conn_id)
        return ours("updraft_airflow").Connection.get(conn_id)


class Headers(dict):
    """HTTP headers: their names ignore case."""

    def __getitem__(self, name):
        found = self.get(name, self)
        if found is self:
            raise KeyError(name)
        return found

    def get(self, name, default=None):
        return next((value for key, value in self.items() if key.lower() == str(name).lower()), default)

    def __contains__(self, name):
        return self.get(name, self) is not self


class Response:
    """The answer of a web server, with the names that Python's requests gives its parts."""

    def __init__(self, status_code, reason, url, headers, text, elapsed):
        self.status_code, self.reason, self.url, self.text = status_code, reason, url, text
        self.headers, self.content, self.encoding = Headers(headers), text.encode(), "utf-8"
        self.elapsed = timedelta(seconds=elapsed)

    @property
    def ok(self):
        return self.status_code < 400

    def __bool__(self):
        return self.ok

    def json(self, **options):
        return json.loads(self.text, **options)

    def raise_for_status(self):
        if not self.ok:
            kind = "Client" if self.status_code < 500 else "Server"
            raise RuntimeError("%d %s Error: %s for url: %s" % (self.status_code, kind, self.reason, self.url))

    def __repr__(self):
        return "<Response [%d]>" % self.status_code


def native(value):
    """An argument that JSON has no word for."""
    if isinstance(value, dict) and value.get("__type") == "http_response":
        return Response(**value["__var"])
    if isinstance(value, dict) and value.get("__type") == "datetime":
        return parse_date(value["__var"])
    return from_json(value)


def add_assets(context, told):
    """The names that have to do with assets; of classes of their own only where the task or its run has to do with some."""
    if any(told.values()):
        context.update(ours("updraft_assets").context(told))
    else:
        context.update(inlets=[], outlets=[], inlet_events={}, outlet_events={}, triggering_asset_events={})


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
        "conn": Connections(),
        "dag": types.SimpleNamespace(dag_id=ti.dag_id),
        "dag_run": dag_run,
        "macros": Macros(),
        "map_index_template": None,
        "params": call["params"],
        "run_id": run_id,
        "task": types.SimpleNamespace(task_id=ti.task_id, dag_id=ti.dag_id, owner=call["owner"]),
        "task_instance": ti,
        "ti": ti,
        "var": {"json": Variables(True), "value": Variables(False)},
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
    add_assets(context, call["assets"])
    context.update(call["extra"])
    if call["templates_dict"] is not None:
        context["templates_dict"] = call["templates_dict"]
    return context
