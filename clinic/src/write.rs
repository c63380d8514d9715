//! Composing a draft: which fields of which record, by whom, and what the writer was shown.

use sync_protocol::author::{Draft, ElementDraft, FieldDraft};
use sync_protocol::cbor::Raw;
use sync_protocol::change::{Act, Actor};
use sync_protocol::rules::Rule;
use sync_protocol::{ChangeId, KindId, RecordId};

use crate::catalogue::Field;
use crate::value::{Value, coded};

coded! {
    /// By which way a change came.
    Channel {
        Page = 1, "page";
        Hl7 = 2, "HL7";
        Rule = 3, "rule";
        Hub = 4, "hub";
        Connector = 5, "EHR connector";
        Cli = 6, "command line";
        Console = 7, "hub console";
    }
}

coded! {
    /// What the writer did, for the history.
    Action {
        Arrive = 1, "arrival";
        Edit = 2, "edit";
        Move = 3, "move";
        Undo = 4, "undo";
        AddAllergy = 5, "allergy added";
        RefuteAllergy = 6, "allergy refuted";
        Decide = 7, "conflict decided";
        SetRoom = 8, "room state";
        DeclareDowntime = 9, "downtime declared";
        EndDowntime = 10, "downtime ended";
        HoldLine = 11, "line held";
        ReleaseLine = 12, "line released";
        CreateTask = 13, "task created";
        ChangeTask = 14, "task changed";
        Deliver = 15, "delivery";
        ReceiveResult = 16, "result received";
        MatchResult = 17, "result matched";
        Administer = 18, "administration";
        Message = 19, "message";
        Link = 20, "records linked";
        Unlink = 21, "records unlinked";
    }
}

impl Channel {
    /// A person who writes by this way.
    pub fn by(self, staff: RecordId) -> Actor {
        Actor {
            who: staff,
            channel: self as u8,
        }
    }

    /// A program that writes by this way.
    pub fn program(self) -> Actor {
        self.by(RecordId::NIL)
    }

    pub fn of(actor: Actor) -> Option<Channel> {
        Channel::ALL
            .iter()
            .copied()
            .find(|channel| *channel as u8 == actor.channel)
    }
}

/// A draft in the making.
#[derive(Clone, Debug)]
pub struct Writing(Draft);

impl Writing {
    pub fn new(kind: KindId, record: RecordId, action: Action, actor: Actor, event_ms: i64) -> Writing {
        Writing(Draft {
            kind,
            record,
            action: action.code(),
            actor,
            event_ms,
            correlation: None,
            fields: Vec::new(),
            elements: Vec::new(),
        })
    }

    /// Ties the change to the one that caused it.
    pub fn because(mut self, change: ChangeId) -> Writing {
        self.0.correlation = Some(change);
        self
    }

    /// Sets a register on a new record, where nothing was shown.
    pub fn set<T: Value>(self, field: Field<T>, value: &T) -> Writing {
        self.replace(field, value, &[])
    }

    pub fn set_if<T: Value>(self, field: Field<T>, value: Option<&T>) -> Writing {
        match value {
            Some(value) => self.set(field, value),
            None => self,
        }
    }

    /// Sets a register in place of the values whose ids were shown.
    pub fn replace<T: Value>(self, field: Field<T>, value: &T, shown: &[ChangeId]) -> Writing {
        self.write(field, value.to_raw(), shown, None)
    }

    /// Says again what may have been said before: asking twice is told from asking once.
    pub fn restate<T: Value>(self, field: Field<T>, value: &T, shown: &[ChangeId]) -> Writing {
        self.write(field, value.to_raw(), shown, Some(Raw::null()))
    }

    /// Empties a register.
    pub fn clear<T: Value>(self, field: Field<T>, shown: &[ChangeId]) -> Writing {
        self.write(field, Raw::null(), shown, None)
    }

    /// Sets a register as a source that repeats itself does: against what that source said last.
    pub fn follow<T: Value>(self, field: Field<T>, value: &T, last: Option<(ChangeId, Raw)>) -> Writing {
        match last {
            Some((change, was)) => self.write(field, value.to_raw(), &[change], Some(was)),
            None => self.set(field, value),
        }
    }

    fn write<T>(mut self, field: Field<T>, value: Raw, shown: &[ChangeId], was: Option<Raw>) -> Writing {
        debug_assert_eq!(field.kind, self.0.kind);
        let ask = field.rule == Rule::Ask;
        self.0.fields.push(FieldDraft {
            field: field.id,
            value,
            shown: shown.to_vec(),
            was,
            ask,
        });
        self
    }

    pub fn assert<T: Value>(self, field: Field<T>, value: &T) -> Writing {
        self.element(field, Act::Assert, value.to_raw(), &[])
    }

    /// Takes back the elements that were shown.
    pub fn withdraw<T: Value>(self, field: Field<T>, shown: &[ChangeId]) -> Writing {
        self.element(field, Act::Withdraw, Raw::null(), shown)
    }

    /// Says that the elements shown are wrong, and why.
    pub fn refute<T: Value>(self, field: Field<T>, shown: &[ChangeId], why: &str) -> Writing {
        self.element(field, Act::Refute, Raw::text(why), shown)
    }

    fn element<T>(mut self, field: Field<T>, act: Act, value: Raw, names: &[ChangeId]) -> Writing {
        debug_assert_eq!(field.kind, self.0.kind);
        self.0.elements.push(ElementDraft {
            field: field.id,
            act,
            value,
            names: names.to_vec(),
        });
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.fields.is_empty() && self.0.elements.is_empty()
    }

    pub fn done(self) -> Draft {
        self.0
    }
}
