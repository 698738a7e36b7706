//! A change means the same on a document and on its item: whatever the document, whatever the change.

use super::*;
use jiff::SignedDuration;
use proptest::prelude::*;
use updraft_model::cell::{End, Lease, Wait};
use updraft_model::{Act, DagRunType, Expansion, Held, Intent, LeftOut, OutboxEntry, RunFacts, Summary, Token};

fn at() -> impl Strategy<Value = Timestamp> {
    (0i64..4_000_000_000).prop_map(|s| Timestamp::from_second(s).unwrap())
}

fn lease() -> impl Strategy<Value = Lease> {
    ("[ab]{1}", at(), at()).prop_map(|(token, until, since)| Lease { token: Token::trusted(token), until, since })
}

fn cell() -> impl Strategy<Value = Cell> {
    let n = 0u32..3;
    prop_oneof![
        Just(Cell::None),
        n.clone().prop_map(|try_number| Cell::Queued { try_number }),
        (n.clone(), lease()).prop_map(|(try_number, lease)| Cell::Running { try_number, lease }),
        (n.clone(), lease()).prop_map(|(try_number, lease)| Cell::Restarting { try_number, lease }),
        (n.clone(), at()).prop_map(|(try_number, due)| Cell::Waiting { wait: Wait::Retry, try_number, due }),
        (n, lease()).prop_map(|(try_number, l)| Cell::Final {
            end: End::Success,
            try_number,
            winner: Some(l.token.clone()),
            leaving: Some(l)
        }),
    ]
}

fn task() -> impl Strategy<Value = TaskIndex> {
    (0u32..4).prop_map(TaskIndex)
}

fn state() -> impl Strategy<Value = DagRunState> {
    prop_oneof![Just(DagRunState::Queued), Just(DagRunState::Running), Just(DagRunState::Failed)]
}

fn facts_of(version: &str) -> RunFacts {
    RunFacts {
        incarnation: Incarnation::trusted("abc"),
        dag_id: DagId::trusted("d"),
        run_id: "manual__1".to_owned(),
        run_type: DagRunType::Manual,
        logical_date: None,
        data_interval: None,
        run_after: Timestamp::UNIX_EPOCH,
        partition: None,
        queued_at: Timestamp::UNIX_EPOCH,
        version: VersionId::trusted(version),
        conf: serde_json::json!({"a": 1}),
        asset_events: BTreeMap::from([(updraft_model::TopicId::trusted("a1"), (0, 3))]),
        origin: updraft_model::RunOrigin::default(),
    }
}

fn run() -> impl Strategy<Value = RunDoc> {
    let cells = proptest::collection::btree_map(task(), cell().prop_filter("absent", |c| *c != Cell::None), 0..4);
    let kept = (
        proptest::collection::btree_map(task(), resumed(), 0..3),
        proptest::collection::btree_map(task(), chosen(), 0..3),
    );
    let more = (
        0u64..3,
        proptest::collection::btree_set(task(), 0..3),
        any::<bool>(),
        proptest::option::of(at()),
        proptest::option::of((intent(), task())),
        proptest::collection::btree_map(mapped_key(), Just(()), 0..4),
    );
    let kept = (kept, more);
    (state(), 0u32..3, cells, proptest::option::of(at()), 0u64..3, any::<bool>(), kept).prop_map(
        |(state, epoch, cells, wake_at, revision, leave, kept)| {
            let facts = facts_of("v");
            let mut run = RunDoc::new(facts, state, Timestamp::UNIX_EPOCH);
            if leave {
                run.facts.version = VersionId::trusted("w");
            }
            ((run.resumes, run.choices), (run.takes, run.past_met, run.past_met_by_all, run.timeout_at, _, _)) =
                kept.clone();
            run.mapped.0 = kept.1.5.into_keys().map(|key| (key, mapped_entry(&key, epoch))).collect();
            if let Some((intent, at)) = kept.1.4 {
                (run.intent, run.intent_at) = (Some(Box::new(intent)), at);
            }
            (run.epoch, run.cells, run.wake_at, run.revision) = (epoch, cells, wake_at, revision);
            run.clear_number = epoch;
            run.operations =
                ["op2", "op1"].map(OperationId::trusted).into_iter().take(usize::from(leave) * 2).collect();
            run.deadline_at = run.timeout_at.filter(|_| leave);
            run.requeued_at = run.timeout_at.filter(|_| epoch > 0);
            run.average_runtimes = (0..epoch as usize % 3).map(|n| (n, SignedDuration::from_millis(1500))).collect();
            run.paused = revision % 3 == 1;
            if leave {
                run.outbox.insert("leave".to_owned(), OutboxEntry::Leave { epoch });
            }
            run
        },
    )
}

