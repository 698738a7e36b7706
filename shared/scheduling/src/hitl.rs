//! What an answer may be, and what it makes of the task that asked.

use crate::step::Ended;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use updraft_model::hitl::{APPROVE, REJECT};
use updraft_model::{AttemptOutcome, Choice, HitlDetail, HitlResponse, HitlThen};

/// Why an answer is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAnswer {
    /// Nothing was chosen.
    #[error("nothing is chosen; choose {} of {}", one_or_more(*.multiple), listed(.options))]
    Nothing {
        /// Whether several may be chosen.
        multiple: bool,
        /// What may be chosen.
        options: Vec<String>,
    },
    /// Something was chosen that is not offered.
    #[error("{} is not among the options; choose of {}", listed(.chosen), listed(.options))]
    Unknown {
        /// What was chosen.
        chosen: Vec<String>,
        /// What may be chosen.
        options: Vec<String>,
    },
    /// More was chosen than may be.
    #[error("{} options are chosen, and the task takes one only; choose one of {}", .chosen, listed(.options))]
    TooMany {
        /// How many were chosen.
        chosen: usize,
        /// What may be chosen.
        options: Vec<String>,
    },
    /// The form was filled in partly, or with fields that it does not have.
    #[error("the form has the fields {}, and {} were filled in; fill in all of them and no others, or none", listed(.fields), listed(.given))]
    Fields {
        /// Those of the form.
        fields: Vec<String>,
        /// Those that were given.
        given: Vec<String>,
    },
}

fn one_or_more(multiple: bool) -> &'static str {
    if multiple { "one or more" } else { "one" }
}

