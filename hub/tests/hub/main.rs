//! The hub from outside: the real program, real TLS on loopback, real files.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod command_line;
mod console;
mod enrolment;
mod exchange;
mod policies;
mod program;
mod site;
