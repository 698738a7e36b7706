-- `v` is the item as JSON, see encoding.rs; `wake_at` its place in the time index, milliseconds since the epoch.
create table kv (
    pk text not null,
    sk text not null,
    wake_at integer,
    v text not null,
    primary key (pk, sk)
) without rowid;
create index kv_due on kv (wake_at, pk, sk) where wake_at is not null;
