//! A client module in TypeScript: types, a class with a method for each function, and the fixed part in `runtime.ts`.

pub(super) mod reserved;
mod types;

use std::fmt::Write as _;

use crate::describe::client::functions::{Argument, Method, Module, Subject};
use crate::describe::client::types::{Field, Named, Shape, Type};
use crate::describe::client::typescript::types::{Position, add_parts, add_typed, literal, parts, property};
use crate::describe::client::words::{self, WIDTH};

/// What each module ends with. Its own names begin with `$`, which no name of a function does.
const RUNTIME: &str = include_str!("runtime.ts");
/// The text of a module, after its header.
#[must_use]
pub(super) fn module(subject: &Subject, module: &Module) -> String {
    let mut text = format!("const $base = {};\n", literal(&subject.base));
    for named in &module.types {
        add_type(named, &mut text);
    }
    text.push('\n');
    add_comment(&comment_lines(&format!("The functions of the deployment `{}`.", subject.name), 0), 0, &mut text);
    text.push_str("export class Client {\n  readonly #options: ClientOptions;\n\n");
    text.push_str("  constructor(options: ClientOptions) {\n    this.#options = options;\n  }\n");
    for method in &module.methods {
        add_method(method, &mut text);
    }
    text.push_str("}\n\n/** Makes a client of the gateway at `options.url`. */\n");
    text.push_str("export function createClient(options: ClientOptions): Client {\n");
    text.push_str("  return new Client(options);\n}\n\n");
    text.push_str(RUNTIME);
    text
}

fn add_type(named: &Named, text: &mut String) {
    text.push('\n');
    add_comment(&comment_lines(named.description.as_deref().unwrap_or_default(), 0), 0, text);
    match &named.shape {
        Shape::Object { fields, is_open } => {
            writeln!(text, "export interface {} {{", named.name).ok();
            for Field { key, required, kind, description } in fields {
                add_comment(&comment_lines(description.as_deref().unwrap_or_default(), 2), 2, text);
                let optional = if *required { "" } else { "?" };
                add_typed(&format!("{}{optional}: ", property(key)), kind, ";", 2, text);
            }
            if *is_open {
                text.push_str("  [key: string]: unknown;\n");
            }
            text.push_str("}\n");
        }
        Shape::Alias(kind) => add_typed(&format!("export type {} = ", named.name), kind, ";", 0, text),
    }
}

fn add_method(method: &Method, text: &mut String) {
    text.push('\n');
    add_comment(&documentation(method), 2, text);
    let result = parts(&method.result, Position::Field).join(" | ");
    let (asynchronous, result) = if method.is_stream {
        ("async *", format!("AsyncGenerator<{result}, void, undefined>"))
    } else {
        ("async ", format!("Promise<{result}>"))
    };
    let parameters = parameters(method);
    let line: Vec<String> = parameters.iter().map(|one| format!("{}{}", one.start, one.parts.join(" | "))).collect();
    let head = format!("  {asynchronous}{}({}): {result} {{", method.name, line.join(", "));
    if head.chars().count() <= WIDTH {
        writeln!(text, "{head}").ok();
    } else {
        writeln!(text, "  {asynchronous}{}(", method.name).ok();
        for one in &parameters {
            let end = if one.start.starts_with("...") { "" } else { "," };
            add_parts(&one.start, &one.parts, end, 4, text);
        }
        writeln!(text, "  ): {result} {{").ok();
    }
    let send = if method.is_stream { "yield* $stream" } else { "return $call" };
    let start = format!("{send}(this.#options, {}, ", literal(&method.address));
    let body = body(method);
    if 4 + start.len() + body.len() + 2 <= WIDTH {
        writeln!(text, "    {start}{body});").ok();
    } else {
        writeln!(text, "    {send}(\n      this.#options,\n      {},", literal(&method.address)).ok();
        writeln!(text, "      {body},\n    );").ok();
    }
    text.push_str("  }\n");
}

/// A parameter: what stands before its type, and the parts of that.
struct Written {
    start: String,
    parts: Vec<String>,
}

fn parameters(method: &Method) -> Vec<Written> {
    let mut written = Vec::new();
    let last_required = method.before_last_required();
    let has_object = !method.named.is_empty() || method.further.is_some();
    let object_required = method.named.iter().any(|one| one.required);
    for (at, one) in method.positional.iter().enumerate() {
        let mut parts = parts(&one.kind, Position::Argument);
        let must_stand = at < last_required || object_required;
        if !one.required && must_stand && !parts.contains(&"unknown".to_owned()) {
            parts.push("undefined".to_owned());
        }
        let mark = if one.required || must_stand { "" } else { "?" };
        written.push(Written { start: format!("{}{mark}: ", one.name), parts });
    }
    if let Some(rest) = &method.rest {
        let list = Type::List(Box::new(rest.kind.clone()));
        let mut parts = parts(&list, Position::Argument);
        let mark = match (has_object, object_required) {
            (true, true) => {
                parts.push("undefined".to_owned());
                format!("{}: ", rest.name)
            }
            (true, false) => format!("{}?: ", rest.name),
            (false, _) => format!("...{}: ", rest.name),
        };
        written.push(Written { start: mark, parts });
    }
    if has_object {
        let mark = if object_required { "" } else { "?" };
        written.push(Written { start: format!("named{mark}: "), parts: vec![object_of_named(method)] });
    }
    written
}

