//! The result of a tool, made of the answer to the call. Errors of the function and refusals of plugins are results
//! too: models read them and try again.

use std::convert::Infallible;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use multer::Multipart;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::describe::fit;
use crate::describe::tool_output::ToolOutput;
use crate::http::problem::{ERROR_HEADER, Problem};
use crate::http::reply_body::ReplyBody;

/// Most bytes of an error that is not one of the gateway's own.
const ERROR_BYTES: usize = 64 * 1024;
/// The key of errors in `_meta`.
const ERROR_KEY: &str = "metagate/error";

/// The answer to a call, whole.
#[derive(Debug)]
pub struct CallAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// The members of a result, as JSON text without the braces: `content`, `structuredContent`, `isError`, and what its
/// `_meta` has.
#[derive(Debug)]
pub struct ToolResult {
    /// The members.
    pub members: String,
    /// Members of `_meta`.
    pub meta: Map<String, Value>,
}

#[derive(Deserialize)]
struct GatewayError<'a> {
    #[serde(borrow)]
    error: &'a RawValue,
}

#[derive(Deserialize)]
struct ErrorWords {
    code: String,
    message: String,
}

impl CallAnswer {
    /// That of an error of the gateway's own.
    #[must_use]
    pub fn of_problem(problem: Problem, request_id: &str) -> Self {
        let (head, body) = problem.into_response(request_id).into_parts();
        let body = if let ReplyBody::Full(bytes) = body { bytes.unwrap_or_default() } else { Bytes::new() };
        Self { status: head.status, headers: head.headers, body }
    }

