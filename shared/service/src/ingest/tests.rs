use super::*;
use crate::Settings;
use std::sync::Arc;
use std::time::Duration;
use updraft_clock::{Clock, System};
use updraft_dag_store::Directory;
use updraft_metastore::memory::Memory;
use updraft_model::VersionId;
use updraft_task_queue::LocalQueue;

/// A clock that stands where it is put.
#[derive(Debug, Clone)]
struct At(Arc<std::sync::Mutex<Timestamp>>);

impl Clock for At {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn draw(&self, length: usize) -> String {
        System.draw(length)
    }

    async fn sleep(&self, duration: Duration) {
        System.sleep(duration).await;
    }
}

struct Place {
    folder: Directory,
    engine: Engine<Memory, Arc<LocalQueue>, At>,
    now: At,
}

impl Place {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let now = At(Arc::new(std::sync::Mutex::new("2026-03-10T06:00:00Z".parse().unwrap())));
        let engine = Engine::new(Memory::default(), Arc::new(LocalQueue::default()), now.clone(), settings);
        Self { folder: Directory::new(tempfile::tempdir().unwrap().keep()), engine, now }
    }

    async fn write(&self, path: &str, text: &str) {
        self.folder.write(path, text.as_bytes()).await.unwrap();
    }

    fn remove(&self, path: &str) {
        std::fs::remove_file(self.folder.root().join(path)).unwrap();
    }

    async fn look(&self) -> Ingested {
        self.engine.ingest_all(&self.folder).await.unwrap()
    }

    /// The current version of a DAG.
    async fn version(&self, dag_id: &str) -> Option<VersionId> {
        self.engine.store.dag(&DagId::parse(dag_id).unwrap()).await.unwrap().and_then(|dag| dag.version)
    }

    async fn files_of(&self, dag_id: &str) -> Vec<String> {
        let id = self.version(dag_id).await.unwrap();
        self.engine.store.version(&id).await.unwrap().unwrap().files.into_keys().collect()
    }

    /// Path and text of all import errors, and whether each is a notice.
    async fn errors(&self) -> Vec<(String, String, bool)> {
        let page = self.engine.store.list_import_errors(100, None).await.unwrap();
        page.items.into_iter().map(|e| (e.path, e.stack_trace, e.is_notice)).collect()
    }
}

fn bash(dag_id: &str, command: &str) -> String {
    format!("{dag_id}:\n  schedule: null\n  tasks:\n    t: {{operator: BashOperator, bash_command: '{command}'}}\n")
}

#[tokio::test]
async fn a_file_is_parsed_once_per_change() {
    let place = Place::new();
    place.write("a.yaml", &bash("a", "echo a")).await;
    place.write("x/b.yaml", &bash("b", "echo b")).await;
    assert_eq!(place.look().await.parsed, ["a.yaml", "x/b.yaml"]);
    let again = place.look().await;
    assert_eq!((again.parsed.len(), again.unchanged), (0, 2));
    place.write("x/b.yaml", &bash("b", "echo c")).await;
    assert_eq!(place.look().await.parsed, ["x/b.yaml"]);
}

#[tokio::test]
async fn what_is_declared_for_files_has_them_read_again_when_it_changes() {
    let mut place = Place::new();
    let text = "d:\n  tasks:\n    t:\n      operator: BashOperator\n      bash_command: echo $WHO\n      \
                variables_as_arguments: [{variable: who, attribute: bash_command}]\n";
    place.write("d.yaml", text).await;
    let command = async |place: &Place| {
        place.look().await;
        let version = place.version("d").await.unwrap();
        place.engine.version(&version).await.unwrap().plan.dag.tasks[0].arguments["bash_command"].clone()
    };
    assert_eq!(command(&place).await, "echo $WHO");
    place.engine.settings.dag_environment.insert("WHO".to_owned(), "you".to_owned());
    assert_eq!(command(&place).await, "echo you");
    place.engine.settings.dag_variables.insert("WHO".to_owned(), "echo me".to_owned());
    assert_eq!(command(&place).await, "echo me");
    assert_eq!(place.look().await.unchanged, 1);
}

#[tokio::test]
async fn defaults_that_come_change_and_go_have_the_files_below_read_again() {
    let place = Place::new();
    for path in ["a.yaml", "x/b.yaml", "x/y/c.yaml", "z/d.yaml"] {
        let dag_id = path.trim_end_matches(".yaml").replace('/', ".");
        place.write(path, &bash(&dag_id, "echo")).await;
    }
    assert_eq!(place.look().await.parsed.len(), 4);
    for text in ["default_args: {owner: ann}\n", "default_args: {owner: bob}\n"] {
        place.write("x/defaults.yml", text).await;
        assert_eq!(place.look().await.parsed, ["x/b.yaml", "x/y/c.yaml"]);
        assert_eq!(place.look().await.unchanged, 4);
    }
    place.remove("x/defaults.yml");
    assert_eq!(place.look().await.parsed, ["x/b.yaml", "x/y/c.yaml"]);
    place.write("defaults.yaml", "default_args: {owner: ann}\n").await;
    let told = place.engine.ingest_changed(&place.folder, &["defaults.yaml".to_owned()]).await.unwrap();
    assert_eq!(told.parsed.len(), 4);
}

