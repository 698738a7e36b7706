//! Instances of mapped tasks: their names, and what they may be given.

use crate::world::World;
use serde_json::Value;
use updraft_model::RunDoc;

const MODULE: &str = "
from datetime import datetime, timezone
from airflow.sdk import get_current_context

def name(x):
    context = get_current_context()
    context['my_name'] = 'number %d' % x
    context['parts'] = {'x': x, 'at': [x, True]}
    context['when'] = datetime(2026, 1, 31, tzinfo=timezone.utc)
    context['ds'] = 'another day'
    context['huge'] = 'x' * 100000
    context['loop'] = context
    if x == 3:
        raise ValueError('three')
    return x

def nothing(x):
    return x

def kwargs():
    return [{'bash_command': 'echo 1'}, {'bash_command': 'echo 2', 'typo': 1}, {'bash_command': 'echo 3', 'retries': 2},
            {'bash_command': 'echo 4', 'cwd': '/'}]

def of_function():
    return [{'x': 1}, {'x': 2, 'w': 1}]
";

/// What became of the instances of a task: state, name, message.
async fn instances(world: &World, run: &RunDoc, task: &str) -> Vec<(String, Option<String>, String)> {
    let views = world.engine.task_instances(run).await.unwrap();
    let of_task = views.into_iter().filter(|view| view.task_id == task);
    of_task.map(|view| (view.state.to_string(), view.rendered_map_index, view.message.unwrap_or_default())).collect()
}

async fn finished(world: &mut World) -> RunDoc {
    let run = world.trigger("d", Value::Null).await;
    let incarnation = run.facts.incarnation.clone();
    world.finish(run).await;
    world.engine.store.run(&incarnation).await.unwrap().unwrap()
}

async fn world(tasks: &str) -> World {
    let indented = tasks.trim_end().replace('\n', "\n    ");
    let dag = format!("d:\n  schedule: null\n  tasks:\n    {indented}\n");
    World::new(&[("d.yaml", &dag), ("work.py", MODULE)]).await
}

/// As in Airflow's manual: what a callable puts into its context names its instance, however it ends.
#[tokio::test]
async fn instances_are_named_by_what_their_callables_put_into_the_context() {
    let template = "'{{ my_name }}, {{ parts.at[0] }} {{ parts.x + 1 }}, {{ when }}, {{ ds }}'";
    let tasks = format!(
        "m: {{decorator: airflow.sdk.task, python_callable: work.name, expand: {{x: [1, 2, 3]}}, map_index_template: {template}}}
n: {{decorator: airflow.sdk.task, python_callable: work.nothing, expand: {{x: [1]}}, map_index_template: '{{{{ my_name }}}}'}}
b: {{operator: BashOperator, expand: {{bash_command: [echo 1]}}, map_index_template: '{{{{ task.bash_command }}}}'}}"
    );
    let mut world = world(&tasks).await;
    let run = finished(&mut world).await;
    let of = |x: u32| Some(format!("number {x}, {x} {}, 2026-01-31 00:00:00+00:00, another day", x + 1));
    let found = instances(&world, &run, "m").await;
    let named: Vec<_> = found.iter().map(|(state, name, _)| (state.as_str(), name.clone())).collect();
    assert_eq!(named, [("success", of(1)), ("success", of(2)), ("failed", of(3))]);
    assert!(found[2].2.contains("three"), "{found:?}");
    // A name that cannot be made fails what else had succeeded.
    let found = instances(&world, &run, "n").await;
    assert_eq!((found[0].0.as_str(), &found[0].1), ("failed", &None));
    assert!(found[0].2.contains("`map_index_template`") && found[0].2.contains("my_name"), "{found:?}");
    let found = instances(&world, &run, "b").await;
    assert_eq!((found[0].0.as_str(), found[0].1.as_deref()), ("success", Some("echo 1")));
}

/// An instance that `expand_kwargs` gives what it cannot have fails, and says so; the others run.
#[tokio::test]
async fn what_an_operator_does_not_take_fails_the_instance() {
    let tasks = "k: {operator: PythonOperator, python_callable: work.kwargs}
m: {operator: BashOperator, partial: {cwd: /tmp}, expand_kwargs: k.output}
l: {operator: PythonOperator, python_callable: work.of_function}
f: {decorator: airflow.sdk.task, python_callable: work.nothing, expand_kwargs: l.output}";
    let mut world = world(tasks).await;
    let run = finished(&mut world).await;
    let found = instances(&world, &run, "m").await;
    assert_eq!(found.iter().map(|one| one.0.as_str()).collect::<Vec<_>>(), ["success", "failed", "failed", "failed"]);
    assert!(found[1].2.contains("`typo`") && found[1].2.contains("BashOperator"), "{found:?}");
    assert!(found[1].2.contains("`bash_command`"), "{found:?}");
    assert!(found[2].2.contains("`retries`"), "{found:?}");
    assert!(found[3].2.contains("`cwd`, which the task gives all instances"), "{found:?}");
    let found = instances(&world, &run, "f").await;
    assert_eq!(found.iter().map(|one| one.0.as_str()).collect::<Vec<_>>(), ["success", "failed"]);
    assert!(found[1].2.contains("unexpected keyword argument 'w'"), "{found:?}");
}
