#![no_main]

#[path = "../../tests/first/mod.rs"]
mod first;
#[path = "../../tests/fuzzed/hub_ledger.rs"]
mod hub_ledger;
#[path = "../../tests/fuzzed/replica_ledger.rs"]
mod replica_ledger;
#[path = "../../tests/fuzzed/session.rs"]
mod session;

libfuzzer_sys::fuzz_target!(|input: &[u8]| session::run(input));
