//! What the agent serves: `/metrics`, `/-/healthy`, `/-/ready` and a page that links to them.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jaga_rules::output::Snapshot;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::metrics::Metrics;

/// Asks the engine for a snapshot. Must not block; it may drop the sender if the engine is gone or too busy.
pub type Ask = Arc<dyn Fn(oneshot::Sender<Snapshot>) + Send + Sync>;

/// What `/-/healthy` says.
pub const HEALTHY: &str = "jaga runs";

/// For the engine's answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// For a connection, from its first byte to its last.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);

/// For a request's headers.
const HEADERS_LIMIT: Duration = Duration::from_secs(5);

/// Open connections. Further ones wait in the kernel's queue.
const CONNECTIONS: usize = 32;

/// Scrapes a second, and at once. Prometheus comes every few seconds; a page costs milliseconds.
const SCRAPES_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("10 is not zero");
const SCRAPES_AT_ONCE: NonZeroU32 = NonZeroU32::new(20).expect("20 is not zero");

/// The port, before anything else depends on it.
///
/// # Errors
/// Why not, and the next step.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| cannot_listen(address, &error))
}

/// Why nothing can listen there, and the next step.
#[must_use]
pub fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let (why, step) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            "address in use".to_owned(),
            format!(
                "`ss -ltnp 'sport = :{}'` names the other program; end it, or set another `metrics: {{ listen: … }}`",
                address.port()
            ),
        ),
        io::ErrorKind::AddrNotAvailable => (
            "no interface has this address".to_owned(),
            "`ip address` shows those there are; set one in `metrics: { listen: … }`".to_owned(),
        ),
        _ => (
            error.to_string(),
            "set another `metrics: { listen: … }`".to_owned(),
        ),
    };
    format!("cannot listen on '{address}': {why}; {step}")
}

/// Serves until cancelled.
pub async fn serve(listener: TcpListener, metrics: Metrics, ask: Ask, cancel: CancellationToken) {
    let router = router(metrics, ask);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let accepting = async {
        loop {
            let permit = Arc::clone(&connections).acquire_owned().await;
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone());
                    let connection = cancel.clone().run_until_cancelled_owned(connection);
                    tokio::spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                // Out of descriptors, most likely: time is what mends it.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    };
    cancel.run_until_cancelled(accepting).await;
}

async fn connection(stream: TcpStream, router: Router) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_LIMIT)
        .keep_alive(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A client that breaks off or dawdles is its own affair.
    let _ = tokio::time::timeout(CONNECTION_LIMIT, serving).await;
}

struct Shared {
    metrics: Metrics,
    ask: Ask,
    scrapes: DefaultDirectRateLimiter,
}

fn router(metrics: Metrics, ask: Ask) -> Router {
    let quota = Quota::per_second(SCRAPES_PER_SECOND).allow_burst(SCRAPES_AT_ONCE);
    let shared = Arc::new(Shared {
        metrics,
        ask,
        scrapes: RateLimiter::direct(quota),
    });
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(scrape))
        .route("/-/healthy", get(|| async { format!("{HEALTHY}\n") }))
        .route("/-/ready", get(ready))
        .with_state(shared)
}

async fn index() -> Html<&'static str> {
    Html(
        "<!doctype html><html lang=en><title>jaga</title><h1>jaga</h1>\
         <p>Who reads the stores, and what leaves this host.\
         <ul><li><a href=/metrics>metrics</a><li><a href=/-/healthy>healthy</a>\
         <li><a href=/-/ready>ready</a></ul></html>\n",
    )
}

