use super::*;

const NOW: i64 = 1_000_000;
const VISIT: RecordId = RecordId([9; 16]);
const PATIENCE: Patience = Patience {
    attempts_max: 3,
    backoff_max_ms: 60_000,
};

fn delivery(state: DeliveryState) -> Delivery {
    Delivery {
        state,
        attempts: 1,
        class: ErrorClass::None,
        at_ms: 0,
        heeded: ChangeId::NIL,
        note: String::new(),
    }
}

fn task(number: u8, kind: TaskKind, state: DeliveryState) -> Task {
    let at = HybridTime {
        wall_ms: u64::from(number),
        logical: 0,
    };
    Task {
        id: RecordId([number; 16]),
        patient: RecordId([50; 16]),
        kind,
        visit: (kind == TaskKind::Encounter).then_some(VISIT),
        tells: (kind == TaskKind::Encounter).then_some(VisitState::Arrived),
        entered: (at, ChangeId([number; 16])),
        correlation: ChangeId([number; 16]),
        deadline_ms: i64::MAX,
        intent: Intent::Wanted,
        intent_change: ChangeId([100 + number; 16]),
        delivery: delivery(state),
        of_older_life: false,
        delivered_as: None,
        by_hand: None,
        answer: None,
        offered: Vec::new(),
    }
}

fn registration(state: DeliveryState) -> Task {
    task(1, TaskKind::RegisterPatient, state)
}

fn encounter(number: u8, state: DeliveryState) -> Task {
    task(number, TaskKind::Encounter, state)
}

fn with(tasks: Vec<Task>) -> Situation {
    Situation {
        patient: RecordId([50; 16]),
        cluster: BTreeSet::from([RecordId([50; 16])]),
        partner_id: None,
        partner_ids: BTreeMap::new(),
        somebody_else: BTreeSet::new(),
        alike_here: false,
        undecided: false,
        temp_shared: false,
        tasks,
    }
}

fn known(tasks: Vec<Task>) -> Situation {
    Situation {
        partner_id: Some("p1".to_owned()),
        ..with(tasks)
    }
}

fn noted(next: Next) -> Option<(u8, DeliveryState)> {
    match next {
        Next::Note(task, delivery) => Some((task.0[0], delivery.state)),
        Next::Known(..) | Next::LookUp(_) | Next::Deliver(_) | Next::Wait(_) | Next::Rest => None,
    }
}

/// Notes until something else is due, as the journal does.
fn settled(mut situation: Situation) -> (Next, Situation) {
    for _ in 0..100 {
        match next(&situation, NOW) {
            Next::Note(id, delivery) => {
                let task = situation.tasks.iter_mut().find(|task| task.id == id).unwrap();
                assert_ne!(
                    task.delivery, delivery,
                    "a note that says nothing new would be made for ever"
                );
                task.delivery = delivery;
            }
            other @ (Next::Known(..) | Next::LookUp(_) | Next::Deliver(_) | Next::Wait(_) | Next::Rest) => {
                return (other, situation);
            }
        }
    }
    panic!("the notes did not end");
}

fn state_of(situation: &Situation, number: u8) -> DeliveryState {
    situation.task(RecordId([number; 16])).unwrap().delivery.state
}

#[test]
fn a_registration_goes_before_the_encounter_that_needs_it() {
    let waiting = with(vec![
        registration(DeliveryState::Waiting),
        encounter(2, DeliveryState::Waiting),
    ]);
    assert_eq!(next(&waiting, NOW), Next::Deliver(RecordId([1; 16])));

    let delivered = known(vec![
        registration(DeliveryState::Delivered),
        encounter(2, DeliveryState::Waiting),
    ]);
    assert_eq!(next(&delivered, NOW), Next::Deliver(RecordId([2; 16])));
}

#[test]
fn an_encounter_is_held_while_its_registration_needs_a_person_and_goes_on_by_itself() {
    let refused = with(vec![
        registration(DeliveryState::Refused),
        encounter(2, DeliveryState::Waiting),
    ]);

    let (then, held) = settled(refused);

    assert_eq!((then, state_of(&held, 2)), (Next::Rest, DeliveryState::OnHold));
    let (then, _) = settled(Situation {
        partner_id: Some("p1".to_owned()),
        ..held
    });
    assert_eq!(then, Next::Deliver(RecordId([2; 16])));
}

