//! Parses, rewrites and runs templates.

use std::sync::Arc;

use minijinja::machinery::{CodeGenerator, ast, eval, make_string_output, parse};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Rest;
use minijinja::{AutoEscape, Environment, ErrorKind as Engine, State, UndefinedBehavior, Value};
use serde_json::Value as Json;

use crate::context::Context;
use crate::depth;
use crate::error::{ErrorKind, TemplateError, translate};
use crate::fuel::charge;
use crate::globals::globals;
use crate::native::{Emitted, Native, read_literal};
use crate::python::json::to_value;
use crate::python::text::write_str;
use crate::rewrite::Rewrite;
use crate::stored::Needs;
use crate::survey::Survey;
use crate::syntax::Syntax;
use crate::xcoms::{XComNeeds, XComs};
use crate::{corners, filters, names, operators};

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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// What a name that does not exist means.
    pub undefined: Undefined,
    /// Whether templates give values instead of texts: Airflow's `render_template_as_native_obj`.
    pub native: bool,
    /// Whether native dates and times are kept as such, for a Python callable ([`Native::into_tagged_json`]).
    pub tagged: bool,
    /// How templates are written: Airflow's `jinja_environment_kwargs`.
    pub syntax: Syntax,
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
    /// As with jinja2, one newline at the end of a string is dropped and `\r\n` becomes `\n`, with or without delimiters. With
    /// [`Options::native`] the values are as JSON can hold them ([`Native::into_json`]).
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
        let mut render = Render::new(self, context, xcoms, options)?;
        let json = |native: Native| if options.tagged { native.into_tagged_json() } else { native.into_json() };
        match fields {
            // Each is a field of its own, and Airflow leaves an empty one alone.
            Json::Object(fields) => Ok(Json::Object(
                fields
                    .iter()
                    .map(|(name, field)| {
                        let mut path = name.clone();
                        render.field(field, &mut path).map(|rendered| (name.clone(), json(rendered)))
                    })
                    .collect::<Result<_, _>>()?,
            )),
            field => render.field(field, &mut String::new()).map(json),
        }
    }

    /// Renders one field and gives the value as Python would have it. Without [`Options::native`] every rendered string is a text.
    ///
    /// # Errors
    ///
    /// As [`Renderer::render`].
    pub fn render_field(
        &self,
        field: &Json,
        context: &Context,
        xcoms: &XComs,
        options: &Options,
    ) -> Result<Native, TemplateError> {
        Render::new(self, context, xcoms, options)?.field(field, &mut String::new())
    }

    /// Checks one template's syntax, and that its filters and tests exist.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Syntax`] with the line.
    pub fn check(&self, template: &str) -> Result<(), TemplateError> {
        self.check_as(template, &Syntax::default())
    }

    /// As [`Renderer::check`], for templates written with other delimiters.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Syntax`] with the line.
    pub fn check_as(&self, template: &str, syntax: &Syntax) -> Result<(), TemplateError> {
        if !syntax.has_delimiters(template) {
            return Ok(());
        }
        let source = normalized(template, "")?;
        let tree = parse_template(&source, "", &configured(syntax)?)?;
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

    /// Which XComs, variables and connections the strings inside `fields` name, so that they can be fetched before
    /// [`Renderer::render`]. `task_id` is the task the fields belong to: a pull without `task_ids` means its own XComs.
    ///
    /// # Errors
    ///
    /// The first field whose syntax is wrong.
    pub fn needs(&self, fields: &Json, task_id: &str, syntax: &Syntax) -> Result<Needs, TemplateError> {
        let mut survey = Survey { own_task_id: task_id, ..Survey::default() };
        find_needs(fields, &mut String::new(), 0, &Reading { syntax, config: configured(syntax)? }, &mut survey)?;
        Ok(survey.needs)
    }

    /// The XComs alone, for templates in the usual syntax: as [`Renderer::needs`].
    ///
    /// # Errors
    ///
    /// The first field whose syntax is wrong.
    pub fn xcom_needs(&self, fields: &Json, task_id: &str) -> Result<XComNeeds, TemplateError> {
        self.needs(fields, task_id, &Syntax::default()).map(|needs| needs.xcoms)
    }
}

