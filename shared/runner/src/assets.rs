//! What an attempt is shown of assets.

use serde_json::{Map, Value, json};
use updraft_clock::Clock;
use updraft_execution::AssetContext;
use updraft_metastore::{Items, Metastore};
use updraft_model::asset::Numbered;
use updraft_model::{AssetEvent, AssetRef, RunDoc, Topic};
use updraft_service::assets::EVENTS_SHOWN_MAX;
use updraft_service::{Engine, Error, Work};
use updraft_task_queue::TaskQueue;

/// What an attempt is shown of the assets of its task and its run. Nothing is read for a task that has none and a run that was not made by
/// any.
pub(crate) async fn context<I: Items, Q: TaskQueue, C: Clock>(
    engine: &Engine<I, Q, C>,
    work: &Work,
) -> Result<AssetContext, Error> {
    let task = work.definition();
    let mut context = AssetContext::default();
    for (references, shown) in [(&task.inlets, &mut context.inlets), (&task.outlets, &mut context.outlets)] {
        for reference in references {
            shown.push(reference_json(&engine.store, reference).await?);
        }
    }
    if !work.run.facts.asset_events.is_empty() {
        let events = engine.events_of_run(&work.run.facts).await?;
        let sources: Vec<_> =
            events.iter().filter_map(|n| n.event.source.as_ref()).map(|source| source.incarnation.clone()).collect();
        let runs = if sources.is_empty() { Vec::new() } else { engine.store.runs(&sources).await? };
        context.triggering = events.iter().map(|numbered| event_json(&numbered.event, &runs)).collect();
    }
    Ok(context)
}

/// An inlet or outlet; one that is only named as the asset of that name is known.
async fn reference_json<I: Items>(store: &Metastore<I>, reference: &AssetRef) -> Result<Value, Error> {
    let of = |name: &str, uri: &str, group: &str, extra: &Map<String, Value>| {
        let group = if group.is_empty() { "asset" } else { group };
        json!({"kind": "asset", "name": name, "uri": uri, "group": group, "extra": extra})
    };
    Ok(match reference {
        AssetRef::Asset(asset) => of(&asset.name, &asset.uri, &asset.group, &asset.extra),
        AssetRef::Alias { name } => json!({"kind": "alias", "name": name, "group": "asset"}),
        AssetRef::Uri(uri) => of(uri, uri, "", &Map::new()),
        AssetRef::Name(name) => match store.topic(&Topic::of(reference).id()).await? {
            Some(known) => of(name, &known.facts.uri, &known.facts.group, &known.facts.extra),
            None => of(name, name, "", &Map::new()),
        },
    })
}

fn event_json(event: &AssetEvent, runs: &[RunDoc]) -> Value {
    let source = event.source.as_ref();
    let run = source.and_then(|source| runs.iter().find(|run| run.facts.incarnation == source.incarnation));
    let group = if event.group.is_empty() { "asset" } else { &event.group };
    json!({
        "asset": {"kind": "asset", "name": event.name, "uri": event.uri, "group": group, "extra": {}},
        "extra": event.extra,
        "timestamp": iso(event.timestamp),
        "aliases": event.aliases,
        "source_dag_id": source.map(|s| s.dag_id.as_str()),
        "source_task_id": source.map(|s| s.task_id.as_str()),
        "source_run_id": source.map(|s| s.run_id.as_str()),
        "source_map_index": source.map_or(-1, |s| s.map_index),
        "source_dag_run": run.map(|run| json!({
            "dag_id": run.facts.dag_id,
            "run_id": run.facts.run_id,
            "run_type": run.facts.run_type.as_str(),
            "state": run.state.as_str(),
            "logical_date": run.facts.logical_date.map(iso),
            "data_interval_start": run.facts.data_interval.map(|i| iso(i.start)),
            "data_interval_end": run.facts.data_interval.map(|i| iso(i.end)),
            "start_date": run.start_date.map(iso),
            "end_date": run.end_date.map(iso),
        })),
    })
}

fn iso(at: jiff::Timestamp) -> String {
    updraft_model::run_id::isoformat(at)
}

/// The last events of a topic, in order.
pub(crate) async fn last_events<I: Items>(store: &Metastore<I>, topic: &Topic) -> Result<Vec<Value>, Error> {
    let id = topic.id();
    let Some(known) = store.topic(&id).await? else { return Ok(Vec::new()) };
    let events = store.events(&id, 0, known.taken, EVENTS_SHOWN_MAX).await?;
    Ok(events.iter().map(|Numbered { event, .. }| event_json(event, &[])).collect())
}
