#![no_main]

#[path = "../../tests/first/mod.rs"]
mod first;
#[path = "../../tests/fuzzed/replica_ledger.rs"]
mod replica_ledger;
#[path = "../../tests/fuzzed/snapshot.rs"]
mod snapshot;

libfuzzer_sys::fuzz_target!(|input: &[u8]| snapshot::run(input));
