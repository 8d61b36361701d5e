//! Tokens: made, listed and taken back by administrators. A token itself is in the answer that makes it, and nowhere else.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use jiff::{SignedDuration, Timestamp};
use results::service::{NewToken, Role, Token, TokenSecret};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::audit::Subject;
use crate::extract::{Json, Path};
use crate::paging::Page;
use crate::problem::Problem;

/// Letters of a name, which stands in every line of the audit log.
const NAME_LETTERS_MAX: usize = 100;

/// How long a token may live: ten years, which is as good as for ever.
const LIFE_SECONDS_MAX: u64 = 10 * 366 * 24 * 60 * 60;

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list, create)).routes(routes!(revoke))
}

/// What whoever has a token may do.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(example = "operator")]
enum RoleName {
    /// Read.
    Viewer,
    /// Make, run, cancel and delete experiments as well.
    Operator,
    /// Decide about tokens and targets as well, read the audit log and stop everything.
    Admin,
}

/// A token that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    /// What to call it: the audit log says who by this name.
    #[schema(example = "ci", min_length = 1, max_length = 100)]
    name: String,
    /// What it allows.
    role: RoleName,
    /// How long it is valid; for ever where this is not given.
    #[schema(example = 2_592_000, minimum = 1, maximum = 316_224_000)]
    expires_in_seconds: Option<u64>,
}

/// A token, without what makes it one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
struct TokenShown {
    /// Its id.
    #[schema(example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")]
    id: Uuid,
    /// What it is called.
    #[schema(example = "ci")]
    name: String,
    /// What it allows.
    role: RoleName,
    /// When it was made.
    #[schema(value_type = String, format = DateTime, example = "2026-01-01T00:00:00Z")]
    created_at: Timestamp,
    /// When it ends; null where it does not.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-01-31T00:00:00Z")]
    expires_at: Option<Timestamp>,
    /// When it was taken back; null where it was not.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-01-15T00:00:00Z")]
    revoked_at: Option<Timestamp>,
    /// Whether it may be used now.
    #[schema(example = true)]
    is_valid: bool,
}

/// A token that was just made.
#[derive(Debug, Serialize, ToSchema)]
struct TokenMade {
    /// Its id.
    #[schema(example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")]
    id: Uuid,
    /// What it is called.
    #[schema(example = "ci")]
    name: String,
    /// What it allows.
    role: RoleName,
    /// When it ends; null where it does not.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-01-31T00:00:00Z")]
    expires_at: Option<Timestamp>,
    /// The token itself, to be sent as `Authorization: Bearer TOKEN`. It is shown here and never again.
    #[schema(example = "storelab_X1b2c3…")]
    token: String,
}

/// List the tokens.
///
/// All of them, the newest first, those as well that are no longer valid. The tokens themselves are not kept.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", operation_id = "list_tokens",
    responses((status = 200, description = "All of them", body = Page<TokenShown>)))]
async fn list(State(app): State<App>) -> Result<Json<Page<TokenShown>>, Problem> {
    let tokens = app.storage.read(results::Results::tokens).await?;
    let now = Timestamp::now();
    Ok(Json(Page::whole(tokens.into_iter().map(|token| shown(token, now)).collect())))
}

/// Make a token.
///
/// From the first one on, every request needs one. It is shown in the answer and never again.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", operation_id = "create_token", request_body = TokenRequest,
    responses((status = 201, description = "It is made", body = TokenMade,
        headers(("Location" = String, description = "Its path")))))]
async fn create(
    State(app): State<App>,
    subject: Subject,
    Json(request): Json<TokenRequest>,
) -> Result<impl IntoResponse, Problem> {
    let now = Timestamp::now();
    let secret = TokenSecret::draw()?;
    let new = NewToken {
        name: name(&request.name)?,
        role: request.role.into(),
        hash: secret.hash(),
        expires_at: request.expires_in_seconds.map(|seconds| end_of(now, seconds)).transpose()?,
    };
    let made = app.storage.write(move |results| results.create_token(new, now)).await?;
    let made = made.ok_or_else(|| Problem::conflict("there are too many tokens").with_remedy("revoke some first"))?;
    app.tokens.forget();
    subject.object(made.id);
    let location = format!("/api/v1/tokens/{}", made.id);
    let body = TokenMade {
        id: made.id,
        name: made.name,
        role: made.role.into(),
        expires_at: made.expires_at,
        token: secret.expose().to_owned(),
    };
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(body)))
}

/// Take a token back.
///
/// At once and for good; one that was taken back before stays so.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens", operation_id = "revoke_token",
    params(("id" = Uuid, Path, description = "The token's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")),
    responses((status = 200, description = "It is taken back", body = TokenShown)))]
async fn revoke(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Json<TokenShown>, Problem> {
    let now = Timestamp::now();
    let revoked = app.storage.write(move |results| results.revoke_token(id, now)).await?;
    app.tokens.forget();
    let revoked = revoked.ok_or_else(|| Problem::not_found(format!("there is no token {id}")).with_field("id"))?;
    Ok(Json(shown(revoked, now)))
}

fn shown(token: Token, now: Timestamp) -> TokenShown {
    let is_valid = token.is_valid(now);
    let Token { id, name, role, created_at, expires_at, revoked_at, .. } = token;
    TokenShown { id, name, role: role.into(), created_at, expires_at, revoked_at, is_valid }
}

fn name(given: &str) -> Result<String, Problem> {
    let name = given.trim();
    let is_usable = (1..=NAME_LETTERS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if is_usable {
        return Ok(name.to_owned());
    }
    Err(Problem::invalid("name", format!("it must have 1 to {NAME_LETTERS_MAX} letters, and no control characters")))
}

fn end_of(now: Timestamp, seconds: u64) -> Result<Timestamp, Problem> {
    let end = i64::try_from(seconds.min(LIFE_SECONDS_MAX + 1)).ok().map(SignedDuration::from_secs);
    let is_usable = (1..=LIFE_SECONDS_MAX).contains(&seconds);
    end.filter(|_| is_usable).and_then(|life| now.checked_add(life).ok()).ok_or_else(|| {
        Problem::invalid("expires_in_seconds", format!("it must be from 1 to {LIFE_SECONDS_MAX}"))
            .with_remedy("leave it out for a token that does not end")
    })
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::Admin => Self::Admin,
        }
    }
}
