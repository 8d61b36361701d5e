//! The library's errors, sorted by who must act.

use std::error::Error as _;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use store::{Error, ErrorKind};

/// A condition did not hold.
pub(super) const CONDITION_FAILED: &str = "ConditionalCheckFailedException";
/// There is no such table.
pub(super) const NOT_FOUND: &str = "ResourceNotFoundException";
/// The table is there already, or changing just now.
pub(super) const IN_USE: &str = "ResourceInUseException";
/// A transaction was refused as a whole.
pub(super) const CANCELED: &str = "TransactionCanceledException";
/// Why it was, for one of its parts.
pub(super) const CANCELED_BY_CONDITION: &str = "ConditionalCheckFailed";
/// The same, where another transaction was in the way.
pub(super) const CANCELED_BY_CONFLICT: &str = "TransactionConflict";
/// The service does not know what it is asked.
pub(super) const UNKNOWN_OPERATION: &str = "UnknownOperationException";

/// Too much is asked, of a table or of the account.
const THROTTLED: [&str; 5] = [
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "Throttling",
];

/// Who asks is not known, or may not ask.
const REFUSED: [&str; 13] = [
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// What the service calls an error; none where it was not the service that said no.
pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// Whether too much was asked of the service.
pub(super) fn is_throttled<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    code(error).is_some_and(|code| THROTTLED.contains(&code))
}

/// The error, sorted.
pub(super) fn error<E>(error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match &error {
        SdkError::DispatchFailure(failure) => {
            let source = failure.as_connector_error().and_then(|error| error.source());
            match source.and_then(|source| source.downcast_ref::<Error>()) {
                Some(ours) => ours.repeated(),
                None => Error::bug("a request that HTTP cannot carry").with_source(error),
            }
        }
        SdkError::ServiceError(service) => match service.err().code() {
            Some(code) => refusal(code, service.err().message().unwrap_or("it does not say why")),
            None => stranger(),
        },
        SdkError::ResponseError(_) => stranger(),
        SdkError::TimeoutError(_) => Error::new(ErrorKind::Timeout, "no answer in time").with_source(error),
        _ => Error::bug(format!("a request that the library does not send: {}", DisplayErrorContext(&error))),
    }
}

/// What an error of the service means.
fn refusal(code: &str, message: &str) -> Error {
    if REFUSED.contains(&code) {
        // What is said then can repeat what was signed.
        return Error::rejected(format!("dynamodb: the access key is refused ({code})"))
            .with_hint("correct the access key, its secret and the region in the target, or what its policy allows");
    }
    if THROTTLED.contains(&code) {
        return Error::rejected(format!("dynamodb: {code}: {message}"))
            .with_hint("ask less, wait until the table has grown with its load, or raise the account's limits");
    }
    let error = |kind| Error::new(kind, format!("dynamodb: {code}: {message}"));
    match code {
        IN_USE => error(ErrorKind::Conflict).with_hint("somebody else makes or drops that table: try again"),
        "TransactionConflictException" | "TransactionInProgressException" => error(ErrorKind::Conflict),
        NOT_FOUND => error(ErrorKind::Rejected).with_hint("the table is gone: load the data anew"),
        CANCELED if message.contains(CANCELED_BY_CONFLICT) => error(ErrorKind::Conflict),
        "IdempotentParameterMismatchException" | UNKNOWN_OPERATION | "SerializationException" => error(ErrorKind::Bug),
        "InternalServerError" | "InternalFailure" | "ServiceUnavailable" => {
            error(ErrorKind::Rejected).with_hint("the service has a fault of its own: try again later")
        }
        _ => error(ErrorKind::Rejected)
            .with_hint("an item may have 400 kB with its names, a key 1024 bytes and never none"),
    }
}

/// What answers is no `DynamoDB`.
fn stranger() -> Error {
    Error::rejected("not a DynamoDB: the answer is not in its protocol")
        .with_hint("check that the port is DynamoDB's, and whether it is encrypted: tls=")
}
