//! Real handshakes in memory between the configurations above. Certificates are issued at other times than now where a wrong
//! clock is meant.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls::{ClientConnection, ProtocolVersion, ServerConnection};
use uuid::Uuid;

use super::*;
use crate::authority::Authority;
use crate::identity::ClientKey;

const DAY_SECS: i64 = 24 * 60 * 60;
const HUB: &str = "hub.example";

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        .cast_signed()
}

fn authority() -> Authority {
    Authority::create("Northside", now()).unwrap()
}

fn server(authority: &Authority, issued_at: i64) -> ServerConfig {
    let identity = authority.issue_server(&[HUB, "127.0.0.1"], issued_at).unwrap();
    server_config(std::slice::from_ref(authority.certificate()), &identity).unwrap()
}

fn peer() -> PeerId {
    PeerId {
        organisation: Uuid::from_u128(3),
        site: Uuid::from_bytes([3; 16]),
        agent: Uuid::from_bytes([4; 16]),
    }
}

fn agent(authority: &Authority, issued_at: i64) -> Identity {
    let key = ClientKey::generate().unwrap();
    let request = key.certificate_request().unwrap();
    let certificate = authority.issue_client_from_csr(&request, peer(), issued_at).unwrap();
    key.into_identity(vec![certificate]).unwrap()
}

/// What a finished handshake left at both ends.
#[derive(Debug)]
struct Connected {
    client: ClientConnection,
    server: ServerConnection,
}

/// Which end gave up, and over what.
#[derive(Debug)]
enum Failed {
    AtClient(rustls::Error),
    AtServer(rustls::Error),
}

impl Failed {
    fn trouble(&self) -> TlsTrouble {
        match self {
            Failed::AtClient(error) | Failed::AtServer(error) => classify(error),
        }
    }
}

fn connect(client: ClientConfig, server: ServerConfig, name: &str) -> Result<Connected, Failed> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    // A TLS 1.3 client is done before the server has looked at its certificate: go on until neither has anything to say.
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets().map_err(Failed::AtServer)?;
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets().map_err(Failed::AtClient)?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Connected { client, server })
}

