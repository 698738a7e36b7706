//! What a caller relies on: the text, the errors, the limits, and what must be fetched first.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::error::NEED_LOGICAL_DATE;
use crate::{Context, ErrorKind, Options, Renderer, TemplateError, Undefined, XComNeeds, XComs};

const SECRET: &str = "hunter2";
const PIN: i64 = 271_828;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn context() -> Context {
    Context {
        dag_id: "etl".to_owned(),
        task_id: "load".to_owned(),
        run_id: "scheduled__2025-01-02T00:00:00+00:00".to_owned(),
        run_type: "scheduled".to_owned(),
        logical_date: Some(at("2025-01-02T00:00:00Z")),
        data_interval: Some((at("2025-01-02T00:00:00Z"), at("2025-01-03T00:00:00Z"))),
        params: json!({"n": 5, "token": SECRET, "pin": PIN, "list": [1, "a", null, true, 1.5], "empty": {}}),
        conf: json!({"token": SECRET}),
        now: at("2025-06-15T12:34:56Z"),
        ..Context::default()
    }
}

fn render_in(template: &str, context: &Context, options: Options) -> Result<String, TemplateError> {
    let mut xcoms = XComs::new();
    xcoms.insert("extract", "return_value", -1, json!({"rows": 7, "token": SECRET}));
    let rendered = Renderer::new().render(&json!(template), context, &xcoms, &options)?;
    Ok(rendered.as_str().expect("a string stays a string").to_owned())
}

fn render(template: &str) -> Result<String, TemplateError> {
    render_in(template, &context(), Options::default())
}

#[test]
fn prints_as_python_prints() {
    let cases = [
        ("{{ params.list }}", "[1, 'a', None, True, 1.5]"),
        ("{{ params.empty }} {{ (1,) }} {{ {'a': none} }}", "{} (1,) {'a': None}"),
        ("{{ 1e16 }} {{ 1e15 }} {{ 0.00001 }} {{ -0.0 }}", "1e+16 1000000000000000.0 1e-05 -0.0"),
        ("{{ [\"it's\", 'say \"x\"', 'a\\nb'] }}", "[\"it's\", 'say \"x\"', 'a\\nb']"),
        ("{{ 7 // -2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }}", "-4 2 3.5 1024"),
        ("{{ '%05.1f|%-4s|%s' % (2.25, 'a', none) }}", "002.2|a   |None"),
        ("{{ 'ab' * 3 }} {{ [0] * 2 + [1] }}", "ababab [0, 0, 1]"),
        ("{{ dag_run.run_type }} {{ dag_run.run_type == 'scheduled' }}", "DagRunType.SCHEDULED True"),
        ("{{ 'x'.zfill(3) }} {{ '-7'.zfill(3) }} {{ 'a'.ljust(3, '.') }}", "00x -07 a.."),
        ("{{ none ~ true ~ [1] }}", "NoneTrue[1]"),
        (
            "{{ 'aXaX'.replace('X', '-') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ 'ab'.replace('', '.') }}",
            "a-a- bba .a.b.",
        ),
        ("{{ 'aa'.replace('a', 'b', 0) }} {{ 'aa'.replace('a', 'b', -1) }} {{ '-'.join(['a', 'b']) }}", "aa bb a-b"),
    ];
    for (template, expected) in cases {
        assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn computes_with_dates() {
    let cases = [
        ("{{ ds }} {{ ds_nodash }} {{ ts_nodash_with_tz }}", "2025-01-02 20250102 20250102T000000+0000"),
        ("{{ (logical_date - macros.timedelta(days=1)) | ds }}", "2025-01-01"),
        ("{{ macros.timedelta(days=1) + logical_date }}", "2025-01-03 00:00:00+00:00"),
        ("{{ (data_interval_end - data_interval_start).total_seconds() / 3600 }}", "24.0"),
        ("{{ macros.timedelta(hours=36) * 2 }} {{ -macros.timedelta(seconds=1) }}", "3 days, 0:00:00 -1 day, 23:59:59"),
        ("{{ logical_date.replace(month=2, day=28) | ds }}", "2025-02-28"),
        ("{{ logical_date.add(months=1, days=29) | ds }}", "2025-03-03"),
        // The clocks of Paris go forward on 30 March 2025: a day is not 24 hours there.
        (
            "{{ macros.datetime(2025, 3, 29, 12, tzinfo='Europe/Paris') + macros.timedelta(days=1) }}",
            "2025-03-30 13:00:00+02:00",
        ),
        (
            "{{ macros.datetime(2024, 1, 31) + macros.dateutil.relativedelta.relativedelta(months=1) }}",
            "2024-02-29 00:00:00",
        ),
        ("{{ macros.datetime.utcnow() }} {{ macros.time.time() }}", "2025-06-15 12:34:56 1749990896.0"),
        ("{{ logical_date.strftime('%-d.%-m.%Y') }}", "2.1.2025"),
        ("{{ macros.datetime(9999, 12, 31) | ds }}", "9999-12-31"),
    ];
    for (template, expected) in cases {
        assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
    }
    assert_eq!(kind_of("{{ macros.datetime(9999, 12, 31) + macros.timedelta(days=1) }}"), ErrorKind::Evaluation);
    assert_eq!(kind_of("{{ logical_date - macros.datetime(2025, 1, 1) }}"), ErrorKind::Evaluation);
}

fn kind_of(template: &str) -> ErrorKind {
    render(template).expect_err(template).kind
}

#[test]
fn without_a_logical_date_its_names_are_undefined_and_the_error_says_why() {
    let context = Context { logical_date: None, data_interval: None, ..context() };
    for name in NEED_LOGICAL_DATE {
        let error = render_in(&format!("{{{{ {name} }}}}"), &context, Options::default()).expect_err(name);
        assert_eq!(error.kind, ErrorKind::Undefined, "{name}");
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("no logical date")), "{name}: {error:?}");
    }
    let key = render_in("{{ task_instance_key_str }}", &context, Options::default());
    assert_eq!(key.as_deref(), Ok("etl__load__scheduled__2025-01-02T00:00:00+00:00"));
}

