//! The DAG folder port, and its directory twin.
