//! What a seed's world is asked to do: DAGs, and how each try of each task will end, fixed before it begins.

use crate::model::{Stand, TASKS_MAX};
use crate::rng::{Rng, hash, mix};
use crate::world::{MINUTE, Micros, SECOND, instant};
use jiff::{SignedDuration, Timestamp};
use updraft_metastore::Version;
use updraft_model::hitl::{APPROVE, REJECT};
use updraft_model::{
    AttemptOutcome, Dag, DagId, HitlDetail, HitlThen, Incarnation, Task, TaskId, TaskIndex, TriggerRule,
};
use updraft_timetables::{CronStyle, Timetable, Timezone};

const EMPTY: &str = "airflow.providers.standard.operators.empty.EmptyOperator";
pub(crate) const BASH: &str = "airflow.providers.standard.operators.bash.BashOperator";

/// The pool of the world, which some tasks of all DAGs take slots of.
pub(crate) const POOL: &str = "pool";

/// How a task behaves in one run.
#[derive(Debug, Clone, Copy)]
enum Behaviour {
    Succeeds,
    FailsFirst(u32),
    FailsAlways,
    FailsForGood,
    Skips,
}

/// A task instance as draws know it: what is not mapped has no index.
pub(crate) type Who = (TaskIndex, Option<u32>);

/// The number by which draws know a task instance.
fn number(who: Who) -> u64 {
    u64::from(who.0.0) | who.1.map_or(0, |index| (u64::from(index) + 1) << 8)
}

/// How an attempt ends if nothing stops it: every sixth task is a sensor that gives its worker back a few times in each try.
pub(crate) fn attempt(
    seed: u64,
    run: &Incarnation,
    who: Who,
    try_number: u32,
    resume: u32,
    now: Micros,
) -> AttemptOutcome {
    let drawn = mix(seed ^ hash(run.as_str()) ^ (number(who) << 50) ^ (u64::from(try_number) << 8));
    let looks = if drawn.is_multiple_of(6) { 1 + (drawn >> 32) as u32 % 3 } else { 0 };
    if resume < looks {
        let wait = [0, 900_000, 20 * SECOND, 3 * MINUTE][(drawn >> (16 + 2 * resume)) as usize % 4];
        return AttemptOutcome::Rescheduled { until: instant(now + wait) };
    }
    outcome(seed, run, who, try_number)
}

/// What a try asks people before it ends, if it does: every tenth that would succeed or fail. Whatever becomes of the question, it ends as
/// drawn: that is what the defaults say, and what people answer.
pub(crate) fn question(
    seed: u64,
    run: &Incarnation,
    who: Who,
    try_number: u32,
    now: Micros,
) -> Option<(HitlDetail, Timestamp)> {
    let drawn = mix(seed ^ hash(run.as_str()) ^ (number(who) << 30) ^ (u64::from(try_number) << 4) ^ 0xa5);
    let option = match outcome(seed, run, who, try_number) {
        AttemptOutcome::Success => APPROVE,
        AttemptOutcome::Failed => REJECT,
        _ => return None,
    };
    let detail = HitlDetail {
        subject: format!("{} of {run}?", who.0),
        body: None,
        options: vec![APPROVE.to_owned(), REJECT.to_owned()],
        defaults: Some(vec![option.to_owned()]),
        multiple: false,
        params: serde_json::Map::new(),
        assigned_users: Vec::new(),
        created_at: instant(now),
        then: HitlThen::Approval { ignore_downstream_trigger_rules: false, fail_on_reject: true },
        response: None,
    };
    let wait = [0, 20 * SECOND, 3 * MINUTE, 10 * MINUTE][(drawn >> 16) as usize % 4];
    drawn.is_multiple_of(10).then(|| (detail, instant(now + wait)))
}

/// How a try of a task ends if nothing stops it.
pub(crate) fn outcome(seed: u64, run: &Incarnation, who: Who, try_number: u32) -> AttemptOutcome {
    let drawn = mix(seed ^ hash(run.as_str()) ^ (number(who) << 40));
    let behaviour = match drawn % 100 {
        0..55 => Behaviour::Succeeds,
        55..70 => Behaviour::FailsFirst(1 + (drawn >> 32) as u32 % 3),
        70..80 => Behaviour::FailsAlways,
        80..87 => Behaviour::FailsForGood,
        _ => Behaviour::Skips,
    };
    match behaviour {
        Behaviour::Succeeds => AttemptOutcome::Success,
        Behaviour::FailsFirst(times) if try_number > times => AttemptOutcome::Success,
        Behaviour::FailsFirst(_) | Behaviour::FailsAlways => AttemptOutcome::Failed,
        Behaviour::FailsForGood => AttemptOutcome::FailedForGood,
        Behaviour::Skips => AttemptOutcome::Skipped,
    }
}

/// How long a try takes: most are short, some outlive renewals, a few outlive a lease.
pub(crate) fn duration(seed: u64, run: &Incarnation, who: Who, try_number: u32) -> Micros {
    let drawn = mix(!seed ^ hash(run.as_str()) ^ (number(who) << 20) ^ u64::from(try_number));
    let within = |from: Micros, to: Micros| from + (drawn >> 16) as Micros % (to - from);
    match drawn % 20 {
        0..2 => within(2 * MINUTE, 7 * MINUTE),
        2..5 => within(20 * SECOND, 2 * MINUTE),
        _ => within(50_000, 10 * SECOND),
    }
}

