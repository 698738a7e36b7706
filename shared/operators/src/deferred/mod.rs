//! Operators that load and are checked, but are not run by this version: AWS's (those of Amazon MWAA Serverless) and common.sql's.
//!
//! Their facts are data: `amazon.txt`, written by `generate.py` from the signatures in the providers' wheels.

use crate::argument::{Argument, ArgumentType as Type};
use crate::operator::{Operator, Runner};

const AMAZON: &str = include_str!("amazon.txt");

/// Every one of them.
pub(crate) fn operators() -> Vec<Operator> {
    from_data(AMAZON)
}

/// Reads the data: a line per operator, followed by a line per argument. Lines that are neither are passed over; a test holds
/// that there are none.
fn from_data(text: &'static str) -> Vec<Operator> {
    let mut operators: Vec<Operator> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(head) = line.strip_prefix("@ ") {
            operators.extend(operator(head));
        } else if let (Some(operator), Some(argument)) = (operators.last_mut(), argument(line)) {
            operator.arguments.push(argument);
        }
    }
    operators
}

/// `class_path service marks`.
fn operator(head: &'static str) -> Option<Operator> {
    let mut words = head.split(' ');
    let mut operator = Operator::new(words.next()?, Runner::Deferred);
    operator.service = words.next()?;
    operator.sensor = false;
    for mark in words {
        match mark {
            "sensor" => operator.sensor = true,
            "abstract" => operator.abstract_base = true,
            ending => operator.template_ext.push(ending),
        }
    }
    Some(operator)
}

/// `name:type=default`, after `*` where it is required and `%` where it is a template.
fn argument(line: &'static str) -> Option<Argument> {
    let plain = line.trim_start_matches(['*', '%']);
    let marks = &line[..line.len() - plain.len()];
    let (name, rest) = plain.split_once(':')?;
    let (kind, default) = rest.split_once('=').map_or((rest, None), |(kind, default)| (kind, Some(default)));
    let (required, template) = (marks.contains('*'), marks.contains('%'));
    Some(Argument { name, kind: Type::named(kind)?, required, template, default, doc: "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_data_is_understood() {
        let lines: Vec<&'static str> = AMAZON.lines().filter(|line| !line.starts_with('#')).collect();
        for line in &lines {
            match line.strip_prefix("@ ") {
                Some(head) => assert!(operator(head).is_some(), "{line}"),
                None => assert!(argument(line).is_some(), "{line}"),
            }
        }
        let operators = from_data(AMAZON);
        assert_eq!(operators.len(), lines.iter().filter(|line| line.starts_with("@ ")).count());
        assert_eq!(operators.len(), 245);
        let arguments: usize = operators.iter().map(|o| o.arguments.len()).sum();
        assert_eq!(arguments + operators.len(), lines.len());
    }

    #[test]
    fn the_data_says_what_the_providers_say() {
        let operators = from_data(AMAZON);
        let athena = operators.iter().find(|o| o.short_name() == "AthenaOperator").expect("it is listed");
        assert_eq!((athena.service, athena.sensor, athena.template_ext.as_slice()), ("athena", false, &[".sql"][..]));
        let query = athena.argument("query").expect("it is listed");
        assert_eq!((query.kind, query.required, query.template, query.default), (Type::Text, true, true, None));
        let workgroup = athena.argument("workgroup").expect("it is listed");
        assert_eq!((workgroup.required, workgroup.default), (false, Some("\"primary\"")));
        let sensor = operators.iter().find(|o| o.short_name() == "S3KeySensor").expect("it is listed");
        assert!(
            sensor.sensor && sensor.argument("poke_interval").is_some() && athena.argument("poke_interval").is_none()
        );
        assert_eq!(sensor.argument("bucket_key").map(|a| a.kind), Some(Type::TextOrList));
        assert_eq!(operators.iter().filter(|o| o.abstract_base).count(), 15);
    }
}
