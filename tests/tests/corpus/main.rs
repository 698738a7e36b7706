//! DAG files that other people wrote, loaded and compared with what dag-factory on Airflow makes of them.
//!
//! The files are not ours to keep: they lie beside the repository, in `../shared/corpus`, or where `UPDRAFT_CORPUS_DIR`
//! says. Each folder there is a case: `dag.yaml`, `provenance.json` (its `kind`), `expected.json`, and where an older form
//! had to be migrated first `expected_lenient.json`, which then counts. Without the folder this says so and passes, unless
//! `UPDRAFT_REQUIRE_CORPUS=1`.

#[cfg(test)]
mod compare;
#[cfg(test)]
mod known;
#[cfg(test)]
mod values;

#[cfg(test)]
mod cases {
    use super::{compare, known};
    use serde_json::Value;
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};
    use updraft_dag_file::{LoadOptions, Loaded, load, read_document};

    /// Of all scored cases, so many may differ on purpose.
    const DIVERGENT_PERCENT_MAX: usize = 10;

    /// How many failures are shown.
    const FAILURES_SHOWN_MAX: usize = 60;

    /// One folder of the corpus.
    struct Case {
        id: String,
        kind: String,
        text: Vec<u8>,
        expected: Option<Value>,
        oracle: Value,
    }

    fn folder() -> Option<PathBuf> {
        let chosen = std::env::var_os("UPDRAFT_CORPUS_DIR").map(PathBuf::from);
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
        let folder = chosen.unwrap_or(beside);
        if folder.is_dir() {
            return Some(folder);
        }
        let required = std::env::var("UPDRAFT_REQUIRE_CORPUS").is_ok_and(|v| v == "1");
        assert!(!required, "no corpus in {}, but UPDRAFT_REQUIRE_CORPUS=1", folder.display());
        println!("no corpus in {}: nothing was compared", folder.display());
        None
    }

    fn json(path: &Path) -> Option<Value> {
        let text = std::fs::read(path).ok()?;
        Some(serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{} is no JSON: {e}", path.display())))
    }

    fn cases(folder: &Path) -> Vec<Case> {
        let entries = std::fs::read_dir(folder).expect("the corpus can be listed");
        let mut folders: Vec<PathBuf> = entries.map(|e| e.expect("an entry can be read").path()).collect();
        folders.sort();
        let read = |path: PathBuf| {
            let text = std::fs::read(path.join("dag.yaml")).ok()?;
            let provenance = json(&path.join("provenance.json"))?;
            let strict = json(&path.join("expected.json"));
            let oracle = strict.as_ref().map_or(Value::Null, |e| e["oracle"].clone());
            Some(Case {
                id: path.file_name()?.to_string_lossy().into_owned(),
                kind: provenance["kind"].as_str().unwrap_or_default().to_owned(),
                text,
                expected: json(&path.join("expected_lenient.json")).or(strict),
                oracle,
            })
        };
        folders.into_iter().filter_map(read).collect()
    }

    /// The corpus as the oracle read it: its clock, its environment, its Variables.
    fn options(case: &Case) -> LoadOptions {
        let now = case.oracle["now"].as_str().unwrap_or("2026-01-15T12:00:00Z");
        let mut options = LoadOptions::new(now.parse().expect("the clock of a case is an instant"));
        options.dags_folder = Some("/support".to_owned());
        for name in ["CONFIG_ROOT_DIR", "PWD"] {
            options.env.insert(name.to_owned(), "/support".to_owned());
        }
        // Airflow looks a Variable up in the environment by its name in capitals.
        options.variables.insert("VAR1".to_owned(), "echo from variable".to_owned());
        options
    }

    fn loaded(case: &Case) -> Loaded {
        load("dag.yaml", &case.text, &options(case))
    }

    /// What is wrong with our reading of a case, if anything.
    fn judge(case: &Case, expected: &Value) -> Vec<String> {
        if case.kind == "schedule-fragment" {
            // The fragment stands in a DAG of one line.
            let inside = String::from_utf8_lossy(&case.text).replace('\n', "\n  ");
            let loaded = load("dag.yaml", format!("fragment:\n  {inside}\n").as_bytes(), &options(case));
            return match loaded.dags.first() {
                Some(dag) => compare::schedule(dag, &expected["schedule"]),
                None => not_loaded(&loaded),
            };
        }
        let loaded = loaded(case);
        let texts = |key: &str, of: &dyn Fn(&Value) -> String| -> Vec<String> {
            expected[key].as_array().into_iter().flatten().map(of).collect()
        };
        let written = read_document("dag.yaml", &case.text).unwrap_or_default();
        let mut wrong = Vec::new();
        if expected["status"] == "rejected" {
            if !loaded.dags.is_empty() || !loaded.has_errors() {
                wrong.push(format!("is loaded, but should be refused: {} {}", expected["errors"], expected["error"]));
            }
            return wrong;
        }
        for dag in expected["dags"].as_array().into_iter().flatten() {
            let id = dag["dag_id"].as_str().unwrap_or_default();
            match loaded.dags.iter().find(|d| d.dag_id.as_str() == id) {
                Some(ours) => wrong.extend(compare::dag(ours, dag, &written)),
                None => wrong.push(format!("`{id}` is missing; {}", not_loaded(&loaded).join("; "))),
            }
        }
        for refused in texts("errors", &|e| e["dag"].as_str().unwrap_or_default().to_owned()) {
            if loaded.dags.iter().any(|d| d.dag_id.as_str() == refused) {
                wrong.push(format!("`{refused}` is loaded, but should be refused"));
            }
        }
        let expected_ids = texts("dags", &|d| d["dag_id"].as_str().unwrap_or_default().to_owned());
        for dag in &loaded.dags {
            if !expected_ids.iter().any(|id| id == dag.dag_id.as_str()) {
                wrong.push(format!("`{}` is loaded, but not expected", dag.dag_id));
            }
        }
        wrong
    }

    fn not_loaded(loaded: &Loaded) -> Vec<String> {
        loaded.diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string).collect()
    }

    #[test]
    fn files_of_other_people_come_to_what_they_come_to_there() {
        let Some(folder) = folder() else { return };
        let (mut passed, mut scored) = (0, 0);
        let mut divergent = Vec::new();
        let mut failures = Vec::new();
        let mut out_of_scope = BTreeMap::<String, usize>::new();
        for case in cases(&folder) {
            let scores = matches!(case.kind.as_str(), "dag-file" | "schedule-fragment");
            let Some(expected) = case.expected.as_ref().filter(|_| scores) else {
                *out_of_scope.entry(case.kind.clone()).or_default() += 1;
                continue;
            };
            scored += 1;
            let wrong = judge(&case, expected);
            match known::divergence(&case.id) {
                Some(reason) if !wrong.is_empty() => divergent.push(format!("{}: {reason}", case.id)),
                Some(_) => failures.push(format!("{}: is listed as divergent, but agrees", case.id)),
                None if wrong.is_empty() => passed += 1,
                None => failures.push(format!("{}:\n      {}", case.id, wrong.join("\n      "))),
            }
        }
        println!(
            "corpus: {passed} passed, {} divergent, {} out of scope {out_of_scope:?}, {} failed",
            divergent.len(),
            out_of_scope.values().sum::<usize>(),
            failures.len()
        );
        for line in &divergent {
            println!("  divergent {line}");
        }
        for line in failures.iter().take(FAILURES_SHOWN_MAX) {
            println!("  FAILED {line}");
        }
        assert!(failures.is_empty(), "{} files of the corpus are read wrongly; see above", failures.len());
        assert!(passed > 0, "no file of the corpus was compared");
        assert!(divergent.len() * 100 <= scored * DIVERGENT_PERCENT_MAX, "too many files diverge: {}", divergent.len());
    }

    #[test]
    fn files_of_other_tools_are_diagnosed_and_not_half_loaded() {
        let Some(folder) = folder() else { return };
        for case in cases(&folder).iter().filter(|c| c.kind == "foreign-format") {
            let loaded = loaded(case);
            assert!(loaded.dags.is_empty() && loaded.has_errors(), "{}: {:?}", case.id, loaded.diagnostics);
        }
    }
}
