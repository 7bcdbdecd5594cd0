//! noop: lets every call pass. Its cost is the cost of a hook.

use plugin_heap as _;

use crate::bindings::exports::metagate::plugin::before_invoke::{Guest, Invocation, Verdict};

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package example:noop;
            world plugin {
                include metagate:plugin/imports@0.1.0;
                export metagate:plugin/before-invoke@0.1.0;
            }
        ",
        generate_all,
    });
}

struct Noop;

bindings::export!(Noop with_types_in bindings);

impl Guest for Noop {
    fn before_invoke(_call: &Invocation) -> Verdict {
        Verdict::Proceed
    }
}
