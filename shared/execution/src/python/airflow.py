"""Stands in for Airflow's modules where Airflow is not installed, as far as callables make sense without it.

An installed Airflow is found first and never shadowed. What is not provided fails with a message that says so.
"""

import functools
import json
import sys

import updraft_context

EXCEPTIONS = {
    "AirflowException": "Exception",
    "AirflowBadRequest": "AirflowException",
    "AirflowConfigException": "AirflowException",
    "AirflowFailException": "AirflowException",
    "AirflowNotFoundException": "AirflowException",
    "AirflowOptionalProviderFeatureException": "AirflowException",
    "AirflowRescheduleException": "AirflowException",
    "AirflowSensorTimeout": "AirflowException",
    "AirflowSkipException": "AirflowException",
    "AirflowTaskTerminated": "BaseException",
    "AirflowTaskTimeout": "BaseException",
    "AirflowRuntimeError": "Exception",
    "TaskDeferred": "BaseException",
}


def make_exceptions():
    made = {"Exception": Exception, "BaseException": BaseException}

    def __init__(self, reschedule_date):
        Exception.__init__(self, reschedule_date)
        self.reschedule_date = reschedule_date

    for name, base in EXCEPTIONS.items():
        body = {"__module__": "airflow.exceptions"}
        if name == "AirflowRescheduleException":
            body["__init__"] = __init__
        made[name] = type(name, (made[base],), body)
    return {name: made[name] for name in EXCEPTIONS}


RAISED = make_exceptions()


class VariableNotFound(RAISED["AirflowRuntimeError"], KeyError):
    """What Variable.get raises: what Airflow 3 raises, and what Airflow 2 raised."""

    __module__ = "airflow.exceptions"
    __str__ = Exception.__str__


NOT_SET = object()


class Variable:
    """Airflow's variables, read through the worker."""

    __module__ = "airflow.sdk"

    @classmethod
    def get(cls, key, default=NOT_SET, deserialize_json=False, default_var=NOT_SET):
        if default is NOT_SET:
            default = default_var
        value = updraft_context.ask({"op": "variable", "key": str(key)})
        if value is None:
            if default is NOT_SET:
                raise VariableNotFound("Variable %s does not exist" % key)
            return default
        if deserialize_json:
            try:
                return json.loads(value)
            except ValueError as error:
                raise ValueError("the variable %s is not JSON: %s" % (key, error)) from None
        return value

    @classmethod
    def set(cls, key, *args, **kwargs):
        raise NotImplementedError("Variable.set: a task cannot change variables here; use `updraft variables set %s VALUE`" % key)

    @classmethod
    def delete(cls, key):
        raise NotImplementedError("Variable.delete: a task cannot change variables here; use `updraft variables delete %s`" % key)


class Connection:
    """An Airflow connection."""

    __module__ = "airflow.sdk"

    def __init__(
        self,
        conn_id=None,
        conn_type=None,
        description=None,
        host=None,
        login=None,
        password=None,
        schema=None,
        port=None,
        extra=None,
    ):
        self.conn_id, self.conn_type, self.description = conn_id, conn_type, description
        self.host, self.login, self.password, self.schema = host, login, password, schema
        self.port = int(port) if port is not None else None
        self.extra = json.dumps(extra) if isinstance(extra, dict) else extra

    @classmethod
    def get(cls, conn_id):
        found = updraft_context.ask({"op": "connection", "conn_id": str(conn_id)})
        if found is None:
            raise RAISED["AirflowNotFoundException"]("The conn_id `%s` isn't defined" % conn_id)
        return cls(**found)

    get_connection_from_secrets = get

    @property
    def extra_dejson(self):
        if not self.extra:
            return {}
        try:
            found = json.loads(self.extra)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def get_extra_dejson(self, nested=False):
        return self.extra_dejson

    def get_uri(self):
        from urllib.parse import quote, urlencode

        uri = "%s://" % (self.conn_type or "").lower().replace("_", "-")
        if self.login is not None or self.password is not None:
            uri += quote(self.login or "", safe="")
            if self.password is not None:
                uri += ":" + quote(self.password, safe="")
            uri += "@"
        uri += quote(self.host or "", safe="")
        if self.port is not None:
            uri += ":%d" % self.port
        if self.schema is not None:
            uri += "/" + quote(self.schema, safe="")
        extra = self.extra_dejson
        if extra:
            flat = all(isinstance(value, str) for value in extra.values())
            uri += ("" if self.schema is not None else "/") + "?"
            uri += urlencode(extra if flat else {"__extra__": json.dumps(extra)})
        return uri

    def __repr__(self):
        return "Connection(%r)" % self.conn_id


class LoggingMixin:
    """Gives a class its `log`."""

    __module__ = "airflow.utils.log.logging_mixin"

    @property
    def log(self):
        import logging

        kind = type(self)
        return logging.getLogger("%s.%s" % (kind.__module__, kind.__name__))


class BaseHook(LoggingMixin):
    """The part of Airflow's hooks that finds connections."""

    __module__ = "airflow.sdk"

    def __init__(self, logger_name=None, **kwargs):
        pass

    @classmethod
    def get_connection(cls, conn_id):
        return Connection.get(conn_id)

    def get_conn(self):
        raise NotImplementedError("%s.get_conn" % type(self).__name__)


