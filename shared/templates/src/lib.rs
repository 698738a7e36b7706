//! Jinja templates with Airflow's context.
