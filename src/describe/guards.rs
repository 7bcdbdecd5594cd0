//! What the plugins of functions add to a document: the errors with which they end calls, next to those of the gateway,
//! and how callers prove who they are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::describe::declaration::{Credential, Declaration, Refusal, SecurityScheme};
use crate::describe::guarded::Guarded;
use crate::describe::responses;

/// Most combinations of proofs that are listed for a function. Plugins that would make more are left out.
const COMBINATIONS: usize = 64;

/// A plugin of a function's chain.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The name of the plugin.
    pub plugin: Arc<str>,
    /// What it declares; none if it declares nothing.
    pub declaration: Option<Arc<Declaration>>,
}

/// What the plugins of all functions add, and the components to which that refers.
#[derive(Debug, Default)]
pub(super) struct Guards {
    known: HashMap<Vec<Arc<str>>, Arc<Guarded>>,
    /// Answers by name.
    pub(super) responses: Map<String, Value>,
    /// Ways of proof by name.
    pub(super) schemes: Map<String, Value>,
}

impl Guards {
    /// What these plugins add. The same plugins add the same.
    pub(super) fn of(&mut self, plugins: &[Guard]) -> Arc<Guarded> {
        let key: Vec<Arc<str>> = plugins.iter().map(|guard| Arc::clone(&guard.plugin)).collect();
        if let Some(known) = self.known.get(&key) {
            return Arc::clone(known);
        }
        let made = Arc::new(self.make(plugins));
        self.known.insert(key, Arc::clone(&made));
        made
    }

    fn make(&mut self, plugins: &[Guard]) -> Guarded {
        let mut guarded = Guarded::default();
        let mut by_status: BTreeMap<u16, Vec<(&str, &Refusal)>> = BTreeMap::new();
        let mut combinations = vec![Map::new()];
        for Guard { plugin, declaration } in plugins {
            let Some(declaration) = declaration else {
                guarded.is_open = true;
                continue;
            };
            for refusal in &declaration.refusals {
                by_status.entry(refusal.status).or_default().push((plugin, refusal));
            }
            let names = self.add_schemes(plugin, &declaration.schemes);
            if !names.is_empty() && names.len() * combinations.len() <= COMBINATIONS {
                combinations = combined(&combinations, &names);
            }
        }
        for (status, refusals) in by_status {
            let means = means(&refusals);
            guarded.answers.insert(status, self.add_answer(status, responses::refused(status, &means, &refusals)));
            guarded.means.insert(status, means);
        }
        guarded.security = combinations.first().is_some_and(|one| !one.is_empty()).then(|| json!(combinations));
        guarded
    }

    /// Adds the ways of proof of a plugin to the components, and returns their names.
    fn add_schemes(&mut self, plugin: &str, schemes: &[SecurityScheme]) -> Vec<String> {
        let name = |at: usize| if schemes.len() == 1 { plugin.to_owned() } else { format!("{plugin}.{at}") };
        let named = (1..).zip(schemes).map(|(at, scheme)| (name(at), described(scheme)));
        named.map(|(name, scheme)| add(&mut self.schemes, &name, scheme)).collect()
    }

    /// Adds an answer to the components, and returns a reference to it.
    fn add_answer(&mut self, status: u16, answer: Value) -> Value {
        let name = add(&mut self.responses, &format!("Refused{status}"), answer);
        json!({"$ref": format!("#/components/responses/{name}")})
    }
}

/// Adds a value under this name, or under one like it if another value has the name. Returns the name.
fn add(all: &mut Map<String, Value>, name: &str, value: Value) -> String {
    let names = std::iter::once(name.to_owned()).chain((2..).map(|number| format!("{name}_{number}")));
    let free = names.into_iter().find(|name| all.get(name).is_none_or(|there| *there == value));
    let name = free.unwrap_or_default();
    all.insert(name.clone(), value);
    name
}