    /// That of the items of a stream, as an array.
    #[must_use]
    pub fn of_items(items: Bytes) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self { status: StatusCode::OK, headers, body: items }
    }

    /// The result of a tool whose results are declared like this. `uri` names a result that is a file.
    #[must_use]
    pub fn into_result(self, output: &ToolOutput, uri: &str) -> ToolResult {
        if self.status.is_client_error() || self.status.is_server_error() {
            return self.as_error();
        }
        match (self.essence().as_str(), std::str::from_utf8(&self.body)) {
            // A JavaScript function that returns nothing.
            (_, Ok("")) if output.schema().is_some() => of_json("null", output),
            ("application/json", Ok(text)) if is_json(text) => of_json(text, output),
            _ => ToolResult { members: format!(r#""content":{}"#, json!(self.blocks(uri))), meta: Map::new() },
        }
    }

    /// The blocks of an answer that is not JSON: a text, an image, a sound or a file, or one for each part of a form.
    #[must_use]
    pub fn blocks(&self, uri: &str) -> Vec<Value> {
        match (self.essence().as_str(), std::str::from_utf8(&self.body)) {
            (_, Ok("")) => vec![text_block("")],
            (kind, Ok(text)) if is_text(kind) => vec![text_block(text)],
            ("multipart/form-data", _) if let Some(blocks) = self.parts(uri) => blocks,
            (essence, _) => vec![block(essence, &self.body, uri)],
        }
    }

    /// The content of a resource.
    #[must_use]
    pub fn into_contents(self, uri: &str) -> Value {
        let kind = self.essence();
        match std::str::from_utf8(&self.body) {
            Ok(json) if let ("application/json", Ok(text)) = (kind.as_str(), serde_json::from_str::<String>(json)) => {
                json!({"uri": uri, "mimeType": "text/plain", "text": text})
            }
            Ok(text) if is_text(&kind) => {
                let kind = if kind.is_empty() { "text/plain" } else { &kind };
                json!({"uri": uri, "mimeType": kind, "text": text})
            }
            _ => json!({"uri": uri, "mimeType": kind, "blob": STANDARD.encode(&self.body)}),
        }
    }

    /// The type of the content, without parameters.
    fn essence(&self) -> String {
        self.kind().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    fn kind(&self) -> &str {
        self.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default()
    }

    /// A block for each part of a form; none if it is malformed.
    fn parts(&self, uri: &str) -> Option<Vec<Value>> {
        let whole = stream::iter([Ok::<_, Infallible>(self.body.clone())]);
        let mut form = Multipart::new(whole, multer::parse_boundary(self.kind()).ok()?);
        let read = async {
            let mut blocks = Vec::new();
            while let Some(field) = form.next_field().await? {
                let name = field.file_name().map(str::to_owned);
                let kind = field.content_type().map_or("", |kind| kind.essence_str()).to_owned();
                let uri =
                    format!("{uri}#{}", utf8_percent_encode(name.as_deref().unwrap_or_default(), NON_ALPHANUMERIC));
                let bytes = field.bytes().await?;
                blocks.push(match std::str::from_utf8(&bytes).ok().filter(|_| is_text(&kind)) {
                    Some(text) if name.is_none() => text_block(text),
                    Some(text) => {
                        json!({"type": "resource", "resource": {"uri": uri, "mimeType": kind, "text": text}})
                    }
                    None => block(&kind, &bytes, &uri),
                });
            }
            Ok::<_, multer::Error>(blocks)
        };
        // All of the body is there, so nothing waits.
        read.now_or_never()?.ok()
    }

    fn as_error(&self) -> ToolResult {
        let (words, mut error) = self.error();
        error.insert("status".to_owned(), Value::from(self.status.as_u16()));
        if let Some(wait) = self.headers.get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()) {
            error.insert("retry_after".to_owned(), Value::from(wait));
        }
        let meta = Map::from_iter([(ERROR_KEY.to_owned(), Value::Object(error))]);
        ToolResult { members: format!(r#"{},"isError":true"#, content_of(&words)), meta }
    }

    /// The error in words and for programs.
    #[must_use]
    pub fn error(&self) -> (String, Map<String, Value>) {
        let own =
            self.headers.contains_key(ERROR_HEADER).then(|| serde_json::from_slice::<GatewayError<'_>>(&self.body));
        if let Some(Ok(GatewayError { error })) = own
            && let Ok(words) = serde_json::from_str::<ErrorWords>(error.get())
            && let Ok(Value::Object(error)) = serde_json::from_str(error.get())
        {
            return (format!("{}: {}", words.code, words.message), error);
        }
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(ERROR_BYTES)]);
        let words = if text.is_empty() { format!("status {}", self.status) } else { text.into_owned() };
        (words, Map::new())
    }
}

/// A block with a text.
#[must_use]
pub fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// A block with bytes.
fn block(kind: &str, bytes: &[u8], uri: &str) -> Value {
    let data = STANDARD.encode(bytes);
    let kind = if kind.is_empty() { "application/octet-stream" } else { kind };
    match kind.split('/').next() {
        Some(form @ ("image" | "audio")) => json!({"type": form, "data": data, "mimeType": kind}),
        _ => json!({"type": "resource", "resource": {"uri": uri, "mimeType": kind, "blob": data}}),
    }
}

fn of_json(text: &str, output: &ToolOutput) -> ToolResult {
    let text = text.trim();
    let words = match text.starts_with('"').then(|| serde_json::from_str::<String>(text)) {
        Some(Ok(words)) => words,
        _ => text.to_owned(),
    };
    let structured = output.content(text);
    if let (Some(schema), Some(content)) = (output.schema(), structured.as_deref().or(Some(text)))
        && let Some(misfit) = serde_json::from_str(content).ok().and_then(|value| fit::misfit(schema, &value))
    {
        // Clients check it as well, and would refuse the result altogether.
        let misfit = format!("the result does not fit its declared type: {misfit}");
        let blocks = json!([{"type": "text", "text": words}, {"type": "text", "text": misfit}]);
        return ToolResult { members: format!(r#""content":{blocks},"isError":true"#), meta: Map::new() };
    }
    let structured = structured.map_or_else(String::new, |content| format!(r#","structuredContent":{content}"#));
    ToolResult { members: format!("{}{structured}", content_of(&words)), meta: Map::new() }
}

/// The member `content` with a text.
fn content_of(text: &str) -> String {
    format!(r#""content":[{{"type":"text","text":{}}}]"#, Value::from(text))
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Whether content of a type is text for people and programs alike.
fn is_text(kind: &str) -> bool {
    let words = ["application/xml", "application/javascript", "application/x-ndjson", "image/svg+xml"];
    kind.is_empty()
        || kind.starts_with("text/")
        || kind.starts_with("application/json")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || words.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(status: u16, kind: &'static str, body: &'static str, output: &ToolOutput) -> Value {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if status >= 400 && kind == "application/json" {
            headers.insert(ERROR_HEADER, HeaderValue::from_static("x"));
        }
        let answer = CallAnswer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() };
        let result = answer.into_result(output, "metagate:a/b");
        let mut value: Value = serde_json::from_str(&format!("{{{}}}", result.members)).unwrap();
        value["_meta"] = Value::Object(result.meta);
        value
    }

    fn plain(kind: &'static str, body: &'static str) -> Value {
        result(200, kind, body, &ToolOutput::Undeclared)
    }

    #[test]
    fn a_result_is_text_and_structured_content() {
        let wrapped = ToolOutput::of_results(&json!({"type": "number"}));
        let value = result(200, "application/json", "1.50", &wrapped);
        assert_eq!(value["content"], json!([{"type": "text", "text": "1.50"}]));
        assert_eq!(value["structuredContent"], json!({"result": 1.5}));
        assert_eq!(plain("application/json", r#""a\nb""#)["content"][0]["text"], "a\nb");
        assert_eq!(plain("application/json", r#"{"a":1}"#)["structuredContent"], json!({"a": 1}));
        assert_eq!(plain("application/json", "[1]").get("structuredContent"), None);
        assert_eq!(plain("text/plain; charset=utf-8", "hi")["content"][0]["text"], "hi");
        assert_eq!(plain("application/json", "no json")["content"][0]["text"], "no json");
    }

    #[test]
    fn a_result_that_contradicts_its_declared_type_is_an_error_that_shows_it() {
        let value = result(200, "application/json", r#""x""#, &ToolOutput::of_results(&json!({"type": "number"})));
        assert_eq!((&value["isError"], &value["content"][0]["text"]), (&json!(true), &json!("x")));
        assert!(value["content"][1]["text"].as_str().unwrap().ends_with("at .result: expected number"), "{value}");
        let object = result(200, "application/json", "[]", &ToolOutput::of_results(&json!({"type": "object"})));
        assert_eq!((&object["isError"], object.get("structuredContent")), (&json!(true), None));
    }

    #[test]
    fn bytes_are_images_sounds_or_files() {
        assert_eq!(
            plain("image/png", "x")["content"][0],
            json!({"type": "image", "data": "eA==", "mimeType": "image/png"})
        );
        assert_eq!(plain("audio/wav", "x")["content"][0]["type"], "audio");
        let file = json!({"uri": "metagate:a/b", "mimeType": "application/pdf", "blob": "eA=="});
        assert_eq!(plain("application/pdf", "x")["content"][0], json!({"type": "resource", "resource": file}));
    }

    #[test]
    fn each_part_of_a_form_is_a_block() {
        let body = "--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nwords\r\n--b\r\n\
            content-disposition: form-data; name=\"b\"; filename=\"x y.json\"\r\ncontent-type: application/json\r\n\r\n\
            {}\r\n--b\r\ncontent-disposition: form-data; name=\"c\"; filename=\"c\"\r\ncontent-type: image/png\r\n\r\n\
            x\r\n--b--\r\n";
        let form = |body| plain("multipart/form-data; boundary=b", body)["content"].clone();
        let json = json!({"uri": "metagate:a/b#x%20y%2Ejson", "mimeType": "application/json", "text": "{}"});
        let expected = json!([{"type": "text", "text": "words"}, {"type": "resource", "resource": json},
            {"type": "image", "data": "eA==", "mimeType": "image/png"}]);
        assert_eq!(form(body), expected);
        assert_eq!(form("--b\r\n")[0]["resource"]["mimeType"], "multipart/form-data", "malformed");
    }

    #[test]
    fn an_error_is_a_result_with_its_code() {
        let body = r#"{"error":{"code":"function_error","message":"boom","request_id":"1"}}"#;
        let value = result(500, "application/json", body, &ToolOutput::Undeclared);
        assert_eq!(value["isError"], true);
        assert_eq!(value["content"][0]["text"], "function_error: boom");
        assert_eq!(value["_meta"]["metagate/error"]["status"], 500);
        assert_eq!(value["_meta"]["metagate/error"]["code"], "function_error");
        assert_eq!(result(418, "text/plain", "tea", &ToolOutput::Undeclared)["content"][0]["text"], "tea");
    }
}