/// How templates are read.
struct Reading<'a> {
    syntax: &'a Syntax,
    config: Configured,
}

/// The engine's form of a [`Syntax`].
struct Configured {
    config: SyntaxConfig,
    loop_controls: bool,
}

fn configured(syntax: &Syntax) -> Result<Configured, TemplateError> {
    match syntax.config() {
        Ok(config) => Ok(Configured { config, loop_controls: syntax.loop_controls }),
        Err(why) => Err(TemplateError {
            kind: ErrorKind::Syntax,
            field: String::new(),
            line: None,
            message: format!("the DAG's `jinja_environment_kwargs` {why}"),
            hint: None,
            wanted: None,
        }),
    }
}

fn unknown(what: &str, name: &str, line: u32) -> TemplateError {
    TemplateError {
        kind: ErrorKind::Syntax,
        field: String::new(),
        line: Some(line),
        message: format!("there is no {what} `{name}`"),
        hint: None,
        wanted: None,
    }
}

fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(undefined);
    env.set_fuel(Some(FUEL));
    // Without it an error does not know which expression was undefined. It costs nothing while all goes well.
    env.set_debug(true);
    env.remove_global("debug");
    env.set_formatter(|out, state, value| {
        charge(state, value)?;
        let mut text = String::new();
        write_str(&mut text, value)?;
        if !matches!(state.auto_escape(), AutoEscape::None) && !value.is_safe() {
            text = escape_html(&text);
        }
        out.write_str(&text).map_err(minijinja::Error::from)
    });
    env.add_filter(names::LITERAL, |state: &State, value: Value| read_literal(state, &value));
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
    corners::install(&mut env);
    env
}

/// As `markupsafe` does.
pub(crate) fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&#39;"),
            '"' => escaped.push_str("&#34;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// jinja2 knows one kind of line end.
fn normalized(source: &str, field: &str) -> Result<String, TemplateError> {
    if source.len() > TEMPLATE_BYTES_MAX {
        return Err(limit(field, format!("the template is larger than {TEMPLATE_BYTES_MAX} bytes")));
    }
    Ok(if source.contains('\r') { source.replace("\r\n", "\n").replace('\r', "\n") } else { source.to_owned() })
}

fn limit(field: &str, message: String) -> TemplateError {
    TemplateError { kind: ErrorKind::Limit, field: field.to_owned(), line: None, message, hint: None, wanted: None }
}

fn parse_template<'s>(source: &'s str, field: &str, configured: &Configured) -> Result<ast::Stmt<'s>, TemplateError> {
    let scan = depth::scan(source, configured.config.clone());
    if let Some(line) = scan.too_deep {
        let message = format!(
            "an expression nests too deeply or chains more than {} operations, or an `if` has more branches",
            depth::DEPTH_MAX
        );
        return Err(TemplateError { line: Some(line), ..limit(field, message) });
    }
    if let (Some((tag, line)), false) = (scan.loop_control, configured.loop_controls) {
        return Err(TemplateError {
            kind: ErrorKind::Syntax,
            field: field.to_owned(),
            line: Some(line),
            message: format!("syntax error: unknown statement {tag}"),
            hint: Some(
                "the extension `jinja2.ext.loopcontrols` in the DAG's `jinja_environment_kwargs` allows it".to_owned(),
            ),
            wanted: None,
        });
    }
    parse(source, "template", configured.config.clone()).map_err(|error| translate(&error, field, &[]))
}

