//! Times and lengths of time as people read them.

/// "45 s", "56 min", "3 h 10", "2 d".
pub(super) fn length(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{} min", secs / 60),
        3_600..86_400 => format!("{} h {:02}", secs / 3_600, secs / 60 % 60),
        86_400.. => format!("{} d", secs / 86_400),
    }
}

/// "21 Nov 2026, 04:12 UTC" of "2026-11-21T04:12:09Z".
pub(super) fn moment(iso: &str) -> String {
    match iso.parse::<jiff::Timestamp>() {
        Ok(at) => at.strftime("%d %b %Y, %H:%M UTC").to_string(),
        Err(_) => iso.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_rough_as_people_say_them() {
        let said: Vec<String> = [0, 59, 60, 3_399, 11_400, 200_000].map(length).to_vec();

        assert_eq!(said, ["0 s", "59 s", "1 min", "56 min", "3 h 10", "2 d"]);
    }

    #[test]
    fn a_moment_is_said_with_its_zone() {
        assert_eq!(moment("2026-11-21T04:12:09Z"), "21 Nov 2026, 04:12 UTC");
    }
}
