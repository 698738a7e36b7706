"""Airflow's own client against a server of Updraft: every method of the classes below, as somebody's script would call it.

    script.py URL TOKEN

The server runs the DAG files of `dags/` beside this file. Says nothing where all is well; fails at the first answer that is not what Airflow
would give, and where a method was left out.
"""

import inspect
import json
import sys
import time
from datetime import datetime, timezone

import airflow_client.client as airflow
from airflow_client.client import api
from airflow_client.client.exceptions import ApiException
from airflow_client.client.models import (
    AssetStateStoreBody,
    BackfillPostBody,
    BulkBodyBulkDAGRunBody,
    BulkBodyBulkTaskInstanceBody,
    BulkBodyConnectionBody,
    BulkBodyPoolBody,
    BulkBodyVariableBody,
    BulkDAGRunClearBody,
    ClearPartitionsBody,
    ClearTaskInstancesBody,
    ConnectionBody,
    ConnectionTestRequestBody,
    CreateAssetEventsBody,
    DAGPatchBody,
    DAGRunClearBody,
    DAGRunPatchBody,
    DAGRunsBatchBody,
    MaterializeAssetBody,
    PatchTaskInstanceBody,
    PoolBody,
    PoolPatchBody,
    TaskInstancesBatchBody,
    TaskStateStoreBody,
    TaskStateStorePatchBody,
    TriggerDAGRunPostBody,
    UpdateHITLDetailPayload,
    VariableBody,
    XComCreateBody,
    XComUpdateBody,
)

# Every method of these is called.
CLASSES = [
    "AssetApi",
    "AssetStateStoreApi",
    "BackfillApi",
    "ConfigApi",
    "ConnectionApi",
    "DAGApi",
    "DAGParsingApi",
    "DagRunApi",
    "DagSourceApi",
    "DagStatsApi",
    "DagVersionApi",
    "DagWarningApi",
    "EventLogApi",
    "ExperimentalApi",
    "ExtraLinksApi",
    "ImportErrorApi",
    "JobApi",
    "MonitorApi",
    "PluginApi",
    "PoolApi",
    "ProviderApi",
    "TaskApi",
    "TaskInstanceApi",
    "TaskStateStoreApi",
    "VariableApi",
    "VersionApi",
    "XComApi",
]

called = set()


class Recorded:
    """An API class whose calls are noted."""

    def __init__(self, name, client):
        self._name = name
        self._api = getattr(api, name)(client)

    def __getattr__(self, method):
        function = getattr(self._api, method)
        called.add(f"{self._name}.{method.removesuffix('_without_preload_content')}")
        return function


def methods(name):
    """The methods of an API class, without the variants of each."""
    of_class = inspect.getmembers(getattr(api, name), inspect.isfunction)
    variants = ("_with_http_info", "_without_preload_content")
    return [f"{name}.{method}" for method, _ in of_class if not method.startswith("_") and not method.endswith(variants)]


def fails(status, function, *arguments, **named):
    """Calls it, and expects to be refused."""
    try:
        function(*arguments, **named)
    except ApiException as refused:
        assert refused.status == status, (status, refused.status, refused.body)
        return refused
    raise AssertionError(f"{function.__name__} was not refused with {status}")