/// How a task ends, its tries taken together, where `died` says which tries died under it.
pub(crate) fn end(seed: u64, run: &Incarnation, who: Who, retries: u32, died: impl Fn(u32) -> bool) -> (Stand, u32) {
    let mut try_number = 1;
    loop {
        let outcome = if died(try_number) { AttemptOutcome::Failed } else { outcome(seed, run, who, try_number) };
        let stand = match outcome {
            AttemptOutcome::Success => Stand::Success,
            AttemptOutcome::Skipped => Stand::Skipped,
            AttemptOutcome::Failed if try_number <= retries => {
                try_number += 1;
                continue;
            }
            AttemptOutcome::Failed | AttemptOutcome::FailedForGood => Stand::Failed,
            AttemptOutcome::Rescheduled { .. }
            | AttemptOutcome::Deferred { .. }
            | AttemptOutcome::AwaitingInput { .. } => unreachable!("no try of a scenario ends like this"),
        };
        return (stand, try_number);
    }
}

/// A DAG of a seed's world. `window`: how long its timetable makes runs.
pub(crate) fn dag(rng: &mut Rng, number: usize, window: Micros) -> Dag {
    let scheduled = rng.chance(6_500);
    let schedule = scheduled.then_some("* * * * *");
    let fail_fast = rng.chance(1_500);
    let style = if rng.chance(5_000) { CronStyle::Trigger } else { CronStyle::DataInterval };
    // A task whose run before failed waits without end, as in Airflow; the timeout is what ends such a run.
    let timeout = rng.chance(1_500).then(|| SignedDuration::from_secs(6 * 60 + rng.range(0, 360)));
    Dag {
        dagrun_timeout: timeout,
        file: format!("dag{number}.yaml"),
        timetable: Timetable::from_schedule(schedule, &Timezone::utc(), style).expect("a cron expression"),
        start_date: Some(instant(-rng.range(0, 4 * MINUTE))),
        end_date: Some(instant(window)),
        catchup: rng.chance(5_000),
        max_active_runs: Some(1 + rng.index(3) as u32),
        fail_fast,
        max_active_tasks: rng.chance(3_000).then(|| 1 + rng.index(3) as u32),
        ..Dag::new(DagId::trusted(format!("dag{number}")), tasks(rng, timeout.is_some(), fail_fast))
    }
}

/// Tasks: dense and sparse graphs, chains and fans.
pub(crate) fn tasks(rng: &mut Rng, look_back: bool, fail_fast: bool) -> Vec<Task> {
    let count = 1 + rng.index(TASKS_MAX);
    let density = *rng.pick(&[1_500, 3_500, 6_000]);
    let mut tasks: Vec<Task> = (0..count).map(|index| task(rng, index, density)).collect();
    if rng.chance(4_000) {
        frame(rng, &mut tasks);
    }
    if look_back {
        for (index, task) in tasks.iter_mut().enumerate() {
            task.depends_on_past = index == 0 || rng.chance(4_000);
            task.wait_for_downstream = task.depends_on_past && rng.chance(3_000);
        }
    }
    for task in tasks.iter_mut().filter(|task| fail_fast && !task.is_teardown) {
        task.trigger_rule = TriggerRule::AllSuccess;
    }
    tasks
}

/// Makes setups and teardowns of some tasks. What is right below a setup waits for its success, as the loader demands.
fn frame(rng: &mut Rng, tasks: &mut [Task]) {
    for index in 0..tasks.len() {
        match rng.index(4) {
            0 => tasks[index].is_setup = true,
            1 => {
                tasks[index].is_teardown = true;
                tasks[index].on_failure_fail_dagrun = rng.chance(3_000);
                tasks[index].trigger_rule = TriggerRule::AllDoneSetupSuccess;
                let setups: Vec<TaskIndex> =
                    (0..index).filter(|i| tasks[*i].is_setup).map(|i| TaskIndex(i as u32)).collect();
                let own = setups.into_iter().filter(|_| rng.chance(6_000));
                let mut upstream: Vec<TaskIndex> = own.chain(tasks[index].upstream.clone()).collect();
                upstream.sort();
                upstream.dedup();
                tasks[index].upstream = upstream;
            }
            _ => {}
        }
    }
    for index in 0..tasks.len() {
        let below_a_setup = tasks[index].upstream.iter().any(|up| tasks[up.at()].is_setup);
        if below_a_setup && !tasks[index].is_teardown {
            tasks[index].trigger_rule = TriggerRule::AllSuccess;
        }
        // See below: a limit that keeps a run from being taken for stuck is for roots only.
        if !tasks[index].upstream.is_empty() {
            tasks[index].max_active_tis_per_dag = None;
        }
    }
}

pub(crate) fn task(rng: &mut Rng, index: usize, density: u32) -> Task {
    let empty = rng.chance(1_500);
    let mut task = Task::new(TaskId::trusted(format!("t{index}")), if empty { EMPTY } else { BASH });
    task.upstream = (0..index).filter(|_| rng.chance(density)).map(|up| TaskIndex(up as u32)).collect();
    if rng.chance(5_000) {
        task.trigger_rule = *rng.pick(TriggerRule::ALL);
    }
    task.retries = rng.index(4) as u32;
    task.retry_delay = SignedDuration::from_millis(*rng.pick(&[1, 900, 5_000, 45_000, 200_000]));
    if rng.chance(1_000) {
        task.retry_exponential_backoff = 2.0;
    }
    task.priority_weight = rng.range(1, 5) as i32;
    if rng.chance(1_200) {
        POOL.clone_into(&mut task.pool);
        task.pool_slots = 1 + rng.index(2) as u32;
    }
    // A run is never taken for stuck, as in Airflow, while a task with this limit has not ended; a root always ends.
    if task.upstream.is_empty() && rng.chance(2_000) {
        task.max_active_tis_per_dag = Some(1);
    }
    task
}

/// A DAG as the store keeps it.
pub(crate) fn version(dag: Dag) -> Version {
    Version { dag, files: std::collections::BTreeMap::new() }
}
