//! Terraform's expressions, worked out: as much of the language as the module is written in. `hcl-edit` reads them.
//!
//! `hcl-rs` would work them out as well, but wants `indexmap` with a feature, and so everything that uses it built anew.

use hcl_edit::expr::{BinaryOp, BinaryOperator, Expression, ForExpr, ObjectKey, TraversalOperator, UnaryOperator};
use hcl_edit::structure::{Body, Structure};
use hcl_edit::template::{Element, Template};
use serde_json::{Map, Value, json};

/// A function of Terraform.
pub(crate) type Function = fn(&[Value]) -> Result<Value, String>;

/// What expressions may name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    variables: Map<String, Value>,
    functions: &'static [(&'static str, Function)],
}

impl Scope {
    pub(crate) fn with(functions: &'static [(&'static str, Function)]) -> Self {
        Self { variables: Map::new(), functions }
    }

    pub(crate) fn name(&mut self, name: &str, value: Value) {
        self.variables.insert(name.to_owned(), value);
    }

    /// Attributes and blocks; blocks of one kind are a list where there are several.
    pub(crate) fn body(&self, body: &Body) -> Result<Value, String> {
        let mut whole = Map::new();
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => {
                    whole.insert(attribute.key.to_string(), self.value(&attribute.value)?);
                }
                Structure::Block(block) => {
                    let (name, inner) = (block.ident.to_string(), self.body(&block.body)?);
                    match whole.get_mut(&name) {
                        None => drop(whole.insert(name, inner)),
                        Some(Value::Array(blocks)) => blocks.push(inner),
                        Some(first) => *first = json!([first.take(), inner]),
                    }
                }
            }
        }
        Ok(Value::Object(whole))
    }

    pub(crate) fn value(&self, expression: &Expression) -> Result<Value, String> {
        match expression {
            Expression::Null(_) => Ok(Value::Null),
            Expression::Bool(value) => Ok(Value::from(*value.value())),
            Expression::Number(value) => number(value.value().as_f64().ok_or("no number")?),
            Expression::String(text) => Ok(Value::from(text.as_str())),
            Expression::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Expression::Object(pairs) => {
                let pair = |(key, value): (&ObjectKey, &hcl_edit::expr::ObjectValue)| {
                    let key = match key {
                        ObjectKey::Ident(name) => name.to_string(),
                        ObjectKey::Expression(key) => text(&self.value(key)?)?,
                    };
                    Ok((key, self.value(value.expr())?))
                };
                pairs.iter().map(pair).collect::<Result<_, String>>().map(Value::Object)
            }
            Expression::StringTemplate(template) => self.text(template),
            Expression::Parenthesis(inner) => self.value(inner.inner()),
            Expression::Variable(name) => {
                let found = self.variables.get(name.as_str());
                found.cloned().ok_or_else(|| format!("there is no `{}`", name.as_str()))
            }
            Expression::Conditional(of) => {
                let holds = truth(&self.value(&of.cond_expr)?)?;
                self.value(if holds { &of.true_expr } else { &of.false_expr })
            }
            Expression::FuncCall(call) => {
                let name = call.name.name.as_str();
                let found = self.functions.iter().find(|(known, _)| *known == name);
                let (_, function) = found.ok_or_else(|| format!("there is no function `{name}`"))?;
                let arguments: Vec<Value> = call.args.iter().map(|of| self.value(of)).collect::<Result<_, _>>()?;
                function(&arguments).map_err(|why| format!("`{name}`: {why}"))
            }
            Expression::Traversal(of) => {
                of.operators.iter().try_fold(self.value(&of.expr)?, |value, to| self.step(&value, to.value()))
            }
            Expression::UnaryOp(of) => match (of.operator.value(), self.value(&of.expr)?) {
                (UnaryOperator::Not, value) => Ok(Value::from(!truth(&value)?)),
                (UnaryOperator::Neg, value) => number(-value.as_f64().ok_or("no number")?),
            },
            Expression::BinaryOp(of) => self.operation(of),
            Expression::ForExpr(of) => self.each(of),
            Expression::HeredocTemplate(_) => Err("long texts are not read".to_owned()),
        }
    }

    /// A text with values in it. One value alone stays what it is.
    fn text(&self, template: &Template) -> Result<Value, String> {
        let mut whole = String::new();
        for element in template {
            match element {
                Element::Literal(part) => whole.push_str(part),
                Element::Interpolation(of) if template.len() == 1 => return self.value(&of.expr),
                Element::Interpolation(of) => whole.push_str(&text(&self.value(&of.expr)?)?),
                Element::Directive(_) => return Err("directives in texts are not read".to_owned()),
            }
        }
        Ok(Value::from(whole))
    }

    /// One step from a value into it.
    fn step(&self, value: &Value, to: &TraversalOperator) -> Result<Value, String> {
        let missing = |what: String| format!("there is no `{what}` in {value}");
        match to {
            TraversalOperator::GetAttr(name) => {
                value.get(name.as_str()).cloned().ok_or_else(|| missing(name.to_string()))
            }
            TraversalOperator::Index(index) => {
                let index = self.value(index)?;
                let found = match &index {
                    Value::String(key) => value.get(key),
                    place => place.as_u64().and_then(|place| value.get(usize::try_from(place).ok()?)),
                };
                found.cloned().ok_or_else(|| missing(index.to_string()))
            }
            other => Err(format!("{other:?} is not read")),
        }
    }

    fn operation(&self, of: &BinaryOp) -> Result<Value, String> {
        use BinaryOperator::{And, Div, Eq, Greater, GreaterEq, Less, LessEq, Minus, Mod, Mul, NotEq, Or, Plus};
        let (left, right) = (self.value(&of.lhs_expr)?, self.value(&of.rhs_expr)?);
        let numbers = || left.as_f64().zip(right.as_f64()).ok_or_else(|| format!("{left} and {right} are no numbers"));
        match *of.operator.value() {
            Eq => Ok(Value::from(left == right)),
            NotEq => Ok(Value::from(left != right)),
            And => Ok(Value::from(truth(&left)? && truth(&right)?)),
            Or => Ok(Value::from(truth(&left)? || truth(&right)?)),
            Less => numbers().map(|(left, right)| Value::from(left < right)),
            LessEq => numbers().map(|(left, right)| Value::from(left <= right)),
            Greater => numbers().map(|(left, right)| Value::from(left > right)),
            GreaterEq => numbers().map(|(left, right)| Value::from(left >= right)),
            Plus => numbers().and_then(|(left, right)| number(left + right)),
            Minus => numbers().and_then(|(left, right)| number(left - right)),
            Mul => numbers().and_then(|(left, right)| number(left * right)),
            Div => numbers().and_then(|(left, right)| number(left / right)),
            Mod => numbers().and_then(|(left, right)| number(left % right)),
        }
    }

    /// A list or an object made of another.
    fn each(&self, of: &ForExpr) -> Result<Value, String> {
        let pairs: Vec<(Value, Value)> = match self.value(&of.intro.collection_expr)? {
            Value::Array(items) => items.into_iter().enumerate().map(|(place, item)| (json!(place), item)).collect(),
            Value::Object(map) => map.into_iter().map(|(key, value)| (Value::from(key), value)).collect(),
            other => return Err(format!("{other} has no elements")),
        };
        let (mut list, mut object) = (Vec::new(), Map::new());
        for (key, value) in pairs {
            let mut inner = self.clone();
            if let Some(name) = &of.intro.key_var {
                inner.name(name.as_str(), key);
            }
            inner.name(of.intro.value_var.as_str(), value);
            if let Some(only) = &of.cond
                && !truth(&inner.value(&only.expr)?)?
            {
                continue;
            }
            let made = inner.value(&of.value_expr)?;
            match &of.key_expr {
                Some(key) => drop(object.insert(text(&inner.value(key)?)?, made)),
                None => list.push(made),
            }
        }
        Ok(if of.key_expr.is_some() { Value::Object(object) } else { Value::Array(list) })
    }
}

fn truth(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("{value} is neither true nor false"))
}

/// What a value is as text.
fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        other => Err(format!("{other} is no text")),
    }
}

/// A number; a whole one without a point, as it is written.
pub(crate) fn number(value: f64) -> Result<Value, String> {
    format!("{value}").parse::<serde_json::Number>().map(Value::Number).map_err(|error| format!("{value}: {error}"))
}
