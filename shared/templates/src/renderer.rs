//! Parses, rewrites and runs templates.

use minijinja::machinery::{CodeGenerator, ast, eval, make_string_output, parse};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Rest;
use minijinja::{AutoEscape, Environment, ErrorKind as Engine, UndefinedBehavior, Value};
use serde_json::Value as Json;

use crate::context::Context;
use crate::depth;
use crate::error::{ErrorKind, TemplateError, translate};
use crate::globals::globals;
use crate::python::text::write_str;
use crate::rewrite::Rewrite;
use crate::survey::Survey;
use crate::xcoms::{XComNeeds, XComs};
use crate::{filters, operators};

/// Work one field may cost: about one unit a step, and one for 64 bytes made. A field of [`OUTPUT_BYTES_MAX`] costs a third.
const FUEL: u64 = 500_000;
/// Largest rendered field, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 10 << 20;
/// Largest template, in bytes: positions in messages are counted in 32 bits, and nobody writes such a file by hand.
pub const TEMPLATE_BYTES_MAX: usize = 16 << 20;
/// Deepest nesting of lists and objects among the fields.
const FIELD_DEPTH_MAX: usize = 128;

/// What a name that does not exist means; Airflow's `template_undefined`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Undefined {
    /// Any use is an error (`jinja2.StrictUndefined`), Airflow 3's default.
    #[default]
    Strict,
    /// Prints as nothing, is false; an attribute of it is an error (`jinja2.Undefined`).
    Default,
    /// As `Default`, but prints as the expression itself (`jinja2.DebugUndefined`).
    Debug,
    /// As `Default`, and an attribute of it is undefined again (`jinja2.ChainableUndefined`).
    Chainable,
}

/// How to render, as the DAG says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// What a name that does not exist means.
    pub undefined: Undefined,
}

/// Renders any number of templates; build one and share it.
#[derive(Debug)]
pub struct Renderer {
    strict: Environment<'static>,
    lenient: Environment<'static>,
    chainable: Environment<'static>,
}

impl Default for Renderer {
    fn default() -> Self {
        Self::new()
    }
}

impl Renderer {
    /// Builds the environments, which costs far more than one render.
    pub fn new() -> Self {
        Self {
            strict: environment(UndefinedBehavior::Strict),
            lenient: environment(UndefinedBehavior::Lenient),
            chainable: environment(UndefinedBehavior::Chainable),
        }
    }

    /// Renders every string inside `fields`: in lists and in the values of objects, not in keys; other values stay as they
    /// are. A string without delimiters is not compiled.
    ///
    /// As with jinja2, one newline at the end of a string is dropped and `\r\n` becomes `\n`, with or without delimiters.
    ///
    /// # Errors
    ///
    /// The first field that cannot be rendered, by its path.
    pub fn render(
        &self,
        fields: &Json,
        context: &Context,
        xcoms: &XComs,
        options: &Options,
    ) -> Result<Json, TemplateError> {
        let mut render = Render { renderer: self, context, xcoms, options: *options, names: None };
        render.value(fields, &mut String::new(), 0)
    }

    /// Checks one template's syntax, and that its filters and tests exist.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Syntax`] with the line.
    pub fn check(&self, template: &str) -> Result<(), TemplateError> {
        if !has_delimiters(template) {
            return Ok(());
        }
        let source = normalized(template, "")?;
        let tree = parse_template(&source, "")?;
        let mut survey = Survey::default();
        survey.stmt(&tree);
        // The engine resolves names only when it runs; asking for a result without arguments is enough to learn of them.
        for (name, line) in &survey.filters {
            let result = self.strict.empty_state().apply_filter(name, &[]);
            if result.is_err_and(|error| error.kind() == Engine::UnknownFilter) {
                return Err(unknown("filter", name, *line));
            }
        }
        for (name, line) in &survey.tests {
            let result = self.strict.empty_state().perform_test(name, &[]);
            if result.is_err_and(|error| error.kind() == Engine::UnknownTest) {
                return Err(unknown("test", name, *line));
            }
        }
        Ok(())
    }

    /// Which XComs the strings inside `fields` pull, so that they can be fetched before [`Renderer::render`].
    /// `task_id` is the task the fields belong to: a pull without `task_ids` means its own XComs.
    ///
    /// # Errors
    ///
    /// The first field whose syntax is wrong.
    pub fn xcom_needs(&self, fields: &Json, task_id: &str) -> Result<XComNeeds, TemplateError> {
        let mut survey = Survey { own_task_id: task_id, ..Survey::default() };
        find_needs(fields, &mut String::new(), 0, &mut survey)?;
        Ok(survey.needs)
    }
}

fn unknown(what: &str, name: &str, line: u32) -> TemplateError {
    TemplateError {
        kind: ErrorKind::Syntax,
        field: String::new(),
        line: Some(line),
        message: format!("there is no {what} `{name}`"),
        hint: None,
    }
}

fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(undefined);
    env.set_fuel(Some(FUEL));
    // Without it an error does not know which expression was undefined. It costs nothing while all goes well.
    env.set_debug(true);
    env.remove_global("debug");
    env.set_formatter(|out, _state, value| {
        let mut text = String::new();
        write_str(&mut text, value)?;
        out.write_str(&text).map_err(minijinja::Error::from)
    });
    env.set_unknown_method_callback(|state, value, method, args| {
        match filters::text_method(state, value, method, args) {
            Some(result) => result,
            None => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args),
        }
    });
    env.add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.to_vec()));
    env.add_function("joiner", minijinja_contrib::globals::joiner);
    operators::install(&mut env);
    filters::install(&mut env);
    env
}

