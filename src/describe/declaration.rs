//! What a plugin declares about itself: the errors with which it ends calls, and how callers prove who they are.
//! `guards` writes it into documents.

use serde::{Deserialize, Serialize};

/// Most errors of one plugin.
const REFUSALS: usize = 256;
/// Most ways of proof of one plugin.
const SCHEMES: usize = 8;
/// Most headers of one error.
const HEADERS: usize = 8;
/// Longest description, in bytes.
const DESCRIPTION: usize = 500;
/// Longest name of a header, a parameter or a cookie, and longest format of a token, in bytes.
const NAME: usize = 64;

/// What a plugin declares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declaration {
    /// All errors with which it ends calls.
    pub refusals: Vec<Refusal>,
    /// The ways of proof of which a call needs one; empty if it needs none.
    #[serde(rename = "security_schemes")]
    pub schemes: Vec<SecurityScheme>,
}

/// An error with which a plugin ends calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// 400 to 599.
    pub status: u16,
    /// The code.
    pub code: String,
    /// What it means for the caller.
    pub description: String,
    /// The names of the headers of the answer, in lower case.
    pub headers: Vec<String>,
}

/// A way for callers to prove who they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityScheme {
    /// Where the proof is.
    pub credential: Credential,
    /// What it is and where it comes from.
    pub description: String,
}

/// Where a call carries the proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Credential {
    /// A header of this name.
    Header(String),
    /// A parameter of the query.
    Query(String),
    /// A cookie.
    Cookie(String),
    /// A name and a password in `Authorization`.
    Basic,
    /// A token of this format in `Authorization`; empty if the format is not known.
    Bearer(String),
}

impl Declaration {
    /// Checks what a plugin says.
    ///
    /// # Errors
    /// The part that is not valid, and why.
    ///
    /// ```
    /// use metagate::describe::declaration::{Declaration, Refusal};
    ///
    /// let refusal = |status| Refusal { status, code: "no".into(), description: "No.".into(), headers: vec![] };
    /// let declaration = |status| Declaration { refusals: vec![refusal(status)], schemes: vec![] };
    /// assert_eq!(declaration(503).check(), Ok(()));
    /// assert_eq!(declaration(200).check().unwrap_err(), "refusal 1: the status 200 is not between 400 and 599");
    /// ```
    pub fn check(&self) -> Result<(), String> {
        at_most(REFUSALS, self.refusals.len(), "refusals")?;
        at_most(SCHEMES, self.schemes.len(), "security schemes")?;
        for (at, refusal) in (1..).zip(&self.refusals) {
            refusal.check().map_err(|reason| format!("refusal {at}: {reason}"))?;
        }
        for (at, scheme) in (1..).zip(&self.schemes) {
            scheme.check().map_err(|reason| format!("security scheme {at}: {reason}"))?;
        }
        Ok(())
    }
}

impl Refusal {
    fn check(&self) -> Result<(), String> {
        if !(400..600).contains(&self.status) {
            return Err(format!("the status {} is not between 400 and 599", self.status));
        }
        check_code(&self.code)?;
        check_description(&self.description)?;
        at_most(HEADERS, self.headers.len(), "headers")?;
        self.headers.iter().try_for_each(|name| check_token("header", name))
    }
}

impl SecurityScheme {
    fn check(&self) -> Result<(), String> {
        match &self.credential {
            Credential::Header(name) => check_token("header", name)?,
            Credential::Cookie(name) => check_token("cookie", name)?,
            Credential::Query(name) => check_text("the name of the parameter", name, NAME)?,
            Credential::Bearer(format) if !format.is_empty() => check_text("the format of the token", format, NAME)?,
            Credential::Basic | Credential::Bearer(_) => {}
        }
        check_description(&self.description)
    }
}

/// Checks the code of an error of a plugin.
///
/// # Errors
/// Why it is not valid.
pub fn check_code(code: &str) -> Result<(), String> {
    let is_code = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if code.is_empty() || code.len() > 64 || !code.bytes().all(is_code) {
        let start: String = code.chars().take(80).collect();
        return Err(format!("{start:?} is not a valid code: it must be 1 to 64 lower case letters, digits and \"_\""));
    }
    Ok(())
}

fn check_description(description: &str) -> Result<(), String> {
    check_text("the description", description, DESCRIPTION)
}

fn check_text(what: &str, text: &str, limit: usize) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("{what} is empty"));
    }
    at_most(limit, text.len(), "bytes").map_err(|reason| format!("{what}: {reason}"))?;
    if text.chars().any(|c| c.is_control() && c != '\n') {
        Err(format!("{what} has control characters"))
    } else {
        Ok(())
    }
}

/// Checks a name that is a token of HTTP (RFC 9110, section 5.6.2).
fn check_token(what: &str, name: &str) -> Result<(), String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > NAME || !name.bytes().all(is_token) {
        let start: String = name.chars().take(80).collect();
        return Err(format!("{start:?} is not a valid name of a {what}"));
    }
    Ok(())
}

fn at_most(limit: usize, found: usize, what: &str) -> Result<(), String> {
    if found > limit { Err(format!("{found} {what} exceed the limit of {limit}")) } else { Ok(()) }
}
