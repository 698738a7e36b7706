//! Rewrites a parsed template so that Python's operators mean what they mean in Python.
//!
//! The engine has no hook for operators on foreign objects, and its own arithmetic, comparison and joining of text follow
//! Rust's types. So every operator becomes a call of one of our functions (see `operators.rs`), on the tree and not in the
//! text: places in error messages stay true. Attributes with two underscores become a call that refuses.
//!
//! The tree offers no way to change a node in place, hence the full copy.

use minijinja::Value;
use minijinja::machinery::Span;
use minijinja::machinery::ast::{
    AutoEscape, BinOp, BinOpKind, Block, Break, Call, CallArg, CallBlock, Compare, CompareOp, CompareOpKind, Const,
    Continue, Do, EmitExpr, EmitRaw, Expr, Extends, Filter, FilterBlock, ForLoop, FromImport, GetAttr, GetItem, IfCond,
    IfExpr, Import, Include, List, Macro, Map, Set, SetBlock, Slice, Spanned, Stmt, Template, Test, Tuple, UnaryOp,
    UnaryOpKind, Var, WithBlock,
};

use crate::operators::names;

/// The filters that make a text of what they get first; something undefined is a text, too, to them.
const TEXT_FILTERS: [&str; 14] = [
    "capitalize",
    "center",
    "e",
    "escape",
    "indent",
    "lower",
    "replace",
    "string",
    "striptags",
    "title",
    "trim",
    "truncate",
    "upper",
    "urlencode",
];

/// What to change besides the operators.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rewrite {
    /// Print an undefined expression as its own text, as jinja2's `DebugUndefined` does.
    pub show_undefined: bool,
    /// Hand the pieces on as values, as jinja2's `NativeEnvironment` does.
    pub native: bool,
    /// Within a macro or a block whose text is captured: no piece of the template itself.
    pub captured: bool,
}

