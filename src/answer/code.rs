//! The one table of error codes, each with its HTTP status.

use http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:ident;)*) => {
        /// A stable name of what went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// The code as callers see it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Its status.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }
        }
    };
}

codes! {
    /// A request that cannot be understood.
    BadRequest = "bad_request", BAD_REQUEST;
    /// A body that is not the JSON it should be.
    InvalidJson = "invalid_json", BAD_REQUEST;
    /// A part of the address that is not a name.
    BadName = "bad_name", BAD_REQUEST;
    /// An address from which no repository is fetched.
    BadUrl = "bad_url", BAD_REQUEST;
    /// A name that no branch has.
    BadBranch = "bad_branch", BAD_REQUEST;
    /// No token, or not the right one.
    Unauthorized = "unauthorized", UNAUTHORIZED;
    /// Not from there.
    Forbidden = "forbidden", FORBIDDEN;
    /// Nothing is deployed under the name.
    DeploymentNotFound = "deployment_not_found", NOT_FOUND;
    /// The name is in use. MetaCall's client expects this status for its upload.
    AlreadyDeployed = "already_deployed", BAD_REQUEST;
    /// Too many changes of the deployment wait already.
    DeployInProgress = "deploy_in_progress", CONFLICT;
    /// The deployment has no such function.
    FunctionNotFound = "function_not_found", NOT_FOUND;
    /// Nothing is at the address.
    NotFound = "not_found", NOT_FOUND;
    /// Not with this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// The request came too slowly.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT;
    /// The file is not the one that the request's conditions name.
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED;
    /// The body is too large.
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE;
    /// The address is too long.
    UriTooLong = "uri_too_long", URI_TOO_LONG;
    /// A body of a kind that cannot be read.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE;
    /// No byte of the file is in the range.
    RangeNotSatisfiable = "range_not_satisfiable", RANGE_NOT_SATISFIABLE;
    /// Too many or too long headers.
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE;
    /// The arguments do not fit the function.
    BadArgument = "bad_argument", UNPROCESSABLE_ENTITY;
    /// The function raised an error.
    FunctionError = "function_error", INTERNAL_SERVER_ERROR;
    /// The gateway's own fault.
    Internal = "internal", INTERNAL_SERVER_ERROR;
    /// The worker ended during the call.
    WorkerCrashed = "worker_crashed", BAD_GATEWAY;
    /// The worker broke the protocol during the call.
    WorkerProtocolError = "worker_protocol_error", BAD_GATEWAY;
    /// The release was taken out of service during the call.
    Deleted = "deleted", BAD_GATEWAY;
    /// Too many calls.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE;
    /// Workers end right after their start.
    CrashLoop = "crash_loop", SERVICE_UNAVAILABLE;
    /// The worker's program cannot be run.
    SpawnFailed = "spawn_failed", SERVICE_UNAVAILABLE;
    /// No worker is ready yet.
    Starting = "starting", SERVICE_UNAVAILABLE;
    /// The gateway is stopping.
    Draining = "draining", SERVICE_UNAVAILABLE;
    /// A plugin refuses to let the release be served.
    RefusedByPlugin = "refused_by_plugin", UNPROCESSABLE_ENTITY;
    /// A plugin could not be loaded.
    BadPlugin = "bad_plugin", UNPROCESSABLE_ENTITY;
    /// The configuration cannot be used.
    BadConfig = "bad_config", UNPROCESSABLE_ENTITY;
    /// A repository could not be fetched.
    CloneFailed = "clone_failed", UNPROCESSABLE_ENTITY;
    /// A repository took too long to fetch.
    CloneTimeout = "clone_timeout", GATEWAY_TIMEOUT;
    /// What a release depends on could not be installed.
    InstallFailed = "install_failed", UNPROCESSABLE_ENTITY;
    /// What a release depends on took too long to install.
    InstallTimeout = "install_timeout", GATEWAY_TIMEOUT;
    /// A package that is not unpacked.
    BadArchive = "bad_archive", UNPROCESSABLE_ENTITY;
    /// A release did not load.
    LoadFailed = "load_failed", UNPROCESSABLE_ENTITY;
    /// A release took too long to load.
    LoadTimeout = "load_timeout", GATEWAY_TIMEOUT;
    /// The call took too long.
    CallTimeout = "call_timeout", GATEWAY_TIMEOUT;
    /// The disk is full, or what may be used of it.
    InsufficientStorage = "insufficient_storage", INSUFFICIENT_STORAGE;
    /// The disk cannot be written to at all.
    ReadOnly = "read_only", SERVICE_UNAVAILABLE;
    /// The disk failed.
    StorageError = "storage_error", INTERNAL_SERVER_ERROR;
}
