//! `updraft info`

use crate::failure::Failure;
use crate::metastore::MetastoreUrl;
use crate::printer::{Cell, Printer, Rows};
use serde_json::json;
use std::path::PathBuf;

/// Prints what a report of a fault should say: versions, places, what is at hand. Nothing secret is among it.
pub(crate) fn run(metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let system = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let path = |path: std::io::Result<PathBuf>| path.map_or_else(|e| e.to_string(), |path| path.display().to_string());
    let facts = [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("executable", path(std::env::current_exe())),
        ("built_with_aws", cfg!(feature = "aws").to_string()),
        ("system", format!("{} {}", text(system.sysname()), text(system.release()))),
        ("architecture", text(system.machine())),
        ("working_directory", path(std::env::current_dir())),
        ("metastore", metastore.to_string()),
        ("metastore_is_there", if metastore.may_exist() { "yes" } else { "no" }.to_owned()),
        ("python3", on_path("python3").map_or("not found on the path".to_owned(), |path| path.display().to_string())),
        ("bash", on_path("bash").map_or("not found on the path".to_owned(), |path| path.display().to_string())),
        ("timezone_of_dates", "UTC".to_owned()),
    ];
    if printer.is_for_programs() {
        let object: serde_json::Map<_, _> =
            facts.into_iter().map(|(name, fact)| (name.to_owned(), json!(fact))).collect();
        return printer.value(&object.into());
    }
    let mut rows = Rows::new(&["property_name", "property_value"]);
    for (name, fact) in facts {
        rows.push(vec![Cell::text(name), Cell::Text(fact)]);
    }
    printer.rows(&rows)
}

/// The first file of this name on the path.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
