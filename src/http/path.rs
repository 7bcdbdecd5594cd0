//! Addresses of calls, whole requests and files: a path is decoded once and split into checked names.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::deployment::{BadName, check_name};
use crate::describe::{function_address, operation};
use crate::gateway::VERSION;
use crate::http::problem::{Code, Problem};

/// The file that stands for its folder.
pub const INDEX: &str = "index.html";
/// The address of the tools of all deployments.
pub const TOOLS: &str = "/mcp";
/// Parts of the longest address of a call: four, and a function with the path of its script.
const CALL_PARTS: usize = 20;

/// The address of a call: `/<prefix>/<name>/<version>/call/<function>`.
#[derive(Debug, PartialEq, Eq)]
pub struct CallAddress<'a> {
    /// The first part of the address.
    pub prefix: Cow<'a, str>,
    /// The deployment.
    pub name: Cow<'a, str>,
    /// The version; deployments are at `v1`.
    pub version: Cow<'a, str>,
    /// The function; up to 16 parts with `/` between them.
    pub function: Cow<'a, str>,
    /// Nobody waits for the call: `async` in place of `call`.
    pub is_async: bool,
}

/// The address of a file: `/<prefix>/<name>/<version>/static/<path>`.
#[derive(Debug, PartialEq, Eq)]
pub struct StaticAddress<'a> {
    /// The first part of the address.
    pub prefix: Cow<'a, str>,
    /// The deployment.
    pub name: Cow<'a, str>,
    /// The version; deployments are at `v1`.
    pub version: Cow<'a, str>,
    /// The parts of the path below the deployment's folder, none of them `.` or `..`. Of an address that ends with a
    /// slash the last is [`INDEX`]; there are none in that of the folder without one.
    pub path: Vec<Cow<'a, str>>,
}

/// The address of a whole request: `/<prefix>/<name>/<version>/http<rest>`.
#[derive(Debug, PartialEq, Eq)]
pub struct HttpAddress<'a> {
    /// The first part of the address.
    pub prefix: Cow<'a, str>,
    /// The deployment.
    pub name: Cow<'a, str>,
    /// The version; deployments are at `v1`.
    pub version: Cow<'a, str>,
    /// The rest of the path, not decoded: empty, or with its first `/`.
    pub rest: &'a str,
}

/// The address of the tools of a deployment: `/<prefix>/<name>/<version>/mcp`.
#[derive(Debug, PartialEq, Eq)]
pub struct ToolsAddress<'a> {
    /// The first part of the address.
    pub prefix: Cow<'a, str>,
    /// The deployment.
    pub name: Cow<'a, str>,
    /// The version; deployments are at `v1`.
    pub version: Cow<'a, str>,
}

