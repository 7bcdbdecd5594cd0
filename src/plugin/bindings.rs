//! The Rust side of `wit/`, generated.

wasmtime::component::bindgen!({
    path: "wit",
    world: "imports",
    imports: {
        default: trappable,
        "metagate:plugin/http.send": async | trappable,
        "metagate:plugin/invoke.call": async | trappable,
        "metagate:plugin/outcome.[method]outcome.body": async | trappable,
        "metagate:plugin/outcome.[method]outcome.body-size": async | trappable,
    },
    with: {
        "metagate:plugin/invocation.invocation": crate::plugin::invocation::CallHandle,
        "metagate:plugin/outcome.outcome": crate::plugin::outcome::OutcomeHandle,
        "metagate:plugin/release.release": crate::plugin::release::ReleaseHandle,
    },
});
