//! The task queue on SQS.
