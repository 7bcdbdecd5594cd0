//! Which asynchronous calls a request is about: `deployment=shop&state=dead` of a list or a change, or the JSON body of
//! a change with the same names.

use bytes::Bytes;
use serde::Deserialize;

use crate::http::api::caller::Need;
use crate::http::api::json_body;
use crate::http::problem::{Code, Problem};
use crate::queue::Filter;
use crate::queue::progress::State as CallState;

/// The most calls of a list.
const MOST: u32 = 500;

/// The calls that a request is about.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CallSelection {
    /// What they have in common.
    pub filter: Filter,
    /// Older calls than the one of this row.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// The body of a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    deployment: Option<String>,
    function: Option<String>,
    state: Option<String>,
}

impl CallSelection {
    /// Reads a query with parameters of the `known` names.
    ///
    /// # Errors
    ///
    /// 400 `bad_request`: a parameter is not known, is there twice, or has no such value.
    pub fn of_query(query: &str, known: &[&str]) -> Result<Self, Problem> {
        let mut selection = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            selection.set(&name, &value, known)?;
        }
        Ok(selection)
    }

    /// Reads the query and the body of a change. Each may have each name that the other does not have; a body may be
    /// empty.
    ///
    /// # Errors
    ///
    /// Those of [`Self::of_query`]. 400 `invalid_json`: the body is not a JSON object of such fields.
    pub async fn of_change(query: &str, body: Bytes, known: &[&str]) -> Result<Self, Problem> {
        let mut selection = Self::of_query(query, known)?;
        if body.trim_ascii().is_empty() {
            return Ok(selection);
        }
        let ChangeBody { deployment, function, state } = json_body::read(body).await?;
        for (name, value) in [("deployment", deployment), ("function", function), ("state", state)] {
            if let Some(value) = value {
                selection.set(name, &value, known)?;
            }
        }
        Ok(selection)
    }

    fn set(&mut self, name: &str, value: &str, known: &[&str]) -> Result<(), Problem> {
        let bad = |message: String| Problem::new(Code::BadRequest, message);
        if !known.contains(&name) {
            let name: String = name.chars().take(40).collect();
            return Err(bad(format!("there is no parameter {name:?}, only {}", known.join(", "))));
        }
        let is_repeated = match name {
            "deployment" => self.filter.deployment.replace(value.into()).is_some(),
            "function" => self.filter.function.replace(value.into()).is_some(),
            "state" => {
                let state = CallState::ALL.into_iter().find(|state| state.as_str() == value);
                let names = CallState::ALL.map(CallState::as_str).join(", ");
                self.filter.state.replace(state.ok_or_else(|| bad(format!("state is one of {names}")))?).is_some()
            }
            "before" => {
                let row = value.parse().ok().filter(|row: &i64| *row >= 0);
                self.before.replace(row.ok_or_else(|| bad("before is a number from 0".to_owned()))?).is_some()
            }
            _ => {
                let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                self.limit.replace(limit.ok_or_else(|| bad(format!("limit is a number from 1 to {MOST}")))?).is_some()
            }
        };
        if is_repeated {
            return Err(bad(format!("{name} is given more than once")));
        }
        Ok(())
    }

    /// What a caller needs to see them.
    #[must_use]
    pub fn need(&self) -> Need<'_> {
        self.filter.deployment.as_deref().map_or(Need::Read, Need::ReadOf)
    }

    /// What a caller needs to change them.
    #[must_use]
    pub fn need_of_change(&self) -> Need<'_> {
        self.filter.deployment.as_deref().map_or(Need::Admin, Need::ChangeOf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of_change(query: &str, body: &'static str) -> Result<CallSelection, Code> {
        let known = ["deployment", "function", "state"];
        CallSelection::of_change(query, Bytes::from_static(body.as_bytes()), &known).await.map_err(|one| one.code())
    }

    #[tokio::test]
    async fn a_change_has_its_calls_in_the_query_and_in_the_body() {
        let filter = |deployment: &str, state| Filter { deployment: Some(deployment.into()), function: None, state };
        let dead = Some(CallState::Dead);
        for (query, body, expected) in [
            ("deployment=a&state=dead", "", filter("a", dead)),
            ("", r#"{"deployment":"a","function":null,"state":"dead"}"#, filter("a", dead)),
            ("state=dead", r#"{"deployment":"a"}"#, filter("a", dead)),
            ("deployment=a", " {}", filter("a", None)),
        ] {
            assert_eq!(of_change(query, body).await.unwrap().filter, expected, "{query} {body}");
        }
        for (query, body, code) in [
            ("", "deployment=a", Code::InvalidJson),
            ("", r#"["a"]"#, Code::InvalidJson),
            ("", r#"{"deployment":1}"#, Code::InvalidJson),
            ("", r#"{"deplyment":"a"}"#, Code::InvalidJson),
            ("", r#"{"state":"lost"}"#, Code::BadRequest),
            ("deployment=a", r#"{"deployment":"b"}"#, Code::BadRequest),
            ("deployment=a&deployment=a", "", Code::BadRequest),
            ("before=1", "", Code::BadRequest),
        ] {
            assert_eq!(of_change(query, body).await.unwrap_err(), code, "{query} {body}");
        }
    }
}
