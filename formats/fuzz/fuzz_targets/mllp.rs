#![no_main]

#[path = "../../tests/fuzzed/framing.rs"]
mod framing;

libfuzzer_sys::fuzz_target!(|input: &[u8]| framing::frame_everything(input));
