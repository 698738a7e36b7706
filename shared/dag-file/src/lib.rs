//! DAG text to validated DAGs, with located errors.