/// The type of the object with the arguments that are given by name.
fn object_of_named(method: &Method) -> String {
    let mut members = Vec::new();
    let mut all = Vec::new();
    for one in &method.named {
        let parts = parts(&one.kind, Position::Argument);
        let mark = if one.required { "" } else { "?" };
        members.push(format!("{}{mark}: {}", property(&one.key), parts.join(" | ")));
        all.extend(parts);
    }
    if let Some(further) = &method.further {
        all.extend(parts(&further.kind, Position::Argument));
        if method.named.iter().any(|one| !one.required) {
            all.push("undefined".to_owned());
        }
        let mut different: Vec<String> = Vec::new();
        for part in all {
            if !different.contains(&part) {
                different.push(part);
            }
        }
        let is_unknown = different.iter().any(|part| part == "unknown");
        let kind = if is_unknown { "unknown".to_owned() } else { different.join(" | ") };
        members.push(format!("[key: string]: {kind}"));
    }
    format!("{{ {} }}", members.join("; "))
}

/// What makes the body of the arguments.
fn body(method: &Method) -> String {
    let has_object = !method.named.is_empty() || method.further.is_some();
    let (rest, form) = (method.rest.as_ref(), method.takes_files);
    if method.arguments().next().is_none() {
        return "\"[]\"".to_owned();
    }
    let list = |texts: Vec<String>| format!("[{}]", texts.join(", "));
    let has_keys = has_object || form || method.has_names && method.may_have_gaps();
    let keys = if has_keys {
        list(method.positional.iter().map(|one| literal(&one.key)).collect())
    } else {
        "null".to_owned()
    };
    let values = list(method.positional.iter().map(|one| one.name.clone()).collect());
    let mut more = Vec::new();
    if let Some(Argument { key, name, .. }) = rest {
        more.push(format!("rest: [{}, {name}]", literal(key)));
    }
    if has_object {
        more.push("named: named ?? {}".to_owned());
    }
    if form {
        more.push("form: true".to_owned());
    }
    let more = if more.is_empty() { String::new() } else { format!(", {{ {} }}", more.join(", ")) };
    format!("$body({keys}, {values}{more})")
}

fn documentation(method: &Method) -> Vec<String> {
    let mut lines = comment_lines(&method.description, 2);
    if method.name != method.function {
        lines.extend(comment_lines(&format!("Calls {}.", method.function), 2));
    }
    let mut tags = Vec::new();
    for one in method.arguments() {
        if let Some(words) = one.words() {
            // Those that are given by name are members of the last parameter.
            let is_member = method.named.iter().any(|named| std::ptr::eq(named, one));
            let name = if is_member { format!("named.{}", one.name) } else { one.name.clone() };
            tags.extend(tag(&format!("@param {name} "), &words));
        }
    }
    for one in &method.declared {
        tags.extend(tag("@throws {CallError} ", &format!("{}: {}", one.status, one.means)));
    }
    if !lines.is_empty() && !tags.is_empty() {
        lines.push(String::new());
    }
    lines.extend(tags);
    lines
}

fn tag(start: &str, text: &str) -> Vec<String> {
    let mut lines = comment_lines(text, 4);
    if let Some(first) = lines.first_mut() {
        first.insert_str(0, start);
    }
    lines.iter().enumerate().map(|(at, line)| if at == 0 { line.clone() } else { format!("  {line}") }).collect()
}

/// The lines of a text for a comment: it does not end the comment, and has no tags.
fn comment_lines(text: &str, indentation: usize) -> Vec<String> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    let lines = words::lines(text, WIDTH - 3 - indentation);
    lines.iter().map(|line| line.replace("*/", "*\\/").replace('@', "\\@")).collect()
}

fn add_comment(lines: &[String], indentation: usize, text: &mut String) {
    let space = " ".repeat(indentation);
    match lines {
        [] => {}
        [only] if only.chars().count() + indentation + 7 <= WIDTH => {
            writeln!(text, "{space}/** {only} */").ok();
        }
        lines => {
            writeln!(text, "{space}/**").ok();
            for line in lines {
                writeln!(text, "{space} * {line}").ok();
                text.truncate(text.trim_end().len());
                text.push('\n');
            }
            writeln!(text, "{space} */").ok();
        }
    }
}
