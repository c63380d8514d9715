//! Who may do what. A pure function; the program's own door feeds it with the person's role and enforces the answer.

use crate::value::Role;

/// What a person may be allowed to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permission {
    SeeBoard,
    SeePatient,
    Arrive,
    EditPatient,
    MoveVisit,
    SetRoom,
    AddAllergy,
    RefuteAllergy,
    DecideConflict,
    MatchResult,
    /// Withdraw, retry, answer, enter by hand.
    WorkTasks,
    DeclareDowntime,
    HoldLine,
}

pub fn allows(role: Role, permission: Permission) -> bool {
    use Permission::*;
    match permission {
        SeeBoard | SeePatient | Arrive | EditPatient | AddAllergy | MoveVisit | SetRoom | DecideConflict
        | WorkTasks => true,
        RefuteAllergy | MatchResult => matches!(role, Role::Nurse | Role::Provider | Role::Lead),
        DeclareDowntime | HoldLine => matches!(role, Role::Lead),
    }
}
