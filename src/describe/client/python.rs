//! A client module in Python: the fixed part in `runtime.py`, types, and a class with a method for each function.

pub(super) mod reserved;
mod types;

use std::fmt::Write as _;

use crate::describe::client::functions::{Argument, Method, Module, Subject};
use crate::describe::client::python::reserved::RESERVED;
use crate::describe::client::python::types::{Position, broken, literal, text_of};
use crate::describe::client::types::{Field, Named, Shape, Type};
use crate::describe::client::words::{self, WIDTH};

/// What each module begins with.
const RUNTIME: &str = include_str!("runtime.py");
/// The text of a module, after its header.
#[must_use]
pub(super) fn module(subject: &Subject, module: &Module) -> String {
    let mut text = String::from(RUNTIME);
    write!(text, "\n\n_BASE = {}\n", literal(&subject.base)).ok();
    let names: Vec<&str> = module.types.iter().map(|named| named.name.as_str()).collect();
    let (mut objects, mut aliases) = (String::new(), String::new());
    for named in &module.types {
        match &named.shape {
            Shape::Object { fields, .. } => add_object(named, fields, &names, &mut objects),
            Shape::Alias(kind) => {
                let line = format!("{}: TypeAlias = {}", named.name, text_of(kind, Position::Alias));
                write!(aliases, "\n{}", broken(&line, "", 0)).ok();
            }
        }
    }
    text.push_str(&objects);
    if !aliases.is_empty() {
        text.push_str(&aliases);
        text.push('\n');
    }
    text.push_str("\n\nclass Client(_Gateway):\n");
    add_docstring(&docstring_lines(&format!("The functions of the deployment {}.", subject.name), 4), 4, &mut text);
    for method in &module.methods {
        add_method(method, &mut text);
    }
    text
}

/// Adds a `TypedDict`: a class, unless a key cannot stand in one.
fn add_object(named: &Named, fields: &[Field], names: &[&str], text: &mut String) {
    let stands_in_class = |field: &Field| {
        let key = field.key.as_str();
        !key.is_empty() && words::identifier(key) == key && !RESERVED.types.contains(&key) && !names.contains(&key)
    };
    let typed = |Field { required, kind, .. }: &Field| {
        let kind = text_of(kind, Position::Field);
        if *required { kind } else { format!("NotRequired[{kind}]") }
    };
    if !fields.iter().all(stands_in_class) {
        write!(text, "\n{} = TypedDict(\n    {},\n    {{\n", named.name, literal(&named.name)).ok();
        for field in fields {
            writeln!(text, "        {}: {},", literal(&field.key), literal(&typed(field))).ok();
        }
        text.push_str("    },\n)\n");
        return;
    }
    write!(text, "\n\nclass {}(TypedDict):\n", named.name).ok();
    let mut lines = docstring_lines(named.description.as_deref().unwrap_or_default(), 4);
    for Field { key, description, .. } in fields {
        if let Some(description) = description {
            if !lines.is_empty() && !lines.iter().any(String::is_empty) {
                lines.push(String::new());
            }
            lines.extend(tag(&format!("{key}: "), description));
        }
    }
    add_docstring(&lines, 4, text);
    if !lines.is_empty() {
        text.push('\n');
    }
    for field in fields {
        writeln!(text, "{}", broken(&format!("{}: {}", field.key, typed(field)), "", 4)).ok();
    }
}

fn add_method(method: &Method, text: &mut String) {
    text.push('\n');
    let kind = text_of(&method.result, Position::Field);
    let result = if method.is_stream { format!("Generator[{kind}, None, None]") } else { kind };
    let parameters = parameters(method);
    let line = format!("    def {}({}) -> {result}:", method.name, parameters.join(", "));
    if line.len() <= WIDTH {
        writeln!(text, "{line}").ok();
    } else {
        writeln!(text, "    def {}(", method.name).ok();
        for one in &parameters {
            writeln!(text, "{}", broken(one, ",", 8)).ok();
        }
        writeln!(text, "{}", broken(&format!(") -> {result}"), ":", 4)).ok();
    }
    add_docstring(&documentation(method), 8, text);
    let arguments = sent(method);
    let (before, after) = if method.is_stream {
        ("return self._stream".to_owned(), "")
    } else {
        let kind = text_of(&method.result, Position::Field);
        (format!("{} = self._call", broken(&format!("result: {kind}"), "", 8).trim_start()), "        return result\n")
    };
    let last = before.lines().last().unwrap_or_default().len();
    let line = format!("({})", arguments.join(", "));
    if 8 + last + line.len() <= WIDTH {
        writeln!(text, "        {before}{line}").ok();
    } else {
        writeln!(text, "        {before}(").ok();
        for argument in &arguments {
            writeln!(text, "            {argument},").ok();
        }
        text.push_str("        )\n");
    }
    text.push_str(after);
}