impl Rewrite {
    /// The same template with our operators.
    pub(crate) fn stmt<'a>(self, stmt: &Stmt<'a>) -> Stmt<'a> {
        match stmt {
            Stmt::Template(s) => Stmt::Template(copy(s, |s| Template { children: self.body(&s.children) })),
            Stmt::EmitExpr(s) if self.hands_on() => match self.emitted(&s.expr) {
                // An `if` without `else` prints nothing, even where undefined names are errors.
                Expr::IfExpr(e) if e.false_expr.is_none() => {
                    let piece = copy(&e, |e| IfExpr {
                        test_expr: self.expr(&e.test_expr),
                        true_expr: self.expr(&e.true_expr),
                        false_expr: Some(text("", e.true_expr.span())),
                    });
                    emit(Expr::IfExpr(piece), s.span())
                }
                piece => emit(piece, s.span()),
            },
            Stmt::EmitExpr(s) => Stmt::EmitExpr(copy(s, |s| EmitExpr { expr: self.emitted(&s.expr) })),
            Stmt::EmitRaw(s) if self.hands_on() => emit(text(s.raw, s.span()), s.span()),
            Stmt::EmitRaw(s) => Stmt::EmitRaw(copy(s, |s| EmitRaw { raw: s.raw })),
            Stmt::ForLoop(s) => Stmt::ForLoop(copy(s, |s| ForLoop {
                target: self.target(&s.target),
                iter: self.expr(&s.iter),
                filter_expr: self.option(s.filter_expr.as_ref()),
                recursive: s.recursive,
                body: self.body(&s.body),
                else_body: self.body(&s.else_body),
            })),
            Stmt::IfCond(s) => Stmt::IfCond(copy(s, |s| IfCond {
                expr: self.expr(&s.expr),
                true_body: self.body(&s.true_body),
                false_body: self.body(&s.false_body),
            })),
            Stmt::WithBlock(s) => Stmt::WithBlock(copy(s, |s| WithBlock {
                assignments: s.assignments.iter().map(|(name, value)| (self.target(name), self.expr(value))).collect(),
                body: self.body(&s.body),
            })),
            Stmt::Set(s) => Stmt::Set(copy(s, |s| Set {
                target: self.target(&s.target),
                // What a template builds step by step must stay shallow enough to be freed.
                expr: function(names::SHALLOW, vec![self.expr(&s.expr)], s.expr.span()),
            })),
            Stmt::SetBlock(s) => Stmt::SetBlock(copy(s, |s| SetBlock {
                target: self.target(&s.target),
                filter: self.literal(self.option(s.filter.as_ref()), s.target.span()),
                body: self.inner().body(&s.body),
            })),
            Stmt::AutoEscape(s) => {
                Stmt::AutoEscape(copy(s, |s| AutoEscape { enabled: self.expr(&s.enabled), body: self.body(&s.body) }))
            }
            Stmt::FilterBlock(s) => Stmt::FilterBlock(copy(s, |s| FilterBlock {
                filter: self.expr(&s.filter),
                filter_span: s.filter_span,
                body: self.inner().body(&s.body),
            })),
            Stmt::Block(s) => {
                Stmt::Block(copy(s, |s| Block { name: s.name, required: s.required, body: self.body(&s.body) }))
            }
            Stmt::Import(s) => Stmt::Import(copy(s, |s| Import { expr: self.expr(&s.expr), name: self.expr(&s.name) })),
            Stmt::FromImport(s) => Stmt::FromImport(copy(s, |s| FromImport {
                expr: self.expr(&s.expr),
                names: s.names.iter().map(|(name, alias)| (self.expr(name), self.option(alias.as_ref()))).collect(),
            })),
            Stmt::Extends(s) => Stmt::Extends(copy(s, |s| Extends { name: self.expr(&s.name) })),
            Stmt::Include(s) => {
                Stmt::Include(copy(s, |s| Include { name: self.expr(&s.name), ignore_missing: s.ignore_missing }))
            }
            Stmt::Macro(s) => Stmt::Macro(copy(s, |s| self.declaration(s))),
            Stmt::CallBlock(s) => Stmt::CallBlock(copy(s, |s| CallBlock {
                call: copy(&s.call, |call| self.call(call)),
                call_expr_span: s.call_expr_span,
                macro_decl: copy(&s.macro_decl, |declaration| self.declaration(declaration)),
            })),
            Stmt::Do(s) => Stmt::Do(copy(s, |s| Do { call: copy(&s.call, |call| self.call(call)) })),
            Stmt::Continue(s) => Stmt::Continue(copy(s, |_| Continue)),
            Stmt::Break(s) => Stmt::Break(copy(s, |_| Break)),
        }
    }

    fn body<'a>(self, body: &[Stmt<'a>]) -> Vec<Stmt<'a>> {
        let mut rewritten = Vec::with_capacity(body.len());
        for stmt in body {
            match stmt {
                // Their text is one piece, so it is captured first.
                Stmt::FilterBlock(_) | Stmt::CallBlock(_) if self.hands_on() => {
                    let span = match stmt {
                        Stmt::FilterBlock(s) => s.span(),
                        Stmt::CallBlock(s) => s.span(),
                        _ => Span::default(),
                    };
                    let body = vec![self.inner().stmt(stmt)];
                    rewritten.push(Stmt::SetBlock(Spanned::new(
                        SetBlock { target: variable(crate::names::BLOCK, span), filter: None, body },
                        span,
                    )));
                    rewritten.push(emit(variable(crate::names::BLOCK, span), span));
                }
                stmt => rewritten.push(self.stmt(stmt)),
            }
        }
        rewritten
    }

    /// Whether what is printed here is a piece of a native template.
    fn hands_on(self) -> bool {
        self.native && !self.captured
    }

    /// For what is inside a captured block.
    fn inner(self) -> Self {
        Self { captured: true, ..self }
    }

    /// The filter of a block that is captured into a name: in a native template its text is read as a literal.
    fn literal(self, filter: Option<Expr<'_>>, span: Span) -> Option<Expr<'_>> {
        if !self.native {
            return filter;
        }
        Some(Expr::Filter(Spanned::new(Filter { name: crate::names::LITERAL, expr: filter, args: Vec::new() }, span)))
    }

    fn declaration<'a>(self, declaration: &Macro<'a>) -> Macro<'a> {
        Macro {
            name: declaration.name,
            args: self.exprs(&declaration.args),
            defaults: self.exprs(&declaration.defaults),
            body: self.inner().body(&declaration.body),
        }
    }

    /// An expression whose value is shown: in `{{ ... }}`, in a list, before a filter of texts.
    fn emitted<'a>(self, expr: &Expr<'a>) -> Expr<'a> {
        let span = expr.span();
        let shown = self.expr(expr);
        if !self.show_undefined {
            return shown;
        }
        match expr {
            Expr::Var(var) => function(names::SHOW_UNDEFINED, vec![shown, text(var.id, span)], span),
            Expr::GetAttr(attr) => {
                function(names::SHOW_MISSING, vec![shown, self.expr(&attr.expr), text(attr.name, span)], span)
            }
            _ => shown,
        }
    }

    fn exprs<'a>(self, exprs: &[Expr<'a>]) -> Vec<Expr<'a>> {
        exprs.iter().map(|expr| self.expr(expr)).collect()
    }

    /// What is assigned to: names, in lists and tuples too, and attributes of namespaces.
    fn target<'a>(self, target: &Expr<'a>) -> Expr<'a> {
        match target {
            Expr::List(e) => {
                Expr::List(copy(e, |e| List { items: e.items.iter().map(|item| self.target(item)).collect() }))
            }
            Expr::Tuple(e) => {
                Expr::Tuple(copy(e, |e| Tuple { items: e.items.iter().map(|item| self.target(item)).collect() }))
            }
            other => self.expr(other),
        }
    }

    fn option<'a>(self, expr: Option<&Expr<'a>>) -> Option<Expr<'a>> {
        expr.map(|expr| self.expr(expr))
    }

    fn expr<'a>(self, expr: &Expr<'a>) -> Expr<'a> {
        match expr {
            Expr::Var(e) => Expr::Var(copy(e, |e| Var { id: e.id })),
            Expr::Const(e) => Expr::Const(copy(e, |e| Const { value: e.value.clone() })),
            Expr::Slice(e) => Expr::Slice(copy(e, |e| Slice {
                expr: self.expr(&e.expr),
                start: self.option(e.start.as_ref()),
                stop: self.option(e.stop.as_ref()),
                step: self.option(e.step.as_ref()),
            })),
            Expr::UnaryOp(e) => self.unary(e),
            Expr::BinOp(e) => self.binary(e),
            Expr::Compare(e) => self.compare(e),
            Expr::IfExpr(e) => Expr::IfExpr(copy(e, |e| IfExpr {
                test_expr: self.expr(&e.test_expr),
                true_expr: self.expr(&e.true_expr),
                false_expr: self.option(e.false_expr.as_ref()),
            })),
            Expr::Filter(e) => Expr::Filter(copy(e, |e| Filter {
                name: e.name,
                expr: e
                    .expr
                    .as_ref()
                    .map(|expr| if TEXT_FILTERS.contains(&e.name) { self.emitted(expr) } else { self.expr(expr) }),
                args: self.args(&e.args),
            })),
            Expr::Test(e) => {
                Expr::Test(copy(e, |e| Test { name: e.name, expr: self.expr(&e.expr), args: self.args(&e.args) }))
            }
            Expr::GetAttr(e) if e.name.starts_with("__") => {
                function(names::FORBIDDEN, vec![self.expr(&e.expr), text(e.name, e.span())], e.span())
            }
            Expr::GetAttr(e) => Expr::GetAttr(copy(e, |e| GetAttr { expr: self.expr(&e.expr), name: e.name })),
            Expr::GetItem(e) => Expr::GetItem(copy(e, |e| GetItem {
                expr: self.expr(&e.expr),
                subscript_expr: self.expr(&e.subscript_expr),
            })),
            Expr::Call(e) => Expr::Call(copy(e, |e| self.call(e))),
            Expr::List(e) => function(names::LIST, e.items.iter().map(|item| self.emitted(item)).collect(), e.span()),
            Expr::Tuple(e) => {
                Expr::Tuple(copy(e, |e| Tuple { items: e.items.iter().map(|item| self.emitted(item)).collect() }))
            }
            Expr::Map(e) => Expr::Map(copy(e, |e| Map { keys: self.exprs(&e.keys), values: self.exprs(&e.values) })),
        }
    }

    fn call<'a>(self, call: &Call<'a>) -> Call<'a> {
        Call { expr: self.expr(&call.expr), args: self.args(&call.args) }
    }

    fn args<'a>(self, args: &[CallArg<'a>]) -> Vec<CallArg<'a>> {
        args.iter()
            .map(|arg| match arg {
                CallArg::Pos(expr) => CallArg::Pos(self.expr(expr)),
                CallArg::Kwarg(name, expr) => CallArg::Kwarg(name, self.expr(expr)),
                CallArg::PosSplat(expr) => CallArg::PosSplat(self.expr(expr)),
                CallArg::KwargSplat(expr) => CallArg::KwargSplat(self.expr(expr)),
            })
            .collect()
    }

    fn unary<'a>(self, e: &Spanned<UnaryOp<'a>>) -> Expr<'a> {
        let operand = self.expr(&e.expr);
        match e.op {
            UnaryOpKind::Not => Expr::UnaryOp(Spanned::new(UnaryOp { op: UnaryOpKind::Not, expr: operand }, e.span())),
            // A negative literal stays one, so that it can be folded.
            UnaryOpKind::Neg if matches!(e.expr, Expr::Const(_)) => {
                Expr::UnaryOp(Spanned::new(UnaryOp { op: UnaryOpKind::Neg, expr: operand }, e.span()))
            }
            UnaryOpKind::Neg => function(names::NEG, vec![operand], e.span()),
        }
    }

    fn binary<'a>(self, e: &Spanned<BinOp<'a>>) -> Expr<'a> {
        let (left, right) = (self.expr(&e.left), self.expr(&e.right));
        match name_of(e.op) {
            Some(name) => function(name, vec![left, right], e.span()),
            // `and`, `or` and `in` choose, they do not compute; the engine's are right.
            None => Expr::BinOp(Spanned::new(BinOp { op: e.op, left, right }, e.span())),
        }
    }

    /// One comparison becomes a call; a chain stays the engine's, which evaluates each operand once.
    fn compare<'a>(self, e: &Spanned<Compare<'a>>) -> Expr<'a> {
        let first = self.expr(&e.expr);
        if let [CompareOp { op, expr }] = &e.ops[..]
            && let Some(name) = comparison_name(*op)
        {
            return function(name, vec![first, self.expr(expr)], e.span());
        }
        let ops = e.ops.iter().map(|op| CompareOp { op: op.op, expr: self.expr(&op.expr) }).collect();
        Expr::Compare(Spanned::new(Compare { expr: first, ops }, e.span()))
    }
}