def eventually(what, holds, patience=60):
    """Waits until something is so."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"it did not come to pass that {what}")


def trigger(apis, dag_id, **more):
    body = TriggerDAGRunPostBody(logical_date=None, **more)
    return apis["DagRunApi"].trigger_dag_run(dag_id, body)


def ended(apis, dag_id, run_id):
    """The run, once it has ended."""
    find = lambda: apis["DagRunApi"].get_dag_run(dag_id, run_id)
    return eventually(f"{run_id} ends", lambda: (run := find()).state in ("success", "failed") and run)


def of_the_server(apis):
    assert apis["VersionApi"].get_version().version
    health = apis["MonitorApi"].get_health()
    assert health.metadatabase.status == "healthy" and health.scheduler.status == "healthy"
    sections = {section.name for section in apis["ConfigApi"].get_config().sections}
    assert "core" in sections
    value = apis["ConfigApi"].get_config_value("core", "executor").sections[0].options[0].value.actual_instance
    assert value == "local", value
    fails(404, apis["ConfigApi"].get_config_value, "core", "nope")
    assert apis["JobApi"].get_jobs().total_entries == 0
    assert apis["PluginApi"].get_plugins().total_entries == 0
    assert apis["PluginApi"].import_errors().total_entries == 0
    assert apis["ProviderApi"].get_providers().total_entries == 0


def of_pools(apis):
    pools = apis["PoolApi"]
    assert pools.post_pool(PoolBody(name="p", slots=3, description="d")).open_slots == 3
    fails(409, pools.post_pool, PoolBody(name="p", slots=3))
    assert pools.patch_pool("p", PoolPatchBody(slots=5), update_mask=["slots"]).slots == 5
    assert pools.get_pool("p").description == "d"
    assert [pool.name for pool in pools.get_pools(order_by=["name"]).pools] == ["default_pool", "p"]
    bulk = {"actions": [{"action": "create", "entities": [{"name": "q", "slots": 1}]}, {"action": "delete", "entities": ["q"]}]}
    said = pools.bulk_pools(BulkBodyPoolBody.from_dict(bulk))
    assert said.create.success == ["q"] and said.delete.success == ["q"]
    pools.delete_pool("p")
    fails(404, pools.get_pool, "p")


def of_variables(apis):
    variables = apis["VariableApi"]
    assert variables.post_variable(VariableBody(key="region", value="eu")).value == "eu"
    assert variables.post_variable(VariableBody(key="api_key", value="hunter22")).value == "***"
    assert variables.patch_variable("region", VariableBody(key="region", value="us")).value == "us"
    assert variables.get_variable("region").is_encrypted in (True, False)
    assert variables.get_variables(variable_key_pattern="reg%").total_entries == 1
    bulk = {"actions": [{"action": "create", "entities": [{"key": "v", "value": [1]}]}, {"action": "delete", "entities": ["v"]}]}
    said = variables.bulk_variables(BulkBodyVariableBody.from_dict(bulk))
    assert said.create.success == ["v"] and said.delete.success == ["v"]
    for key in ("region", "api_key"):
        variables.delete_variable(key)
    fails(404, variables.get_variable, "region")


def of_connections(apis):
    connections = apis["ConnectionApi"]
    body = ConnectionBody(connection_id="db", conn_type="postgres", host="h", port=5432, password="hunter22", extra='{"token": "x"}')
    made = connections.post_connection(body)
    assert made.password == "***" and "x" not in made.extra.replace("extra", "").replace("token", "")
    changed = ConnectionBody(connection_id="db", conn_type="mysql", password="***")
    assert connections.patch_connection("db", changed).port == 5432
    assert connections.get_connection("db").conn_type == "mysql"
    assert connections.get_connections(order_by=["-connection_id"]).total_entries == 1
    fails(403, connections.test_connection, body)
    fails(403, connections.enqueue_connection_test, ConnectionTestRequestBody(connection_id="db", conn_type="mysql"))
    fails(404, connections.get_connection_test, "no-such-token")
    connections.create_default_connections()
    bulk = {"actions": [{"action": "delete", "entities": ["db"]}]}
    assert connections.bulk_connections(BulkBodyConnectionBody.from_dict(bulk)).delete.success == ["db"]
    connections.post_connection(ConnectionBody(connection_id="other", conn_type="http"))
    connections.delete_connection("other")
    fails(404, connections.get_connection, "other")


def of_dags(apis):
    dags = apis["DAGApi"]
    found = eventually("all files are read", lambda: (all_dags := dags.get_dags()).total_entries >= 3 and all_dags)
    assert "etl" in {dag.dag_id for dag in found.dags}
    assert dags.get_dags(tags=["daily"], tags_match_mode="all").total_entries == 1
    assert dags.get_dag("etl").relative_fileloc == "etl.yaml"
    details = dags.get_dag_details("etl")
    assert details.doc_md == "What it does." and details.is_favorite is False
    dags.favorite_dag("etl")
    assert dags.get_dags(is_favorite=True).total_entries == 1
    dags.unfavorite_dag("etl")
    fails(409, dags.unfavorite_dag, "etl")
    assert [tag for tag in dags.get_dag_tags().tags] == ["daily"]
    assert dags.patch_dag("etl", DAGPatchBody(is_paused=True)).is_paused is True
    assert dags.patch_dags(DAGPatchBody(is_paused=False), dag_id_pattern="etl").dags[0].is_paused is False
    fails(404, dags.get_dag, "nope")
    tasks = apis["TaskApi"]
    assert [task.task_id for task in tasks.get_tasks("etl").tasks] == ["extract", "load"]
    assert tasks.get_task("etl", "extract").downstream_task_ids == ["load"]
    assert "bash_command" in apis["DagSourceApi"].get_dag_source("etl").content
    apis["DAGParsingApi"].reparse_dag_file("etl.yaml")
    errors = apis["ImportErrorApi"].get_import_errors()
    assert errors.import_errors[0].filename == "bad.yaml"
    assert "bad.yaml" in apis["ImportErrorApi"].get_import_error(errors.import_errors[0].import_error_id).stack_trace
    warnings = apis["DagWarningApi"].list_dag_warnings().dag_warnings
    assert "no_such_pool" in warnings[0].message, warnings


def of_runs(apis):
    runs = apis["DagRunApi"]
    at = datetime(2026, 1, 31, tzinfo=timezone.utc)
    made = runs.trigger_dag_run("etl", TriggerDAGRunPostBody(logical_date=at, dag_run_id="mine", conf={"who": "you"}))
    assert made.state == "queued" and made.logical_date == at and made.conf == {"who": "you"}
    fails(409, runs.trigger_dag_run, "etl", TriggerDAGRunPostBody(logical_date=None, dag_run_id="mine"))
    lines = apis["ExperimentalApi"].wait_dag_run_until_finished_without_preload_content("etl", "mine", interval=0.1, result=["extract"])
    last = lines.read().decode().splitlines()[-1]
    assert '"success"' in last and '"hello you"' in last, last
    runs.wait_dag_run_until_finished_without_preload_content("etl", "mine", interval=1)
    run = runs.get_dag_run("etl", "mine")
    assert run.state == "success" and run.duration is not None and run.run_type == "manual"
    assert runs.get_dag_runs("etl", state=["success"], order_by=["-run_after"]).total_entries == 1
    assert runs.get_dag_runs("~", cursor="", limit=1).dag_runs[0].dag_id
    batch = runs.get_list_dag_runs_batch("~", DAGRunsBatchBody(dag_ids=["etl"], states=["success"]))
    assert batch.dag_runs[0].dag_run_id == "mine"
    stats = apis["DagStatsApi"].get_dag_stats(dag_ids=["etl"]).dags[0].stats
    assert {stat.state: stat.count for stat in stats}["success"] == 1


def of_task_instances(apis):
    instances = apis["TaskInstanceApi"]
    found = instances.get_task_instances("etl", "mine")
    assert [ti.task_id for ti in found.task_instances] == ["extract", "load"]
    assert instances.get_task_instances("~", "~", state=["success"]).total_entries >= 2
    one = instances.get_task_instance("etl", "mine", "extract")
    assert one.state == "success" and one.try_number == 1 and one.operator == "BashOperator"
    assert one.queued_when is not None and one.queued_when <= one.start_date, (one.queued_when, one.start_date)
    assert one.rendered_fields == {"bash_command": 'echo "hello you"', "env": None, "cwd": None}, one.rendered_fields
    assert instances.get_mapped_task_instance("etl", "mine", "extract", -1).id == one.id
    batch = instances.get_task_instances_batch("~", "~", TaskInstancesBatchBody(dag_ids=["etl"], task_ids=["load"]))
    assert batch.total_entries == 1
    assert instances.get_task_instance_tries("etl", "mine", "extract").total_entries == 1
    assert instances.get_mapped_task_instance_tries("etl", "mine", "extract", -1).total_entries == 1
    assert instances.get_task_instance_try_details("etl", "mine", "extract", 1).state == "success"
    assert instances.get_mapped_task_instance_try_details("etl", "mine", "extract", 1, -1).state == "success"
    fails(404, instances.get_task_instance_try_details, "etl", "mine", "extract", 9)
    fails(404, instances.get_mapped_task_instances, "etl", "mine", "extract")
    assert instances.get_task_instance_dependencies("etl", "mine", "extract").dependencies == []
    assert instances.get_task_instance_dependencies_by_map_index("etl", "mine", "extract", -1).dependencies == []
    log = instances.get_log("etl", "mine", "extract", 1, full_content=True)
    assert any("hello you" in str(line) for line in log.content.actual_instance), log
    streamed = instances.get_log_without_preload_content("etl", "mine", "extract", 1, accept="application/x-ndjson")
    assert "hello you" in streamed.read().decode()
    fails(400, instances.get_external_log_url, "etl", "mine", "extract", 1)
    assert instances.get_extra_links("etl", "mine", "extract").total_entries == 0
    assert apis["ExtraLinksApi"].get_extra_links("etl", "mine", "extract").extra_links == {}


def of_xcoms(apis):
    xcoms = apis["XComApi"]
    assert xcoms.get_xcom_entries("etl", "mine", "extract").xcom_entries[0].key == "return_value"
    value = xcoms.get_xcom_entry("etl", "extract", "mine", "return_value").actual_instance.value
    assert value == "hello you", value
    fails(404, xcoms.get_xcom_entry, "etl", "extract", "mine", "nope")
    place = ("etl", "extract", "mine")
    # `~` stands for all DAGs, all runs, all tasks.
    everywhere = xcoms.get_xcom_entries("~", "~", "~", task_id_pattern="extr%", xcom_key="return_value")
    assert ("etl", "mine", "extract") in {(one.dag_id, one.run_id, one.task_id) for one in everywhere.xcom_entries}
    assert {one.task_id for one in everywhere.xcom_entries} == {"extract"}
    assert xcoms.get_xcom_entries("~", "mine", "~").total_entries >= 1
    assert xcoms.get_xcom_entries("~", "~", "nope").total_entries == 0
    made = xcoms.create_xcom_entry(*place, XComCreateBody(key="rows", value={"n": 1}))
    assert made.value == {"n": 1} and made.map_index == -1, made
    fails(409, xcoms.create_xcom_entry, *place, XComCreateBody(key="rows", value=2))
    assert xcoms.update_xcom_entry(*place, "rows", XComUpdateBody(value=[2, 3])).value == [2, 3]
    assert xcoms.get_xcom_entry(*place, "rows").actual_instance.value == [2, 3]
    fails(404, xcoms.update_xcom_entry, *place, "nope", XComUpdateBody(value=1))
    xcoms.delete_xcom_entry(*place, "rows")
    fails(404, xcoms.delete_xcom_entry, *place, "rows")
    fails(404, xcoms.get_xcom_entry, *place, "rows")


def of_people(apis):
    instances = apis["TaskInstanceApi"]
    run_id = trigger(apis, "approval").dag_run_id
    where = ("approval", run_id, "sign_off", -1)

    def waiting():
        found = instances.get_hitl_details("~", "~", response_received=False)
        return [one for one in found.hitl_details if one.task_instance.dag_run_id == run_id]

    asked = eventually("somebody is asked", waiting)[0]
    assert (asked.options, asked.response_received) == (["Approve", "Reject"], False), asked
    assert instances.get_hitl_detail(*where).subject == asked.subject
    fails(404, instances.get_hitl_detail, "approval", run_id, "prepare", -1)
    # What is no option is no answer.
    nonsense = UpdateHITLDetailPayload(chosen_options=["Perhaps"])
    fails(400, instances.update_hitl_detail, *where, nonsense)
    answer = UpdateHITLDetailPayload(chosen_options=["Approve"])
    given = instances.update_hitl_detail(*where, answer)
    assert (given.chosen_options, given.responded_by.name) == (["Approve"], "admin"), given
    fails(409, instances.update_hitl_detail, *where, answer)
    answered = instances.get_hitl_details("approval", run_id, response_received=True).hitl_details
    assert [one.chosen_options for one in answered] == [["Approve"]], answered
    assert instances.get_hitl_detail_try_detail(*where, 1).responded_by_user.name == "admin"


def of_backfills(apis):
    backfills = apis["BackfillApi"]
    first, last = (datetime(2026, 1, day, tzinfo=timezone.utc) for day in (1, 3))
    body = BackfillPostBody(dag_id="daily", from_date=first, to_date=last, max_active_runs=1, dag_run_conf={"a": 1})
    would = backfills.create_backfill_dry_run(body)
    assert [one.logical_date for one in would.backfills][::2] == [first, last] and would.total_entries == 3, would
    made = backfills.create_backfill(body)
    assert made.dag_id == "daily" and made.max_active_runs == 1 and not made.is_paused, made
    fails(409, backfills.create_backfill, body)
    assert backfills.list_backfills("daily").backfills[0].id == made.id
    find = lambda: apis["DagRunApi"].get_dag_runs("daily", run_type=["backfill"], state=["success"])
    # A look that was overtaken leaves the next run to the sweep, which comes within a minute.
    runs = eventually("the backfill makes its runs", lambda: (found := find()).total_entries == 3 and found, 240).dag_runs
    assert {run.conf["a"] for run in runs} == {1} and {run.logical_date for run in runs} >= {first, last}, runs
    eventually("it ends", lambda: backfills.get_backfill(made.id).completed_at, 120)
    fails(409, backfills.cancel_backfill, made.id)
    body.to_date = datetime(2026, 3, 1, tzinfo=timezone.utc)
    other = backfills.create_backfill(body)
    assert backfills.pause_backfill(other.id).is_paused
    assert not backfills.unpause_backfill(other.id).is_paused
    assert backfills.cancel_backfill(other.id).completed_at
    fails(404, backfills.get_backfill, 7)
    body.dag_id = "etl"
    fails(409, backfills.create_backfill, body)


def of_versions(apis):
    versions = apis["DagVersionApi"]
    assert [one.version_number for one in versions.get_dag_versions("etl").dag_versions] == [1]
    assert versions.get_dag_version("etl", 1).dag_display_name == "etl"
    fails(404, versions.get_dag_version, "etl", 2)
    assert "hello" in apis["DagSourceApi"].get_dag_source("etl", version_number=1, accept="application/json").content


def of_the_log(apis):
    logs = apis["EventLogApi"]
    found = logs.get_event_logs(event="trigger_dag_run", dag_id="etl", order_by=["-when"])
    event = next(one for one in found.event_logs if one.run_id == "mine")
    assert event.owner == "admin" and json.loads(event.extra)["from"] == "127.0.0.1", event
    assert logs.get_event_log(event.event_log_id).event == "trigger_dag_run"
    assert logs.get_event_logs(included_events=["create_backfill"], limit=1).total_entries == 2
    fails(404, logs.get_event_log, 7)


def of_changes(apis):
    runs, instances = apis["DagRunApi"], apis["TaskInstanceApi"]
    assert runs.patch_dag_run("etl", "mine", DAGRunPatchBody(note="looked at")).note == "looked at"
    # The client itself cannot read the answer: a task instance fits two of its forms.
    would = runs.clear_dag_run_without_preload_content("etl", "mine", DAGRunClearBody(dry_run=True))
    assert len(json.loads(would.read())["task_instances"]) == 2
    body = BulkDAGRunClearBody.from_dict({"dag_runs": [{"dag_run_id": "mine"}], "dry_run": True})
    would = runs.clear_dag_runs_without_preload_content("etl", body)
    assert json.loads(would.read())["total_entries"] == 2
    assert runs.clear_dag_run_partitions("etl", ClearPartitionsBody(partition_key="k")).dag_runs_cleared == 0
    bulk = {"actions": [{"action": "update", "entities": [{"dag_run_id": "mine", "note": "again"}]}]}
    assert runs.bulk_dag_runs("etl", BulkBodyBulkDAGRunBody.from_dict(bulk)).update.success == ["etl.mine"]
    assert runs.get_dag_run("etl", "mine").note == "again"
    failed = PatchTaskInstanceBody(new_state="failed")
    assert instances.patch_task_instance_dry_run("etl", "mine", "load", failed).total_entries == 1
    assert instances.patch_task_instance_dry_run_by_map_index("etl", "mine", "load", -1, failed).total_entries == 1
    assert instances.patch_task_instance("etl", "mine", "load", failed).task_instances[0].state == "failed"
    fails(409, instances.patch_task_instance_by_map_index, "etl", "mine", "load", -1, failed)
    fails(404, instances.patch_task_group_instances, "etl", "mine", "nope", failed)
    fails(404, instances.patch_task_group_instances_dry_run, "etl", "mine", "nope", failed)
    bulk = {"actions": [{"action": "update", "entities": [{"task_id": "load", "new_state": "success"}]}]}
    said = instances.bulk_task_instances("etl", "mine", BulkBodyBulkTaskInstanceBody.from_dict(bulk))
    assert said.update.success == ["etl.mine.load[-1]"], said
    body = ClearTaskInstancesBody.from_dict({"dag_run_id": "mine", "task_ids": ["load"], "only_failed": False, "dry_run": False})
    cleared = instances.post_clear_task_instances("etl", body)
    assert cleared.total_entries == 1
    ended(apis, "etl", "mine")
    assert instances.get_task_instance("etl", "mine", "load").try_number == 2
    instances.delete_task_instance("etl", "mine", "load")


def of_state_stores(apis):
    store = apis["TaskStateStoreApi"]
    here = {"dag_id": "etl", "dag_run_id": "mine", "task_id": "extract"}
    store.set_task_state_store("offset", task_state_store_body=TaskStateStoreBody.from_dict({"value": 7}), **here)
    store.patch_task_state_store("offset", task_state_store_patch_body=TaskStateStorePatchBody.from_dict({"value": 8}), **here)
    assert store.get_task_state_store("offset", **here).value == 8
    assert store.list_task_state_store(**here).total_entries == 1
    store.delete_task_state_store("offset", **here)
    store.clear_task_state_store(**here)
    fails(404, store.get_task_state_store, "offset", **here)


def of_assets(apis):
    assets = apis["AssetApi"]
    found = eventually("assets are known", lambda: (all_assets := assets.get_assets(name_pattern="orders")).total_entries == 1 and all_assets)
    asset = found.assets[0]
    assert assets.get_asset(asset.id).uri == "s3://bucket/orders"
    assert assets.get_asset_aliases().total_entries == 0
    fails(404, assets.get_asset_alias, 1)
    made = assets.create_asset_event(CreateAssetEventsBody(asset_id=asset.id, extra={"rows": 3}))
    assert made.extra["from_rest_api"] is True and made.asset_id == asset.id
    assert assets.get_asset_events(asset_id=asset.id).total_entries == 1
    run = eventually("the event makes a run", lambda: next(iter(apis["DagRunApi"].get_dag_runs("reader").dag_runs), None))
    ended(apis, "reader", run.dag_run_id)
    assert apis["DagRunApi"].get_upstream_asset_events("reader", run.dag_run_id).asset_events[0].asset_id == asset.id
    assert assets.get_asset_queued_events(asset.id).total_entries == 0
    assert assets.get_dag_asset_queued_events("reader").total_entries == 0
    fails(404, assets.get_dag_asset_queued_event, "reader", asset.id)
    fails(404, assets.delete_asset_queued_events, asset.id)
    fails(404, assets.delete_dag_asset_queued_events, "reader")
    fails(404, assets.delete_dag_asset_queued_event, "reader", asset.id)
    wished = {"dag_run_id": "made-by-hand", "logical_date": "2026-01-02T00:00:00Z", "note": "why", "conf": {"a": 1},
              "data_interval_start": "2026-01-01T00:00:00Z", "data_interval_end": "2026-01-02T00:00:00Z"}
    run = assets.materialize_asset(asset.id, MaterializeAssetBody.from_dict(wished))
    assert run.dag_id == "writer" and run.run_type == "asset_materialization"
    assert (run.dag_run_id, run.note, run.conf, run.logical_date.day) == ("made-by-hand", "why", {"a": 1}, 2), run
    assert run.data_interval_start.day == 1 and run.triggering_user_name == "admin", run
    fails(400, assets.materialize_asset, asset.id, MaterializeAssetBody(partition_key="k"))
    ended(apis, "writer", run.dag_run_id)
    store = apis["AssetStateStoreApi"]
    store.set_asset_state_store("mark", asset.id, AssetStateStoreBody.from_dict({"value": "a"}))
    assert store.get_asset_state_store("mark", asset.id).value == "a"
    assert store.list_asset_state_store(asset.id).total_entries == 1
    store.delete_asset_state_store("mark", asset.id)
    store.clear_asset_state_store(asset.id)


def of_ends(apis):
    run = trigger(apis, "etl", dag_run_id="short")
    ended(apis, "etl", run.dag_run_id)
    apis["DagRunApi"].delete_dag_run("etl", "short")
    fails(404, apis["DagRunApi"].get_dag_run, "etl", "short")
    apis["DAGApi"].delete_dag("pooled")
    fails(404, apis["DAGApi"].delete_dag, "nope")


def main():
    url, token = sys.argv[1:]
    with airflow.ApiClient(airflow.Configuration(host=url, access_token=token)) as client:
        apis = {name: Recorded(name, client) for name in CLASSES}
        parts = (
            of_the_server,
            of_pools,
            of_variables,
            of_connections,
            of_dags,
            of_runs,
            of_task_instances,
            of_xcoms,
            of_people,
            of_backfills,
            of_versions,
            of_changes,
            of_state_stores,
            of_assets,
            of_ends,
            of_the_log,
        )
        for part in parts:
            part(apis)
    wanted = {method for name in CLASSES for method in methods(name)}
    left_out = sorted(wanted - called)
    assert not left_out, f"never called: {left_out}"
    with airflow.ApiClient(airflow.Configuration(host=url, access_token="nobody's")) as nobody:
        fails(401, api.DAGApi(nobody).get_dags)


main()