fn resumed() -> impl Strategy<Value = Resumed> {
    (0u32..3, 0u32..9, lease()).prop_map(|(try_number, count, l)| Resumed {
        try_number,
        count,
        first_start: l.since,
        last: l.token,
    })
}

fn chosen() -> impl Strategy<Value = Chosen> {
    let left_out = prop_oneof![
        Just(LeftOut::Below),
        Just(LeftOut::DirectlyBelow),
        proptest::collection::vec(any::<u8>(), 0..3).prop_map(LeftOut::These)
    ];
    (0u32..3, any::<bool>(), left_out).prop_map(|(try_number, pending, left_out)| Chosen {
        try_number,
        pending,
        left_out,
    })
}

fn intent() -> impl Strategy<Value = Intent> {
    let act = prop_oneof![
        Just(Act::Clear),
        Just(Act::ClearTasks),
        Just(Act::Requeue),
        Just(Act::Mark(End::Success)),
        Just(Act::Cancel(End::Failed))
    ];
    let tasks = || proptest::collection::vec(task(), 0..4);
    (act, tasks(), tasks()).prop_map(|(act, tasks, resume)| {
        let instances = tasks.iter().take(1).map(|task| (*task, (3..5).collect())).collect();
        let pages = tasks.len() > 2;
        let under_way = tasks.iter().skip(2).copied().collect();
        Intent { pages, instances, under_way, resume: resume.into_iter().collect(), ..Intent::new(act, tasks) }
    })
}

fn mapped_key() -> impl Strategy<Value = MappedKey> {
    prop_oneof![
        task().prop_map(MappedKey::Length),
        task().prop_map(MappedKey::Expansion),
        task().prop_map(MappedKey::Before),
        (task(), 0u32..2).prop_map(|(unit, page)| MappedKey::Summary(unit, page)),
        (task(), task()).prop_map(|(unit, task)| MappedKey::Sign { unit, page: 1, task, end: End::Failed }),
    ]
}

fn mapped_entry(key: &MappedKey, number: u32) -> MappedEntry {
    match key {
        MappedKey::Length(_) | MappedKey::Before(_) | MappedKey::Epoch(..) | MappedKey::Sign { .. } => {
            MappedEntry::Number(number)
        }
        MappedKey::Expansion(_) => MappedEntry::Expansion(Expansion { count: 9, epoch: number }),
        MappedKey::Summary(..) => MappedEntry::Summary(Summary { epoch: number, tallies: BTreeMap::new() }),
    }
}

fn held() -> impl Strategy<Value = Held> {
    (task(), 0u32..3, "[ab]{1}").prop_map(|(task, n, token)| Held { task, try_number: n, token: Token::trusted(token) })
}

