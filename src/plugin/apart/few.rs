//! Lists that the process of a plugin sends, bounded: a part takes more memory than its JSON, whose length the frame
//! bounds.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// Most parts of a list: as many as a hook may make changes.
const PARTS: usize = 4_096;

/// Reads a list of a process, which has [`PARTS`] at most.
pub(super) fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(list: D) -> Result<Vec<T>, D::Error> {
    list.deserialize_seq(Few(PhantomData))
}

struct Few<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a list of at most {PARTS} parts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = list.next_element()? {
            if parts.len() == PARTS {
                return Err(A::Error::invalid_length(PARTS + 1, &self));
            }
            parts.push(part);
        }
        Ok(parts)
    }
}
