//! What must hold of the engine for any input: round trips, vectors, joins, rules, and what a draft becomes.

mod compose;
mod generate;
mod merge;
mod round_trips;
mod rules;
mod vectors;