#[test]
fn a_patient_whom_the_ehr_knows_is_not_registered_again() {
    let situation = known(vec![registration(DeliveryState::Waiting)]);
    assert_eq!(next(&situation, NOW), Next::Known(RecordId([1; 16]), "p1".to_owned()));
}

#[test]
fn after_a_crash_the_attempt_is_looked_up_before_anything_else() {
    let mut crashed = with(vec![registration(DeliveryState::BeingSent)]);
    crashed.tasks[0].intent = Intent::Withdraw;

    let (then, situation) = settled(crashed);

    assert_eq!(then, Next::LookUp(RecordId([1; 16])));
    assert_eq!(state_of(&situation, 1), DeliveryState::OutcomeUnknown);
}

#[test]
fn a_withdrawal_is_confirmed_only_when_no_attempt_may_have_taken_effect() {
    let asked = |state| {
        let mut task = registration(state);
        task.intent = Intent::Withdraw;
        settled(with(vec![task])).1
    };
    for state in [
        DeliveryState::Waiting,
        DeliveryState::OnHold,
        DeliveryState::Refused,
        DeliveryState::SetAside,
    ] {
        let withdrawn = asked(state);
        assert_eq!(state_of(&withdrawn, 1), DeliveryState::Withdrawn);
        assert_eq!(withdrawn.tasks[0].delivery.heeded, withdrawn.tasks[0].intent_change);
    }
    assert_eq!(
        state_of(&asked(DeliveryState::OutcomeUnknown), 1),
        DeliveryState::OutcomeUnknown
    );
    assert_eq!(state_of(&asked(DeliveryState::Delivered), 1), DeliveryState::Delivered);
}

#[test]
fn trying_again_is_heeded_once() {
    let mut task = registration(DeliveryState::Refused);
    task.intent = Intent::Again;

    let (then, mut situation) = settled(with(vec![task]));
    assert_eq!(
        (then, situation.tasks[0].delivery.attempts),
        (Next::Deliver(RecordId([1; 16])), 0)
    );

    situation.tasks[0].delivery.state = DeliveryState::Refused;
    assert_eq!(next(&situation, NOW), Next::Rest);
    situation.tasks[0].intent_change = ChangeId([200; 16]);
    assert_eq!(noted(next(&situation, NOW)), Some((1, DeliveryState::Waiting)));
}

#[test]
fn only_the_newest_encounter_of_a_visit_is_told() {
    let situation = known(vec![
        encounter(2, DeliveryState::Waiting),
        encounter(3, DeliveryState::Waiting),
        encounter(4, DeliveryState::Waiting),
    ]);

    let (then, after) = settled(situation);

    assert_eq!(then, Next::Deliver(RecordId([4; 16])));
    assert_eq!(
        (state_of(&after, 2), state_of(&after, 3)),
        (DeliveryState::Superseded, DeliveryState::Superseded)
    );
}

#[test]
fn an_older_task_never_moves_the_partners_encounter_back() {
    let mut old = encounter(2, DeliveryState::Refused);
    old.intent = Intent::Again;
    let (_, after) = settled(known(vec![old, encounter(3, DeliveryState::Delivered)]));
    assert_eq!(state_of(&after, 2), DeliveryState::Superseded);

    let unknown = known(vec![
        encounter(2, DeliveryState::OutcomeUnknown),
        encounter(3, DeliveryState::Waiting),
    ]);
    assert_eq!(next(&unknown, NOW), Next::LookUp(RecordId([2; 16])));
}

#[test]
fn a_newer_task_that_was_withdrawn_supersedes_nothing() {
    let mut newer = encounter(3, DeliveryState::Waiting);
    newer.intent = Intent::Withdraw;

    let (then, after) = settled(known(vec![encounter(2, DeliveryState::Waiting), newer]));

    assert_eq!(
        (then, state_of(&after, 3)),
        (Next::Deliver(RecordId([2; 16])), DeliveryState::Withdrawn)
    );
}

#[test]
fn a_task_in_its_pause_holds_back_the_later_ones_of_its_patient() {
    let mut first = encounter(2, DeliveryState::Waiting);
    first.delivery.at_ms = NOW + 500;
    let mut other_visit = encounter(3, DeliveryState::Waiting);
    other_visit.visit = Some(RecordId([8; 16]));

    assert_eq!(next(&known(vec![first, other_visit]), NOW), Next::Wait(NOW + 500));
}

