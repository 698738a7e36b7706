//! Airflow's PythonOperator, with real processes.

mod common;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use common::{BOUND, CancelOnOutput, body, finish, launcher, python_file, spec};
use serde_json::{Map, Value, json};
use updraft_execution::{
    AttemptSpec, Callable, Cancel, LookupError, Lookups, NoLookups, OperatorCall, Outcome, PythonCall, Report,
    RunContext, cancellation, run,
};

/// Runs `f` of this source; `change` completes the spec.
async fn call(source: &str, change: impl FnOnce(&mut AttemptSpec, &mut PythonCall)) -> (Report, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut spec = python_file(directory.path(), source, "f");
    let OperatorCall::Python(mut python) = spec.operator.clone() else { unreachable!("it is a Python call") };
    change(&mut spec, &mut python);
    spec.operator = OperatorCall::Python(python);
    finish(&spec).await
}

async fn plain(source: &str) -> (Report, String) {
    call(source, |_, _| ()).await
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

/// The value returned by a callable that succeeds.
async fn value(source: &str) -> Value {
    let (report, log) = plain(source).await;
    assert_eq!(report.outcome, Outcome::Success, "{source}\n{log}");
    report.xcoms.into_iter().find(|(key, _)| key == "return_value").map_or(Value::Null, |(_, value)| value)
}

#[tokio::test]
async fn the_return_value_becomes_an_xcom_and_prints_become_the_log() {
    let source = "
import sys
def f():
    print('out'); print('err', file=sys.stderr); print('grün')
    return {'a': [1, 2.5, True, None, 'x']}
";
    let (report, log) = plain(source).await;
    assert_eq!(report.outcome, Outcome::Success, "{log}");
    assert_eq!(report.xcoms, [("return_value".to_owned(), json!({ "a": [1, 2.5, true, null, "x"] }))]);
    assert_eq!(body(&log), "out\nERROR: err\ngrün\n");

    let (none, _) = plain("def f(): return None").await;
    assert_eq!((none.outcome, none.xcoms), (Outcome::Success, Vec::new()));
    let (not_kept, _) = call("def f(): return object()", |spec, _| spec.do_xcom_push = false).await;
    assert_eq!((not_kept.outcome, not_kept.xcoms), (Outcome::Success, Vec::new()));
}

#[tokio::test]
async fn lines_arrive_while_the_callable_runs() {
    let (handle, cancel) = cancellation();
    let directory = tempfile::tempdir().expect("a directory");
    let source = "def f():\n    import time\n    print('now')\n    time.sleep(1000)";
    let spec = python_file(directory.path(), source, "f");
    let report =
        tokio::time::timeout(BOUND, run(&spec, &launcher(), &mut CancelOnOutput::new(handle), &NoLookups, cancel))
            .await
            .expect("the line came before the end");
    assert_eq!(report.outcome, Outcome::Killed { why: "seen".to_owned() });
}

#[tokio::test]
async fn exceptions_decide_the_outcome() {
    let cases = [
        ("raise ValueError('boom')", "failed", "ValueError: boom"),
        ("raise KeyError", "failed", "KeyError"),
        ("raise X.AirflowException('no')", "failed", "airflow.exceptions.AirflowException: no"),
        ("raise X.AirflowSkipException('nothing today')", "skipped", "nothing today"),
        ("raise X.AirflowFailException('never')", "for good", "airflow.exceptions.AirflowFailException: never"),
        ("sys.exit(3)", "failed", "the callable ended the process with sys.exit(3)"),
        ("os._exit(4)", "failed", "the Python process ended with exit code 4 before the callable returned"),
        ("os.kill(os.getpid(), 9)", "failed", "the Python process was ended by signal 9 before the callable returned"),
        ("f(1, 2)", "failed", "TypeError: f() takes 0 positional arguments but 2 were given"),
    ];
    for module in ["airflow.exceptions", "airflow.sdk.exceptions"] {
        for (body, kind, message) in cases {
            let source = format!("import os, sys\nimport {module} as X\ndef f():\n    {body}\n");
            let (report, log) = plain(&source).await;
            let (found, said) = match &report.outcome {
                Outcome::Failed { message, retryable: true } => ("failed", message.as_str()),
                Outcome::Failed { message, retryable: false } => ("for good", message.as_str()),
                Outcome::Skipped { reason } => ("skipped", reason.as_str()),
                other => panic!("{body}: {other:?}"),
            };
            assert_eq!(found, kind, "{body}: {log}");
            assert!(said.starts_with(message), "{body}: {said}");
            assert_eq!(report.xcoms, []);
        }
    }
}

#[tokio::test]
async fn the_traceback_is_in_the_log_without_our_own_frames() {
    let (_, log) = plain("def g():\n    return 1 / 0\n\ndef f():\n    return g()\n").await;
    let log = body(&log);
    assert!(log.starts_with("ERROR: Traceback (most recent call last):\nERROR:   File"), "{log}");
    assert!(log.contains("callables.py\", line 5, in f") && log.contains("line 2, in g"), "{log}");
    assert!(log.ends_with("ZeroDivisionError: division by zero\n"), "{log}");
    assert!(!log.contains("bootstrap"), "{log}");

    let (report, log) = plain("import nonsense_module\ndef f(): pass\n").await;
    assert_eq!(report.outcome.message(), "ModuleNotFoundError: No module named 'nonsense_module'");
    assert!(log.contains("callables.py\", line 1") && !log.contains("bootstrap"), "{log}");
}

fn daily() -> RunContext {
    let date = |text: &str| Some(text.parse().expect("a date"));
    RunContext {
        logical_date: date("2025-01-02T03:04:05.000678Z"),
        data_interval_start: date("2025-01-02T00:00:00Z"),
        data_interval_end: date("2025-01-03T00:00:00Z"),
        run_after: date("2025-01-03T00:00:00Z"),
        run_start_date: date("2025-01-03T00:00:01Z"),
        start_date: date("2025-01-03T00:00:02Z"),
        run_type: "scheduled".to_owned(),
        conf: object(json!({ "c": [1] })),
        params: object(json!({ "p": { "q": 1 } })),
        owner: "me".to_owned(),
        assets: updraft_execution::AssetContext::default(),
        extra: object(json!({ "partition_key": "k" })),
    }
}

#[tokio::test]
async fn the_callable_gets_the_context_names_that_it_asks_for() {
    let source = "
def f(ds, ts, ds_nodash, ts_nodash, ts_nodash_with_tz, run_id, params, logical_date, data_interval_start, data_interval_end,
      dag_run, ti, task_instance, task, dag, macros, partition_key, task_instance_key_str, *, given, absent='default'):
    assert ti is task_instance
    return [
        ds, ts, ds_nodash, ts_nodash, ts_nodash_with_tz, run_id, params['p']['q'],
        str(logical_date), logical_date.utcoffset().total_seconds(), logical_date.subtract(days=2, months=1).to_date_string(),
        data_interval_start.isoformat(), str(data_interval_end - data_interval_start),
        dag_run.conf, dag_run.run_id, dag_run.run_type, str(dag_run.logical_date), str(dag_run.run_after), str(dag_run.start_date),
        ti.task_id, ti.dag_id, ti.run_id, ti.try_number, ti.max_tries, ti.map_index, str(ti.start_date),
        task.task_id, task.owner, dag.dag_id, macros.ds_add(ds, -2), macros.ds_format(ds, '%Y-%m-%d', '%d.%m.'),
        partition_key, task_instance_key_str, given, absent,
    ]
";
    let (report, log) = call(source, |spec, python| {
        spec.context = daily();
        spec.try_number = 2;
        spec.max_tries = 3;
        python.op_kwargs = object(json!({ "given": "g" }));
    })
    .await;
    assert_eq!(report.outcome, Outcome::Success, "{log}");
    let expected = json!([
        "2025-01-02", "2025-01-02T03:04:05.000678+00:00", "20250102", "20250102T030405", "20250102T030405.000678+0000", "my_run", 1,
        "2025-01-02 03:04:05.000678+00:00", 0.0, "2024-11-30",
        "2025-01-02T00:00:00+00:00", "1 day, 0:00:00",
        { "c": [1] }, "my_run", "scheduled", "2025-01-02 03:04:05.000678+00:00", "2025-01-03 00:00:00+00:00", "2025-01-03 00:00:01+00:00",
        "my_task", "my_dag", "my_run", 2, 3, -1, "2025-01-03 00:00:02+00:00",
        "my_task", "me", "my_dag", "2024-12-31", "02.01.",
        "k", "my_dag__my_task__20250102", "g", "default"
    ]);
    assert_eq!(report.xcoms[0].1, expected);
}

#[tokio::test]
async fn typed_arguments_reach_the_function_as_objects() {
    let code = "def f(*args, **context):\n    return [repr(args[0]), repr(context['at']), context['other']]";
    let (report, log) = call(code, |_, python| {
        python.op_args = vec![json!([{ "__type__": "datetime.timedelta", "seconds": 300 }])];
        let at = json!({ "__type__": "datetime.datetime", "__args__": [2024, 1, 2], "hour": 3, "tzinfo": "UTC" });
        python.op_kwargs = object(json!({ "at": at, "other": { "__type__": "my.Own", "x": 1 } }));
    })
    .await;
    let at = "datetime.datetime(2024, 1, 2, 3, 0, tzinfo=datetime.timezone.utc)";
    let expected = json!(["[datetime.timedelta(seconds=300)]", at, { "__type__": "my.Own", "x": 1 }]);
    assert_eq!(report.xcoms.first().map(|(_, value)| value), Some(&expected), "{log}");

    let (report, _) = call("def f(day): return 1", |_, python| {
        python.op_kwargs = object(json!({ "day": { "__type__": "datetime.date", "year": 2024 } }));
    })
    .await;
    let Outcome::Failed { message, .. } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(message.contains("op_kwargs['day'] is no `datetime.date`"), "{message}");
}

#[tokio::test]
async fn arguments_follow_airflows_rules() {
    let names = "def f(*args, **context):\n    return [list(args), sorted(context)]";
    let (all, log) = call(names, |spec, python| {
        spec.context = RunContext { extra: Map::new(), ..daily() };
        python.op_args = vec![json!(1), json!("two")];
        python.op_kwargs = object(json!({ "mine": 1, "ds": "overridden" }));
        python.templates_dict = Some(object(json!({ "t": "1" })));
    })
    .await;
    assert_eq!(all.outcome, Outcome::Success, "{log}");
    let names = json!([
        "conn",
        "dag",
        "dag_run",
        "data_interval_end",
        "data_interval_start",
        "ds",
        "ds_nodash",
        "inlet_events",
        "inlets",
        "logical_date",
        "macros",
        "map_index_template",
        "mine",
        "outlet_events",
        "outlets",
        "params",
        "run_id",
        "task",
        "task_instance",
        "task_instance_key_str",
        "templates_dict",
        "ti",
        "triggering_asset_events",
        "ts",
        "ts_nodash",
        "ts_nodash_with_tz",
        "var"
    ]);
    assert_eq!(all.xcoms[0].1, json!([[1, "two"], names]));

    // What op_kwargs says wins over the context; what the callable has no parameter for is left out.
    let (report, log) = call("def f(ds, x=0): return [ds, x]", |spec, python| {
        spec.context = daily();
        python.op_kwargs = object(json!({ "ds": "mine", "y": 1 }));
    })
    .await;
    assert_eq!(report.xcoms[0].1, json!(["mine", 0]), "{log}");
    assert!(log.contains("left out: y"), "{log}");

    let (report, _) = call("def f(ds): return ds", |spec, python| {
        spec.context = daily();
        python.op_args = vec![json!("positional")];
    })
    .await;
    let reserved = "ValueError: The key 'ds' in args is a part of kwargs and therefore reserved.";
    assert_eq!(report.outcome.message(), reserved);

    // A run without a logical date has no `ds`.
    let (report, _) = plain("def f(ds): return ds").await;
    let message = report.outcome.message();
    assert_eq!(message, "TypeError: f() missing 1 required positional argument: 'ds'");

    // Decorated functions, partial ones and objects have signatures of their own.
    let wrapped = "
import functools
def decorate(g):
    @functools.wraps(g)
    def inner(*args, **kwargs):
        return g(*args, **kwargs)
    return inner
@decorate
def g(run_id): return run_id
class C:
    def __call__(self, ti, run_id): return [ti.run_id, run_id]
c = C()
partial = functools.partial(g, run_id='fixed')
def f(run_id): return [g(run_id)]
";
    for (name, expected) in [("g", json!("my_run")), ("c", json!(["my_run", "my_run"])), ("partial", json!("my_run"))] {
        let (report, log) = call(wrapped, |_, python| {
            let Callable::File { name: called, .. } = &mut python.callable else { unreachable!("it is a file") };
            name.clone_into(called);
        })
        .await;
        assert_eq!(report.xcoms.first().map(|(_, value)| value), Some(&expected), "{name}: {log}");
    }
}

/// Remembers what was asked; has one value, and an error for one key.
#[derive(Default)]
struct Store {
    asked: Mutex<Vec<(Vec<String>, String)>>,
}

impl Lookups for Store {
    async fn pull(&self, task_ids: Vec<String>, key: String) -> Result<Vec<Option<Value>>, LookupError> {
        self.asked.lock().expect("no panic").push((task_ids.clone(), key.clone()));
        match key.as_str() {
            "broken" => Err(LookupError("the table is gone".to_owned())),
            "hangs" => std::future::pending().await,
            _ => {
                let found = json!({ "rows": 3, "day": { "__type": "date", "__var": "2025-01-02" } });
                Ok(task_ids.iter().map(|id| (id == "up").then(|| found.clone())).collect())
            }
        }
    }
}

#[tokio::test]
async fn xcoms_are_pulled_when_asked_for_and_pushed_when_made() {
    let source = "
import datetime
def f(ti):
    assert ti.xcom_pull('up') == {'rows': 3, 'day': datetime.date(2025, 1, 2)}
    assert ti.xcom_pull(['down', 'up'], key='k')[0] is None
    assert ti.xcom_pull() is None
    assert ti.xcom_pull('down', default=1) is None
    assert ti.xcom_pull('down', default=1, map_indexes=-1) == 1
    assert ti.xcom_pull(()) == []
    ti.xcom_push('first', 1)
    ti.xcom_push('second', {'x': (1, 2)})
    ti.xcom_push(key='first', value='again')
    try:
        ti.xcom_pull('up', key='broken')
    except RuntimeError as error:
        return str(error)
";
    let directory = tempfile::tempdir().expect("a directory");
    let spec = python_file(directory.path(), source, "f");
    let (store, mut log) = (Store::default(), Vec::new());
    let report = run(&spec, &launcher(), &mut log, &store, Cancel::never()).await;
    assert_eq!(report.outcome, Outcome::Success, "{}", String::from_utf8_lossy(&log));
    let expected =
        [("second", json!({ "x": [1, 2] })), ("first", json!("again")), ("return_value", json!("the table is gone"))];
    assert_eq!(report.xcoms, expected.map(|(key, value)| (key.to_owned(), value)));
    let asked = store.asked.into_inner().expect("no panic");
    let asked: Vec<(Vec<&str>, &str)> =
        asked.iter().map(|(ids, key)| (ids.iter().map(String::as_str).collect(), key.as_str())).collect();
    let value = "return_value";
    assert_eq!(
        asked,
        [
            (vec!["up"], value),
            (vec!["down", "up"], "k"),
            (vec!["my_task"], value),
            (vec!["down"], value),
            (vec!["down"], value),
            (vec![], value),
            (vec!["up"], "broken"),
        ]
    );
}

#[tokio::test]
async fn what_was_pushed_before_a_failure_is_reported() {
    for end in ["raise ValueError('x')", "import os; os._exit(1)", "import time; time.sleep(1000)"] {
        let source = format!("def f(ti):\n    ti.xcom_push('so far', 7)\n    {end}\n");
        let (report, log) = call(&source, |spec, _| spec.execution_timeout = Some(Duration::from_secs(2))).await;
        assert_ne!(report.outcome, Outcome::Success, "{log}");
        assert_eq!(report.xcoms, [("so far".to_owned(), json!(7))], "{end}");
    }
}

#[tokio::test]
async fn a_timeout_ends_a_callable_whose_pull_is_not_answered() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut spec = python_file(directory.path(), "def f(ti): ti.xcom_pull('up', key='hangs')", "f");
    spec.execution_timeout = Some(Duration::from_millis(500));
    let report =
        tokio::time::timeout(BOUND, run(&spec, &launcher(), &mut Vec::new(), &Store::default(), Cancel::never()))
            .await
            .expect("the store does not hold the attempt");
    assert_eq!(report.outcome, Outcome::TimedOut { after: Duration::from_millis(500) });
}