#[tokio::test]
async fn an_error_in_defaults_shows_the_line_of_the_defaults() {
    let place = Place::new();
    place.write("x/b.yaml", &bash("b", "echo")).await;
    place.write("x/defaults.yml", "default_args:\n  retries: two\n").await;
    place.look().await;
    let page = place.engine.store.list_import_errors(100, None).await.unwrap();
    let [error] = page.items.as_slice() else { panic!("{:?}", page.items) };
    assert_eq!(error.path, "x/b.yaml");
    let expected = "\
x/defaults.yml:2:12: error: `retries` must be a whole number, but is the text `two`
 2 |   retries: two
   |            ^
  key: b.default_args.retries
  hint: write digits without quotes, such as `3`";
    assert_eq!(error.stack_trace.trim_end(), expected);
}

#[tokio::test]
async fn a_referenced_file_that_changes_makes_a_new_version_and_nothing_else_does() {
    let place = Place::new();
    place.write("team/a.yaml", &bash("a", "scripts/run.sh")).await;
    place.write("team/scripts/run.sh", "echo one").await;
    place.write("team/scripts/other.sh", "echo other").await;
    place.look().await;
    let first = place.version("a").await.unwrap();
    assert_eq!(place.files_of("a").await, ["team/scripts/run.sh"]);

    place.write("team/scripts/other.sh", "echo another").await;
    assert_eq!(place.look().await.parsed.len(), 0);
    // The same text written anew has another tag: it is read, and means the same.
    place.write("team/a.yaml", &bash("a", "scripts/run.sh")).await;
    place.write("team/scripts/run.sh", "echo one").await;
    assert_eq!(place.look().await.parsed, ["team/a.yaml"]);
    assert_eq!(place.version("a").await.unwrap(), first);

    place.write("team/scripts/run.sh", "echo two").await;
    assert_eq!(place.look().await.parsed, ["team/a.yaml"]);
    assert_ne!(place.version("a").await.unwrap(), first);
}

#[tokio::test]
async fn a_template_that_is_missing_is_waited_for() {
    let place = Place::new();
    place.write("a.yaml", &bash("a", "run.sh")).await;
    let done = place.look().await;
    assert_eq!((done.parsed.len(), done.failed.len()), (1, 0), "as in Airflow, only the task will fail");
    let first = place.version("a").await.unwrap();
    place.write("run.sh", "echo").await;
    assert_eq!(place.look().await.parsed, ["a.yaml"]);
    assert_ne!(place.version("a").await.unwrap(), first);
    assert_eq!(place.files_of("a").await, ["run.sh"]);
}

#[tokio::test]
async fn a_callable_outside_of_the_folder_is_the_workers_business() {
    let place = Place::new();
    let text = |file: &str| {
        format!(
            "a:\n  schedule: null\n  tasks:\n    t: {{operator: PythonOperator, python_callable_name: f, python_callable_file: {file}}}\n"
        )
    };
    place.write("a.yaml", &text("/opt/elsewhere/f.py")).await;
    assert_eq!(place.look().await.failed, Vec::<String>::new());
    assert!(place.version("a").await.is_some());
    place.write("a.yaml", &text("gone.py")).await;
    assert_eq!(place.look().await.failed, ["a.yaml"]);
}

#[tokio::test]
async fn relative_dates_stand_still_while_the_text_does() {
    let place = Place::new();
    let text = "a:\n  schedule: '@daily'\n  start_date: 2 days\n  tasks:\n    t: {operator: EmptyOperator}\n";
    place.write("a.yaml", text).await;
    place.look().await;
    let first = place.version("a").await.unwrap();
    *place.now.0.lock().unwrap() = "2026-04-01T00:00:00Z".parse().unwrap();
    place.write("a.yaml", text).await;
    assert_eq!(place.look().await.parsed, ["a.yaml"]);
    assert_eq!(place.version("a").await.unwrap(), first);
    place.write("a.yaml", &text.replace("2 days", "3 days")).await;
    place.look().await;
    let start = place.engine.version(&place.version("a").await.unwrap()).await.unwrap().plan.dag.start_date;
    assert_eq!(start, Some("2026-03-29T00:00:00Z".parse().unwrap()));
}

