//! The least role that an operation asks for: those of Airflow's simple auth manager.

use updraft_model::user::Role;

/// By what an operation is about, as Airflow tags it, and whether it only reads.
pub(crate) fn least(tag: &str, id: &str, reads: bool) -> Role {
    match (tag, reads) {
        ("Connection" | "Variable", _) | ("Asset" | "Asset State Store" | "Pool" | "Config", false) => Role::Op,
        // Marked for oneself alone.
        ("DAG", false) if matches!(id, "favorite_dag" | "unfavorite_dag") => Role::Viewer,
        // They only look, in a body.
        (_, false) if matches!(id, "get_list_dag_runs_batch" | "get_task_instances_batch") => Role::Viewer,
        (_, true) => Role::Viewer,
        (_, false) => Role::User,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Operation;

    fn of(name: &str) -> Role {
        let (method, path) = name.split_once(' ').unwrap();
        let operation = Operation::find(method, path).unwrap();
        least(operation.tag(), operation.id(), method == "GET")
    }

    #[test]
    fn roles_are_those_of_airflow() {
        for (name, role) in [
            ("GET /dags", Role::Viewer),
            ("POST /dags/{dag_id}/favorite", Role::Viewer),
            ("POST /dags/{dag_id}/dagRuns/list", Role::Viewer),
            ("POST /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list", Role::Viewer),
            ("GET /pools", Role::Viewer),
            ("GET /config", Role::Viewer),
            ("PATCH /dags/{dag_id}", Role::User),
            ("DELETE /dags/{dag_id}", Role::User),
            ("POST /dags/{dag_id}/dagRuns", Role::User),
            ("POST /dags/{dag_id}/clearTaskInstances", Role::User),
            ("POST /backfills", Role::User),
            ("GET /variables", Role::Op),
            ("GET /connections/{connection_id}", Role::Op),
            ("DELETE /variables/{variable_key}", Role::Op),
            ("PATCH /pools", Role::Op),
            ("POST /assets/events", Role::Op),
        ] {
            assert_eq!(of(name), role, "{name}");
        }
    }
}
