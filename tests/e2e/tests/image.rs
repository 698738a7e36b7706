//! The recipe of the Python worker's image agrees with what it copies, with the template, and with the commands that it gives. No engine
//! builds it here.

use serde_json::Value;
use std::path::Path;
use updraft_e2e::repository;
use updraft_e2e::template::rendered;

/// The instructions of a Dockerfile: their names, and what follows them.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines = text.replace("\\\n", " ");
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(name, rest)| (name.to_owned(), rest.trim().to_owned()))
        .collect()
}

/// What follows the instructions of a name.
fn of<'a>(recipe: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    recipe.iter().filter(|(known, _)| known == name).map(|(_, rest)| rest.as_str()).collect()
}

/// Whether a `.dockerignore` lets a path through: the last pattern that matches decides. Of patterns there are `*`, and paths that may
/// begin with `**/` and have a `*`.
fn is_in_context(ignored: &str, path: &str) -> bool {
    let matches = |pattern: &str| {
        let (pattern, place) = match pattern.strip_prefix("**/") {
            Some(pattern) => (pattern, path.rsplit('/').next().unwrap_or(path)),
            None => (pattern, path),
        };
        match pattern.split_once('*') {
            Some((start, end)) => place.starts_with(start) && place.ends_with(end),
            None => place == pattern,
        }
    };
    let patterns = ignored.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    patterns.fold(true, |inside, line| match line.strip_prefix('!') {
        Some(pattern) => inside || matches(pattern),
        None => inside && !matches(line),
    })
}

/// What is wrong with a recipe, beside this rendered template.
fn findings(template: &Value, text: &str, ignored: &str) -> Vec<&'static str> {
    let recipe = instructions(text);
    let worker = &template["Resources"]["PythonWorker"]["Properties"];
    let variables = &worker["Environment"]["Variables"];
    let python =
        template["Parameters"]["PythonRuntime"]["Default"].as_str().and_then(|name| name.strip_prefix("python"));
    let copied: Vec<(&str, &str)> = of(&recipe, "COPY").into_iter().filter_map(|rest| rest.split_once(' ')).collect();
    let binary = copied.iter().find(|(from, _)| from.starts_with("target/"));
    let mut found = Vec::new();
    let mut ask = |holds: bool, why: &'static str| {
        if !holds {
            found.push(why);
        }
    };
    let base = python.map(|version| format!("public.ecr.aws/lambda/python:{version}"));
    ask(
        of(&recipe, "FROM") == base.as_deref().into_iter().collect::<Vec<_>>(),
        "it has another Python than the template",
    );
    ask(
        of(&recipe, "ENV") == [format!("UPDRAFT_WORKER={}", variables["UPDRAFT_WORKER"].as_str().unwrap_or_default())],
        "its worker is of another kind than the template's",
    );
    let built = "cargo build --profile release-lambda -p updraft-worker-function";
    ask(text.contains(built), "it does not say how the binary is built");
    ask(
        binary.is_some_and(|(from, _)| *from == "target/release-lambda/updraft-worker-function"),
        "the binary is not where that command puts it",
    );
    ask(
        binary.is_some_and(|(_, to)| {
            of(&recipe, "ENTRYPOINT") == [format!("[\"{to}\"]")] && of(&recipe, "CMD").is_empty()
        }),
        "what it starts is not the binary that it copies",
    );
    ask(binary.is_some_and(|(from, _)| is_in_context(ignored, from)), "the binary is not in the context");
    let requirements = of(&recipe, "ARG").into_iter().find_map(|rest| rest.strip_prefix("REQUIREMENTS="));
    ask(requirements.is_some_and(|path| is_in_context(ignored, path)), "the list of packages is not in the context");
    ask(!is_in_context(ignored, "shared/model/src/lib.rs"), "the whole repository is in the context");
    ask(worker["RecursiveLoop"] != "Allow" || text.contains("--recursive-loop Allow"), "Lambda would stop its loops");
    found
}

fn recipe() -> (String, String) {
    let folder = repository().join("infra/python-worker");
    let read = |name: &str| std::fs::read_to_string(Path::new(&folder).join(name)).expect("it is in the repository");
    (read("Dockerfile"), read("Dockerfile.dockerignore"))
}

#[test]
fn the_recipe_of_the_image_agrees_with_the_template() {
    let (text, ignored) = recipe();
    assert_eq!(findings(&rendered(), &text, &ignored), Vec::<&str>::new());
}

#[test]
fn each_disagreement_is_named() {
    let template = rendered();
    let (text, ignored) = recipe();
    for (part, instead, why) in [
        ("python:3.13", "python:3.11", "it has another Python"),
        ("UPDRAFT_WORKER=python", "UPDRAFT_WORKER=plain", "of another kind"),
        ("-p updraft-worker-function", "-p updraft-worker", "how the binary is built"),
        ("COPY target/release-lambda/", "COPY target/release/", "not where that command puts it"),
        ("ENTRYPOINT [\"/var/runtime/updraft-worker\"]", "ENTRYPOINT [\"/var/task/bootstrap\"]", "what it starts"),
        ("ENTRYPOINT", "CMD [\"x\"]\nENTRYPOINT", "what it starts"),
        ("REQUIREMENTS=requirements.txt\nCOPY", "REQUIREMENTS=packages.txt\nCOPY", "the list of packages"),
        ("--recursive-loop Allow", "--recursive-loop Terminate", "Lambda would stop"),
    ] {
        assert!(text.contains(part), "`{part}` is in the recipe");
        let found = findings(&template, &text.replace(part, instead), &ignored);
        assert!(found.iter().any(|one| one.contains(why)), "`{instead}` should be `{why}`, found {found:?}");
    }
    for (part, instead, why) in [
        ("!target/release-lambda/updraft-worker-function\n", "", "the binary is not in the context"),
        ("*\n!target", "!target", "the whole repository"),
    ] {
        assert!(ignored.contains(part), "`{part}` is in the list");
        let found = findings(&template, &text, &ignored.replace(part, instead));
        assert!(found.iter().any(|one| one.contains(why)), "`{instead}` should be `{why}`, found {found:?}");
    }
}