/// Each of the combinations with each of the names.
fn combined(combinations: &[Map<String, Value>], names: &[String]) -> Vec<Map<String, Value>> {
    let with = |one: &Map<String, Value>, name: &String| {
        let mut one = one.clone();
        one.insert(name.clone(), json!([]));
        one
    };
    names.iter().flat_map(|name| combinations.iter().map(|one| with(one, name))).collect()
}

/// The codes of refusals and what they mean.
fn means(refusals: &[(&str, &Refusal)]) -> String {
    let one = |(plugin, refusal): &(&str, &Refusal)| {
        format!("`{}`: {} (plugin {plugin})", refusal.code, refusal.description.trim_end_matches('.'))
    };
    format!("{}.", refusals.iter().map(one).collect::<Vec<_>>().join("; "))
}

fn described(scheme: &SecurityScheme) -> Value {
    let mut value = match &scheme.credential {
        Credential::Header(name) => json!({"type": "apiKey", "in": "header", "name": name}),
        Credential::Query(name) => json!({"type": "apiKey", "in": "query", "name": name}),
        Credential::Cookie(name) => json!({"type": "apiKey", "in": "cookie", "name": name}),
        Credential::Basic => json!({"type": "http", "scheme": "basic"}),
        Credential::Bearer(format) if format.is_empty() => json!({"type": "http", "scheme": "bearer"}),
        Credential::Bearer(format) => json!({"type": "http", "scheme": "bearer", "bearerFormat": format}),
    };
    value["description"] = scheme.description.as_str().into();
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(plugin: &str, refusals: &[(u16, &str)], credentials: &[Credential]) -> Guard {
        let refusal = |(status, code): &(u16, &str)| Refusal {
            status: *status,
            code: (*code).to_owned(),
            description: "No.".to_owned(),
            headers: Vec::new(),
        };
        let scheme = |credential: &Credential| SecurityScheme {
            credential: credential.clone(),
            description: "A key.".to_owned(),
        };
        let refusals = refusals.iter().map(refusal).collect();
        let schemes = credentials.iter().map(scheme).collect();
        Guard { plugin: plugin.into(), declaration: Some(Arc::new(Declaration { refusals, schemes })) }
    }

    #[test]
    fn two_plugins_with_one_status_have_one_answer_with_both_codes() {
        let (one, two) = (guard("one", &[(403, "late")], &[]), guard("two", &[(403, "early"), (403, "late")], &[]));
        let mut guards = Guards::default();
        let guarded = guards.of(&[one, two.clone()]);
        assert_eq!(guarded.answers[&403], json!({"$ref": "#/components/responses/Refused403"}));
        let error = &guards.responses["Refused403"]["content"]["application/json"]["schema"]["properties"]["error"];
        assert_eq!(error["properties"]["code"], json!({"enum": ["early", "late"]}));
        assert_eq!(guarded.means[&403], "`late`: No (plugin one); `early`: No (plugin two); `late`: No (plugin two).");
        let other = guards.of(&[two]);
        assert_eq!(other.answers[&403], json!({"$ref": "#/components/responses/Refused403_2"}));
    }

    #[test]
    fn each_plugin_needs_one_of_its_proofs() {
        let header = Credential::Header("x-key".to_owned());
        let mut guards = Guards::default();
        let all =
            [guard("key", &[], &[header]), guard("user", &[], &[Credential::Basic, Credential::Bearer(String::new())])];
        let guarded = guards.of(&all);
        assert_eq!(guarded.security, Some(json!([{"key": [], "user.1": []}, {"key": [], "user.2": []}])));
        assert_eq!(guards.schemes.keys().collect::<Vec<_>>(), ["key", "user.1", "user.2"]);
        assert_eq!(guards.of(&[guard("free", &[], &[])]).security, None);
        assert!(guards.of(&[Guard { plugin: "silent".into(), declaration: None }]).is_open);
    }
}
