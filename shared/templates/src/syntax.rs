//! How a DAG's templates are written: Airflow's `jinja_environment_kwargs`.

use minijinja::syntax::SyntaxConfig;
use serde_json::{Map, Value as Json};

/// The longest delimiter or prefix, in bytes.
const DELIMITER_BYTES_MAX: usize = 32;

/// The extensions of jinja2 that are always there, or can be switched on.
const EXTENSIONS: [&str; 2] = ["jinja2.ext.do", "jinja2.ext.loopcontrols"];

/// The settings of jinja2's environment that change how a template is read. The default is jinja2's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Syntax {
    /// Drop the newline after a block.
    pub trim_blocks: bool,
    /// Drop spaces and tabs before a block at the start of its line.
    pub lstrip_blocks: bool,
    /// Keep the newline at the end of a template.
    pub keep_trailing_newline: bool,
    /// Escape what is printed for HTML.
    pub autoescape: bool,
    /// Allow `{% break %}` and `{% continue %}`.
    pub loop_controls: bool,
    /// What stands around blocks, expressions and comments, where it is not the usual.
    pub delimiters: Delimiters,
    /// What begins a line that is a block.
    pub line_statement_prefix: Option<String>,
    /// What begins a comment up to the end of the line.
    pub line_comment_prefix: Option<String>,
}

/// Start and end of each kind of tag; none: jinja2's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delimiters {
    /// `{%`.
    pub block_start: Option<String>,
    /// `%}`.
    pub block_end: Option<String>,
    /// `{{`.
    pub variable_start: Option<String>,
    /// `}}`.
    pub variable_end: Option<String>,
    /// `{#`.
    pub comment_start: Option<String>,
    /// `#}`.
    pub comment_end: Option<String>,
}

/// A setting of jinja2's environment that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the setting `{name}` of `jinja_environment_kwargs` {why}")]
pub struct SyntaxError {
    /// The setting.
    pub name: String,
    /// What is wrong with it, and what would be right.
    pub why: String,
}

impl Syntax {
    /// The settings as a DAG file gives them.
    ///
    /// # Errors
    /// The first setting that is unknown, of the wrong type, or would make templates unreadable.
    pub fn from_kwargs(kwargs: &Map<String, Json>) -> Result<Self, SyntaxError> {
        let mut syntax = Self::default();
        for (name, value) in kwargs {
            let wrong = |why: &str| SyntaxError { name: name.clone(), why: why.to_owned() };
            let flag = || value.as_bool().ok_or_else(|| wrong("must be true or false"));
            let text = || match value.as_str() {
                Some("") | None => Err(wrong("must be a text that is not empty")),
                Some(text) if text.len() > DELIMITER_BYTES_MAX => Err(wrong("is too long for a delimiter")),
                Some(text) => Ok(Some(text.to_owned())),
            };
            let delimiters = &mut syntax.delimiters;
            match name.as_str() {
                "trim_blocks" => syntax.trim_blocks = flag()?,
                "lstrip_blocks" => syntax.lstrip_blocks = flag()?,
                "keep_trailing_newline" => syntax.keep_trailing_newline = flag()?,
                "autoescape" => syntax.autoescape = flag()?,
                "block_start_string" => delimiters.block_start = text()?,
                "block_end_string" => delimiters.block_end = text()?,
                "variable_start_string" => delimiters.variable_start = text()?,
                "variable_end_string" => delimiters.variable_end = text()?,
                "comment_start_string" => delimiters.comment_start = text()?,
                "comment_end_string" => delimiters.comment_end = text()?,
                "line_statement_prefix" | "line_comment_prefix" if value.is_null() => {}
                "line_statement_prefix" => syntax.line_statement_prefix = text()?,
                "line_comment_prefix" => syntax.line_comment_prefix = text()?,
                "extensions" => {
                    for extension in value.as_array().into_iter().flatten() {
                        match extension.as_str() {
                            Some("jinja2.ext.loopcontrols") => syntax.loop_controls = true,
                            Some("jinja2.ext.do") => {}
                            _ => return Err(wrong(&format!("may name {} only", EXTENSIONS.join(" and ")))),
                        }
                    }
                }
                // What has no effect on what a template gives.
                "cache_size" | "auto_reload" | "optimized" | "enable_async" => {}
                "newline_sequence" if value == "\n" => {}
                _ => return Err(wrong("is not supported; only settings of the syntax are")),
            }
        }
        syntax.config().map_err(|why| SyntaxError { name: "variable_start_string".to_owned(), why })?;
        Ok(syntax)
    }

    /// The engine's form of it.
    pub(crate) fn config(&self) -> Result<SyntaxConfig, String> {
        if *self == Self::default() {
            return Ok(SyntaxConfig::default());
        }
        let given = |text: &Option<String>, usual: &str| text.clone().unwrap_or_else(|| usual.to_owned());
        let d = &self.delimiters;
        let mut builder = SyntaxConfig::builder();
        builder
            .block_delimiters(given(&d.block_start, "{%"), given(&d.block_end, "%}"))
            .variable_delimiters(given(&d.variable_start, "{{"), given(&d.variable_end, "}}"))
            .comment_delimiters(given(&d.comment_start, "{#"), given(&d.comment_end, "#}"))
            .trim_blocks(self.trim_blocks)
            .lstrip_blocks(self.lstrip_blocks)
            .keep_trailing_newline(self.keep_trailing_newline);
        if let Some(prefix) = &self.line_statement_prefix {
            builder.line_statement_prefix(prefix.clone());
        }
        if let Some(prefix) = &self.line_comment_prefix {
            builder.line_comment_prefix(prefix.clone());
        }
        builder.build().map_err(|_| "makes two delimiters alike; give each its own".to_owned())
    }

    /// Whether there is anything to render in a text.
    pub(crate) fn has_delimiters(&self, text: &str) -> bool {
        let d = &self.delimiters;
        let starts = [(&d.block_start, "{%"), (&d.variable_start, "{{"), (&d.comment_start, "{#")];
        let prefixes = [&self.line_statement_prefix, &self.line_comment_prefix];
        starts.iter().any(|(given, usual)| text.contains(given.as_deref().unwrap_or(usual)))
            || prefixes.into_iter().flatten().any(|prefix| text.contains(prefix.as_str()))
    }
}
