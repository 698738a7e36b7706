//! Exhaustive models of the protocol: every interleaving of a few processes that die, pause, and whose writes land late, at small size.

mod attempts;
mod documents;
mod effects;
mod explore;
mod pages;
mod places;
mod pools;
mod rules;
mod slots;
