//! The board: every visit of today by where the patient is, rooms, filters. It never hides a late patient without saying so.

use std::fmt;
use std::str::FromStr;

use askama::Template;
use askama::filters::HtmlSafe;

use super::parts::{Badge, Choice, FormKeys, Mark, PatientName, Timer, Tone, icon};
use super::shell::{Hint, Shell, Theme};

/// `GET /board`, with `?show={filter}`.
#[derive(Template)]
#[template(path = "board.html")]
pub struct BoardView {
    pub shell: Shell,
    pub rows: BoardRows,
}

impl BoardView {
    fn hints(&self) -> &'static [Hint] {
        &[
            Hint {
                keys: &["↑", "↓"],
                does: "pick",
            },
            Hint {
                keys: &["M"],
                does: "move on",
            },
            Hint {
                keys: &["Z"],
                does: "undo",
            },
            Hint {
                keys: &["Enter"],
                does: "open",
            },
            Hint {
                keys: &["N"],
                does: "next that needs you",
            },
        ]
    }
}

/// Fragment `board`: everything on the board below the banner, `GET /board?fragment=rows&show={filter}`.
#[derive(Template)]
#[template(path = "board_rows.html")]
pub struct BoardRows {
    pub keys: FormKeys,
    /// Where this fragment is fetched again, filter included.
    pub fragment_url: String,
    /// "Live. Schedule as of 07:40"
    pub as_of: String,
    pub rooms: Vec<RoomTile>,
    pub load: Vec<ProviderLoad>,
    /// All, needs someone, waiting, one per provider.
    pub choices: Vec<Choice>,
    /// Patients over a limit whom the chosen filter leaves out.
    pub late_left_out: u32,
    pub groups: Vec<BoardGroup>,
    /// "Next expected: 11:45." or empty; shown when nobody is on the board.
    pub next_expected: String,
}

impl HtmlSafe for BoardRows {}

impl BoardRows {
    fn is_empty(&self) -> bool {
        self.groups.iter().all(|group| group.rows.is_empty())
    }

    fn is_filtered(&self) -> bool {
        self.choices.iter().skip(1).any(|choice| choice.current)
    }
}

/// "Waiting room", "In rooms", "Expected", "Gone today"; the count is taken from the rows.
pub struct BoardGroup {
    pub title: String,
    /// "longest 41 min", or empty
    pub remark: String,
    pub rows: Vec<BoardRow>,
}

/// One visit, or one booking of which nobody has come yet.
pub struct BoardRow {
    /// Record id of the visit or booking.
    pub visit: String,
    /// Where a press is sent: "/visits/{id}/move", or "/appointments/{id}/arrive" of one who is expected.
    pub action: String,
    pub patient: PatientName,
    pub state: FlowState,
    /// Set when the state needs more words, e.g. two incompatible ends: "Discharged, or left?"
    pub state_label: Option<String>,
    /// Time in the state; `None` for a visit that has ended.
    pub timer: Option<Timer>,
    /// "1", without the word room
    pub room: Option<String>,
    pub provider: Option<String>,
    pub reason: String,
    /// The two most urgent; the patient page has them all.
    pub marks: Vec<Mark>,
    /// Somebody must act now: red bar.
    pub needs: bool,
    pub next: NextAct,
    pub others: Vec<MoveGroup>,
    /// Ids of the changes that make the state, room and provider shown, separated by spaces; sent as `shown`.
    pub shown: String,
}

/// What most likely comes next: one press, or a press and a choice, or nothing.
pub enum NextAct {
    None,
    One(Move),
    /// "Room…", then one button per clean room.
    Choose {
        label: String,
        moves: Vec<Move>,
    },
}

impl NextAct {
    fn is_any(&self) -> bool {
        match self {
            Self::None => false,
            Self::One(_) | Self::Choose { .. } => true,
        }
    }
}

/// A button of `POST /visits/{id}/move`.
pub struct Move {
    pub act: VisitAct,
    pub label: String,
}

