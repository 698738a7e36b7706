//! The template, its functions worked out where parameters have their defaults, but for an issuer and a topic.

use serde_json::{Map, Value};
use updraft_e2e::template::rendered;

/// What is there or not, in what is compared.
const CONDITIONS: [(&str, bool); 4] =
    [("HasAlarms", true), ("HasDashboard", true), ("HasAlarmTopic", true), ("HasJwtIssuer", true)];

/// What parameters and pseudo parameters are, other than their defaults.
const VALUES: [(&str, &str); 8] = [
    ("AWS::StackName", "STACK"),
    ("AWS::AccountId", "ACCOUNT"),
    ("AWS::Region", "REGION"),
    ("AWS::Partition", "aws"),
    ("BucketName", "BUCKET"),
    ("AlarmTopic", "TOPIC"),
    ("JwtIssuer", "https://issuer"),
    ("Version", "VERSION"),
];

/// The template, resolved.
#[derive(Debug)]
pub(crate) struct Template {
    parameters: Map<String, Value>,
    resources: Map<String, Value>,
}

impl Template {
    /// As CloudFormation sees it.
    pub(crate) fn read() -> Self {
        let rendered = rendered();
        let resources = resolved(&rendered["Resources"], &rendered);
        let map = |value: &Value| value.as_object().expect("an object").clone();
        Self { parameters: map(&rendered["Parameters"]), resources: map(&resources) }
    }

    pub(crate) fn parameters(&self) -> &Map<String, Value> {
        &self.parameters
    }

    /// The properties of a resource.
    pub(crate) fn properties(&self, name: &str) -> &Value {
        let resource = self.resources.get(name).unwrap_or_else(|| panic!("the template has no `{name}`"));
        &resource["Properties"]
    }

    /// The name that a resource is given, where it is given one.
    pub(crate) fn name_of(&self, resource: &str) -> Option<&str> {
        let properties = &self.resources.get(resource)?["Properties"];
        ["FunctionName", "TableName"].into_iter().find_map(|of| properties[of].as_str())
    }

    /// The resources of a type, by name.
    pub(crate) fn of_type(&self, kind: &str) -> Vec<(&str, &Value)> {
        let all = self.resources.iter().filter(|(_, resource)| resource["Type"] == kind);
        all.map(|(name, resource)| (name.as_str(), &resource["Properties"])).collect()
    }
}

/// A `Ref` worked out: a parameter's value, or the name of a resource.
fn named(name: &str, template: &Value) -> Value {
    if let Some((_, value)) = VALUES.iter().find(|(known, _)| *known == name) {
        return Value::from(*value);
    }
    match template["Parameters"].get(name) {
        Some(parameter) => {
            let default = &parameter["Default"];
            let number =
                (parameter["Type"] == "Number").then(|| default.as_str().and_then(|text| text.parse::<i64>().ok()));
            number.flatten().map_or_else(|| default.clone(), Value::from)
        }
        // What is named after the resource stands for it, whether it is a URL or a name.
        None => Value::from(name),
    }
}

fn resolved(value: &Value, template: &Value) -> Value {
    let Value::Object(map) = value else {
        return match value {
            Value::Array(items) => items.iter().map(|item| resolved(item, template)).collect(),
            other => other.clone(),
        };
    };
    let single = map.iter().next().filter(|_| map.len() == 1);
    match single.map(|(name, argument)| (name.as_str(), argument)) {
        Some(("Ref", Value::String(name))) => named(name, template),
        Some(("Fn::GetAtt", of)) => attribute(of[0].as_str().unwrap_or_default(), of[1].as_str().unwrap_or_default()),
        Some(("Fn::Sub", Value::String(text))) => Value::from(substituted(text, template)),
        Some(("Fn::FindInMap", path)) => {
            let path = resolved(path, template);
            let part = |n: usize| path[n].as_str().unwrap_or_default();
            template["Mappings"][part(0)][part(1)][part(2)].clone()
        }
        Some(("Fn::If", arguments)) => {
            let holds = CONDITIONS.iter().find(|(name, _)| arguments[0] == *name).expect("a known condition").1;
            resolved(&arguments[if holds { 1 } else { 2 }], template)
        }
        _ => map.iter().map(|(key, value)| (key.clone(), resolved(value, template))).collect(),
    }
}

fn attribute(name: &str, attribute: &str) -> Value {
    Value::from(if attribute == "Arn" { format!("{name}.Arn") } else { name.to_owned() })
}

fn substituted(text: &str, template: &Value) -> String {
    let mut parts = text.split("${");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').expect("a name ends");
        let value = match name.split_once('.') {
            Some((of, of_it)) => attribute(of, of_it),
            None => named(name, template),
        };
        whole.push_str(value.as_str().unwrap_or_default());
        whole.push_str(rest);
    }
    whole
}
