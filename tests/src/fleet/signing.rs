//! An agent whose requests are made by hand: signed, numbered and then, as a test wishes, sent twice, altered, sent to
//! another process of the hub, or sent without a certificate.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use data_encoding::BASE64;
use reqwest::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use sync_protocol::handshake::{About, Hello, Range};
use sync_protocol::replica;
use sync_protocol::request_signature::{
    self as signature, Channel, DIGEST_HEADER, INPUT_HEADER, KeyName, NUMBER_HEADER, SIGNATURE_HEADER,
};
use vault::RequestKey;
use vault::tls::{client_config, peer_identity};

use super::agent::{Papers, SimAgent, holder, http};
use super::{HubSocket, now_ms};

const TIMEOUT: Duration = Duration::from_secs(20);
const PUSH_BYTES: usize = 240 * 1024;

pub struct SigningAgent {
    pub sim: Arc<SimAgent>,
    key: RequestKey,
    name: KeyName,
    papers: Papers,
}

/// A request with its signature, ready to be sent as often and as altered as a test likes.
#[derive(Clone)]
pub struct Signed {
    pub method: Method,
    pub target: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl SigningAgent {
    /// Enrols with a key that the hub is told of.
    pub async fn enrol(hub: &HubSocket, site: &str) -> Result<SigningAgent> {
        let key = RequestKey::generate()?;
        let (sim, papers) = SimAgent::enrol_with(hub, site, Some(&key)).await?;
        SigningAgent::of(sim, papers, key)
    }

    /// Enrols as an agent of a version before there were such keys; its key is unknown to the hub.
    pub async fn enrol_without_key(hub: &HubSocket, site: &str) -> Result<SigningAgent> {
        let (sim, papers) = SimAgent::enrol_with(hub, site, None).await?;
        SigningAgent::of(sim, papers, RequestKey::generate()?)
    }

    fn of(sim: Arc<SimAgent>, papers: Papers, key: RequestKey) -> Result<SigningAgent> {
        let names = peer_identity(&papers.certificate).context("the certificate names nobody")?;
        let name = KeyName {
            organisation: names.organisation.into_bytes(),
            agent: names.agent.into_bytes(),
        };
        Ok(SigningAgent { sim, key, name, papers })
    }

    pub fn id(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.name.agent)
    }

    pub fn sign(&self, method: Method, target: &str, channel: Channel, number: u64, body: Vec<u8>) -> Result<Signed> {
        let signed = signature::Signed {
            method: method.as_str(),
            target,
            digest: ring::digest::digest(&ring::digest::SHA256, &body).as_ref().try_into()?,
            channel,
            number,
            key: self.name,
        };
        let by_key = self.key.sign(signed.base().as_bytes());
        let headers = vec![
            (DIGEST_HEADER, signed.digest_value()),
            (NUMBER_HEADER, signed.number_value()),
            (INPUT_HEADER, signed.input_value()),
            (SIGNATURE_HEADER, signature::signature_value(&by_key)),
        ];
        Ok(Signed {
            method,
            target: target.to_owned(),
            headers,
            body,
        })
    }

    /// The push of everything that the hub has not confirmed.
    pub fn push(&self, number: u64) -> Result<Signed> {
        let next = replica::next_push(&mut self.sim.held().ledger, PUSH_BYTES)?;
        let body = next.context("there is nothing to push")?.encode();
        self.sign(Method::POST, "/v1/push", Channel::Exchange, number, body)
    }

    pub fn hello(&self, number: u64, range: Range) -> Result<Signed> {
        let hello = Hello {
            about: About {
                range,
                features: [].into(),
                schema: 1,
                version: "a test's".to_owned(),
            },
            policies: Vec::new(),
            agent_ms: now_ms(),
        };
        self.sign(Method::POST, "/v1/hello", Channel::Exchange, number, hello.encode())
    }

    pub fn renewal(&self, number: u64) -> Result<Signed> {
        let csr = self.papers.client_key()?.certificate_request()?;
        let asked = json!({ "csr": BASE64.encode(&csr), "request_key": holder(&self.key, &csr) });
        self.sign(
            Method::POST,
            "/renew",
            Channel::Exchange,
            number,
            asked.to_string().into_bytes(),
        )
    }

    /// Goes on with the certificate that a renewal gave.
    pub fn take_certificate(&mut self, renewed: &Value) -> Result<()> {
        let pem = renewed["certificate"].as_str().context("no certificate")?;
        self.papers.certificate = CertificateDer::from_pem_slice(pem.as_bytes()).context("the certificate")?;
        Ok(())
    }

    pub fn authority(&self) -> &CertificateDer<'static> {
        &self.papers.authority
    }

    /// Over mutual TLS, as an agent's. Answers the status and, where it is JSON, what was said.
    pub async fn send(&self, hub: &str, request: &Signed) -> Result<(u16, Value)> {
        let identity = self.papers.identity()?;
        ask(
            http(client_config(&self.papers.authority, Some(&identity))?)?,
            hub,
            request,
        )
        .await
    }

    /// Over TLS without a certificate.
    pub async fn send_without_certificate(&self, hub: &str, request: &Signed) -> Result<(u16, Value)> {
        ask(http(client_config(&self.papers.authority, None)?)?, hub, request).await
    }
}

async fn ask(client: reqwest::Client, hub: &str, request: &Signed) -> Result<(u16, Value)> {
    let mut asked = client
        .request(request.method.clone(), format!("{hub}{}", request.target))
        .timeout(TIMEOUT)
        .body(request.body.clone());
    for (name, value) in &request.headers {
        asked = asked.header(*name, value);
    }
    let response = asked.send().await?;
    let status = response.status().as_u16();
    let body = response.bytes().await?;
    Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}
