//! Watching a run to its end.

use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Printer, colors_on_stderr};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use updraft_model::{DagRunState, Plan, RunDoc, TaskIndex, TaskInstanceState};

/// How often the run is read.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// After how long without any change the watcher wonders aloud.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// How the watching ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The run did.
    Run(Box<RunDoc>),
    /// The person did not want to wait longer; the run goes on.
    Interrupted,
}

/// Reads the run again and again until it has ended, and says what changes: with a bar on a terminal, in lines elsewhere.
pub(crate) async fn for_end(session: &Session, run: RunDoc, printer: Printer) -> Result<Ended, Failure> {
    let version = session.engine.version(&run.facts.version).await?;
    let progress = Progress::new(&version.plan, printer);
    let mut seen = Seen::default();
    let mut changed = Instant::now();
    let mut wondered = false;
    let mut run = run;
    // From here on Ctrl-C ends the waiting only.
    let mut interrupts = signal(SignalKind::interrupt())?;
    loop {
        if seen.tell(&version.plan, &run, &progress) {
            changed = Instant::now();
            wondered = false;
        }
        progress.update(&version.plan, &run);
        if run.state.is_finished() {
            progress.finish();
            return Ok(Ended::Run(Box::new(run)));
        }
        if changed.elapsed() >= STALLED_AFTER && !wondered && waits_for_a_worker(&version.plan, &run) {
            progress.line(&format!(
                "nothing has happened for {} seconds; on one machine, is `updraft standalone` running? On AWS the scheduler looks within a minute",
                STALLED_AFTER.as_secs()
            ));
            wondered = true;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = interrupts.recv() => {
                progress.finish();
                printer.note(format_args!("no longer waiting; the run `{}` goes on", run.facts.run_id));
                return Ok(Ended::Interrupted);
            }
        }
        run = session.engine.store.run(&run.facts.incarnation).await?.ok_or_else(|| {
            Failure::user(format!("the run `{}` is gone", run.facts.run_id)).cause("somebody deleted it")
        })?;
    }
}

/// Whether nothing runs and nothing waits for its time, so that somebody should be at work.
fn waits_for_a_worker(plan: &Plan, run: &RunDoc) -> bool {
    run.state == DagRunState::Queued
        || plan.tasks().all(|task| {
            let state = run.task_state(task);
            state.is_finished() || matches!(state, TaskInstanceState::None | TaskInstanceState::Queued)
        })
}

/// What has been said already.
#[derive(Debug, Default)]
struct Seen {
    run: Option<DagRunState>,
    tasks: BTreeMap<TaskIndex, (TaskInstanceState, u32)>,
}

impl Seen {
    /// Says what is new; returns whether anything was.
    fn tell(&mut self, plan: &Plan, run: &RunDoc, progress: &Progress) -> bool {
        let mut news = false;
        if self.run != Some(run.state) {
            self.run = Some(run.state);
            news = true;
            if !run.state.is_finished() {
                progress.line(&format!("{}: {}", run.facts.run_id, run.state));
            }
        }
        for task in plan.tasks() {
            let cell = run.cell(task);
            let now = (cell.state(), cell.try_number());
            if self.tasks.insert(task, now) == Some(now) || now.0 == TaskInstanceState::None {
                continue;
            }
            news = true;
            let name = &plan.task(task).task_id;
            progress.line(&if now.1 > 1 {
                format!("{name}: {} (try {})", now.0, now.1)
            } else {
                format!("{name}: {}", now.0)
            });
        }
        if run.state.is_finished() && news {
            progress.line(&format!("{}: {}", run.facts.run_id, run.state));
        }
        news
    }
}

/// A bar on terminals, nothing beside the lines elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    printer: Printer,
}

impl Progress {
    fn new(plan: &Plan, printer: Printer) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { bar: None, printer };
        }
        let bar = ProgressBar::with_draw_target(Some(plan.dag.tasks.len() as u64), ProgressDrawTarget::stderr());
        let bar_colors = if colors_on_stderr() { "{bar:24.green}" } else { "{bar:24}" };
        let template = format!("{bar_colors} {{pos}}/{{len}} tasks, {{elapsed}}  {{wide_msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar: Some(bar), printer }
    }

    /// A line that stays.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.printer.note(text)),
            None => self.printer.note(text),
        }
    }

    /// How far the run is, and what runs.
    fn update(&self, plan: &Plan, run: &RunDoc) {
        let Some(bar) = &self.bar else { return };
        let finished = plan.tasks().filter(|task| run.task_state(*task).is_finished()).count();
        let running: Vec<&str> = plan
            .tasks()
            .filter(|task| run.task_state(*task) == TaskInstanceState::Running)
            .map(|task| plan.task(task).task_id.as_str())
            .collect();
        bar.set_position(finished as u64);
        bar.set_message(running.join(", "));
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