/// Moves under one heading: "Move to", "Room", "Provider", "Leaves".
pub struct MoveGroup {
    pub title: String,
    pub moves: Vec<Move>,
}

/// Field `act` of `POST /visits/{id}/move`, written `to:triaged`, `room:{id}`, `provider:{id}`, `into:{room id}`, `with:{staff id}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VisitAct {
    To(FlowState),
    /// Roomed, into this room.
    Into(String),
    /// With this provider, in the room where the patient is.
    With(String),
    /// Another room, same state.
    Room(String),
    /// Another provider, same state.
    Provider(String),
}

impl fmt::Display for VisitAct {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::To(state) => write!(out, "to:{}", state.code()),
            Self::Into(room) => write!(out, "into:{room}"),
            Self::With(staff) => write!(out, "with:{staff}"),
            Self::Room(room) => write!(out, "room:{room}"),
            Self::Provider(staff) => write!(out, "provider:{staff}"),
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `act` is no move this page offers; open the board again and press the button there")]
pub struct UnknownAct;

impl FromStr for VisitAct {
    type Err = UnknownAct;

    fn from_str(text: &str) -> Result<Self, UnknownAct> {
        let (verb, what) = text.split_once(':').ok_or(UnknownAct)?;
        match verb {
            "to" => FlowState::of_code(what).map(Self::To).ok_or(UnknownAct),
            "into" => Ok(Self::Into(what.to_owned())),
            "with" => Ok(Self::With(what.to_owned())),
            "room" => Ok(Self::Room(what.to_owned())),
            "provider" => Ok(Self::Provider(what.to_owned())),
            _ => Err(UnknownAct),
        }
    }
}

/// Where a visit is. A circle that fills as the visit goes on, and a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlowState {
    Expected,
    Arrived,
    Registered,
    Triaged,
    Roomed,
    WithProvider,
    AwaitingResults,
    ReadyToLeave,
    Discharged,
    LeftUnseen,
    Cancelled,
}

impl FlowState {
    pub const ALL: [Self; 11] = [
        Self::Expected,
        Self::Arrived,
        Self::Registered,
        Self::Triaged,
        Self::Roomed,
        Self::WithProvider,
        Self::AwaitingResults,
        Self::ReadyToLeave,
        Self::Discharged,
        Self::LeftUnseen,
        Self::Cancelled,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Arrived => "arrived",
            Self::Registered => "registered",
            Self::Triaged => "triaged",
            Self::Roomed => "roomed",
            Self::WithProvider => "with-provider",
            Self::AwaitingResults => "awaiting-results",
            Self::ReadyToLeave => "ready-to-leave",
            Self::Discharged => "discharged",
            Self::LeftUnseen => "left-unseen",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Expected => "Expected",
            Self::Arrived => "Arrived",
            Self::Registered => "Registered",
            Self::Triaged => "Triaged",
            Self::Roomed => "Roomed",
            Self::WithProvider => "With provider",
            Self::AwaitingResults => "Awaiting results",
            Self::ReadyToLeave => "Ready to leave",
            Self::Discharged => "Discharged",
            Self::LeftUnseen => "Left, not seen",
            Self::Cancelled => "Cancelled",
        }
    }

    /// What the button says that brings a visit here.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Expected => "Expect",
            Self::Arrived => "Arrive",
            Self::Registered => "Register",
            Self::Triaged => "Triage",
            Self::Roomed => "Room",
            Self::WithProvider => "Provider in",
            Self::AwaitingResults => "Results",
            Self::ReadyToLeave => "Ready",
            Self::Discharged => "Discharge",
            Self::LeftUnseen => "Left, not seen",
            Self::Cancelled => "Cancel visit",
        }
    }

    pub fn has_ended(self) -> bool {
        match self {
            Self::Discharged | Self::LeftUnseen | Self::Cancelled => true,
            Self::Expected
            | Self::Arrived
            | Self::Registered
            | Self::Triaged
            | Self::Roomed
            | Self::WithProvider
            | Self::AwaitingResults
            | Self::ReadyToLeave => false,
        }
    }

    pub fn badge(self) -> Badge {
        let tone = if self == Self::ReadyToLeave {
            Tone::Good
        } else {
            Tone::Plain
        };
        // The codes are the names of the symbols, so a state and its shape cannot drift apart.
        Badge {
            icon: self.code(),
            label: self.label().to_owned(),
            tone,
        }
    }
}

