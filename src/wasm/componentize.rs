//! What kind of file a plugin or a function came as, and a component made of it: core modules that carry the
//! description of their component, as linkers of C and Zig leave them, are wrapped here.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

/// Why a file is not a component.
#[derive(Debug, thiserror::Error)]
pub enum NotAComponent {
    /// Compiled machine code.
    #[error(
        "this is compiled code (.cwasm), which is run unchecked and so never taken from outside: give the component \
         (.wasm) it was made of"
    )]
    Compiled,
    /// Not WebAssembly at all.
    #[error("this is not WebAssembly: it begins with {0:02x?}")]
    Foreign(Vec<u8>),
    /// A module without a component's description.
    #[error(
        "this is a core module, not a component: build it with a component toolchain (for Rust the target \
         wasm32-wasip2, or wasm32-unknown-unknown with the linker \"wasm-component-ld\")"
    )]
    CoreModule,
    /// A module whose description does not fit it.
    #[error("this core module cannot be made a component: {0}")]
    Encoding(String),
}

/// The component in a file's bytes.
pub fn component(bytes: Vec<u8>) -> Result<Vec<u8>, NotAComponent> {
    if wasmparser::Parser::is_component(&bytes) {
        return Ok(bytes);
    }
    if bytes.starts_with(b"\x7fELF") {
        return Err(NotAComponent::Compiled);
    }
    if !wasmparser::Parser::is_core_wasm(&bytes) {
        return Err(NotAComponent::Foreign(bytes.into_iter().take(8).collect()));
    }
    if !has_component_type(&bytes) {
        return Err(NotAComponent::CoreModule);
    }
    let encode = || {
        ComponentEncoder::default()
            .module(&bytes)?
            .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
            .validate(true)
            .encode()
    };
    encode().map_err(|error: anyhow::Error| NotAComponent::Encoding(format!("{error:#}")))
}

fn has_component_type(module: &[u8]) -> bool {
    use wasmparser::{Parser, Payload};

    Parser::new(0).parse_all(module).any(|payload| {
        matches!(payload, Ok(Payload::CustomSection(section)) if section.name().starts_with("component-type"))
    })
}
