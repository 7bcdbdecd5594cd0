//! Pages of lists.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::http::mcp::rpc_error::RpcError;

/// Most bytes of the items on one page, unless one item has more.
const PAGE_BYTES: usize = 1 << 20;

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The items: a JSON array.
    pub items: String,
    /// Where the list goes on, if it does.
    pub next: Option<String>,
}

/// An item of a list.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// What tells it from others: a text that needs no escapes in JSON.
    pub name: &'a str,
    /// What follows the name: the members of a JSON object, without its braces.
    pub members: &'a str,
}

/// The page of `size` items that begins after a cursor. `key` is the member that has their names.
///
/// # Errors
///
/// The cursor is none of ours.
pub fn page(mut items: Vec<Item<'_>>, key: &str, cursor: Option<&str>, size: usize) -> Result<Page, RpcError> {
    items.sort_unstable_by_key(|item| item.name);
    let after = cursor.map(last_name).transpose()?;
    // A cursor holds the last name instead of a number: items that come and go shift nothing.
    let first = after.map_or(0, |after| items.partition_point(|item| item.name <= after.as_str()));
    let mut listed = String::from("[");
    let mut end = first;
    for Item { name, members } in items[first..].iter().take(size) {
        if end > first {
            if listed.len() + members.len() > PAGE_BYTES {
                break;
            }
            listed.push(',');
        }
        for part in ["{\"", key, "\":\"", *name, "\",", *members, "}"] {
            listed.push_str(part);
        }
        end += 1;
    }
    listed.push(']');
    let last = items[first..end].last().filter(|_| end < items.len());
    Ok(Page { items: listed, next: last.map(|item| URL_SAFE_NO_PAD.encode(item.name)) })
}

fn last_name(cursor: &str) -> Result<String, RpcError> {
    let name = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    name.filter(|name| !name.is_empty()).ok_or_else(|| RpcError::invalid_params("the cursor is not one of this list"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn pages_have_each_tool_once() {
        let all: Vec<String> = (0..1050).map(|at| format!("f{at:04}")).collect();
        let listed = || all.iter().rev().map(|name| Item { name, members: "\"a\":1" }).collect::<Vec<_>>();
        let (mut names, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = page(listed(), "name", cursor.as_deref(), 100).unwrap();
            let tools: Vec<Value> = serde_json::from_str(&page.items).unwrap();
            names.extend(tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
            pages += 1;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!((names, pages), (all.clone(), 11));
        for cursor in ["", "!", "//", "w6Q"] {
            assert!(page(listed(), "name", Some(cursor), 100).is_err() || cursor == "w6Q", "{cursor}");
        }
        assert_eq!(page(Vec::new(), "uri", None, 10).unwrap(), Page { items: "[]".to_owned(), next: None });
    }
}
