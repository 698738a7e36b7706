//! Tasks that ask people.

use serde_json::{Value, json};
use updraft_model::{HitlUser, RunDoc, TaskIndex};
use updraft_service::Error;
use updraft_service::hitl::{Answer, HitlFilter};

use crate::world::{Ran, World};

const ASK: TaskIndex = TaskIndex(0);

fn answer(options: &[&str], params_input: Value, user: &str) -> Answer {
    let Value::Object(params_input) = params_input else { panic!("the form is an object") };
    let user = HitlUser { id: user.to_owned(), name: user.to_owned() };
    Answer { chosen_options: options.iter().map(|o| (*o).to_owned()).collect(), params_input, user }
}

/// A DAG whose first task asks, with two tasks below, the second further down, and a teardown.
fn asking(task: &str) -> String {
    format!(
        "ask: {{{task}}}
left: {{operator: EmptyOperator, dependencies: [ask]}}
right: {{operator: EmptyOperator, dependencies: [ask]}}
below: {{operator: EmptyOperator, dependencies: [left], trigger_rule: all_done}}
remove: {{operator: EmptyOperator, dependencies: [ask], is_teardown: true}}"
    )
}

/// A run that waits for the answer.
async fn asked(world: &mut World) -> RunDoc {
    let run = world.trigger("d", Value::Null).await;
    world.engine.look_at_run(&run.facts.incarnation, updraft_service::runs::Leases::Heed).await.unwrap();
    world.work().await;
    let run = world.engine.store.run(&run.facts.incarnation).await.unwrap().unwrap();
    assert_eq!(run.task_state(ASK).as_str(), "awaiting_input");
    run
}

/// What comes of a question that is answered like this.
fn after<'a>(task: &'a str, options: &'a [&'a str]) -> std::pin::Pin<Box<dyn Future<Output = Ran> + 'a>> {
    Box::pin(async move {
        let mut world = World::of(&asking(task)).await;
        let run = Box::pin(asked(&mut world)).await;
        let attempts = world.attempts;
        let answer = answer(options, json!({}), "ann");
        world.engine.respond(&run, ASK, &answer).await.unwrap();
        let ran = world.finish(run).await;
        assert_eq!(world.attempts, attempts, "an answer needs no worker");
        ran
    })
}

fn ends(ran: &Ran) -> Vec<&str> {
    ran.states.iter().map(|state| state.split_once('=').unwrap().1).collect()
}

#[tokio::test]
async fn an_answer_goes_on_without_a_worker() {
    let ran = after("operator: ApprovalOperator, subject: go on?", &["Approve"]).await;
    assert_eq!(ends(&ran), ["success"; 5]);
    let returned = ran.returned("ask").unwrap();
    assert_eq!((&returned["chosen_options"], &returned["params_input"]), (&json!(["Approve"]), &json!({})));
    assert_eq!(returned["responded_by_user"], json!({"id": "ann", "name": "ann"}));
    assert!(ran.log("ask").contains("ann (ann) answered Approve"), "{}", ran.log("ask"));
}

#[tokio::test]
async fn a_rejection_skips_or_fails() {
    let ran = after("operator: ApprovalOperator, subject: go on?", &["Reject"]).await;
    assert_eq!(ends(&ran), ["success", "skipped", "skipped", "success", "success"]);
    let more = "operator: ApprovalOperator, subject: go on?, ignore_downstream_trigger_rules: true";
    assert_eq!(ends(&after(more, &["Reject"]).await), ["success", "skipped", "skipped", "skipped", "success"]);
    let ran = after("operator: ApprovalOperator, subject: go on?, fail_on_reject: true", &["Reject"]).await;
    assert_eq!(ends(&ran), ["failed", "upstream_failed", "upstream_failed", "success", "success"]);
    assert!(ran.message("ask").contains("`Reject` was chosen by ann"), "{}", ran.message("ask"));
}

#[tokio::test]
async fn a_branch_follows_what_is_chosen() {
    let branch = "operator: HITLBranchOperator, subject: where?, options: [West, right], options_mapping: {West: left}";
    let ran = after(branch, &["West"]).await;
    assert_eq!(ends(&ran), ["success", "success", "skipped", "success", "skipped"]);
    assert_eq!(ran.returned("ask"), Some(json!(["left"])));
    let both = after(&format!("{branch}, multiple: true"), &["West", "right"]).await;
    assert_eq!(ends(&both)[..3], ["success"; 3]);
    // To a task that is not there nobody can go: said while it can be answered otherwise.
    let mut world = World::of(&asking("operator: HITLBranchOperator, subject: where?, options: [left, nowhere]")).await;
    let run = Box::pin(asked(&mut world)).await;
    let refused = world.engine.respond(&run, ASK, &answer(&["nowhere"], json!({}), "ann")).await.unwrap_err();
    assert!(matches!(&refused, Error::Refused(why) if why.contains("nowhere")), "{refused}");
    world.engine.respond(&run, ASK, &answer(&["left"], json!({}), "ann")).await.unwrap();
}

