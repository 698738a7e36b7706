//! The built UI is the one that its sources make.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What `ui/build` builds from, in its order.
const SOURCES: [&str; 6] = ["index.html", "package-lock.json", "package.json", "public", "src", "vite.config.js"];

fn files(of: &Path, found: &mut Vec<PathBuf>) {
    if of.is_dir() {
        for entry in std::fs::read_dir(of).expect("a folder of the repository can be read") {
            files(&entry.expect("its entries can be read").path(), found);
        }
    } else {
        found.push(of.to_owned());
    }
}

/// What `ui/build` writes into `ui/dist/.sources`: the hash of `sha256sum`'s lines.
fn fingerprint(ui: &Path) -> String {
    let mut found = Vec::new();
    for source in SOURCES {
        files(&ui.join(source), &mut found);
    }
    let mut names: Vec<&str> = found
        .iter()
        .map(|f| f.strip_prefix(ui).ok().and_then(Path::to_str).expect("a path below `ui`, in Unicode"))
        .collect();
    names.sort_unstable();
    let lines = names.iter().fold(String::new(), |mut lines, name| {
        let _ = writeln!(
            lines,
            "{:x}  {name}",
            Sha256::digest(std::fs::read(ui.join(name)).expect("a file of the repository can be read"))
        );
        lines
    });
    format!("{:x}", Sha256::digest(lines))
}

#[test]
fn the_built_ui_is_the_one_of_its_sources() {
    let ui = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui");
    let built = std::fs::read_to_string(ui.join("dist/.sources")).expect("`ui/build` writes this file");
    assert_eq!(
        built.trim(),
        fingerprint(&ui),
        "the sources of the UI have changed; run `ui/build` and commit `ui/dist`"
    );
}

/// What a browser loads before it shows anything, compressed.
const FIRST_LOAD_MAX: usize = 100 * 1024;

fn is_script(name: &String) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "js")
}

/// The scripts that the page names, and those they import at once, by their names in `dist/assets`.
fn first_load(dist: &Path) -> Vec<String> {
    let page = std::fs::read_to_string(dist.join("index.html")).expect("the built page");
    let name = |text: &str| text.split(['"', '\'']).next().map(str::to_owned);
    let mut found: Vec<String> = page.split("/assets/").skip(1).filter_map(name).filter(is_script).collect();
    let mut at = 0;
    while let Some(script) = found.get(at) {
        let text = std::fs::read_to_string(dist.join("assets").join(script)).expect("a built script");
        // Static imports stand at the beginning: `import{a as b}from"./x.js";`. Those of `import(...)` come later, when they are asked for.
        let head = text.split(';').take_while(|statement| statement.starts_with("import"));
        for import in head.filter_map(|statement| statement.rsplit("./").next().and_then(name)) {
            if is_script(&import) && !found.contains(&import) {
                found.push(import);
            }
        }
        at += 1;
    }
    found
}

#[test]
fn the_first_load_is_small() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/dist");
    let scripts = first_load(&dist);
    assert!(!scripts.is_empty(), "the page names no script");
    let size = |script: &String| {
        let path = dist.join("assets").join(format!("{script}.gz"));
        std::fs::metadata(&path).unwrap_or_else(|_| panic!("`ui/build` makes {}", path.display())).len() as usize
    };
    let bytes: usize = scripts.iter().map(size).sum();
    assert!(bytes <= FIRST_LOAD_MAX, "{bytes} bytes in {scripts:?}; load what is not needed at once by `import()`");
}
