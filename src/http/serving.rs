//! Serving connections: as many as there may be, each for as long as it may take.
//!
//! Promises that nobody who connects can hold descriptors for ever: a request's head must come within a time, a connection
//! that asks for nothing is closed after the same time, and one that goes on for long is closed between two requests.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at a time; whoever comes then waits in the system's queue.
const CONNECTIONS_MAX: usize = 64;
/// Longest wait for the head of a request, the first or the next.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Age at which a connection is closed once it has been answered.
const AGE_MAX: Duration = Duration::from_secs(60);
/// Longest time for that last answer: whoever does not read it is cut off.
const LAST_ANSWER: Duration = Duration::from_secs(10);
/// Pause after no connection could be had, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// Most bytes of a request that are held.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Serves until the runtime ends.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    answer(stream, router).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "no connection could be had");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers one connection's requests. That it breaks is nobody's business but the other side's.
async fn answer(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(REQUEST_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = tokio::time::sleep(AGE_MAX) => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LAST_ANSWER, connection).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use axum::routing::get;

    use super::*;

    /// Starts a server; gives its address.
    fn start(runtime: &tokio::runtime::Runtime) -> SocketAddr {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/livez", get(|| async { "ok" }));
        runtime.spawn(serve(listener, router));
        address
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    }

    fn connect(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(4 * HEAD_TIMEOUT)).unwrap();
        stream
    }

    #[test]
    fn half_requests_and_idle_connections_are_closed_and_others_are_answered_meanwhile() {
        let runtime = runtime();
        let address = start(&runtime);
        let ask = |stream: &mut TcpStream| {
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut answer = [0; 512];
            let read = stream.read(&mut answer).unwrap();
            assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{read} bytes");
        };
        let mut half = connect(address);
        half.write_all(b"GET /livez HT").unwrap();
        let (mut silent, mut idle) = (connect(address), connect(address));
        ask(&mut idle);
        ask(&mut connect(address));
        for (name, stream) in [("half", &mut half), ("silent", &mut silent), ("idle", &mut idle)] {
            let mut rest = Vec::new();
            // A closed connection reads to its end; an open one runs into the time-out.
            stream
                .read_to_end(&mut rest)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    #[test]
    fn more_half_requests_than_there_may_be_connections_hold_nobody_off_for_long() {
        let runtime = runtime();
        let address = start(&runtime);
        let half: Vec<TcpStream> = (0..CONNECTIONS_MAX + 20)
            .map(|_| {
                let mut stream = connect(address);
                stream.write_all(b"GET /").unwrap();
                stream
            })
            .collect();
        let mut stream = connect(address);
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        drop(half);
    }
}
