//! What callables find of Airflow, and what they answer, with real processes.

mod common;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use common::{body, bounded, finish, launcher, python_file};
use serde_json::{Value, json};
use updraft_execution::{
    AttemptSpec, Cancel, LookupError, Lookups, OperatorCall, Outcome, PythonCall, Report, Returned, http_response, run,
};
use updraft_model::Connection;

/// Calls `f` of this source; `change` completes the call.
async fn call(source: &str, change: impl FnOnce(&mut AttemptSpec, &mut PythonCall)) -> (Report, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut spec = python_file(directory.path(), source, "f");
    let OperatorCall::Python(mut python) = spec.operator.clone() else { unreachable!("it is a Python call") };
    change(&mut spec, &mut python);
    spec.operator = OperatorCall::Python(python);
    finish(&spec).await
}

#[tokio::test]
async fn what_a_callable_returns_is_told_also_where_it_is_no_xcom() {
    let plain = |value: Value, truthy: Option<bool>| Returned { value, not_json: None, truthy, poke: false };
    let poke = |value: Value, truthy: bool| Returned { poke: true, ..plain(value, Some(truthy)) };
    let not_json = |what: &str, truthy: Option<bool>| Returned {
        not_json: Some(format!("the return value is a `{what}`, which has no form in JSON")),
        ..plain(Value::Null, truthy)
    };
    let cases = [
        ("'branch_a'", plain(json!("branch_a"), Some(true))),
        ("['a', 'b']", plain(json!(["a", "b"]), Some(true))),
        ("None", plain(Value::Null, Some(false))),
        ("0", plain(json!(0), Some(false))),
        ("set()", plain(json!({ "__type": "set", "__var": [] }), Some(false))),
        ("object()", not_json("object", Some(true))),
        ("Moody()", not_json("callables.Moody", None)),
        ("PokeReturnValue(True, {'rows': 1})", poke(json!({ "rows": 1 }), true)),
        ("PokeReturnValue(is_done=False)", poke(Value::Null, false)),
    ];
    for (expression, expected) in cases {
        let source = format!(
            "from airflow.sdk import PokeReturnValue\nclass Moody:\n    def __bool__(self): raise ValueError\ndef f(): return {expression}"
        );
        let (report, log) = call(&source, |spec, python| {
            spec.do_xcom_push = false;
            python.wants_value = true;
        })
        .await;
        assert_eq!(report.outcome, Outcome::Success, "{expression}: {log}");
        let mut returned = report.returned.expect("it was asked for");
        // The advice behind the fault is another test's.
        returned.not_json = returned.not_json.and_then(|text| text.split_once(';').map(|(fault, _)| fault.to_owned()));
        assert_eq!(returned, expected, "{expression}");
        assert_eq!(report.xcoms, []);
    }
    let (report, _) = call("def f(): return 1", |_, _| ()).await;
    assert_eq!(report.returned, None);
}

