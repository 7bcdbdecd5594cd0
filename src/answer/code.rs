//! The one table of error codes, each with its HTTP status.

use http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:ident;)*) => {
        /// An error code. Codes and their statuses are part of the gateway's interface and do not change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// The code as callers see it: `function_error`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The HTTP status of an answer with this code.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }
        }
    };
}

codes! {
    /// The request is malformed.
    BadRequest = "bad_request", BAD_REQUEST;
    /// The body is not the expected JSON.
    InvalidJson = "invalid_json", BAD_REQUEST;
    /// A part of the address is not a valid name.
    BadName = "bad_name", BAD_REQUEST;
    /// Repositories are not fetched from this address.
    BadUrl = "bad_url", BAD_REQUEST;
    /// The branch name is invalid.
    BadBranch = "bad_branch", BAD_REQUEST;
    /// The token is missing or wrong.
    Unauthorized = "unauthorized", UNAUTHORIZED;
    /// The request is not allowed from this origin or for this deployment.
    Forbidden = "forbidden", FORBIDDEN;
    /// There is no deployment of the name.
    DeploymentNotFound = "deployment_not_found", NOT_FOUND;
    /// The name is in use. MetaCall's client expects this status for its upload.
    AlreadyDeployed = "already_deployed", BAD_REQUEST;
    /// Too many changes of the deployment wait.
    DeployInProgress = "deploy_in_progress", CONFLICT;
    /// The release would break callers, and is not to be put in service then.
    Incompatible = "incompatible", CONFLICT;
    /// The deployment has no such function.
    FunctionNotFound = "function_not_found", NOT_FOUND;
    /// Several scripts of the deployment have a function of this name.
    AmbiguousFunction = "ambiguous_function", NOT_FOUND;
    /// No call with the request id is kept.
    CallNotFound = "call_not_found", NOT_FOUND;
    /// The call has ended, or has not: it cannot be changed in this way.
    CallState = "call_state", CONFLICT;
    /// A call with this idempotency key is under way.
    IdempotencyKeyInUse = "idempotency_key_in_use", CONFLICT;
    /// The idempotency key was used for another request.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY;
    /// The end of a call may not be reported there.
    CallbackNotAllowed = "callback_not_allowed", FORBIDDEN;
    /// Asynchronous calls cannot be kept.
    QueueUnavailable = "queue_unavailable", SERVICE_UNAVAILABLE;
    /// The address has no resource.
    NotFound = "not_found", NOT_FOUND;
    /// The address does not accept this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// The request arrived too slowly.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT;
    /// The caller left before a worker took the call.
    ClientGone = "client_gone", REQUEST_TIMEOUT;
    /// The file does not meet the request's conditions.
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED;
    /// The body is too large.
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE;
    /// The address is too long.
    UriTooLong = "uri_too_long", URI_TOO_LONG;
    /// The body has an unsupported media type.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE;
    /// The range has no byte of the file.
    RangeNotSatisfiable = "range_not_satisfiable", RANGE_NOT_SATISFIABLE;
    /// The headers are too many or too long.
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE;
    /// The arguments do not match the function's signature.
    BadArgument = "bad_argument", UNPROCESSABLE_ENTITY;
    /// The client sends too many requests that are refused.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS;
    /// The function raised an error.
    FunctionError = "function_error", INTERNAL_SERVER_ERROR;
    /// The function's result is longer than a message may be.
    ResultTooLarge = "result_too_large", INTERNAL_SERVER_ERROR;
    /// The new program does not take over from the running one.
    UpgradeFailed = "upgrade_failed", INTERNAL_SERVER_ERROR;
    /// The gateway failed.
    Internal = "internal", INTERNAL_SERVER_ERROR;
    /// The request asks for what the gateway does not do, such as a WebSocket.
    NotImplemented = "not_implemented", NOT_IMPLEMENTED;
    /// The worker ended during the call.
    WorkerCrashed = "worker_crashed", BAD_GATEWAY;
    /// A plugin returned a verdict that breaks the rules of the interface.
    PluginBadOutput = "plugin_bad_output", BAD_GATEWAY;
    /// The worker broke the protocol during the call.
    WorkerProtocolError = "worker_protocol_error", BAD_GATEWAY;
    /// The release was taken out of service during the call.
    Deleted = "deleted", BAD_GATEWAY;
    /// Too many calls or connections.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE;
    /// A plugin failed, or its breaker is open.
    PluginFailed = "plugin_failed", SERVICE_UNAVAILABLE;
    /// The workers of a release that has loaded before fail repeatedly.
    CrashLoop = "crash_loop", SERVICE_UNAVAILABLE;
    /// The worker's program cannot be run.
    SpawnFailed = "spawn_failed", SERVICE_UNAVAILABLE;
    /// The state of the cluster cannot be reached.
    ClusterUnavailable = "cluster_unavailable", SERVICE_UNAVAILABLE;
    /// Somebody else changed the deployment at the same time.
    ChangedElsewhere = "changed_elsewhere", CONFLICT;
    /// The release does not serve on as many gateways of the cluster as asked for.
    ClusterIncomplete = "cluster_incomplete", GATEWAY_TIMEOUT;
    /// No worker is ready yet.
    Starting = "starting", SERVICE_UNAVAILABLE;
    /// The gateway is stopping.
    Draining = "draining", SERVICE_UNAVAILABLE;
    /// A plugin refuses the release.
    RefusedByPlugin = "refused_by_plugin", UNPROCESSABLE_ENTITY;
    /// A plugin could not be loaded.
    BadPlugin = "bad_plugin", UNPROCESSABLE_ENTITY;
    /// The configuration has faults.
    BadConfig = "bad_config", UNPROCESSABLE_ENTITY;
    /// The repository was not fetched.
    CloneFailed = "clone_failed", UNPROCESSABLE_ENTITY;
    /// Fetching the repository timed out.
    CloneTimeout = "clone_timeout", GATEWAY_TIMEOUT;
    /// The release's dependencies were not installed.
    InstallFailed = "install_failed", UNPROCESSABLE_ENTITY;
    /// Installing the release's dependencies timed out.
    InstallTimeout = "install_timeout", GATEWAY_TIMEOUT;
    /// The package is unusable.
    BadArchive = "bad_archive", UNPROCESSABLE_ENTITY;
    /// The release did not load. A call of such a release is answered with 503 instead.
    LoadFailed = "load_failed", UNPROCESSABLE_ENTITY;
    /// Loading the release timed out.
    LoadTimeout = "load_timeout", GATEWAY_TIMEOUT;
    /// The call timed out.
    CallTimeout = "call_timeout", GATEWAY_TIMEOUT;
    /// Too many plugins call functions through one another. The plugin whose call is refused gets this code.
    TooDeep = "too_deep", LOOP_DETECTED;
    /// The disk or its quota is full.
    InsufficientStorage = "insufficient_storage", INSUFFICIENT_STORAGE;
    /// The data folder is read-only.
    ReadOnly = "read_only", SERVICE_UNAVAILABLE;
    /// The disk failed.
    StorageError = "storage_error", INTERNAL_SERVER_ERROR;
}
