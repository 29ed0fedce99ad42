//! The endpoints: `/metrics`, `/livez`, `/readyz`, `/status`.
//!
//! Reads what the parts tell about themselves and decides nothing.

mod names;
mod serving;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use thiserror::Error;

use crate::metrics::Metrics;
use crate::status::{ModelStatus, Status, TrainingStatus, WorkerStatus};
use names::Asked;

/// What the endpoints read.
#[derive(Clone)]
pub struct Board {
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// What the parts tell.
    pub status: Arc<Status>,
    /// Longest time with lag and without a record.
    pub stall: Duration,
}

/// The port cannot be had.
#[derive(Debug, Error)]
#[error("cannot listen at {listen}: {source}; free the port or set http.listen")]
pub struct ListenError {
    /// Where we wanted to listen.
    pub listen: String,
    /// Why we cannot.
    pub source: std::io::Error,
}

/// Takes the port; must be called within a tokio runtime.
///
/// # Errors
/// [`ListenError`].
pub async fn listen(listen: &str) -> Result<tokio::net::TcpListener, ListenError> {
    tokio::net::TcpListener::bind(listen)
        .await
        .map_err(|source| ListenError {
            listen: listen.into(),
            source,
        })
}

/// Gives the address that a listener has, with the port that the system chose if none was asked for.
pub fn address_of(listener: &tokio::net::TcpListener) -> Option<SocketAddr> {
    listener.local_addr().ok()
}

/// Serves until the runtime ends.
pub async fn serve(listener: tokio::net::TcpListener, board: Board) {
    serving::serve(listener, router(board)).await;
}

fn router(board: Board) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .with_state(board)
}

async fn metrics(State(board): State<Board>) -> Response {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        board.metrics.text(),
    )
        .into_response()
}

/// 200 while every worker comes round and none is stuck; 503 says which and why.
async fn livez(State(board): State<Board>) -> Response {
    let workers = board.status.workers();
    let stuck = workers.iter().enumerate().filter_map(|(index, worker)| {
        worker
            .stuck(board.stall)
            .map(|reason| format!("worker {index}: {reason}"))
    });
    answer(stuck.collect())
}

/// 200 while every worker has its share from the group, and nothing keeps it from reading, delivering and committing; 503
/// says which and why.
async fn readyz(State(board): State<Board>) -> Response {
    let mut problems = Vec::new();
    for (index, worker) in board.status.workers().iter().enumerate() {
        let waits = (!worker.joined).then_some("has not joined the group yet");
        let all = waits.into_iter().chain(worker.ailments.iter().map(String::as_str));
        problems.extend(all.map(|problem| format!("worker {index}: {problem}")));
    }
    answer(problems)
}

fn answer(problems: Vec<String>) -> Response {
    match problems.is_empty() {
        true => (StatusCode::OK, "ok\n".to_string()).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n").into_response(),
    }
}

#[derive(Serialize)]
struct StatusJson {
    program: &'static str,
    version: &'static str,
    model_version: i64,
    model: ModelStatus,
    workers: Vec<WorkerStatus>,
    training: TrainingStatus,
}

async fn status(State(board): State<Board>, RawQuery(query): RawQuery) -> Response {
    match names::asked(query.as_deref().unwrap_or_default()) {
        Ok(None) => {}
        Ok(Some(Asked { mode, page })) => {
            return axum::Json(names::page_of(&board.status.names(mode), mode, page)).into_response();
        }
        Err(problem) => return (StatusCode::BAD_REQUEST, problem + "\n").into_response(),
    }
    axum::Json(StatusJson {
        program: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        model_version: board.metrics.model_version.get(),
        model: board.status.model().clone(),
        workers: board.status.workers(),
        training: board.status.training().clone(),
    })
    .into_response()
}
