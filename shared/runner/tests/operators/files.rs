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
