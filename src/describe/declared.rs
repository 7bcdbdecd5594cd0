//! Statuses that a function's author declares in its description: `:raises 404: no such order`, `@throws 404 …`.

/// Most of them that are read of one function.
const MOST: usize = 20;

/// A declared status, and what it means.
#[derive(Debug, PartialEq, Eq)]
pub struct Declared {
    /// From 400 to 599.
    pub status: u16,
    /// In its author's words.
    pub means: String,
}

/// The statuses that a description declares, and the description without these lines.
///
/// ```
/// use metagate::describe::declared::of_description;
///
/// let (declared, rest) = of_description("Finds an order.\n\n:raises 404: no such order");
/// assert_eq!((declared[0].status, declared[0].means.as_str()), (404, "no such order"));
/// assert_eq!(rest, "Finds an order.");
/// ```
#[must_use]
pub fn of_description(description: &str) -> (Vec<Declared>, String) {
    let mut declared = Vec::new();
    let mut rest = Vec::new();
    for line in description.lines() {
        match of_line(line).filter(|_| declared.len() < MOST) {
            Some(one) => declared.push(one),
            None => rest.push(line),
        }
    }
    (declared, dedented(&rest))
}

/// A description without the indentation of a docstring.
///
/// ```
/// use metagate::describe::declared::without_indentation;
///
/// assert_eq!(without_indentation("Finds.\n\n    Once a day.\n    "), "Finds.\n\nOnce a day.");
/// ```
#[must_use]
pub fn without_indentation(description: &str) -> String {
    dedented(&description.lines().collect::<Vec<_>>())
}

/// Lines without the indentation that those after the first have in common, as docstrings do.
fn dedented(lines: &[&str]) -> String {
    let indentation = |line: &&str| line.len() - line.trim_start_matches(' ').len();
    let further = lines.iter().skip(1).filter(|line| !line.trim().is_empty());
    let common = further.map(indentation).min().unwrap_or(0);
    let lines =
        lines.iter().enumerate().map(|(at, line)| if at == 0 { line } else { line.get(common..).unwrap_or("") });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn of_line(line: &str) -> Option<Declared> {
    let words = [":raises ", ":raise ", "@raises ", "@throws ", "@exception "];
    let line = line.trim();
    let rest = words.iter().find_map(|word| line.strip_prefix(word))?.trim_start();
    let rest = rest.strip_prefix('{').unwrap_or(rest);
    let status = rest.get(..3)?.parse().ok().filter(|status| (400..600).contains(status))?;
    let rest = &rest[3..];
    if rest.starts_with(|c: char| c.is_alphanumeric()) {
        return None;
    }
    let means = rest.trim_start_matches(['}', ':', '-', ' ']).trim();
    let means = if means.is_empty() { "An error of the function's own." } else { means };
    Some(Declared { status, means: means.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statuses_of_errors_are_declared() {
        let text =
            "Finds.\n:raises ValueError: odd\n@throws {409} - taken\n@throws 4040 x\n:raises 200: fine\n:raises 410:";
        let (declared, rest) = of_description(text);
        let found: Vec<(u16, &str)> = declared.iter().map(|one| (one.status, one.means.as_str())).collect();
        assert_eq!(found, [(409, "taken"), (410, "An error of the function's own.")]);
        assert_eq!(rest, "Finds.\n:raises ValueError: odd\n@throws 4040 x\n:raises 200: fine");
    }
}
