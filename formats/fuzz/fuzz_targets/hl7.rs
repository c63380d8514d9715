#![no_main]

#[path = "../../tests/fuzzed/reading.rs"]
mod reading;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reading::read_everything(input));
