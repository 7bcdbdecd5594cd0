//! transform-args: converts the arguments of a call to the form that its function expects, by rules, and refuses those
//! that do not fit with a 422 that names the argument.

mod arguments;
mod coerce;
mod decimal;
mod path;
mod rule;
mod schema;

use std::sync::OnceLock;

use plugin_heap as _;

use crate::arguments::{parse, transform};
use crate::bindings::exports::metagate::plugin::before_invoke::{Guest as BeforeInvoke, Invocation, Problem, Verdict};
use crate::bindings::exports::metagate::plugin::declarations::{Guest as Declarations, Refusal, SecurityScheme};
use crate::bindings::exports::metagate::plugin::lifecycle::Guest as Lifecycle;
use crate::rule::{Rule, read_rules};

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package example:transform-args;
            world plugin {
                include metagate:plugin/imports@0.1.0;
                export metagate:plugin/before-invoke@0.1.0;
                export metagate:plugin/lifecycle@0.1.0;
                export metagate:plugin/declarations@0.1.0;
            }
        ",
        generate_all,
    });
}

struct TransformArgs;

bindings::export!(TransformArgs with_types_in bindings);
plugin_config::log_panics!(crate::bindings::metagate::plugin::log);

static RULES: OnceLock<Vec<Rule>> = OnceLock::new();

impl Lifecycle for TransformArgs {
    fn config_schema() -> Option<String> {
        Some(include_str!("../config.schema.json").to_owned())
    }

    fn start(config: String) -> Result<(), String> {
        let rules = read_rules(&config)?;
        RULES.set(rules).map_err(|_| "the plugin has been started before".to_owned())
    }
}

impl Declarations for TransformArgs {
    fn refusals() -> Vec<Refusal> {
        vec![Refusal {
            status: 422,
            code: "invalid_arguments".to_owned(),
            description: "The arguments do not fit the rules of the function.".to_owned(),
            headers: Vec::new(),
        }]
    }

    fn security_schemes() -> Vec<SecurityScheme> {
        Vec::new()
    }
}

impl BeforeInvoke for TransformArgs {
    fn before_invoke(call: &Invocation) -> Verdict {
        let rules = RULES.get().expect("the gateway starts an instance before its first hook");
        let (deployment, function) = (call.deployment(), call.function());
        let mut rules = rules.iter().filter(|rule| rule.applies_to(&deployment, &function)).peekable();
        if rules.peek().is_none() {
            return Verdict::Proceed;
        }
        let result = parse(&call.arguments()).and_then(|mut arguments| {
            let mut changed = false;
            for rule in rules {
                let context = |key: &str| call.context(key);
                changed |= transform(&mut arguments, rule, context).map_err(|fault| fault.to_string())?;
            }
            Ok(changed.then_some(arguments))
        });
        let result = result.and_then(|changed| match changed {
            Some(arguments) => call.set_arguments(&arguments::write(&arguments)),
            None => Ok(()),
        });
        match result {
            Ok(()) => Verdict::Proceed,
            Err(message) => Verdict::Reject(Problem {
                status: 422,
                code: "invalid_arguments".to_owned(),
                message,
                headers: Vec::new(),
            }),
        }
    }
}
