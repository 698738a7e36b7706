//! The in-memory items keep every promise, and so do counted ones.

mod plain {
    updraft_metastore::items_suite!(updraft_metastore::memory::Memory::default());
}

mod counted {
    updraft_metastore::items_suite!(updraft_metastore::counting::Counting::new(
        updraft_metastore::memory::Memory::default()
    ));
}
