//! Pairs of schemas with values: whatever a comparison calls compatible must hold for each value that is tried.

use serde_json::{Value, json};

use crate::describe::difference::covered::{Covered, Of};
use crate::describe::difference::covering::Comparison;

/// Pairs of schemas, and the fewest of them that must be found compatible: a comparison that never says so is none.
const PAIRS: u64 = 2_500;
const FEWEST: usize = 500;

/// The decisions of which a schema is made. Two that differ in a few make schemas that are alike.
#[derive(Clone)]
struct Tape {
    decisions: Vec<u8>,
    at: usize,
}

impl Tape {
    fn of(seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24).to_le_bytes()[0]
        };
        Self { decisions: (0..400).map(|_| next()).collect(), at: 0 }
    }

    fn changed(&self, seed: u64) -> Self {
        let mut changed = self.clone();
        let other = Self::of(seed.wrapping_add(1 << 40));
        for pair in other.decisions[..2 + 2 * usize::from(other.decisions[9] % 2)].chunks(2) {
            // The first decisions count: few schemas are made of more.
            changed.decisions[usize::from(pair[0] % 48)] = pair[1];
        }
        changed
    }

    fn draw(&mut self, below: usize) -> usize {
        self.at += 1;
        usize::from(self.decisions[self.at % self.decisions.len()]) % below
    }

    fn pick(&mut self, some: &[Value]) -> Value {
        some[self.draw(some.len())].clone()
    }

    /// A schema with definitions.
    fn whole(&mut self) -> Value {
        let mut schema = self.schema(3, false);
        let definitions = json!({"A": self.schema(2, false), "B": self.schema(1, false)});
        if let Some(members) = schema.as_object_mut() {
            members.insert("$defs".into(), definitions);
        }
        schema
    }

    /// `is_inside`: of an object or a list, where schemas may refer to those around them.
    fn schema(&mut self, depth: usize, is_inside: bool) -> Value {
        match self.draw(if depth == 0 { 6 } else { 16 }) {
            0 => json!({}),
            1 | 2 => self.plain(),
            3 => json!({"type": self.pick(&[json!("null"), json!("boolean"), json!(["integer", "null"])])}),
            4 => json!({"enum": [self.value(), self.value()]}),
            5 => match is_inside {
                true => self.pick(&[json!({"$ref": "#/$defs/A"}), json!({"$ref": "#/$defs/B"}), json!(false)]),
                false => json!({"const": self.value()}),
            },
            6..=8 => self.list(depth - 1),
            9..=12 => self.object(depth - 1),
            13 => json!({"anyOf": [self.schema(depth - 1, is_inside), self.schema(depth - 1, is_inside)]}),
            14 => json!({"oneOf": [self.schema(depth - 1, is_inside), self.schema(depth - 1, is_inside)]}),
            _ => match self.draw(3) {
                0 => json!({"allOf": [self.schema(depth - 1, is_inside), self.plain()]}),
                1 => json!({"not": self.schema(depth - 1, is_inside)}),
                _ => json!({"anyOf": [self.schema(depth - 1, is_inside), self.plain()], "minItems": 1, "minLength": 1}),
            },
        }
    }

    fn value(&mut self) -> Value {
        self.pick(&[json!(1), json!("a"), json!(null), json!(true), json!({"a": 1}), json!([1]), json!(2), json!("b")])
    }

    fn plain(&mut self) -> Value {
        let kind = self.pick(&[json!("integer"), json!("number"), json!("string")]);
        let keywords = if kind == "string" {
            ["minLength", "maxLength", "pattern"]
        } else {
            ["minimum", "exclusiveMaximum", "multipleOf"]
        };
        let mut schema = json!({"type": kind});
        if self.draw(2) == 0 {
            let keyword = keywords[self.draw(3)];
            let bound =
                if keyword == "pattern" { self.pick(&[json!("^a"), json!("b")]) } else { json!(1 + self.draw(3)) };
            schema[keyword] = bound;
        }
        schema
    }

    fn list(&mut self, depth: usize) -> Value {
        let mut schema = json!({"type": "array"});
        for keyword in ["items", "prefixItems", "minItems", "maxItems", "uniqueItems"] {
            if self.draw(3) == 0 {
                schema[keyword] = match keyword {
                    "items" => self.schema(depth, true),
                    "prefixItems" => json!([self.schema(depth, true)]),
                    "uniqueItems" => json!(true),
                    _ => json!(self.draw(3)),
                };
            }
        }
        schema
    }

    fn object(&mut self, depth: usize) -> Value {
        let mut schema = json!({"type": "object"});
        for name in ["a", "b"] {
            if self.draw(2) == 0 {
                schema["properties"][name] = self.schema(depth, true);
            }
            if self.draw(4) == 0 {
                schema["required"] = json!([name]);
            }
        }
        match self.draw(5) {
            0 => schema["additionalProperties"] = json!(false),
            1 => schema["additionalProperties"] = self.schema(depth, true),
            2 => {
                schema["propertyNames"] = self.pick(&[
                    json!({"enum": ["a"]}),
                    json!({"enum": ["a", "b"]}),
                    json!({"pattern": "^a"}),
                    json!({"maxLength": 1}),
                    json!({"$ref": "#/$defs/A"}),
                ]);
            }
            _ => {}
        }
        match self.draw(12) {
            0 => schema["patternProperties"] = json!({"^a": self.schema(depth, true)}),
            1 => schema["maxProperties"] = json!(1),
            2 => schema["minProperties"] = json!(1),
            _ => {}
        }
        schema
    }
}

