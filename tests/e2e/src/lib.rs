//! End to end on AWS interfaces.