#[test]
fn an_error_names_the_field_the_line_and_a_cure() {
    let fields = json!({"env": {"A": "fine", "B": ["{{ ds }}", "line 1\n{{ dss }}"]}});
    let error = Renderer::new().render(&fields, &context(), &XComs::new(), &Options::default()).expect_err("undefined");
    assert_eq!(error.to_string(), "field `env.B[1]`, line 2: `dss` is undefined");
    assert_eq!(error.hint.as_deref(), Some("did you mean `ds`?"));
    let hints = [
        ("{{ execution_date }}", "`execution_date` is gone since Airflow 3; use `logical_date`"),
        ("{{ parms.n }}", "did you mean `params`?"),
        ("{{ params.missing }}", "give a fallback: `params.missing | default(...)`"),
        ("{{ dag_run.conf['missing'] }}", "give a fallback: `dag_run.conf['missing'] | default(...)`"),
    ];
    for (template, hint) in hints {
        let error = render(template).expect_err(template);
        assert_eq!((error.kind, error.hint.as_deref()), (ErrorKind::Undefined, Some(hint)), "{template}: {error}");
    }
}

#[test]
fn errors_never_show_values() {
    let failing = [
        "{{ params.token + 1 }}",
        // The engine's own arithmetic, in its filters, quotes the numbers.
        "{{ [params.pin, 340282366920938463463374607431768211455] | sum }}",
        "{{ params.token / 2 }}",
        "{{ -params.token }}",
        "{{ params.token < 1 }}",
        "{{ params.token | ds }}",
        "{{ params.token.nope() }}",
        "{{ params.token | tojson | fromjson }}",
        "{{ macros.ds_add(params.token, 1) }}",
        "{{ macros.ds_format(params.token, '%Y', '%Y') }}",
        "{{ macros.json.loads(params.token) }}",
        "{{ macros.datetime.fromisoformat(params.token) }}",
        "{{ logical_date.in_timezone(params.token) }}",
        "{{ logical_date.start_of(params.token) }}",
        "{{ '%d' % params.token }}",
        "{{ '{:d}'.format(params.token) }}",
        "{{ params.token | round }}",
        "{{ params.token | abs }}",
        "{{ params.token() }}",
        "{{ params.list | sum }}",
        "{{ params[params.token] }}",
        "{{ [1][params.token] }}",
        "{{ params | max | sum }}",
        "{{ ti.xcom_pull(task_ids='extract').token.x }}",
        "{{ ti.xcom_pull(task_ids='extract') | int + params.token }}",
        "{{ params.token | batch('x') }}",
        "{% for a, b in [params.token] %}{% endfor %}",
        "{% include params.token %}",
        "{{ dict(params.token) }}",
        "{{ range(params.token) }}",
        "{{ namespace(params.token) }}",
        "{{ params.list | join(params.token) | nope }}",
    ];
    for template in failing {
        let error = render(template).expect_err(template);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(SECRET) && !shown.contains(&PIN.to_string()), "{template}: {shown}");
    }
}