fn change() -> impl Strategy<Value = RunChange> {
    let conditions = (
        proptest::option::weighted(0.3, 0u32..3),
        proptest::option::weighted(0.3, state()),
        proptest::collection::btree_map(task(), cell(), 0..2),
        proptest::option::weighted(0.2, held()),
        proptest::option::weighted(0.2, held()),
        proptest::option::weighted(0.2, 0u64..3),
        proptest::option::weighted(0.2, at()),
        proptest::option::weighted(0.2, proptest::option::of(at())),
    );
    let changes = (
        proptest::collection::btree_map(task(), cell(), 0..3),
        proptest::collection::btree_map(task(), 0u32..5, 0..2),
        proptest::option::of(state()),
        proptest::option::of(0u32..9),
        proptest::option::of(proptest::option::of(at())),
        proptest::option::of(proptest::option::of(at())),
        any::<bool>(),
        any::<bool>(),
        proptest::collection::btree_map(task(), resumed(), 0..3),
        proptest::collection::btree_map(task(), proptest::option::of(chosen()), 0..3),
    );
    let more = (
        proptest::option::weighted(0.3, 0u64..3),
        proptest::option::weighted(0.3, proptest::option::of(task())),
        proptest::option::of(1u64..3),
        (proptest::collection::btree_set(task(), 0..3), proptest::collection::btree_set(task(), 0..3)),
        proptest::option::of(any::<bool>()),
        proptest::option::of(proptest::option::of(at())),
        proptest::option::of(proptest::option::of(intent())),
        task(),
        proptest::option::weighted(0.1, at()),
        proptest::collection::btree_map(mapped_key(), proptest::option::of(0u32..3), 0..2),
        proptest::collection::btree_map(mapped_key(), proptest::option::of(0u32..3), 0..3),
    );
    let entries = |entries: BTreeMap<MappedKey, Option<u32>>| {
        entries.into_iter().map(|(key, number)| (key, number.map(|n| mapped_entry(&key, n)))).collect()
    };
    (conditions, changes, more).prop_map(move |(c, w, m)| RunChange {
        if_mapped: entries(m.9),
        mapped: entries(m.10),
        if_takes: m.0,
        if_paused: m.0.map(|n| n == 1),
        paused: m.2.map(|n| n == 1),
        if_intent_at: m.1,
        takes: m.2,
        past_met: m.3.0.into_iter().collect(),
        past_unmet: m.3.1.into_iter().collect(),
        past_met_by_all: m.4,
        timeout_at: m.5,
        deadline_at: m.5.filter(|_| w.7),
        requeued_at: m.5.flatten().filter(|_| w.6),
        intent_at: matches!(m.6, Some(Some(_))).then_some(m.7),
        intent: m.6,
        deleted_at: m.8,
        if_epoch: c.0,
        if_state: c.1,
        if_cells: c.2.into_iter().collect(),
        if_running: c.3,
        if_restarting: c.4,
        if_revision: c.5,
        if_wake_at_most: c.6,
        if_wake_at: c.7,
        cells: w.0.into_iter().collect(),
        max_tries: w.1.into_iter().collect(),
        resumes: w.8.into_iter().collect(),
        choices: w.9.into_iter().collect(),
        state: w.2,
        epoch: w.3.map(|e| (e, ["new", "op2", "op1"].map(OperationId::trusted).to_vec())),
        active_epoch: w.3,
        clear_number: w.3,
        version: w.6.then(|| VersionId::trusted("w")),
        facts: w.7.then(|| Box::new(facts_of("x"))),
        start_date: w.4.flatten(),
        end_date: w.4,
        wake_at: w.5,
        looks: w.6.then_some(4),
        outbox_put: if w.6 { vec![("x".to_owned(), OutboxEntry::Leave { epoch: 1 })] } else { vec![] },
        outbox_remove: if w.7 { vec!["leave".to_owned()] } else { vec![] },
    })
}