/// What a path addresses.
#[derive(Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A call of a function.
    Call(CallAddress<'a>),
    /// A whole request, for a function that takes one.
    Http(HttpAddress<'a>),
    /// A file of a deployment.
    Static(StaticAddress<'a>),
    /// The tools of a deployment, or of all at [`TOOLS`].
    Tools(Option<ToolsAddress<'a>>),
    /// Anything else.
    Other,
}

/// Parses a path.
///
/// ```
/// use metagate::http::path::{Target, parse};
///
/// let Ok(Target::Call(call)) = parse("/local/math/v1/call/sum") else { unreachable!() };
/// assert_eq!((call.name.as_ref(), call.function.as_ref()), ("math", "sum"));
/// assert!(matches!(parse("/healthz"), Ok(Target::Other)));
/// assert!(parse("/local/math/v1/call/%2e%2e").is_err());
/// ```
///
/// # Errors
///
/// `bad_name` for a path that a proxy or a function could read differently, such as encoded slashes and dots.
pub fn parse(path: &str) -> Result<Target<'_>, Problem> {
    let bad = |message: String| Problem::new(Code::BadName, message);
    if path == TOOLS {
        return Ok(Target::Tools(None));
    }
    let Some(rest) = path.strip_prefix('/').filter(|rest| !rest.is_empty()) else { return Ok(Target::Other) };
    let (rest, slash_at_end) = rest.strip_suffix('/').map_or((rest, false), |rest| (rest, true));
    let mut parts: [Cow<'_, str>; 5] = Default::default();
    let mut count = 0;
    for raw in rest.split('/') {
        if count == 4 && parts[3] == "http" {
            break;
        }
        if raw.is_empty() {
            return Err(bad("the address has an empty part".to_owned()));
        }
        let part = decode(raw).map_err(bad)?;
        if count < parts.len() {
            parts[count] = part;
        }
        count += 1;
    }
    if count == 4 && parts[3] == "http" {
        let [prefix, name, version, ..] = parts;
        check_names(&prefix, &name).map_err(bad)?;
        // Four parts, each with the slash before it.
        let rest = path.match_indices('/').nth(4).map_or("", |(at, _)| &path[at..]);
        check_rest(rest).map_err(bad)?;
        return Ok(Target::Http(HttpAddress { prefix, name, version, rest }));
    }
    if count == 4 && parts[3] == "mcp" && !slash_at_end {
        let [prefix, name, version, ..] = parts;
        check_names(&prefix, &name).map_err(bad)?;
        return Ok(Target::Tools(Some(ToolsAddress { prefix, name, version })));
    }
    let is_static = match (parts[3].as_ref(), count) {
        ("static", _) => true,
        ("call" | "await" | "async", 5..=CALL_PARTS) if !slash_at_end => false,
        ("call" | "await" | "async", 4..=CALL_PARTS) => {
            return Err(bad("the address of a call ends with a function's name".to_owned()));
        }
        _ => return Ok(Target::Other),
    };
    let [prefix, name, version, kind, mut function] = parts;
    let is_async = kind == "async";
    check_names(&prefix, &name).map_err(bad)?;
    if is_static {
        let mut path: Vec<_> = rest.split('/').skip(4).map(decode).collect::<Result<_, _>>().map_err(bad)?;
        path.extend(slash_at_end.then_some(Cow::Borrowed(INDEX)));
        return Ok(Target::Static(StaticAddress { prefix, name, version, path }));
    }
    check_function(&function).map_err(bad)?;
    for raw in rest.split('/').skip(5) {
        let part = decode(raw).map_err(bad)?;
        check_function(&part).map_err(bad)?;
        function = Cow::Owned(format!("{function}/{part}"));
    }
    Ok(Target::Call(CallAddress { prefix, name, version, function, is_async }))
}

/// The address of a function.
#[must_use]
pub fn of_call(prefix: &str, name: &str, function: &str) -> String {
    format!("/{prefix}/{name}/{VERSION}{}", operation::address(function))
}

/// Whether an address is in the part of the gateway's addresses that begins with the prefix.
#[must_use]
pub fn is_below(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(prefix));
    rest.is_some_and(|rest| rest.starts_with('/'))
}

fn check_names(prefix: &str, name: &str) -> Result<(), String> {
    for part in [prefix, name] {
        match check_name(part) {
            Err(error @ BadName::Form) => return Err(format!("{part:?} is not a name: {error}")),
            // Nothing can be deployed under a reserved name, so there is nothing to find.
            Err(BadName::Reserved(_)) | Ok(()) => {}
        }
    }
    Ok(())
}

/// Refuses a rest that a function, or a proxy in front of the gateway, could resolve to another address.
pub(crate) fn check_rest(rest: &str) -> Result<(), String> {
    if rest.starts_with("//") {
        return Err("the address has an empty part after \"http\"".to_owned());
    }
    for raw in rest.split('/') {
        check_percents(raw)?;
        let part: Cow<'_, [u8]> = percent_decode_str(raw).into();
        let is_dots = part.split(|b| *b == b'/').any(|part| matches!(part, b"." | b".."));
        if is_dots || part.iter().any(|b| *b == b'\\' || b.is_ascii_control()) {
            return Err(format!("{raw:?} is not a valid part of an address"));
        }
    }
    Ok(())
}

fn check_percents(raw: &str) -> Result<(), String> {
    let digits_follow = |rest: &str| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if !raw.split('%').skip(1).all(digits_follow) {
        return Err(format!("{raw:?} has a % without two hexadecimal digits"));
    }
    Ok(())
}

/// Decodes one part, once. Refuses parts that are not UTF-8 or could be read as several parts.
pub(crate) fn decode(raw: &str) -> Result<Cow<'_, str>, String> {
    let part = if raw.contains('%') {
        check_percents(raw)?;
        percent_decode_str(raw).decode_utf8().map_err(|_| format!("{raw:?} is not UTF-8"))?
    } else {
        Cow::Borrowed(raw)
    };
    if matches!(part.as_ref(), "." | "..") || part.contains(['/', '\\']) || part.chars().any(char::is_control) {
        return Err(format!("{raw:?} is not a valid part of an address"));
    }
    Ok(part)
}

fn check_function(name: &str) -> Result<(), String> {
    if !function_address::is_part(name) {
        return Err(format!("{:?} is not a function name", name.chars().take(80).collect::<String>()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &str) -> Option<(String, String)> {
        match parse(path) {
            Ok(Target::Call(address)) => Some((address.name.into_owned(), address.function.into_owned())),
            _ => None,
        }
    }

    #[test]
    fn a_calls_address_names_deployment_and_function() {
        assert_eq!(call("/local/math/v1/call/sum"), Some(("math".into(), "sum".into())));
        assert_eq!(call("/local/math/v1/await/gr%C3%B6%C3%9Fe"), Some(("math".into(), "größe".into())));
        assert_eq!(call("/local/math/v1/call/ops/add"), Some(("math".into(), "ops/add".into())));
        assert_eq!(
            call("/local/math/v1/call/example:calc/operations@0.1.0/%61dd"),
            Some(("math".into(), "example:calc/operations@0.1.0/add".into()))
        );
        assert_eq!(call(&format!("/l/m/v1/call{}", "/a".repeat(16))).unwrap().1.len(), 31);
        assert_eq!(call(&format!("/l/m/v1/call{}", "/a".repeat(17))), None);
        assert_eq!(call("/local/math/v1/call/two%20words"), Some(("math".into(), "two words".into())));
        assert_eq!(call("/local/m%61th/v1/call/__proto__"), Some(("math".into(), "__proto__".into())));
    }

    #[test]
    fn what_could_be_taken_for_another_path_is_refused() {
        for path in [
            "/local/math/v1/call/..%2f..%2fetc",
            "/local/../v1/call/sum",
            "/local/%2e%2e/v1/call/sum",
            "/local/math/v1/call/%00",
            "/local/math/v1/call/%ff",
            "/local/math/v1/call/%zz",
            "/local/math/v1/call/%4",
            "//local/math/v1/call/sum",
            "/local//v1/call/sum",
            "/local/math/v1/call/sum/",
            "/local/math/v1/call/",
            "/local/math/v1/call/ops/",
            "/local/math/v1/call/ops/add/",
            "/local/math/v1/call/ops//add",
            "/local/math/v1/call/ops/../add",
            "/local/math/v1/call/ops/.",
            "/local/math/v1/call/ops/%2e%2e",
            "/local/math/v1/call/ops/a%2fdd",
            "/local/math/v1/call/a/b/..c",
            "/local/math/v1/call/a/b/c;d",
            "/local/math;x/v1/call/sum",
            "/local/math/v1/call/sum;x",
            "/local/math/v1/call/%20sum",
            "/local/math/v1/call/sum%20",
            "/local/math/v1/call/a%09b",
            "/local/m%C3%A4th/v1/call/sum",
            "/local/math/v1/call/a%5Cb",
            "/api/../x",
            "/a/%2e/b",
            "/local/math/v1/static/..%2findex.js",
            "/local/math/v1/static/a/../../index.js",
            "/local/math/v1/static/a//b",
            "/local/math/v1/static/a%00.css",
            "/local/math/v1/static/a%5cb",
        ] {
            assert!(parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn the_address_of_a_whole_request_keeps_what_follows() {
        let rest = |path| match parse(path) {
            Ok(Target::Http(HttpAddress { prefix, name, version, rest })) => {
                assert_eq!((prefix.as_ref(), name.as_ref(), version.as_ref()), ("local", "site", "v1"));
                rest.to_owned()
            }
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(rest("/local/site/v1/http"), "");
        assert_eq!(rest("/local/site/v1/http/"), "/");
        assert_eq!(rest("/local/s%69te/v1/%68ttp/a/b/"), "/a/b/");
        assert_eq!(rest("/local/site/v1/http/a%20b/%ff//c;d=1/%252e/a%2Fb/..."), "/a%20b/%ff//c;d=1/%252e/a%2Fb/...");
        assert_eq!(rest("/local/site/v1/http/call/sum"), "/call/sum");
        assert_eq!(call("/local/site/v1/call/http"), Some(("site".into(), "http".into())));
    }

    #[test]
    fn what_follows_may_not_be_taken_for_another_address() {
        for rest in [
            "/..",
            "/.",
            "/a/../b",
            "/%2e%2E/b",
            "/.%2e",
            "/a/..%2fb",
            "/a%5cb",
            "/a\\b",
            "/%00",
            "/%0a",
            "/%7f",
            "//a",
            "/%4",
        ] {
            assert!(parse(&format!("/local/site/v1/http{rest}")).is_err(), "{rest}");
        }
        for path in ["//site/v1/http/a", "/local/../v1/http", "/local/site//http", "/local/si;te/v1/http"] {
            assert!(parse(path).is_err(), "{path}");
        }
        for path in ["/local/site/v1/https/a", "/local/site/http/a"] {
            assert!(matches!(parse(path), Ok(Target::Other)), "{path}");
        }
    }

    #[test]
    fn a_files_address_names_its_parts_decoded_once() {
        let Ok(Target::Static(address)) = parse("/local/math/v1/static/a/b%20c/%252e%252e/d.css") else { panic!() };
        assert_eq!(
            (address.name.as_ref(), address.path),
            ("math", vec!["a".into(), "b c".into(), "%2e%2e".into(), "d.css".into()])
        );
    }

    #[test]
    fn other_addresses_are_left_to_the_router() {
        for path in ["/", "/healthz", "/api/inspect", "/local/math/v1/other/a.css", "/api/", "*"] {
            assert!(matches!(parse(path), Ok(Target::Other)), "{path}");
        }
    }
}
