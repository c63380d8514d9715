#![no_main]

#[path = "../../tests/first/mod.rs"]
mod first;
#[path = "../../tests/fuzzed/changes.rs"]
mod changes;

libfuzzer_sys::fuzz_target!(|input: &[u8]| changes::run(input));
