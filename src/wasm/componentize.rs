//! What kind of file a plugin or a function came as, and a component made of it: core modules that carry the
//! description of their component, as linkers of C and Zig leave them, are wrapped here.

use std::fmt;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

/// Bytes of a file that an error shows.
const SHOWN: usize = 8;

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
    #[error("this is not WebAssembly: {0}")]
    Foreign(Beginning),
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

/// The first bytes of a file, which show people what kind of file it is.
///
/// ```
/// use metagate::wasm::componentize::Beginning;
///
/// assert_eq!(Beginning::of(b"<html>\n<body>").to_string(), r#"it begins with "<html>\n<""#);
/// assert_eq!(Beginning::of(&[0x89, b'P', b'N', b'G']).to_string(), "it begins with the bytes 89 50 4e 47");
/// assert_eq!(Beginning::of(b"").to_string(), "it is empty");
/// ```
#[derive(Debug)]
pub struct Beginning(Vec<u8>);

impl Beginning {
    /// The first bytes of `file`.
    #[must_use]
    pub fn of(file: &[u8]) -> Self {
        Self(file[..file.len().min(SHOWN)].to_vec())
    }
}

impl fmt::Display for Beginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_text = self.0.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r'));
        match std::str::from_utf8(&self.0) {
            Ok("") => f.write_str("it is empty"),
            Ok(text) if is_text => write!(f, "it begins with {text:?}"),
            Ok(_) | Err(_) => {
                f.write_str("it begins with the bytes")?;
                self.0.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
            }
        }
    }
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
        return Err(NotAComponent::Foreign(Beginning::of(&bytes)));
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