#[tokio::test]
async fn what_is_ignored_declares_nothing_and_may_still_be_referred_to() {
    let place = Place::new();
    place.write("a.yaml", &bash("a", "lib/run.sh")).await;
    place.write("lib/run.sh", "echo").await;
    place.write("lib/values.yaml", "not: a DAG").await;
    place.write("old/b.yaml", &bash("b", "echo")).await;
    assert_eq!(place.look().await.parsed.len(), 3);
    place.write(".airflowignore", "lib/\n").await;
    place.write("old/.airflowignore", "*.yaml\n").await;
    let done = place.look().await;
    assert_eq!(done.removed, ["lib/values.yaml", "old/b.yaml"]);
    assert_eq!(place.errors().await, []);
    assert_eq!((place.version("b").await, place.files_of("a").await), (None, vec!["lib/run.sh".to_owned()]));
    let told = place.engine.ingest_changed(&place.folder, &["old/b.yaml".to_owned()]).await.unwrap();
    assert_eq!(told, Ingested::default());
    place.remove("old/.airflowignore");
    assert_eq!(place.look().await.parsed, ["old/b.yaml"]);
    assert!(place.version("b").await.is_some());
}

#[tokio::test]
async fn ignore_files_may_hold_expressions() {
    let place = Place::with(Settings { ignore_syntax: updraft_dag_store::IgnoreSyntax::Regexp, ..Settings::default() });
    place.write("team_1.yaml", &bash("a", "echo")).await;
    place.write("team_x.yaml", &bash("b", "echo")).await;
    place.write(".airflowignore", "team_[0-9]\n").await;
    assert_eq!(place.look().await.parsed, ["team_x.yaml"]);
}

#[tokio::test]
async fn python_dag_files_are_noticed_once_and_callables_are_not() {
    let place = Place::new();
    let dag = "from airflow.sdk import DAG\n";
    place.write("etl.py", dag).await;
    place.write("lib/callable.py", "# called by airflow, with the dag's run\n").await;
    place.write("plain.py", "print('hello')\n").await;
    place.write("load.py", "from airflow import DAG\nfrom dagfactory import load_yaml_dags\n").await;
    let text = "a:\n  schedule: null\n  tasks:\n    t: {operator: PythonOperator, python_callable_name: f, python_callable_file: lib/callable.py}\n";
    place.write("a.yaml", text).await;
    let done = place.look().await;
    assert_eq!((done.parsed, done.python), (vec!["a.yaml".to_owned()], vec!["etl.py".to_owned()]));
    let errors = place.errors().await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].2 && errors[0].1.contains("updraft dags convert etl.py"), "{errors:?}");
    let again = place.look().await;
    assert_eq!((again.python.len(), again.unchanged), (0, 4));
    // What a DAG begins to refer to was no DAG file.
    place.write("a.yaml", &text.replace("lib/callable.py", "etl.py")).await;
    place.look().await;
    assert_eq!(place.errors().await.iter().map(|e| e.0.as_str()).collect::<Vec<_>>(), ["lib/callable.py"]);
    place.remove("lib/callable.py");
    assert_eq!(place.look().await.removed, ["lib/callable.py"]);
    assert_eq!(place.errors().await, []);
}

#[tokio::test]
async fn one_dag_in_two_files_is_the_first_ones_and_both_are_named() {
    let place = Place::new();
    place.write("a.yaml", &bash("same", "echo a")).await;
    place.write("b.yaml", &bash("same", "echo b")).await;
    place.look().await;
    let first = place.version("same").await;
    let errors = place.errors().await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].0 == "b.yaml" && errors[0].1.contains("`a.yaml`"), "{errors:?}");
    place.look().await;
    assert_eq!(place.version("same").await, first);
    // The one that is left takes over.
    place.remove("a.yaml");
    place.look().await;
    assert_eq!(place.errors().await, []);
    assert!(place.version("same").await.is_some_and(|now| Some(now) != first));
}

#[tokio::test]
async fn a_renamed_file_keeps_its_dag() {
    let place = Place::new();
    place.write("a.yaml", &bash("a", "echo")).await;
    place.look().await;
    std::fs::rename(place.folder.root().join("a.yaml"), place.folder.root().join("b.yaml")).unwrap();
    let done = place.look().await;
    assert_eq!((done.parsed, done.removed), (vec!["b.yaml".to_owned()], vec!["a.yaml".to_owned()]));
    let dag = place.engine.store.dag(&DagId::parse("a").unwrap()).await.unwrap().unwrap();
    assert_eq!(dag.file, "b.yaml");
    assert!(dag.version.is_some());
}

#[tokio::test]
async fn files_that_are_too_large_together_are_refused_with_a_message() {
    let place = Place::new();
    place.write("a.yaml", &bash("a", "run.sh")).await;
    place.write("run.sh", &"echo\n".repeat(2 << 20)).await;
    let done = place.look().await;
    assert_eq!(done.failed, ["a.yaml"]);
    let errors = place.errors().await;
    assert!(errors[0].1.contains("run.sh") || errors[0].1.contains("too large"), "{errors:?}");
    place.write("run.sh", "echo\n").await;
    assert_eq!(place.look().await.failed, Vec::<String>::new());
}
