//! The UI in a real browser: `tests/browser` drives Chromium against a server of its own.
//!
//! Needs Node, Chromium and `npm install` in `tests/browser` (`tests/browser/install` sees to all three). Where one is missing, the test says
//! so and passes, unless `UPDRAFT_REQUIRE_BROWSER=1`, as CI sets it.

#[cfg(test)]
mod gateway;

#[cfg(test)]
#[path = "../cli/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the command line, which use all of it")]
mod harness;

#[cfg(test)]
#[path = "../standalone/server.rs"]
#[allow(dead_code, reason = "shared with the tests of the server, which use all of it")]
mod server;

use std::path::{Path, PathBuf};
use std::process::Command;
#[cfg(test)]
use std::{io::Write, process::Stdio};

/// The browser, where Debian and others put it.
#[cfg(test)]
fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("UPDRAFT_CHROMIUM").map(PathBuf::from);
    let usual = ["chromium", "chromium-browser", "google-chrome"].map(|name| Path::new("/usr/bin").join(name));
    named.into_iter().chain(usual).find(|path| path.is_file())
}

/// What is missing to run the tests; none: nothing.
#[cfg(test)]
fn missing(folder: &Path) -> Option<&'static str> {
    let has_node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    if !has_node {
        return Some("`node`");
    }
    if !folder.join("node_modules/playwright-core").is_dir() {
        return Some("`tests/browser/node_modules`");
    }
    chromium().is_none().then_some("Chromium")
}

#[cfg(test)]
const PASSWORD: &str = "a password to look with";

/// Makes the user that logs in, beside the server.
#[cfg(test)]
fn make_viewer(place: &harness::Place) {
    let mut child =
        place.command(&["users", "create", "vera", "--role", "viewer"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().expect("piped");
    writeln!(input, "{PASSWORD}").expect("it reads its password");
    drop(input);
    assert!(child.wait().expect("it ends").success(), "the user was not made");
}

#[test]
fn each_view_and_each_action_works_in_a_browser() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    if let Some(what) = missing(&folder) {
        let said = format!("the UI is not tested: there is no {what}; run `tests/browser/install`");
        assert!(std::env::var_os("UPDRAFT_REQUIRE_BROWSER").is_none(), "{said}");
        eprintln!("{said}");
        return;
    }
    let place = harness::Place::new();
    for entry in std::fs::read_dir(folder.join("dags")).expect("the tests have DAGs") {
        let path = entry.expect("a folder of the repository can be read").path();
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        place.write(&format!("dags/{name}"), &std::fs::read_to_string(&path).expect("a DAG file is text"));
    }
    let server = server::Server::start(&place, &["--no-auth"]);
    let guarded = harness::Place::new();
    guarded.write("dags/steady.yaml", &std::fs::read_to_string(folder.join("dags/steady.yaml")).expect("it is text"));
    let login = server::Server::start(&guarded, &[]);
    make_viewer(&guarded);
    let gateway = gateway::Gateway::start();
    let status = Command::new("node")
        .args(["--test", "--test-reporter=spec", "all.test.mjs"])
        .current_dir(&folder)
        .env("BASE", &server.url)
        .env("LOGIN_BASE", &login.url)
        .env("LOGIN_PASSWORD", PASSWORD)
        .env("GATEWAY_BASE", &gateway.url)
        .env("ISSUER_PORT", gateway.issuer_port.to_string())
        .env("DAGS", place.path().join("dags"))
        .env("CHROMIUM", chromium().expect("it was found before"))
        .status()
        .expect("node starts");
    assert!(status.success(), "the browser's tests failed; what they say is above");
}