#[test]
fn what_needs_a_person_holds_nothing_else_back() {
    let mut other_visit = encounter(3, DeliveryState::Waiting);
    other_visit.visit = Some(RecordId([8; 16]));

    let situation = known(vec![encounter(2, DeliveryState::SetAside), other_visit]);

    assert_eq!(next(&situation, NOW), Next::Deliver(RecordId([3; 16])));
}

#[test]
fn a_temp_number_on_two_records_holds_everything_until_it_is_put_right() {
    let tasks = vec![
        registration(DeliveryState::Waiting),
        encounter(2, DeliveryState::Waiting),
    ];

    let (then, held) = settled(Situation {
        temp_shared: true,
        ..with(tasks)
    });

    assert_eq!(then, Next::Wait(NOW + TEMP_RECHECK_MS));
    assert!(
        held.tasks
            .iter()
            .all(|task| task.delivery.state == DeliveryState::OnHold)
    );
    assert!(
        held.tasks
            .iter()
            .all(|task| task.delivery.class == ErrorClass::Conflict)
    );
    let (then, _) = settled(Situation {
        temp_shared: false,
        ..held
    });
    assert_eq!(then, Next::Deliver(RecordId([1; 16])));
}

#[test]
fn a_disputed_name_is_not_registered() {
    let situation = Situation {
        undecided: true,
        ..with(vec![registration(DeliveryState::Waiting)])
    };
    assert_eq!(settled(situation).0, Next::Rest);
}

#[test]
fn an_ambiguous_match_waits_for_an_answer_among_those_offered() {
    let mut asked = registration(DeliveryState::OnHold);
    asked.delivery.note = NOTE_ASK.to_owned();
    asked.offered = vec!["p1".to_owned(), "p2".to_owned()];
    let answered = |answer| {
        let task = Task {
            answer,
            ..asked.clone()
        };
        settled(with(vec![task])).0
    };

    assert_eq!(answered(None), Next::Rest);
    assert_eq!(answered(Some(Answer::Attach("somebody else".to_owned()))), Next::Rest);
    assert_eq!(
        answered(Some(Answer::Attach("p2".to_owned()))),
        Next::Deliver(RecordId([1; 16]))
    );
    assert_eq!(answered(Some(Answer::Create)), Next::Deliver(RecordId([1; 16])));
}

#[test]
fn a_deadline_ends_what_waits_but_not_what_may_have_been_sent() {
    let late = |state| {
        let mut task = registration(state);
        task.deadline_ms = NOW;
        settled(with(vec![task])).1.tasks[0].delivery.state
    };
    assert_eq!(late(DeliveryState::Waiting), DeliveryState::Expired);
    assert_eq!(late(DeliveryState::OnHold), DeliveryState::Expired);
    assert_eq!(late(DeliveryState::OutcomeUnknown), DeliveryState::OutcomeUnknown);
}

#[test]
fn a_deadline_ends_nothing_that_a_person_asked_for_again_or_that_was_delivered() {
    let again = Task {
        intent: Intent::Again,
        deadline_ms: NOW,
        ..registration(DeliveryState::SetAside)
    };
    let (then, situation) = settled(with(vec![again]));
    assert_eq!(then, Next::Deliver(RecordId([1; 16])));
    assert_eq!(state_of(&situation, 1), DeliveryState::Waiting);

    let looked_up = Task {
        delivered_as: Some("e1".to_owned()),
        deadline_ms: NOW,
        ..encounter(2, DeliveryState::Waiting)
    };
    assert_eq!(next(&known(vec![looked_up]), NOW), Next::Deliver(RecordId([2; 16])));
}

#[test]
fn what_was_entered_by_hand_is_not_delivered() {
    let mut task = registration(DeliveryState::SetAside);
    task.by_hand = Some(String::new());
    task.intent = Intent::Again;

    assert_eq!(next(&with(vec![task]), NOW), Next::Rest);
}