class PokeReturnValue:
    """What a sensor's callable may return: whether it is done, and a value for an XCom."""

    __module__ = "airflow.sdk"

    def __init__(self, is_done, xcom_value=None):
        self.is_done, self.xcom_value = is_done, xcom_value

    def __bool__(self):
        return bool(self.is_done)


class BaseNotifier(LoggingMixin):
    """The base of Airflow's notifiers: a class with `notify`."""

    __module__ = "airflow.sdk"
    template_fields = ()

    def __init__(self, **kwargs):
        for name, value in kwargs.items():
            setattr(self, name, value)

    def notify(self, context):
        raise NotImplementedError("%s.notify" % type(self).__name__)

    def __call__(self, context):
        return self.notify(context)


class TaskDecorator:
    """Airflow's `task`: leaves a function what it is, so that a file of decorated functions can be called here."""

    def __call__(self, function=None, **settings):
        return function if callable(function) else lambda function: function

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self


def mask_secret(secret, name=None):
    """Masks a value, or all texts inside a list or a dictionary, in the log of this attempt."""
    values = []

    def gather(value):
        if isinstance(value, str):
            values.append(value)
        elif isinstance(value, dict):
            for entry in value.values():
                gather(entry)
        elif isinstance(value, (list, tuple, set, frozenset)):
            for entry in value:
                gather(entry)

    gather(secret)
    updraft_context.ask({"op": "mask", "values": values})


def apply_defaults(function):
    """Airflow 1's decorator, which does nothing since Airflow 2."""
    return functools.wraps(function)(lambda *args, **kwargs: function(*args, **kwargs))


CONTEXT = {"get_current_context": updraft_context.get_current_context, "Context": dict}
MASKING = {"mask_secret": mask_secret}
ASSETS = {name: getattr(updraft_context.ours("updraft_assets"), name) for name in ("Asset", "AssetAlias", "Metadata")}
SENSORS = {"PokeReturnValue": PokeReturnValue}
TASK = {"task": TaskDecorator()}

# What each module has; the packages above them follow.
MODULES = {
    "airflow.datasets": {"Dataset": ASSETS["Asset"], "DatasetAlias": ASSETS["AssetAlias"]},
    "airflow.datasets.metadata": {"Metadata": ASSETS["Metadata"]},
    "airflow.decorators": TASK,
    "airflow.exceptions": RAISED,
    "airflow.hooks.base": {"BaseHook": BaseHook},
    "airflow.models": {"Variable": Variable, "Connection": Connection},
    "airflow.models.connection": {"Connection": Connection},
    "airflow.models.variable": {"Variable": Variable},
    "airflow.operators.python": CONTEXT,
    "airflow.providers.standard.operators.python": CONTEXT,
    "airflow.sdk": dict(CONTEXT, **ASSETS, **MASKING, **SENSORS, **TASK, Variable=Variable, Connection=Connection, BaseHook=BaseHook, BaseNotifier=BaseNotifier),
    "airflow.sdk.bases.hook": {"BaseHook": BaseHook},
    "airflow.notifications.basenotifier": {"BaseNotifier": BaseNotifier},
    "airflow.sdk.bases.notifier": {"BaseNotifier": BaseNotifier},
    "airflow.sdk.bases.sensor": SENSORS,
    "airflow.sdk.definitions.asset": dict(ASSETS, Dataset=ASSETS["Asset"], Model=ASSETS["Asset"]),
    "airflow.sdk.definitions.asset.metadata": {"Metadata": ASSETS["Metadata"]},
    "airflow.sdk.definitions.connection": {"Connection": Connection},
    "airflow.sdk.definitions.context": CONTEXT,
    "airflow.sdk.definitions.decorators": TASK,
    "airflow.sdk.definitions.variable": {"Variable": Variable},
    "airflow.sdk.exceptions": RAISED,
    "airflow.sdk.execution_time.secrets_masker": MASKING,
    "airflow.sdk.log": MASKING,
    "airflow.sensors.base": SENSORS,
    "airflow.utils.context": CONTEXT,
    "airflow.utils.decorators": {"apply_defaults": apply_defaults},
    "airflow.utils.log.logging_mixin": {"LoggingMixin": LoggingMixin},
    "airflow.utils.log.secrets_masker": MASKING,
}
PACKAGES = {name.rpartition(".")[0] for name in MODULES} | {
    ".".join(name.split(".")[:length]) for name in MODULES for length in range(1, name.count(".") + 1)
}


class Finder:
    """Finds the modules above, where nobody before it has found a real one."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] != "airflow":
            return None
        found = sys.modules.get("airflow")
        if found is not None and getattr(found, "__loader__", None) is not self:
            return None  # A real one, which may lack what it lacks.
        if name not in MODULES and name not in PACKAGES:
            raise ModuleNotFoundError(
                "Airflow is not installed in %s, and Updraft does not provide `%s`" % (sys.executable, name), name=name
            )
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self, is_package=name in PACKAGES)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__dict__.update(MODULES.get(module.__name__, {}))

        def missing(name):
            if name.startswith("__"):
                raise AttributeError(name)
            inner = "%s.%s" % (module.__name__, name)
            if inner in MODULES or inner in PACKAGES:
                import importlib

                return importlib.import_module(inner)
            raise ImportError(
                "Airflow is not installed in %s, and of `%s` Updraft does not provide `%s`" % (sys.executable, module.__name__, name)
            )

        module.__getattr__ = missing
