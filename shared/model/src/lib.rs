//! The words of the field: ids, states, DAGs, runs, cells.
