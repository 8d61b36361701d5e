//! What the library and the servers say went wrong, sorted by who must act.

use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError, MetadataError,
    NewSessionError, PrepareError, RequestAttemptError, UseKeyspaceError,
};
use store::{Error, ErrorKind};

const CHECK_SERVER: &str = "check that the server runs and that host and port are right";

/// The server's answer, which is no connection's fault.
fn database(error: &DbError, message: &str) -> Error {
    let (kind, hint) = match error {
        DbError::AuthenticationError => (ErrorKind::Rejected, "check user and password in the target's URL"),
        DbError::Unauthorized => (ErrorKind::Rejected, "give the user the right, or use another one"),
        DbError::Unavailable { .. } => (
            ErrorKind::Rejected,
            "too few replicas are up for the consistency: start them, or ask for a lower `consistency`",
        ),
        DbError::Overloaded => (ErrorKind::Rejected, "the server refuses more work: lower the load"),
        DbError::IsBootstrapping => (ErrorKind::Unreachable, "the server is still starting: wait for it"),
        DbError::ReadTimeout { .. } | DbError::WriteTimeout { .. } => {
            (ErrorKind::Timeout, "replicas did not answer the coordinator in time: lower the load, or look at them")
        }
        DbError::AlreadyExists { .. } => (ErrorKind::Conflict, "somebody else made it at the same time: try again"),
        DbError::ServerError | DbError::ProtocolError => (ErrorKind::Rejected, "look into the server's log"),
        _ => (ErrorKind::Rejected, ""),
    };
    // The library's words for what is plain an error of the statement say less than the server's.
    let text = if message.is_empty() { error.to_string() } else { message.to_owned() };
    let error = Error::new(kind, format!("cassandra: {text}"));
    if hint.is_empty() { error } else { error.with_hint(hint) }
}

fn lost(text: &str) -> Error {
    Error::unreachable(format!("cassandra: {text}")).with_hint(CHECK_SERVER)
}

fn attempt(error: RequestAttemptError) -> Error {
    match &error {
        RequestAttemptError::DbError(answer, message) => database(answer, message),
        RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_) => {
            Error::bug("cassandra: a request cannot be written").with_source(error)
        }
        // Nothing that comes after an answer out of protocol can be trusted.
        _ => lost(&format!("the connection was lost: {error}")).with_source(error),
    }
}

fn connection(error: ConnectionError, server: &str) -> Error {
    match &error {
        ConnectionError::ConnectTimeout => {
            Error::unreachable(format!("cassandra: no answer from {server} in time")).with_hint(CHECK_SERVER)
        }
        ConnectionError::ConnectionSetupRequestError(setup) => match setup.get_error() {
            ConnectionSetupRequestErrorKind::DbError(answer, message) => database(answer, message),
            ConnectionSetupRequestErrorKind::MissingAuthentication => {
                Error::rejected("cassandra: the server wants a user and a password")
                    .with_hint("write cassandra://USER:PASSWORD@HOST")
            }
            _ => Error::unreachable(format!("cassandra: {server} does not speak the native protocol as it must"))
                .with_hint(CHECK_SERVER)
                .with_source(error),
        },
        _ => Error::unreachable(format!("cassandra: {server} cannot be reached"))
            .with_hint(CHECK_SERVER)
            .with_source(error),
    }
}

fn pool(error: ConnectionPoolError, server: &str) -> Error {
    match error {
        ConnectionPoolError::Broken { last_connection_error } => connection(last_connection_error, server),
        ConnectionPoolError::NodeDisabledByHostFilter => nobody_listed(),
        other => lost(&format!("there is no connection: {other}")),
    }
}

fn nobody_listed() -> Error {
    Error::rejected("cassandra: no node that the cluster names is listed by the target").with_hint(
        "the server calls itself by another address than the target's URL: write that one, or add it with nodes=HOST:PORT",
    )
}

/// Why a client could not be made.
pub(crate) fn connecting(error: NewSessionError, server: &str) -> Error {
    match error {
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(error)) => pool(error, server),
        NewSessionError::UseKeyspaceError(UseKeyspaceError::RequestError(error)) => attempt(error),
        other => Error::unreachable(format!("cassandra: {server} does not say what it consists of"))
            .with_hint(CHECK_SERVER)
            .with_source(other),
    }
}

/// Why a statement could not be run.
pub(crate) fn execution(error: ExecutionError, server: &str) -> Error {
    match error {
        ExecutionError::LastAttemptError(error) => attempt(error),
        ExecutionError::ConnectionPoolError(error) => pool(error, server),
        ExecutionError::PrepareError(error) => preparing(error, server),
        ExecutionError::RequestTimeout(_) => Error::new(ErrorKind::Timeout, "cassandra: no answer in time"),
        ExecutionError::SchemaAgreementError(error) => {
            Error::new(ErrorKind::Timeout, "cassandra: the nodes do not agree on their tables")
                .with_hint("look at the nodes with `nodetool describecluster`")
                .with_source(error)
        }
        ExecutionError::BadQuery(error) => {
            Error::bug("cassandra: a statement does not take its values").with_source(error)
        }
        // Nobody is left to ask.
        ExecutionError::EmptyPlan => lost("no node is connected"),
        other => lost(&format!("the connection was lost: {other}")).with_source(other),
    }
}

/// Why a statement could not be prepared.
pub(crate) fn preparing(error: PrepareError, server: &str) -> Error {
    match error {
        PrepareError::AllAttemptsFailed { first_attempt } => attempt(first_attempt),
        PrepareError::ConnectionPoolError(error) => pool(error, server),
        other => Error::bug("cassandra: nodes prepare the same statement differently").with_source(other),
    }
}
