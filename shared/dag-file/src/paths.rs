//! Files that a DAG file names.

use crate::reader::Cursor;
use crate::yaml::compose::clip;

/// Where files that a DAG file names are looked for.
#[derive(Clone, Copy)]
pub(crate) struct Paths<'s> {
    /// The DAG file, relative to the DAG folder.
    pub(crate) file: &'s str,
    /// The DAG folder itself, where it has a place in a file system.
    pub(crate) folder: Option<&'s str>,
}

impl Paths<'_> {
    /// The path relative to the DAG folder. A relative one begins at the DAG file's own folder.
    pub(crate) fn resolve(&self, path: &str) -> Result<String, &'static str> {
        if path.starts_with('$') {
            return Err("contains a variable that is not set");
        }
        let mut parts: Vec<&str> = Vec::new();
        let inside = if path.starts_with('/') {
            let folder = self.folder.map(|f| f.trim_end_matches('/'));
            let rest = folder.and_then(|f| path.strip_prefix(f)).filter(|rest| rest.starts_with('/'));
            rest.ok_or("is outside of the DAG folder")?
        } else {
            parts.extend(self.file.split('/').filter(|p| !p.is_empty() && *p != "."));
            parts.pop();
            path
        };
        for part in inside.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop().ok_or("is outside of the DAG folder")?),
                part => parts.push(part),
            }
        }
        if parts.is_empty() { Err("names no file") } else { Ok(parts.join("/")) }
    }

    /// The file that a text names, which belongs to the DAG's version. A path that leads elsewhere stays as written, with a
    /// warning: it may be there where the task runs, but nobody brings it there.
    pub(crate) fn of_version(&self, cursor: &Cursor<'_>, path: &str) -> String {
        match self.resolve(path) {
            Ok(resolved) => {
                cursor.sink.refer(&resolved);
                resolved
            }
            Err(why) => {
                let hint = "name a file in the DAG folder, relative to this one; it is then part of the DAG's version";
                let message = format!("`{}` {why}; it is not there unless the worker has it", clip(path));
                cursor.warn("bad-path", message, Some(hint.into()));
                path.to_owned()
            }
        }
    }

    /// The content of a file that is needed to read the DAG.
    pub(crate) fn content<'a>(&self, cursor: &Cursor<'a>, path: &str) -> Option<(String, &'a [u8])> {
        let resolved = match self.resolve(path) {
            Ok(resolved) => resolved,
            Err(why) => {
                let hint = "name a file in the DAG folder, relative to this one";
                cursor.error("bad-path", format!("`{}` {why}", clip(path)), Some(hint.into()));
                return None;
            }
        };
        let found = cursor.sink.companion(&resolved);
        if found.is_none() {
            let message = format!("the file `{}` is not there", clip(&resolved));
            cursor.error("missing-file", message, Some("name a file in the DAG folder, relative to this one".into()));
        }
        found.map(|bytes| (resolved, bytes))
    }
}
