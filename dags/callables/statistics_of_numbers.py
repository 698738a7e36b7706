"""Callables of `python_callable.yaml`. Parameters named like Airflow's context get the context's values."""

import statistics


def summarize(params):
    """Return the mean and the median of the run's numbers."""
    numbers = params["numbers"]
    print(f"summarizing {len(numbers)} numbers")
    return {"mean": statistics.mean(numbers), "median": statistics.median(numbers)}


def report(title, ti):
    """Return one line for people."""
    summary = ti.xcom_pull(task_ids="summarize")
    line = f"{title}: mean {summary['mean']:.2f}, median {summary['median']}"
    print(line)
    return line
