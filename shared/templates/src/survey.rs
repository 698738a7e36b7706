//! Finds, without rendering, which XComs a template pulls, which variables and connections it reads, and which filters and tests
//! it names.
//!
//! Only a direct call `ti.xcom_pull(...)` (or `task_instance.`) with literal arguments is understood; whatever else is done
//! with `ti`, except reading one of its attributes, counts as computed while rendering.

use minijinja::machinery::ast::{Call, CallArg, CompareOp, Expr, Macro, Stmt};
use minijinja::{Value, value::ValueKind};

use crate::stored::Needs;
use crate::xcoms::RETURN_VALUE;

/// Collects over any number of templates.
#[derive(Default)]
pub(crate) struct Survey<'t> {
    /// The task whose own XComs a pull without `task_ids` means.
    pub own_task_id: &'t str,
    /// What is read.
    pub needs: Needs,
    /// The filters used, with their lines.
    pub filters: Vec<(String, u32)>,
    /// The tests used, with their lines.
    pub tests: Vec<(String, u32)>,
}

impl Survey<'_> {
    pub(crate) fn stmts(&mut self, stmts: &[Stmt<'_>]) {
        for stmt in stmts {
            self.stmt(stmt);
        }
    }

    pub(crate) fn stmt(&mut self, stmt: &Stmt<'_>) {
        match stmt {
            Stmt::Template(s) => self.stmts(&s.children),
            Stmt::EmitExpr(s) => self.expr(&s.expr),
            Stmt::ForLoop(s) => {
                self.exprs([&s.target, &s.iter].into_iter().chain(&s.filter_expr));
                self.stmts(&s.body);
                self.stmts(&s.else_body);
            }
            Stmt::IfCond(s) => {
                self.expr(&s.expr);
                self.stmts(&s.true_body);
                self.stmts(&s.false_body);
            }
            Stmt::WithBlock(s) => {
                self.exprs(s.assignments.iter().map(|(_, value)| value));
                self.stmts(&s.body);
            }
            Stmt::Set(s) => self.expr(&s.expr),
            Stmt::SetBlock(s) => {
                self.exprs(&s.filter);
                self.stmts(&s.body);
            }
            Stmt::AutoEscape(s) => self.stmts(&s.body),
            Stmt::FilterBlock(s) => {
                self.expr(&s.filter);
                self.stmts(&s.body);
            }
            Stmt::Block(s) => self.stmts(&s.body),
            // There is nothing to include; the render will say so.
            Stmt::Continue(_)
            | Stmt::Break(_)
            | Stmt::EmitRaw(_)
            | Stmt::Import(_)
            | Stmt::FromImport(_)
            | Stmt::Extends(_)
            | Stmt::Include(_) => {}
            Stmt::Macro(s) => self.declaration(s),
            Stmt::CallBlock(s) => {
                self.call(&s.call);
                self.declaration(&s.macro_decl);
            }
            Stmt::Do(s) => self.call(&s.call),
        }
    }

    /// Notes `var.value.key`, `var.json.key` and `conn.key`.
    fn stored(&mut self, owner: &Expr<'_>, key: &str) {
        match owner {
            Expr::Var(owner) if owner.id == "conn" && key != "get" => {
                self.needs.connections.insert(key.to_owned());
            }
            Expr::GetAttr(accessor)
                if matches!(accessor.name, "value" | "json")
                    && matches!(&accessor.expr, Expr::Var(owner) if owner.id == "var")
                    && key != "get" =>
            {
                self.needs.variables.insert(key.to_owned());
            }
            _ => {}
        }
    }

    fn declaration(&mut self, declaration: &Macro<'_>) {
        self.exprs(&declaration.defaults);
        self.stmts(&declaration.body);
    }

    fn exprs<'a: 'e, 'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr<'a>>) {
        for expr in exprs {
            self.expr(expr);
        }
    }

    fn expr(&mut self, expr: &Expr<'_>) {
        match expr {
            Expr::Var(e) => self.needs.xcoms.dynamic |= is_task_instance(e.id),
            Expr::Const(_) => {}
            Expr::Slice(e) => self.exprs([&e.expr].into_iter().chain(&e.start).chain(&e.stop).chain(&e.step)),
            Expr::UnaryOp(e) => self.expr(&e.expr),
            Expr::BinOp(e) => self.exprs([&e.left, &e.right]),
            Expr::Compare(e) => {
                self.expr(&e.expr);
                self.exprs(e.ops.iter().map(|CompareOp { expr, .. }| expr));
            }
            Expr::IfExpr(e) => self.exprs([&e.test_expr, &e.true_expr].into_iter().chain(&e.false_expr)),
            Expr::Filter(e) => {
                self.filters.push((e.name.to_owned(), u32::from(e.span().start_line)));
                self.exprs(&e.expr);
                self.args(&e.args);
            }
            Expr::Test(e) => {
                self.tests.push((e.name.to_owned(), u32::from(e.span().start_line)));
                self.expr(&e.expr);
                self.args(&e.args);
            }
            // `ti.try_number` needs nothing; `ti.xcom_pull` without a call is about to be passed on.
            Expr::GetAttr(e) if e.name != "xcom_pull" && matches!(&e.expr, Expr::Var(v) if is_task_instance(v.id)) => {}
            Expr::GetAttr(e) => {
                self.stored(&e.expr, e.name);
                self.expr(&e.expr);
            }
            Expr::GetItem(e) => {
                if let Some(key) = e.subscript_expr.as_const() {
                    self.stored(&e.expr, key.as_str().unwrap_or_default());
                }
                self.exprs([&e.expr, &e.subscript_expr]);
            }
            Expr::Call(e) => self.call(e),
            Expr::List(e) => self.exprs(&e.items),
            Expr::Tuple(e) => self.exprs(&e.items),
            Expr::Map(e) => self.exprs(e.keys.iter().chain(&e.values)),
        }
    }

    fn args(&mut self, args: &[CallArg<'_>]) {
        for arg in args {
            let (CallArg::Pos(expr) | CallArg::Kwarg(_, expr) | CallArg::PosSplat(expr) | CallArg::KwargSplat(expr)) =
                arg;
            self.expr(expr);
        }
    }

    fn call(&mut self, call: &Call<'_>) {
        self.args(&call.args);
        let Expr::GetAttr(callee) = &call.expr else {
            return self.expr(&call.expr);
        };
        if let ("get", Some(CallArg::Pos(first))) = (callee.name, call.args.first())
            && let Some(key) = first.as_const()
        {
            self.stored(&callee.expr, key.as_str().unwrap_or_default());
        }
        if callee.name != "xcom_pull" || !matches!(&callee.expr, Expr::Var(v) if is_task_instance(v.id)) {
            return self.expr(&call.expr);
        }
        match literal_pull(&call.args) {
            None => self.needs.xcoms.dynamic = true,
            Some((task_ids, key)) => {
                let task_ids = task_ids.unwrap_or_else(|| vec![self.own_task_id.to_owned()]);
                self.needs.xcoms.pulls.extend(task_ids.into_iter().map(|task_id| (task_id, key.clone())));
            }
        }
    }
}