fn name_of(op: BinOpKind) -> Option<&'static str> {
    Some(match op {
        BinOpKind::Add => names::ADD,
        BinOpKind::Sub => names::SUB,
        BinOpKind::Mul => names::MUL,
        BinOpKind::Div => names::DIV,
        BinOpKind::FloorDiv => names::FLOOR_DIV,
        BinOpKind::Rem => names::REM,
        BinOpKind::Pow => names::POW,
        BinOpKind::Concat => names::CONCAT,
        BinOpKind::Eq => names::EQ,
        BinOpKind::Ne => names::NE,
        BinOpKind::Lt => names::LT,
        BinOpKind::Lte => names::LE,
        BinOpKind::Gt => names::GT,
        BinOpKind::Gte => names::GE,
        BinOpKind::ScAnd | BinOpKind::ScOr | BinOpKind::In => return None,
    })
}

fn comparison_name(op: CompareOpKind) -> Option<&'static str> {
    Some(match op {
        CompareOpKind::Eq => names::EQ,
        CompareOpKind::Ne => names::NE,
        CompareOpKind::Lt => names::LT,
        CompareOpKind::Lte => names::LE,
        CompareOpKind::Gt => names::GT,
        CompareOpKind::Gte => names::GE,
        CompareOpKind::In | CompareOpKind::NotIn => return None,
    })
}

fn copy<T, U>(node: &Spanned<T>, change: impl FnOnce(&T) -> U) -> Spanned<U> {
    Spanned::new(change(node), node.span())
}

fn function<'a>(name: &'static str, args: Vec<Expr<'a>>, span: Span) -> Expr<'a> {
    Expr::Call(call_of(name, args, span))
}

fn call_of<'a>(name: &'static str, args: Vec<Expr<'a>>, span: Span) -> Spanned<Call<'a>> {
    let args = args.into_iter().map(CallArg::Pos).collect();
    Spanned::new(Call { expr: variable(name, span), args }, span)
}

fn variable<'a>(name: &'static str, span: Span) -> Expr<'a> {
    Expr::Var(Spanned::new(Var { id: name }, span))
}

/// Hands a piece of a native template on.
fn emit(piece: Expr<'_>, span: Span) -> Stmt<'_> {
    Stmt::Do(Spanned::new(Do { call: call_of(crate::names::EMIT, vec![piece], span) }, span))
}

fn text<'a>(text: &str, span: Span) -> Expr<'a> {
    Expr::Const(Spanned::new(Const { value: Value::from(text) }, span))
}
