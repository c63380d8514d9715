//! Bytes to values and back: HL7 v2 ([`hl7`]), MLLP framing ([`mllp`]) and narrow FHIR R4 types ([`fhir`]).
//!
//! Nothing here reads a socket, a file, a clock or a random number, and nothing knows what a clinic does with a message:
//! times and identifiers of our own come in as arguments. What these types carry is about people, so none of them prints
//! its content: `Debug` gives names and sizes, and errors name segment, field and remedy only.

#[macro_use]
mod conceal;

pub mod date;
pub mod fhir;

pub mod hl7;
pub mod mllp;
