//! Adds two numbers. The gateway handles JSON and HTTP.

mod bindings {
    wit_bindgen::generate!({ path: "wit" });
}

struct Sum;

bindings::export!(Sum with_types_in bindings);

impl bindings::Guest for Sum {
    fn sum(a: i64, b: i64) -> i64 {
        a + b
    }
}
