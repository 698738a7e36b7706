"""Values of Python as JSON and back, with tags for what JSON lacks."""

from datetime import date, datetime, time, timedelta, timezone

# serde_json, on the other side, goes 128 levels deep, the message around the value included.
DEPTH_MAX = 100


class NotJson(TypeError):
    """A value has no form in JSON; the message says which part of it."""


def tagged(kind, value):
    return {"__type": kind, "__var": value}


def to_json(value, path, depth=0):
    """The JSON form of a value, with tags for what JSON lacks; raises NotJson with the path of what has none."""
    if depth > DEPTH_MAX:
        raise NotJson("%s is nested more than %d levels deep, or contains itself" % (path, DEPTH_MAX))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            value.isascii() or value.encode()
        except UnicodeEncodeError:
            raise NotJson("%s is a `str` with a lone surrogate, which is no valid text" % path) from None
        return str.__str__(value)
    if isinstance(value, int):
        value = int(value)
        return value if -(1 << 63) <= value < 1 << 64 else tagged("int", str(value))
    if isinstance(value, float):
        value = float(value)
        return value if value - value == 0 else tagged("float", repr(value))
    if isinstance(value, dict):
        entries = {key_text(key, path): to_json(entry, "%s[%r]" % (path, key), depth + 1) for key, entry in value.items()}
        return tagged("dict", entries) if "__type" in entries else entries
    if isinstance(value, (list, tuple)):
        return [to_json(entry, "%s[%d]" % (path, index), depth + 1) for index, entry in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        try:
            entries = sorted(value)
        except TypeError:
            entries = list(value)
        kind = "frozenset" if isinstance(value, frozenset) else "set"
        return tagged(kind, [to_json(entry, "%s{..}" % path, depth + 1) for entry in entries])
    return special_to_json(value, path, depth)


def key_text(key, path):
    """JSON's keys are text; numbers and the like become what they print as, as in Airflow."""
    if isinstance(key, str):
        return to_json(key, "a key of %s" % path)
    if key is None or isinstance(key, (bool, int, float)):
        return str(key)
    raise NotJson("%s has a key of type `%s`, and keys must be text" % (path, type_name(key)))


def special_to_json(value, path, depth):
    if isinstance(value, datetime):
        return tagged("datetime", value.isoformat())
    if isinstance(value, date):
        return tagged("date", value.isoformat())
    if isinstance(value, time):
        return tagged("time", value.isoformat())
    if isinstance(value, timedelta):
        return tagged("timedelta", value.total_seconds())
    if isinstance(value, (bytes, bytearray)):
        import base64

        return tagged("bytes", base64.b64encode(value).decode())
    module = type(value).__module__
    if module in ("decimal", "_decimal"):
        return tagged("decimal", str(value))
    if module == "uuid":
        return tagged("uuid", str(value))
    if module.split(".")[0] == "numpy" and getattr(value, "ndim", None) == 0:
        return to_json(value.item(), path, depth + 1)
    raise NotJson(
        "%s is a `%s`, which has no form in JSON; return text, numbers, lists, dictionaries, or dates instead"
        % (path, type_name(value))
    )


def type_name(value):
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else "%s.%s" % (kind.__module__, kind.__qualname__)


def timedelta_of(text):
    """What `str` wrote of it, like `-1 day, 23:59:59.5`."""
    days, _, clock = text.rpartition(", ")
    hours, minutes, seconds = clock.split(":")
    whole, _, fraction = seconds.partition(".")
    return timedelta(
        days=int(days.split()[0]) if days else 0,
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(whole),
        microseconds=int(fraction.ljust(6, "0")) if fraction else 0,
    )


def from_json(value):
    """What to_json was given, except that its tuples are lists; and the arguments that templates give, whose tuples are tuples."""
    if isinstance(value, list):
        return [from_json(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if set(value) != {"__type", "__var"}:
        return {key: from_json(entry) for key, entry in value.items()}
    kind, inner = value["__type"], value["__var"]
    if kind == "dict":
        return {key: from_json(entry) for key, entry in inner.items()}
    if kind in ("set", "frozenset"):
        return (set if kind == "set" else frozenset)(hashable(entry) for entry in from_json(inner))
    if kind in ("datetime", "date", "time"):
        return {"datetime": datetime, "date": date, "time": time}[kind].fromisoformat(inner)
    if kind == "tuple":
        return tuple(from_json(inner))
    if kind == "timedelta":
        return timedelta_of(inner) if isinstance(inner, str) else timedelta(seconds=inner)
    if kind in ("int", "float"):
        return {"int": int, "float": float}[kind](inner)
    if kind == "bytes":
        import base64

        return base64.b64decode(inner)
    if kind == "decimal":
        import decimal

        return decimal.Decimal(inner)
    if kind == "uuid":
        import uuid

        return uuid.UUID(inner)
    return value


def typed(value, path):
    """An argument of a DAG file with the objects that its mappings with `__type__` stand for; those of other classes stay as written."""
    if isinstance(value, list):
        return [typed(entry, "%s[%d]" % (path, index)) for index, entry in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if set(value) == {"__type", "__var"}:
        return from_json(value)
    parts = {key: typed(entry, "%s[%r]" % (path, key)) for key, entry in value.items()}
    kind = {
        "datetime.timedelta": timedelta,
        "datetime.datetime": datetime,
        "pendulum.datetime": datetime,
        "datetime.date": date,
        "datetime.time": time,
    }.get(value.get("__type__") if isinstance(value.get("__type__"), str) else None)
    if kind is None:
        return parts
    named = {key: entry for key, entry in parts.items() if key not in ("__type__", "__args__", "tz")}
    if kind is datetime and "tz" in parts:
        named["tzinfo"] = parts["tz"]
    if isinstance(named.get("tzinfo"), str):
        named["tzinfo"] = zone(named["tzinfo"])
    elif isinstance(named.get("tzinfo"), dict):
        own = named["tzinfo"]
        named["tzinfo"] = zone(own.get("key") or own.get("name") or own.get("zone") or (own.get("__args__") or ["UTC"])[0])
    try:
        return kind(*parts.get("__args__") or [], **named)
    except (TypeError, ValueError) as error:
        raise ValueError("%s is no `%s`: %s" % (path, value["__type__"], error)) from None


def zone(name):
    """A time zone by its name."""
    if name.upper() == "UTC":
        return timezone.utc
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def hashable(value):
    """A member of a set that came back as a list was a tuple."""
    return tuple(hashable(entry) for entry in value) if isinstance(value, list) else value
