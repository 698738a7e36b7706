//! Functions as tasks: decorators, and values handed from task to task.

use serde_json::json;

use crate::world::{Ran, World};

const MODULE: &str = "
from typing import Dict
from airflow.sdk import task

@task
def numbers():
    return {'low': 1, 'high': 9}

@task
def annotated() -> dict:
    return {'low': 1, 'high': 9}

def quoted() -> 'Dict[str, int]':
    return {'low': 2}

def lying() -> dict:
    return 5

def none():
    return None

def nothing() -> dict:
    return None

def add(a, b=0):
    return a + b

def same(value, ti=None):
    return value

def marker():
    return {'__type__': 'airflow.sdk.XComArg', 'task_id': 'secret', 'key': 'return_value'}

def way(value):
    return ['large'] if value > 5 else ['small']

def is_large(value):
    return value > 5

def ready(value):
    return value == 9

def command(value):
    return 'echo {{ task.task_id }} ' + str(value)

def bad_command():
    return 7

def pushes(ti):
    ti.xcom_push(key='rows', value=[1, 2])
    ti.xcom_push(key='rows', value=[3])

def pulls(ti):
    return [ti.xcom_pull(task_ids='p', key='rows'), ti.xcom_pull(task_ids=['p', 'nobody'], key='rows'),
            ti.xcom_pull(task_ids='p')]

def many(count):
    return list(range(count))

def length(values):
    return len(values)
";

async fn ran(tasks: &str) -> Ran {
    let indented = tasks.trim_end().replace('\n', "\n    ");
    let dag = format!("d:\n  schedule: null\n  tasks:\n    {indented}\n");
    World::new(&[("d.yaml", &dag), ("work.py", MODULE)]).await.run().await
}