#[tokio::test]
async fn predicates_get_what_json_has_no_word_for() {
    let source = "
def f(response, when, *rest, ds=None):
    assert response.headers['content-TYPE'] == 'application/json' and 'x' not in response.headers
    assert response.json() == {'state': 'ready'} and response.ok and response.elapsed.total_seconds() == 1.5
    assert (response.status_code, response.reason, response.url) == (200, 'OK', 'http://h/p')
    assert response.content == response.text.encode()
    response.raise_for_status()
    return [str(when.subtract(hours=1)), rest]
";
    let headers = BTreeMap::from([("Content-Type".to_owned(), "application/json".to_owned())]);
    let elapsed = Duration::from_millis(1500);
    let (report, log) = call(source, |_, python| {
        let response = http_response(200, "OK", "http://h/p", &headers, r#"{"state": "ready"}"#, elapsed);
        python.native_args = vec![response, json!({ "__type": "datetime", "__var": "2025-01-02T03:00:00+00:00" })];
        python.op_args = vec![json!("x")];
    })
    .await;
    assert_eq!(report.outcome, Outcome::Success, "{log}");
    assert_eq!(report.xcoms[0].1, json!(["2025-01-02 02:00:00+00:00", ["x"]]));

    let (report, _) = call("def f(response): response.raise_for_status()", |_, python| {
        python.native_args = vec![http_response(404, "Not Found", "http://h/p", &headers, "", elapsed)];
    })
    .await;
    assert_eq!(report.outcome.message(), "RuntimeError: 404 Client Error: Not Found for url: http://h/p");
}

/// Some variables and one connection.
#[derive(Default)]
struct Store {
    asked: Mutex<Vec<String>>,
}

impl Lookups for Store {
    async fn pull(&self, task_ids: Vec<String>, _key: String) -> Result<Vec<Option<Value>>, LookupError> {
        Ok(vec![None; task_ids.len()])
    }

    async fn variable(&self, key: String) -> Result<Option<String>, LookupError> {
        self.asked.lock().expect("no panic").push(key.clone());
        match key.as_str() {
            "bucket" => Ok(Some("b-1".to_owned())),
            "limits" => Ok(Some(r#"{"rows": 3}"#.to_owned())),
            "api_token" => Ok(Some("tok-12345".to_owned())),
            "broken" => Err(LookupError("the table is gone".to_owned())),
            _ => Ok(None),
        }
    }

    async fn connection(&self, conn_id: String) -> Result<Option<Connection>, LookupError> {
        Ok((conn_id == "db").then(|| Connection {
            conn_id,
            conn_type: "postgres".to_owned(),
            host: Some("h.example".to_owned()),
            login: Some("me".to_owned()),
            password: Some("pa:ss/word".to_owned()),
            schema: Some("sales".to_owned()),
            port: Some(5432),
            extra: Some(r#"{"sslmode": "require", "private_key": "k-e-y-1"}"#.to_owned()),
            ..Connection::default()
        }))
    }
}

#[tokio::test]
async fn variables_and_connections_are_asked_for_when_they_are_used() {
    let source = "
from airflow.models import Variable
from airflow.sdk import BaseHook, Connection, Variable as V3
from airflow.hooks.base import BaseHook as Old
from airflow.exceptions import AirflowNotFoundException
def f(var, conn):
    assert Variable is V3 and BaseHook is Old
    assert Variable.get('bucket') == 'b-1' and var['value'].bucket == 'b-1' and var['value'].get('absent', 7) == 7
    assert Variable.get('limits', deserialize_json=True) == {'rows': 3} == var['json'].limits
    assert Variable.get('absent', default_var=None) is None and Variable.get('absent', default=1) == 1
    for lookup, error, text in [
        (lambda: Variable.get('absent'), KeyError, 'Variable absent does not exist'),
        (lambda: Variable.get('broken'), RuntimeError, 'the table is gone'),
        (lambda: Variable.get('bucket', deserialize_json=True), ValueError, 'the variable bucket is not JSON'),
        (lambda: Variable.set('a', 1), NotImplementedError, 'Variable.set: a task cannot'),
        (lambda: BaseHook.get_connection('absent'), AirflowNotFoundException, 'The conn_id `absent`'),
    ]:
        try:
            lookup()
        except error as raised:
            assert str(raised).startswith(text), raised
        else:
            raise AssertionError(text)
    db = BaseHook.get_connection('db')
    assert db.conn_id == 'db' and conn.db.port == 5432 and conn.get('absent') is None
    assert db.extra_dejson['sslmode'] == 'require'
    assert db.get_uri() == 'postgres://me:pa%3Ass%2Fword@h.example:5432/sales?sslmode=require&private_key=k-e-y-1', db.get_uri()
    print(Variable.get('api_token'), db.password, db.extra_dejson['private_key'], db.login)
";
    let directory = tempfile::tempdir().expect("a directory");
    let spec = python_file(directory.path(), source, "f");
    let (store, mut log) = (Store::default(), Vec::new());
    let report = bounded(run(&spec, &launcher(), &mut log, &store, Cancel::never())).await;
    let log = String::from_utf8_lossy(&log);
    assert_eq!(report.outcome, Outcome::Success, "{log}");
    // What is secret by its name is masked without being asked.
    assert_eq!(body(&log), "*** *** *** me\n");
    assert_eq!(store.asked.lock().expect("no panic").first().map(String::as_str), Some("bucket"));

    let source = "from airflow.sdk import Variable\ndef f(): Variable.get('x')";
    let (report, _) = call(source, |_, _| ()).await;
    assert_eq!(report.outcome.message(), "RuntimeError: variable `x`: tasks that run here have no variables");
}

#[tokio::test]
async fn files_written_for_airflow_can_be_imported() {
    let source = "
from airflow.decorators import task
from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.operators.python import get_current_context
from airflow.providers.standard.operators.python import get_current_context as same
from airflow.sdk import Context, Variable, get_current_context as third, task as sdk_task
from airflow.utils.log.logging_mixin import LoggingMixin
import airflow.sdk.definitions.context

class Helper(LoggingMixin):
    def go(self): self.log.info('from a class')

@task(multiple_outputs=True)
def plain(): return {'a': 1}

@task.branch
def branch(): return 'b'

@sdk_task
def f():
    Helper().go()
    assert get_current_context() is same() is third()
    return [plain(), branch()]
";
    let (report, log) = call(source, |_, _| ()).await;
    assert_eq!(report.outcome, Outcome::Success, "{log}");
    assert_eq!(report.xcoms[0].1, json!([{ "a": 1 }, "b"]));
    assert_eq!(body(&log), "{callables.Helper} INFO: from a class\n");

    for (import, missing) in [
        ("from airflow.sdk import DAG", "of `airflow.sdk` Updraft does not provide `DAG`"),
        ("from airflow.utils.dates import days_ago", "Updraft does not provide `airflow.utils.dates`"),
        ("import airflow.providers.amazon", "Updraft does not provide `airflow.providers.amazon`"),
    ] {
        let (report, _) = call(&format!("{import}\ndef f(): pass"), |_, _| ()).await;
        let message = report.outcome.message();
        assert!(message.contains("Airflow is not installed in ") && message.ends_with(missing), "{message}");
    }
}

/// A package of this name that is there is the one that is imported, whatever it lacks.
#[tokio::test]
async fn an_installed_airflow_is_not_shadowed() {
    let source = "
import os, sys
folder = os.path.join(os.path.dirname(__file__), 'airflow')
os.makedirs(folder)
open(os.path.join(folder, '__init__.py'), 'w').write('real = 1')
def f():
    import airflow
    try:
        import airflow.sdk
    except ModuleNotFoundError as error:
        return [airflow.real, str(error)]
";
    let (report, log) = call(source, |_, _| ()).await;
    assert_eq!(report.outcome, Outcome::Success, "{log}");
    assert_eq!(report.xcoms[0].1, json!([1, "No module named 'airflow.sdk'"]));
}

#[tokio::test]
async fn a_callable_may_ask_to_be_run_again_later() {
    let raise = |date: &str| {
        format!(
            "import datetime\nfrom airflow.exceptions import AirflowRescheduleException\ndef f(): raise AirflowRescheduleException({date})"
        )
    };
    let expected = Outcome::Rescheduled { until: "2025-01-02T03:00:00Z".parse().expect("an instant") };
    for date in [
        "datetime.datetime(2025, 1, 2, 3)",
        "datetime.datetime(2025, 1, 2, 5, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))",
    ] {
        let (report, log) = call(&raise(date), |_, _| ()).await;
        assert_eq!(report.outcome, expected, "{log}");
        assert!(log.ends_with("to be run again at 2025-01-02T03:00:00Z\n"), "{log}");
    }
    let (report, _) = call(&raise("'soon'"), |_, _| ()).await;
    assert!(report.outcome.message().ends_with("is no datetime: 'soon'"), "{:?}", report.outcome);

    let (report, _) =
        call("from airflow.exceptions import TaskDeferred\ndef f(): raise TaskDeferred()", |_, _| ()).await;
    let Outcome::Failed { message, retryable: false } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(message.contains("deferred itself"), "{message}");
}