/// One room. It carries no name: there is no space for two identifiers.
pub struct RoomTile {
    /// Record id of the room.
    pub room: String,
    /// "1"
    pub name: String,
    pub state: RoomState,
    /// "12 min", or "free"
    pub since: String,
    /// Ids of the changes that make the state shown; sent as `shown`.
    pub shown: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoomState {
    Clean,
    Occupied,
    Dirty,
}

impl RoomState {
    pub fn code(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Occupied => "occupied",
            Self::Dirty => "dirty",
        }
    }

    pub fn of_code(code: &str) -> Option<Self> {
        [Self::Clean, Self::Occupied, Self::Dirty]
            .into_iter()
            .find(|state| state.code() == code)
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Clean => "Clean",
            Self::Occupied => "Occupied",
            Self::Dirty => "Dirty",
        }
    }

    fn icon(self) -> &'static str {
        match self {
            Self::Clean => "check",
            Self::Occupied => "person",
            Self::Dirty => "broom",
        }
    }

    /// What pressing the tile makes of it. An occupied room changes only with its visit.
    pub fn pressed(self) -> Option<Self> {
        match self {
            Self::Clean => Some(Self::Dirty),
            Self::Dirty => Some(Self::Clean),
            Self::Occupied => None,
        }
    }
}

/// Patients each provider has now.
pub struct ProviderLoad {
    pub name: String,
    pub patients: u32,
}

impl ProviderLoad {
    /// Five pips, filled up to the number of patients.
    fn pips(&self) -> [bool; 5] {
        [0, 1, 2, 3, 4].map(|nth| nth < self.patients)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn every_act_reads_back_as_it_was_written() {
        let acts = FlowState::ALL.into_iter().map(VisitAct::To).chain([
            VisitAct::Into("r1".into()),
            VisitAct::With("s1".into()),
            VisitAct::Room("r2".into()),
            VisitAct::Provider("s2".into()),
        ]);

        for act in acts {
            assert_eq!(act.to_string().parse(), Ok(act));
        }
    }

    #[test]
    fn an_act_the_page_does_not_offer_is_refused() {
        assert_eq!("to:nowhere".parse::<VisitAct>(), Err(UnknownAct));
        assert_eq!("discharged".parse::<VisitAct>(), Err(UnknownAct));
    }

    #[test]
    fn every_row_of_the_board_names_its_patient_twice() {
        let rows = samples::board().rows;

        let html = rows.to_string();
        let names = html.matches(r#"class="name""#).count();

        assert_eq!(names, rows.groups.iter().map(|group| group.rows.len()).sum::<usize>());
        assert_eq!(names, html.matches(r#"class="born""#).count());
    }

    #[test]
    fn an_occupied_room_cannot_be_pressed() {
        let mut rows = samples::board().rows;
        rows.rooms.retain(|tile| tile.state == RoomState::Occupied);

        assert!(!rows.to_string().contains("/rooms/"));
    }

    #[test]
    fn an_empty_board_says_what_comes_next() {
        let html = samples::board_empty().rows.to_string();

        assert!(html.contains("Nobody is here"));
        assert!(html.contains(r#"href="/arrivals""#));
    }

    #[test]
    fn late_patients_left_out_by_a_filter_are_counted_aloud() {
        let mut rows = samples::board().rows;
        rows.late_left_out = 2;

        assert!(rows.to_string().contains("2 late patients are not in this list"));
    }
}