#[tokio::test]
async fn multiple_outputs_are_xcoms_of_their_own() {
    let (report, _) = call("def f(): return {'a': 1, 'b': [2]}", |spec, _| spec.multiple_outputs = true).await;
    let expected = [("a", json!(1)), ("b", json!([2])), ("return_value", json!({ "a": 1, "b": [2] }))];
    assert_eq!(report.xcoms, expected.map(|(key, value)| (key.to_owned(), value)));
    let (report, log) = call("def f(): return [1]", |spec, _| spec.multiple_outputs = true).await;
    let message = "`multiple_outputs` needs a dictionary, but the task returned a list";
    assert_eq!(report.outcome.message(), message);
    assert!(log.trim_end().ends_with(message), "{log}");
}

/// Answers every pull with one value.
struct Echo(Value);

impl Lookups for Echo {
    async fn pull(&self, _task_ids: Vec<String>, _key: String) -> Result<Vec<Option<Value>>, LookupError> {
        Ok(vec![Some(self.0.clone())])
    }
}

#[tokio::test]
async fn values_that_json_lacks_are_tagged_and_come_back() {
    let source = "
import collections, datetime, decimal, enum, uuid
class Colour(str, enum.Enum):
    RED = 'red'
Point = collections.namedtuple('Point', 'x y')
utc = datetime.timezone.utc
VALUES = {
    'datetime': datetime.datetime(2025, 1, 2, 3, 4, 5, 6, utc), 'date': datetime.date(2025, 1, 2), 'time': datetime.time(1, 2),
    'timedelta': datetime.timedelta(days=1, seconds=1.5), 'decimal': decimal.Decimal('1.10'), 'set': {3, 1, 2}, 'frozenset': frozenset([(1, 2)]),
    'bytes': b'\\xff', 'uuid': uuid.UUID(int=1), 'big': 2 ** 70, 'inf': float('inf'), 'own': {'__type': 'mine'}, 'edge': [2 ** 64 - 1, -2 ** 63],
}
def f():
    return {**VALUES, 'tuple': (1, (2,)), 'colour': Colour.RED, 'point': Point(1, 2), 'key': {1: 'a', None: 'b'}}
";
    let expected = json!({
        "datetime": { "__type": "datetime", "__var": "2025-01-02T03:04:05.000006+00:00" },
        "date": { "__type": "date", "__var": "2025-01-02" },
        "time": { "__type": "time", "__var": "01:02:00" },
        "timedelta": { "__type": "timedelta", "__var": 86401.5 },
        "decimal": { "__type": "decimal", "__var": "1.10" },
        "set": { "__type": "set", "__var": [1, 2, 3] },
        "frozenset": { "__type": "frozenset", "__var": [[1, 2]] },
        "bytes": { "__type": "bytes", "__var": "/w==" },
        "uuid": { "__type": "uuid", "__var": "00000000-0000-0000-0000-000000000001" },
        "big": { "__type": "int", "__var": "1180591620717411303424" },
        "inf": { "__type": "float", "__var": "inf" },
        "own": { "__type": "dict", "__var": { "__type": "mine" } },
        "edge": [18_446_744_073_709_551_615_u64, -9_223_372_036_854_775_808_i64],
        "tuple": [1, [2]], "colour": "red", "point": [1, 2], "key": { "1": "a", "None": "b" }
    });
    assert_eq!(value(source).await, expected);

    let check = format!(
        "{source}\ndef g(ti):\n    back = ti.xcom_pull('x')\n    for k in VALUES: assert back[k] == VALUES[k], k\n"
    );
    let directory = tempfile::tempdir().expect("a directory");
    let spec = python_file(directory.path(), &check, "g");
    let mut log = Vec::new();
    let report = run(&spec, &launcher(), &mut log, &Echo(expected), Cancel::never()).await;
    assert_eq!(report.outcome, Outcome::Success, "{}", String::from_utf8_lossy(&log));
}

