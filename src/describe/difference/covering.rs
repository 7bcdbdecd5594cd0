//! Whether a JSON Schema (2020-12) admits every value of another one. Schemas of functions are compared by their
//! structure; where that does not decide, the answer is that it is unclear.

mod keywords;
mod kinds;

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::describe::difference::covered::{Covered, Mismatch, Of};
use crate::describe::difference::covering::kinds::Kind;
use crate::describe::difference::part::{Part, is_same};
use crate::describe::words;

/// Most pairs of schemas that one comparison looks at, and most levels of them.
const MOST: usize = 4_000;
const DEEPEST: usize = 64;

/// Two schemas by their addresses, the wide one first, and the type of the values that are compared.
type Pair = (usize, usize, Kind);

/// One comparison of two schemas.
pub(super) struct Comparison {
    of: Of,
    left: usize,
    depth: usize,
    /// The pairs of schemas that are being compared, or are proven: those that refer to themselves come back to them.
    seen: HashSet<Pair>,
    /// The same pairs, in the order in which they came.
    order: Vec<Pair>,
}

impl Comparison {
    pub(super) fn of(of: Of) -> Self {
        Self { of, left: MOST, depth: 0, seen: HashSet::new(), order: Vec::new() }
    }

    /// Whether the wide schema admits every value of the narrow one.
    pub(super) fn covers(mut self, wide: &Value, narrow: &Value) -> Covered {
        self.parts(Part::whole(wide), Part::whole(narrow), "")
    }

    fn parts(&mut self, wide: Part<'_>, narrow: Part<'_>, path: &str) -> Covered {
        let found = || Mismatch::new(path, narrow.words(), wide.words());
        if self.left == 0 || self.depth >= DEEPEST {
            return Covered::Unclear(found());
        }
        self.left -= 1;
        if wide.is_left_out() || narrow.is_left_out() {
            return Covered::Unclear(found());
        }
        if wide.says_nothing() || narrow.is_never() || is_same(wide, narrow) {
            return Covered::Yes;
        }
        let (Some(wide), Some(narrow)) = (wide.resolved(), narrow.resolved()) else { return Covered::Unclear(found()) };
        if wide.says_nothing() || narrow.is_never() {
            return Covered::Yes;
        }
        if wide.is_never() {
            return Covered::No(found());
        }
        self.depth += 1;
        let covered = self.choices(wide, narrow, path);
        self.depth -= 1;
        covered
    }

    /// Each alternative of the narrow one, or each type of its values, must be covered.
    fn choices(&mut self, wide: Part<'_>, narrow: Part<'_>, path: &str) -> Covered {
        if let Some(choices) = narrow.choices() {
            let others = narrow.keywords().any(|keyword| !matches!(keyword, "anyOf" | "oneOf"));
            let parts = choices.iter().map(|choice| narrow.at(choice));
            let found = parts.map(|part| (part.words(), self.parts(wide, part, path))).collect();
            let covered = together(found, Mismatch::new(path, narrow.words(), wide.words()));
            return if others { covered.weakened() } else { covered };
        }
        if let Some(values) = narrow.values() {
            let of_value = |value: &&Value| {
                let one = json!({ "const": value });
                (value.to_string(), self.of_kind(wide, narrow.at(&one), Kind::of_value(value), path))
            };
            let found = values.iter().map(of_value).collect();
            return together(found, Mismatch::new(path, narrow.words(), wide.words()));
        }
        let mut covered = Covered::Yes;
        for kind in kinds::named(narrow) {
            covered = covered.and(|| self.of_kind(wide, narrow, kind, path));
        }
        covered
    }

    /// Whether the values of the narrow one that are of this type are covered.
    fn of_kind(&mut self, wide: Part<'_>, narrow: Part<'_>, kind: Kind, path: &str) -> Covered {
        let unclear = || Covered::Unclear(Mismatch::new(path, narrow.words(), wide.words()));
        let Some(wide) = wide.resolved().filter(|_| self.left > 0) else { return unclear() };
        self.left -= 1;
        let pair = (address(wide.schema), address(narrow.schema), kind);
        // Only these have parts that may lead back to them.
        let has_parts = matches!(kind, Kind::Array | Kind::Object) && narrow.values().is_none();
        let before = self.order.len();
        if has_parts {
            if !self.seen.insert(pair) {
                return Covered::Yes;
            }
            self.order.push(pair);
        }
        let mut covered = self.own_keywords(wide, narrow, kind, path);
        if let Some(choices) = wide.choices() {
            covered = covered.and(|| self.some_choice(wide, choices, narrow, kind, path));
        }
        for all in wide.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            covered = covered.and(|| self.of_kind(wide.at(all), narrow, kind, path));
        }
        if has_parts && covered != Covered::Yes {
            // Another way must find neither this pair proven, nor those whose proof may rest on it.
            for refuted in self.order.drain(before..) {
                self.seen.remove(&refuted);
            }
        }
        covered
    }

    fn some_choice(&mut self, wide: Part<'_>, choices: &[Value], narrow: Part<'_>, kind: Kind, path: &str) -> Covered {
        if let Some(only) = kinds::only_choice(choices, wide, kind) {
            // What is wrong with it says more than that none fits.
            return self.of_kind(only, narrow, kind, path);
        }
        // Of these exactly one must admit a value; which one may, a discriminator says.
        let is_exclusive = wide.get("oneOf").is_some() && wide.get("discriminator").is_none();
        let mut best = Covered::No(Mismatch::new(path, narrow.words(), wide.words()));
        for choice in choices {
            match self.of_kind(wide.at(choice), narrow, kind, path) {
                Covered::Yes if is_exclusive => best = best.weakened(),
                Covered::Yes => return Covered::Yes,
                Covered::Unclear(_) => best = best.weakened(),
                Covered::No(_) => {}
            }
        }
        // Values that no alternative admits alone may be admitted by several together.
        let together = choices.iter().any(|choice| wide.at(choice).resolved().is_none_or(|one| one.values().is_some()));
        if together { best.weakened() } else { best }
    }
}

/// What several alternatives, in words, come to. `whole` is the mismatch of them all.
fn together(alternatives: Vec<(String, Covered)>, whole: Mismatch) -> Covered {
    let count = alternatives.len();
    let (mut refused, mut others) = (Vec::new(), Covered::Yes);
    for (words, covered) in alternatives {
        match covered {
            Covered::No(found) if found.path == whole.path && found.narrow == words => refused.push(words),
            covered => others = others.and(|| covered),
        }
    }
    match others {
        Covered::No(_) => others,
        _ if refused.is_empty() => others,
        _ if refused.len() == count => Covered::No(whole),
        _ => Covered::No(Mismatch { narrow: words::shortened(&refused.join(" | ")), is_part: true, ..whole }),
    }
}

fn address(schema: &Value) -> usize {
    std::ptr::from_ref(schema).addr()
}
