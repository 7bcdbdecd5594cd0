//! Which files of a deployment are served over HTTP: `static_files = false`, `true` or `"public"`.

use std::borrow::Cow;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const WORDS: &str = "true, false, or a folder inside the deployment's own, such as \"public\"";

/// The files that are served. Default: none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StaticFiles {
    /// None.
    #[default]
    None,
    /// Those of the deployment's folder.
    All,
    /// Those of a folder inside it, by its relative path without `.` and `..`.
    Folder(PathBuf),
}

impl Serialize for StaticFiles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_bool(false),
            Self::All => serializer.serialize_bool(true),
            Self::Folder(folder) => folder.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for StaticFiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StaticFilesVisitor)
    }
}

impl JsonSchema for StaticFiles {
    fn schema_name() -> Cow<'static, str> {
        "StaticFiles".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "boolean" }, { "type": "string", "minLength": 1 }] })
    }
}

struct StaticFilesVisitor;

impl Visitor<'_> for StaticFilesVisitor {
    type Value = StaticFiles;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WORDS)
    }

    fn visit_bool<E: Error>(self, all: bool) -> Result<StaticFiles, E> {
        Ok(if all { StaticFiles::All } else { StaticFiles::None })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<StaticFiles, E> {
        match text {
            // From an interpolation.
            "true" => return Ok(StaticFiles::All),
            "false" => return Ok(StaticFiles::None),
            _ => {}
        }
        let mut folder = PathBuf::new();
        for component in Path::new(text).components() {
            match component {
                Component::Normal(part) => folder.push(part),
                Component::CurDir => {}
                Component::Prefix(_) | Component::RootDir | Component::ParentDir => {
                    return Err(E::invalid_value(
                        Unexpected::Other("the folder is outside of the deployment's"),
                        &self,
                    ));
                }
            }
        }
        if folder.as_os_str().is_empty() || text.contains('\0') {
            return Err(E::invalid_value(Unexpected::Str(text), &self));
        }
        Ok(StaticFiles::Folder(folder))
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};

    use super::*;

    fn read(text: &str) -> Result<StaticFiles, Error> {
        let text: StrDeserializer<'_, Error> = text.into_deserializer();
        StaticFiles::deserialize(text)
    }

    #[test]
    fn a_folder_is_inside_of_the_deployments() {
        for (text, folder) in [("public", "public"), ("./web/dist/", "web/dist"), (".output/public", ".output/public")]
        {
            assert_eq!(read(text), Ok(StaticFiles::Folder(folder.into())), "{text}");
        }
        assert_eq!((read("true"), read("false")), (Ok(StaticFiles::All), Ok(StaticFiles::None)));
        for bad in ["", ".", "..", "../public", "public/../..", "/srv/public", "a\0b"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
