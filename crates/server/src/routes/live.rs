//! A run while it goes on: as a stream of events, or over a WebSocket, whichever is asked for.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::extract::{Path, Query};
use crate::live::{Every, Follower, Kind, follow};
use crate::problem::Problem;

/// After which time without a message one is sent that says nothing, so that nobody in between takes the viewer for gone.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// How long a viewer may take to take a message: after as long its connection ends.
const SEND_TIME_MAX: Duration = Duration::from_secs(10);

/// What a stream of events says where there is nothing to say: a comment.
const NOTHING: Bytes = Bytes::from_static(b": nothing yet\n\n");

/// The greatest number that a message can have.
const NUMBER_MAX: u64 = i64::MAX.cast_unsigned() - 1;

/// Bytes that a viewer may send in one frame; it has nothing to say but that it closes.
const INCOMING_BYTES_MAX: usize = 4 * 1024;

/// The number of the last event that a client has, by the standard of event streams.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(live))
}

/// Where a viewer goes on.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LiveQuery {
    /// The number of the last message that is known; all from the first one where it is not given.
    #[param(required = false, example = 0)]
    after: Option<u64>,
    /// How often figures come: `1s`, or `250ms` for the quarters of each second too.
    #[param(required = false, example = "250ms")]
    every: Option<String>,
}

/// How often a viewer wants to be told.
fn every(given: Option<&str>) -> Result<Every, Problem> {
    let Some(text) = given else { return Ok(Every::default()) };
    let read: Result<Every, serde::de::value::Error> = Every::deserialize(text.into_deserializer());
    read.map_err(|_| {
        Problem::invalid("every", format!("figures do not come every `{text}`"))
            .with_remedy("ask for `1s`, or for `250ms`")
    })
}

/// Follow a run.
///
/// Messages are numbered from 1: `started`, `phase`, `sample` (each second), `event`, `warning`, `threshold`, and at last `ended`
/// with the verdict. Each is an object with `number`, `kind` and `run_id`. As a stream of events (`text/event-stream`), or over a
/// WebSocket where the request asks for that. Whoever comes back with `Last-Event-ID` or `after` goes on behind that message
/// without a gap. A viewer that does not keep up gets `dropped` with the reason, and the stream ends.
///
/// With `every=250ms` a `quarter` comes for each quarter of a second besides: `second`, `quarter` (0 to 3), `seconds` (0.25) and what
/// ended in it, as in a `sample`. It is told live only: it has the `number` of the message before it and no `id` in a stream of
/// events, and is not told again to whoever comes back. What ended in a second is what ended in its quarters.
#[utoipa::path(get, path = "/api/v1/runs/{id}/live", tag = "runs", operation_id = "follow_run",
    params(("id" = Uuid, Path, description = "The run's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b"), LiveQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The number of the last message that is known", example = "0")),
    responses((status = 200, description = "The messages", content_type = "text/event-stream", body = String,
            example = "id: 1\nevent: started\ndata: {\"number\":1,\"kind\":\"started\"}\n\n"),
        (status = 101, description = "A WebSocket follows, with a text for each message")))]
async fn live(
    State(app): State<App>,
    Path(id): Path<Uuid>,
    Query(query): Query<LiveQuery>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let after = match query.after {
        Some(after) => after,
        None => last_event(&headers)?,
    };
    // No run has so many, and the store counts no further.
    let after = after.min(NUMBER_MAX);
    let wants_upgrade = headers.contains_key(header::UPGRADE);
    let follower = follow(app, id, after, every(query.every.as_deref())?).await?;
    match upgrade {
        Ok(upgrade) => Ok(upgrade
            .max_message_size(INCOMING_BYTES_MAX)
            .max_frame_size(INCOMING_BYTES_MAX)
            .on_upgrade(move |socket| talk(socket, follower))),
        Err(rejection) if wants_upgrade => Err(Problem::malformed(rejection.body_text())
            .with_field("Upgrade")
            .with_remedy("ask for a WebSocket (RFC 6455)")),
        Err(_) => Ok(events(follower)),
    }
}

fn last_event(headers: &HeaderMap) -> Result<u64, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(0) };
    let text = value.to_str().unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        Problem::invalid("Last-Event-ID", "it is no number")
            .with_remedy("send the number of the last message, or nothing")
    })
}

/// The run as a stream of events.
fn events(follower: Follower) -> Response {
    let messages = stream::unfold(follower, |mut follower| async move {
        let bytes = match tokio::time::timeout(QUIET_MAX, follower.next()).await {
            Ok(Some(message)) => message.event(),
            Ok(None) => return None,
            Err(_) => NOTHING,
        };
        Some((Ok::<_, std::convert::Infallible>(bytes), follower))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies of nginx's kind would keep messages until they have many.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(messages)).into_response()
}

/// The run over a WebSocket, until it is over or the viewer is gone.
async fn talk(mut socket: WebSocket, mut follower: Follower) {
    loop {
        tokio::select! {
            message = tokio::time::timeout(QUIET_MAX, follower.next()) => {
                let frame = match &message {
                    Ok(Some(message)) => Frame::Text(message.text()),
                    Ok(None) => return close(socket, close_code::NORMAL, "the run is over").await,
                    Err(_) => Frame::Ping(Bytes::new()),
                };
                if !sent(&mut socket, frame).await {
                    return;
                }
                if matches!(&message, Ok(Some(message)) if message.kind() == Kind::Dropped) {
                    return close(socket, close_code::POLICY, "messages were not read as quickly as they came").await;
                }
            }
            heard = socket.recv() => match heard {
                // It says nothing that matters, but what it sends must be taken, or it never hears that it was closed.
                Some(Ok(Frame::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
}

/// Whether the viewer took it in time.
async fn sent(socket: &mut WebSocket, frame: Frame) -> bool {
    matches!(tokio::time::timeout(SEND_TIME_MAX, socket.send(frame)).await, Ok(Ok(())))
}

async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    sent(&mut socket, Frame::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
}
