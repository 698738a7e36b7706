"""Functions for `taskflow.yaml`."""


def read(params) -> dict:
    values = list(params["celsius"])
    return {"values": values, "highest": max(values, default=None)}


def any_left(values):
    return len(values) > 0


def judge(highest, limit):
    return "alarm" if highest > limit else "mean"


def alarm(highest):
    # What it returns is the command, and a template as well.
    return f'echo "{highest} degrees in {{{{ run_id }}}}"'


def mean(values):
    import statistics

    return statistics.mean(values)


def report(reading, mean, ti):
    said = "too hot for a mean" if mean is None else f"{mean:.1f} degrees"
    ti.xcom_push(key="highest", value=reading["highest"])
    return f"{len(reading['values'])} values: {said}"
