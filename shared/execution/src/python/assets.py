"""Airflow's assets as a callable sees them: `inlets`, `outlets`, and the events of both."""

import updraft_context


class Asset:
    """A named piece of data."""

    __module__ = "airflow.sdk"

    def __init__(self, name=None, uri=None, *, group="asset", extra=None, watchers=None):
        if name is None and uri is None:
            raise TypeError("Asset() requires either 'name' or 'uri'")
        self.name, self.uri = name or uri, uri or name
        self.group, self.extra, self.watchers = group, dict(extra or {}), list(watchers or [])

    def __eq__(self, other):
        return isinstance(other, Asset) and (self.name, self.uri) == (other.name, other.uri)

    def __hash__(self):
        return hash((self.name, self.uri))

    def __repr__(self):
        return "Asset(name=%r, uri=%r, group=%r, extra=%r, watchers=%r)" % (
            self.name,
            self.uri,
            self.group,
            self.extra,
            self.watchers,
        )


class AssetAlias:
    """A name to which tasks tie assets when they run."""

    __module__ = "airflow.sdk"

    def __init__(self, name, group="asset"):
        self.name, self.group = name, group

    def __eq__(self, other):
        return isinstance(other, AssetAlias) and self.name == other.name

    def __hash__(self):
        return hash(("alias", self.name))

    def __repr__(self):
        return "AssetAlias(name=%r, group=%r)" % (self.name, self.group)


class Metadata:
    """What a callable may yield: what is to be said about an asset that it writes."""

    __module__ = "airflow.sdk"

    def __init__(self, asset, extra=None, alias=None):
        self.asset, self.extra, self.alias = asset, dict(extra or {}), alias


class AssetEvent:
    """That an asset has changed."""

    def __init__(self, told):
        self.asset = of_json(told["asset"])
        self.uri, self.name = self.asset.uri, self.asset.name
        self.extra = told["extra"]
        self.timestamp = updraft_context.parse_date(told["timestamp"])
        for name in ("source_dag_id", "source_task_id", "source_run_id", "source_map_index"):
            setattr(self, name, told.get(name))
        self.source_aliases = [AssetAlias(name) for name in told.get("aliases") or []]
        self.created_dagruns = []
        self.source_dag_run = None
        run = told.get("source_dag_run")
        if run:
            import types

            dates = {name: updraft_context.parse_date(run.get(name)) for name in run if name.endswith(("_date", "_start", "_end"))}
            self.source_dag_run = types.SimpleNamespace(**dict(run, **dates))

    def __repr__(self):
        return "AssetEvent(asset=%r, timestamp=%s)" % (self.asset, self.timestamp)


def of_json(told):
    """An asset or an alias, as the worker tells of it."""
    if told.get("kind") == "alias":
        return AssetAlias(told["name"])
    return Asset(told["name"], told["uri"], group=told.get("group") or "asset", extra=told.get("extra"))


class OutletEvent:
    """What is to be said about one outlet, and which assets are tied to it where it is an alias."""

    def __init__(self, key):
        self.key, self.extra, self.asset_alias_events = key, {}, []

    def add(self, asset, extra=None):
        if not isinstance(self.key, AssetAlias):
            return  # As in Airflow: nothing is tied to an asset.
        self.asset_alias_events.append((asset, dict(self.extra if extra is None else extra)))


class OutletEvents:
    """`outlet_events`: by an outlet."""

    def __init__(self, outlets):
        self._events = {}
        self._outlets = outlets

    def __getitem__(self, key):
        if isinstance(key, int):
            key = self._outlets[key]
        if not isinstance(key, (Asset, AssetAlias)):
            raise TypeError("outlet_events is asked by an Asset or an AssetAlias, not by a `%s`" % type(key).__name__)
        if key not in self._events:
            self._events[key] = OutletEvent(key)
        return self._events[key]

    def __iter__(self):
        return iter(self._events)

    def __len__(self):
        return len(self._events)

    def told(self):
        """What the worker is told at the end."""
        said = []
        for key, event in self._events.items():
            if isinstance(key, Asset):
                if event.extra:
                    said.append({"asset": as_json(key), "extra": event.extra})
            else:
                for asset, extra in event.asset_alias_events:
                    said.append({"asset": as_json(asset), "alias": key.name, "extra": extra})
        return said

    def take(self, metadata):
        """What a Metadata says."""
        if metadata.alias is None:
            self[metadata.asset].extra.update(metadata.extra)
        else:
            alias = metadata.alias if isinstance(metadata.alias, AssetAlias) else AssetAlias(metadata.alias)
            self[alias].add(metadata.asset, extra=metadata.extra)


def as_json(asset):
    return {"name": asset.name, "uri": asset.uri, "group": asset.group, "extra": asset.extra}


class InletEvents:
    """`inlet_events`: by an inlet, read when they are asked for."""

    def __init__(self, inlets):
        self._inlets, self._read = inlets, {}

    def __getitem__(self, key):
        if isinstance(key, int):
            key = self._inlets[key]
        if not isinstance(key, (Asset, AssetAlias)):
            raise TypeError("inlet_events is asked by an Asset or an AssetAlias, not by a `%s`" % type(key).__name__)
        if key not in self._read:
            kind = "alias" if isinstance(key, AssetAlias) else "asset"
            found = updraft_context.ask({"op": "asset_events", "kind": kind, "name": key.name})
            self._read[key] = [AssetEvent(event) for event in found]
        return self._read[key]

    def __iter__(self):
        return iter(self._inlets)

    def __len__(self):
        return len(self._inlets)


class TriggeringAssetEvents(dict):
    """`triggering_asset_events`: the events that made the run, by asset and by alias."""

    def __init__(self, events):
        dict.__init__(self)
        for event in events:
            for key in [event.asset, *event.source_aliases]:
                self.setdefault(key, []).append(event)

    def __missing__(self, key):
        return []


def context(told):
    """The names of the context that have to do with assets."""
    inlets = [of_json(one) for one in told["inlets"]]
    outlets = [of_json(one) for one in told["outlets"]]
    return {
        "inlets": inlets,
        "outlets": outlets,
        "inlet_events": InletEvents(inlets),
        "outlet_events": OutletEvents(outlets),
        "triggering_asset_events": TriggeringAssetEvents([AssetEvent(event) for event in told["triggering"]]),
    }