fn is_task_instance(name: &str) -> bool {
    name == "ti" || name == "task_instance"
}

/// Task ids and key of a pull, if both are literals.
fn literal_pull(args: &[CallArg<'_>]) -> Option<(Option<Vec<String>>, String)> {
    let mut task_ids = None;
    let mut key = RETURN_VALUE.to_owned();
    for (position, arg) in args.iter().enumerate() {
        // The order of Airflow's own signature: task_ids, dag_id, key.
        let (name, expr) = match arg {
            CallArg::Pos(expr) => (*["task_ids", "dag_id", "key"].get(position)?, expr),
            CallArg::Kwarg(name, expr) => (*name, expr),
            CallArg::PosSplat(_) | CallArg::KwargSplat(_) => return None,
        };
        match name {
            "task_ids" => {
                let value = expr.as_const()?;
                task_ids = if value.is_none() { None } else { Some(literal_task_ids(&value)?) };
            }
            "key" => expr.as_const()?.as_str()?.clone_into(&mut key),
            _ => {}
        }
    }
    Some((task_ids, key))
}

fn literal_task_ids(value: &Value) -> Option<Vec<String>> {
    match value.kind() {
        ValueKind::String => Some(vec![value.as_str()?.to_owned()]),
        ValueKind::Seq => value.try_iter().ok()?.map(|id| id.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}