async fn scrape(State(shared): State<Arc<Shared>>) -> Response {
    let snapshot = match shared.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(refusal) => return refusal.into_response(),
    };
    let metrics = shared.metrics.clone();
    let page = tokio::task::spawn_blocking(move || metrics.page(snapshot, clock::wall())).await;
    match page.map_err(|error| error.to_string()).flatten() {
        Ok(page) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], page).into_response(),
        Err(why) => Refusal::Unavailable(why).into_response(),
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match shared.snapshot().await {
        Ok(_) => "the engine answers\n".into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

impl Shared {
    async fn snapshot(&self) -> Result<Snapshot, Refusal> {
        if self.scrapes.check().is_err() {
            return Err(Refusal::TooOften);
        }
        let (sender, receiver) = oneshot::channel();
        (self.ask)(sender);
        match tokio::time::timeout(ANSWER_LIMIT, receiver).await {
            Ok(Ok(snapshot)) => Ok(snapshot),
            Ok(Err(_)) => Err(Refusal::Unavailable(
                "the engine does not take questions; see the agent's log".to_owned(),
            )),
            Err(_) => Err(Refusal::Unavailable(format!(
                "the engine did not answer within {ANSWER_LIMIT:?}; it is behind, or stopped"
            ))),
        }
    }
}

/// Why a question is not answered.
enum Refusal {
    TooOften,
    Unavailable(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::TooOften => {
                let text =
                    format!("more than {SCRAPES_PER_SECOND} requests a second; ask less often\n");
                let status = StatusCode::TOO_MANY_REQUESTS;
                (status, [(RETRY_AFTER, "1")], text).into_response()
            }
            Self::Unavailable(why) => {
                (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::courier::Deliveries;
    use crate::sensor::HealthTable;

    struct Served {
        address: SocketAddr,
        cancel: CancellationToken,
        _directory: tempfile::TempDir,
        _state: crate::state::State,
    }

    impl Drop for Served {
        fn drop(&mut self) {
            self.cancel.cancel();
        }
    }

    async fn served(ask: Ask) -> Served {
        let directory = tempfile::tempdir().unwrap();
        let (state, _) = crate::state::State::open(directory.path(), "boot").unwrap();
        let metrics = Metrics::new(
            HealthTable::default(),
            Deliveries::default(),
            state.outbox().unwrap(),
        );
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        tokio::spawn(serve(listener, metrics, ask, cancel.clone()));
        Served {
            address,
            cancel,
            _directory: directory,
            _state: state,
        }
    }

    fn answers() -> Ask {
        Arc::new(|sender| {
            let _ = sender.send(Snapshot::default());
        })
    }

    async fn get(served: &Served, path: &str) -> String {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_serves_what_exporters_serve() {
        let served = served(answers()).await;
        for (path, words) in [
            ("/", "href=/metrics"),
            ("/metrics", "content-type: text/plain; version=0.0.4"),
            ("/metrics", "\njaga_stores 0\n"),
            ("/-/healthy", "jaga runs"),
            ("/-/ready", "the engine answers"),
        ] {
            let answer = get(&served, path).await;
            assert!(answer.starts_with("HTTP/1.0 200"), "{path}: {answer}");
            assert!(answer.contains(words), "{path}: {answer}");
        }
        assert!(get(&served, "/nothing").await.starts_with("HTTP/1.0 404"));
    }

    #[tokio::test]
    async fn an_engine_that_is_gone_is_told() {
        let served = served(Arc::new(drop)).await;
        for path in ["/metrics", "/-/ready"] {
            let answer = get(&served, path).await;
            assert!(answer.starts_with("HTTP/1.0 503"), "{answer}");
            assert!(answer.contains("does not take questions"), "{answer}");
        }
        assert!(get(&served, "/-/healthy").await.starts_with("HTTP/1.0 200"));
    }

    #[tokio::test]
    async fn an_engine_that_hangs_is_told_in_time() {
        let kept = std::sync::Mutex::new(Vec::new());
        let hangs: Ask = Arc::new(move |sender| kept.lock().unwrap().push(sender));
        let served = served(hangs).await;
        let answer = get(&served, "/metrics").await;
        assert!(answer.starts_with("HTTP/1.0 503"), "{answer}");
        assert!(answer.contains("did not answer within 2s"), "{answer}");
    }

    #[tokio::test]
    async fn too_many_scrapes_are_refused() {
        let served = served(answers()).await;
        let mut answer = String::new();
        // Slower than 10 a second no machine is, so the burst is used up some day.
        for _ in 0..500 {
            answer = get(&served, "/-/ready").await;
            if answer.starts_with("HTTP/1.0 429") {
                break;
            }
        }
        assert!(answer.contains("retry-after: 1"), "{answer}");
        assert!(get(&served, "/-/healthy").await.starts_with("HTTP/1.0 200"));
    }

    #[tokio::test]
    async fn a_port_in_use_is_told_with_the_next_step() {
        let first = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = listen(address).await.unwrap_err();
        let start = format!("cannot listen on '{address}': address in use; `ss -ltnp");
        assert!(error.starts_with(&start), "{error}");
        let error = listen("192.0.2.1:1".parse().unwrap()).await.unwrap_err();
        assert!(error.contains("no interface has this address"), "{error}");
    }
}
