//! shape-result: changes the shape of results and the status of functions' errors.

mod shape;

use std::sync::OnceLock;

use plugin_heap as _;

use crate::bindings::exports::metagate::plugin::after_invoke::{Guest as AfterInvoke, Invocation, Outcome};
use crate::bindings::exports::metagate::plugin::declarations::{Guest as Declarations, Refusal, SecurityScheme};
use crate::bindings::exports::metagate::plugin::lifecycle::Guest as Lifecycle;
use crate::bindings::metagate::plugin::log;
use crate::bindings::metagate::plugin::types::Problem;
use crate::shape::Shape;

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package example:shape-result;
            world plugin {
                include metagate:plugin/imports@0.1.0;
                export metagate:plugin/after-invoke@0.1.0;
                export metagate:plugin/lifecycle@0.1.0;
                export metagate:plugin/declarations@0.1.0;
            }
        ",
        generate_all,
    });
}

/// The code of results that cannot be shaped.
const NOT_SHAPED: &str = "result_not_shaped";

struct ShapeResult;

bindings::export!(ShapeResult with_types_in bindings);
plugin_config::log_panics!(crate::bindings::metagate::plugin::log);

static SHAPE: OnceLock<Shape> = OnceLock::new();

impl Lifecycle for ShapeResult {
    fn config_schema() -> Option<String> {
        Some(include_str!("../config.schema.json").to_owned())
    }

    fn start(config: String) -> Result<(), String> {
        let shape = Shape::read(&config)?;
        SHAPE.set(shape).map_err(|_| "the plugin has been started before".to_owned())
    }
}

impl Declarations for ShapeResult {
    fn refusals() -> Vec<Refusal> {
        let refusal = |status, code: &str, description: &str| Refusal {
            status,
            code: code.to_owned(),
            description: description.to_owned(),
            headers: Vec::new(),
        };
        let mut all = vec![refusal(500, NOT_SHAPED, "The result cannot be brought into its shape.")];
        all.extend(shape().errors().map(|(code, status)| refusal(status, code, "The error of this code.")));
        all
    }

    fn security_schemes() -> Vec<SecurityScheme> {
        Vec::new()
    }
}

impl AfterInvoke for ShapeResult {
    fn after_invoke(_: &Invocation, outcome: &Outcome) {
        let shape = shape();
        let done = match outcome.code() {
            Some(code) => shape.status_of(&code).map_or(Ok(()), |status| outcome.set_status(status)),
            None if shape.keeps_results() || !(200..300).contains(&outcome.status()) => Ok(()),
            None => shape.apply(&outcome.body()).and_then(|body| outcome.set_body(&body)),
        };
        if let Err(reason) = done {
            hold_back(outcome, &reason);
        }
    }
}

fn shape() -> &'static Shape {
    SHAPE.get().expect("the gateway starts an instance before its first hook")
}

/// Answers with an error instead: the unchanged result may contain values that were to be left out.
fn hold_back(outcome: &Outcome, reason: &str) {
    log::write(log::Level::Error, &format!("the result cannot be shaped: {reason}"));
    let problem = Problem {
        status: 500,
        code: NOT_SHAPED.to_owned(),
        message: "the function's result could not be brought into its shape".to_owned(),
        headers: Vec::new(),
    };
    outcome.set_problem(&problem).expect("a problem that is always the same is a valid one");
}
