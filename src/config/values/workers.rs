//! How many worker processes a deployment has: `workers = 2` or `workers = { min = 1, max = 4 }`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::values::field;

const MOST: u32 = 64;
const WORDS: &str = "a whole number from 1 to 64, or { min, max } of such numbers";

/// The minimum and maximum number of worker processes; `1 <= min <= max <= 64`. Default: one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// Workers that always run.
    pub min: u32,
    /// Workers that run while calls wait for them.
    pub max: u32,
}

impl Default for Workers {
    fn default() -> Self {
        Self { min: 1, max: 1 }
    }
}

impl Serialize for Workers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.min == self.max { serializer.serialize_u32(self.min) } else { Range::from(*self).serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Workers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WorkersVisitor)
    }
}

impl JsonSchema for Workers {
    fn schema_name() -> Cow<'static, str> {
        "Workers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let range = generator.subschema_for::<Range>();
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": 1, "maximum": MOST }, range] })
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct Range {
    /// Minimum number of workers. 1 to 64. Default 1.
    #[serde(default = "one", deserialize_with = "field::within::<1, MOST, _, _>")]
    #[schemars(range(min = 1, max = 64))]
    min: u32,
    /// Maximum number of workers. 1 to 64, at least min.
    #[serde(deserialize_with = "field::within::<1, MOST, _, _>")]
    #[schemars(range(min = 1, max = 64))]
    max: u32,
}

impl From<Workers> for Range {
    fn from(workers: Workers) -> Self {
        Self { min: workers.min, max: workers.max }
    }
}

const fn one() -> u32 {
    1
}

struct WorkersVisitor;

impl WorkersVisitor {
    fn checked<E: Error>(self, Range { min, max }: Range, found: Unexpected<'_>) -> Result<Workers, E> {
        if min < 1 || min > max || max > MOST {
            return Err(E::invalid_value(found, &self));
        }
        Ok(Workers { min, max })
    }
}

impl<'de> Visitor<'de> for WorkersVisitor {
    type Value = Workers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WORDS)
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Workers, E> {
        let both = u32::try_from(count).unwrap_or(0);
        self.checked(Range { min: both, max: both }, Unexpected::Signed(count))
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Workers, E> {
        let both = u32::try_from(count).unwrap_or(0);
        self.checked(Range { min: both, max: both }, Unexpected::Unsigned(count))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Workers, A::Error> {
        let range = Range::deserialize(MapAccessDeserializer::new(map))?;
        self.checked(range, Unexpected::Other("min is larger than max"))
    }
}
