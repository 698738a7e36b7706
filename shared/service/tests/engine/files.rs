//! Files to versions.

use crate::world::{World, chain};
use updraft_dag_store::DagStore;
use updraft_model::DagId;

fn names(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|p| (*p).to_owned()).collect()
}

#[tokio::test]
async fn an_unchanged_file_is_never_parsed_again() {
    let world = World::new();
    world.write("a.yaml", &chain("a", 1)).await;
    world.write("b.yaml", "b: {tasks: {t: {operator: BashOperator}}}").await;
    let first = world.engine.ingest_all(&world.folder).await.unwrap();
    assert_eq!((first.parsed, first.failed), (names(&["a.yaml", "b.yaml"]), names(&["b.yaml"])));
    let second = world.engine.ingest_all(&world.folder).await.unwrap();
    assert_eq!((second.parsed, second.unchanged), (vec![], 2), "bad files neither");
    world.write("a.yaml", &chain("a", 2)).await;
    assert_eq!(world.engine.ingest_all(&world.folder).await.unwrap().parsed, names(&["a.yaml"]));
}

#[tokio::test]
async fn the_same_content_is_the_same_version() {
    let world = World::new();
    let dag_id = DagId::trusted("a");
    let version = || async { world.engine.store.dag(&dag_id).await.unwrap().unwrap().version.unwrap() };
    world.write("a.yaml", &chain("a", 1)).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let first = version().await;
    world.write("a.yaml", &chain("a", 2)).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    assert_ne!(version().await, first);
    world.write("a.yaml", &format!("# a comment\n{}", chain("a", 1))).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    assert_eq!(version().await, first);
}

#[tokio::test]
async fn a_bad_file_keeps_the_last_good_version_and_hides_nothing() {
    let world = World::new();
    let two = chain("a", 1) + &chain("b", 1);
    world.write("two.yaml", &two).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let version = world.engine.store.dag(&DagId::trusted("a")).await.unwrap().unwrap().version;
    // One of the two DAGs breaks, the other changes.
    world.write("two.yaml", &(chain("a", 1).replace("bash_command", "bash_comand") + &chain("b", 3))).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    assert_eq!(world.engine.store.dag(&DagId::trusted("a")).await.unwrap().unwrap().version, version);
    let b = world.engine.store.dag(&DagId::trusted("b")).await.unwrap().unwrap().version.unwrap();
    assert_eq!(world.engine.version(&b).await.unwrap().plan.dag.tasks.len(), 3);
    let errors = world.engine.store.list_import_errors(10, None).await.unwrap().items;
    assert_eq!(errors.len(), 1);
    assert!(errors[0].stack_trace.contains("two.yaml:4:"), "{}", errors[0].stack_trace);
    // Mended, the error is gone.
    world.write("two.yaml", &two).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    assert!(world.engine.store.list_import_errors(10, None).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_dag_belongs_to_one_file_until_that_file_lets_go() {
    let world = World::new();
    world.write("a.yaml", &chain("d", 1)).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    world.write("b.yaml", &chain("d", 2)).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let errors = world.engine.store.list_import_errors(10, None).await.unwrap().items;
    assert_eq!(errors.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["b.yaml"]);
    assert!(errors[0].stack_trace.contains("a.yaml"), "{}", errors[0].stack_trace);
    assert_eq!(world.engine.store.dag(&DagId::trusted("d")).await.unwrap().unwrap().file, "a.yaml");
    std::fs::remove_file(world.folder.root().join("a.yaml")).unwrap();
    world.engine.ingest_all(&world.folder).await.unwrap();
    assert!(world.engine.store.list_import_errors(10, None).await.unwrap().items.is_empty());
    let dag = world.engine.store.dag(&DagId::trusted("d")).await.unwrap().unwrap();
    assert_eq!((dag.file.as_str(), dag.version.is_some()), ("b.yaml", true));
}

#[tokio::test]
async fn a_removed_files_dags_get_no_more_runs() {
    let world = World::new();
    world.write("a.yaml", &chain("a", 1)).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let run = world.trigger("a").await;
    std::fs::remove_file(world.folder.root().join("a.yaml")).unwrap();
    assert_eq!(world.engine.ingest_all(&world.folder).await.unwrap().removed, names(&["a.yaml"]));
    let dag = world.engine.store.dag(&DagId::trusted("a")).await.unwrap().unwrap();
    assert_eq!((dag.version, dag.next_due), (None, None));
    // What runs goes on, by the version it began with.
    world.work(true).await;
    let run = world.engine.store.run(&run.facts.incarnation).await.unwrap().unwrap();
    assert_eq!(run.state, updraft_model::DagRunState::Success);
    assert!(world.folder.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_renamed_file_keeps_its_dags_whatever_is_told_first() {
    for told_apart in [false, true] {
        let world = World::new();
        world.write("old.yaml", &chain("d", 1)).await;
        world.engine.ingest_all(&world.folder).await.unwrap();
        std::fs::rename(world.folder.root().join("old.yaml"), world.folder.root().join("new.yaml")).unwrap();
        if told_apart {
            for path in ["new.yaml", "old.yaml"] {
                world.engine.ingest_changed(&world.folder, &names(&[path])).await.unwrap();
            }
        } else {
            world.engine.ingest_all(&world.folder).await.unwrap();
        }
        let dag = world.engine.store.dag(&DagId::trusted("d")).await.unwrap().unwrap();
        assert_eq!((dag.file.as_str(), dag.version.is_some()), ("new.yaml", true), "told apart: {told_apart}");
        assert!(world.engine.store.list_import_errors(10, None).await.unwrap().items.is_empty());
    }
}

#[tokio::test]
async fn two_files_that_swap_their_names_swap_their_dags() {
    let world = World::new();
    world.write("a.yaml", &chain("a", 1)).await;
    world.write("b.yaml", &chain("b", 1)).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let path = |name: &str| world.folder.root().join(name);
    std::fs::rename(path("a.yaml"), path("x")).unwrap();
    std::fs::rename(path("b.yaml"), path("a.yaml")).unwrap();
    std::fs::rename(path("x"), path("b.yaml")).unwrap();
    world.engine.ingest_all(&world.folder).await.unwrap();
    assert_eq!(world.engine.store.list_import_errors(10, None).await.unwrap().items, []);
    for (dag_id, file) in [("a", "b.yaml"), ("b", "a.yaml")] {
        let dag = world.engine.store.dag(&DagId::trusted(dag_id)).await.unwrap().unwrap();
        assert_eq!((dag.file.as_str(), dag.version.is_some()), (file, true));
    }
}
