//! HTTP routes: health and status.