#[test]
fn undefined_modes_differ_as_in_jinja2() {
    let modes = [Undefined::Strict, Undefined::Default, Undefined::Debug, Undefined::Chainable];
    let table = [
        ("{{ nope }}", [None, Some(""), Some("{{ nope }}"), Some("")]),
        ("{{ nope.x }}", [None, None, None, Some("")]),
        ("{% if nope %}a{% else %}b{% endif %}", [None, Some("b"), Some("b"), Some("b")]),
        ("{{ nope + 1 }}", [None; 4]),
        ("{{ nope is defined }}", [Some("False"); 4]),
        ("{{ nope | default('x') }}", [Some("x"); 4]),
        ("{{ params.nope }}", [None, Some(""), Some("{{ no such element: dict object['nope'] }}"), Some("")]),
    ];
    for (template, expected) in table {
        for (undefined, expected) in modes.into_iter().zip(expected) {
            let rendered = render_in(template, &context(), Options { undefined, ..Options::default() });
            match expected {
                Some(expected) => assert_eq!(rendered.as_deref(), Ok(expected), "{template} {undefined:?}"),
                None => {
                    assert_eq!(rendered.expect_err(template).kind, ErrorKind::Undefined, "{template} {undefined:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_there_yet_says_so() {
    for (template, what) in [
        ("{{ macros.yaml.safe_load('a: 1') }}", "macros.yaml"),
        ("{{ ti.xcom_pull(task_ids='extract', dag_id='other') }}", "another DAG"),
    ] {
        for undefined in [Undefined::Strict, Undefined::Default, Undefined::Chainable] {
            let error =
                render_in(template, &context(), Options { undefined, ..Options::default() }).expect_err(template);
            assert_eq!(error.kind, ErrorKind::Unsupported, "{template}: {error}");
            assert!(error.message.contains(what), "{template}: {error}");
        }
    }
}

#[test]
fn assets_and_their_events_are_shown() {
    let asset = |name: &str| json!({"kind": "asset", "name": name, "uri": name, "group": "asset", "extra": {}});
    let event = |name: &str, rows: u32, aliases: &[&str]| {
        json!({"asset": asset(name), "extra": {"rows": rows}, "timestamp": "2025-01-02T03:04:05+00:00", "aliases": aliases,
               "source_dag_id": "p", "source_task_id": "t", "source_run_id": "r", "source_map_index": -1,
               "source_dag_run": {"dag_id": "p", "run_id": "r", "run_type": "manual", "state": "success",
                                  "data_interval_start": "2025-01-01T00:00:00+00:00"}})
    };
    let context = Context {
        outlets: vec![asset("s3://o"), json!({"kind": "alias", "name": "l", "group": "asset"})],
        triggering_asset_events: vec![event("s3://a", 1, &[]), event("s3://b", 2, &["l"]), event("s3://a", 3, &[])],
        ..context()
    };
    for (template, expected) in [
        ("{{ outlets[0].uri }} {{ outlets[1] }} {{ inlets }}", "s3://o AssetAlias(name='l', group='asset') []"),
        (
            "{{ (triggering_asset_events.values() | first | first).source_dag_run.data_interval_start | ds }}",
            "2025-01-01",
        ),
        (
            "{% for asset, events in triggering_asset_events.items() %}{{ asset.name }}={{ events | map(attribute='extra.rows') | join('+') }} {% endfor %}",
            "s3://a=1+3 s3://b=2 l=2 ",
        ),
        ("{{ triggering_asset_events['s3://b'][0].timestamp | ts }}", "2025-01-02T03:04:05+00:00"),
        ("{{ triggering_asset_events['nothing'] }}", "[]"),
        ("{% for asset in triggering_asset_events %}{{ asset.name }} {% endfor %}", "s3://a s3://b l "),
    ] {
        assert_eq!(render_in(template, &context, Options::default()).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn a_template_that_does_too_much_is_stopped() {
    let doubling = format!("{{% set a = 'aaaaaaaaaaaaaaaa' %}}{}{{{{ a }}}}", "{% set a = a ~ a %}".repeat(60));
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
    let cases = [
        "{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}",
        "{{ 'a' * 1000000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ range(1000000000) | list }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '%s' | format('x' * 100000000) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 1000000000) }}",
        "{{ '{:>{w}}'.format(1, w=1000000000) }}",
        "{{ 'x' | center(1000000000) }}",
        "{{ 'x'.zfill(1000000000) }}",
        "{{ {'a': 1} | tojson(indent=1000000000) }}",
        "{{ macros.json.dumps([1], indent=1000000000) }}",
        "{{ ('a' * 1000000).replace('a', 'b' * 100000) }}",
        "{{ ('a' * 1000000) | replace('a', 'b' * 100000) }}",
        "{{ ('b' * 1000000).join(range(100000)) }}",
        "{{ range(100000) | join('b' * 1000000) }}",
        "{{ ('a ' * 100000) | wordwrap(1, wrapstring='b' * 1000000) }}",
        "{{ ('a\n' * 100000) | indent(100000) }}",
        "{{ ([1] * 100000) | tojson(indent=10000) }}",
        "{{ macros.json.dumps([1] * 100000, indent=10000) }}",
        "{{ [1] | batch(1000000000, 0) | list }}",
        "{{ [1] | slice(1000000000) | list }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% set a = 'aaaaaaaaaaaaaaaa' * 60000 %}{% for i in range(12) %}{{ a }}{% endfor %}",
        // Reading costs as well as making.
        "{% set a = [0] * 100000 %}{% set b = [0] * 100000 %}{% for i in range(100000) %}{{ 1 if a == b }}{% endfor %}",
        "{% set a = 'a' * 5000000 %}{% set b = 'a' * 5000000 %}{% for i in range(100000) %}{{ 1 if a < b }}{% endfor %}",
        "{% set a = [0] * 100000 %}{% for i in range(100000) %}{{ a | wordcount }}{% endfor %}",
        "{% set a = '[' ~ '[],' * 100000 ~ '[]]' %}{% for i in range(100000) %}{{ macros.json.loads(a)[0] }}{% endfor %}",
        &doubling,
        &deep,
    ];
    for template in cases {
        let error = render(template).expect_err(template);
        assert_eq!(error.kind, ErrorKind::Limit, "{template:.80}: {error}");
    }
}

#[test]
fn a_long_chain_does_not_overflow_the_stack() {
    let links = [
        " + 1",
        " ~ 1",
        ".a",
        "|string",
        "[0]",
        "(0)",
        " and 1",
        " if 1 else 1",
        " is odd",
        " < 1",
        "**1",
        "-+1",
        " not in 1",
    ];
    for link in links {
        // The longest that may pass, and far more.
        for count in [150, 100_000] {
            let template = format!("{{{{ 1{} }}}}", link.repeat(count));
            // Any answer will do; a crash is none.
            let _ = render(&template);
            let _ = Renderer::new().check(&template);
            let _ = Renderer::new().xcom_needs(&json!(template), "load");
        }
    }
    let branches = |count| format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(count));
    assert_eq!(render(&branches(150)).as_deref(), Ok(""));
    assert_eq!(kind_of(&branches(100_000)), ErrorKind::Limit);
    for nested in ["not ", "-", "(", "[", "{1:", "1 if ", "f("] {
        let _ = render(&format!("{{{{ {} }}}}", nested.repeat(100_000)));
        let _ = render(&format!("{{{{ {}1 }}}}", nested.repeat(140)));
    }
    for block in
        ["{% if 1 %}", "{% for a in b %}", "{% filter upper %}", "{% macro m() %}", "{% raw %}", "{#", "{% with %}"]
    {
        // One to a line: past column 65,535 the lexer's own arithmetic overflows, which only a debug build notices.
        let _ = render(&format!("{block}\n").repeat(20_000));
    }
    let table = format!("{{{{ [{}] | length }}}}", "[1, ds, {'a': params.n + 1}],".repeat(1000));
    assert_eq!(render(&table).as_deref(), Ok("1000"), "a wide expression is no deep one");
}

#[test]
fn double_underscores_are_refused() {
    for template in ["{{ ''.__class__ }}", "{{ ''.__class__.__mro__ }}", "{{ ti.__init__ }}", "{{ params.__len__() }}"]
    {
        assert_eq!(kind_of(template), ErrorKind::Security, "{template}");
    }
}

#[test]
fn check_finds_what_cannot_be_rendered() {
    let renderer = Renderer::new();
    for good in ["", "plain {", "{{ ds }}", "{{ nope }}", "{% if x is defined %}{{ x | upper }}{% endif %}"] {
        assert_eq!(renderer.check(good), Ok(()), "{good}");
    }
    for (bad, line) in
        [("\n{{ ds", 2), ("{% nope %}", 1), ("{{ 'a' |\nnope }}", 2), ("{{ 1 is nope }}", 1), ("{% endfor %}", 1)]
    {
        let error = renderer.check(bad).expect_err(bad);
        assert_eq!((error.kind, error.line), (ErrorKind::Syntax, Some(line)), "{bad}: {error}");
    }
}

fn needs(pulls: &[(&str, &str)], dynamic: bool) -> XComNeeds {
    XComNeeds { pulls: pulls.iter().map(|(task, key)| ((*task).to_owned(), (*key).to_owned())).collect(), dynamic }
}

#[test]
fn finds_the_xcoms_that_templates_pull() {
    let cases = [
        ("{{ ds }} {{ ti.try_number }}", needs(&[], false)),
        ("{{ ti.xcom_pull(task_ids='a') }}", needs(&[("a", "return_value")], false)),
        ("{{ task_instance.xcom_pull('a', key='k')['x'] }}", needs(&[("a", "k")], false)),
        ("{{ ti.xcom_pull(['a', 'b']) }}", needs(&[("a", "return_value"), ("b", "return_value")], false)),
        ("{{ ti.xcom_pull(key='k') }}", needs(&[("load", "k")], false)),
        (
            "{% if x %}{% for r in ti.xcom_pull('a') %}{{ r }}{% endfor %}{% endif %}",
            needs(&[("a", "return_value")], false),
        ),
        ("{{ ti.xcom_pull(params.which) }}", needs(&[], true)),
        ("{{ ti.xcom_pull('a', key=params.k) }}", needs(&[], true)),
        ("{% set t = ti %}{{ t.xcom_pull('a') }}", needs(&[], true)),
        ("{{ ti.xcom_pull(ti.xcom_pull('a')) }}", needs(&[("a", "return_value")], true)),
        ("{{ ti.xcom_pull(*params.args) }}", needs(&[], true)),
        ("{% set pull = ti.xcom_pull %}{{ pull('a') }}", needs(&[], true)),
    ];
    for (template, expected) in cases {
        let fields = json!({"x": ["no template", {"y": template}]});
        assert_eq!(Renderer::new().xcom_needs(&fields, "load"), Ok(expected), "{template}");
    }
}

#[test]
fn what_was_not_fetched_is_an_error_and_what_was_looked_for_in_vain_is_none() {
    let pull = |xcoms: &XComs| {
        Renderer::new().render(&json!("{{ ti.xcom_pull(task_ids='a') }}"), &context(), xcoms, &Options::default())
    };
    let mut xcoms = XComs::new();
    assert_eq!(pull(&xcoms).expect_err("nothing was fetched").kind, ErrorKind::XComNotFetched);
    xcoms.mark_fetched("a", "another");
    assert_eq!(pull(&xcoms).expect_err("another key was fetched").kind, ErrorKind::XComNotFetched);
    let mut complete = xcoms.clone();
    complete.mark_complete("a");
    assert_eq!(pull(&complete), Ok(json!("None")));
    xcoms.mark_fetched("a", "return_value");
    assert_eq!(pull(&xcoms), Ok(json!("None")));
    xcoms.insert("a", "return_value", 0, json!(1));
    xcoms.insert("a", "return_value", 1, json!([2]));
    assert_eq!(pull(&xcoms), Ok(json!("[1, [2]]")));
}

#[test]
fn only_strings_in_values_are_rendered() {
    let fields = json!({"{{ ds }}": ["{{ params.n }}", 1, 2.5, null, true, {"a": "{{ ds }}"}]});
    let rendered = Renderer::new().render(&fields, &context(), &XComs::new(), &Options::default());
    assert_eq!(rendered, Ok(json!({"{{ ds }}": ["5", 1, 2.5, null, true, {"a": "2025-01-02"}]})));
}

#[test]
fn a_rendered_value_is_not_rendered_again() {
    let context = Context { params: json!({"t": "{{ ds }}"}), ..context() };
    assert_eq!(render_in("{{ params.t }}", &context, Options::default()).as_deref(), Ok("{{ ds }}"));
}

#[test]
fn ends_of_lines_are_jinja2s() {
    for (template, expected) in
        [("a\n", "a"), ("a\n\n", "a\n"), ("a\r\nb", "a\nb"), ("{{ 1 }}\n", "1"), ("{{ 1 }}\r\n\r\n", "1\n")]
    {
        assert_eq!(render(template).as_deref(), Ok(expected), "{template:?}");
    }
}

#[test]
fn a_renderer_can_be_shared() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Renderer>();
    shared::<XComs>();
    shared::<Context>();
}

proptest! {
    #[test]
    fn text_without_delimiters_stays_as_it_is(text in "[^{\r]*", tail in "[^{\r\n]") {
        let text = format!("{text}{tail}");
        prop_assert_eq!(render(&text), Ok(text));
    }

    #[test]
    fn no_text_makes_it_panic(text in "(\\{\\{|\\}\\}|\\{%|%\\}|ds|ti|params|'|\\(|\\)|\\[|\\]|\\.|\\||\\+|-|~|%|\\*|/|1|,| |for|in|if|é|\n){0,24}") {
        let renderer = Renderer::new();
        let checked = renderer.check(&text);
        let rendered = renderer.render(&Json::String(text), &context(), &XComs::new(), &Options::default());
        // What does not pass the check does not render either.
        prop_assert!(checked.is_ok() || rendered.is_err());
    }
}

fn render_with(template: &str, context: &Context, options: &Options) -> Result<crate::Native, TemplateError> {
    Renderer::new().render_field(&json!(template), context, &XComs::new(), options)
}

#[test]
fn what_a_template_builds_can_be_walked_and_freed() {
    let loops = "{% set ns = namespace(a=1) %}{% for i in range(30000) %}";
    for template in [
        "{% set ns.a = [ns.a] %}{% endfor %}ok",
        "{% set ns.a = (ns.a,) %}{% endfor %}ok",
        "{% set ns.a = {'a': ns.a} %}{% endfor %}ok",
        "{% set ns.a = dict(a=ns.a) %}{% endfor %}ok",
        "{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}",
        "{% set ns.a = ns %}{% endfor %}{{ ns.a }}",
        "{% set ns.a = [ns.a] %}{% if i == 50 %}{{ ns.a }}{% do ns.a.append(ns.a) %}{% endif %}{% endfor %}",
    ] {
        for native in [false, true] {
            let options = Options { native, ..Options::default() };
            let error = render_with(&format!("{loops}{template}"), &context(), &options).expect_err(template);
            assert_eq!(error.kind, ErrorKind::Limit, "{template}: {error}");
        }
    }
    // A list that is inside another one cannot grow at its end.
    let chain = "{% set ns = namespace(end=[]) %}{% set root = [ns.end] %}{% for i in range(9000) %}{% set new = [] %}\
                 {% do ns.end.append(new) %}{% set ns.end = new %}{% endfor %}";
    assert_eq!(render_with(chain, &context(), &Options::default()).expect_err("a chain").kind, ErrorKind::Evaluation);
}

#[test]
fn native_dates_stay_dates_for_a_callable() {
    let native = |tagged| Options { native: true, tagged, ..Options::default() };
    let render = |template: &str, tagged| {
        Renderer::new()
            .render(&json!({"f": template}), &context(), &XComs::new(), &native(tagged))
            .expect("it is right")["f"]
            .clone()
    };
    let instant = "2025-01-02 00:00:00+00:00";
    let tag = json!({"__type": "datetime", "__var": instant});
    assert_eq!(render("{{ logical_date }}", true), tag);
    assert_eq!(render("{{ [logical_date, {'a': logical_date}] }}", true), json!([tag, {"a": tag}]));
    assert_eq!(render("{{ logical_date.date() }}", true), json!({"__type": "date", "__var": "2025-01-02"}));
    assert_eq!(render("{{ logical_date }}", false), json!(instant));
    assert_eq!(render("{{ logical_date }} ", true), json!(format!("{instant} ")), "joined with others it is a text");
}

#[test]
fn lists_change_in_place_and_native_blocks_are_read_as_literals() {
    let text = |template: &str| render_with(template, &context(), &Options::default()).map(crate::Native::into_json);
    assert_eq!(
        text("{% set l = [3] %}{% do l.append(1) %}{% do l.extend([2]) %}{% do l.insert(0, 9) %}{{ l.pop() }}{{ l }}"),
        Ok(json!("2[9, 3, 1]"))
    );
    let native = Options { native: true, ..Options::default() };
    for (template, expected) in [
        ("{% set x %}5{% endset %}{{ x + 1 }}", json!(6)),
        ("{% filter upper %}a{% endfilter %}", json!("A")),
        ("{% macro m() %}[1]{% endmacro %}{{ m() }}", json!([1])),
        ("{% if false %}x{% endif %}", json!(null)),
        ("{{ {'a': (1, 2)} }}", json!({"a": [1, 2]})),
        ("{{ 170141183460469231731687303715884105728 }}", json!("170141183460469231731687303715884105728")),
    ] {
        let rendered = render_with(template, &context(), &native);
        assert_eq!(rendered.map(crate::Native::into_json), Ok(expected), "{template}");
    }
    let fields = json!({"empty": "", "nested": ["", "{{ [1] }}"]});
    let rendered = Renderer::new().render(&fields, &context(), &XComs::new(), &native);
    assert_eq!(rendered, Ok(json!({"empty": "", "nested": [null, [1]]})));
}

#[test]
fn stored_values_are_named_before_and_wanted_while_rendering() {
    let renderer = Renderer::new();
    let fields = json!([
        "{{ var.value.a }} {{ var.json['b'].x }} {{ var.value.get('c', 1) }}",
        "{{ conn.d.host }}{{ conn.get('e') }}"
    ]);
    let needs = renderer.needs(&fields, "t", &crate::Syntax::default()).unwrap();
    assert_eq!(needs.variables.into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(needs.connections.into_iter().collect::<Vec<_>>(), ["d", "e"]);

    let mut context = context();
    let template = "{% set name = 'pass' ~ 'word' %}{{ var.value[name] }}";
    let error = render_with(template, &context, &Options::default()).expect_err("not fetched");
    assert_eq!(error.wanted, Some(crate::Wanted::Variable("password".to_owned())));
    context.stored.note_variable("password", Some("correct horse".to_owned()));
    assert_eq!(
        render_with(template, &context, &Options::default()),
        Ok(crate::Native::Text("correct horse".to_owned()))
    );
    assert!(!format!("{context:?}").contains("correct horse"));
    context.stored.note_variable("nope", None);
    let error = render_with("{{ var.value.nope }}", &context, &Options::default()).expect_err("missing");
    assert_eq!(error.kind, ErrorKind::Missing);
    // A text that is not JSON is not shown.
    let error = render_with("{{ var.json.password }}", &context, &Options::default()).expect_err("no JSON");
    assert!(!error.to_string().contains("correct horse"), "{error}");
}

#[test]
fn what_is_drawn_follows_from_the_try() {
    let draw = |context: &Context| {
        render_in(
            "{{ macros.uuid.uuid4() }} {{ macros.random() }} {{ range(99) | random }}",
            context,
            Options::default(),
        )
    };
    let mut other = context();
    other.try_number += 1;
    assert_eq!(draw(&context()), draw(&context()));
    assert_ne!(draw(&context()), draw(&other));
}

#[test]
fn the_syntax_is_what_the_dag_says() {
    let syntax = |kwargs: Json| crate::Syntax::from_kwargs(kwargs.as_object().unwrap());
    for (kwargs, template, expected) in [
        (
            json!({"extensions": ["jinja2.ext.loopcontrols"]}),
            "{% for x in [1, 2] %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
            "2",
        ),
        (json!({"line_statement_prefix": "%%"}), "%% for x in [1, 2]\n{{ x }}\n%% endfor", "1\n2\n"),
        (json!({"keep_trailing_newline": true}), "x\n", "x\n"),
        (json!({"autoescape": true}), "{{ '<' }}{{ '<' | safe }}", "&lt;<"),
        (json!({"variable_start_string": "<<", "variable_end_string": ">>"}), "<< 1 >> {{ 1 }}", "1 {{ 1 }}"),
    ] {
        let options = Options { syntax: syntax(kwargs).unwrap(), ..Options::default() };
        assert_eq!(
            render_with(template, &context(), &options),
            Ok(crate::Native::Text(expected.to_owned())),
            "{template}"
        );
    }
    for kwargs in [
        json!({"trim_blocks": 1}),
        json!({"extensions": ["jinja2.ext.i18n"]}),
        json!({"finalize": "x"}),
        json!({"variable_start_string": ""}),
        json!({"variable_start_string": "{%"}),
    ] {
        assert!(syntax(kwargs.clone()).is_err(), "{kwargs}");
    }
}
