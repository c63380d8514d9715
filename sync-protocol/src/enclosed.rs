//! A whole request and its whole reply as they travel inside a sealed body, where a proxy reads everything else: one CBOR
//! map each. Keys that are not known are skipped.

use crate::cbor::{self, CborError, MapWriter, Unknown};
use crate::change::{put_bytes, put_u64};

/// Names and values of the few headers that matter.
pub type Headers = Vec<(String, String)>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnclosedRequest {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Headers,
    pub body: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnclosedReply {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
}

const HEADERS_MAX: usize = 16;

fn put_headers(map: &mut MapWriter, headers: &Headers) {
    map.put(3, |w| {
        w.array(headers.len() as u64).ok();
        for (name, value) in headers {
            w.array(2).ok();
            w.str(name).ok();
            w.str(value).ok();
        }
    });
}

fn read_headers(r: &mut cbor::Reader<'_>) -> Result<Headers, CborError> {
    r.array(HEADERS_MAX, "headers", |r| {
        r.exact_array(2, "header")?;
        Ok((r.text()?.to_owned(), r.text()?.to_owned()))
    })
}

fn missing(what: &'static str) -> CborError {
    CborError::Missing { what }
}

impl EnclosedRequest {
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new(&Unknown::default());
        map.put(1, |w| {
            w.str(&self.method).ok();
        });
        map.put(2, |w| {
            w.str(&self.target).ok();
        });
        put_headers(&mut map, &self.headers);
        map.put(4, |w| put_bytes(w, &self.body));
        cbor::encode(|w| map.finish(w))
    }

    pub fn decode(bytes: &[u8]) -> Result<EnclosedRequest, CborError> {
        let (mut method, mut target, mut headers, mut body) = (None, None, Vec::new(), Vec::new());
        cbor::parse(bytes, |r| {
            r.map(|key, r| {
                match key {
                    1 => method = Some(r.text()?.to_owned()),
                    2 => target = Some(r.text()?.to_owned()),
                    3 => headers = read_headers(r)?,
                    4 => body = r.bytes()?.to_vec(),
                    _ => return Ok(false),
                }
                Ok(true)
            })
        })?;
        Ok(EnclosedRequest {
            method: method.ok_or(missing("method"))?,
            target: target.ok_or(missing("target"))?,
            headers,
            body,
        })
    }
}

impl EnclosedReply {
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new(&Unknown::default());
        map.put(1, |w| put_u64(w, u64::from(self.status)));
        put_headers(&mut map, &self.headers);
        map.put(4, |w| put_bytes(w, &self.body));
        cbor::encode(|w| map.finish(w))
    }

    pub fn decode(bytes: &[u8]) -> Result<EnclosedReply, CborError> {
        let (mut status, mut headers, mut body) = (None, Vec::new(), Vec::new());
        cbor::parse(bytes, |r| {
            r.map(|key, r| {
                match key {
                    1 => status = Some(r.u16()?),
                    3 => headers = read_headers(r)?,
                    4 => body = r.bytes()?.to_vec(),
                    _ => return Ok(false),
                }
                Ok(true)
            })
        })?;
        Ok(EnclosedReply {
            status: status.ok_or(missing("status"))?,
            headers,
            body,
        })
    }
}

/// What both ends know of a sealed message without reading it, and seal it for.
pub fn about(method: &str, path: &str, number: &str) -> Vec<u8> {
    format!("{method}\n{path}\n{number}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies_are_read_as_they_were_written() {
        let request = EnclosedRequest {
            method: "POST".to_owned(),
            target: "/v1/push".to_owned(),
            headers: vec![("range".to_owned(), "bytes=0-9".to_owned())],
            body: vec![1, 2, 3],
        };
        let reply = EnclosedReply {
            status: 503,
            headers: vec![("retry-after".to_owned(), "5".to_owned())],
            body: Vec::new(),
        };

        assert_eq!(EnclosedRequest::decode(&request.encode()), Ok(request));
        assert_eq!(EnclosedReply::decode(&reply.encode()), Ok(reply));
        assert!(EnclosedRequest::decode(b"rubbish").is_err());
    }
}
