//! The clock port, and its system twin.
