//! Assets, from a task that writes one to the DAG that waits for it.

use crate::world::World;

use updraft_model::{DagId, DagRunType};

const CALLABLES: &str = "
from airflow.sdk import Asset, AssetAlias, Metadata

OUT = Asset('s3://out')

def said(outlet_events, outlets):
    assert outlets[0] == OUT
    outlet_events[OUT].extra = {'rows': 3}
    outlet_events[AssetAlias('any')].add(Asset('s3://tied'), extra={'n': 1})

def yielded():
    yield Metadata(OUT, {'rows': 4})
    return 'done'

def seen(triggering_asset_events, inlet_events, inlets):
    events = triggering_asset_events[OUT]
    print('triggered by', [event.extra for event in events], events[0].source_dag_run.run_id)
    print('read', [event.extra for event in inlet_events[inlets[0]]])
";

const DAGS: &str = "
d:
  schedule: null
  tasks:
    a:
      operator: PythonOperator
      python_callable: things.said
      outlets: [s3://out, {__type__: airflow.sdk.AssetAlias, name: any}]
    b: {operator: PythonOperator, python_callable: things.yielded, outlets: [s3://out], dependencies: [a]}
c:
  schedule: [s3://out]
  max_active_runs: 1
  tasks:
    t: {operator: PythonOperator, python_callable: things.seen, inlets: [s3://out]}
    u:
      operator: BashOperator
      bash_command: echo \"{{ (triggering_asset_events.values() | first | last).extra.rows }} {{ inlets }}\"
      inlets: [{__type__: airflow.sdk.AssetAlias, name: any}]
e:
  schedule: {__type__: airflow.sdk.AssetAlias, name: any}
  tasks:
    v: {operator: BashOperator, bash_command: \"echo {% for asset in triggering_asset_events %}{{ asset.name }}+{% endfor %}\"}
";

#[tokio::test]
async fn what_a_callable_says_reaches_the_run_it_makes() {
    let mut world = World::new(&[("d.yaml", DAGS), ("things.py", CALLABLES)]).await;
    let ran = world.run().await;
    assert_eq!(ran.states, ["a=success", "b=success"], "{:#?}", ran.logs);
    assert_eq!(ran.attempts["b"].xcoms.len(), 1, "the generator's return value is its XCom");
    world.work().await;
    let mut told = Vec::new();
    for dag in ["c", "e"] {
        let runs = world.engine.store.list_runs(&DagId::trusted(dag), 10, None).await.unwrap().items;
        assert!(!runs.is_empty(), "{dag}");
        for run in runs.into_iter().rev() {
            assert_eq!(run.facts.run_type, DagRunType::AssetTriggered);
            let ran = world.finish(run).await;
            assert!(ran.states.iter().all(|state| state.ends_with("=success")), "{:?} {:#?}", ran.states, ran.logs);
            told.extend(ran.logs.into_values());
        }
    }
    let told = told.concat();
    // One run for both events, or one for each, as the second came before or after the first run was made.
    assert!(told.contains("{'rows': 3}") && told.contains("{'rows': 4}") && told.contains("manual__"), "{told}");
    assert!(told.contains("read [{'rows': 3}, {'rows': 4}]"), "{told}");
    assert!(told.contains("4 [AssetAlias(name='any', group='asset')]"), "{told}");
    assert!(told.contains("s3://tied+any+"), "{told}");
}

#[tokio::test]
async fn too_much_said_fails_the_task() {
    let callable = "def f(outlet_events, outlets):\n    outlet_events[outlets[0]].extra = {'x': 'y' * 20000}\n";
    let dag = "d:\n  schedule: null\n  tasks:\n    t: {operator: PythonOperator, python_callable: things.f, outlets: [s3://a], retries: 2}\n";
    let mut world = World::new(&[("d.yaml", dag), ("things.py", callable)]).await;
    let ran = world.run().await;
    assert_eq!((ran.states.as_slice(), world.attempts), (&["t=failed".to_owned()][..], 1));
    let message = ran.attempts["t"].message.clone().unwrap_or_default();
    assert!(message.contains("`s3://a`") && message.contains("at most 16384"), "{message}");
}