#[tokio::test]
async fn when_the_time_is_over_the_defaults_count() {
    let timed = |more: &str| asking(&format!("operator: ApprovalOperator, subject: '?', response_timeout: 1h{more}"));
    let ran = World::run_of(&timed(", defaults: Reject")).await;
    assert_eq!(ends(&ran), ["success", "skipped", "skipped", "success", "success"]);
    let returned = ran.returned("ask").unwrap();
    assert_eq!((&returned["chosen_options"], &returned["responded_by_user"]), (&json!(["Reject"]), &Value::Null));
    let ran = World::run_of(&timed("")).await;
    assert_eq!(ends(&ran)[0], "failed");
    assert!(ran.message("ask").contains("nobody answered in time"), "{}", ran.message("ask"));
    // As in Airflow, where it is an older way to say the same.
    let ran = World::run_of(&asking("operator: ApprovalOperator, subject: '?', execution_timeout: 1h")).await;
    assert_eq!(ends(&ran)[0], "failed");
    // It is asked again, and every question has its own time.
    let mut world = World::of(&timed(", retries: 2, retry_delay: 10s")).await;
    let ran = world.run().await;
    assert_eq!((ends(&ran)[0], world.attempts), ("failed", 3));
    let entry =
        World::run_of(&asking("operator: HITLEntryOperator, subject: '?', params: {n: 5}, response_timeout: 60")).await;
    let returned = entry.returned("ask").unwrap();
    assert_eq!((&returned["chosen_options"], &returned["params_input"]), (&json!(["OK"]), &json!({"n": 5})));
}

#[tokio::test]
async fn one_answer_counts_and_the_others_are_told() {
    let mut world = World::of(&asking("operator: ApprovalOperator, subject: go on?")).await;
    let run = Box::pin(asked(&mut world)).await;
    let (one, other) = (answer(&["Approve"], json!({}), "ann"), answer(&["Reject"], json!({}), "bob"));
    let view = world.engine.respond(&run, ASK, &one).await.unwrap();
    assert_eq!(view.state.as_str(), "success");
    // With the image from before the first answer, as of somebody whose page is old, and with the present one.
    for image in [run.clone(), view.run] {
        let refused = world.engine.respond(&image, ASK, &other).await.unwrap_err();
        assert!(
            matches!(&refused, Error::Conflict(why) if why.contains("answered already: Approve, by ann")),
            "{refused}"
        );
    }
    let missing = world.engine.respond(&run, TaskIndex(1), &one).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    // Cleared, it asks again, and an answer to the first question is none to the second.
    world.engine.clear(&run.facts.incarnation, &[ASK]).await.unwrap();
    world.work().await;
    let refused = world.engine.respond(&run, ASK, &other).await.unwrap_err();
    assert!(matches!(&refused, Error::Conflict(_)), "{refused}");
    let again = world.engine.store.run(&run.facts.incarnation).await.unwrap().unwrap();
    assert_eq!(again.task_state(ASK).as_str(), "awaiting_input");
    let view = world.engine.respond(&again, ASK, &other).await.unwrap();
    assert_eq!(view.try_number, 2);
    let first = world.engine.hitl_detail(&view.run, ASK, Some(1)).await.unwrap();
    assert_eq!(first.detail.response.unwrap().chosen_options, ["Approve"], "every try keeps its answer");
}

#[tokio::test]
async fn what_was_marked_by_hand_is_not_answered() {
    let mut world = World::of(&asking("operator: ApprovalOperator, subject: go on?")).await;
    let run = Box::pin(asked(&mut world)).await;
    world.engine.mark(&run.facts.incarnation, &[ASK], updraft_model::cell::End::Success).await.unwrap();
    let refused = world.engine.respond(&run, ASK, &answer(&["Approve"], json!({}), "ann")).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Conflict(why) if why.contains("does not wait for an answer any more: it is success")),
        "{refused}"
    );
}

#[tokio::test]
async fn what_is_no_answer_is_refused_and_the_task_waits_on() {
    let form = "operator: HITLOperator, subject: '?', options: [a, b], assigned_users: [{id: '1', name: ann}, {id: '2', name: bob}], \
                params: {n: {__type__: airflow.sdk.Param, default: 1, type: integer, maximum: 9}, note: ''}";
    let mut world = World::of(&asking(form)).await;
    let run = Box::pin(asked(&mut world)).await;
    let fine = json!({"n": 7, "note": "x"});
    for (given, says) in [
        (answer(&["c"], json!({}), "1"), "`c` is not among the options"),
        (answer(&["a", "b"], json!({}), "1"), "one only"),
        (answer(&[], json!({}), "1"), "nothing is chosen"),
        (answer(&["a"], json!({"n": 7}), "1"), "fields `n`, `note`"),
        (answer(&["a"], json!({"n": 10, "note": ""}), "1"), "`n`"),
        (answer(&["a"], fine.clone(), "3"), "`1`, `2` may answer"),
    ] {
        let refused = world.engine.respond(&run, ASK, &given).await.unwrap_err();
        let is_forbidden = given.user.id == "3";
        assert_eq!(matches!(refused, Error::Forbidden(_)), is_forbidden, "{refused}");
        assert!(refused.to_string().contains(says), "{refused}");
    }
    let open = world.engine.list_hitl_details(&HitlFilter::default()).await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(
        open[0].detail.params["n"],
        json!({"value": 1, "description": null, "schema": {"type": "integer", "maximum": 9}})
    );
    let view = world.engine.respond(&run, ASK, &answer(&["b"], fine.clone(), "2")).await.unwrap();
    assert_eq!(view.detail.response.unwrap().params_input, *fine.as_object().unwrap());
    assert!(world.engine.list_hitl_details(&HitlFilter::default()).await.unwrap().is_empty());
    let all = HitlFilter { answered: true, ..HitlFilter::default() };
    assert_eq!(world.engine.list_hitl_details(&all).await.unwrap().len(), 1);
}
