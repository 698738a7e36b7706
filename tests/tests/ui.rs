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