#[test]
fn an_encounter_whose_registration_was_entered_by_hand_looks_for_the_patient() {
    let mut by_hand = registration(DeliveryState::SetAside);
    by_hand.by_hand = Some("MRN 7".to_owned());
    let mut not_found = encounter(2, DeliveryState::OnHold);
    not_found.delivery.note = NOTE_UNKNOWN_PATIENT.to_owned();

    let mut asked = encounter(2, DeliveryState::OnHold);
    asked.delivery.note = NOTE_ASK.to_owned();

    let asking = with(vec![by_hand.clone(), asked]);
    let looking = with(vec![by_hand.clone(), encounter(2, DeliveryState::Waiting)]);
    let resting = with(vec![by_hand, not_found]);

    assert_eq!(looking.number_by_hand(), Some("MRN 7"));
    assert_eq!(next(&looking, NOW), Next::Deliver(RecordId([2; 16])));
    assert_eq!((next(&asking, NOW), next(&resting, NOW)), (Next::Rest, Next::Rest));
}

#[test]
fn every_failure_has_its_path() {
    let begun = delivery(DeliveryState::BeingSent);
    let after = |failure: Failure| after_failure(&begun, true, &failure, PATIENCE, NOW, 7);
    let note = String::new;

    let refused = after(Failure::Refused {
        class: ErrorClass::Validation,
        note: note(),
    });
    let away = after(Failure::Unavailable {
        class: ErrorClass::Unavailable,
        note: note(),
        pause_ms: Some(9_000),
    });
    let conflict = after(Failure::Conflict { note: note() });
    let unknown = after(Failure::Unknown {
        class: ErrorClass::Timeout,
        note: note(),
    });

    assert_eq!(
        (refused.state, refused.class),
        (DeliveryState::Refused, ErrorClass::Validation)
    );
    assert_eq!(
        (away.state, away.at_ms, away.attempts),
        (DeliveryState::Waiting, NOW + 9_000, 1)
    );
    assert_eq!(
        (conflict.state, conflict.class),
        (DeliveryState::Waiting, ErrorClass::Conflict)
    );
    assert_eq!(
        (unknown.state, unknown.class),
        (DeliveryState::OutcomeUnknown, ErrorClass::Timeout)
    );
}

#[test]
fn a_task_is_set_aside_when_its_attempts_are_spent_but_never_while_its_outcome_is_unknown() {
    let away = Failure::Unavailable {
        class: ErrorClass::Unavailable,
        note: String::new(),
        pause_ms: None,
    };
    let spent = Delivery {
        attempts: 3,
        ..delivery(DeliveryState::BeingSent)
    };
    let unknown = Delivery {
        attempts: 3,
        ..delivery(DeliveryState::OutcomeUnknown)
    };

    assert_eq!(
        after_failure(&spent, true, &away, PATIENCE, NOW, 7).state,
        DeliveryState::SetAside
    );
    assert_eq!(
        after_failed_look_up(&unknown, &away, PATIENCE, NOW, 7).state,
        DeliveryState::OutcomeUnknown
    );
    assert_eq!(
        after_nothing_found(&unknown, PATIENCE, NOW).state,
        DeliveryState::SetAside
    );
}

#[test]
fn a_task_of_an_older_life_is_looked_up_before_it_is_sent_withdrawn_superseded_or_expires() {
    let older = |state, intent| Task {
        of_older_life: true,
        intent,
        ..registration(state)
    };
    let late = Task {
        deadline_ms: NOW,
        ..older(DeliveryState::Waiting, Intent::Wanted)
    };
    let told = [
        older(DeliveryState::Waiting, Intent::Wanted),
        older(DeliveryState::Waiting, Intent::Withdraw),
        older(DeliveryState::Waiting, Intent::Superseded),
        older(DeliveryState::OnHold, Intent::Withdraw),
        older(DeliveryState::Refused, Intent::Again),
        older(DeliveryState::SetAside, Intent::Withdraw),
        late,
    ];
    for task in told {
        let (then, situation) = settled(with(vec![task]));

        assert_eq!(then, Next::LookUp(RecordId([1; 16])));
        assert_eq!(state_of(&situation, 1), DeliveryState::OutcomeUnknown);
    }

    let (then, situation) = settled(with(vec![older(DeliveryState::Refused, Intent::Wanted)]));
    assert_eq!((then, state_of(&situation, 1)), (Next::Rest, DeliveryState::Refused));
}
