//! A small HTTP client for outputs: one request, one time limit, errors that quote the answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

/// For the whole exchange, connecting included.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Of an answer, bytes; more is an error.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Of an answer that is quoted in an error, characters.
const QUOTE_LIMIT: usize = 400;

/// Posts JSON to one address.
#[derive(Debug, Clone)]
pub(super) struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
}

/// An answer that is not a success.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody answered, or not in time, or not for us: status, if any, is in the text.
    Unanswered(String),
    /// 400 in the receiver's own format: it understood, and does not want this.
    BadRequest(String),
}

impl Poster {
    /// For `base` (`http://` or `https://`, perhaps with a path) and the `path` below it.
    pub(super) fn new(base: &str, path: &str) -> Result<Self, String> {
        let unusable = || {
            format!(
                "'{}' is not the address of a server; write http://HOST:PORT or https://HOST:PORT",
                without_user(base)
            )
        };
        let uri: Uri = format!("{}{path}", base.trim_end_matches('/'))
            .parse()
            .map_err(|_| unusable())?;
        let tls = match uri.scheme_str() {
            Some("http") => tls_without_roots(),
            Some("https") => tls_with_native_roots()?,
            _ => return Err(unusable()),
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, uri })
    }

    /// Posts `body`; done when the answer is 2xx.
    pub(super) async fn post(&self, body: String) -> Result<(), Refusal> {
        match tokio::time::timeout(TIME_LIMIT, self.exchange(body)).await {
            Ok(done) => done,
            Err(_) => Err(self.unanswered(&format!("no answer within {TIME_LIMIT:?}"))),
        }
    }

    async fn exchange(&self, body: String) -> Result<(), Refusal> {
        let request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("jaga/", env!("CARGO_PKG_VERSION")))
            .body(Full::from(body))
            .map_err(|error| self.unanswered(&error.to_string()))?;
        let answer = self
            .client
            .request(request)
            .await
            .map_err(|error| self.unanswered(&with_causes(&error)))?;
        let status = answer.status();
        let is_json = answer
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT)
            .collect()
            .await
            .map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned())
            .unwrap_or_else(|error| format!("(unreadable: {error})"));
        if status.is_success() {
            return Ok(());
        }
        let text = self.text(&format!("{status}: {}", quote(&body)));
        if status == StatusCode::BAD_REQUEST && is_json {
            return Err(Refusal::BadRequest(text));
        }
        Err(Refusal::Unanswered(text))
    }

    fn unanswered(&self, why: &str) -> Refusal {
        Refusal::Unanswered(self.text(why))
    }

    fn text(&self, why: &str) -> String {
        format!("POST {} failed: {why}", without_user(&self.uri.to_string()))
    }
}

/// An address without its user and password.
pub(super) fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let host_end = rest.find('/').unwrap_or(rest.len());
    let host_start = rest[..host_end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", rest[host_start..].trim_end_matches('/'))
}

fn quote(body: &str) -> String {
    let text = body.trim();
    if text.is_empty() {
        return "(empty answer)".to_owned();
    }
    let mut quoted: String = text.chars().take(QUOTE_LIMIT).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    quoted
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    text
}

fn tls_without_roots() -> ClientConfig {
    tls_versions()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

/// Only where they are needed: a host that speaks plain HTTP may have no certificates at all.
fn tls_with_native_roots() -> Result<ClientConfig, String> {
    tls_versions()
        .with_native_roots()
        .map(|config| config.with_no_client_auth())
        .map_err(|error| {
            format!("this host has no root certificates ({error}); install ca-certificates")
        })
}

fn tls_versions() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows TLS 1.2 and 1.3")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_stay_out_of_names() {
        for (url, name) in [
            ("http://am:9093", "http://am:9093"),
            ("http://am:9093/", "http://am:9093"),
            ("https://u:p@ss@am/x/", "https://am/x"),
            ("http://am/a@b", "http://am/a@b"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(without_user(url), name);
        }
    }

    #[test]
    fn an_address_that_cannot_work_is_told_at_start() {
        for url in ["am:9093", "am", "http://a b", "http://", "ftp://am"] {
            let error = Poster::new(url, "/x").unwrap_err();
            assert!(
                error.starts_with(&format!("'{url}' is not the address")),
                "{error}"
            );
        }
    }

    /// One answer, given to whoever comes.
    async fn answered(answer: &'static str) -> Result<(), Refusal> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://u:secret@{}", listener.local_addr().unwrap());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let poster = Poster::new(&base, "/x").unwrap();
        tokio::join!(poster.post("[]".to_owned()), server).0
    }

    #[tokio::test]
    async fn only_a_receiver_that_understood_can_refuse_for_good() {
        let json = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 6\r\n\r\n\"why?\"";
        let refusal = answered(json).await.unwrap_err();
        assert!(
            matches!(&refusal, Refusal::BadRequest(why) if why.contains("400") && why.ends_with("\"why?\"")),
            "{refusal:?}"
        );
        for answer in [
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nhtml",
            "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
        ] {
            let refusal = answered(answer).await.unwrap_err();
            let Refusal::Unanswered(why) = &refusal else {
                panic!("{answer:?} became {refusal:?}");
            };
            assert!(!why.contains("secret"), "{why}");
        }
        assert_eq!(
            answered("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await,
            Ok(())
        );
    }

    #[test]
    fn long_answers_are_cut() {
        assert_eq!(quote(&"é".repeat(500)).chars().count(), QUOTE_LIMIT + 1);
        assert_eq!(quote(" x\n"), "x");
        assert_eq!(quote(""), "(empty answer)");
    }
}