#[tokio::test]
async fn what_has_no_json_form_fails_with_its_type_and_path() {
    let cases = [
        ("object()", "the return value is a `object`, which has no form in JSON"),
        ("{'a': [0, {'b': open}]}", "the return value['a'][1]['b'] is a `builtin_function_or_method`"),
        ("[{(1, 2): 3}]", "the return value[0] has a key of type `tuple`"),
        ("'\\ud800'", "the return value is a `str` with a lone surrogate"),
        ("[0, L]", "the return value[1][0]"),
        ("'x' * 17_000_000", "the return value is 17000002 bytes long as JSON, and 16777216 is the most"),
    ];
    for (expression, message) in cases {
        let source = format!("L = []\nL.append(L)\ndef f():\n    return {expression}\n");
        let (report, log) = plain(&source).await;
        let Outcome::Failed { message: said, retryable: true } = &report.outcome else {
            panic!("{expression}: {:?}", report.outcome)
        };
        assert!(said.starts_with(message), "{expression}: {said}");
        assert!(log.contains(message) && !log.contains("Traceback"), "{log}");
    }
}

#[tokio::test]
async fn a_callable_that_is_not_there_is_named_with_what_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("etl.py");
    std::fs::write(&file, "import os\nLIMIT = 3\ndef extract(): pass\ndef load(): pass\n").expect("written");
    let run = async |callable: Callable| {
        let python = PythonCall { search_path: vec![directory.path().to_owned()], ..PythonCall::new(callable) };
        finish(&spec(OperatorCall::Python(python))).await.0.outcome.message()
    };
    let of = |path: &PathBuf, name: &str| Callable::File { path: path.clone(), name: name.to_owned() };
    let shown = file.display();
    let folder = directory.path().display();
    let has = "it has the functions `extract`, `load`";
    let cases = [
        (of(&file, "extrct"), format!("no function `extrct` in `{shown}`; did you mean `extract`?; {has}")),
        (of(&file, "zzz"), format!("no function `zzz` in `{shown}`; {has}")),
        (of(&file, "LIMIT"), format!("`LIMIT` in `{shown}` is a `int`, which cannot be called")),
        (
            of(&directory.path().join("elt.py"), "f"),
            format!("no file `{folder}/elt.py`; did you mean `etl.py`?; it has the Python files `etl.py`"),
        ),
        (
            Callable::Import("etl.lod".to_owned()),
            format!("no function `lod` in `{shown}`; did you mean `load`?; {has}"),
        ),
        (Callable::Import("elt.load".to_owned()), format!("no module `elt` in `{folder}`; did you mean `etl`?")),
        (
            Callable::Import("load".to_owned()),
            "the callable must be written as `module.function`, not `load`".to_owned(),
        ),
    ];
    for (callable, expected) in cases {
        assert_eq!(run(callable.clone()).await, expected, "{callable:?}");
    }
    assert_eq!(run(Callable::Import("etl.load".to_owned())).await, "success");
    assert_eq!(run(Callable::Import("os.path.basename".to_owned())).await.get(..9), Some("TypeError"));
}