/// Looks through every string, with its path.
fn find_needs(
    value: &Json,
    path: &mut String,
    depth: usize,
    reading: &Reading<'_>,
    survey: &mut Survey<'_>,
) -> Result<(), TemplateError> {
    match value {
        Json::String(text) if reading.syntax.has_delimiters(text) => {
            let source = normalized(text, path)?;
            survey.stmt(&parse_template(&source, path, &reading.config)?);
            Ok(())
        }
        Json::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            within(path, &Step::Index(index), depth, |path, depth| find_needs(item, path, depth, reading, survey))
        }),
        Json::Object(entries) => entries.iter().try_for_each(|(key, item)| {
            within(path, &Step::Key(key), depth, |path, depth| find_needs(item, path, depth, reading, survey))
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
    options: &'r Options,
    configured: Configured,
    emitted: Arc<Emitted>,
    names: Option<(Value, Vec<&'static str>)>,
}

impl<'r> Render<'r> {
    fn new(
        renderer: &'r Renderer,
        context: &'r Context,
        xcoms: &'r XComs,
        options: &'r Options,
    ) -> Result<Self, TemplateError> {
        let configured = configured(&options.syntax)?;
        Ok(Self { renderer, context, xcoms, options, configured, emitted: Arc::default(), names: None })
    }

    /// A field of its own; Airflow leaves an empty one alone.
    fn field(&mut self, field: &Json, path: &mut String) -> Result<Native, TemplateError> {
        match field {
            Json::String(text) if text.is_empty() => Ok(Native::Text(String::new())),
            field => self.value(field, path, 0),
        }
    }

    fn value(&mut self, value: &Json, path: &mut String, depth: usize) -> Result<Native, TemplateError> {
        Ok(match value {
            Json::String(text) => self.text(text, path)?,
            Json::Array(items) => Native::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| {
                        within(path, &Step::Index(index), depth, |path, depth| self.value(item, path, depth))
                    })
                    .collect::<Result<_, _>>()?,
            ),
            Json::Object(entries) => Native::Dict(
                entries
                    .iter()
                    .map(|(key, item)| {
                        within(path, &Step::Key(key), depth, |path, depth| self.value(item, path, depth))
                            .map(|rendered| (Native::Text(key.clone()), rendered))
                    })
                    .collect::<Result<_, _>>()?,
            ),
            other => Native::from_json(other),
        })
    }

    fn text(&mut self, text: &str, path: &str) -> Result<Native, TemplateError> {
        let source = normalized(text, path)?;
        let syntax = &self.options.syntax;
        if !self.options.native && !syntax.has_delimiters(&source) {
            let kept = if syntax.keep_trailing_newline { None } else { source.strip_suffix('\n') };
            return Ok(Native::Text(kept.map(str::to_owned).unwrap_or(source)));
        }
        let tree = parse_template(&source, path, &self.configured)?;
        let rewrite = Rewrite {
            show_undefined: self.options.undefined == Undefined::Debug,
            native: self.options.native,
            captured: false,
        };
        let tree = rewrite.stmt(&tree);
        let mut generator = CodeGenerator::new("template", &source);
        generator.compile_stmt(&tree);
        let (instructions, blocks) = generator.finish();
        let env = match self.options.undefined {
            Undefined::Strict => &self.renderer.strict,
            Undefined::Default | Undefined::Debug => &self.renderer.lenient,
            Undefined::Chainable => &self.renderer.chainable,
        };
        let (context, xcoms, emitted) = (self.context, self.xcoms, &self.emitted);
        emitted.clear();
        let (root, known) = self.names.get_or_insert_with(|| {
            let mut names = globals(context, xcoms);
            let known = names.keys().copied().collect();
            names.insert(names::EMIT, Value::from_dyn_object(emitted.clone()));
            let names = names.into_iter().map(|(name, value)| (Value::from(name), value));
            let added = context.added.iter().map(|(name, value)| (Value::from(name.as_str()), to_value(value)));
            (Value::from_pairs(names.chain(added)), known)
        });
        let escape = if self.options.syntax.autoescape { AutoEscape::Html } else { AutoEscape::None };
        let mut rendered = String::new();
        let result = eval(env, &instructions, root.clone(), &blocks, &mut make_string_output(&mut rendered), escape);
        result.map_err(|error| translate(&error, path, known))?;
        if self.options.native {
            let native = emitted.joined().map_err(|error| translate(&error, path, known))?;
            return Ok(match self.options.undefined {
                Undefined::Chainable => native.with_undefined("ChainableUndefined"),
                _ => native,
            });
        }
        if rendered.len() > OUTPUT_BYTES_MAX {
            return Err(limit(path, format!("the rendered text is larger than {OUTPUT_BYTES_MAX} bytes")));
        }
        Ok(Native::Text(rendered))
    }
}
