//! JSON and the values of the component model, each made of the other by type.
