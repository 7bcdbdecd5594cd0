//! MetaCall's ids of types, for the signatures in MetaData.

use wasmtime::component::Type;

/// The id of a type in `GetApplicationMetadata`, by the table in `docs/worker-protocol.md`; `None` is the result of a
/// function without one.
#[must_use]
pub fn type_id(ty: Option<&Type>) -> u8 {
    match ty {
        Some(Type::Bool) => 0,
        Some(Type::Char) => 1,
        Some(Type::U8 | Type::S8 | Type::U16 | Type::S16) => 2,
        Some(Type::U32 | Type::S32) => 3,
        Some(Type::U64 | Type::S64) => 4,
        Some(Type::Float32) => 5,
        Some(Type::Float64) => 6,
        Some(Type::String) => 7,
        Some(Type::List(list)) if list.ty() == Type::U8 => 8,
        Some(Type::List(_) | Type::FixedLengthList(_) | Type::Tuple(_) | Type::Flags(_)) => 9,
        Some(Type::Record(_) | Type::Map(_)) => 10,
        None => 14,
        Some(
            Type::Variant(_)
            | Type::Enum(_)
            | Type::Option(_)
            | Type::Result(_)
            | Type::Own(_)
            | Type::Borrow(_)
            | Type::Future(_)
            | Type::Stream(_)
            | Type::ErrorContext,
        ) => 20,
    }
}
