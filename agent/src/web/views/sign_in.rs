//! Sign-in. It refuses to tell whether a name exists, and shows no patient.

use askama::Template;

use super::parts::icon;
use super::shell::{Shell, Theme};

/// `GET /sign-in`, and the answer to a `POST /sign-in` that did not let the person in.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub struct SignInView {
    /// With `person: None` and `banner.signed_in: false`.
    pub shell: Shell,
    /// People of this site who have signed in on this PC today; may be empty.
    pub people: Vec<Face>,
    /// What was typed, kept.
    pub login: String,
    pub state: SignInState,
    /// How long sign-in goes on working without the hub: "until 14 May", or empty.
    pub works_until: String,
}

pub struct Face {
    pub login: String,
    pub name: String,
    /// "Front desk · here since 07:52"
    pub remark: String,
}

/// The same words for a wrong passphrase and for a login nobody has.
pub enum SignInState {
    Ask,
    /// `wait`: "8 seconds", or empty when they may try at once.
    Wrong {
        wait: String,
    },
    /// `until`: "11:52"
    LockedOut {
        until: String,
    },
    /// Idle for too long; the work they left is kept.
    IdleSignedOut,
}

impl SignInView {
    fn chosen(&self) -> Option<&Face> {
        self.people.iter().find(|face| face.login == self.login)
    }
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::super::samples;
    use super::*;

    #[test]
    fn a_wrong_passphrase_keeps_the_login_and_says_nothing_about_its_existence() {
        let html = samples::sign_in(SignInState::Wrong {
            wait: "8 seconds".into(),
        })
        .render()
        .unwrap();

        assert!(html.contains(r#"value="dolores""#));
        assert!(html.contains("Login and passphrase do not fit together"));
    }

    #[test]
    fn a_locked_out_person_is_told_until_when_and_whom_to_ask() {
        let html = samples::sign_in(SignInState::LockedOut { until: "11:52".into() })
            .render()
            .unwrap();

        assert!(html.contains("11:52"));
        assert!(!html.contains(r#"name="passphrase""#));
    }
}
