//! Policies: set by file, signed, versioned, and pulled by every site.

use clinic::policy_record as policy;
use sync_protocol::wire::Cursor;
use sync_protocol::{Lane, RecordId};

use crate::program::{Home, write_file};
use crate::site::Agent;

#[tokio::test]
async fn a_policy_reaches_a_site_signed_and_the_next_one_is_a_new_version() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let file = home.path().join("scope.toml");
    let set = ["policy", "set", "scope", file.to_str().unwrap()];
    write_file(&file, "recent_days = 7\n");

    let first = home.json(&set);
    write_file(&file, "recent_days = 8\nschedule_days = 2\n");
    let second = home.json(&set);

    assert_eq!((&first["version"], &second["version"]), (&1.into(), &2.into()));
    let hub = home.run();
    let agent = Agent::enrolled(&hub, &home.token(&site)).await;
    let mut request = agent.pull_request([0; 4], 0);
    let told = agent.pull(&hub, &request).await;
    let (scope, lane) = *told.follows.last().unwrap();
    assert_eq!((told.follows.len(), lane), (5, Lane::Reference));
    request.cursors = vec![Cursor {
        scope,
        lane,
        generation: 0,
        sequence: 0,
    }];
    let pulled = agent.pull(&hub, &request).await;
    let mut states = pulled.pages[0].rows.iter().filter_map(|row| row.state());
    let state = states.find(|state| state.kind == policy::KIND).unwrap();
    let body = policy::BODY.value(state).unwrap().0;
    let signed_ms = policy::SIGNED_MS.value(state).unwrap();
    let bytes = clinic::policies::signed_bytes(RecordId(scope.0), "scope", 2, signed_ms, &body);
    let signature = policy::SIGNATURE.value(state).unwrap().0;
    assert!(body.contains("recent_days = 8"));
    assert!(vault::authority::is_signed_by(&agent.authority, &bytes, &signature));
}

#[test]
fn a_policy_that_cannot_be_read_changes_nothing_and_names_its_line() {
    let home = Home::new();
    let file = home.path().join("scope.toml");
    write_file(&file, "schedule_days = 2\nrecent_dais = 7\n");

    let (code, said) = home.failure(&["policy", "set", "scope", file.to_str().unwrap()]);
    let (other, unknown) = home.failure(&["policy", "show", "scopes"]);
    let shown = home.json(&["policy", "show", "scope"]);

    assert_eq!((code, other), (2, 2));
    assert!(said.contains("line 2") && said.contains("recent_dais"), "{said}");
    assert!(unknown.contains("scope, reference"), "{unknown}");
    assert_eq!(shown["policy"]["version"], 0);
}
