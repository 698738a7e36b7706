//! What follows from the image of a run: decide, and nothing else.