fn listed(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// Whether these options and values answer the question. What the fields of a form may hold is for their schemas to say.
///
/// # Errors
/// [`NotAnAnswer`].
pub fn check(detail: &HitlDetail, chosen: &[String], params_input: &Map<String, Value>) -> Result<(), NotAnAnswer> {
    let options = || detail.options.clone();
    if chosen.is_empty() {
        return Err(NotAnAnswer::Nothing { multiple: detail.multiple, options: options() });
    }
    let unknown: Vec<String> = chosen.iter().filter(|option| !detail.options.contains(option)).cloned().collect();
    if !unknown.is_empty() {
        return Err(NotAnAnswer::Unknown { chosen: unknown, options: options() });
    }
    if !detail.multiple && chosen.len() > 1 {
        return Err(NotAnAnswer::TooMany { chosen: chosen.len(), options: options() });
    }
    let fields: BTreeSet<&String> = detail.params.keys().collect();
    let given: BTreeSet<&String> = params_input.keys().collect();
    if !fields.is_empty() && !given.is_empty() && fields != given {
        let owned = |names: BTreeSet<&String>| names.into_iter().cloned().collect();
        return Err(NotAnAnswer::Fields { fields: owned(fields), given: owned(given) });
    }
    Ok(())
}

/// What an answer makes of the task: how its try ends, and why where it does not succeed.
pub fn answered(detail: &HitlDetail, response: &HitlResponse) -> (Ended, Option<String>) {
    let succeeds = |choice| Ended { choice, ..Ended::new(AttemptOutcome::Success, response.responded_at) };
    let is_rejected = || response.chosen_options.first().is_some_and(|option| option != APPROVE);
    match &detail.then {
        HitlThen::Approval { fail_on_reject: true, .. } if is_rejected() => {
            let by = response.responded_by_user.as_ref().map_or_else(String::new, |user| format!(" by {}", user.name));
            let why = format!("`{REJECT}` was chosen{by}, and the task has `fail_on_reject`");
            (Ended::new(AttemptOutcome::Failed, response.responded_at), Some(why))
        }
        HitlThen::Approval { ignore_downstream_trigger_rules, .. } if is_rejected() => {
            let ignore_downstream_trigger_rules = *ignore_downstream_trigger_rules;
            (succeeds(Some(Choice::ShortCircuit { ignore_downstream_trigger_rules })), None)
        }
        HitlThen::Branch { .. } => (succeeds(Some(Choice::Branch { followed: followed(detail, response) })), None),
        HitlThen::GoOn | HitlThen::Approval { .. } => (succeeds(None), None),
    }
}

/// The tasks that chosen options stand for.
fn followed(detail: &HitlDetail, response: &HitlResponse) -> Vec<String> {
    let HitlThen::Branch { options_mapping } = &detail.then else { return response.chosen_options.clone() };
    let task = |option: &String| options_mapping.get(option).unwrap_or(option).clone();
    response.chosen_options.iter().map(task).collect()
}

/// What the task returns: the answer; a branch returns what it follows.
pub fn returned(detail: &HitlDetail, response: &HitlResponse) -> Value {
    if matches!(detail.then, HitlThen::Branch { .. }) {
        return followed(detail, response).into();
    }
    json!({
        "chosen_options": response.chosen_options,
        "params_input": response.params_input,
        "responded_at": response.responded_at,
        "responded_by_user": response.responded_by_user,
    })
}

/// What counts as the answer when nobody has given one in time; none: nothing does, and the try fails.
pub fn by_default(detail: &HitlDetail, now: Timestamp) -> Option<HitlResponse> {
    Some(HitlResponse {
        chosen_options: detail.defaults.clone()?,
        params_input: detail.params_default(),
        responded_at: now,
        responded_by_user: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(options: &[&str], multiple: bool, params: &[&str], then: HitlThen) -> HitlDetail {
        HitlDetail {
            subject: "?".to_owned(),
            body: None,
            options: options.iter().map(|o| (*o).to_owned()).collect(),
            defaults: None,
            multiple,
            params: params.iter().map(|name| ((*name).to_owned(), json!({"value": 1}))).collect(),
            assigned_users: Vec::new(),
            created_at: Timestamp::UNIX_EPOCH,
            then,
            response: None,
        }
    }

    fn chosen(options: &[&str]) -> HitlResponse {
        HitlResponse {
            chosen_options: options.iter().map(|o| (*o).to_owned()).collect(),
            params_input: Map::new(),
            responded_at: Timestamp::UNIX_EPOCH,
            responded_by_user: None,
        }
    }

    #[test]
    fn an_answer_chooses_of_what_is_offered() {
        let one = detail(&["a", "b"], false, &[], HitlThen::GoOn);
        let several = detail(&["a", "b"], true, &["x", "y"], HitlThen::GoOn);
        let options = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let ok = |detail: &HitlDetail, names: &[&str], fields: Value| {
            check(detail, &options(names), fields.as_object().expect("an object")).map_err(|e| e.to_string())
        };
        assert_eq!(ok(&one, &["a"], json!({})), Ok(()));
        assert_eq!(ok(&one, &["a"], json!({"whatever": 1})), Ok(()), "as in Airflow, where there is no form");
        assert_eq!(ok(&several, &["a", "b"], json!({})), Ok(()));
        assert_eq!(ok(&several, &["b"], json!({"x": 1, "y": 2})), Ok(()));
        for (detail, names, fields, says) in [
            (&one, &[][..], json!({}), "choose one of `a`, `b`"),
            (&one, &["a", "b"], json!({}), "one only"),
            (&several, &["a", "c"], json!({}), "`c` is not among the options"),
            (&several, &["a"], json!({"x": 1}), "the fields `x`, `y`"),
            (&several, &["a"], json!({"x": 1, "y": 1, "z": 1}), "no others"),
        ] {
            let why = ok(detail, names, fields).expect_err("it is refused");
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn what_an_answer_does_depends_on_who_asks() {
        let outcome = |then: HitlThen, option: &str| {
            let (ended, why) = answered(&detail(&[option], false, &[], then), &chosen(&[option]));
            (ended.outcome, ended.choice, why.is_some())
        };
        let approval = |ignore_downstream_trigger_rules, fail_on_reject| HitlThen::Approval {
            ignore_downstream_trigger_rules,
            fail_on_reject,
        };
        let skips = |ignore_downstream_trigger_rules| Some(Choice::ShortCircuit { ignore_downstream_trigger_rules });
        let success = AttemptOutcome::Success;
        assert_eq!(outcome(HitlThen::GoOn, REJECT), (success, None, false));
        assert_eq!(outcome(approval(false, true), APPROVE), (success, None, false));
        assert_eq!(outcome(approval(false, false), REJECT), (success, skips(false), false));
        assert_eq!(outcome(approval(true, false), REJECT), (success, skips(true), false));
        assert_eq!(outcome(approval(true, true), REJECT), (AttemptOutcome::Failed, None, true));
        let options_mapping = [("yes".to_owned(), "ship".to_owned())].into();
        let branch = HitlThen::Branch { options_mapping };
        let asked = detail(&["yes", "stop"], true, &[], branch);
        let (ended, _) = answered(&asked, &chosen(&["yes", "stop"]));
        assert_eq!(ended.choice, Some(Choice::Branch { followed: vec!["ship".to_owned(), "stop".to_owned()] }));
        assert_eq!(returned(&asked, &chosen(&["yes", "stop"])), json!(["ship", "stop"]));
    }

    #[test]
    fn without_defaults_nothing_counts_as_an_answer() {
        let mut asked = detail(&["a"], false, &["x"], HitlThen::GoOn);
        assert_eq!(by_default(&asked, Timestamp::UNIX_EPOCH), None);
        asked.defaults = Some(vec!["a".to_owned()]);
        let response = by_default(&asked, Timestamp::UNIX_EPOCH).expect("there are defaults");
        assert_eq!((&response.chosen_options, &response.params_input["x"]), (&vec!["a".to_owned()], &json!(1)));
        assert_eq!(response.responded_by_user, None);
    }
}