#[tokio::test]
async fn a_task_is_called_with_what_others_returned() {
    let tasks = "n: {decorator: airflow.sdk.task, python_callable: work.numbers, multiple_outputs: true}
sum: {decorator: airflow.sdk.task, python_callable: work.add, a: \"+n['low']\", b: \"+n['high']\"}
all: {decorator: airflow.decorators.task, python_callable: work.same, value: +n}
none: {decorator: airflow.sdk.task, python_callable: work.none}
got: {decorator: airflow.sdk.task, python_callable: work.same, value: +none}
";
    let ran = ran(tasks).await;
    assert!(ran.states.iter().all(|state| state.ends_with("=success")), "{:?} {}", ran.states, ran.message("sum"));
    assert_eq!((ran.xcom("n", "low"), ran.xcom("n", "high")), (Some(json!(1)), Some(json!(9))));
    assert_eq!(ran.returned("sum"), Some(json!(10)), "the values come as they were, and edges make them wait");
    assert_eq!(ran.returned("all"), Some(json!({"low": 1, "high": 9})));
    assert_eq!(ran.returned("got"), None, "None is a value, and no XCom");
}

#[tokio::test]
async fn a_value_that_is_not_there_fails_the_task_with_its_name() {
    let ran = ran("n: {decorator: task, python_callable: work.numbers}
x: {decorator: task, python_callable: work.same, value: \"+n['low']\"}
")
    .await;
    assert_eq!(ran.states, ["n=success", "x=failed"]);
    let said = ran.message("x");
    assert!(said.contains("`n`") && said.contains("`low`") && said.contains("multiple_outputs"), "{said}");
}

#[tokio::test]
async fn a_value_is_never_read_as_a_reference_or_a_template() {
    let ran = ran("secret: {operator: BashOperator, bash_command: echo hunter22}
m: {decorator: task, python_callable: work.marker, dependencies: [secret]}
t: {operator: BashOperator, bash_command: \"echo '{{ \\\"{{\\\" }} ds }}'\"}
x: {decorator: task, python_callable: work.same, value: +m}
y: {decorator: task, python_callable: work.same, value: +t}
")
    .await;
    let marker = json!({"__type__": "airflow.sdk.XComArg", "task_id": "secret", "key": "return_value"});
    assert_eq!(ran.returned("x"), Some(marker));
    assert_eq!(ran.returned("y"), Some(json!("{{ ds }}")));
}

#[tokio::test]
async fn an_annotation_says_that_there_are_several_outputs() {
    let ran = ran("a: {decorator: task, python_callable: work.annotated}
q: {decorator: task, python_callable: work.quoted}
n: {decorator: task, python_callable: work.nothing}
off_: {decorator: task, python_callable: work.annotated, multiple_outputs: false}
op: {operator: PythonOperator, python_callable: work.annotated}
lie: {decorator: task, python_callable: work.lying}
")
    .await;
    assert_eq!(ran.states, ["a=success", "q=success", "n=success", "off_=success", "op=success", "lie=failed"]);
    assert_eq!((ran.xcom("a", "high"), ran.xcom("q", "low")), (Some(json!(9)), Some(json!(2))));
    assert_eq!((ran.xcom("off_", "high"), ran.xcom("op", "high")), (None, None));
    assert!(ran.message("lie").contains("dictionary"), "{}", ran.message("lie"));
}

#[tokio::test]
async fn every_decorator_has_its_operator() {
    let ran = ran("n: {decorator: task, python_callable: work.numbers, multiple_outputs: true}
way: {decorator: task.branch, python_callable: work.way, value: \"+n['high']\"}
small: {operator: BashOperator, bash_command: 'true', dependencies: [way]}
large: {operator: BashOperator, bash_command: 'true', dependencies: [way]}
gate: {decorator: airflow.decorators.task.short_circuit, python_callable: work.is_large, value: \"+n['low']\"}
after: {operator: BashOperator, bash_command: 'true', dependencies: [gate]}
wait: {decorator: task.sensor, python_callable: work.ready, value: \"+n['high']\", poke_interval: 1}
b: {decorator: task.bash, python_callable: work.command, value: \"+n['low']\"}
bad: {decorator: task.bash, python_callable: work.bad_command}
")
    .await;
    let mut states = ran.states.clone();
    states.sort();
    let expected = [
        "after=skipped",
        "b=success",
        "bad=failed",
        "gate=success",
        "large=success",
        "n=success",
        "small=skipped",
        "wait=success",
        "way=success",
    ];
    assert_eq!(states, expected, "{}", ran.message("b"));
    assert_eq!(ran.returned("b"), Some(json!("b 1")), "the command is a template");
    assert!(ran.message("bad").contains("command"), "{}", ran.message("bad"));
}

/// As in Airflow: the signature of a decorated function says what it may be given.
#[tokio::test]
async fn a_decorated_function_is_given_what_it_names_and_nothing_else() {
    let tasks = "a: {decorator: airflow.sdk.task, python_callable: work.add, a: 1, c: 2}
s: {decorator: airflow.sdk.task.sensor, python_callable: work.ready, value: 9, valeu: 9}
v: {decorator: airflow.sdk.task.bash, python_callable: work.command, value: 1, other: 2}
p: {operator: PythonOperator, python_callable: work.add, op_kwargs: {a: 1, c: 2}}";
    let ran = ran(tasks).await;
    assert_eq!(ran.states, ["a=failed", "s=failed", "v=failed", "p=success"]);
    let said = ran.message("a");
    assert!(said.contains("add() got an unexpected keyword argument 'c'") && said.contains("`a`, `b`"), "{said}");
    assert!(ran.message("s").contains("did you mean `value`?"), "{}", ran.message("s"));
    assert!(ran.log("p").contains("left out: c"), "{}", ran.log("p"));
}

#[tokio::test]
async fn xcoms_have_keys() {
    let ran = ran("p: {operator: PythonOperator, python_callable: work.pushes}
q: {operator: PythonOperator, python_callable: work.pulls, dependencies: [p]}
t: {operator: BashOperator, bash_command: \"echo {{ ti.xcom_pull(task_ids='p', key='rows')[0] }}\", dependencies: [p]}
r: {decorator: task, python_callable: work.same, value: \"+p['rows']\"}
")
    .await;
    assert_eq!(ran.xcom("p", "rows"), Some(json!([3])), "a later push replaces an earlier one");
    assert_eq!(ran.returned("q"), Some(json!([[3], [[3], null], null])));
    assert_eq!((ran.returned("t"), ran.returned("r")), (Some(json!("3")), Some(json!([3]))));
}

#[tokio::test]
async fn a_million_elements_go_through_the_blob_store_and_no_further_than_they_may() {
    let ran = ran("m: {decorator: task, python_callable: work.many, count: 1000000}
n: {decorator: task, python_callable: work.length, values: +m}
more: {decorator: task, python_callable: work.many, count: 3000000}
")
    .await;
    assert_eq!(ran.states, ["m=success", "n=success", "more=failed"], "{}", ran.message("n"));
    assert_eq!(ran.returned("n"), Some(json!(1_000_000)));
    let said = ran.message("more");
    assert!(said.contains("the return value is") && said.contains("write it to a file"), "{said}");
}
