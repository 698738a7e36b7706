//! The metastore port: documents, one conditional update, one suite of promises.