/// Whether there is anything to render in a text.
fn has_delimiters(text: &str) -> bool {
    text.as_bytes().windows(2).any(|pair| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#'))
}

/// jinja2 knows one kind of line end.
fn normalized(source: &str, field: &str) -> Result<String, TemplateError> {
    if source.len() > TEMPLATE_BYTES_MAX {
        return Err(limit(field, format!("the template is larger than {TEMPLATE_BYTES_MAX} bytes")));
    }
    Ok(if source.contains('\r') { source.replace("\r\n", "\n").replace('\r', "\n") } else { source.to_owned() })
}

fn limit(field: &str, message: String) -> TemplateError {
    TemplateError { kind: ErrorKind::Limit, field: field.to_owned(), line: None, message, hint: None }
}

fn parse_template<'s>(source: &'s str, field: &str) -> Result<ast::Stmt<'s>, TemplateError> {
    if let Some(line) = depth::exceeded(source) {
        let message = format!(
            "an expression nests too deeply or chains more than {} operations, or an `if` has more branches",
            depth::DEPTH_MAX
        );
        return Err(TemplateError { line: Some(line), ..limit(field, message) });
    }
    parse(source, "template", SyntaxConfig::default()).map_err(|error| translate(&error, field, &[]))
}

/// Calls `with` for every string, with its path.
fn find_needs(value: &Json, path: &mut String, depth: usize, survey: &mut Survey<'_>) -> Result<(), TemplateError> {
    match value {
        Json::String(text) if has_delimiters(text) => {
            let source = normalized(text, path)?;
            survey.stmt(&parse_template(&source, path)?);
            Ok(())
        }
        Json::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            within(path, &Step::Index(index), depth, |path, depth| find_needs(item, path, depth, survey))
        }),
        Json::Object(entries) => entries.iter().try_for_each(|(key, item)| {
            within(path, &Step::Key(key), depth, |path, depth| find_needs(item, path, depth, survey))
        }),
        _ => Ok(()),
    }
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// Goes one level down, with the path extended for the time being.
fn within<T>(
    path: &mut String,
    step: &Step<'_>,
    depth: usize,
    inner: impl FnOnce(&mut String, usize) -> Result<T, TemplateError>,
) -> Result<T, TemplateError> {
    if depth >= FIELD_DEPTH_MAX {
        return Err(limit(path, format!("the fields nest more than {FIELD_DEPTH_MAX} deep")));
    }
    let length = path.len();
    match step {
        Step::Key(key) if path.is_empty() => path.push_str(key),
        Step::Key(key) => path.extend([".", key]),
        Step::Index(index) => path.extend(["[", &index.to_string(), "]"]),
    }
    let result = inner(path, depth + 1);
    path.truncate(length);
    result
}

/// One call of [`Renderer::render`]. The names are built at the first template, and once.
struct Render<'r> {
    renderer: &'r Renderer,
    context: &'r Context,
    xcoms: &'r XComs,
    options: Options,
    names: Option<(Value, Vec<&'static str>)>,
}

impl Render<'_> {
    fn value(&mut self, value: &Json, path: &mut String, depth: usize) -> Result<Json, TemplateError> {
        Ok(match value {
            Json::String(text) => Json::String(self.text(text, path)?),
            Json::Array(items) => Json::Array(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| {
                        within(path, &Step::Index(index), depth, |path, depth| self.value(item, path, depth))
                    })
                    .collect::<Result<_, _>>()?,
            ),
            Json::Object(entries) => Json::Object(
                entries
                    .iter()
                    .map(|(key, item)| {
                        within(path, &Step::Key(key), depth, |path, depth| self.value(item, path, depth))
                            .map(|rendered| (key.clone(), rendered))
                    })
                    .collect::<Result<_, _>>()?,
            ),
            other => other.clone(),
        })
    }

    fn text(&mut self, text: &str, path: &str) -> Result<String, TemplateError> {
        let source = normalized(text, path)?;
        if !has_delimiters(&source) {
            return Ok(source.strip_suffix('\n').map(str::to_owned).unwrap_or(source));
        }
        let tree = parse_template(&source, path)?;
        let show_undefined = self.options.undefined == Undefined::Debug;
        let tree = Rewrite { show_undefined }.stmt(&tree);
        let mut generator = CodeGenerator::new("template", &source);
        generator.compile_stmt(&tree);
        let (instructions, blocks) = generator.finish();
        let env = match self.options.undefined {
            Undefined::Strict => &self.renderer.strict,
            Undefined::Default | Undefined::Debug => &self.renderer.lenient,
            Undefined::Chainable => &self.renderer.chainable,
        };
        let (context, xcoms) = (self.context, self.xcoms);
        let (root, known) = self.names.get_or_insert_with(|| {
            let names = globals(context, xcoms);
            let known = names.keys().copied().collect();
            (Value::from_pairs(names), known)
        });
        let mut rendered = String::new();
        let result =
            eval(env, &instructions, root.clone(), &blocks, &mut make_string_output(&mut rendered), AutoEscape::None);
        result.map_err(|error| translate(&error, path, known))?;
        if rendered.len() > OUTPUT_BYTES_MAX {
            return Err(limit(path, format!("the rendered text is larger than {OUTPUT_BYTES_MAX} bytes")));
        }
        Ok(rendered)
    }
}
