//! Choices between words: hooks, effects of failures, use of instances, modes, isolation, order of arguments.

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
    /// The form of a function that is not metagate's own.
    Handler,
    "\"lambda\"",
    {
        /// A handler of AWS Lambda, which takes events of API Gateway (version 2.0).
        Lambda = "lambda",
    }
);
choices!(
    /// The form of a line of the access log.
    AccessLogFormat,
    "\"json\" or \"combined\"",
    {
        /// A JSON object.
        Json = "json",
        /// The combined format of web servers, with more at its end.
        Combined = "combined",
    }
);
choices!(
    /// Who may read the descriptions of functions.
    #[derive(Default)]
    Describe,
    "\"admin\" or \"public\"",
    {
        /// Those who may use the admin API.
        #[default]
        Admin = "admin",
        /// Everyone.
        Public = "public",
    }
);
choices!(
    /// What becomes of times that passed while the gateway did not run.
    #[derive(Default)]
    Missed,
    "\"skip\" or \"once\"",
    {
        /// Nothing.
        #[default]
        Skip = "skip",
        /// The last of them is made up for.
        Once = "once",
    }
);
choices!(
    /// The gateways of a cluster that a deploy waits for.
    #[derive(Default)]
    Wait,
    "\"all\", \"quorum\" or \"one\"",
    {
        /// Every gateway that is there.
        #[default]
        All = "all",
        /// More than half of them.
        Quorum = "quorum",
        /// The one that makes the release.
        One = "one",
    }
);
choices!(
    /// Compression of what is sent.
    #[derive(Default)]
    Compression,
    "\"gzip\" or \"none\"",
    {
        /// Gzip.
        Gzip = "gzip",
        /// None.
        #[default]
        None = "none",
    }
);
choices!(
    /// A point in the life of a call or a release at which plugins run.
    HookName,
    "\"before-load\", \"after-load\", \"before-invoke\" or \"after-invoke\"",
    {
        /// A release is about to be loaded; no worker is started yet.
        BeforeLoad = "before-load",
        /// The worker has reported its functions; the release does not serve calls yet.
        AfterLoad = "after-load",
        /// A call has arrived; no worker is chosen yet.
        BeforeInvoke = "before-invoke",
        /// The outcome of a call is known.
        AfterInvoke = "after-invoke",
    }
);
choices!(
    /// The effect of a failed hook on its call or load.
    OnError,
    "\"reject\" or \"skip\"",
    {
        /// The call or load is refused.
        Reject = "reject",
        /// The call or load continues without the plugin.
        Skip = "skip",
    }
);
choices!(
    /// How instances are used.
    #[derive(Default)]
    Instances,
    "\"warm\" or \"fresh\"",
    {
        /// An instance serves many hook calls, one at a time.
        #[default]
        Warm = "warm",
        /// Each hook call has its own instance.
        Fresh = "fresh",
    }
);
choices!(
    /// Whether the verdicts of a plugin are applied.
    #[derive(Default)]
    Mode,
    "\"enforce\" or \"observe\"",
    {
        /// Verdicts are applied.
        #[default]
        Enforce = "enforce",
        /// Verdicts are only logged and counted.
        Observe = "observe",
    }
);

choices!(
    /// What the workers of a deployment may reach.
    #[derive(Default)]
    Isolation,
    "\"none\", \"standard\" or \"strict\"",
    {
        /// Everything that the gateway's user may.
        None = "none",
        /// No secrets of the gateway, no other deployments, no changes outside of their own folders.
        #[default]
        Standard = "standard",
        /// Its own files and those of its runtime, for reading only; temporary files; no network.
        Strict = "strict",
    }
);

choices!(
    /// A version of TLS.
    #[derive(Default)]
    TlsVersion,
    "\"1.2\" or \"1.3\"",
    {
        /// RFC 5246.
        #[default]
        V1_2 = "1.2",
        /// RFC 8446.
        V1_3 = "1.3",
    }
);

choices!(
    /// Whether clients need a certificate.
    #[derive(Default)]
    ClientCertificates,
    "\"required\" or \"optional\"",
    {
        /// Connections without one are refused.
        #[default]
        Required = "required",
        /// Clients may have one.
        Optional = "optional",
    }
);

choices!(
    /// Where the hooks of a plugin run.
    #[derive(Default)]
    PluginIsolation,
    "\"none\" or \"process\"",
    {
        /// In the process of the gateway.
        #[default]
        None = "none",
        /// In a process of their own, behind walls.
        Process = "process",
    }
);

choices!(
    /// How the values of an object become arguments.
    #[derive(Default)]
    ArgumentOrder,
    "\"names\" or \"order\"",
    {
        /// By the names of the parameters, where the keys are such names.
        #[default]
        Names = "names",
        /// In the order of the keys, as MetaCall FaaS does.
        Order = "order",
    }
);

impl HookName {
    /// The effect of a failure unless the plugin's table sets one.
    #[must_use]
    pub const fn on_error(self) -> OnError {
        match self {
            Self::BeforeLoad | Self::BeforeInvoke => OnError::Reject,
            Self::AfterLoad | Self::AfterInvoke => OnError::Skip,
        }
    }
}
