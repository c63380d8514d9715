//! Enrolment, before there is a certificate: the hub is the one whose authority the token names, also where a proxy reads
//! the line.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sync_protocol::enclosed::EnclosedRequest;
use vault::tls::{Observed, client_config_pinned_of};
use vault::{Fingerprint, fingerprint};

use super::contact::{ProxyWay, Sending, ask_for_key, build, received};
use super::{HubError, RequestKeyProof, json, judged};

#[derive(Serialize)]
struct EnrolRequest<'a> {
    token: &'a str,
    csr: String,
    request_key: &'a RequestKeyProof,
}

/// What the hub answers to an enrolment.
#[derive(Deserialize)]
pub struct EnrolReply {
    pub site: String,
    pub scope: String,
    pub name: String,
    pub epoch: String,
    pub proof_key: String,
    pub certificate: String,
    pub authority: String,
    /// Absent from a hub of a version before authorities followed one another.
    #[serde(default)]
    pub authorities: Vec<String>,
    /// Whether the hub has taken the key that requests are signed with.
    #[serde(default)]
    pub signs: bool,
}

/// What is said to the hub to be enrolled.
pub struct Enrolling<'a> {
    pub url: &'a str,
    pub authority: Fingerprint,
    pub token: &'a str,
    pub csr: &'a [u8],
    pub request_key: RequestKeyProof,
    pub proxy: Option<ProxyWay>,
    pub timeout: Duration,
}

impl Enrolling<'_> {
    /// Asks for enrolment, trusting only the authority that the token names.
    pub async fn ask(&self) -> Result<EnrolReply, HubError> {
        let url = self.url.trim_end_matches('/');
        let request = EnrolRequest {
            token: self.token,
            csr: data_encoding::BASE64.encode(self.csr),
            request_key: &self.request_key,
        };
        let body = serde_json::to_vec(&request).map_err(|_| HubError::Setup)?;
        let observed = Arc::new(Observed::default());
        let tls = client_config_pinned_of(self.authority, Arc::clone(&observed)).map_err(|_| HubError::Setup)?;
        let client = build(tls, self.proxy.as_ref())?;
        let request = client
            .post(format!("{url}/enrol"))
            .header("content-type", "application/json")
            .body(body.clone());
        match received(request, self.timeout.into()).await {
            Ok(answer) => json(&judged(answer)?),
            Err(HubError::WrongAuthority { .. }) => self.ask_sealed(url, body, &observed).await,
            Err(error) => Err(error),
        }
    }

    async fn ask_sealed(&self, url: &str, body: Vec<u8>, observed: &Arc<Observed>) -> Result<EnrolReply, HubError> {
        let issuer = observed.foreign_issuer();
        let foreign = || HubError::WrongAuthority { issuer: issuer.clone() };
        let (client, vouched) = ask_for_key(url, self.proxy.as_ref(), observed)
            .await
            .map_err(|_| foreign())?;
        let hub = vouched
            .key_vouched_by(|der| fingerprint::fingerprint(der) == self.authority)
            .ok_or_else(foreign)?;
        let sending = Sending {
            client: &client,
            hub: &hub,
            url,
            number: "0".to_owned(),
            timeout: self.timeout.into(),
        };
        let enclosed = EnclosedRequest {
            method: "POST".to_owned(),
            target: "/enrol".to_owned(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body,
        };
        match judged(sending.send(&enclosed).await?) {
            Err(HubError::Refused { code, .. }) if code == "inspection_not_allowed" => {
                Err(HubError::Inspected { issuer })
            }
            answered => json(&answered?),
        }
    }
}
