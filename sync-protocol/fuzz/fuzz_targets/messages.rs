#![no_main]

#[path = "../../tests/first/mod.rs"]
mod first;
#[path = "../../tests/fuzzed/messages.rs"]
mod messages;

libfuzzer_sys::fuzz_target!(|input: &[u8]| messages::run(input));