fn parameters(method: &Method) -> Vec<String> {
    let mut written = vec!["self".to_owned()];
    let omissible = |one: &Argument| Type::Union(vec![one.kind.clone(), Type::Named("Omitted".to_owned())]);
    let typed = |one: &Argument, may_end: bool| match (one.required, may_end) {
        (true, _) => format!("{}: {}", one.name, text_of(&one.kind, Position::Argument)),
        (false, true) => format!("{}: {} = OMITTED", one.name, text_of(&omissible(one), Position::Argument)),
        (false, false) => format!("{}: {}", one.name, text_of(&omissible(one), Position::Argument)),
    };
    if method.further.is_some() {
        // A further argument may have the name self.
        written.push("/".to_owned());
    }
    let last_required = method.before_last_required();
    for (at, one) in method.positional.iter().enumerate() {
        written.push(typed(one, at >= last_required));
    }
    match &method.rest {
        Some(rest) => written.push(format!("*{}: {}", rest.name, text_of(&rest.kind, Position::Argument))),
        None if !method.named.is_empty() => written.push("*".to_owned()),
        None => {}
    }
    written.extend(method.named.iter().map(|one| typed(one, true)));
    if let Some(further) = &method.further {
        written.push(format!("**{}: {}", further.name, text_of(&further.kind, Position::Argument)));
    }
    written
}

/// What a method passes on.
fn sent(method: &Method) -> Vec<String> {
    let has_object = !method.named.is_empty() || method.further.is_some();
    let list = |texts: Vec<String>| format!("[{}]", texts.join(", "));
    let has_keys = has_object || method.takes_files || method.has_names && method.may_have_gaps();
    let keys = list(method.positional.iter().map(|one| literal(&one.key)).collect());
    let mut sent = vec![
        literal(&method.address),
        if has_keys { keys } else { "None".to_owned() },
        list(method.positional.iter().map(|one| one.name.clone()).collect()),
    ];
    if let Some(rest) = &method.rest {
        sent.push(format!("rest=({}, {})", literal(&rest.key), rest.name));
    }
    if has_object {
        let entries = method.named.iter().map(|one| format!("{}: {}", literal(&one.key), one.name));
        let further = method.further.iter().map(|one| format!("**{}", one.name));
        sent.push(format!("named={{{}}}", entries.chain(further).collect::<Vec<_>>().join(", ")));
    }
    if method.takes_files {
        sent.push("form=True".to_owned());
    }
    sent
}

fn documentation(method: &Method) -> Vec<String> {
    let mut lines = docstring_lines(&method.description, 8);
    if method.name != method.function {
        lines.extend(docstring_lines(&format!("Calls {}.", method.function), 8));
    }
    let mut tags = Vec::new();
    for one in method.arguments() {
        if let Some(words) = one.words() {
            tags.extend(tag(&format!(":param {}: ", one.name), &words));
        }
    }
    for one in &method.declared {
        tags.extend(tag(":raises CallError: ", &format!("{}: {}", one.status, one.means)));
    }
    if !lines.is_empty() && !tags.is_empty() {
        lines.push(String::new());
    }
    lines.extend(tags);
    lines
}

fn tag(start: &str, text: &str) -> Vec<String> {
    let mut lines = docstring_lines(&format!("{start}{text}"), 12);
    for line in lines.iter_mut().skip(1).filter(|line| !line.is_empty()) {
        line.insert_str(0, "    ");
    }
    lines
}

/// The lines of a text for a docstring, in which nothing is an escape or ends it.
fn docstring_lines(text: &str, indentation: usize) -> Vec<String> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    let lines = words::lines(text, WIDTH - 3 - indentation);
    lines.iter().map(|line| line.replace('\\', "\\\\").replace("\"\"\"", "\\\"\\\"\\\"")).collect()
}

fn add_docstring(lines: &[String], indentation: usize, text: &mut String) {
    let space = " ".repeat(indentation);
    match lines {
        [] => {}
        [only] if only.len() + indentation + 6 <= WIDTH && !only.ends_with('"') => {
            writeln!(text, "{space}\"\"\"{only}\"\"\"").ok();
        }
        [first, rest @ ..] => {
            writeln!(text, "{space}\"\"\"{first}").ok();
            for line in rest {
                writeln!(text, "{}", format!("{space}{line}").trim_end()).ok();
            }
            writeln!(text, "{space}\"\"\"").ok();
        }
    }
}
