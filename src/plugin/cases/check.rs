//! Checks cases for faults that their form allows: keys that do not apply to the hook, texts that are not JSON, missing
//! expectations.

use crate::config::HookName;
use crate::plugin::cases::form::{Case, Ender, Expect, Hook, VerdictName};
use crate::plugin::cases::prepare::{headers_of, limit, release};
use crate::plugin::invocation::check_json;
use crate::plugin::release::Stage;

/// The faults of a case: the key, with keys of inner tables joined by dots, and the reason.
pub(super) fn check(case: &Case, max_body: usize) -> Vec<(&'static str, String)> {
    let mut checks = Checks { hook: case.hook, max_body, wrong: Vec::new() };
    checks.given(case);
    checks.call(case);
    checks.outcome(case);
    checks.answers(case);
    checks.expected(&case.expect);
    checks.wrong
}

struct Checks {
    hook: Hook,
    max_body: usize,
    wrong: Vec<(&'static str, String)>,
}

impl Checks {
    fn fault(&mut self, key: &'static str, reason: impl Into<String>) {
        self.wrong.push((key, reason.into()));
    }

    fn check_applies(&mut self, key: &'static str, is_present: bool, applies: bool) {
        if is_present && !applies {
            self.fault(key, format!("does not apply to {}", self.hook.as_str()));
        }
    }

    fn check_one_of(&mut self, key: &'static str, plain: bool, text: bool) {
        if plain && text {
            let name = key.rsplit('.').next().unwrap_or(key);
            self.fault(key, format!("set {name} or {name}_json, not both"));
        }
    }

    fn json(&mut self, key: &'static str, text: &str) {
        if let Err(reason) = check_json(text, self.max_body) {
            self.fault(key, reason);
        }
    }

    fn array(&mut self, key: &'static str, text: &str) {
        self.json(key, text);
        if !text.trim_start().starts_with('[') {
            self.fault(key, "arguments must be a JSON array");
        }
    }

    fn given(&mut self, case: &Case) {
        self.check_applies("call", case.call.is_some(), self.hook.is_of_calls());
        self.check_applies("outcome", case.outcome.is_some(), self.hook == Hook::At(HookName::AfterInvoke));
        self.check_applies("release", case.release.is_some(), self.hook.is_of_loads());
        if let Some(staged) = &case.release
            && let Err(reason) = release(staged.clone(), Stage::BeforeLoad)
        {
            self.fault("release.limits", reason);
        }
    }

    fn call(&mut self, case: &Case) {
        let Some(call) = &case.call else { return };
        self.check_one_of("call.arguments", call.arguments.is_some(), call.arguments_json.is_some());
        if let Some(json) = &call.arguments {
            self.array("call.arguments", &json.0);
        }
        if let Some(text) = &call.arguments_json {
            self.array("call.arguments_json", text);
        }
        for text in call.context_json.values() {
            self.json("call.context_json", text);
        }
        if let Err(reason) = headers_of(&call.headers) {
            self.fault("call.headers", reason);
        }
    }

    fn outcome(&mut self, case: &Case) {
        let Some(ended) = &case.outcome else { return };
        self.check_one_of("outcome.body", ended.body.is_some(), ended.body_json.is_some());
        if let Some(text) = ended.body_json.as_ref().filter(|text| !text.is_empty()) {
            self.json("outcome.body_json", text);
        }
        if ended.status.is_some_and(|status| !(200..600).contains(&status)) {
            self.fault("outcome.status", "must be 200 to 599");
        }
        if ended.source == Ender::Function && ended.code.is_some() {
            self.fault("outcome.code", "a function that returned has no error code: set another source");
        }
        if let Err(reason) = headers_of(&ended.headers) {
            self.fault("outcome.headers", reason);
        }
    }

    fn answers(&mut self, case: &Case) {
        for answer in &case.invoke {
            let ways = [answer.result.is_some(), answer.result_json.is_some(), answer.problem.is_some()];
            if ways.into_iter().filter(|is_present| *is_present).count() != 1 {
                self.fault("invoke", "set exactly one of result, result_json and problem");
            }
            if let Some(text) = &answer.result_json {
                self.json("invoke", text);
            }
        }
    }

    fn expected(&mut self, expect: &Expect) {
        if *expect == Expect::default() {
            self.fault("expect", "the case expects nothing, so it passes with every result");
        }
        let verdicts = VerdictName::of(self.hook);
        if let Some(verdict) = expect.verdict.filter(|verdict| !verdicts.contains(verdict)) {
            let all = verdicts.iter().map(|verdict| verdict.as_str()).collect::<Vec<_>>().join(", ");
            let (verdict, hook) = (verdict.as_str(), self.hook.as_str());
            self.fault("expect.verdict", format!("{verdict:?} is not a verdict of {hook}: use one of {all}"));
        }
        let (of_calls, of_loads) = (self.hook.is_of_calls(), self.hook.is_of_loads());
        let (before_load, after_load) =
            (self.hook == Hook::At(HookName::BeforeLoad), self.hook == Hook::At(HookName::AfterLoad));
        for (key, is_present, applies) in [
            ("expect.status", expect.status.is_some(), of_calls),
            ("expect.code", expect.code.is_some(), of_calls),
            ("expect.headers", !expect.headers.is_empty(), of_calls),
            ("expect.body", expect.body.is_some(), of_calls),
            ("expect.body_json", expect.body_json.is_some(), of_calls),
            ("expect.arguments", expect.arguments.is_some(), of_calls),
            ("expect.arguments_json", expect.arguments_json.is_some(), of_calls),
            ("expect.call_headers", !expect.call_headers.is_empty(), of_calls),
            ("expect.context", !expect.context.is_empty(), of_calls),
            ("expect.context_json", !expect.context_json.is_empty(), of_calls),
            ("expect.environment", !expect.environment.is_empty(), before_load),
            ("expect.limits", !expect.limits.is_empty(), before_load),
            ("expect.labels", !expect.labels.is_empty(), of_loads),
            ("expect.functions", expect.functions.is_some(), after_load),
        ] {
            self.check_applies(key, is_present, applies);
        }
        self.check_one_of("expect.body", expect.body.is_some(), expect.body_json.is_some());
        self.check_one_of("expect.arguments", expect.arguments.is_some(), expect.arguments_json.is_some());
        if let Some(text) = &expect.arguments_json {
            self.array("expect.arguments_json", text);
        }
        if let Some(text) = expect.body_json.as_ref().filter(|text| !text.is_empty()) {
            self.json("expect.body_json", text);
        }
        for text in expect.context_json.values() {
            self.json("expect.context_json", text);
        }
        for (name, value) in &expect.limits {
            if let Err(reason) = limit(name, &value.0) {
                self.fault("expect.limits", reason);
            }
        }
    }
}
