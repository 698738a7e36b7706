//! Templates in files of the DAG folder.

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_command_may_be_a_file_that_is_a_template() {
    let dag = "d:
  schedule: null
  tasks:
    a: {operator: BashOperator, bash_command: scripts/run.sh, params: {who: you}}
";
    let script = "echo one\necho \"hello {{ params.who }} of {{ task.task_id }}\"\n";
    let mut world = World::new(&[("team/d.yaml", dag), ("team/scripts/run.sh", script)]).await;
    let ran = world.run().await;
    assert_eq!(ran.returned("a"), Some(json!("hello you of a")), "{}", ran.log("a"));
}

#[tokio::test]
async fn a_file_that_is_not_there_fails_the_task_and_says_where_it_was_looked_for() {
    let dag = "d: {schedule: null, tasks: {a: {operator: BashOperator, bash_command: no.sh}}}";
    let ran = World::new(&[("team/d.yaml", dag)]).await.run().await;
    assert_eq!(ran.states, ["a=failed"]);
    assert!(ran.message("a").contains("`team/no.sh`"), "{}", ran.message("a"));
}

#[tokio::test]
async fn templates_read_variables_and_connections_and_logs_hide_their_secrets() {
    let tasks = "a:
  operator: BashOperator
  bash_command: echo {{ var.value.region }} {{ var.json[params.which].n }} {{ conn.db.host }} {{ conn.db.password }}
  params: {which: numbers}
b: {operator: BashOperator, bash_command: 'echo {{ var.value.nobody }}'}
";
    let mut world = World::of(tasks).await;
    for (key, val) in [("region", "eu"), ("numbers", "{\"n\": 5}")] {
        let variable = updraft_model::Variable { key: key.to_owned(), val: val.to_owned(), description: None };
        world.engine.store.put_variable(&variable).await.unwrap();
    }
    let connection = updraft_model::Connection::from_uri("db", "postgres://u:hunter22@db.example").unwrap();
    world.engine.store.put_connection(&connection).await.unwrap();
    let ran = world.run().await;
    assert_eq!(ran.states, ["a=success", "b=failed"], "{}", ran.message("a"));
    assert_eq!(ran.returned("a"), Some(json!("eu 5 db.example hunter22")));
    assert!(ran.log("a").contains("eu 5 db.example ***") && !ran.log("a").contains("hunter22"), "{}", ran.log("a"));
    assert!(ran.message("b").contains("nobody"), "{}", ran.message("b"));
}

#[tokio::test]
async fn templates_may_give_values_and_undefined_names_may_be_allowed() {
    let dag = "d:
  schedule: null
  render_template_as_native_obj: true
  template_undefined: jinja2.Undefined
  tasks:
    a: {operator: PythonOperator, python_callable: work.what, op_args: ['{{ [1, 2] }}', 'x{{ nobody }}']}
";
    let module = "def what(a, b): return [type(a).__name__, b]";
    let ran = World::new(&[("d.yaml", dag), ("work.py", module)]).await.run().await;
    assert_eq!(ran.returned("a"), Some(json!(["list", "x"])), "{}", ran.message("a"));
}
