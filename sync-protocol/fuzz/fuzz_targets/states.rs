#![no_main]

#[path = "../../tests/first/mod.rs"]
mod first;
#[path = "../../tests/fuzzed/states.rs"]
mod states;

libfuzzer_sys::fuzz_target!(|input: &[u8]| states::run(input));
