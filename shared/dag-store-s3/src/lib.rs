//! The DAG folder in an S3 bucket.
