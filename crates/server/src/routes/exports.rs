//! Runs in formats that other programs read.

use std::io::Write;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use results::export::{self, FORMATS, Format};
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::runs;
use crate::app::App;
use crate::extract::{Json, Path};
use crate::paging::Page;
use crate::problem::Problem;

/// Bytes that are handed over at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// Pieces that may wait for a reader: a run of a day is written with the memory of these.
const PIECES_WAITING: usize = 4;

/// How long a reader may take for a piece before the export ends: it holds one of the few threads that read.
const PIECE_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(15);

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(show))
}

/// A format.
#[derive(Debug, Serialize, ToSchema)]
struct ExportFormat {
    /// Its name.
    #[schema(example = "csv-seconds")]
    name: &'static str,
    /// How the names of its files end.
    #[schema(example = "seconds.csv")]
    extension: &'static str,
    /// What is in it and who reads it.
    #[schema(example = "a line for each second, phase and operation")]
    summary: &'static str,
    /// Whether it is text.
    #[schema(example = true)]
    is_text: bool,
}

/// List the formats.
#[utoipa::path(get, path = "/api/v1/exports", tag = "exports", operation_id = "list_formats",
    responses((status = 200, description = "All of them, in alphabetic order", body = Page<ExportFormat>)))]
async fn list() -> Json<Page<ExportFormat>> {
    let formats = FORMATS.iter().map(|format| {
        let Format { name, extension, summary, is_text, .. } = format;
        ExportFormat { name, extension, summary, is_text: *is_text }
    });
    Json(Page::whole(formats.collect()))
}

/// Show a run in a format.
#[utoipa::path(get, path = "/api/v1/runs/{id}/exports/{format}", tag = "exports", operation_id = "export_run",
    params(("id" = Uuid, Path, description = "The run's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b"),
        ("format" = String, Path, description = "The name of a format: GET /api/v1/exports lists them", example = "csv-seconds")),
    responses((status = 200, description = "The run as a file", content_type = "application/octet-stream", body = String, example = "second,phase,operation")))]
async fn show(State(app): State<App>, Path((id, name)): Path<(Uuid, String)>) -> Result<Response, Problem> {
    let format = export::named(&name).map_err(|near| {
        let problem = Problem::not_found(format!("there is no format `{name}`")).with_field("format");
        match near {
            Some(near) => problem.with_remedy(format!("did you mean `{near}`?")),
            None => problem.with_remedy("GET /api/v1/exports lists them"),
        }
    })?;
    runs::require(&app, id).await?;
    let (pieces, waiting) = mpsc::channel(PIECES_WAITING);
    let storage = app.clone();
    tokio::spawn(async move {
        let failing = pieces.clone();
        let written = storage
            .storage
            .read(move |results| {
                let mut out = Pieces { pieces, piece: Vec::with_capacity(PIECE_BYTES) };
                results.export(id, format, &mut out)
            })
            .await;
        if let Err(problem) = written {
            // What was sent cannot be taken back: the answer ends broken off, which its reader sees.
            let _ = failing.send(Err(std::io::Error::other(problem.reason().to_owned()))).await;
        }
    });
    let body = futures_util::stream::unfold(waiting, |mut waiting| async move {
        waiting.recv().await.map(|piece: std::io::Result<Bytes>| (piece, waiting))
    });
    let name = format!("attachment; filename=\"{id}.{}\"", format.extension);
    let headers = [(header::CONTENT_TYPE, media_type(format).to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(body)).into_response())
}

fn media_type(format: &Format) -> &'static str {
    match format.extension.rsplit('.').next() {
        Some("json") => "application/json",
        Some("csv") => "text/csv; charset=utf-8",
        Some("md") => "text/markdown; charset=utf-8",
        Some("xml") => "application/xml",
        _ if format.is_text => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// What is written, in pieces to a reader elsewhere.
struct Pieces {
    pieces: mpsc::Sender<std::io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Pieces {
    fn hand_over(&mut self) -> std::io::Result<()> {
        let piece = Bytes::from(std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES)));
        let deadline = std::time::Instant::now() + PIECE_TIME_MAX;
        let mut piece = Ok(piece);
        // Not `blocking_send`, which waits for ever for a reader that does not read.
        loop {
            match self.pieces.try_send(piece) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(again)) if std::time::Instant::now() < deadline => {
                    piece = again;
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                Err(_) => return Err(std::io::ErrorKind::BrokenPipe.into()),
            }
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.hand_over()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { self.hand_over() }
    }
}
