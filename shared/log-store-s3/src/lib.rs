//! Logs and large values in S3.