#[tokio::test]
async fn a_missing_interpreter_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let spec = python_file(directory.path(), "def f(): pass", "f");
    let run = async |python: &str| {
        let launcher = launcher().with_python(python);
        run(&spec, &launcher, &mut Vec::new(), &NoLookups, Cancel::never()).await.outcome
    };
    let absent = run("no-such-python").await.message();
    assert!(absent.starts_with("`no-such-python` was not found, and this task is a Python callable"), "{absent}");
    assert!(absent.ends_with("or name another interpreter in `UPDRAFT_PYTHON`"), "{absent}");
    let broken = run("false").await.message();
    assert!(broken.starts_with("`false` does not work (exit status: 1)"), "{broken}");
}

#[tokio::test]
async fn logging_prints_and_the_interpreter_are_as_a_dag_author_expects() {
    let source = "
import subprocess, sys
def f(ti):
    import logging
    logging.getLogger('mine').info('told')
    ti.log.info('by ti')
    subprocess.run([sys.executable, '-c', 'print(input() if False else 42)'], check=True)
    return [sys.stdin.read(), __name__, sys.argv, 'shim' in sys.executable]
";
    let (report, log) = plain(source).await;
    assert_eq!(report.xcoms.first().map(|(_, value)| value), Some(&json!(["", "callables", ["-c"], false])), "{log}");
    assert_eq!(body(&log), "{mine} INFO: told\n{airflow.task} INFO: by ti\n42\n");
}

