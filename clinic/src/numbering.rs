//! TEMP numbers: minted at the site by counter within a short series that the hub gives each incarnation, with a check
//! character; never made from anything personal.
//!
//! `T SSS CCC X` is eight characters, so that its bar code fits a 2.25 inch label. A reborn agent that has no series of
//! its own yet goes on in the old one and adds four characters of its incarnation.

use sync_protocol::ReplicaId;

/// Crockford's alphabet: no I, L, O or U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Series and counters are three characters.
pub const SERIES_MAX: u32 = 32 * 32 * 32 - 1;
pub const COUNTER_MAX: u32 = 32 * 32 * 32 - 1;

/// The assigning authority of TEMP numbers.
pub const TEMP_SYSTEM: &str = "urn:mainstay:temp";

/// Mints a number; `tag` when the series belongs to another incarnation. `None` when the series is used up.
pub fn mint(series: u32, counter: u32, tag: Option<ReplicaId>) -> Option<String> {
    if series > SERIES_MAX || counter > COUNTER_MAX {
        return None;
    }
    let mut number = String::from("T");
    push_three(&mut number, series);
    push_three(&mut number, counter);
    if let Some(replica) = tag {
        let bits = replica
            .0
            .iter()
            .take(3)
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        (0..4).rev().for_each(|at| number.push(letter(bits >> (4 + at * 5))));
    }
    number.insert(7, check_of(&number));
    Some(number)
}

/// Reads a number as it was scanned or typed: any case, with hyphens or spaces, O for 0, I and L for 1. `None` when it is
/// not a TEMP number or its check character does not agree.
pub fn parse(text: &str) -> Option<String> {
    let mut number = String::new();
    for c in text.chars().filter(|c| !matches!(c, '-' | ' ')) {
        number.push(match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        });
    }
    let well_formed =
        matches!(number.len(), 8 | 12) && number.starts_with('T') && number.bytes().all(|b| value(b).is_some());
    if !well_formed {
        return None;
    }
    let mut bare = number.clone();
    let check = bare.remove(7);
    (check_of(&bare) == check).then_some(number)
}

/// With hyphens, as people read it aloud: `T0A7-00C5`, `T0A7-00C5-9XK2`.
pub fn shown(number: &str) -> String {
    let groups: Vec<String> = number
        .as_bytes()
        .chunks(4)
        .map(|g| String::from_utf8_lossy(g).into_owned())
        .collect();
    groups.join("-")
}

fn push_three(number: &mut String, value: u32) {
    (0..3).rev().for_each(|at| number.push(letter(value >> (at * 5))));
}

fn letter(bits: u32) -> char {
    ALPHABET[(bits & 31) as usize] as char
}

fn value(byte: u8) -> Option<u32> {
    ALPHABET.iter().position(|letter| *letter == byte).map(|at| at as u32)
}

/// Luhn's sum modulo 32: finds every single wrong character and nearly every swapped pair.
fn check_of(number: &str) -> char {
    let mut sum = 0;
    for (at, byte) in number.bytes().rev().enumerate() {
        let mut addend = value(byte).unwrap_or(0);
        if at % 2 == 0 {
            addend *= 2;
        }
        sum += addend / 32 + addend % 32;
    }
    letter((32 - sum % 32) % 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_back_however_it_is_typed() {
        let number = mint(10, 5, None).unwrap();

        assert_eq!(number.len(), 8);
        assert_eq!(parse(&shown(&number).to_lowercase()), Some(number.clone()));
        assert_eq!(parse(&number.replace('0', "O")), Some(number));
    }

    #[test]
    fn one_wrong_character_is_found() {
        let number = mint(77, 1234, Some(ReplicaId([9; 16]))).unwrap();
        for at in 1..number.len() {
            for letter in ALPHABET {
                let mut wrong = number.clone().into_bytes();
                if wrong[at] == *letter {
                    continue;
                }
                wrong[at] = *letter;
                assert_eq!(parse(std::str::from_utf8(&wrong).unwrap()), None, "position {at}");
            }
        }
    }

    #[test]
    fn two_incarnations_in_one_series_mint_different_numbers() {
        let one = mint(3, 8, Some(ReplicaId([1; 16])));
        let two = mint(3, 8, Some(ReplicaId([2; 16])));
        assert_ne!(one, two);
        assert_eq!(one.unwrap().len(), 12);
    }

    #[test]
    fn a_used_up_series_mints_nothing() {
        assert_eq!(mint(0, COUNTER_MAX + 1, None), None);
    }
}