/// The values that are tried.
fn values() -> Vec<Value> {
    let plain = json!([null, true, 0, 1, 2, 3, -1, 1.5, "", "a", "b", "ab", "ba", "aab"]);
    let mut all = plain.as_array().cloned().unwrap();
    for _ in 0..2 {
        let inner: Vec<Value> = all.iter().take(60).cloned().collect();
        all.extend([json!([]), json!({}), json!([1, 1]), json!([1, "a"]), json!(["a", 2]), json!([null, null, 3])]);
        for one in &inner {
            all.extend([json!([one]), json!({"a": one}), json!({"b": one}), json!({"a": one, "b": 1})]);
            all.extend([json!({"a": 1, "b": one}), json!({"a": "a", "c": one}), json!({"ab": one})]);
        }
    }
    all
}

fn validity(schema: &Value, values: &[Value]) -> Vec<bool> {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("metagate:///schema", schema.clone()).unwrap();
    let compiled = compiler.compile("metagate:///schema", &mut schemas).unwrap();
    values.iter().map(|value| schemas.validate(value, compiled).is_ok()).collect()
}

#[test]
fn whatever_is_found_compatible_holds_for_the_values_that_are_tried() {
    let values = values();
    let mut compatible = 0;
    for seed in 0..PAIRS {
        let tape = Tape::of(seed);
        let (one, other) = (tape.clone().whole(), tape.changed(seed).whole());
        if one == other {
            continue;
        }
        let (mut before, mut after) = (None, None);
        for of in [Of::Arguments, Of::Results] {
            let (wide, narrow) = match of {
                Of::Arguments => (&other, &one),
                Of::Results => (&one, &other),
            };
            // A member more is no break of a result.
            if of == Of::Results && one.to_string().contains(":false") {
                continue;
            }
            if Comparison::of(of).covers(wide, narrow) != Covered::Yes {
                continue;
            }
            compatible += 1;
            let was = before.get_or_insert_with(|| validity(&one, &values));
            let is = after.get_or_insert_with(|| validity(&other, &values));
            let (sent, admitted) = if of == Of::Results { (is, was) } else { (was, is) };
            let lost = sent.iter().zip(admitted.iter()).position(|(sent, admitted)| *sent && !admitted);
            assert_eq!(lost.map(|at| &values[at]), None, "{seed}, {of:?}: {one} → {other}");
        }
    }
    assert!(compatible >= FEWEST, "only {compatible}");
}
