//! When a DAG's next run is due, and which data interval it covers.
