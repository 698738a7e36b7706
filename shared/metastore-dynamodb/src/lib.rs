//! The metastore in one DynamoDB table.
