"""Functions for `assets.yaml` and `alerts.yaml`."""


def write_orders(outlets, outlet_events):
    outlet_events[outlets[0]].extra = {"rows": 3}


def tell(context, to="everybody"):
    """A callback: is called with Airflow's context, and what the file gives it besides."""
    ti = context["ti"]
    print(f"to {to}: {ti.task_id} is {ti.state}, because of {context.get('exception')}")