#[test]
fn an_enrolled_agent_is_known_by_its_certificate() {
    let authority = authority();
    let identity = agent(&authority, now());
    let client = client_config(authority.certificate(), Some(&identity)).unwrap();

    let connected = connect(client, server(&authority, now()), HUB).unwrap();

    let sent = connected.server.peer_certificates().unwrap();
    assert_eq!(peer_identity(&sent[0]), Some(peer()));
    assert_eq!(connected.client.alpn_protocol(), Some(ALPN));
    assert_eq!(connected.client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[test]
fn an_address_in_the_certificate_serves_as_well_as_a_name() {
    let authority = authority();
    let client = client_config(authority.certificate(), None).unwrap();

    connect(client, server(&authority, now()), "127.0.0.1").unwrap();
}

#[test]
fn without_a_client_certificate_the_line_opens_and_names_nobody() {
    let authority = authority();
    let client = client_config(authority.certificate(), None).unwrap();

    let connected = connect(client, server(&authority, now()), HUB).unwrap();

    assert!(connected.server.peer_certificates().is_none());
}

#[test]
fn a_hub_of_another_authority_is_refused() {
    let ours = authority();
    // The same name on purpose: it must not be taken for ours.
    let theirs = authority();
    let client = client_config(ours.certificate(), None).unwrap();

    let failed = connect(client, server(&theirs, now()), HUB).unwrap_err();

    assert!(matches!(failed, Failed::AtClient(_)));
    assert_eq!(failed.trouble(), TlsTrouble::WrongAuthority);
}

#[test]
fn an_agent_of_another_authority_is_refused() {
    let ours = authority();
    let intruder = agent(&authority(), now());
    let client = client_config(ours.certificate(), Some(&intruder)).unwrap();

    let failed = connect(client, server(&ours, now()), HUB).unwrap_err();

    assert!(matches!(failed, Failed::AtServer(_)));
    assert_eq!(failed.trouble(), TlsTrouble::WrongAuthority);
}

#[test]
fn an_intruder_with_the_authoritys_very_name_is_refused() {
    let ours = authority();
    let name = x509_parser::parse_x509_certificate(ours.certificate())
        .unwrap()
        .1
        .subject()
        .iter_common_name()
        .next()
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let forged = params.self_signed(&key).unwrap();
    let forger = Authority::restore(forged.der().clone(), key.serialized_der()).unwrap();
    let intruder = agent(&forger, now());

    let as_agent = connect(
        client_config(ours.certificate(), Some(&intruder)).unwrap(),
        server(&ours, now()),
        HUB,
    );
    let as_hub = connect(
        client_config(ours.certificate(), None).unwrap(),
        server(&forger, now()),
        HUB,
    );

    assert!(matches!(as_agent, Err(Failed::AtServer(_))));
    assert_eq!(as_agent.unwrap_err().trouble(), TlsTrouble::WrongAuthority);
    assert!(matches!(as_hub, Err(Failed::AtClient(_))));
    assert_eq!(as_hub.unwrap_err().trouble(), TlsTrouble::WrongAuthority);
}

#[test]
fn an_agents_certificate_does_not_pass_for_a_hubs() {
    let authority = authority();
    let posing = agent(&authority, now());
    let server = server_config(std::slice::from_ref(authority.certificate()), &posing).unwrap();
    let client = client_config(authority.certificate(), None).unwrap();

    assert!(matches!(connect(client, server, HUB), Err(Failed::AtClient(_))));
}

#[test]
fn an_expired_agent_is_let_through_to_be_judged_by_its_dates_and_nothing_worse_is() {
    let ours = authority();
    let expired = agent(&ours, now() - 91 * DAY_SECS);
    let foreign = agent(&authority(), now() - 91 * DAY_SECS);
    let future = agent(&ours, now() + 8 * DAY_SECS);
    let as_client = |identity: &Identity| client_config(ours.certificate(), Some(identity)).unwrap();

    let connected = connect(as_client(&expired), server(&ours, now()), HUB).unwrap();
    let refused = connect(as_client(&foreign), server(&ours, now()), HUB).unwrap_err();
    let early = connect(as_client(&future), server(&ours, now()), HUB).unwrap_err();

    assert_eq!(connected.server.peer_certificates().unwrap()[0], expired.chain[0]);
    assert_eq!(refused.trouble(), TlsTrouble::WrongAuthority);
    assert_eq!(early.trouble(), TlsTrouble::Dates);
}

#[test]
fn while_authorities_overlap_each_end_takes_either() {
    let (old, new) = (authority(), authority());
    let both = [old.certificate().clone(), new.certificate().clone()];
    let identity = agent(&new, now());
    let hub = old.issue_server(&[HUB], now()).unwrap();

    for client in [
        client_config_of(&both, Some(&identity), Arc::default()).unwrap(),
        client_config(old.certificate(), Some(&agent(&old, now()))).unwrap(),
    ] {
        connect(client, server_config(&both, &hub).unwrap(), HUB).unwrap();
    }
    let only_new = client_config(new.certificate(), None).unwrap();
    assert!(connect(only_new, server_config(&both, &hub).unwrap(), HUB).is_err());
}

#[test]
fn a_corrected_clock_judges_the_dates() {
    let authority = authority();
    let observed = Arc::new(Observed::default());
    let trusted = [authority.certificate().clone()];
    let client = client_config_of(&trusted, None, Arc::clone(&observed)).unwrap();
    let elsewhen = now() + 10 * 365 * DAY_SECS;

    let before = connect(client.clone(), server(&authority, elsewhen), HUB).unwrap_err();
    observed.correct_clock_by(10 * 365 * DAY_SECS);
    connect(client, server(&authority, elsewhen), HUB).unwrap();

    assert_eq!(before.trouble(), TlsTrouble::Dates);
}

#[test]
fn asking_for_the_time_minds_everything_but_dates() {
    let (ours, theirs) = (authority(), authority());
    let asking = || client_config_at_any_date(&[ours.certificate().clone()], Arc::default()).unwrap();
    let long_ago = now() - 4000 * DAY_SECS;

    connect(asking(), server(&ours, long_ago), HUB).unwrap();
    let foreign = connect(asking(), server(&theirs, now() - 91 * DAY_SECS), HUB).unwrap_err();
    let misnamed = connect(asking(), server(&ours, long_ago), "other.example").unwrap_err();

    assert_eq!(foreign.trouble(), TlsTrouble::WrongAuthority);
    assert_eq!(misnamed.trouble(), TlsTrouble::WrongName);
}

#[test]
fn whoever_issued_a_foreign_certificate_is_remembered_by_name_until_the_hub_is_met() {
    let ours = authority();
    let proxy = Authority::create("Acme Web Filter", now()).unwrap();
    let observed = Arc::new(Observed::default());
    let trusted = [ours.certificate().clone()];
    let client = || client_config_of(&trusted, None, Arc::clone(&observed)).unwrap();

    connect(client(), server(&proxy, now()), HUB).unwrap_err();
    let named = observed.foreign_issuer().unwrap();
    connect(
        client_config_untrusting(Arc::clone(&observed)).unwrap(),
        server(&proxy, now()),
        HUB,
    )
    .unwrap();
    let named_again = observed.foreign_issuer().unwrap();
    connect(client(), server(&ours, now()), HUB).unwrap();

    assert!(named.starts_with("Acme Web Filter "), "{named}");
    assert_eq!(named_again, named);
    assert_eq!(observed.foreign_issuer(), None);
}

#[test]
fn the_pinned_authority_is_found_in_the_servers_chain() {
    let authority = authority();
    let client = client_config_pinned(authority.fingerprint()).unwrap();

    connect(client, server(&authority, now()), HUB).unwrap();
}

#[test]
fn another_authority_than_the_pinned_one_is_refused() {
    let client = client_config_pinned(authority().fingerprint()).unwrap();

    let failed = connect(client, server(&authority(), now()), HUB).unwrap_err();

    assert!(matches!(failed, Failed::AtClient(_)));
    assert_eq!(failed.trouble(), TlsTrouble::WrongAuthority);
}

#[test]
fn the_pinned_authority_in_an_impostors_chain_helps_nobody() {
    let ours = authority();
    let impostor = authority();
    let mut identity = impostor.issue_server(&[HUB], now()).unwrap();
    identity.chain = vec![identity.chain[0].clone(), ours.certificate().clone()];
    let server = server_config(std::slice::from_ref(impostor.certificate()), &identity).unwrap();
    let client = client_config_pinned(ours.fingerprint()).unwrap();

    let failed = connect(client, server, HUB).unwrap_err();

    assert_eq!(failed.trouble(), TlsTrouble::WrongAuthority);
}

#[test]
fn a_pinned_server_must_answer_to_its_name() {
    let authority = authority();

    for client in [
        client_config_pinned(authority.fingerprint()).unwrap(),
        client_config(authority.certificate(), None).unwrap(),
    ] {
        let failed = connect(client, server(&authority, now()), "other.example").unwrap_err();
        assert_eq!(failed.trouble(), TlsTrouble::WrongName);
    }
}

#[test]
fn a_clock_off_by_days_is_told_apart_from_a_wrong_authority() {
    let ours = authority();
    let theirs = authority();

    for issued_at in [now() - 91 * DAY_SECS, now() + 8 * DAY_SECS] {
        for client in [
            client_config_pinned(ours.fingerprint()).unwrap(),
            client_config(ours.certificate(), None).unwrap(),
        ] {
            let dated = connect(client.clone(), server(&ours, issued_at), HUB).unwrap_err();
            assert_eq!(dated.trouble(), TlsTrouble::Dates);
            let foreign = connect(client.clone(), server(&theirs, issued_at), HUB).unwrap_err();
            assert_eq!(foreign.trouble(), TlsTrouble::WrongAuthority);
            let misnamed = connect(client, server(&ours, issued_at), "other.example").unwrap_err();
            assert_eq!(misnamed.trouble(), TlsTrouble::WrongName);
        }
    }
}

#[test]
fn a_site_whose_clock_is_six_days_slow_still_connects() {
    let authority = authority();
    let client = client_config(authority.certificate(), None).unwrap();

    connect(client, server(&authority, now() + 6 * DAY_SECS), HUB).unwrap();
}

#[test]
fn the_older_protocol_version_is_verified_just_as_well() {
    let ours = authority();
    let identity = agent(&ours, now());
    let old = |authority: &Authority| {
        let verifier = HubVerifier {
            trust: Trust::Authorities(roots(std::slice::from_ref(authority.certificate())).unwrap()),
            observed: Arc::default(),
            algorithms: provider().signature_verification_algorithms,
        };
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(identity.chain.clone(), identity.key_der().into())
            .unwrap()
    };

    let connected = connect(old(&ours), server(&ours, now()), HUB).unwrap();
    let refused = connect(old(&authority()), server(&ours, now()), HUB).unwrap_err();

    assert_eq!(connected.client.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(
        peer_identity(&connected.server.peer_certificates().unwrap()[0]),
        Some(peer())
    );
    assert_eq!(refused.trouble(), TlsTrouble::WrongAuthority);
}

#[test]
fn the_cause_is_found_however_deep_it_lies() {
    #[derive(Debug, thiserror::Error)]
    #[error("the exchange failed")]
    struct Exchange(#[source] io::Error);

    let wrap = |error: rustls::Error| Exchange(io::Error::other(io::Error::other(error)));
    let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
    let alert = rustls::Error::AlertReceived(AlertDescription::UnknownCA);

    assert_eq!(classify(&wrap(expired)), TlsTrouble::Dates);
    assert_eq!(classify(&wrap(alert)), TlsTrouble::RefusedByPeer);
    assert_eq!(
        classify(&io::Error::from(io::ErrorKind::ConnectionReset)),
        TlsTrouble::Other
    );
}

#[test]
fn the_provider_may_be_installed_twice() {
    install_provider();
    install_provider();

    assert!(CryptoProvider::get_default().is_some());
}
