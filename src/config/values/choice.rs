//! What a plugin's table chooses from: hooks, what a failure leads to, how instances are used, whether verdicts count.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::values::field;

macro_rules! choices {
    ($(#[$doc:meta])* $name:ident, $words:literal, { $($(#[$of:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$of])* $variant,)+
        }

        impl $name {
            /// Every choice.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name in the configuration.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The choice of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|choice| choice.as_str() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let parse = |text: &str| Self::from_name(text).ok_or_else(|| format!("{text:?} is not {}", $words));
                field::text(deserializer, $words, parse)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "enum": Self::ALL })
            }
        }
    };
}

choices!(
    /// A point in the life of a call or a release at which plugins run.
    HookName,
    "\"before-load\", \"after-load\", \"before-invoke\" or \"after-invoke\"",
    {
        /// A release is about to be served, no worker is started yet.
        BeforeLoad = "before-load",
        /// The worker has told its functions, calls do not reach it yet.
        AfterLoad = "after-load",
        /// A call has arrived, no worker is chosen yet.
        BeforeInvoke = "before-invoke",
        /// The outcome of a call is known.
        AfterInvoke = "after-invoke",
    }
);
choices!(
    /// What becomes of a call or a load when a hook of it fails.
    OnError,
    "\"reject\" or \"skip\"",
    {
        /// It is refused.
        Reject = "reject",
        /// It goes on as if the plugin were not there.
        Skip = "skip",
    }
);
choices!(
    /// How the instances of a plugin are used.
    #[derive(Default)]
    Instances,
    "\"warm\" or \"fresh\"",
    {
        /// Again and again, by one hook call at a time.
        #[default]
        Warm = "warm",
        /// Each for one hook call.
        Fresh = "fresh",
    }
);
choices!(
    /// Whether a plugin's verdicts count.
    #[derive(Default)]
    Mode,
    "\"enforce\" or \"observe\"",
    {
        /// They do.
        #[default]
        Enforce = "enforce",
        /// They are only logged and counted.
        Observe = "observe",
    }
);

impl HookName {
    /// What a failure leads to unless the plugin's table says otherwise.
    #[must_use]
    pub const fn on_error(self) -> OnError {
        match self {
            Self::BeforeLoad | Self::BeforeInvoke => OnError::Reject,
            Self::AfterLoad | Self::AfterInvoke => OnError::Skip,
        }
    }
}
