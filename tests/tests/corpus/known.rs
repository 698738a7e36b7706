//! The cases in which we differ from dag-factory on purpose, each with the reason.

/// Why this case differs, if it does so on purpose.
pub(crate) fn divergence(id: &str) -> Option<&'static str> {
    DIVERGENT.iter().find(|(divergent, _)| *divergent == id).map(|(_, reason)| *reason)
}

const POD: &str = "the Kubernetes provider is not known here: its tasks load with a warning and are not checked";

const DIVERGENT: &[(&str, &str)] = &[
    (
        "converter-golden__decorator_sample_dag__11bbd5",
        "the file sets `retries: 1`; the function that stands in for the user's there swallows it",
    ),
    (
        "converter-golden__example_emr_eks__5ff4fd",
        "`+task` makes an edge, as documented; there it is lost where the upstream is no decorated task",
    ),
    ("dag-factory__dag_factory_kubernetes_pod_operator__9d6f69", POD),
    ("dag-factory__dag_factory_kubernetes_pod_operator__e90f9a", POD),
    ("dag-factory__dag_factory_kubernetes_pod_operator_lt_2_7__c2f183", POD),
    (
        "dag-factory__example_object_storage__b35ba4",
        "a Python object is kept for Python to build when the task runs; there it is built, and refused, at once",
    ),
    (
        "dag-factory__relativedelta__498183",
        "`relativedelta(hour=18)` sets the hour and never moves on, so it is refused as a schedule",
    ),
];