proptest! {
    #[test]
    fn a_run_is_read_back(run in run()) {
        prop_assert_eq!(run_doc(&run_item(&run)), Ok(run));
    }

    #[test]
    fn a_run_change_means_the_same_on_the_item(run in run(), change in change()) {
        let update = run_update(&run.facts.incarnation, &change);
        let outcome = update.run(Some(&run_item(&run))).try_map(|i| run_doc(&i)).unwrap();
        let expected = if change.holds(&run) {
            crate::Outcome::Updated(change.apply(&run))
        } else {
            crate::Outcome::Refused(Some(run))
        };
        prop_assert_eq!(outcome, expected);
    }

    #[test]
    fn a_dag_change_means_the_same_on_the_item(
        dag in dag(),
        version in proptest::option::of(proptest::option::of("[vw]")),
        paused in proptest::option::of(any::<bool>()),
        last in proptest::option::weighted(0.3, proptest::option::of(span())),
        fewer in proptest::option::of(0u32..4),
        run in "[ab]", epoch in 0u32..3, which in 0u8..4, wake in proptest::option::of(proptest::option::of(at())),
    ) {
        let run = Incarnation::trusted(run);
        let change = DagChange {
            if_version: version.clone().map(|v| v.map(VersionId::trusted)),
            if_paused: paused,
            if_backfill: (which == 1).then(|| paused.unwrap_or(true).then(|| BackfillId::trusted("b"))),
            if_backfilled_to: (which == 2).then(|| wake.flatten().or(dag.backfilled_to)),
            version_number: fewer,
            backfill: paused.map(|is| is.then(|| BackfillId::trusted("b"))),
            backfilled_to: wake.flatten(),
            if_last: last,
            if_active_fewer_than: fewer,
            if_active: (which == 1).then(|| (run.clone(), epoch)),
            if_not_active: (which == 2).then(|| run.clone()),
            if_wake_at: (which == 0).then(|| wake.unwrap_or(dag.wake_at)),
            version: version.map(|v| v.map(VersionId::trusted)),
            paused,
            last: last.flatten(),
            next_due: wake,
            active_put: if which == 3 { vec![(run.clone(), ActiveRun { epoch, facts: None })] } else { vec![] },
            active_remove: if which == 1 { vec![run.clone()] } else { vec![] },
            held_put: if which == 2 { vec![(run.clone(), Timestamp::UNIX_EPOCH)] } else { vec![] },
            held_remove: if which == 3 { vec![run] } else { vec![] },
            if_queue: dag.queue.iter().filter(|_| which == 1).map(|(t, q)| (t.clone(), if paused.is_some() { *q } else { q.consume() })).collect(),
            queue_put: dag.queue.iter().filter(|_| which >= 1).map(|(t, q)| (t.clone(), q.consume())).collect(),
            queue_all: (which == 0).then(|| if paused.is_some() { BTreeMap::new() } else { queue(7) }),
            wake_at: wake,
            ..DagChange::default()
        };
        let update = dag_update(&dag.dag_id, &change);
        let outcome = update.run(Some(&dag_item(&dag))).try_map(|i| dag_doc(&dag.dag_id, &i)).unwrap();
        let expected = if change.holds(&dag) {
            crate::Outcome::Updated(change.apply(&dag))
        } else {
            crate::Outcome::Refused(Some(dag))
        };
        prop_assert_eq!(outcome, expected);
    }
}

fn span() -> impl Strategy<Value = DataInterval> {
    (at(), at()).prop_map(|(start, end)| DataInterval { start, end })
}

fn queue(told: u64) -> BTreeMap<TopicId, Queued> {
    let waits = Queued::from_here(told).tell(told + 2, Timestamp::UNIX_EPOCH).unwrap();
    BTreeMap::from([(TopicId::trusted("a1"), Queued::from_here(told)), (TopicId::trusted("l2"), waits)])
}

fn dag() -> impl Strategy<Value = DagDoc> {
    let active = proptest::collection::btree_map("[abc]", 0u32..3, 0..3);
    (any::<bool>(), proptest::option::of("[vw]"), proptest::option::of(span()), active, proptest::option::of(at()))
        .prop_map(|(paused, version, last, active, wake)| {
            let mut dag = DagDoc::new(DagId::trusted("d"), "d.yaml".to_owned(), paused);
            dag.version = version.map(VersionId::trusted);
            dag.last = last;
            dag.backfill = paused.then(|| BackfillId::trusted("b"));
            (dag.version_number, dag.backfilled_to) = (u32::from(paused), wake);
            dag.active = active
                .into_iter()
                .map(|(run, epoch)| (Incarnation::trusted(run), ActiveRun { epoch, facts: None }))
                .collect();
            dag.wake_at = wake;
            dag.queue = if paused { queue(1) } else { BTreeMap::new() };
            dag
        })
}
