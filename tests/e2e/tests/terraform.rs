//! The Terraform module beside the template: it must have the same rights, variables, alarms and kinds of resources.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use updraft_e2e::repository;
use updraft_e2e::template::rendered;

fn module() -> String {
    let read = |name: &str| {
        std::fs::read_to_string(repository().join("infra/terraform").join(name)).expect("a file of the module")
    };
    ["main.tf", "variables.tf", "outputs.tf"].map(read).concat()
}

/// Texts of the form `service:Action`, of the services that anything is allowed at.
fn actions(texts: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let is_action = |text: &String| {
        let (service, action) = text.split_once(':').unwrap_or_default();
        ["dynamodb", "s3", "sqs", "lambda", "logs", "ssm", "secretsmanager"].contains(&service)
            && action.starts_with(|c: char| c.is_ascii_uppercase())
            && action.chars().all(|c| c.is_ascii_alphanumeric())
            // What a bucket tells, not what anybody may do.
            && !action.starts_with("Object")
    };
    texts.into_iter().filter(is_action).collect()
}

/// Every text in a value.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(map) => map.values().for_each(|item| texts(item, found)),
        _ => {}
    }
}

/// The texts in quotes.
fn quoted(module: &str) -> Vec<String> {
    module.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_module_allows_what_the_template_allows_and_no_more() {
    let mut found = Vec::new();
    texts(&rendered()["Resources"], &mut found);
    assert_eq!(actions(quoted(&module())), actions(found));
}

#[test]
fn the_module_tells_functions_what_the_template_tells_them() {
    let (rendered, module) = (rendered(), module());
    let mut told = BTreeSet::new();
    let mut watched = BTreeSet::new();
    for resource in rendered["Resources"].as_object().into_iter().flatten().map(|(_, resource)| resource) {
        let properties = &resource["Properties"];
        let variables = properties["Environment"]["Variables"].as_object();
        told.extend(variables.into_iter().flatten().map(|(name, _)| name.clone()));
        if resource["Type"] == "AWS::CloudWatch::Alarm" {
            watched.extend(properties["MetricName"].as_str().map(str::to_owned));
        }
    }
    assert!(told.len() > 8 && watched.len() > 4, "{told:?} {watched:?}");
    for name in told.iter().chain(&watched) {
        assert!(module.contains(name.as_str()), "the module does not speak of `{name}`");
    }
    for kind in [
        "aws_dynamodb_table",
        "aws_s3_bucket_public_access_block",
        "aws_s3_bucket_notification",
        "aws_sqs_queue_policy",
        "aws_lambda_event_source_mapping",
        "aws_lambda_function_recursion_config",
        "aws_lambda_function_url",
        "aws_apigatewayv2_authorizer",
        "aws_scheduler_schedule",
        "aws_cloudwatch_metric_alarm",
        "aws_cloudwatch_log_group",
    ] {
        assert!(module.contains(&format!("resource \"{kind}\"")), "the module makes no `{kind}`");
    }
}

/// Where Terraform is, and its provider can be fetched.
#[test]
fn the_module_is_valid() {
    let folder = std::env::temp_dir().join(format!("updraft-terraform-{}", std::process::id()));
    let terraform = |arguments: &[&str]| {
        let run = Command::new("terraform")
            .args(arguments)
            .env("TF_DATA_DIR", &folder)
            .current_dir(Path::new(&repository()).join("infra/terraform"))
            .output();
        run.map(|output| (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    match terraform(&["init", "-backend=false", "-input=false"]) {
        Err(why) => eprintln!("the module is not validated here: `terraform` does not start ({why})"),
        Ok((false, said)) => eprintln!("the module is not validated here: its provider cannot be fetched\n{said}"),
        Ok((true, _)) => assert_eq!(terraform(&["validate"]).ok(), Some((true, String::new()))),
    }
    // Not there, where Terraform is not.
    let _ = std::fs::remove_dir_all(folder);
}