#[tokio::test]
async fn forked_children_and_threads_do_not_disturb_the_result() {
    let forked = "
import os
def f(ti):
    if os.fork() == 0:
        return 'child'
    os.wait()
    return 'parent'
";
    let (report, log) = plain(forked).await;
    assert_eq!((report.xcoms.first().map(|(_, value)| value), body(&log).as_str()), (Some(&json!("parent")), ""));
    let thread = "
import threading, time
def f():
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return 'main'
";
    assert_eq!(value(thread).await, json!("main"));
    let exit = "
import atexit
def f():
    atexit.register(lambda: print('bye'))
    return 1
";
    let (report, log) = plain(exit).await;
    assert_eq!((report.outcome, body(&log).as_str()), (Outcome::Success, "bye\n"));
}

#[tokio::test]
async fn the_current_context_and_absent_parts_of_airflow() {
    let source = "
from airflow.sdk import get_current_context
def f():
    return get_current_context()['run_id']
";
    assert_eq!(value(source).await, json!("my_run"));
    let (report, _) = plain("from airflow import DAG\ndef f(): pass\n").await;
    let message = report.outcome.message();
    assert!(message.contains("of `airflow` Updraft does not provide `DAG`"), "{message}");
    assert_eq!(
        value("from airflow import exceptions\ndef f(): return exceptions.AirflowException.__name__").await,
        json!("AirflowException")
    );
}
