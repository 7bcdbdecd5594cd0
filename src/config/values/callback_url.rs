//! Where the end of an asynchronous call is reported to: `"https://hooks.example.com/orders"`.

use std::fmt;
use std::str::FromStr;

use schemars::json_schema;
use url::Url;

use crate::config::values::written_as_text::written_as_text;

const WORDS: &str = "an absolute URL such as \"https://hooks.example.com/orders\", without user, password or fragment";
/// Bytes of a URL.
const LONGEST: usize = 2048;

/// An absolute `http` or `https` URL.
///
/// ```
/// use metagate::config::CallbackUrl;
///
/// let url: CallbackUrl = "HTTPS://Hooks.example.com/orders?shop=1".parse()?;
/// assert_eq!(url.to_string(), "https://hooks.example.com/orders?shop=1");
/// assert!("https://ann:secret@hooks.example.com".parse::<CallbackUrl>().is_err());
/// assert!("/orders".parse::<CallbackUrl>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackUrl(Url);

impl CallbackUrl {
    /// The URL.
    #[must_use]
    pub fn get(&self) -> &Url {
        &self.0
    }
}

impl FromStr for CallbackUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).ok().filter(|_| text.len() <= LONGEST);
        let is_one = |url: &Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.fragment().is_none()
                && url.as_str().len() <= LONGEST
        };
        // The text itself may have a password in it.
        url.filter(is_one).map(Self).ok_or_else(|| format!("it is not {WORDS}, of at most {LONGEST} bytes"))
    }
}

impl fmt::Display for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

written_as_text!(CallbackUrl, WORDS, json_schema!({ "type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^#]+$" }));
