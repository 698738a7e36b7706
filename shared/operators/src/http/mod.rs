//! The http provider.

use crate::argument::{Argument, ArgumentType as Type};
use crate::operator::{Operator, Runner};

const CONNECTION: &[Argument] = &[
    Argument::new("http_conn_id", Type::Text)
        .template()
        .or("\"http_default\"")
        .doc("the connection that says where to and with which credentials"),
    Argument::new("headers", Type::Mapping).template().or("null").doc("headers of the request"),
    Argument::new("extra_options", Type::Mapping)
        .or("null")
        .doc("`timeout`, `check_response`, `verify`, `allow_redirects` and the like"),
    Argument::new("request_kwargs", Type::Mapping).or("null").doc("more about the request: `json`, `params`, ..."),
    Argument::new("response_check", Type::Callable).or("null").doc("a function that says whether the answer is good"),
    Argument::new("response_check_name", Type::Text).doc("the function's name, with `response_check_file`"),
    Argument::new("response_check_file", Type::Text).doc("the file with the function"),
    Argument::new("response_check_lambda", Type::Text).doc("the function as a Python lambda"),
    Argument::new("tcp_keep_alive", Type::Boolean).or("true").doc("keep the connection alive"),
    Argument::new("tcp_keep_alive_idle", Type::Integer).or("120").doc("seconds of silence before the first probe"),
    Argument::new("tcp_keep_alive_count", Type::Integer).or("20").doc("how many probes may go unanswered"),
    Argument::new("tcp_keep_alive_interval", Type::Integer).or("30").doc("seconds between probes"),
    Argument::new("deferrable", Type::Boolean).doc("wait without a worker"),
];

/// Every operator and sensor of the provider.
pub(crate) fn operators() -> Vec<Operator> {
    vec![operator(), sensor()]
}

fn operator() -> Operator {
    Operator::new("airflow.providers.http.operators.http.HttpOperator", Runner::Http)
        .was(&[
            "airflow.providers.http.operators.http.SimpleHttpOperator",
            "airflow.operators.http_operator.SimpleHttpOperator",
        ])
        .takes(&[
            Argument::new("endpoint", Type::Text)
                .template()
                .or("null")
                .doc("the path at the connection, or a whole URL"),
            Argument::new("method", Type::Text).or("\"POST\"").doc("the method of the request"),
            Argument::new("data", Type::Any).template().or("null").doc("the body; the query of a GET"),
            Argument::new("pagination_function", Type::Callable)
                .or("null")
                .doc("a function from an answer to the next request, or to null"),
            Argument::new("response_filter", Type::Callable).or("null").doc("a function from the answer to the result"),
            Argument::new("log_response", Type::Boolean).or("false").doc("the log shows the answer"),
            Argument::new("auth_type", Type::Any).or("null").doc("basic authentication, if anything"),
            Argument::new("warn_on_non_idempotent", Type::Boolean)
                .or("true")
                .doc("warn of retries of a request that is not safe to repeat"),
            Argument::new("retry_args", Type::Mapping).or("null").doc("how a failed request is repeated"),
        ])
        .takes(CONNECTION)
}

fn sensor() -> Operator {
    Operator::new("airflow.providers.http.sensors.http.HttpSensor", Runner::HttpSensor)
        .was(&["airflow.sensors.http_sensor.HttpSensor"])
        .takes(&[
            Argument::new("endpoint", Type::Text)
                .required()
                .template()
                .doc("the path at the connection, or a whole URL"),
            Argument::new("method", Type::Text).or("\"GET\"").doc("the method of the request"),
            Argument::new("request_params", Type::Mapping).template().or("null").doc("the query of the request"),
            Argument::new("response_error_codes_allowlist", Type::List)
                .or("null")
                .doc("status codes to wait on; `[\"404\"]` if not given"),
        ])
        .takes(CONNECTION)
}
